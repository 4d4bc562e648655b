"""Upgraded connections: a byte tunnel that opens at 101 and nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from websockets import ConnectionClosed
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from router.model.limits import Limits
from router.model.upstreams import Endpoint
from tests.harness.backend import Exchange, Recorded, message, raw, tunnel_echo
from tests.harness.client import Connection, request
from tests.harness.edge import Edge, edge
from tests.harness.waiting import until
from tests.harness.worker import Worker

UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


@asynccontextmanager
async def _websocket(worker: Worker) -> AsyncIterator[ClientConnection]:
    """A real WebSocket client and a real echo server, with the worker between."""

    async def echo(connection: ServerConnection) -> None:
        async for text in connection:
            await connection.send(text)

    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        worker.serve({"ws.test": {"/": "ws"}}, {"ws": [Endpoint(address="127.0.0.1", port=port)]})
        host, proxy_port = worker.address
        async with connect(
            f"ws://ws.test:{proxy_port}/chat?a=b", host=host, port=proxy_port, max_size=None
        ) as client:
            yield client


async def test_websocket_carries_messages_of_all_sizes_and_kinds() -> None:
    with Worker() as worker:
        async with _websocket(worker) as client:
            for sent in ("hello", b"\x00\xff", "", "ü" * 50_000, b"x" * 5_000_000):
                await client.send(sent)
                assert await client.recv() == sent
            await client.ping()
        worker.check()


async def test_websocket_close_code_passes_to_the_server_and_back() -> None:
    codes = []

    async def closes(connection: ServerConnection) -> None:
        text = await connection.recv()
        await connection.close(4000 + int(text), "because")

    with Worker() as worker:
        async with serve(closes, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            endpoint = Endpoint(address="127.0.0.1", port=port)
            worker.serve({"ws.test": {"/": "ws"}}, {"ws": [endpoint]})
            host, proxy_port = worker.address
            for code in (1, 2):
                async with connect(
                    f"ws://ws.test:{proxy_port}/", host=host, port=proxy_port
                ) as client:
                    await client.send(str(code))
                    with pytest.raises(ConnectionClosed):
                        await client.recv()
                    codes.append((client.close_code, client.close_reason))
        worker.check()
    assert codes == [(4001, "because"), (4002, "because")]


async def test_bytes_sent_before_the_101_are_held_and_then_passed(edge: Edge) -> None:
    release = edge.backend.gate()

    async def late(exchange: Exchange) -> None:
        await release.passed()
        await tunnel_echo(exchange)

    edge.backend.on("/late", late)
    async with await edge.open() as connection:
        await connection.send(request("/late", *UPGRADE) + b"early")
        await until(lambda: edge.backend.requests, "the request at the backend")
        [record] = [seen for seen in edge.backend.connections if seen.requests]
        assert bytes(record.raw).endswith(b"\r\n\r\n")
        release.open()
        assert (await connection.head()).status == 101
        await connection.send(b" and late")
        await until_tunnelled(connection, b"early and late")


async def test_bytes_of_the_backend_right_behind_the_101_pass(edge: Edge) -> None:
    async def eager(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nfirst"
        )
        async for data in exchange.tunnel():
            await exchange.send(data)

    edge.backend.on("/eager", eager)
    async with await edge.open() as connection:
        await connection.send(request("/eager", *UPGRADE))
        reply = await connection.head()
        assert (reply.status, reply.get("upgrade")) == (101, "websocket")
        assert reply.get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        await connection.send(b" second")
        await until_tunnelled(connection, b"first second")


async def test_early_bytes_of_a_refused_websocket_are_neither_sent_nor_parsed(edge: Edge) -> None:
    """U05 with a slow refusal: the early bytes look like a request, and are none."""
    release = edge.backend.gate()

    async def refuses(exchange: Exchange) -> None:
        await release.passed()
        await exchange.send(message("403 Forbidden", b"no"))

    edge.backend.on("/refused", refuses)
    async with await edge.open() as connection:
        await connection.send(request("/refused", *UPGRADE) + request("/smug"))
        await until(lambda: edge.backend.requests, "the request at the backend")
        release.open()
        [reply] = await connection.receive()
        assert (reply.status, bytes(reply.body), reply.get("connection")) == (403, b"no", "close")
        assert await connection.ending() != "open"
    await edge.clean()
    assert [seen.path for seen in edge.backend.requests] == ["/refused", "/clean"]


async def test_other_upgrades_are_tunnelled_too(edge: Edge) -> None:
    edge.backend.on("/other", tunnel_echo)
    async with await edge.open() as connection:
        await connection.send(request("/other", ("Connection", "upgrade"), ("Upgrade", "custom/1")))
        reply = await connection.head()
        assert (reply.status, reply.get("upgrade")) == (101, "custom/1")
        await connection.send(b"\x00\x01 GET / HTTP/1.1\r\n\r\n")
        await until_tunnelled(connection, b"\x00\x01 GET / HTTP/1.1\r\n\r\n")


async def test_other_protocol_than_the_one_asked_for_opens_no_tunnel(edge: Edge) -> None:
    """RFC 9110 7.8: a server must not switch to what the client did not offer."""
    edge.backend.on(
        "/wrong",
        raw(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nevil"),
    )
    async with await edge.open() as connection:
        await connection.send(request("/wrong", *UPGRADE))
        [reply] = await connection.receive()
        assert (reply.status, reply.get("connection")) == (502, "close")
    await edge.clean_everywhere()


async def test_tunnel_passes_much_in_both_directions_at_once(edge: Edge) -> None:
    edge.backend.on("/much", tunnel_echo)
    block = bytes(range(256)) * 1024
    async with await edge.open() as connection:
        await connection.send(request("/much", *UPGRADE))
        await connection.head()

        async def send() -> None:
            for _ in range(64):
                await connection.send(block)

        sending = asyncio.ensure_future(send())
        while len(connection.tunnelled) < 64 * len(block):
            await connection.read()
        await sending
    assert bytes(connection.tunnelled) == block * 64


async def test_slow_reader_gets_all_that_was_sent_before_the_tunnel_ended(edge: Edge) -> None:
    """In both directions: closing at once behind much data loses none of it."""
    block = bytes(range(256)) * 4096
    count = 8
    switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: custom\r\n\r\n"
    received = 0

    async def downloads(exchange: Exchange) -> None:
        await exchange.send(switched)
        for _ in range(count):
            await exchange.send(block)
        exchange.close()

    async def uploads(exchange: Exchange) -> None:
        nonlocal received
        await exchange.send(switched)
        async for data in exchange.tunnel():
            received += len(data)
            await asyncio.sleep(0.002)  # slow
        await exchange.send(b"done")
        exchange.close()

    edge.backend.on("/down", downloads)
    edge.backend.on("/up", uploads)
    upgrade = ("Connection", "upgrade"), ("Upgrade", "custom")
    async with await edge.open(receive_buffer=65536) as connection:
        await connection.send(request("/down", *upgrade))
        await connection.head()
        while connection.ended == "open":
            await connection.read(most=100_000)
            await asyncio.sleep(0.002)  # slow
        assert len(connection.tunnelled) == count * len(block)
    async with await edge.open() as connection:
        await connection.send(request("/up", *upgrade))
        await connection.head()
        for _ in range(count):
            await connection.send(block)
        connection.finish_sending()
        assert await connection.ending() == "closed"
        assert (received, bytes(connection.tunnelled)) == (count * len(block), b"done")


async def test_tunnel_ends_on_both_sides_when_the_client_ends_it(edge: Edge) -> None:
    edge.backend.on("/tunnel", tunnel_echo)
    for abruptly in (False, True):
        async with await edge.open() as connection:
            await connection.send(request("/tunnel", *UPGRADE))
            await connection.head()
            record = edge.backend.connections[edge.backend.requests[-1].connection]
            if abruptly:
                connection.reset()
            else:
                connection.close()
            await until(partial(_has_ended, record), "the upstream's end")


async def test_tunnel_ends_for_the_client_when_the_backend_ends_it(edge: Edge) -> None:
    async def says_one_thing(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        async for data in exchange.tunnel():
            await exchange.send(data)
            exchange.close()
            return

    edge.backend.on("/one", says_one_thing)
    async with await edge.open() as connection:
        await connection.send(request("/one", *UPGRADE))
        await connection.head()
        await connection.send(b"bye")
        assert await connection.ending() == "closed"
        assert bytes(connection.tunnelled) == b"bye"


async def test_half_closed_tunnel_still_carries_the_other_direction(edge: Edge) -> None:
    async def answers_at_the_end(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: custom\r\n\r\n"
        )
        got = b"".join([data async for data in exchange.tunnel()])
        exchange.write(b"got " + got)
        exchange.close()

    edge.backend.on("/half", answers_at_the_end)
    async with await edge.open() as connection:
        await connection.send(request("/half", ("Connection", "upgrade"), ("Upgrade", "custom")))
        await connection.head()
        await connection.send(b"all")
        connection.finish_sending()
        assert await connection.ending() == "closed"
        assert bytes(connection.tunnelled) == b"got all"


async def test_silent_tunnel_ends_after_its_own_time_out_only() -> None:
    with edge(
        Limits(tunnel_timeout=1.5, keepalive_timeout=0.25, upstream_read_timeout=0.25)
    ) as pair:
        pair.backend.on("/tunnel", tunnel_echo)
        async with await pair.open() as connection:
            await connection.send(request("/tunnel", *UPGRADE))
            await connection.head()
            loop = asyncio.get_running_loop()
            start = loop.time()
            assert await connection.ending(within=5) != "open"
            assert loop.time() - start > 1.2


def _has_ended(record: Recorded) -> bool:
    return record.ended_by is not None


async def until_tunnelled(connection: Connection, wanted: bytes) -> None:
    """Read until exactly these bytes have come through the tunnel."""
    while len(connection.tunnelled) < len(wanted) and connection.ended == "open":
        await connection.read()
    assert bytes(connection.tunnelled) == wanted
