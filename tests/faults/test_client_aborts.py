"""Clients that leave in the middle (F-21): the upstream is let go at once, nothing is leaked."""

import asyncio
import statistics
import time
from collections.abc import Iterator

import pytest

from tests.harness.backend import Exchange, hang
from tests.harness.client import Connection, request
from tests.harness.edge import Edge, edge
from tests.harness.waiting import until

TIMES = 20


@pytest.fixture
def fresh_edge() -> Iterator[Edge]:
    """A worker of its own: when it ends, all descriptors must have returned."""
    with edge() as pair:
        yield pair


async def _endless(exchange: Exchange) -> None:
    exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
    while True:
        await exchange.send(b"x" * 65536)


async def _download(connection: Connection) -> None:
    await connection.send(request("/endless"))
    reply = await connection.head()
    while reply.length < 200_000:
        await connection.read()


async def _upload(connection: Connection) -> None:
    await connection.send(request("/hang", ("Content-Length", "1000000"), method="POST"))
    await connection.send(b"x" * 100_000)


async def _chunked_upload(connection: Connection) -> None:
    await connection.send(request("/hang", ("Transfer-Encoding", "chunked"), method="POST"))
    await connection.send(b"5\r\nhel")


async def _wait(connection: Connection) -> None:
    await connection.send(request("/hang"))


PHASES = {
    "mid-download": _download,
    "mid-upload": _upload,
    "mid-chunk": _chunked_upload,
    "waiting": _wait,
}


@pytest.mark.parametrize("abruptly", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize("phase", PHASES)
async def test_upstream_is_let_go_within_100_ms(
    fresh_edge: Edge, phase: str, *, abruptly: bool
) -> None:
    backend = fresh_edge.backend
    backend.on("/endless", _endless)
    backend.on("/hang", hang)
    base = fresh_edge.worker.descriptors
    times = []
    for _ in range(TIMES):
        connection = await fresh_edge.open()
        known = len(backend.requests)
        await PHASES[phase](connection)
        await until(lambda known=known: len(backend.requests) > known, "the request")  # type: ignore[misc] # a bound loop variable
        record = backend.connections[backend.requests[-1].connection]
        left = time.perf_counter()
        if abruptly:
            connection.reset()
        else:
            connection.close()
        await until(lambda record=record: record.ended_at, "the upstream's end")  # type: ignore[misc] # a bound loop variable
        assert record.ended_at is not None
        times.append(record.ended_at - left)
    assert statistics.median(times) < 0.1
    assert max(times) < 1
    fresh_edge.worker.descriptors_return_to(base)


async def test_hundreds_of_aborts_at_once_leak_nothing(fresh_edge: Edge) -> None:
    backend, worker = fresh_edge.backend, fresh_edge.worker
    backend.on("/endless", _endless)
    backend.on("/hang", hang)
    base, memory = worker.descriptors, 0
    for turn in range(3):
        connections = [await fresh_edge.open() for _ in range(100)]
        phases = list(PHASES.values())
        await asyncio.gather(
            *(phases[number % 4](connection) for number, connection in enumerate(connections))
        )
        for number, connection in enumerate(connections):
            if number % 2:
                connection.reset()
            else:
                connection.close()
        worker.descriptors_return_to(base)
        await until(lambda: backend.open_connections == 0, "all upstream connections end")
        if turn == 0:
            memory = worker.memory
    assert worker.memory < memory + 10 * 1024 * 1024
    await fresh_edge.clean()


async def test_client_that_leaves_while_it_waits_for_a_connection_takes_none(
    fresh_edge: Edge,
) -> None:
    """A request whose client left must not be sent when its turn comes."""
    backend = fresh_edge.backend
    for _ in range(50):
        connection = await fresh_edge.open()
        await connection.send(request("/gone"))
        connection.reset()
    await fresh_edge.clean()
    await until(lambda: all(seen.complete for seen in backend.requests), "whole requests")
