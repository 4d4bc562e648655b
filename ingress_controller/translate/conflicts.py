"""What several Ingresses claim of one host becomes that host; says who lost, and to whom.

1. A path goes to the oldest Ingress that claims it (`creationTimestamp`, then namespace and name);
   inside one Ingress, to the first rule. So did ingress-nginx.
2. Prefix ``/foo`` and Prefix ``/foo/`` take the same requests but are two paths: the longer one
   wins (`networking/v1` types), whatever its age, and the other takes nothing.
3. The default backend of a host is the oldest that is claimed for it.

Different paths of one host are merged, whoever wrote them.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ingress_controller.objects.meta import AgeKey, ObjectKey, quoted
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode
from router.model.snapshot import Host, HostPattern, PathCondition, PathKind, Route

NO_PATHS: frozenset[PathCondition] = frozenset()
"""The same one for nearly all: an empty set takes 216 bytes."""


class HostShare(msgspec.Struct, frozen=True, gc=False):
    """What one Ingress claims of one host, with its backends resolved."""

    age: AgeKey
    routes: tuple[Route, ...]
    default: Route | None
    challenges: frozenset[PathCondition] = NO_PATHS
    """Paths that cert-manager made for an ACME challenge."""


class MergedHost(NamedTuple):
    """A host, and what to say about the claims that lost."""

    host: Host
    diagnostics: tuple[Diagnostic, ...]


def merge(pattern: HostPattern, shares: Iterable[HostShare]) -> MergedHost:
    """The host that these Ingresses make together; the order of ``shares`` does not matter."""
    winners: dict[tuple[PathKind, str], Route] = {}
    losers: list[Route] = []
    default: Route | None = None
    diagnostics: list[Diagnostic] = []
    for share in sorted(shares, key=_age):
        for route in share.routes:
            path = (route.path.kind, route.path.value)
            winner = winners.setdefault(path, route)
            if winner is route:
                continue
            if _is_longer(route, winner):
                winners[path] = route
                route = winner
            losers.append(route)
        if share.default is None:
            continue
        if default is None:
            default = share.default
        else:
            diagnostics.append(_default_lost(pattern, share.default, default))
    for route in losers:
        winner = winners[route.path.kind, route.path.value]
        diagnostics.append(_route_lost(pattern, route, winner))
    routes = tuple([winners[path] for path in sorted(winners)])
    return MergedHost(Host(routes, default), tuple(diagnostics))


def _age(share: HostShare) -> AgeKey:
    return share.age


def _is_longer(route: Route, other: Route) -> bool:
    """Equal prefixes differ in length only by the slash at the end, which matching ignores."""
    return (
        route.path.kind == "prefix"
        and route.written.endswith("/")
        and not other.written.endswith("/")
    )


def _route_lost(pattern: HostPattern, route: Route, winner: Route) -> Diagnostic:
    loser, owner = route.origin, winner.origin
    own = (loser.namespace, loser.name) == (owner.namespace, owner.name)
    where = "this Ingress" if own else f"Ingress {owner.namespace}/{owner.name}"
    host = f"host {pattern}" if pattern else "every host that nobody claims"
    if _is_longer(winner, route):
        return Diagnostic(
            code=DiagnosticCode.ROUTE_SHADOWED,
            severity="hint" if own else "warning",
            object=_key(route),
            field=f"{loser.field}.path",
            message=f"{quoted(route.written)} on {host} takes the same requests as "
            f"{quoted(winner.written)} of {where}, {owner.field}",
            consequence=f"{quoted(winner.written)} is longer and takes them all",
            remedy="remove one of the two",
        )
    return Diagnostic(
        code=DiagnosticCode.ROUTE_CONFLICT,
        severity="warning",
        object=_key(route),
        field=f"{loser.field}.path",
        message=f"{quoted(route.written)} on {host} is claimed by {where} too, {owner.field}",
        consequence="the first rule of an Ingress wins; this path takes no request"
        if own
        else "the older Ingress wins; this path takes no request until that one is gone",
        remedy="remove one of the two",
    )


def _default_lost(pattern: HostPattern, route: Route, winner: Route) -> Diagnostic:
    owner = winner.origin
    host = f"host {pattern}" if pattern else "hosts that nobody claims"
    return Diagnostic(
        code=DiagnosticCode.DEFAULT_CONFLICT,
        severity="warning",
        object=_key(route),
        field="spec.defaultBackend",
        message=f"{host}: the default backend is that of Ingress {owner.namespace}/{owner.name}",
        consequence="the older Ingress wins; this default backend takes no request of the host "
        "until that one is gone",
        remedy="leave defaultBackend to one Ingress of the host",
    )


def _key(route: Route) -> ObjectKey:
    return ObjectKey(route.origin.kind, route.origin.namespace, route.origin.name)
