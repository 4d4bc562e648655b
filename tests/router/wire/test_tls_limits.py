"""Clients that hold connections over TLS and before it: ended in time, and all is given back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from router.model import wire
from router.model.limits import Limits
from tests.harness.backend import Backend, Exchange, tunnel_echo
from tests.harness.client import Connection, request
from tests.harness.raw import say
from tests.harness.secure import (
    Name,
    SecureConnection,
    SecureEdge,
    secure_edge,
    secure_worker,
    serve,
)
from tests.harness.waiting import until
from tests.tls.certificates import pair
from tests.tls.handshakes import client_context, hello_bytes

LIMIT = 1.0
LATEST = LIMIT + 0.25 + 0.75
"""The timer's precision, and what a busy machine adds."""
LIMITS = Limits(
    tls_handshake_timeout=LIMIT,
    proxy_header_timeout=LIMIT,
    header_timeout=LIMIT,
    body_timeout=LIMIT,
    keepalive_timeout=LIMIT,
    send_timeout=LIMIT,
    tunnel_timeout=LIMIT,
)
LOAD_BALANCER = "127.0.0.7"
OPTIONS = wire.Options(access_log="off", proxy_protocol_from=(LOAD_BALANCER,))
HELLO = hello_bytes(client_context(), "h.test")
UPGRADE = request(
    "/ws",
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


@pytest.fixture(scope="module")
def shared_holding() -> Iterator[SecureEdge]:
    with secure_edge(LIMITS, OPTIONS) as pair_:
        pair_.backend.on("/ws", tunnel_echo)
        pair_.backend.on("/flood", _flood)
        yield pair_


@pytest.fixture
def holding(shared_holding: SecureEdge) -> Iterator[SecureEdge]:
    """An edge with short time-outs; it has given everything back after each test."""
    shared_holding.backend.close_all()
    base = shared_holding.worker.descriptors
    yield shared_holding
    shared_holding.check()
    shared_holding.backend.close_all()
    shared_holding.worker.descriptors_return_to(base)
    shared_holding.backend.forget()


async def _flood(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    while True:
        await exchange.send(b"x" * 65536)


async def _silent(edge: SecureEdge) -> None:
    assert (await say(edge.worker.secure_address, ())).data == b""


async def _trickled_hello(edge: SecureEdge) -> None:
    pieces = [HELLO[at : at + 1] for at in range(100)]
    assert (await say(edge.worker.secure_address, pieces, every=0.05)).data == b""


async def _unfinished_hello(edge: SecureEdge) -> None:
    assert (await say(edge.worker.secure_address, [HELLO[:-1]])).data == b""


async def _unfinished_handshake(edge: SecureEdge) -> None:
    """The whole ClientHello, and not a byte after the proxy's flight."""
    assert len((await say(edge.worker.secure_address, [HELLO])).data) > 500


async def _late_hello(edge: SecureEdge) -> None:
    """One deadline holds for all steps together."""
    pieces = [HELLO[:20], HELLO[20:]]
    assert (await say(edge.worker.secure_address, pieces, every=LIMIT * 0.7)).ended != "open"


async def _half_proxy_header(edge: SecureEdge) -> None:
    said = await asyncio.gather(
        *(
            say(address, [b"PROXY TCP4 192.0.2.1 "], source=LOAD_BALANCER)
            for address in (edge.worker.secure_address, edge.worker.address)
        )
    )
    assert [known.data for known in said] == [b"", b""]


async def _no_proxy_header(edge: SecureEdge) -> None:
    assert (await say(edge.worker.secure_address, (), source=LOAD_BALANCER)).data == b""


async def _silent_after_proxy_header(edge: SecureEdge) -> None:
    header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    said = await say(edge.worker.secure_address, [header], source=LOAD_BALANCER)
    assert said.data == b""


async def _silent_after_handshake(edge: SecureEdge) -> None:
    async with await edge.open() as connection:
        assert await connection.ending() != "open"


async def _trickled_head(edge: SecureEdge) -> None:
    async with await edge.open() as connection:

        async def trickle() -> None:
            for byte in request("/x", ("X-Long", "y" * 200)):
                await connection.send(bytes([byte]))
                await asyncio.sleep(0.05)

        sending = asyncio.ensure_future(trickle())
        [reply] = await connection.receive()
        assert reply.status == 408
        sending.cancel()


async def _idle(edge: SecureEdge) -> None:
    async with await edge.open() as connection:
        await edge.clean_on(connection)
        assert await connection.ending() == "closed"


async def _silent_websocket(edge: SecureEdge) -> None:
    async with await edge.open() as connection:
        await connection.send(UPGRADE)
        assert (await connection.head()).status == 101
        assert await connection.ending() != "open"


@pytest.mark.parametrize(
    "client",
    [
        _silent,
        _trickled_hello,
        _unfinished_hello,
        _unfinished_handshake,
        _late_hello,
        _half_proxy_header,
        _no_proxy_header,
        _silent_after_proxy_header,
        _silent_after_handshake,
        _trickled_head,
        _idle,
        _silent_websocket,
    ],
)
async def test_twenty_clients_that_hold_are_ended_in_time(
    holding: SecureEdge, client: Callable[[SecureEdge], Awaitable[None]]
) -> None:
    start = time.perf_counter()
    await asyncio.gather(*(client(holding) for _ in range(20)))
    took = time.perf_counter() - start
    assert LIMIT * 0.7 < took < LATEST + 0.3


async def test_others_are_served_while_many_hold(holding: SecureEdge) -> None:
    held = [asyncio.ensure_future(_silent(holding)) for _ in range(200)]
    held += [asyncio.ensure_future(_unfinished_handshake(holding)) for _ in range(50)]
    await asyncio.sleep(0)
    while not all(done.done() for done in held):
        await holding.clean_promptly()
    await asyncio.gather(*held)


@pytest.mark.parametrize("port", ["secure", "plain"])
async def test_half_a_beginning_and_a_fin_cost_nothing(holding: SecureEdge, port: str) -> None:
    """A FIN makes a socket readable for ever; it must not wake the worker for ever."""
    address = holding.worker.secure_address if port == "secure" else holding.worker.address
    beginnings = [b"PROXY TCP4 19", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00"]
    if port == "secure":
        beginnings += [HELLO[:1], HELLO[:20], HELLO[:-1]]
    before = holding.worker.cpu_seconds
    outcomes = await asyncio.gather(
        *(
            say(
                address,
                [start],
                finish=True,
                source="" if start[:1] == b"\x16" else LOAD_BALANCER,
            )
            for start in beginnings
            for _ in range(10)
        )
    )
    assert all(said.seconds < LIMIT * 0.7 for said in outcomes), outcomes
    assert holding.worker.cpu_seconds - before < 0.5


async def test_a_client_that_does_not_read_is_cut_and_its_upstream_paused(
    holding: SecureEdge,
) -> None:
    before = holding.worker.memory
    connections = [await holding.open(receive_buffer=4096) for _ in range(10)]
    try:
        for connection in connections:
            await connection.send(request("/flood"))
        await until(
            lambda: len([seen for seen in holding.backend.requests if seen.path == "/flood"]) == 10,
            "the requests at the backend",
        )
        seen = [known for known in holding.backend.connections if known.ended_at is None]
        await until(lambda: all(known.ended_at is not None for known in seen), "the cut")
        assert holding.worker.memory - before < 40 * 1024 * 1024
    finally:
        for connection in connections:
            connection.close()


async def test_a_client_that_reads_slowly_but_steadily_is_served(holding: SecureEdge) -> None:
    size = 3_000_000

    async def large(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 50_000):
            await exchange.send(b"x" * 50_000)

    holding.backend.on("/large", large)
    async with await holding.open(receive_buffer=16384) as connection:
        await connection.send(request("/large"))
        start = time.perf_counter()
        while not connection.finished:
            await connection.read(most=30_000)
            if time.perf_counter() - start < 2 * LATEST:
                await asyncio.sleep(0.03)
        assert connection.finished[0].length == size


# Bounds on what is not yet a client


@asynccontextmanager
async def _crowd(address: tuple[str, int], count: int) -> AsyncIterator[list[Connection]]:
    crowd = [await Connection.open(address) for _ in range(count)]
    try:
        yield crowd
    finally:
        for connection in crowd:
            connection.close()


async def test_silent_connections_are_bounded_and_make_room() -> None:
    limits = Limits(max_connections=20)
    with Backend() as backend, secure_worker(limits=limits) as worker:
        names = {"h.test": Name(pairs=(pair("h.test"),))}
        serve(worker, {"h.test": {"/": "web"}}, {"web": [backend.endpoint]}, names)
        base = worker.descriptors
        async with (
            _crowd(worker.secure_address, 100),
            await SecureConnection.secure(worker.secure_address) as connection,
        ):
            assert (await connection.exchange(request())).status == 200
            assert worker.descriptors - base <= 20 + 2
        backend.close_all()
        worker.descriptors_return_to(base)
        worker.check()
