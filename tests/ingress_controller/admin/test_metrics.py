"""What Prometheus reads."""

import os

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingress_controller.admin import metrics as metrics_module
from ingress_controller.admin.metrics import METRICS, render
from ingress_controller.admin.state import (
    CertificateExpiry,
    ClusterState,
    State,
)
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.sources.source import KindState
from ingress_controller.supervisor.totals import SWAP_BUCKETS, Totals, WorkerStatus
from ingress_controller.supervisor.usage import Usage, usage_of
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode
from router.model.wire import LATENCY_BUCKETS, RouteStats, Stats, UpstreamGauges

DIAGNOSTIC = Diagnostic(
    code=DiagnosticCode.SERVICE_MISSING,
    severity="error",
    object=ObjectKey("Ingress", "a", "shop"),
    message="m",
    consequence="c",
    remedy="r",
)


def growth(codes: tuple[int, int, int, int, int], index: int = 0) -> RouteStats:
    buckets = [0] * (len(LATENCY_BUCKETS) + 1)
    buckets[index] = sum(codes)
    return RouteStats("a", "shop", "cart", codes, tuple(buckets), 0.5, 10, 20)


CERTIFICATES = (
    CertificateExpiry("shop.example", "a", "shop-tls", 1_900_000_000),
    CertificateExpiry("", "", "", 2_000_000_000),
)


KINDS = [
    KindState("Ingress", "", 0, True, 12, 0.0, lists=1, watches=3, errors=2, last_error=""),
    KindState("Secret", "", 0, True, 30, 5.0, lists=1, watches=4, errors=2, last_error=""),
    KindState("Secret", "", 3, False, 2, 7.0, lists=3, watches=3, errors=0, last_error=""),
]
CLUSTER = ClusterState(KINDS, True, 2, {"written": 5, "failed": 1}, 4, 3, {"written": 6})


def state(totals: Totals) -> State:
    return State(
        version="0.1",
        routes=totals.routes,
        counters=totals.counters,
        gauges=totals.gauges,
        upstreams=totals.upstreams,
        certificates=CERTIFICATES,
        workers=[WorkerStatus(0, 10, 7, 2), WorkerStatus(1, None, None, 0)],
        snapshot_version=8,
        swap_seconds=totals.swap_seconds,
        swap_buckets=totals.swap_buckets,
        diagnostics=[DIAGNOSTIC],
        log_lines_dropped=3,
        processes={"control": Usage(1.5, 60 << 20, 12), "0": Usage(2.5, 30 << 20, 8)},
    )


def samples(shown: State) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render(shown).decode())
        for sample in family.samples
    }


ROUTE = (("ingress", "shop"), ("namespace", "a"), ("service", "cart"))


def test_requests_are_counted_by_route_and_code_class_across_workers_and_restarts() -> None:
    totals = Totals()
    totals.add(0, Stats(routes=(growth((0, 3, 0, 1, 0)),)))
    totals.gone(0)
    totals.add(0, Stats(routes=(growth((0, 2, 0, 0, 0)),)))
    totals.add(1, Stats(routes=(growth((0, 0, 0, 0, 4)),)))
    shown = samples(state(totals))

    count = {code: shown.get(("ingress_requests_total", (("code", code), *ROUTE))) for code in
             ("1xx", "2xx", "4xx", "5xx")}  # fmt: skip
    assert count == {"1xx": None, "2xx": 5.0, "4xx": 1.0, "5xx": 4.0}
    assert shown["ingress_request_bytes_total", ROUTE] == 30.0
    assert shown["ingress_response_bytes_total", ROUTE] == 60.0
    assert shown["ingress_request_duration_seconds_sum", ROUTE] == 1.5


def test_durations_are_cumulative_and_end_in_infinity() -> None:
    totals = Totals()
    totals.add(0, Stats(routes=(growth((0, 3, 0, 0, 0), index=1),)))
    totals.add(0, Stats(routes=(growth((0, 1, 0, 0, 0), index=len(LATENCY_BUCKETS)),)))
    shown = samples(state(totals))

    name = "ingress_request_duration_seconds_bucket"
    by_bound = {dict(labels)["le"]: v for (n, labels), v in shown.items() if n == name}
    assert by_bound["0.001"] == 0.0
    assert by_bound["0.0025"] == 3.0
    assert by_bound["10.0"] == 3.0
    assert by_bound["+Inf"] == 4.0


def test_connections_add_up_over_workers_and_endpoints_do_not() -> None:
    totals = Totals()
    gauges = UpstreamGauges("a/cart:80", eligible=3, active=1, idle=2, ejected=0, waiting=4)
    totals.add(0, Stats(upstreams=(gauges,)))
    totals.add(1, Stats(upstreams=(msgspec.structs.replace(gauges, eligible=2, ejected=1),)))
    shown = samples(state(totals))

    def of(name: str, label: str) -> float:
        return shown[name, (("state", label), ("upstream", "a/cart:80"))]

    assert of("ingress_upstream_endpoints", "eligible") == 2.0
    assert of("ingress_upstream_endpoints", "ejected") == 1.0
    assert of("ingress_upstream_connections", "active") == 2.0
    assert of("ingress_upstream_connections", "idle") == 4.0
    assert shown["ingress_upstream_waiting", (("upstream", "a/cart:80"),)] == 8.0


def test_gauges_of_gone_workers_and_upstreams_are_forgotten() -> None:
    totals = Totals()
    gauges = UpstreamGauges("a/cart:80", 1, 1, 1, 0, 0)
    totals.add(0, Stats(upstreams=(gauges,), gauges={"client_connections": 5.0}))
    totals.add(1, Stats(upstreams=(gauges,), gauges={"client_connections": 2.0}))
    totals.gone(0)
    open_connections = [
        (labels, value)
        for (name, labels), value in samples(state(totals)).items()
        if name == "ingress_worker_client_connections"
    ]
    assert open_connections == [((("worker", "1"),), 2.0)]
    totals.forget_upstreams({})
    assert not any(n == "ingress_upstream_waiting" for n, _ in samples(state(totals)))


def test_swaps_versions_restarts_and_diagnostics_are_shown() -> None:
    totals = Totals()
    totals.swapped(0.0007)
    totals.swapped(60.0)
    shown = samples(state(totals))

    assert shown["ingress_swap_duration_seconds_count", ()] == 2.0
    assert shown["ingress_swap_duration_seconds_bucket", (("le", "0.001"),)] == 1.0
    assert shown["ingress_swap_duration_seconds_bucket", (("le", str(SWAP_BUCKETS[-1])),)] == 1.0
    assert shown["ingress_snapshot_version", ()] == 8.0
    assert shown["ingress_worker_snapshot_version", (("worker", "0"),)] == 7.0
    assert shown["ingress_workers", (("state", "serving"),)] == 1.0
    assert shown["ingress_workers", (("state", "starting"),)] == 1.0
    assert shown["ingress_worker_restarts_total", (("worker", "0"),)] == 2.0
    labels = (("code", "service-missing"), ("severity", "error"))
    assert shown["ingress_diagnostics", labels] == 1.0


def test_counters_of_workers_appear_under_their_names() -> None:
    totals = Totals()
    totals.add(0, Stats(counters={"retries": 2, "fault.connect-refused": 1}))
    totals.add(1, Stats(counters={"retries": 3}))
    shown = samples(state(totals))

    assert shown["ingress_worker_retries_total", ()] == 5.0
    assert shown["ingress_worker_fault_total", (("code", "connect-refused"),)] == 1.0


def test_handshakes_are_counted_by_version_cipher_and_resumption() -> None:
    totals = Totals()
    totals.add(0, Stats(counters={"tls.handshakes.TLSv1.3.TLS_AES_128_GCM_SHA256.full": 2}))
    totals.add(1, Stats(counters={"tls.handshakes.TLSv1.3.TLS_AES_128_GCM_SHA256.full": 3}))
    totals.add(1, Stats(counters={"tls.handshakes.TLSv1.2.ECDHE-RSA-AES128-SHA.resumed": 1}))
    shown = samples(state(totals))

    def of(version: str, cipher: str, resumed: str) -> float:
        labels = (("cipher", cipher), ("resumed", resumed), ("version", version))
        return shown["ingress_tls_handshakes_total", labels]

    assert of("TLSv1.3", "TLS_AES_128_GCM_SHA256", "no") == 5.0
    assert of("TLSv1.2", "ECDHE-RSA-AES128-SHA", "yes") == 1.0
    assert not any(name.startswith("ingress_worker_tls") for name, _ in shown)


def test_failed_handshakes_are_counted_by_reason() -> None:
    totals = Totals()
    totals.add(0, Stats(counters={"tls.failures.not_tls": 2}))
    shown = samples(state(totals))
    assert shown["ingress_tls_handshake_failures_total", (("reason", "not_tls"),)] == 2.0


def expiries(shown: State) -> dict[str, float]:
    return {
        dict(labels)["host"]: value
        for (name, labels), value in samples(shown).items()
        if name == "ingress_certificate_expiry_timestamp_seconds"
    }


def test_expiry_is_shown_by_host_and_secret() -> None:
    shown = samples(state(Totals()))
    labels = (("host", "shop.example"), ("namespace", "a"), ("secret", "shop-tls"))
    assert shown["ingress_certificate_expiry_timestamp_seconds", labels] == 1.9e9
    assert expiries(state(Totals()))["*"] == 2e9


def test_of_too_many_certificates_those_that_expire_first_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics_module, "MAX_CERTIFICATES", 2)
    many = [CertificateExpiry(f"{day}.test", "a", "tls", day) for day in (5, 1, 4, 2, 3)]
    shown = msgspec.structs.replace(state(Totals()), certificates=many)
    assert expiries(shown) == {"1.test": 1.0, "2.test": 2.0}


def test_every_documented_metric_is_shown() -> None:
    totals = Totals()
    totals.add(0, Stats(routes=(growth((0, 1, 0, 0, 0)),)))
    totals.add(0, Stats(upstreams=(UpstreamGauges("a/cart:80", 1, 1, 1, 0, 0),)))
    totals.add(0, Stats(counters={"tls.handshakes.TLSv1.3.A.full": 1, "tls.failures.timeout": 1}))
    shown = samples(msgspec.structs.replace(state(totals), cluster=CLUSTER))
    names = {name.removesuffix("_bucket") for name, _ in shown}
    assert set(METRICS) <= names


def test_a_cluster_shows_its_watches_and_what_was_written() -> None:
    shown = samples(msgspec.structs.replace(state(Totals()), cluster=CLUSTER))

    of = (("kind", "Ingress"), ("namespace", ""))
    assert shown["ingress_watch_synced", of] == 1
    assert shown["ingress_watch_objects", of] == 12
    assert shown["ingress_watch_requests_total", (*of, ("request", "watch"))] == 3
    assert shown["ingress_watch_failures_total", of] == 2
    assert shown["ingress_leader", ()] == 1
    of = (("kind", "Secret"), ("namespace", ""))
    assert shown["ingress_watch_synced", of] == 0, "not all that are read alone are known"
    assert shown["ingress_watch_objects", of] == 32
    assert shown["ingress_watch_stale_seconds", of] == 7
    assert shown["ingress_watch_requests_total", (*of, ("request", "watch"))] == 7
    assert shown["ingress_watch_failures_total", of] == 2
    assert shown["ingress_status_writes_total", (("result", "failed"),)] == 1
    assert shown["ingress_status_pending", ()] == 4
    assert shown["ingress_status_contested", ()] == 3
    assert shown["ingress_leader_terms_total", ()] == 2
    assert shown["ingress_events_total", (("result", "written"),)] == 6


def test_processes_show_what_they_use() -> None:
    shown = samples(state(Totals()))
    assert shown["ingress_process_cpu_seconds_total", (("process", "control"),)] == 1.5
    assert shown["ingress_process_resident_memory_bytes", (("process", "0"),)] == 30 << 20
    assert shown["ingress_process_open_fds", (("process", "0"),)] == 8


def test_usage_is_read_from_the_system() -> None:
    before = usage_of(os.getpid())
    assert before is not None
    with open(os.devnull):
        sum(range(3_000_000))
        after = usage_of(os.getpid())
    assert after is not None
    assert after.cpu_seconds > before.cpu_seconds
    assert after.open_files == before.open_files + 1
    assert after.resident_bytes > 1 << 20
    assert usage_of(1 << 22) is None
