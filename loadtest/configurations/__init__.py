"""How each of the measured proxies is configured and called.

All do the same work: routes by host and path to three endpoints with kept-alive connections, sets
X-Forwarded-For, -Host, -Port, -Proto, X-Real-IP and X-Request-ID, writes an access log of some
twenty fields as JSON lines to a file, has its metrics on where its build has any, streams bodies
in both directions, passes WebSocket on, and uses one core. For HTTPS, all have the same
certificate, TLS 1.2 and 1.3, X25519 first, and session tickets.
"""

from collections.abc import Callable

from loadtest.configurations.envoy import envoy
from loadtest.configurations.haproxy import haproxy
from loadtest.configurations.nginx import nginx
from loadtest.configurations.ours import ours
from loadtest.configurations.setting import (
    ADDRESSES,
    OURS,
    Certificate,
    Command,
    Missing,
    Setting,
    certificate,
)

__all__ = [
    "ADDRESSES",
    "OURS",
    "PROXIES",
    "Certificate",
    "Command",
    "Missing",
    "Setting",
    "certificate",
    "ours",
]

PROXIES: dict[str, Callable[[Setting], Command]] = {
    OURS: ours,
    "nginx": nginx,
    "haproxy": haproxy,
    "envoy": envoy,
}
