"""What a cluster as a source has to report, as diagnostics. Pure."""

from ingress_controller.objects.decode import Undecodable
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.sources.errors import (
    ApiError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
)
from ingress_controller.sources.target import Target
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode

KEPT = "what was read before is served on; changes are not seen"


def unreadable_object(problem: Undecodable, *, known: bool) -> Diagnostic:
    """An object does not have the form that its kind has. ``known``: an older version had."""
    return Diagnostic(
        code=DiagnosticCode.VERSION_UNSUPPORTED
        if problem.version
        else DiagnosticCode.OBJECT_MALFORMED,
        severity="error",
        object=problem.key,
        field=problem.field,
        message=problem.message,
        consequence="the object's last good version is served on"
        if known
        else "the object counts as absent; others do not",
        remedy=problem.remedy,
    )


def unreadable_target(
    target: Target, error: ApiError, *, answered: bool, objects: int
) -> Diagnostic:
    """A kind, or an object that is watched alone, cannot be read.

    ``answered``: it is not waited for. ``objects`` are known from before.
    """
    if answered and not objects and target.kind == "IngressClass":
        consequence = "no IngressClass is known; classes are known by the names in the flags alone"
    elif answered and not objects and target.name:
        consequence = "it counts as absent"
    elif answered:
        consequence = KEPT
    else:
        consequence = "the controller does not become ready before it has read them"
    is_tolerated = answered and not objects and target.kind == "IngressClass"
    return Diagnostic(
        code=DiagnosticCode.API_REFUSED
        if isinstance(error, ForbiddenError | UnauthorizedError)
        else DiagnosticCode.API_UNREADABLE,
        severity="warning" if is_tolerated else "error",
        object=ObjectKey(target.kind, target.namespace if target.name else "", target.name),
        message=f"{target} cannot be read: {error}",
        consequence=consequence,
        remedy=_remedy(target, error),
    )


def _remedy(target: Target, error: ApiError) -> str:
    if isinstance(error, ForbiddenError):
        return f"grant list and watch on {target.plural} to the controller's account"
    if isinstance(error, UnauthorizedError):
        return "give the controller credentials that the API server accepts"
    if isinstance(error, NotFoundError):
        return "use an API server that has the kind: Kubernetes 1.21 or later"
    return "see the API server's log; it is tried again"


def unavailable_api(server: str, why: str, *, answered: bool) -> Diagnostic:
    """The API server does not answer. ``answered``: everything had been read before."""
    return Diagnostic(
        code=DiagnosticCode.API_UNAVAILABLE,
        severity="error",
        object=ObjectKey("Server", "", server),
        message=f"the API server does not answer: {why}",
        consequence=KEPT if answered else "the controller does not become ready",
        remedy="check the API server, and the network between it and the controller",
    )


def too_many_watches(first: ObjectKey, more: int, limit: int) -> Diagnostic:
    """More objects are named than are watched one by one; ``first`` and ``more`` are not."""
    return Diagnostic(
        code=DiagnosticCode.WATCHES_TOO_MANY,
        severity="error",
        object=first,
        message=f"more than {limit} objects would be watched one by one; this one is not"
        + (f", nor are {more} others" if more else ""),
        consequence="what is not watched counts as absent",
        remedy="let TLS Secrets be watched together (--secrets tls), or name fewer objects",
    )
