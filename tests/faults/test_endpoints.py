"""Endpoints that come, go, end and vanish (F-14, F-16, F-17)."""

import asyncio
import statistics
import time

import msgspec

from router.model.limits import Limits
from router.model.upstreams import Endpoint
from tests.harness.backend import Backend, Exchange, echo, hang
from tests.harness.client import Connection, fetch, request
from tests.harness.edge import Probe
from tests.harness.load import steady_load
from tests.harness.waiting import until
from tests.harness.worker import Worker

TABLE = {"h.test": {"/": "web"}}


def _terminating(endpoint: Endpoint, *, serving: bool = True) -> Endpoint:
    return msgspec.structs.replace(endpoint, ready=False, serving=serving, terminating=True)


async def test_no_endpoint_is_503_at_once_and_recovers_with_the_endpoint() -> None:
    """F-14: under 5 ms, with Retry-After; served at once when an endpoint is ready."""
    with Backend() as backend, Worker() as worker:
        worker.serve(TABLE, {"web": [backend.endpoint]})
        async with await Connection.open(worker.address) as connection:
            assert (await connection.exchange(request())).status == 200
            worker.change(services={"web": []})
            times = []
            for _ in range(50):
                start = time.perf_counter()
                reply = await connection.exchange(request())
                times.append(time.perf_counter() - start)
                assert (reply.status, reply.get("retry-after")) == (503, "1")
            assert statistics.median(times) < 0.005
            unready = msgspec.structs.replace(backend.endpoint, ready=False, serving=False)
            worker.change(services={"web": [unready]})
            assert (await connection.exchange(request())).status == 503
            worker.change(services={"web": [backend.endpoint]})
            assert (await connection.exchange(request())).status == 200
        worker.check()


async def test_endpoints_in_pieces_during_a_roll_fail_no_request() -> None:
    """F-16: sets that change twenty times a second, each with an endpoint that serves."""
    with Backend("a") as a, Backend("b") as b, Backend("c") as c, Worker() as worker:
        worker.serve(TABLE, {"web": [a.endpoint]})
        async with steady_load(worker.address) as load:
            sets = ([a, b], [b], [b, c], [c], [c, a], [a])
            for turn in range(40):
                worker.change(services={"web": [known.endpoint for known in sets[turn % 6]]})
                await asyncio.sleep(0.05)
        assert load.failures == []
        assert len(load.seconds) > 100
        worker.check()


async def test_terminating_endpoint_finishes_what_runs_and_gets_nothing_new() -> None:
    """F-17: running requests end well, idle connections to it are closed."""
    with Backend("old") as old, Backend("new") as new, Worker() as worker:
        release = old.gate()

        async def waits(exchange: Exchange) -> None:
            await release.passed()
            await echo(exchange)

        old.on("/waits", waits)
        worker.serve(TABLE, {"web": [old.endpoint]})
        async with (
            await Connection.open(worker.address) as running,
            await Connection.open(worker.address) as other,
        ):
            await running.send(request("/waits"))
            await until(lambda: old.requests, "the request at the old endpoint")
            await other.exchange(request())
            assert old.open_connections == 2
            worker.change(services={"web": [new.endpoint, _terminating(old.endpoint)]})
            await until(lambda: old.open_connections == 1, "its idle connection ends")
            for _ in range(10):
                assert (await other.exchange(request())).get("x-backend") == "new"
            release.open()
            [reply] = await running.receive()
            assert (reply.status, reply.get("x-backend")) == (200, "old")
            await until(lambda: old.open_connections == 0, "its last connection ends")
            assert (await running.exchange(request())).get("x-backend") == "new"
        worker.check()


async def test_terminating_endpoints_serve_when_there_is_no_other() -> None:
    """The rule of KEP-1669; one that does not serve any more gets nothing."""
    with Backend() as backend, Worker() as worker:
        worker.serve(TABLE, {"web": [_terminating(backend.endpoint)]})
        assert (await fetch(worker.address, request())).status == 200
        worker.change(services={"web": [_terminating(backend.endpoint, serving=False)]})
        assert (await fetch(worker.address, request())).status == 503
        worker.check()


async def test_request_that_waits_for_a_connection_to_a_vanished_endpoint_goes_elsewhere() -> None:
    """F-17: nothing new is sent to it, and nobody waits for it in vain."""
    limits = Limits(max_upstream_connections=1, upstream_connect_timeout=1.0)
    with Backend("old") as old, Backend("new") as new, Worker(limits=limits) as worker:
        old.on("/hang", hang)
        worker.serve(TABLE, {"web": [old.endpoint]})
        async with (
            await Connection.open(worker.address) as running,
            await Connection.open(worker.address) as waiting,
        ):
            await running.send(request("/hang"))
            await until(lambda: old.requests, "the only connection is taken")
            await waiting.send(request("/waits"))
            async with Probe(worker.address) as probe:
                await probe.pass_through()
            worker.change(services={"web": [new.endpoint]})
            [reply] = await waiting.receive(within=5)
            assert (reply.status, reply.get("x-backend")) == (200, "new")
        assert [seen.path for seen in old.requests] == ["/hang"]
        worker.check()
