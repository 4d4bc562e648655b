"""What all exchanges of one worker share: the current table, pools, counters, limits."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import TypeVar
from weakref import WeakValueDictionary

from router.accesslog import AccessLog
from router.counters import RouteCounters, WorkerCounters
from router.forward.identity import TrustedProxies
from router.http.faults import UNSERVABLE, Fault
from router.http.fields import (
    REQUEST_KINDS,
    REQUEST_PREFIXES,
    RESPONSE_KINDS,
    FieldReader,
)
from router.match.hosts import normalise_host
from router.match.table import Table
from router.model.apply import apply_delta
from router.model.limits import Limits
from router.model.origin import RouteLabel
from router.model.snapshot import (
    Answer,
    Delta,
    Forward,
    HostPattern,
    HostSetName,
    Route,
    Snapshot,
)
from router.model.upstreams import EndpointSet, UpstreamKey
from router.model.wire import Options, RouteStats, UpstreamGauges
from router.pool import UpstreamPool
from router.server_names import ServerNames
from router.steps import Steps
from tls.certificate import CertificateDigest, CertificatePair
from tls.policy import Authorities, AuthoritiesDigest

K = TypeVar("K")
V = TypeVar("V")

NEVER = math.inf

_REMEMBERED_HOSTS = 4096


class BoundRoute:
    """A route with what a worker keeps for it: counters and live upstreams."""

    __slots__ = (
        "_current",
        "answer",
        "counters",
        "hsts_line",
        "passes_certificate",
        "pools",
        "reason",
        "route",
        "weights",
    )

    def __init__(
        self, route: Route, counters: RouteCounters, pools: tuple[UpstreamPool, ...]
    ) -> None:
        self.route = route
        self.counters = counters
        self.pools = pools
        action = route.action
        self.answer: Fault | None = None
        """What is answered without an upstream."""
        self.reason = ""
        self.passes_certificate = route.https is not None and route.https.pass_client_certificate
        self.hsts_line = b""
        """Complete Strict-Transport-Security line for answers over https."""
        if route.https is not None and route.https.hsts:
            self.hsts_line = f"Strict-Transport-Security: {route.https.hsts}\r\n".encode("latin-1")
        if isinstance(action, Answer):
            self.answer = replace(UNSERVABLE, status=action.status)
            self.reason = action.reason
        self.weights = (
            tuple(backend.weight for backend in action.backends)
            if isinstance(action, Forward)
            else ()
        )
        self._current = [0] * len(self.weights)

    def pool(self) -> UpstreamPool | None:
        """The upstream for the next request, by weight; None when the route has none.

        Smooth weighted round robin: the one that is furthest behind its share comes next.
        """
        pools = self.pools
        if len(pools) == 1:
            return pools[0]
        total = sum(self.weights)
        if not total:
            return None
        current = self._current
        for index, weight in enumerate(self.weights):
            current[index] += weight
        chosen = max(range(len(current)), key=current.__getitem__)
        current[chosen] -= total
        return pools[chosen]


class Runtime:
    """One worker's state. Everything here is replaced in one assignment or counted up."""

    __slots__ = (
        "_counters",
        "_grown",
        "_hosts",
        "_pool_start",
        "access_log",
        "active_pools",
        "authorities",
        "certificates",
        "clock",
        "counters",
        "date_line",
        "denied",
        "draining",
        "guarded",
        "limits",
        "no_route",
        "now",
        "options",
        "pools",
        "proxies",
        "proxy_protocol",
        "random_bits",
        "request_fields",
        "response_fields",
        "server_line",
        "server_names",
        "snapshot",
        "table",
        "wall_clock",
    )

    def __init__(
        self,
        *,
        limits: Limits,
        options: Options,
        access_log: AccessLog | None,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        random_bits: Callable[[int], int],
    ) -> None:
        self.limits = limits
        self.options = options
        self.access_log = access_log
        self.clock = clock
        """Monotonic seconds, exact."""
        self.wall_clock = wall_clock
        self.now = clock()
        """Monotonic seconds of the last tick of the worker's timer: good enough for deadlines."""
        self.random_bits = random_bits
        self.proxies = TrustedProxies(options.trusted_proxies)
        self.proxy_protocol = TrustedProxies(options.proxy_protocol_from)
        """Peers whose connections begin with a PROXY protocol header."""
        self.denied = tuple(ip_network(each) for each in options.denied_endpoints)
        """Networks to which no name of an endpoint may lead."""
        self.server_line = (
            f"Server: {options.server_header}\r\n".encode("latin-1")
            if options.server_header
            else b""
        )
        self.date_line = b""
        """Complete Date line, kept current by the worker's timer."""
        self.draining = False
        self.counters = WorkerCounters()
        self.request_fields = FieldReader(
            REQUEST_KINDS,
            REQUEST_PREFIXES,
            max_line=limits.max_header_line,
            drop_underscores=True,
        )
        self.response_fields = FieldReader(
            RESPONSE_KINDS, (), max_line=limits.max_header_line, drop_underscores=False
        )
        self.pools: dict[UpstreamKey, UpstreamPool] = {}
        self.active_pools: set[UpstreamPool] = set()
        """Those in which something goes on; see `UpstreamPool.active`."""
        self._pool_start = random_bits(16)
        # Counters live as long as a bound route of theirs: labels of deleted objects go away.
        self._counters: WeakValueDictionary[RouteLabel, RouteCounters] = WeakValueDictionary()
        self._grown: list[RouteCounters] = []
        """Those that counted something since the last report."""
        self.no_route = self.counters_of("", "", "")
        self._hosts: dict[bytes, bytes] = {}
        self.snapshot = Snapshot()
        self.certificates: Mapping[CertificateDigest, CertificatePair] = {}
        """Those that may be shown to upstreams."""
        self.authorities: Mapping[AuthoritiesDigest, Authorities] = {}
        """Those that upstreams' certificates may have to come from."""
        self.table: Table[BoundRoute] = Table.of(self.snapshot, self._bind)
        self.server_names: dict[HostSetName, ServerNames] = {}
        self.guarded = False
        """Whether a request's host must be checked against the policy of its connection."""

    def loading(self, snapshot: Snapshot) -> Steps[None]:
        """Serve this snapshot, once all is prepared; pools and counters that still have a use live
        on. One step a host or an upstream."""
        self._hold_both(snapshot)
        yield from self._refresh_pools(snapshot.upstreams, snapshot)
        table = yield from Table.building(snapshot, self._bind)
        names = {name: ServerNames.of(snapshot, name) for name in snapshot.server_names}
        yield from self._swap(snapshot, table, names, self.pools.keys() - snapshot.upstreams.keys())

    def changing(self, delta: Delta) -> Steps[None]:
        """Serve what a delta makes of the current snapshot; otherwise as `loading`.

        Raises:
            OutOfStepError: it was made for another version.
        """
        snapshot = apply_delta(self.snapshot, delta)
        self._hold_both(snapshot)
        concerned = delta.upstreams.keys() | delta.endpoints.keys()
        yield from self._refresh_pools(concerned & snapshot.upstreams.keys(), snapshot)
        table = yield from self.table.changing(delta, self._bind)
        names = self.server_names
        if delta.server_names:
            names = names.copy()
            for name, changes in delta.server_names.items():
                names[name] = self.server_names_for(name).changed(changes, snapshot, name)
        gone = (concerned - snapshot.upstreams.keys()) & self.pools.keys()
        yield from self._swap(snapshot, table, names, gone)

    def server_names_for(self, name: HostSetName) -> ServerNames:
        """The server names of a host set; one that the snapshot does not name has none."""
        found = self.server_names.get(name)
        return ServerNames(None, {}, guarded=False) if found is None else found

    def _hold_both(self, snapshot: Snapshot) -> None:
        """Until the swap, what upstreams' profiles name is that of both versions: pools are
        renewed before it."""
        self.certificates = _union(self.snapshot.certificates, snapshot.certificates)
        self.authorities = _union(self.snapshot.authorities, snapshot.authorities)

    def _refresh_pools(self, keys: Iterable[UpstreamKey], snapshot: Snapshot) -> Steps[None]:
        """Bring pools up to date in place: bound routes of unchanged hosts refer to them."""
        for key in keys:
            yield
            upstream = snapshot.upstreams[key]
            pool = self.pools.get(key)
            if pool is None:
                pool = self.pools[key] = UpstreamPool(
                    upstream,
                    self.active_pools,
                    max_open=self.limits.max_upstream_connections,
                    max_idle=self.limits.max_upstream_idle,
                    start=self._pool_start,
                )
            elif pool.upstream != upstream:
                pool.upstream = upstream
                pool.replace(EndpointSet())  # connections of the old kind are of no use
            pool.replace(snapshot.endpoints.get(key, EndpointSet()))

    def _swap(
        self,
        snapshot: Snapshot,
        table: Table[BoundRoute],
        server_names: dict[HostSetName, ServerNames],
        gone: Iterable[UpstreamKey],
    ) -> Steps[None]:
        """In one step, all that a request or a handshake looks at; then forget the pools that
        nothing of it leads to."""
        self.snapshot = snapshot
        self.certificates, self.authorities = snapshot.certificates, snapshot.authorities
        self.table = table
        self.server_names = server_names
        self.guarded = any(names.guarded for names in server_names.values())
        for key in gone:
            yield
            pool = self.pools.pop(key)
            pool.replace(EndpointSet())
            self.active_pools.discard(pool)

    def _bind(self, pattern: HostPattern, route: Route) -> BoundRoute:
        action = route.action
        pools: tuple[UpstreamPool, ...] = ()
        if isinstance(action, Forward):
            pools = tuple([self.pools[backend.upstream] for backend in action.backends])
        origin = route.origin
        return BoundRoute(
            route, self.counters_of(origin.namespace, origin.name, origin.service), pools
        )

    def counters_of(self, namespace: str, ingress: str, service: str) -> RouteCounters:
        """The counters of one (ingress, service); empty names for requests without a route."""
        label = RouteLabel(namespace, ingress, service)
        counters = self._counters.get(label)
        if counters is None:
            counters = self._counters[label] = RouteCounters(label, self._grown)
        return counters

    def report_routes(self) -> tuple[RouteStats, ...]:
        """What was counted on routes since the last report."""
        reports = tuple([counters.report() for counters in self._grown])
        self._grown.clear()
        return reports

    def report_pools(self) -> tuple[UpstreamGauges, ...]:
        """The pools in which something goes on, or went on at the last report."""
        reports = []
        for pool in tuple(self.active_pools):
            gauges = pool.report(self.now)
            if gauges is None:
                self.active_pools.discard(pool)
            else:
                reports.append(gauges)
        return tuple(reports)

    def host_name(self, raw: bytes) -> bytes | None:
        """The normalised form of a Host field's value, remembered; None when it is invalid."""
        host = self._hosts.get(raw)
        if host is None:
            host = normalise_host(raw)
            if host is not None:
                if len(self._hosts) >= _REMEMBERED_HOSTS:
                    self._hosts.clear()
                self._hosts[raw] = host
        return host


def _union(old: dict[K, V], new: dict[K, V]) -> dict[K, V]:
    return new if new is old else {**old, **new}
