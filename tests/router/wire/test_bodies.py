"""Bodies of requests and answers on real sockets: every way to delimit them, streamed."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Literal

import pytest

from tests.harness.backend import Exchange, fixed, iterate, message, raw
from tests.harness.client import Connection, chunked, fetch, request
from tests.harness.edge import Edge
from tests.harness.waiting import until

PIECES = [b"a" * 10, b"b" * 70_000, b"c", b"d" * 300_000]
WHOLE = b"".join(PIECES)


async def test_body_with_a_length_reaches_the_backend_and_keeps_its_length(edge: Edge) -> None:
    reply = await fetch(edge.address, request(method="POST", body=WHOLE))
    assert reply.status == 200
    [seen] = edge.backend.requests
    assert (bytes(seen.body), seen.get("content-length")) == (WHOLE, str(len(WHOLE)))


async def test_chunked_body_reaches_the_backend_chunked(edge: Edge) -> None:
    head = request("/x", ("Transfer-Encoding", "chunked"), method="POST")
    reply = await fetch(edge.address, head + chunked(*PIECES))
    assert reply.status == 200
    [seen] = edge.backend.requests
    assert (bytes(seen.body), seen.chunked) == (WHOLE, True)


async def test_pieces_of_a_body_reach_the_backend_as_they_come(edge: Edge) -> None:
    head = request("/slow", ("Transfer-Encoding", "chunked"), method="POST")
    async with await edge.open() as connection:
        await connection.send(head)
        for count in range(1, 6):
            await connection.send(b"5\r\nhello\r\n")
            await until(partial(_received, edge, 5 * count), f"piece {count} at the backend")
        await connection.send(b"0\r\n\r\n")
        [reply] = await connection.receive()
    assert reply.get("x-saw") == "POST /slow 25"


def _received(edge: Edge, wanted: int) -> bool:
    return sum(seen.length for seen in edge.backend.requests) == wanted


@pytest.mark.parametrize("coding", ["length", "chunked", "close"])
async def test_answer_body_passes_whole(
    edge: Edge, coding: Literal["length", "chunked", "close"]
) -> None:
    async def script(exchange: Exchange) -> None:
        if coding == "length":
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(WHOLE))
        elif coding == "chunked":
            exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        else:
            exchange.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for piece in PIECES:
            await exchange.send(
                piece if coding != "chunked" else b"%x\r\n%b\r\n" % (len(piece), piece)
            )
        if coding == "chunked":
            await exchange.send(b"0\r\n\r\n")
        elif coding == "close":
            exchange.close()

    edge.backend.on("/out", script)
    async with await edge.open() as connection:
        reply = await connection.exchange(request("/out"))
        assert bytes(reply.body) == WHOLE
        assert reply.chunked is (coding != "length")
        await edge.clean_on(connection)


@pytest.mark.parametrize("path", ["length", "chunked", "none"])
async def test_answer_to_head_has_no_body_and_keeps_its_fields(edge: Edge, path: str) -> None:
    fields = {
        "length": b"Content-Length: 12345\r\n",
        "chunked": b"Transfer-Encoding: chunked\r\n",
        "none": b"",
    }[path]
    edge.backend.on("/head", fixed(b"HTTP/1.1 200 OK\r\nX: y\r\n" + fields + b"\r\n"))
    async with await edge.open() as connection:
        reply = await connection.exchange(request("/head", method="HEAD"))
        assert (reply.status, reply.get("x"), reply.length) == (200, "y", 0)
        assert reply.get("content-length") == ("12345" if path == "length" else None)
        await edge.clean_on(connection)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_without_a_body_leave_the_connection_usable(edge: Edge, status: str) -> None:
    edge.backend.on("/none", fixed(message(status, b"", ("ETag", '"a"'), length=False)))
    async with await edge.open() as connection:
        for _ in range(3):
            reply = await connection.exchange(request("/none"))
            assert (f"{reply.status} {reply.reason}", reply.get("etag")) == (status, '"a"')
        await edge.clean_on(connection)


async def test_reason_phrase_and_repeated_fields_pass_in_order(edge: Edge) -> None:
    cookies = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/"), ("Set-Cookie", "c=3")]
    edge.backend.on("/fields", fixed(message("418 I'm a Teapot!", b"x", *cookies)))
    reply = await fetch(edge.address, request("/fields"))
    assert (reply.status, reply.reason) == (418, "I'm a Teapot!")
    assert reply.values("set-cookie") == ["a=1", "b=2; Path=/", "c=3"]


async def test_client_of_http_1_0_gets_a_body_that_ends_with_the_connection(edge: Edge) -> None:
    edge.backend.on(
        "/old", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(*PIECES))
    )
    async with await edge.open(http10=True) as connection:
        reply = await connection.exchange(request("/old", version="HTTP/1.0"))
        assert (bytes(reply.body), reply.get("content-length")) == (WHOLE, None)
        assert await connection.ending() == "closed"


async def test_client_of_http_1_0_may_keep_its_connection(edge: Edge) -> None:
    old = request("/x", ("Connection", "keep-alive"), version="HTTP/1.0")
    async with await edge.open(http10=True) as connection:
        for _ in range(3):
            reply = await connection.exchange(old)
            assert (reply.status, reply.get("connection")) == (200, "keep-alive")


async def test_cut_chunked_answer_is_reset_for_a_client_of_http_1_0(edge: Edge) -> None:
    """Only a reset says that a body is not complete which the close delimits (RFC 9112 6.3)."""
    cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    release = edge.backend.gate()

    async def script(exchange: Exchange) -> None:
        await exchange.send(cut)
        await release.passed()
        exchange.close()

    edge.backend.on("/cut", script)
    async with await edge.open(http10=True) as connection:
        await connection.send(request("/cut", version="HTTP/1.0"))
        await connection.head()
        release.open()
        assert await connection.ending() == "reset"
        assert connection.finished == []


async def test_early_answer_arrives_while_the_body_still_comes(edge: Edge) -> None:
    """The answer need not wait for the request (RFC 9112 9.5); then the connection ends."""

    async def refuse(exchange: Exchange) -> None:
        await exchange.send(message("401 Unauthorized", b"no"))

    edge.backend.on("/early", refuse)
    async with await edge.open() as connection:
        head = request("/early", ("Content-Length", "10000000"), method="POST")
        await connection.send(head + b"x" * 1000)
        [reply] = await connection.receive()
        assert (reply.status, bytes(reply.body)) == (401, b"no")
        assert reply.get("connection") == "close"
        assert await connection.ending() != "open"


async def test_early_answer_that_streams_goes_on_while_the_body_comes(edge: Edge) -> None:
    """Echo while both bodies run: neither side waits for the other's end."""

    async def script(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        async for piece in exchange.pieces():
            await exchange.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await exchange.send(b"0\r\n\r\n")

    edge.backend.on("/both", script)
    async with await edge.open() as connection:
        await connection.send(request("/both", ("Transfer-Encoding", "chunked"), method="POST"))
        got = b""
        for number in range(20):
            await connection.send(b"4\r\n%04d\r\n" % number)
            while len(got) < 4 * (number + 1):
                got += b"".join(await connection.read())
        await connection.send(b"0\r\n\r\n")
        [reply] = await connection.receive()
    assert bytes(reply.body) == b"".join(b"%04d" % number for number in range(20))


async def test_trailers_of_an_answer_pass_to_a_client_that_takes_them(edge: Edge) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
    edge.backend.on("/trailers", fixed(answer + chunked(b"hello", trailers=[("X-Sum", "5")])))
    takes = request("/trailers", ("TE", "trailers"), ("Connection", "TE"))
    async with await edge.open() as connection:
        reply = await connection.exchange(takes)
        assert (bytes(reply.body), reply.trailers) == (b"hello", [("x-sum", "5")])
        reply = await connection.exchange(request("/trailers"))
        assert (bytes(reply.body), reply.trailers) == (b"hello", [])


async def test_trailers_of_a_request_pass_when_its_client_takes_them(edge: Edge) -> None:
    coding = ("Transfer-Encoding", "chunked")
    takes = request("/x", ("TE", "trailers"), ("Connection", "TE"), coding, method="POST")
    body = chunked(b"hello", trailers=[("X-Sum", "5")])
    await fetch(edge.address, takes + body)
    await fetch(edge.address, request("/x", coding, method="POST") + body)
    assert [seen.trailers for seen in edge.backend.requests] == [[("x-sum", "5")], []]


async def test_continue_comes_from_the_proxy_before_the_body_is_sent(edge: Edge) -> None:
    async with await edge.open() as connection:
        expecting = ("Expect", "100-continue"), ("Content-Length", "5")
        await connection.send(request("/x", *expecting, method="POST"))
        assert (await connection.head()).status == 100
        await connection.send(b"hello")
        [reply] = await connection.receive()
    assert reply.get("x-saw") == "POST /x 5"


async def test_continue_is_not_sent_for_a_request_that_is_refused(edge: Edge) -> None:
    expecting = ("Expect", "100-continue"), ("Content-Length", "5")
    for host, status in (("nobody.test", 404), ("empty.test", 503)):
        async with await edge.open() as connection:
            await connection.send(request("/x", *expecting, method="POST", host=host))
            [reply] = await connection.receive()
            assert [reply.status for reply in connection.replies] == [status]
            assert reply.get("connection") == "close"


async def test_slow_reader_stops_the_upstream_and_then_gets_everything(edge: Edge) -> None:
    """Backpressure: what the proxy holds for one client does not grow with the body."""
    size, pieces = 1 << 20, 128
    sent = 0

    async def script(exchange: Exchange) -> None:
        nonlocal sent
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size * pieces))
        for piece in iterate(pieces, size):
            await exchange.send(piece)
            sent += size

    edge.backend.on("/large", script)
    before = edge.worker.memory
    async with await edge.open(receive_buffer=65536) as connection:
        await connection.send(request("/large"))
        await connection.head()
        stalled = await _stall(lambda: sent)
        assert stalled < 40 * size  # kernel buffers of three sockets, and 64 KiB of ours
        assert edge.worker.memory - before < 4 * size
        [reply] = await connection.receive(within=30)
    assert reply.length == size * pieces


async def test_slow_backend_stops_the_client_and_then_gets_everything(edge: Edge) -> None:
    size, pieces = 1 << 20, 128
    release = edge.backend.gate()

    async def script(exchange: Exchange) -> None:
        await release.passed()
        await exchange.body()
        await exchange.send(message("200 OK", b"", ("X-Length", str(exchange.request.length))))

    edge.backend.on("/slow", script)
    before = edge.worker.memory
    sent = 0
    async with await edge.open() as connection:
        await connection.send(
            request("/slow", ("Content-Length", str(size * pieces)), method="POST")
        )

        async def upload() -> None:
            nonlocal sent
            for piece in iterate(pieces * 16, size // 16):
                await connection.send(piece)
                sent += len(piece)

        task = asyncio.ensure_future(upload())
        assert await _stall(lambda: sent) < 40 * size
        assert edge.worker.memory - before < 4 * size
        release.open()
        await task
        [reply] = await connection.receive()
    assert reply.get("x-length") == str(size * pieces)


async def _stall(progress: Callable[[], int]) -> int:
    """Wait until a number that grows has stood still for 0.2 s; gives it."""
    last, since = progress(), asyncio.get_running_loop().time()

    def still() -> bool:
        nonlocal last, since
        now = asyncio.get_running_loop().time()
        if progress() != last:
            last, since = progress(), now
        return now - since > 0.2

    await until(still, "progress stops")
    return last


async def test_many_bodies_at_once_do_not_mix(edge: Edge) -> None:
    async def one(number: int) -> None:
        body = b"%06d" % number * 5000
        async with await Connection.open(edge.address) as connection:
            for turn in range(3):
                nonce = f"{number}.{turn}"
                reply = await connection.exchange(
                    request("/x", method="PUT", body=body, nonce=nonce)
                )
                assert (reply.get("x-nonce"), reply.get("x-saw")) == (nonce, "PUT /x 30000")

    await asyncio.gather(*(one(number) for number in range(50)))
    assert all(
        len(set(zip(*[iter(bytes(seen.body))] * 6, strict=True))) == 1
        for seen in edge.backend.requests
    )
