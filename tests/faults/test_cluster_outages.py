"""The API server goes away, falls silent, refuses or lies, while traffic runs (F-01, F-02, F-05).

A few seconds by default; ``FAULT_SECONDS=60`` runs the full length.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from ingress_controller.sources.watch_machine import Pace
from tests.harness import network
from tests.harness.client import Connection, request
from tests.harness.kube_api import FakeKubeApi
from tests.harness.load import steady_load
from tests.harness.replica import SECONDS, Cluster, route

pytestmark = pytest.mark.timeout(5 * SECONDS + 120)

FACTOR = 60.0
"""How much faster the clock is on which an hour passes in a minute."""
KINDS = 5
ALLOWED = 5
"""Requests a minute to an API server that is away."""
LONGEST_BACKOFF = 2 * Pace().longest_delay


class Asked(NamedTuple):
    """A request to the API server while it was away."""

    at: float
    line: str
    """That names its path."""


@contextlib.asynccontextmanager
async def away(api: FakeKubeApi, how: str) -> AsyncIterator[list[Asked]]:
    """The API server cannot be used; gives what it was asked.

    ``refused``: its port is closed, so nothing can be asked. ``cut``: a load balancer takes
    connections and ends them. ``5xx``: it is there, and can do nothing.
    """
    asked: list[Asked] = []
    if how == "5xx":
        before = len(api.requests)
        fault = api.fault("*", "/", status=500, times=None)
        for watch in api.watches():
            watch.cut()
        yield asked
        fault.withdraw()
        asked += [Asked(seen.at, seen.path) for seen in api.requests[before:]]
        return

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if line := await reader.readline():
            asked.append(Asked(asyncio.get_running_loop().time(), line.decode()))
        writer.transport.abort()

    await api.stop()
    if how == "refused":
        yield asked
    else:
        server = await asyncio.start_server(end, api.address, api.port)
        yield asked
        server.close()
        await server.wait_closed()
    await api.start()


def _most_in_a_minute(asked: list[Asked]) -> int:
    """Requests in the busiest minute of the faster clock, without what was under way at first."""
    times = [each.at for each in asked if each.at > asked[0].at + 0.1]
    return max((sum(at <= other < at + 60 / FACTOR for other in times) for at in times), default=0)


@pytest.mark.parametrize("how", ["refused", "cut", "5xx"])
async def test_without_an_api_server_everything_is_served_for_an_hour(
    cluster: Cluster, how: str
) -> None:
    """F-01 on a clock that runs sixty times faster; by default a part of the hour."""
    cluster.api.manners.bookmark_seconds = 60 / FACTOR
    async with cluster.replica(pace=FACTOR) as replica, steady_load(replica.http) as load:
        version = await replica.version()
        failures = await replica.metric("ingress_watch_failures_total")
        async with away(cluster.api, how) as asked:
            await asyncio.sleep(SECONDS)
            if how == "refused":  # each kind's watch was cut, which is no request
                failures += KINDS
                failed = await replica.metric("ingress_watch_failures_total") - failures
                assert failed <= ALLOWED * (1 + SECONDS * FACTOR / 60), failed
            assert (await replica.ask("/readyz")).status == 200
            assert await replica.version() == version
            assert await replica.metric("ingress_watch_stale_seconds") >= SECONDS * 0.8
        back = len(cluster.api.requests)
        cluster.put(route("late", "late.test"))
        await replica.serves("late.test", within=2.0)
        assert await replica.version() == version + 1
    assert load.failures == []
    assert len(load.seconds) > 100 * SECONDS
    reads = [each for each in asked if "/leases" not in each.line]
    assert _most_in_a_minute(reads) <= ALLOWED, asked
    others = [each for each in asked if "/leases" in each.line]  # as often as other controllers
    assert _most_in_a_minute(others) <= 2 * ALLOWED, asked
    assert cluster.lists(since=back) == 0, "everything was listed anew"
    assert len(cluster.api.requests) - back <= 4 * KINDS, "a storm at its return"


async def test_its_return_is_noticed_within_two_seconds(cluster: Cluster) -> None:
    """F-01 with the real clock."""
    async with cluster.replica() as replica, steady_load(replica.http) as load:
        failures = KINDS + await replica.metric("ingress_watch_failures_total")
        async with away(cluster.api, "refused"):
            await asyncio.sleep(max(4.0, SECONDS))
        cluster.put(route("late", "late.test"))
        await replica.serves("late.test", within=2.0)
        failed = await replica.metric("ingress_watch_failures_total") - failures
        assert failed <= ALLOWED * max(1, SECONDS / 60)
    assert load.failures == []


@pytest.mark.parametrize("how", ["refused", "cut", "5xx"] if SECONDS > 5 else ["refused"])
async def test_it_waits_for_an_api_server_that_comes_later(cluster: Cluster, how: str) -> None:
    """F-02: alive, not ready, and ready two seconds after the API server at the latest. Where its
    port is open all the time, nobody can see it coming back but by asking, which is done rarely."""
    async with contextlib.AsyncExitStack() as outage:
        await outage.enter_async_context(away(cluster.api, how))
        async with cluster.replica(ready=False) as replica:
            await replica.answers()
            await asyncio.sleep(SECONDS)
            assert (await replica.ask("/healthz")).status == 200
            readiness = await replica.ask("/readyz")
            assert readiness.status == 503
            assert "ingresses" in readiness.json()["reason"], readiness
            async with await Connection.open(replica.http) as early:
                await early.send(request("/early", nonce="1"))
                with pytest.raises(TimeoutError):
                    await early.read(within=0.2)
                await outage.aclose()
                within = 2.0 if how == "refused" else LONGEST_BACKOFF
                await replica.until(lambda: replica.is_ready, "ready", within)
                [reply] = await early.receive()
                assert (reply.status, reply.get("x-nonce")) == (200, "1")


async def test_a_silent_watch_is_noticed(cluster: Cluster) -> None:
    """F-05: what relays forgets the connections, and tells neither side."""
    factor = FACTOR if SECONDS < 60 else 1.0
    cluster.api.manners.bookmark_seconds = 60.0 / factor
    async with cluster.replica(pace=factor) as replica, steady_load(replica.http) as load:
        before = len(cluster.api.requests)
        for watch in cluster.api.watches():
            watch.go_silent()
        cluster.put(route("late", "late.test"))
        await replica.serves("late.test", within=120 / factor)
        await replica.until(lambda: len(cluster.api.watches()) == KINDS, "each kind is watched")
        again = [seen.path for seen in cluster.api.requests[before:] if seen.verb == "watch"]
        assert len(again) == len(set(again)) == KINDS
        assert cluster.lists(since=before) == 0
        assert await replica.diagnostics("Server") == []
    assert load.failures == []


async def test_a_path_that_loses_everything_heals(cluster: Cluster) -> None:
    """F-05: no packet gets through, and no error comes back."""
    factor = FACTOR if SECONDS < 60 else 1.0
    cluster.api.manners.bookmark_seconds = 60.0 / factor
    async with cluster.replica(pace=factor) as replica, steady_load(replica.http) as load:
        version = await replica.version()
        await asyncio.to_thread(network.cut_path)
        cluster.put(route("late", "late.test"))
        await replica.diagnosed("api-unavailable", within=200 / factor + 5)
        assert (await replica.ask("/readyz")).status == 200
        assert await replica.version() == version
        await asyncio.to_thread(network.restore_path)
        await replica.serves("late.test", within=3.0)
        await replica.diagnosed("api-unavailable", gone=True)
    assert load.failures == []
