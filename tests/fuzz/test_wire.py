"""Mutated requests and answers through the real worker.

Whatever a client or an upstream sends: the backend gets only well-formed requests, the client only
well-formed answers, no request reaches what a rule denies, the worker lives and does not complain,
and a clean request gets its own answer. Twelve seconds by default, always from the same number on;
``FUZZ_SECONDS=600 FUZZ_SEED=…`` runs longer, and from another one. What it finds becomes a row of
the catalogue.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Coroutine, Iterator

import pytest

from tests.corpus import (
    answers,
    chunks,
    fields,
    framing,
    hop_by_hop,
    hosts,
    paths,
    start_line,
    upgrades,
)
from tests.fuzz.mutation import Mutant, mutant, smaller
from tests.harness.backend import Exchange, finish
from tests.harness.client import Connection, request
from tests.harness.edge import Edge, Probe, edge
from tests.harness.strict import Malformed

SECONDS = float(os.environ.get("FUZZ_SECONDS", "12"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
BATCH = 40
"""Mutants that run at the same time."""
MOST_TRIES = 300
"""To shrink one that fails."""

LONGEST = 1500
ROWS = [
    row
    for family in (framing, chunks, start_line, hosts, fields, hop_by_hop, upgrades, paths)
    for row in family.ROWS
    if len(row.data) < LONGEST
]
GOOD_REQUESTS = [row.data for row in ROWS if row.seen] + [
    b"GET " + path + b" HTTP/1.1\r\nHost: h.test\r\n\r\n"
    for path in (b"/blocked", b"/a/../blocked", b"/a/..%2fblocked", b"//blocked", b"/./%62locked")
]
BAD_REQUESTS = [row.data for row in ROWS if not row.seen]
GOOD_ANSWERS = [row.data for row in answers.ROWS if 200 in row.statuses and row.data]
BAD_ANSWERS = [
    row.data for row in answers.ROWS if 502 in row.statuses and 0 < len(row.data) < LONGEST
]


Play = Callable[[list[Mutant]], Coroutine[None, None, None]]


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Edge]:
    with edge() as pair:
        yield pair


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
def test_no_request_confuses_us_or_the_backend(fuzzed: Edge) -> None:
    _fuzz(GOOD_REQUESTS, BAD_REQUESTS, lambda batch: _requests(fuzzed, batch))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
def test_no_answer_confuses_us_or_the_client(fuzzed: Edge) -> None:
    _fuzz(GOOD_ANSWERS, BAD_ANSWERS, lambda batch: _answers(fuzzed, batch))


def _fuzz(good: list[bytes], bad: list[bytes], play: Play) -> None:
    """Play batches of mutants for half of the time; what fails is shrunk and told."""
    deadline = time.monotonic() + SECONDS / 2
    numbers = itertools.count(SEED << 40)
    with asyncio.Runner() as runner:

        def fault(batch: list[Mutant]) -> Exception | None:
            try:
                runner.run(play(batch))
            except (AssertionError, TimeoutError) as error:
                return error
            return None

        while time.monotonic() < deadline:
            batch = [mutant(next(numbers), good, bad) for _ in range(BATCH)]
            error = fault(batch)
            if error is not None:
                raise AssertionError(f"{_shrunk(batch, fault)} in {batch}") from error


def _shrunk(batch: list[Mutant], fault: Callable[[list[Mutant]], Exception | None]) -> str:
    """The smallest mutant that fails alone, found within bounded tries."""
    alone = next((played for played in batch if fault([played])), None)
    if alone is None:
        return "none fails alone"
    tries = MOST_TRIES
    found = True
    while found and tries > 0:
        found = False
        for candidate in smaller(alone):
            tries -= 1
            if tries <= 0:
                break
            if fault([candidate]):
                alone, found = candidate, True
                break
    return f"{alone} fails alone"


async def _requests(pair: Edge, batch: list[Mutant]) -> None:
    connections = [await Connection.open(pair.address) for _ in batch]
    try:
        async with Probe(pair.address) as probe:
            for connection, played in zip(connections, batch, strict=True):
                await connection.send(played.data[: played.cut])
            await probe.pass_through(2)
            for connection, played in zip(connections, batch, strict=True):
                await connection.send(played.data[played.cut :])
            await probe.pass_through(2)
        await pair.clean()
        for connection, played in zip(connections, batch, strict=True):
            if b"HEAD" not in played.data:  # which of its answers have a body, nobody can say
                connection.take()
    except Malformed as fault:
        raise AssertionError(f"to the client: {fault}") from fault
    finally:
        for connection in connections:
            connection.reset()
    _check(pair)


async def _answers(pair: Edge, batch: list[Mutant]) -> None:
    waiting = dict(enumerate(batch))

    async def script(exchange: Exchange) -> None:
        await exchange.body()
        number = int(exchange.request.target.rpartition("/")[2])
        played = waiting[number]
        await exchange.send(played.data[: played.cut])
        await asyncio.sleep(0.001)  # a segment of its own
        await exchange.send(played.data[played.cut :])
        await asyncio.sleep(0.001)  # time to be read
        await finish(exchange, ("close", "reset", "keep")[played.variant % 3])

    for number in waiting:
        pair.backend.on(f"/answer/{number}", script)
    connections = [await Connection.open(pair.address) for _ in batch]
    try:
        for number, connection in enumerate(connections):
            method = "HEAD" if batch[number].variant % 5 == 4 else "GET"
            connection.reader.methods.append(method)
            await connection.send(request(f"/answer/{number}", method=method))
        await asyncio.gather(*(_read(connection) for connection in connections))
    except Malformed as fault:
        raise AssertionError(f"to the client: {fault}") from fault
    finally:
        for connection in connections:
            connection.reset()
    await pair.clean_everywhere()
    _check(pair)


async def _read(connection: Connection) -> None:
    """Until the answer is complete, cut, or late (an upstream that keeps may never complete)."""
    try:
        await connection.receive(within=0.03)
    except TimeoutError:
        connection.take()


def _check(pair: Edge) -> None:
    pair.check()
    denied = [seen.target for seen in pair.backend.requests if seen.path == "/blocked"]
    assert denied == []
    pair.backend.forget()
