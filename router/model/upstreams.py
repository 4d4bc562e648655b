"""Upstreams (a Service port as target) and the endpoints that serve them.

Endpoint sets stand apart from upstreams and routes: they change by far the most often, and a
change of endpoints must not touch a route.
"""

from typing import Literal

import msgspec

from tls.policy import UpstreamTls

UpstreamKey = str
"""``namespace/service:port`` where port is the Service port's number. Unique in a snapshot."""

UpstreamProtocol = Literal["http", "https"]
"""How the endpoints are spoken to."""


class Upstream(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A target of routes: one port of one Service."""

    key: UpstreamKey
    namespace: str
    service: str
    port: str
    """The Service port: its name if it has one, else its number."""
    protocol: UpstreamProtocol = "http"
    tls: UpstreamTls | None = None
    """How https is spoken; None for http."""


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One address that serves an upstream, with its conditions resolved (nil rules applied)."""

    address: str
    """IPv4 or IPv6 literal without brackets, or a DNS name (ExternalName only)."""
    port: int
    ready: bool = True
    serving: bool = True
    terminating: bool = False


class EndpointSet(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """All endpoints of one upstream, sorted by (address, port), without duplicates."""

    endpoints: tuple[Endpoint, ...] = ()
