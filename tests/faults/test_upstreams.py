"""Endpoints that hang, refuse, reset or cut their answers (F-19, F-20)."""

import asyncio
from typing import Literal

import pytest

from router.model.limits import Limits
from router.model.upstreams import Endpoint
from tests.faults.blackhole import Blackhole, closed_port
from tests.harness.backend import Backend, Exchange, finish, hang
from tests.harness.client import Connection, fetch, request
from tests.harness.edge import HURRIED, Edge
from tests.harness.load import steady_load
from tests.harness.worker import Worker

TABLE = {"h.test": {"/": "web"}, "slow.test": {"/": "slow"}}


async def test_hanging_backend_harms_no_other_and_is_left_alone() -> None:
    """F-19: 504 at the read time-out; marked after three in ten seconds."""
    with Backend("good") as good, Backend("hanging") as hanging, Worker(limits=HURRIED) as worker:
        hanging.otherwise(hang)
        services = {"web": [good.endpoint], "slow": [good.endpoint, hanging.endpoint]}
        worker.serve(TABLE, services)
        async with steady_load(worker.address) as load:
            slow = [request(host="slow.test") for _ in range(6)]
            replies = await asyncio.gather(*(fetch(worker.address, data) for data in slow))
            assert sorted(reply.status for reply in replies) == [200, 200, 200, 504, 504, 504]
            for _ in range(20):
                reply = await fetch(worker.address, request(host="slow.test"))
                assert (reply.status, reply.get("x-backend")) == (200, "good")
        assert load.failures == []
        assert load.p99 < HURRIED.upstream_read_timeout / 10
        assert all(seen.connection < 3 for seen in hanging.requests)
        worker.check()


async def test_refused_connect_moves_to_another_endpoint_whatever_the_method() -> None:
    """Nothing was sent, so even a POST may go elsewhere (RFC 9110 9.2.2)."""
    with Backend() as good, Worker() as worker:
        refusing = Endpoint(address="127.0.0.1", port=closed_port())
        worker.serve(TABLE, {"web": [good.endpoint, refusing], "slow": [refusing]})
        async with await Connection.open(worker.address) as connection:
            for method, body in (("GET", b""), ("POST", b"x" * 1000), ("POST", b"x" * 1_000_000)):
                for _ in range(4):
                    reply = await connection.exchange(request(method=method, body=body))
                    assert reply.get("x-saw") == f"{method} /x {len(body)}"
            reply = await connection.exchange(request(host="slow.test"))
            assert reply.status == 502
        worker.check()


async def test_connect_that_hangs_moves_to_another_endpoint_or_ends_with_504() -> None:
    limits = Limits(upstream_connect_timeout=0.5)
    with Backend() as good, Blackhole() as blackhole, Worker(limits=limits) as worker:
        services = {"web": [good.endpoint, blackhole.endpoint], "slow": [blackhole.endpoint]}
        worker.serve(TABLE, services)
        for _ in range(2):
            reply = await fetch(worker.address, request(method="POST", body=b"x"))
            assert reply.status == 200
        reply = await fetch(worker.address, request(host="slow.test"))
        assert reply.status == 504
        worker.check()


@pytest.mark.parametrize(
    ("coding", "how"),
    [
        ("length", "close"),
        ("length", "reset"),
        ("chunked", "close"),
        ("chunked", "reset"),
        ("close", "reset"),  # and a close ends such a body as it should
    ],
)
async def test_client_never_sees_a_cut_body_as_complete(
    edge: Edge, coding: str, how: Literal["close", "reset"]
) -> None:
    """F-20, with the cut after the first bytes were on their way to the client."""
    start = {
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000,
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n"
        + b"x" * 100_000
        + b"\r\n",
        "close": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000,
    }[coding]
    gate = edge.backend.gate()

    async def cuts(exchange: Exchange) -> None:
        await exchange.send(start)
        await gate.passed()
        await finish(exchange, how)

    edge.backend.on("/cut", cuts)
    async with await edge.open() as connection:
        await connection.send(request("/cut"))
        reply = await connection.head()
        while reply.length < 100_000:
            await connection.read()
        gate.open()
        assert await connection.ending() != "open"
        assert connection.finished == []
    await edge.clean_everywhere()
