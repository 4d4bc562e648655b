"""Sizes at limit - 1, limit and limit + 1."""

from collections.abc import Iterator

import pytest

from router.model.limits import Limits
from tests.harness.backend import fixed, message
from tests.harness.client import chunked, fetch, request
from tests.harness.edge import Edge, edge

LIMITS = Limits(
    max_header_size=4096, max_header_line=1024, max_header_fields=20, max_body_size=10_000
)
AROUND = pytest.mark.parametrize("over", [-1, 0, 1])


@pytest.fixture(scope="module")
def shared_limited() -> Iterator[Edge]:
    with edge(LIMITS) as pair:
        yield pair


@pytest.fixture
def limited(shared_limited: Edge) -> Iterator[Edge]:
    """An edge with small limits."""
    yield shared_limited
    shared_limited.check()
    shared_limited.backend.forget()


async def _outcome(pair: Edge, data: bytes) -> tuple[int, int]:
    """The status, and how many requests the backend got whole."""
    before = sum(seen.complete for seen in pair.backend.requests)
    async with await pair.open() as connection:
        reply = await connection.exchange(data)
        if reply.status == 200:
            await pair.clean_on(connection)
            before += 1
        else:
            assert reply.get("connection") == "close"
            assert await connection.ending() != "open"
    return reply.status, sum(seen.complete for seen in pair.backend.requests) - before


def _expected(over: int, status: int) -> tuple[int, int]:
    return (200, 1) if over <= 0 else (status, 0)


@AROUND
async def test_head_size(limited: Edge, over: int) -> None:
    lines = [("a", "x" * 1000), ("b", "x" * 1000), ("c", "x" * 1000), ("e", "x" * 500)]
    empty = len(request("/x", *lines, ("d", "")))
    data = request("/x", *lines, ("d", "x" * (4096 + over - empty)))
    assert len(data) == 4096 + over
    assert await _outcome(limited, data) == _expected(over, 431)


@AROUND
async def test_header_line(limited: Edge, over: int) -> None:
    data = request("/x", ("a", "x" * (1024 + over - 3)))
    assert await _outcome(limited, data) == _expected(over, 431)


@AROUND
async def test_target(limited: Edge, over: int) -> None:
    data = request("/" + "x" * (1024 + over - 1))
    assert await _outcome(limited, data) == _expected(over, 414)


@AROUND
async def test_header_fields(limited: Edge, over: int) -> None:
    """Host is one of them."""
    data = request("/x", *((f"h{number}", "v") for number in range(20 + over - 1)))
    assert await _outcome(limited, data) == _expected(over, 431)


@AROUND
async def test_body_with_a_length(limited: Edge, over: int) -> None:
    data = request(method="POST", body=b"x" * (10_000 + over))
    assert await _outcome(limited, data) == _expected(over, 413)


@AROUND
async def test_chunked_body(limited: Edge, over: int) -> None:
    head = request("/x", ("Transfer-Encoding", "chunked"), method="POST")
    data = head + chunked(b"x" * 5000, b"x" * (5000 + over))
    assert await _outcome(limited, data) == _expected(over, 413)


async def test_body_that_is_too_long_is_refused_before_it_is_sent(limited: Edge) -> None:
    """No 100, no byte to the backend, no wait for the body."""
    async with await limited.open() as connection:
        await connection.send(
            request(
                "/waits", ("Expect", "100-continue"), ("Content-Length", "10001"), method="POST"
            )
        )
        await connection.receive()
        assert [reply.status for reply in connection.replies] == [413]
    await limited.clean()
    assert all(seen.path != "/waits" for seen in limited.backend.requests)


@AROUND
async def test_fields_of_an_answer(edge: Edge, over: int) -> None:
    fields = [(f"h{number}", "v") for number in range(100 + over - 1)]
    edge.backend.on("/fields", fixed(message("200 OK", b"x", *fields)))
    reply = await fetch(edge.address, request("/fields"))
    assert reply.status == (200 if over <= 0 else 502)
