"""What is wrong with an object, said once and quoted everywhere: `check`, `explain`, metrics.

A diagnostic is a value with an owner (object and field), a sentence, what happens now, and what to
do. It never stops the translation: one bad object harms only itself.
"""

import re
from enum import StrEnum
from typing import Literal

import msgspec

from ingress_controller.objects.meta import ObjectKey

Severity = Literal["error", "warning", "hint"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "hint")
"""error: something is not served as written. warning: it is served, but probably not as meant.
hint: good to know."""


class DiagnosticCode(StrEnum):
    """Every kind of diagnostic. The values are stable: programs may match on them."""

    # What is left out.
    FINDINGS_TOO_MANY = "findings-too-many"
    # Sources.
    API_REFUSED = "api-refused"
    API_UNAVAILABLE = "api-unavailable"
    API_UNREADABLE = "api-unreadable"
    FOLDER_UNREADABLE = "folder-unreadable"
    FILE_UNREADABLE = "file-unreadable"
    FILE_MALFORMED = "file-malformed"
    KEY_REPEATED = "key-repeated"
    OBJECT_MALFORMED = "object-malformed"
    OBJECT_REPEATED = "object-repeated"
    VERSION_UNSUPPORTED = "version-unsupported"
    WATCHES_TOO_MANY = "watches-too-many"
    # Classes.
    CLASS_CONTRADICTORY = "class-contradictory"
    CLASS_DEFAULT_REPEATED = "class-default-repeated"
    CLASS_FOREIGN = "class-foreign"
    CLASS_MISSING = "class-missing"
    CLASS_PARAMETERS_INVALID = "class-parameters-invalid"
    CLASS_PARAMETERS_MISSING = "class-parameters-missing"
    CLASS_UNKNOWN = "class-unknown"
    # Options in ConfigMaps.
    CONFIG_MISSING = "config-missing"
    OPTION_INVALID = "option-invalid"
    OPTION_UNKNOWN = "option-unknown"
    # Ingress.
    ANNOTATION_CONTRADICTORY = "annotation-contradictory"
    ANNOTATION_INVALID = "annotation-invalid"
    ANNOTATION_UNKNOWN = "annotation-unknown"
    ANNOTATION_UNSUPPORTED = "annotation-unsupported"
    ANNOTATION_UNUSED = "annotation-unused"
    BACKEND_INVALID = "backend-invalid"
    BACKEND_RESOURCE = "backend-resource"
    HOST_INVALID = "host-invalid"
    INGRESS_EMPTY = "ingress-empty"
    INGRESS_TOO_LARGE = "ingress-too-large"
    PATH_INVALID = "path-invalid"
    PATH_REGEX = "path-regex"
    PATH_TYPE_UNKNOWN = "path-type-unknown"
    RULE_WITHOUT_PATHS = "rule-without-paths"
    TLS_SECRET_UNNAMED = "tls-secret-unnamed"  # noqa: S105 # a code
    TLS_UNUSED = "tls-unused"
    TLS_WITHOUT_HOSTS = "tls-without-hosts"
    VERIFICATION_OFF = "verification-off"
    # Several Ingresses together.
    CATCH_ALL_REFUSED = "catch-all-refused"
    DEFAULT_CONFLICT = "default-conflict"
    HOST_OWNED = "host-owned"
    ROUTE_CONFLICT = "route-conflict"
    ROUTE_SHADOWED = "route-shadowed"
    # Certificates, and what a host asks of clients.
    AUTHORITIES_UNUSABLE = "authorities-unusable"
    CERTIFICATE_CONFLICT = "certificate-conflict"
    CERTIFICATE_EXPIRES = "certificate-expires"
    CERTIFICATE_IMPERFECT = "certificate-imperfect"
    CERTIFICATE_KEPT = "certificate-kept"
    CERTIFICATE_MISSING = "certificate-missing"
    CERTIFICATE_NAMES = "certificate-names"
    CERTIFICATE_UNUSABLE = "certificate-unusable"
    CLIENTS_CONFLICT = "clients-conflict"
    CLIENTS_UNVERIFIABLE = "clients-unverifiable"
    PASSTHROUGH_CONFLICT = "passthrough-conflict"
    PASSTHROUGH_IMPOSSIBLE = "passthrough-impossible"
    # Services and endpoints.
    BACKEND_SECRET_UNUSABLE = "backend-secret-unusable"  # noqa: S105 # a code
    ENDPOINT_ADDRESS_REFUSED = "endpoint-address-refused"
    ENDPOINTS_TOO_MANY = "endpoints-too-many"
    EXTERNAL_NAME_OFF = "external-name-off"
    EXTERNAL_NAME_REFUSED = "external-name-refused"
    PROTOCOL_DEGRADED = "protocol-degraded"
    SERVICE_MISSING = "service-missing"
    SERVICE_PORT_MISSING = "service-port-missing"
    SERVICE_REFUSED = "service-refused"
    SERVICE_WITHOUT_ENDPOINTS = "service-without-endpoints"
    SLICE_ADDRESS_TYPE = "slice-address-type"


class Diagnostic(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finding about one object."""

    code: DiagnosticCode
    severity: Severity
    object: ObjectKey
    """The object to look at; its kind is ``File`` or ``Folder`` when no object could be read."""
    field: str = ""
    """Path of the field inside the object, such as ``spec.rules[0].host``."""
    message: str
    """What is wrong: a sentence without a full stop at its end."""
    consequence: str
    """What happens now, because of it."""
    remedy: str
    """What to do."""
    file: str = ""
    """The file that it was found in, where the finding is about a file."""
    line: int = 0
    """Line in that file, counted from 1; 0 when unknown."""


DiagnosticOrder = tuple[ObjectKey, list[str | int], str, str, str, str, int]

_DIGITS = re.compile(r"([0-9]+)")


def order(diagnostic: Diagnostic) -> DiagnosticOrder:
    """Sort key: by object, then field, so that the findings about one object stand together.

    ``paths[2]`` comes before ``paths[10]``.
    """
    pieces: list[str | int] = list(_DIGITS.split(diagnostic.field))  # text, digits, text, …
    pieces[1::2] = map(int, pieces[1::2])
    return (
        diagnostic.object,
        pieces,
        diagnostic.code.value,
        diagnostic.message,
        diagnostic.consequence,
        diagnostic.file,
        diagnostic.line,
    )
