"""What a worker reports, and that looking for it costs what is used, not what exists."""

from router.model.limits import Limits
from router.model.snapshot import Snapshot
from router.model.upstreams import Endpoint, EndpointSet, Upstream
from router.model.wire import Options
from router.runtime import Runtime


def running(*keys: str) -> Runtime:
    runtime = Runtime(
        limits=Limits(),
        options=Options(),
        access_log=None,
        clock=lambda: 100.0,
        wall_clock=lambda: 1e9,
        random_bits=lambda bits: 0,
    )
    runtime.load(
        Snapshot(
            version=1,
            upstreams={key: Upstream(key, "a", key, "80") for key in keys},
            endpoints={key: EndpointSet((Endpoint("10.0.0.1", 80),)) for key in keys},
        )
    )
    return runtime


def test_a_pool_reports_once_and_then_only_while_something_goes_on() -> None:
    runtime = running("shop", "cart")
    assert {gauges.upstream for gauges in runtime.report_pools()} == {"shop", "cart"}
    assert runtime.report_pools() == ()
    assert not runtime.active_pools

    target = runtime.pools["cart"].pick(100.0)
    assert target is not None
    assert target.may_open()
    assert [(each.upstream, each.active) for each in runtime.report_pools()] == [("cart", 1)]

    target.forget(None)
    assert [(each.upstream, each.active) for each in runtime.report_pools()] == [("cart", 0)]
    assert runtime.report_pools() == ()
    assert not runtime.active_pools


def test_counters_report_growth_once_even_after_their_route_is_gone() -> None:
    runtime = running()
    runtime.counters_of("a", "shop", "cart").count(200, 0.01, 1, 2)
    runtime.counters_of("a", "shop", "other")

    (report,) = runtime.report_routes()
    assert (report.service, report.codes, report.bytes_sent) == ("cart", (0, 1, 0, 0, 0), 2)
    assert runtime.report_routes() == ()
