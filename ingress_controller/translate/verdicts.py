"""Who has to do with a host, what is decided for each of them, and what that makes of routes."""

from typing import NamedTuple

import msgspec

from ingress_controller.objects.meta import AgeKey
from ingress_controller.store import Name
from ingress_controller.translate.annotations import IngressSettings
from ingress_controller.translate.config import ClassSettings
from ingress_controller.translate.conflicts import HostShare
from ingress_controller.translate.tls_entries import TlsEntry
from router.model.origin import Origin
from router.model.snapshot import Answer, HttpsRules, PathCondition, Route
from router.model.upstreams import UpstreamKey

CHALLENGES = "/.well-known/acme-challenge"
MISDIRECTED, UNSERVABLE = 421, 503


class PassthroughTo(NamedTuple):
    """Where an Ingress wants connections to go; no upstream when its backend is none."""

    upstream: UpstreamKey | None
    origin: Origin


class Claimant(NamedTuple):
    """An Ingress that has to do with a host."""

    name: Name
    age: AgeKey
    has_rules: bool
    """It has rules for the host; else it only names it in ``spec.tls``."""
    settings: IngressSettings
    defaults: ClassSettings
    """What holds where the settings say nothing."""
    entries: tuple[TlsEntry, ...]
    passthrough: PassthroughTo | None
    solver: bool = False
    """cert-manager made it for an ACME challenge."""

    @property
    def has_tls(self) -> bool:
        """It says something about TLS for the host."""
        settings = self.settings
        return bool(self.entries) or settings.passthrough or settings.clients is not None


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What becomes of an Ingress's routes of a host."""

    rules: HttpsRules | None = None
    closed: str = ""
    """Why they are answered without an upstream; empty when they are not."""
    status: int = UNSERVABLE
    spares_challenges: bool = True
    """Paths of ACME challenges are served in clear, whoever serves them."""


PLAIN = Verdict()


def is_challenge(path: PathCondition) -> bool:
    """Whether a path is one of ACME challenges (RFC 8555 §8.3)."""
    return path.value == CHALLENGES or path.value.startswith(f"{CHALLENGES}/")


def secured(share: HostShare, verdict: Verdict) -> HostShare:
    """What an Ingress claims of a host, as the verdict lets it be served."""
    if verdict == PLAIN:
        return share
    default = share.default
    return HostShare(
        share.age,
        tuple([_secured(route, share, verdict) for route in share.routes]),
        None if default is None else _secured(default, share, verdict),
        share.challenges,
    )


def _secured(route: Route, share: HostShare, verdict: Verdict) -> Route:
    rules, action = verdict.rules, route.action
    challenge = is_challenge(route.path)
    if challenge and (verdict.spares_challenges or route.path in share.challenges):
        if rules is not None:
            rules = msgspec.structs.replace(rules, redirect=False, plain=True)
    elif verdict.closed:
        action = Answer(verdict.status, verdict.closed)
    return Route(route.path, route.written, action, route.origin, rules)
