"""No answer ever reaches another request (F-24).

Under load, clients abort at random, connects are cancelled at random (endpoints that refuse or
hang), upstreams time out, reset and cut their answers, endpoint sets change. Each request carries
a nonce in its head and in every byte of its body; so does each answer. Twenty seconds by default;
``CROSS_TALK_SECONDS=300`` runs the five minutes of the fault table.
"""

import asyncio
import os
import random
import time

import pytest

from router.model.limits import Limits
from router.model.upstreams import Endpoint
from tests.faults.blackhole import Blackhole, closed_port
from tests.harness.backend import Backend, Exchange, Script, message
from tests.harness.client import Connection, request
from tests.harness.waiting import until
from tests.harness.worker import Worker

SECONDS = float(os.environ.get("CROSS_TALK_SECONDS", "20"))
CLIENTS = 40
LIMITS = Limits(
    upstream_connect_timeout=0.5, upstream_read_timeout=0.5, header_timeout=1.0, body_timeout=1.0
)


class Tally:
    """What happened."""

    def __init__(self) -> None:
        self.right = 0
        self.refused = 0
        self.cut = 0
        self.aborted = 0
        self.wrong: list[str] = []


def _misbehaving(rng: random.Random, tally: Tally) -> Script:
    """A backend that checks its requests and answers them well or badly."""

    async def script(exchange: Exchange) -> None:
        body = await exchange.body()
        nonce = exchange.nonce
        if body and set(_words(body)) != {nonce}:
            tally.wrong.append(f"request {nonce} came with the body of {set(_words(body))}")
        dice = rng.random()
        if dice < 0.3:
            await asyncio.sleep(rng.random() * 0.05)
        if dice < 0.03:
            await exchange.peer_ended()
            return
        if dice < 0.06:
            exchange.reset()
            return
        answer = message("200 OK", _body(nonce, rng.choice((1, 100, 20_000))), ("X-Nonce", nonce))
        if dice < 0.1:
            await exchange.send(answer[: rng.randrange(len(answer))])
            exchange.reset()
            return
        cut = rng.randrange(len(answer))
        await exchange.send(answer[:cut])
        if dice > 0.8:
            await asyncio.sleep(rng.random() * 0.02)
        await exchange.send(answer[cut:])

    return script


def _body(nonce: str, words: int) -> bytes:
    return (nonce + " ").encode() * words


def _words(body: bytes) -> list[str]:
    return body.decode().split()


async def _client(number: int, worker: Worker, tally: Tally, until_time: float) -> None:
    rng = random.Random(number)
    connection: Connection | None = None
    turn = 0
    while time.monotonic() < until_time:
        turn += 1
        if connection is None:
            connection = await Connection.open(worker.address)
        nonce = f"{number}-{turn}"
        method = rng.choice(("GET", "GET", "POST", "PUT"))
        body = _body(nonce, rng.choice((1, 50, 10_000))) if method != "GET" else b""
        data = request("/x", method=method, nonce=nonce, body=body)
        try:
            reusable = await _one(connection, rng, data, nonce, tally)
        except TimeoutError:
            tally.wrong.append(f"{nonce} got no answer at all")
            reusable = False
        if not reusable:
            connection.close()
            connection = None
    if connection is not None:
        connection.close()


async def _one(
    connection: Connection, rng: random.Random, data: bytes, nonce: str, tally: Tally
) -> bool:
    """One request, perhaps aborted; gives whether the connection may be used again."""
    if rng.random() < 0.15:
        await connection.send(data[: rng.randrange(len(data) + 1)])
        await asyncio.sleep(rng.random() * 0.03)
        if rng.random() < 0.5:
            connection.reset()
        tally.aborted += 1
        return False
    await connection.send(data)
    replies = await connection.receive()
    if not replies:
        tally.cut += 1
        return False
    [reply] = replies
    if reply.status != 200:
        if reply.status not in (502, 503, 504):
            tally.wrong.append(f"{nonce} got {reply.status}")
        tally.refused += 1
    elif reply.get("x-nonce") != nonce or set(_words(bytes(reply.body))) != {nonce}:
        tally.wrong.append(f"{nonce} got {reply.get('x-nonce')}: {bytes(reply.body[:80])!r}")
    else:
        tally.right += 1
    return reply.get("connection") != "close"


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
async def test_each_request_gets_its_own_answer_or_none() -> None:
    tally = Tally()
    with (
        Blackhole() as blackhole,
        Backend("a") as a,
        Backend("b") as b,
        Worker(limits=LIMITS) as worker,
    ):
        refusing = Endpoint(address="127.0.0.1", port=closed_port())
        for backend in (a, b):
            backend.otherwise(_misbehaving(random.Random(backend.name), tally))
        good = [a.endpoint, b.endpoint]
        sets = [
            good,
            [*good, refusing],
            [*good, blackhole.endpoint],
            [a.endpoint],
            [b.endpoint],
        ]
        worker.serve({"h.test": {"/": "web"}}, {"web": good})
        base = worker.descriptors
        deadline = time.monotonic() + SECONDS
        clients = [
            asyncio.ensure_future(_client(number, worker, tally, deadline))
            for number in range(CLIENTS)
        ]
        rng = random.Random(24)
        while time.monotonic() < deadline:
            worker.change(services={"web": rng.choice(sets)})
            await asyncio.sleep(0.1)
            a.forget()
            b.forget()
        await asyncio.gather(*clients)
        assert tally.wrong == []
        assert tally.right > 50 * SECONDS
        assert min(tally.aborted, tally.cut, tally.refused) > 0
        worker.change(services={"web": []})
        await until(lambda: worker.descriptors <= base, "descriptors return to their base")
        worker.check()
        assert a.violations == b.violations == []
