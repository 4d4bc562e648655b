"""The snapshot: everything a worker needs to route, as one immutable message.

A host pattern is a precise name (``shop.example``), a one-label wildcard (``*.shop.example``) or
the empty string, which takes the hosts that no other pattern claims. Patterns are lower case and
carry no port and no trailing dot. A request is served by exactly one host entry (precise before
wildcard before empty); there is no fall-through from one host to another.
"""

from typing import Literal

import msgspec

from router.model.origin import Origin
from router.model.upstreams import EndpointSet, Upstream, UpstreamKey
from tls.certificate import CertificateDigest, CertificatePair
from tls.policy import Authorities, AuthoritiesDigest, TlsPolicy

SnapshotVersion = int
HostPattern = str
ListenerName = str
HostSetName = str

PathKind = Literal["exact", "prefix"]


class PathCondition(msgspec.Struct, frozen=True, gc=False):
    """When a path belongs to a route.

    ``value`` is in match form (`router.match.paths`): it begins with a slash, repeated slashes
    are one, unreserved octets are not percent-encoded, hexadecimal digits are upper case. For
    ``prefix`` a trailing slash is already removed (``/`` itself becomes the empty string), and
    the condition holds element by element: ``/a`` takes ``/a``, ``/a/`` and ``/a/b``, not ``/ab``.
    """

    kind: PathKind
    value: str


class Backend(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A share of a route's traffic."""

    upstream: UpstreamKey
    weight: int = 1


class Forward(msgspec.Struct, frozen=True, tag="forward", gc=False):
    """Send the request to one of these backends; the weights say how often to which."""

    backends: tuple[Backend, ...]


class Answer(msgspec.Struct, frozen=True, tag="answer", gc=False):
    """Answer without an upstream: the route is right, but nothing can serve it."""

    status: int
    reason: str
    """A sentence for people: the access log and ``explain`` quote it."""


class HttpsRules(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a route of a host with TLS says about the scheme."""

    redirect: bool = True
    """Plain requests are answered with 308 to the https URL."""
    plain: bool = False
    """Open to plain requests even where the host needs client certificates: solvers of ACME
    challenges, which are asked over plain HTTP (RFC 8555 8.3)."""
    hsts: str = ""
    """Value of Strict-Transport-Security on answers over https; empty sends none."""
    pass_client_certificate: bool = False
    """Send the client's whole certificate (PEM, percent-encoded) to the upstream, beside what is
    always sent about a verified one."""


class Route(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One path of one host, what to do with it, and where that was said."""

    path: PathCondition
    written: str
    """The path as its owner wrote it, for people."""
    action: Forward | Answer
    origin: Origin
    https: HttpsRules | None = None
    """None: the scheme makes no difference."""


class Host(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The routes of one host pattern.

    At most one route for a (kind, value) of path: conflicts are decided before. The order of
    ``routes`` carries no meaning for matching (an exact path wins, then the longest prefix); it is
    sorted so that equal objects give equal snapshots.
    """

    routes: tuple[Route, ...] = ()
    default: Route | None = None
    """Takes what no path takes; None means 404."""


class Terminate(msgspec.Struct, frozen=True, tag="terminate", omit_defaults=True, gc=False):
    """TLS for this server name ends here."""

    certificates: tuple[CertificateDigest, ...] = ()
    """At most one a key algorithm; empty means the default certificate."""
    policy: TlsPolicy = TlsPolicy()


class Passthrough(msgspec.Struct, frozen=True, tag="passthrough", gc=False):
    """TLS for this server name is not ended here: the bytes go to an endpoint as they came."""

    upstream: UpstreamKey
    origin: Origin


ServerName = Terminate | Passthrough


class Listener(msgspec.Struct, frozen=True, omit_defaults=True):
    """A port that clients reach, and the set of hosts served there."""

    name: ListenerName
    protocol: Literal["http", "https"]
    published_port: int
    """The port that clients use, for X-Forwarded-Port; it may differ from the bound port."""
    hosts: HostSetName = "default"
    https_port: int = 443
    """The published port that redirects to https name."""


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """One complete, consistent state of the routing table."""

    version: SnapshotVersion = 0
    listeners: dict[ListenerName, Listener] = {}
    hosts: dict[HostSetName, dict[HostPattern, Host]] = {}
    upstreams: dict[UpstreamKey, Upstream] = {}
    endpoints: dict[UpstreamKey, EndpointSet] = {}
    """One entry for each upstream; an entry may be empty."""
    server_names: dict[HostSetName, dict[HostPattern, ServerName]] = {}
    """What answers a TLS handshake for a name. The empty pattern is the default: its policy is that
    of names nobody claims, and its certificate that of names without one of their own."""
    certificates: dict[CertificateDigest, CertificatePair] = {}
    authorities: dict[AuthoritiesDigest, Authorities] = {}
    """Whom client certificates and https upstreams must come from, where it is not the system."""


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What changed from version ``base`` to ``version``; None marks what is gone.

    A delta that names only endpoints builds no table.
    """

    base: SnapshotVersion
    version: SnapshotVersion
    hosts: dict[HostSetName, dict[HostPattern, Host | None]] = {}
    upstreams: dict[UpstreamKey, Upstream | None] = {}
    endpoints: dict[UpstreamKey, EndpointSet | None] = {}
    server_names: dict[HostSetName, dict[HostPattern, ServerName | None]] = {}
    certificates: dict[CertificateDigest, CertificatePair | None] = {}
    authorities: dict[AuthoritiesDigest, Authorities | None] = {}
