"""The oracle of the catalogue: one for all rows.

(a) Statuses and end of the connection as stated. (b) The backend's log is empty, or holds exactly
the stated requests, read by an independent strict parser. (c) A clean request on a fresh connection
is answered within 100 ms. (d) Clean requests on every pooled upstream connection get their own
answers. That descriptors return to their base is checked where the worker ends
(`tests.harness.edge`).
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from tests.corpus.rows import AnswerRow, Row, Seen
from tests.harness.backend import SAW, Mark
from tests.harness.client import Connection, request
from tests.harness.edge import CLEAN, Edge, Probe
from tests.harness.strict import Reply, Request

EVERY_BYTE_UP_TO = 1200
"""Longer inputs are cut at their begin, at their end and around their line ends only."""
AT_ONCE = 100
"""Cut variants that run at the same time."""


def cuts(data: bytes) -> Sequence[int]:
    """Where an input is cut: at every byte, or at the telling ones of a long input."""
    if len(data) <= EVERY_BYTE_UP_TO:
        return range(1, len(data))
    near = {at + off for at, byte in enumerate(data) if byte in b"\r\n" for off in (0, 1)}
    telling = sorted(at for at in near if 0 < at < len(data))
    step = max(1, len(telling) // 100)
    return sorted({*range(1, 50), *range(len(data) - 50, len(data)), *telling[::step]})


async def play_whole(edge: Edge, row: Row) -> None:
    """The row in one segment, then the oracle."""
    mark = edge.backend.mark()
    await _converse(edge, row, [row.data])
    await _judge(edge, row, mark, 1)


async def play_all(edge: Edge, rows: Iterable[Row]) -> None:
    """Rows in one segment each, one row after the other, each with the oracle.

    Over TLS, which has no half-closed connections, the proxy waits before it closes; so that
    connections end is looked at for all rows together.
    """
    ending: list[tuple[Row, Connection]] = []
    try:
        for row in rows:
            mark = edge.backend.mark()
            connection = await edge.open(row.methods, http10=row.http10)
            ending.append((row, connection))
            await connection.send(row.data)
            await _answers(edge, row, connection)
            await _judge(edge, row, mark, 1)
        await asyncio.gather(*(_end(row, connection) for row, connection in ending))
    finally:
        for _, connection in ending:
            connection.close()


async def play_byte_by_byte(edge: Edge, row: Row) -> None:
    """The row in segments of one byte, each read by the worker before the next is sent."""
    mark = edge.backend.mark()
    async with Probe(edge.address) as probe:
        pieces = [row.data[at : at + 1] for at in range(len(row.data))]
        await _converse(edge, row, pieces, probe)
    await _judge(edge, row, mark, 1)


async def play_cut(edge: Edge, row: Row) -> None:
    """The row cut at every byte, many connections at a time; then the oracle on all of them."""
    mark = edge.backend.mark()
    positions = cuts(row.data)
    async with Probe(edge.address) as probe:
        for batch in _batches(positions, AT_ONCE):
            await _cut_batch(edge, row, batch, probe)
    await _judge(edge, row, mark, len(positions))


async def _cut_batch(edge: Edge, row: Row, batch: Sequence[int], probe: Probe) -> None:
    connections = [await edge.open(row.methods, http10=row.http10) for _ in batch]
    try:
        for connection, at in zip(connections, batch, strict=True):
            await connection.send(row.data[:at])
        await probe.pass_through()
        for connection, at in zip(connections, batch, strict=True):
            await connection.send(row.data[at:])
        outcomes = await asyncio.gather(
            *(_outcome(edge, row, connection) for connection in connections),
            return_exceptions=True,
        )
    finally:
        for connection in connections:
            connection.close()
    for at, outcome in zip(batch, outcomes, strict=True):
        if outcome is not None:
            raise AssertionError(f"cut at {at}: {outcome!r}") from outcome


async def _converse(
    edge: Edge, row: Row, pieces: Iterable[bytes], probe: Probe | None = None
) -> None:
    async with await edge.open(row.methods, http10=row.http10) as connection:
        for piece in pieces:
            if not await connection.send(piece):
                break
            if probe is not None:
                await probe.pass_through(1)
        await _outcome(edge, row, connection)


async def _outcome(edge: Edge, row: Row, connection: Connection) -> None:
    """Read the answers and compare them and the end of the connection with the row."""
    await _answers(edge, row, connection)
    await _end(row, connection)


def _told(row: Row, connection: Connection) -> str:
    statuses = [reply.status for reply in connection.finished]
    return f"{row.name}: got {statuses}, {connection.ended}, {bytes(connection.raw)!r}"


async def _answers(edge: Edge, row: Row, connection: Connection) -> None:
    await connection.receive(len(row.statuses))
    statuses = [reply.status for reply in connection.finished]
    told = _told(row, connection)
    assert len(statuses) == len(row.statuses), told
    for status, right in zip(statuses, row.statuses, strict=True):
        assert status in right, told
    interim = [reply.status for reply in connection.replies if reply.status < 200]
    assert set(interim) <= set(row.interim), told
    for reply, seen in zip(connection.finished, row.seen, strict=False):
        _belongs(reply, seen, told)
    for name, value in row.has:
        got = connection.finished[-1].get(name)
        assert got is not None, told
        assert value in (None, got), told
    if row.closes:
        assert connection.finished[-1].get("connection") == "close", told
    else:
        connection.reader.methods.clear()
        await edge.clean_on(connection)


async def _end(row: Row, connection: Connection) -> None:
    if row.closes:
        assert await connection.ending() != "open", _told(row, connection)
        assert len(connection.finished) == len(row.statuses), _told(row, connection)


def _belongs(reply: Reply, seen: Seen, told: str) -> None:
    saw = reply.get("x-saw") or ""
    targets = (seen.target,) if isinstance(seen.target, str) else seen.target
    assert saw in {f"{seen.method} {target} {len(seen.body)}"[:SAW] for target in targets}, told


async def _judge(edge: Edge, row: Row, mark: Mark, times: int) -> None:
    """What the backend received, and whether all is still well."""
    await edge.clean_promptly()
    await edge.clean_everywhere()
    edge.check()
    received = mark.requests(without=CLEAN)
    complete = [request for request in received if request.complete]
    if not row.aborts:
        assert len(complete) == len(received), f"{row.name}: the backend got cut-off requests"
    expected = len(row.seen) * times
    shown = [f"{request.method} {request.target} {bytes(request.body)!r}" for request in complete]
    assert len(complete) == expected, f"{row.name}: the backend got {shown[:5]}"
    for seen in row.seen:
        same = [request for request in complete if _matches(request, seen)]
        alike = sum(other == seen for other in row.seen)
        assert len(same) == times * alike, f"{row.name}: {seen} not among {complete[:3]}"


def _matches(request: Request, seen: Seen) -> bool:
    targets = (seen.target,) if isinstance(seen.target, str) else seen.target
    return (
        request.method == seen.method
        and request.target in targets
        and bytes(request.body) == seen.body
        and all(request.values(name) == [value] for name, value in seen.has)
        and all(request.get(name) is None for name in seen.lacks)
        and (seen.trailers is None or tuple(request.trailers) == seen.trailers)
    )


def _batches(positions: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(positions), size):
        yield positions[start : start + size]


async def play_answer(edge: Edge, row: AnswerRow, path: str) -> None:
    """An answer row in one piece, then the oracle."""
    await _answered(edge, row, path)
    await _judge_answer(edge, row, path)


async def play_answer_cut(edge: Edge, row: AnswerRow, path: str) -> None:
    """An answer row cut at every byte, many exchanges at a time."""
    for batch in _batches(cuts(row.data), AT_ONCE // 2):
        targets = [f"{path}?cut={at}" for at in batch]
        outcomes = await asyncio.gather(
            *(_answered(edge, row, target) for target in targets), return_exceptions=True
        )
        for target, outcome in zip(targets, outcomes, strict=True):
            if outcome is not None:
                raise AssertionError(f"{target}: {outcome!r}") from outcome
        await _judge_answer(edge, row, path)


async def _answered(edge: Edge, row: AnswerRow, target: str) -> None:
    async with await edge.open([row.method], http10=row.http10) as connection:
        version = "HTTP/1.0" if row.http10 else "HTTP/1.1"
        await connection.send(request(target, method=row.method, version=version))
        replies = await connection.receive()
        told = f"{row.name}: {connection.ended}, {bytes(connection.raw)[-2000:]!r}"
        if row.cut_off and not replies:
            assert connection.ended != "open", told
            return
        assert len(replies) == 1, told
        reply = replies[0]
        assert reply.status in ((502, 504) if row.cut_off else row.statuses), told
        assert reply.get("server") is not None, told
        if reply.status in (502, 504):
            return
        interim = tuple(reply.status for reply in connection.replies if reply.status < 200)
        assert interim == row.interim, told
        if row.body is not None:
            assert bytes(reply.body) == row.body, told
        for name, value in row.has:
            assert reply.values(name) == [value], told
        for name in row.lacks:
            allowed = ("close",) if name == "connection" and row.http10 else (None,)
            assert reply.get(name) in allowed, told
        assert reply.trailers == [], told


async def _judge_answer(edge: Edge, row: AnswerRow, path: str) -> None:
    """The pool is not poisoned, and connections that may not be used again are not."""
    used = {request.connection for request in edge.backend.requests if request.path == path}
    await edge.clean_everywhere()
    after = {request.connection for request in edge.backend.requests if request.path == CLEAN}
    if row.reused is False:
        reused = [
            connection
            for connection in used
            for later in _after(edge, connection, path)
            if later.path == CLEAN
        ]
        assert not reused, f"{row.name}: connections {reused} carried another request"
    elif row.reused is True:
        assert used & after, f"{row.name}: the connection was not used again"
    edge.check()


def _after(edge: Edge, connection: int, path: str) -> list[Request]:
    """Requests on this backend connection after the first one for the path."""
    requests = edge.backend.connections[connection].requests
    first = next(at for at, known in enumerate(requests) if known.path == path)
    return requests[first + 1 :]
