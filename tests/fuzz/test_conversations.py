"""Random conversations: many requests on one connection, pipelined, cut anywhere, answered oddly.

Each request is good; what varies is how its body is delimited, where the bytes are cut, how many
are sent before an answer is read, and how the backend answers. The answers must come in order, each
to its own request and whole, until one says that the connection ends. Six seconds by default,
always the same conversations; ``FUZZ_SECONDS`` and ``FUZZ_SEED`` as in `test_wire`.
"""

import asyncio
import os
import random
import time
from dataclasses import dataclass

import pytest

from tests.harness.backend import Exchange, message
from tests.harness.client import Connection, chunked, request
from tests.harness.edge import Edge, edge

SECONDS = float(os.environ.get("FUZZ_SECONDS", "12")) / 2
SEED = int(os.environ.get("FUZZ_SEED", "0"))
AT_ONCE = 30
MOST_REQUESTS = 12
WAYS = ("length", "chunked", "close", "early", "empty", "interim", "no-content", "slow", "refuses")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a conversation, and what it must get."""

    data: bytes
    nonce: str
    method: str
    way: str
    size: int

    @property
    def body(self) -> bytes:
        """The body of the right answer."""
        if self.method == "HEAD" or self.way in ("empty", "no-content"):
            return b""
        return _words(self.nonce, self.size)


def _words(nonce: str, size: int) -> bytes:
    return (f"{nonce};" * (size // (len(nonce) + 1) + 1)).encode()[:size]


def _ask(rng: random.Random, nonce: str) -> Asked:
    method = rng.choice(("GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE"))
    way = rng.choice(WAYS)
    size = rng.choice((1, 100, 5000, 70_000, 200_000))
    target = f"/{way}?size={size}"
    body = _words(nonce, rng.choice((1, 50, 3000, 90_000)))
    kind = rng.choice(("none", "length", "chunked", "expect")) if method != "GET" else "none"
    fields = [("X-Nonce", nonce)]
    if kind == "expect":
        fields.append(("Expect", "100-continue"))
    if kind in ("length", "expect"):
        data = request(target, *fields, method=method, body=body)
    elif kind == "chunked":
        at = rng.randrange(len(body) + 1)
        head = request(target, *fields, ("Transfer-Encoding", "chunked"), method=method)
        data = head + chunked(body[:at], body[at:])
    else:
        data = request(target, *fields, method=method)
    return Asked(data, nonce, method, way, size)


async def _script(exchange: Exchange) -> None:
    """Answers as the path says; the body consists of the nonce alone."""
    seen = exchange.request
    way = seen.path[1:]
    nonce = exchange.nonce
    if way not in ("early", "refuses"):
        body = await exchange.body()
        assert body == _words(nonce, len(body)), f"request {nonce} came with {body[:80]!r}"
    body = _words(nonce, int(seen.target.rpartition("=")[2]))
    known = ("X-Nonce", nonce)
    bodiless = seen.method == "HEAD"
    if way == "no-content":
        await exchange.send(message("204 No Content", b"", known, length=False))
    elif way == "empty":
        await exchange.send(message("200 OK", b"", known))
    elif way in ("chunked", "slow"):
        await exchange.send(
            message("200 OK", b"", known, ("Transfer-Encoding", "chunked"), length=False)
        )
        if not bodiless:
            for piece in (body[:7], body[7:]):
                await exchange.send(chunked(piece)[:-5] if piece else b"")
                if way == "slow":
                    await asyncio.sleep(0.002)
            await exchange.send(b"0\r\n\r\n")
    elif way == "close":
        # An answer to HEAD is over before the close, so it has to announce it.
        more = [("Connection", "close")] if bodiless else []
        await exchange.send(
            message("200 OK", b"" if bodiless else body, known, *more, length=False)
        )
        exchange.close()
    else:
        more = [("Connection", "close")] if way == "refuses" else []
        answer = message("200 OK", body, known, *more)
        if way == "interim":
            answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer
        if bodiless:
            answer = answer[: answer.rindex(b"\r\n\r\n") + 4]
        await exchange.send(answer)
        if way == "refuses":
            exchange.close()


async def _converse(pair: Edge, number: int) -> int:
    """One conversation; gives how many answers came."""
    rng = random.Random(number)
    asked = [_ask(rng, f"{number}.{turn}") for turn in range(rng.randint(1, MOST_REQUESTS))]
    data = b"".join(one.data for one in asked)
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(0, 8)))
    methods = [one.method for one in asked]
    async with await Connection.open(pair.address, methods) as connection:

        async def send() -> None:
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                if not await connection.send(data[start:end]):
                    return
                await asyncio.sleep(rng.choice((0, 0, 0.002)))

        sending = asyncio.ensure_future(send())
        try:
            for one in asked:
                replies = await connection.receive()
                told = f"conversation {number}: {one.nonce} {one.method} {one.way} {one.size}"
                # An upstream that closes with unread bytes resets: its answer may be lost.
                if one.way == "refuses" and not replies:
                    break
                assert replies, f"{told} got no answer, {connection.ended}"
                [reply] = replies
                if one.way != "refuses" or reply.status != 502:
                    assert reply.get("x-nonce") == one.nonce, f"{told} got {reply}"
                    assert bytes(reply.body) == one.body, f"{told} got {bytes(reply.body[:80])!r}"
                if reply.get("connection") == "close":
                    break
        finally:
            sending.cancel()
            await asyncio.wait([sending])  # it must not touch a descriptor that is closed
        return len(connection.finished)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
async def test_every_answer_belongs_to_its_request() -> None:
    with edge() as pair:
        pair.backend.otherwise(_script)
        pair.backend.on("/clean", _clean)
        deadline = time.monotonic() + SECONDS
        number, answers = SEED * 1_000_000, 0
        while time.monotonic() < deadline:
            batch = range(number, number + AT_ONCE)
            answers += sum(await asyncio.gather(*(_converse(pair, one) for one in batch)))
            number += AT_ONCE
            await pair.clean_everywhere()
            pair.check()
            pair.backend.forget()
        assert answers > 20 * SECONDS


async def _clean(exchange: Exchange) -> None:
    await exchange.send(message("200 OK", b"", ("X-Nonce", exchange.nonce)))
