"""Annotations of an Ingress: one table, one typed parser a row.

``settings``  what the annotations of one Ingress come to: values for the rest of the translation
``parsers``   text → value, or a sentence why not; nothing is templated, evaluated or matched by a
              pattern of the user's
``table``     every annotation that has an effect, with its parser and its text for the docs
``reading``   annotations of one Ingress → settings and diagnostics
``unused``    annotations of ingress-nginx that have none: said, not passed over

What protects fails closed: where its value cannot be read, the routes answer 503.
`python -m ingress_controller.translate.annotations.page` prints docs/annotations.md from the table.
"""

from ingress_controller.translate.annotations.reading import SettingsRead, read_settings
from ingress_controller.translate.annotations.settings import (
    BackendWish,
    ClientDemand,
    IngressSettings,
)

__all__ = ["BackendWish", "ClientDemand", "IngressSettings", "SettingsRead", "read_settings"]
