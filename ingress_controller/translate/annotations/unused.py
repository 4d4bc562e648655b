"""Annotations of ingress-nginx that have no effect here: none is passed over in silence."""

from collections.abc import Iterator

from ingress_controller.objects.meta import ObjectKey, ObjectMeta
from ingress_controller.translate.annotations.settings import NGINX_PREFIX, field_of
from ingress_controller.translate.annotations.table import BY_NAME
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode

SOLVER_LABEL = "acme.cert-manager.io/http01-solver"
"""On the Ingresses and Services that cert-manager makes for a minute; nobody reads hints about
those."""

_PROTECTS = (
    "auth-",
    "allowlist-source-range",
    "denylist-source-range",
    "enable-modsecurity",
    "limit-",
    "satisfy",
    "whitelist-source-range",
)
"""Beginnings of the names of annotations that keep somebody out."""


def protects(name: str) -> bool:
    """Whether an annotation of this name, without prefix, is meant to keep somebody out."""
    return name.startswith(_PROTECTS)


def unused(key: ObjectKey, meta: ObjectMeta) -> Iterator[Diagnostic]:
    """A diagnostic for each annotation of ingress-nginx that has no row in the table."""
    if SOLVER_LABEL in meta.labels:
        return
    for full in meta.annotations:
        name = full.removeprefix(NGINX_PREFIX)
        if name == full or (name in BY_NAME and BY_NAME[name].nginx):
            continue
        louder = protects(name)
        yield Diagnostic(
            code=DiagnosticCode.ANNOTATION_UNUSED,
            severity="warning" if louder else "hint",
            object=key,
            field=field_of(full),
            message="this annotation of ingress-nginx is not obeyed by this version",
            consequence="the Ingress is served without the protection that it asks for"
            if louder
            else "it has no effect",
            remedy="protect the backend itself, or do not serve it here"
            if louder
            else "remove it, or check that the backend works without it",
        )
