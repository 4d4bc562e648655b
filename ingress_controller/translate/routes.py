"""What Ingresses claim of hosts, with their backends resolved, and the hosts that come of it."""

from collections.abc import MutableMapping
from typing import NamedTuple

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name
from ingress_controller.translate.backends import Backends
from ingress_controller.translate.conflicts import NO_PATHS, HostShare, merge
from ingress_controller.translate.diagnostics import Diagnostic
from ingress_controller.translate.ingress import Claim, IngressReading, backend_field
from ingress_controller.translate.ownership import Ownership
from ingress_controller.translate.server_names import ServerNames
from ingress_controller.translate.services import Problem
from ingress_controller.translate.verdicts import is_challenge, secured
from router.model.origin import Origin
from router.model.snapshot import Answer, Forward, Host, HostPattern, PathCondition, Route


class Shared(NamedTuple):
    """What became of an Ingress's claims."""

    hosts: set[HostPattern]
    """Those that it claims or claimed."""
    diagnostics: tuple[Diagnostic, ...]
    """What is wrong with its backends."""


class Routes:
    """A memo: a change asks anew about the claims of one Ingress, and merges the hosts of those."""

    __slots__ = ("_backends", "_ownership", "_server_names", "_shares", "current")

    def __init__(self, backends: Backends, ownership: Ownership, server_names: ServerNames) -> None:
        self._backends = backends
        self._ownership = ownership
        self._server_names = server_names
        self._shares: dict[Name, dict[HostPattern, HostShare]] = {}
        self.current: dict[HostPattern, Host] = {}

    def share(self, name: Name, reading: IngressReading | None) -> Shared:
        """Replaces what an Ingress claims of each host; ``reading`` is None when it is not ours."""
        hosts = set(self._shares.pop(name, ()))
        if reading is None:
            return Shared(hosts, ())
        found: list[Diagnostic] = []
        closed = reading.settings.closed
        default = None
        if reading.default is not None:
            default = self._route(reading.default, closed, found)
        shares: dict[HostPattern, HostShare] = {}
        for pattern, claims in reading.claims.items():
            challenges = self._challenges(reading, claims)
            routes = [
                self._route(claim, "" if claim.path in challenges else closed, found)
                for claim in claims
            ]
            shares[pattern] = HostShare(reading.age, tuple(routes), default, challenges)
        if shares:
            self._shares[name] = shares
        return Shared(hosts.union(shares), tuple(found))

    def merge(
        self, pattern: HostPattern, changed: MutableMapping[HostPattern, Host | None]
    ) -> tuple[Diagnostic, ...]:
        """Makes a host anew of what is claimed of it; puts it into ``changed`` if it is different,
        and answers who lost what to whom."""
        judged = self._ownership.judged(pattern)
        verdict = self._server_names.verdict
        served = []
        for one in judged.admitted:
            if not one.has_rules:
                continue
            shares, where = self._shares[one.name], pattern
            if pattern not in shares and judged.lender is not None:
                where = judged.lender
            served.append(secured(shares[where], verdict(where, one.name)))
        before = self.current.get(pattern)
        if not served:
            if before is not None:
                del self.current[pattern]
                changed[pattern] = None
            return ()
        host, found = merge(pattern, served)
        if host != before:
            self.current[pattern] = changed[pattern] = host
        return found

    def _route(self, claim: Claim, closed: str, found: list[Diagnostic]) -> Route:
        """A claim with its backend resolved; ``closed`` says why it must not be served."""
        action: Forward | Answer
        if isinstance(claim.backend, Answer):
            action = claim.backend
        else:
            resolution = self._backends.resolution(claim.backend)
            action = resolution.action
            if resolution.problem is not None:
                found.append(_about_backend(claim.origin, resolution.problem))
        if closed:
            action = Answer(503, closed)
        return Route(claim.path, claim.written, action, claim.origin)

    def _challenges(
        self, reading: IngressReading, claims: tuple[Claim, ...]
    ) -> frozenset[PathCondition]:
        """The paths that cert-manager made, in an Ingress of its own or in the user's."""
        found = [
            claim.path
            for claim in claims
            if is_challenge(claim.path) and (reading.solver or self._leads_to_solver(claim))
        ]
        return frozenset(found) if found else NO_PATHS

    def _leads_to_solver(self, claim: Claim) -> bool:
        if isinstance(claim.backend, Answer):
            return False
        return self._backends.resolution(claim.backend).solver


def _about_backend(origin: Origin, problem: Problem) -> Diagnostic:
    return Diagnostic(
        code=problem.code,
        severity=problem.severity,
        object=ObjectKey(origin.kind, origin.namespace, origin.name),
        field=problem.field
        if problem.field.startswith("metadata.")
        else backend_field(origin, problem.field),
        message=problem.message,
        consequence=problem.consequence,
        remedy=problem.remedy,
    )
