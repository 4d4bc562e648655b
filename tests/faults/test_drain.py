"""The end of a worker in good order (F-22)."""

import asyncio
import time

from router.model.limits import Limits
from tests.harness.backend import Backend, Exchange, echo, tunnel_echo
from tests.harness.client import Connection, fetch, request
from tests.harness.load import steady_load
from tests.harness.waiting import until
from tests.harness.worker import Worker

TABLE = {"h.test": {"/": "web"}}
UPGRADE = ("Connection", "upgrade"), ("Upgrade", "custom")
ACCEPT = 0.7
LIMITS = Limits(drain_accept=ACCEPT, drain_timeout=5.0)


async def test_sigterm_finishes_what_runs_and_tells_the_others() -> None:
    """50 running requests, 10 idle connections, 2 tunnels: nothing fails, the exit is clean."""
    with Backend() as backend, Worker(limits=LIMITS) as worker:
        release = backend.gate()

        async def waits(exchange: Exchange) -> None:
            await exchange.body()
            await release.passed()
            await echo(exchange)

        backend.on("/waits", waits)
        backend.on("/tunnel", tunnel_echo)
        worker.serve(TABLE, {"web": [backend.endpoint]})
        running = [await Connection.open(worker.address) for _ in range(50)]
        for connection in running:
            await connection.send(request("/waits"))
        idle = [await Connection.open(worker.address) for _ in range(10)]
        for connection in idle:
            await connection.exchange(request())
        tunnels = [await Connection.open(worker.address) for _ in range(2)]
        for connection in tunnels:
            await connection.send(request("/tunnel", *UPGRADE))
            await connection.head()
        await until(lambda: len(backend.requests) == 62, "all requests at the backend")

        worker.terminate()
        start = time.perf_counter()
        late = await fetch(worker.address, request())
        while late.get("connection") != "close":
            assert time.perf_counter() - start < ACCEPT, "new answers never said close"
            late = await fetch(worker.address, request())
        reply = await idle[0].exchange(request())
        assert (reply.status, reply.get("connection")) == (200, "close")
        for connection in idle:
            assert await connection.ending(within=ACCEPT + 2) == "closed"
        assert worker.alive
        for connection in tunnels:
            await connection.send(b"still")
            while bytes(connection.tunnelled) != b"still":
                await connection.read()
        release.open()
        for connection in running:
            [reply] = await connection.receive()
            assert (reply.status, reply.get("connection")) == (200, "close")
            assert await connection.ending() == "closed"
        assert worker.alive  # for the tunnels
        for connection in tunnels:
            connection.close()
        assert worker.exit_code(within=3) == 0
        assert worker.stderr() == ""
        for connection in running + idle:
            connection.close()


async def test_drain_cuts_what_does_not_end_in_time() -> None:
    with Backend() as backend, Worker() as worker:
        backend.on("/tunnel", tunnel_echo)
        worker.serve(TABLE, {"web": [backend.endpoint]})
        async with await Connection.open(worker.address) as tunnel:
            await tunnel.send(request("/tunnel", *UPGRADE))
            await tunnel.head()
            start = time.perf_counter()
            worker.drain(accept=0.2, timeout=0.5)
            assert worker.exit_code(within=5) == 0
            assert 0.6 < time.perf_counter() - start < 3
            assert await tunnel.ending() != "open"
        assert worker.stderr() == ""


async def test_requests_go_on_while_the_worker_still_accepts() -> None:
    """Load balancers learn late: until the listener closes, nothing may fail."""
    with Backend() as backend, Worker() as worker:
        worker.serve(TABLE, {"web": [backend.endpoint]})
        async with steady_load(worker.address) as load:
            await asyncio.sleep(0.3)
            worker.drain(accept=30, timeout=5)
            await asyncio.sleep(1)
        assert load.failures == []
        assert len(load.seconds) > 100


async def test_idle_worker_ends_at_once_after_the_time_to_accept() -> None:
    with Backend() as backend, Worker() as worker:
        worker.serve(TABLE, {"web": [backend.endpoint]})
        assert (await fetch(worker.address, request())).status == 200
        worker.drain(accept=0, timeout=30)
        assert worker.exit_code(within=3) == 0
        assert worker.stderr() == ""


async def test_worker_without_its_control_process_drains_by_itself() -> None:
    with Backend() as backend, Worker(limits=LIMITS) as worker:
        worker.serve(TABLE, {"web": [backend.endpoint]})
        worker.close_control()
        assert (await fetch(worker.address, request())).status == 200
        assert worker.exit_code(within=ACCEPT + 3) == 0
        assert worker.stderr() == ""


async def test_interrupt_from_the_terminal_is_not_for_workers() -> None:
    with Backend() as backend, Worker() as worker:
        worker.serve(TABLE, {"web": [backend.endpoint]})
        worker.interrupt()
        for _ in range(5):
            assert (await fetch(worker.address, request())).status == 200
        worker.check()
