"""Server-sent events and other slow answers pass unbuffered."""

import pytest

from tests.harness.backend import Exchange
from tests.harness.client import request
from tests.harness.edge import Edge

EVENTS = b"200 OK\r\nContent-Type: text/event-stream\r\n"
HEADS = {
    "chunked": b"HTTP/1.1 " + EVENTS + b"Transfer-Encoding: chunked\r\n\r\n",
    "close": b"HTTP/1.1 " + EVENTS + b"\r\n",
    "length": b"HTTP/1.1 " + EVENTS + b"Content-Length: 30\r\n\r\n",
    "old": b"HTTP/1.0 " + EVENTS + b"\r\n",
}


@pytest.mark.parametrize("coding", HEADS)
async def test_each_event_arrives_before_the_next_is_produced(edge: Edge, coding: str) -> None:
    """Each gate opens only when the client has the event before; buffering would be a deadlock."""
    events = [b"data: one\n", b"data: two\n", b"data: six\n"]
    gates = [edge.backend.gate() for _ in events]

    async def stream(exchange: Exchange) -> None:
        await exchange.send(HEADS[coding])
        for gate, event in zip(gates, events, strict=True):
            await gate.passed()
            chunk = b"%x\r\n%b\r\n" % (len(event), event)
            await exchange.send(chunk if coding == "chunked" else event)
        await exchange.send(b"0\r\n\r\n" if coding == "chunked" else b"")
        exchange.close()

    edge.backend.on("/events", stream)
    async with await edge.open() as connection:
        await connection.send(request("/events"))
        reply = await connection.head()
        assert reply.get("content-type") == "text/event-stream"
        for count, gate in enumerate(gates, 1):
            gate.open()
            while reply.length < 10 * count:
                await connection.read()
            assert bytes(reply.body) == b"".join(events[:count])
        await connection.receive(1 if not reply.complete else 0)
        assert reply.complete


async def test_head_of_an_answer_arrives_before_its_body_is_produced(edge: Edge) -> None:
    gate = edge.backend.gate()

    async def late_body(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        await gate.passed()
        await exchange.send(b"body")

    edge.backend.on("/late", late_body)
    async with await edge.open() as connection:
        await connection.send(request("/late"))
        assert (await connection.head()).status == 200
        gate.open()
        [reply] = await connection.receive()
        assert bytes(reply.body) == b"body"


async def test_early_hints_arrive_before_the_answer_is_produced(edge: Edge) -> None:
    gate = edge.backend.gate()

    async def hints(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        await gate.passed()
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    edge.backend.on("/hints", hints)
    async with await edge.open() as connection:
        await connection.send(request("/hints"))
        hint = await connection.head()
        assert (hint.status, hint.get("link")) == (103, "</a.css>; rel=preload")
        gate.open()
        [reply] = await connection.receive()
        assert reply.status == 200
