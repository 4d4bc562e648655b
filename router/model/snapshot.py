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


class Route(msgspec.Struct, frozen=True, gc=False):
    """One path of one host, what to do with it, and where that was said."""

    path: PathCondition
    written: str
    """The path as its owner wrote it, for people."""
    action: Forward | Answer
    origin: Origin


class Host(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The routes of one host pattern.

    At most one route for a (kind, value) of path: conflicts are decided before. The order of
    ``routes`` carries no meaning for matching (an exact path wins, then the longest prefix); it is
    sorted so that equal objects give equal snapshots.
    """

    routes: tuple[Route, ...] = ()
    default: Route | None = None
    """Takes what no path takes; None means 404."""


class Listener(msgspec.Struct, frozen=True, omit_defaults=True):
    """A port that clients reach, and the set of hosts served there."""

    name: ListenerName
    protocol: Literal["http"]
    published_port: int
    """The port that clients use, for X-Forwarded-Port; it may differ from the bound port."""
    hosts: HostSetName = "default"


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """One complete, consistent state of the routing table."""

    version: SnapshotVersion = 0
    listeners: dict[ListenerName, Listener] = {}
    hosts: dict[HostSetName, dict[HostPattern, Host]] = {}
    upstreams: dict[UpstreamKey, Upstream] = {}
    endpoints: dict[UpstreamKey, EndpointSet] = {}
    """One entry for each upstream; an entry may be empty."""


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What changed from version ``base`` to ``version``; None marks what is gone.

    A delta that names only endpoints builds no table.
    """

    base: SnapshotVersion
    version: SnapshotVersion
    hosts: dict[HostSetName, dict[HostPattern, Host | None]] = {}
    upstreams: dict[UpstreamKey, Upstream | None] = {}
    endpoints: dict[UpstreamKey, EndpointSet | None] = {}
