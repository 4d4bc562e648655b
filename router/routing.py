"""Where a request goes: the table's answer, guarded by the policy of its connection.

The order of decisions: path, host, policy, route, what the route says. `explain` tells the same.
"""

from router.forward.request import Forwarding
from router.http.faults import (
    AMBIGUOUS_PATH,
    BAD_HOST,
    CERTIFICATE_NEEDED,
    MISDIRECTED,
    NO_ROUTE,
    Fault,
)
from router.http.head import RequestHead
from router.match.paths import PathRefused, canonical_path
from router.model.snapshot import HostSetName
from router.runtime import BoundRoute, Runtime
from tls.policy import TlsPolicy

Routed = tuple[BoundRoute | None, bytes, Fault | None, str]
"""Route, path to forward, why it is not forwarded all the same, and a sentence about that. A plain
tuple, because one is made for each request."""


def find_route(
    rt: Runtime, hosts: HostSetName, policy: TlsPolicy | None, head: RequestHead
) -> Routed:
    """Find the route in the table that is current now.

    ``policy`` is what the client's connection was opened under, None for plain HTTP.
    """
    path = canonical_path(head.path)
    if isinstance(path, PathRefused):
        return None, b"", AMBIGUOUS_PATH, path.reason
    table = rt.table.hosts_for(hosts)
    raw = head.host_field
    routes = table.precise.get(raw) if raw is not None else table.any
    if routes is None:
        host = rt.host_name(raw) if raw is not None else b""
        if host is None:
            return None, b"", BAD_HOST, ""
        routes = table.find_host(host)
    fault = _check_policy(rt, hosts, policy, raw) if rt.guarded else None
    if fault is MISDIRECTED:
        return None, b"", fault, ""
    route = routes.find(path.match) if routes is not None else None
    if route is None:
        return None, b"", NO_ROUTE, ""
    https = route.route.https
    if fault is CERTIFICATE_NEEDED and https is not None and https.plain:
        fault = None
    if fault is None and route.answer is not None:
        return route, path.forward, route.answer, route.reason
    return route, path.forward, fault, ""


def _check_policy(
    rt: Runtime, hosts: HostSetName, policy: TlsPolicy | None, raw: bytes | None
) -> Fault | None:
    """The host asked for must be under the policy that this connection was opened under.

    RFC 9110 15.5.20: a connection may be used for other hosts than the one it was opened for, but
    not to get around their client certificates or versions.
    """
    host = rt.host_name(raw) if raw is not None else b""
    wanted = rt.server_names_for(hosts).policy_for(host.decode("ascii") if host else "")
    if policy is not None:
        return None if wanted == policy else MISDIRECTED
    if wanted is not None and wanted.client_certificates == "required":
        return CERTIFICATE_NEEDED
    return None


def must_redirect(route: BoundRoute, forwarding: Forwarding, head: RequestHead) -> bool:
    """Whether this route is for https alone, and the client's connection is not."""
    https = route.route.https
    return https is not None and https.redirect and not forwarding.is_secure(head)


def https_location(rt: Runtime, head: RequestHead, path: bytes, port: int) -> bytes:
    """The https URL of a request: host and path in normal form, so nothing of a client's making
    but these gets into the answer."""
    host = rt.host_name(head.host_field or b"") or b""
    location = b"https://%b%b%b" % (host, b"" if port == 443 else b":%d" % port, path)
    return location if head.query is None else location + b"?" + head.query
