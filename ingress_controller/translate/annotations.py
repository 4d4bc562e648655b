"""Annotations that have no effect here. None is obeyed yet, and none is passed over in silence."""

from collections.abc import Iterator

from ingress_controller.objects.meta import ObjectKey, ObjectMeta
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode

NGINX_PREFIX = "nginx.ingress.kubernetes.io/"
SOLVER_LABEL = "acme.cert-manager.io/http01-solver"
"""On the Ingresses that cert-manager makes for a minute; nobody reads hints about those."""

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


def unused(key: ObjectKey, meta: ObjectMeta) -> Iterator[Diagnostic]:
    """A diagnostic for each annotation of ingress-nginx."""
    if not meta.annotations or SOLVER_LABEL in meta.labels:
        return
    for name in meta.annotations:
        if not name.startswith(NGINX_PREFIX):
            continue
        protects = name.removeprefix(NGINX_PREFIX).startswith(_PROTECTS)
        yield Diagnostic(
            code=DiagnosticCode.ANNOTATION_UNUSED,
            severity="warning" if protects else "hint",
            object=key,
            field=f"metadata.annotations[{name}]",
            message="this version obeys no annotation of ingress-nginx",
            consequence="the Ingress is served without the protection that it asks for"
            if protects
            else "it has no effect",
            remedy="protect the backend itself, or do not serve it here"
            if protects
            else "remove it, or check that the backend works without it",
        )
