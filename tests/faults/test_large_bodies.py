"""Bodies of 2 GB in both directions: the worker's memory does not depend on their size."""

import os

import pytest

from tests.harness.backend import Backend, Exchange, message
from tests.harness.client import Connection, request
from tests.harness.worker import Worker

SIZE = int(float(os.environ.get("LARGE_BODY_BYTES", "2e9")))
PIECE = b"0123456789abcdef" * 16384
MOST_MEMORY = 100 * 1024 * 1024


@pytest.fixture
def large() -> object:
    with Backend() as backend, Worker() as worker:
        worker.serve({"h.test": {"/": "web"}}, {"web": [backend.endpoint]})
        yield backend, worker
        worker.check()
        assert backend.violations == []
        assert worker.peak_memory < MOST_MEMORY


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["length", "chunked"])
async def test_download(large: tuple[Backend, Worker], coding: str) -> None:
    backend, worker = large
    pieces = SIZE // len(PIECE)

    async def script(exchange: Exchange) -> None:
        if coding == "length":
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (pieces * len(PIECE)))
            for _ in range(pieces):
                await exchange.send(PIECE)
        else:
            exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            chunk = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
            for _ in range(pieces):
                await exchange.send(chunk)
            await exchange.send(b"0\r\n\r\n")

    backend.on("/large", script)
    async with await Connection.open(worker.address) as connection:
        await connection.send(request("/large"))
        [reply] = await connection.receive(within=100)
    assert reply.length == pieces * len(PIECE)


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["length", "chunked"])
async def test_upload(large: tuple[Backend, Worker], coding: str) -> None:
    backend, worker = large
    pieces = SIZE // len(PIECE)

    async def script(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.send(message("200 OK", str(exchange.request.length).encode()))

    backend.on("/large", script)
    async with await Connection.open(worker.address) as connection:
        if coding == "length":
            length = ("Content-Length", str(pieces * len(PIECE)))
            await connection.send(request("/large", length, method="POST"))
            piece, last = PIECE, b""
        else:
            await connection.send(
                request("/large", ("Transfer-Encoding", "chunked"), method="POST")
            )
            piece, last = b"%x\r\n%b\r\n" % (len(PIECE), PIECE), b"0\r\n\r\n"
        for _ in range(pieces):
            assert await connection.send(piece)
        await connection.send(last)
        [reply] = await connection.receive(within=100)
    assert bytes(reply.body) == str(pieces * len(PIECE)).encode()
