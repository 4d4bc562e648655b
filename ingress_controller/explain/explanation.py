"""The answer to "what happens to this request, and why": plain values, for people and for JSON."""

from typing import Any, Literal

import msgspec

from router.match.explain import HostStep
from router.model.snapshot import HostPattern


class Asked(msgspec.Struct, frozen=True):
    """The request, as a client would send it."""

    method: str
    target: str
    """Target of the request line."""
    headers: tuple[str, ...]
    """``Name: value`` each, the Host first unless it was given."""
    scheme: Literal["http", "https"] = "http"
    server_name: str | None = None
    """Over https: the name that the client asks for in its handshake; None for an address."""


class CertificateShown(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that was looked at for a host, and what came of it."""

    answers: bool
    """Whether clients may get it."""
    reason: str
    secret: str
    """``namespace/name``; empty for the self-signed default."""
    ingress: str
    """Such as ``Ingress shop/web``; empty for the default."""
    location: str
    """``file:line`` of the Secret; empty when unknown."""
    algorithm: str = ""
    names: tuple[str, ...] = ()
    issuer: str = ""
    expires: str = ""
    """In UTC; empty when there is no certificate."""
    not_after: int = 0
    """The same in Unix seconds."""
    kept_until: str = ""
    """In UTC, when it is the last good one of a Secret that is broken or gone."""


class TlsShown(msgspec.Struct, frozen=True, kw_only=True):
    """What answers the handshake."""

    pattern: HostPattern
    """Whose entry answers; empty for the default."""
    ends_here: bool
    """False when the connection is passed through unopened."""
    reason: str
    profile: str = ""
    client_certificates: str = ""
    """none, optional or required."""
    authorities: tuple[str, ...] = ()
    """Whom client certificates must come from."""
    hsts: str = ""
    """Value of Strict-Transport-Security on the answer."""
    certificates: tuple[CertificateShown, ...] = ()


class RouteShown(msgspec.Struct, frozen=True, kw_only=True):
    """A route of the chosen host, and why it won or lost."""

    kind: Literal["Exact", "Prefix", "default"]
    path: str
    """As its owner wrote it; empty for a default backend."""
    takes: bool
    """Whether it would take the path if it stood alone."""
    won: bool
    reason: str
    object: str
    """Such as ``Ingress shop/web``."""
    field: str
    """Place inside the object, such as ``spec.rules[0].http.paths[1]``."""
    rule: int | None
    """Index in ``spec.rules``; None for ``spec.defaultBackend``."""
    location: str
    """``file:line`` of the object; empty when unknown."""


class EndpointShown(msgspec.Struct, frozen=True, kw_only=True):
    """An address, and whether new requests go there."""

    address: str
    """With port; IPv6 in brackets."""
    ready: bool
    serving: bool
    terminating: bool
    eligible: bool
    reason: str


class UpstreamShown(msgspec.Struct, frozen=True, kw_only=True):
    """A Service port that the route leads to."""

    service: str
    """``namespace/name``."""
    type: str
    """Type of the Service; ``headless`` where it has no cluster address."""
    port: int
    port_name: str
    target_port: str
    """As the Service says it; empty when it says nothing."""
    app_protocol: str
    tls: str = ""
    """How https is spoken to it; empty for plain HTTP."""
    weight: int
    share: float
    """Part of the route's requests, from 0 to 1."""
    location: str
    sources: tuple[str, ...]
    """The objects that the endpoints were read from."""
    endpoints: tuple[EndpointShown, ...]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A diagnostic that has to do with this request."""

    severity: str
    code: str
    object: str
    field: str
    message: str
    consequence: str
    remedy: str
    location: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to the request in the end."""

    outcome: Literal["forwarded", "answered", "refused"]
    """To an endpoint; by the proxy itself, with success; or by the proxy itself, with an error."""
    status: int | None
    """The status of the proxy's own answer; a forwarded request gets the endpoint's."""
    code: str = ""
    """The fault, as the access log calls it; empty when there is none."""
    summary: str
    """One sentence: what happens."""
    reason: str = ""
    """More precisely why; may be empty."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything there is to say about one request. What was not reached is None or empty."""

    request: Asked
    version: int
    """Of the snapshot that was asked."""
    verdict: Verdict
    tls: TlsShown | None = None
    """Over https only."""
    host: str | None = None
    """The host in normal form."""
    host_pattern: HostPattern | None = None
    """Whose routes were asked; empty for those of every other host."""
    hosts: tuple[HostStep, ...] = ()
    path: str | None = None
    """The path as received, without query."""
    match_path: str | None = None
    forwarded_target: str | None = None
    """Path and query, as the endpoint gets them."""
    path_changes: tuple[str, ...] = ()
    routes: tuple[RouteShown, ...] = ()
    ingresses: tuple[str, ...] = ()
    """All that claim this host, the oldest first."""
    upstreams: tuple[UpstreamShown, ...] = ()
    limits: dict[str, int | float] = {}
    """The limits of the proxy that bind this request, by name; bytes, seconds or counts."""
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """What to bear in mind about the question."""

    @property
    def served(self) -> bool:
        """Whether the proxy itself raises no error."""
        return self.verdict.outcome != "refused"


def shown(explanation: Explanation) -> dict[str, Any]:
    """An explanation as plain values for JSON."""
    plain: dict[str, Any] = msgspec.to_builtins(explanation)
    return plain
