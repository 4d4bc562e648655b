"""How a worker takes snapshots in; and that reports cost what is used, not what exists."""

import asyncio
import time

import msgspec
import pytest

from router.model.apply import OutOfStepError
from router.model.limits import Limits
from router.model.origin import Origin
from router.model.snapshot import (
    Backend,
    Delta,
    Forward,
    Host,
    PathCondition,
    Route,
    Snapshot,
)
from router.model.upstreams import Endpoint, EndpointSet, Upstream
from router.model.wire import Options
from router.runtime import Runtime
from router.steps import Steps, at_once
from router.turns import SHARE, TURN_SECONDS, Turns
from tls.policy import Authorities, AuthoritiesDigest


def running(*keys: str) -> Runtime:
    runtime = Runtime(
        limits=Limits(),
        options=Options(),
        access_log=None,
        clock=lambda: 100.0,
        wall_clock=lambda: 1e9,
        random_bits=lambda bits: 0,
    )
    at_once(runtime.loading(snapshot(1, *keys)))
    return runtime


def snapshot(version: int, *keys: str, host: str = "") -> Snapshot:
    """Upstreams of these names, each with one endpoint; the host leads to the last one."""
    return Snapshot(
        version=version,
        hosts={"default": {host: leading_to(keys[-1])}} if host else {},
        upstreams={key: Upstream(key, "a", key, "80") for key in keys},
        endpoints={key: EndpointSet((Endpoint("10.0.0.1", 80),)) for key in keys},
    )


def leading_to(key: str) -> Host:
    action = Forward((Backend(key),))
    origin = Origin("Ingress", "a", "shop", 0, 0, key)
    return Host(routes=(Route(PathCondition("prefix", ""), "/", action, origin),))


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


def served(runtime: Runtime) -> tuple[int, int, str]:
    """The versions of snapshot and table, and where h.test leads."""
    routes = runtime.table.hosts_for("default").find_host(b"h.test")
    bound = None if routes is None else routes.find(b"/")
    pool = None if bound is None else bound.pool()
    return runtime.snapshot.version, runtime.table.version, pool.upstream.key if pool else ""


MOVED = Delta(
    1,
    2,
    hosts={"default": {"h.test": leading_to("new")}},
    upstreams={"new": Upstream("new", "a", "new", "80"), "old": None},
    endpoints={"new": EndpointSet((Endpoint("10.0.0.2", 80),)), "old": None},
)


@pytest.mark.parametrize("how", ["load", "change"])
def test_between_the_steps_of_an_update_the_old_version_is_served_whole(how: str) -> None:
    runtime = running()
    at_once(runtime.loading(snapshot(1, "old", host="h.test")))
    steps: Steps[None] = runtime.changing(MOVED)
    if how == "load":
        steps = runtime.loading(snapshot(2, "new", host="h.test"))
    seen = [served(runtime) for _ in steps]
    seen.append(served(runtime))
    before, after = (1, 1, "old"), (2, 2, "new")
    assert len(seen) == 4, "one for an upstream, a host, an upstream that goes, and the end"
    assert seen == [before, before, after, after]
    assert list(runtime.pools) == ["new"]
    assert [gauges.eligible for gauges in runtime.report_pools()] == [1]


def test_a_delta_for_another_version_changes_nothing() -> None:
    runtime = running()
    at_once(runtime.loading(snapshot(7, "old", host="h.test")))
    with pytest.raises(OutOfStepError):
        at_once(runtime.changing(MOVED))
    assert served(runtime) == (7, 7, "old")
    assert list(runtime.pools) == ["old"]


def test_what_upstreams_name_is_there_throughout_an_update() -> None:
    """Their pools are renewed before the table is, and dial with what is new."""
    old, new = (Authorities(AuthoritiesDigest(name), name.encode()) for name in ("old", "new"))
    runtime = running()
    before = msgspec.structs.replace(snapshot(1, "old"), authorities={old.digest: old})
    at_once(runtime.loading(before))
    change = msgspec.structs.replace(MOVED, authorities={new.digest: new, old.digest: None})
    held = [set(runtime.authorities) for _ in runtime.changing(change)]
    assert held[:2] == [{old.digest, new.digest}] * 2
    assert set(runtime.authorities) == {new.digest}
    for _ in runtime.loading(msgspec.structs.replace(before, version=3)):
        assert old.digest in runtime.authorities
    assert set(runtime.authorities) == {old.digest}


async def test_an_update_has_its_share_of_a_busy_loop() -> None:
    """What others take at a time may be long: thousands of connections that are all ready."""
    busy, turns, steps = 0.08, 0, 120

    async def others() -> None:
        nonlocal turns
        while True:
            time.sleep(busy)  # noqa: ASYNC251 - a loop that is busy
            turns += 1
            await asyncio.sleep(0)

    def work() -> Steps[None]:
        for _ in range(steps):
            time.sleep(0.001)
            yield

    task = asyncio.create_task(others())
    await Turns().take(work())
    task.cancel()
    assert 3 <= turns <= steps * 0.001 / (busy * SHARE) + 5 < steps * 0.001 / TURN_SECONDS / 2


async def test_a_large_update_lets_others_have_their_turn() -> None:
    names = [f"u{number}" for number in range(5_000)]
    runtime = running()
    hosts = {f"{name}.test": leading_to(name) for name in names}
    large = msgspec.structs.replace(snapshot(1, *names), hosts={"default": hosts})
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await Turns().take(runtime.loading(large))
    task.cancel()
    assert turns >= 5
    assert runtime.table.version == 1
