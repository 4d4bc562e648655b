"""What Prometheus reads: a collector over one state, which is a value.

Labels are bounded: requests are counted by Ingress and Service (not by path, method or client), and
every name in a label is an object's. METRICS says what each metric means; `docs/reference.md` is
made from it. The workers' own counters and gauges, whose names come with their reports, appear as
``ingress_worker_NAME``; what stands behind a dot in a name is the label ``code``.
"""

import heapq
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ingress_controller.admin.state import CertificateExpiry, ClusterState, State
from ingress_controller.supervisor.totals import SWAP_BUCKETS
from router.model.wire import LATENCY_BUCKETS

Labels = tuple[str, ...]
ROUTE = ("namespace", "ingress", "service")

METRICS: Mapping[str, tuple[Labels, str]] = {
    "ingress_build_info": (("version", "python"), "Always 1; the labels say what runs."),
    "ingress_requests_total": ((*ROUTE, "code"), "Requests answered, by class of status code."),
    "ingress_request_duration_seconds": (
        ROUTE,
        "From the request's first byte to the answer's last.",
    ),
    "ingress_request_bytes_total": (ROUTE, "Bytes received from clients."),
    "ingress_response_bytes_total": (ROUTE, "Bytes sent to clients."),
    "ingress_upstream_endpoints": (
        ("upstream", "state"),
        "Endpoints of an upstream: eligible for requests, or ejected after failures (of all "
        "workers the most pessimistic view).",
    ),
    "ingress_upstream_connections": (
        ("upstream", "state"),
        "Connections to an upstream: active with a request, or idle.",
    ),
    "ingress_upstream_waiting": (("upstream",), "Requests that wait for a connection."),
    "ingress_tls_handshakes_total": (
        ("version", "cipher", "resumed"),
        "TLS handshakes done with clients.",
    ),
    "ingress_tls_handshake_failures_total": (
        ("reason",),
        "Connections to the HTTPS port that ended before their handshake was done.",
    ),
    "ingress_certificate_expiry_timestamp_seconds": (
        ("host", "namespace", "secret"),
        "When the certificate that answers for a host expires, as Unix time. Host * is the default "
        "certificate; its Secret is empty while it is self-signed.",
    ),
    "ingress_snapshot_version": ((), "Version of the newest snapshot."),
    "ingress_worker_snapshot_version": (("worker",), "Version that a worker serves."),
    "ingress_workers": (("state",), "Workers that serve a snapshot, and those that do not (yet)."),
    "ingress_worker_restarts_total": (("worker",), "Workers started again after one ended."),
    "ingress_process_cpu_seconds_total": (
        ("process",),
        "CPU time of a process: control, or the number of a worker (a new one begins at 0).",
    ),
    "ingress_process_resident_memory_bytes": (("process",), "Memory of a process."),
    "ingress_process_open_fds": (("process",), "Files and connections that a process has open."),
    "ingress_swap_duration_seconds": (
        (),
        "Updates of the table in a worker, which serves meanwhile; the count is that of swaps.",
    ),
    "ingress_diagnostics": (("code", "severity"), "Findings about objects and files, now."),
    "ingress_watch_synced": (
        ("kind", "namespace"),
        "1 when all objects of a kind have been read (namespace is empty for all namespaces).",
    ),
    "ingress_watch_objects": (
        ("kind", "namespace"),
        "Objects of a kind, as the API last had them.",
    ),
    "ingress_watch_stale_seconds": (
        ("kind", "namespace"),
        "Seconds since the API server last said a word about a kind; up to 60 at rest.",
    ),
    "ingress_watch_requests_total": (
        ("kind", "namespace", "request"),
        "Requests to the API server: list or watch.",
    ),
    "ingress_watch_failures_total": (
        ("kind", "namespace"),
        "Lists and watches that failed; a watch that the server ends is no failure.",
    ),
    "ingress_leader": ((), "1 when this replica writes status and Events."),
    "ingress_leader_terms_total": ((), "How often this replica began to write."),
    "ingress_status_contested": ((), "Ingresses whose status somebody else writes, too."),
    "ingress_status_writes_total": (
        ("result",),
        "Writes of an Ingress's status: written, or failed (it is tried again).",
    ),
    "ingress_status_pending": ((), "Ingresses whose status is still to be written."),
    "ingress_events_total": (
        ("result",),
        "Events: written, failed, or dropped because there were too many.",
    ),
    "ingress_log_lines_dropped_total": ((), "Lines of the control log that nobody read in time."),
}

WORKER_PREFIX = "ingress_worker_"
WORKER_COUNTERS: Mapping[str, str] = {
    "connections": "Client connections accepted.",
    "refused_connections": "Client connections closed at once, because of --max-connections.",
    "retries": "Requests sent again, or to another endpoint.",
    "upgrades": "Connections that became WebSockets or other tunnels.",
    "passthroughs": "Connections passed to an endpoint without ending their TLS.",
    "fault": "Requests that we had to answer or cut ourselves, by the code in the access log.",
    "underscore_fields_dropped": "Header fields dropped because of an underscore in their name.",
    "access_log_lines_dropped": "Lines of the access log that nobody read in time.",
}
WORKER_GAUGES: Mapping[str, str] = {
    "client_connections": "Client connections that are open.",
    "upstream_connections": "Connections to endpoints that are open.",
    "open_exchanges": "Requests that are being answered.",
}
HANDSHAKES = "tls.handshakes."
"""Counters of workers: version, cipher, and ``full`` or ``resumed`` follow."""
FAILURES = "tls.failures."
"""Counters of workers: a reason follows."""
MAX_CERTIFICATES = 20_000
"""Hosts whose certificates are shown; with more, those that expire first."""
SHOWN_ELSEWHERE = frozenset({"snapshot_version"})
"""Gauges of workers that are known from their acknowledgements, too."""


class StateCollector(Collector):
    """Prometheus' view of one state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        yield _gauge("ingress_build_info", {(self._state.version, platform.python_version()): 1})
        yield from self._requests()
        yield from self._upstreams()
        yield from self._tls()
        yield from self._control()
        if self._state.cluster is not None:
            yield from _cluster(self._state.cluster)
        yield from self._reported()

    def _requests(self) -> Iterator[Metric]:
        routes = self._state.routes
        yield _counter(
            "ingress_requests_total",
            {
                (*label, f"{index + 1}xx"): count
                for label, total in routes.items()
                for index, count in enumerate(total.codes)
                if count
            },
        )
        durations = _histogram("ingress_request_duration_seconds")
        for label, total in routes.items():
            buckets = _cumulative(LATENCY_BUCKETS, total.buckets)
            durations.add_metric(label, buckets, total.seconds)
        yield durations
        received = {tuple(label): total.bytes_received for label, total in routes.items()}
        yield _counter("ingress_request_bytes_total", received)
        sent = {tuple(label): total.bytes_sent for label, total in routes.items()}
        yield _counter("ingress_response_bytes_total", sent)

    def _upstreams(self) -> Iterator[Metric]:
        endpoints: dict[Labels, int] = {}
        connections: Counter[Labels] = Counter()
        waiting: Counter[Labels] = Counter()
        for by_upstream in self._state.upstreams.values():
            for upstream, gauges in by_upstream.items():
                eligible, ejected = (upstream, "eligible"), (upstream, "ejected")
                # Each worker has the same endpoints, so these do not add up.
                endpoints[eligible] = min(endpoints.get(eligible, gauges.eligible), gauges.eligible)
                endpoints[ejected] = max(endpoints.get(ejected, 0), gauges.ejected)
                connections[upstream, "active"] += gauges.active
                connections[upstream, "idle"] += gauges.idle
                waiting[(upstream,)] += gauges.waiting
        yield _gauge("ingress_upstream_endpoints", endpoints)
        yield _gauge("ingress_upstream_connections", connections)
        yield _gauge("ingress_upstream_waiting", waiting)

    def _tls(self) -> Iterator[Metric]:
        handshakes: dict[Labels, int] = {}
        failures: dict[Labels, int] = {}
        for name, count in self._state.counters.items():
            if name.startswith(HANDSHAKES):
                # From the right: the version has a dot of its own (TLSv1.3).
                version, cipher, way = name.removeprefix(HANDSHAKES).rsplit(".", 2)
                handshakes[version, cipher, "yes" if way == "resumed" else "no"] = count
            elif name.startswith(FAILURES):
                failures[(name.removeprefix(FAILURES),)] = count
        yield _counter("ingress_tls_handshakes_total", handshakes)
        yield _counter("ingress_tls_handshake_failures_total", failures)
        certificates = self._state.certificates
        if len(certificates) > MAX_CERTIFICATES:
            certificates = heapq.nsmallest(MAX_CERTIFICATES, certificates, key=_not_after)
        yield _gauge(
            "ingress_certificate_expiry_timestamp_seconds",
            {
                (each.host or "*", each.namespace, each.secret): each.not_after
                for each in certificates
            },
        )

    def _control(self) -> Iterator[Metric]:
        state = self._state
        if state.snapshot_version is not None:
            yield _gauge("ingress_snapshot_version", {(): state.snapshot_version})
        served: dict[Labels, float] = {
            (str(w.slot),): w.version for w in state.workers if w.version is not None
        }
        yield _gauge("ingress_worker_snapshot_version", served)
        absent = len(state.workers) - len(served)
        yield _gauge("ingress_workers", {("serving",): len(served), ("starting",): absent})
        yield _counter(
            "ingress_worker_restarts_total", {(str(w.slot),): w.restarts for w in state.workers}
        )
        cpu: dict[Labels, float] = {}
        memory: dict[Labels, float] = {}
        files: dict[Labels, float] = {}
        for name, each in state.processes.items():
            cpu[(name,)] = each.cpu_seconds
            memory[(name,)] = each.resident_bytes
            files[(name,)] = each.open_files
        yield _counter("ingress_process_cpu_seconds_total", cpu)
        yield _gauge("ingress_process_resident_memory_bytes", memory)
        yield _gauge("ingress_process_open_fds", files)
        swaps = _histogram("ingress_swap_duration_seconds")
        swaps.add_metric((), _cumulative(SWAP_BUCKETS, state.swap_buckets), state.swap_seconds)
        yield swaps
        found: Counter[Labels] = Counter((d.code.value, d.severity) for d in state.diagnostics)
        yield _gauge("ingress_diagnostics", found)
        yield _counter("ingress_log_lines_dropped_total", {(): state.log_lines_dropped})

    def _reported(self) -> Iterator[Metric]:
        """What workers report beside requests, under the names that they give."""
        counters: dict[str, CounterMetricFamily] = {}
        for name, count in sorted(self._state.counters.items()):
            if name.startswith((HANDSHAKES, FAILURES)):
                continue
            base, dot, code = name.partition(".")
            if base not in counters:
                text = WORKER_COUNTERS.get(base, "Reported by the workers.")
                labels = ("code",) if dot else ()
                counters[base] = CounterMetricFamily(WORKER_PREFIX + base, text, labels=labels)
            counters[base].add_metric((code,) if dot else (), count)
        gauges: dict[str, GaugeMetricFamily] = {}
        for slot, reported in sorted(self._state.gauges.items()):
            for name in sorted(reported.keys() - SHOWN_ELSEWHERE):
                if name not in gauges:
                    text = WORKER_GAUGES.get(name, "Reported by the workers.")
                    gauges[name] = GaugeMetricFamily(WORKER_PREFIX + name, text, labels=("worker",))
                gauges[name].add_metric((str(slot),), reported[name])
        yield from counters.values()
        yield from gauges.values()


def render(state: State) -> bytes:
    """A state in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StateCollector(state))
    return generate_latest(registry)


def _cluster(cluster: ClusterState) -> Iterator[Metric]:
    synced: dict[Labels, float] = {}
    objects: Counter[Labels] = Counter()
    stale: dict[Labels, float] = {}
    requests: Counter[Labels] = Counter()
    failures: Counter[Labels] = Counter()
    for each in cluster.kinds:  # one kind comes twice where objects of it are read alone, too
        of = (each.kind, each.namespace)
        synced[of] = min(synced.get(of, 1.0), float(each.synced))
        objects[of] += each.objects
        stale[of] = max(stale.get(of, 0.0), each.staleness)
        requests[*of, "list"] += each.lists
        requests[*of, "watch"] += each.watches
        failures[of] += each.errors
    yield _gauge("ingress_watch_synced", synced)
    yield _gauge("ingress_watch_objects", objects)
    yield _gauge("ingress_watch_stale_seconds", stale)
    yield _counter("ingress_watch_requests_total", requests)
    yield _counter("ingress_watch_failures_total", failures)
    yield _gauge("ingress_leader", {(): float(cluster.leading)})
    yield _counter("ingress_leader_terms_total", {(): cluster.terms})
    yield _gauge("ingress_status_contested", {(): cluster.status_contested})
    yield _counter("ingress_status_writes_total", _by_result(cluster.status_writes))
    yield _gauge("ingress_status_pending", {(): cluster.status_pending})
    yield _counter("ingress_events_total", _by_result(cluster.events))


def _by_result(counts: Mapping[str, int]) -> Mapping[Labels, float]:
    return {(result,): count for result, count in counts.items()}


def _gauge(name: str, values: Mapping[Labels, float]) -> GaugeMetricFamily:
    labels, text = METRICS[name]
    family = GaugeMetricFamily(name, text, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def _counter(name: str, values: Mapping[Labels, float]) -> CounterMetricFamily:
    labels, text = METRICS[name]
    family = CounterMetricFamily(name, text, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def _histogram(name: str) -> HistogramMetricFamily:
    labels, text = METRICS[name]
    return HistogramMetricFamily(name, text, labels=labels)


def _not_after(certificate: CertificateExpiry) -> int:
    return certificate.not_after


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Prometheus' buckets, each with the smaller ones, from one count a bucket."""
    total = 0
    buckets = []
    for bound, count in zip((*map(repr, bounds), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
