"""Steady load of requests that know their own answers again."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.harness.client import Address, Connection, request
from tests.harness.strict import Malformed

Maker = Callable[[str], bytes]


@dataclass(slots=True)
class Load:
    """What happened so far."""

    seconds: list[float] = field(default_factory=list)
    """Time of each request that got its own complete answer."""
    failures: list[str] = field(default_factory=list)
    """The others, each with what happened instead."""

    @property
    def p99(self) -> float:
        """The time below which 99 % of the answers came."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


def get(nonce: str) -> bytes:
    """The usual request of a load."""
    return request("/load", nonce=nonce)


@asynccontextmanager
async def steady_load(
    address: Address,
    *,
    connections: int = 10,
    rate: float = 200.0,
    fresh: float = 20.0,
    make: Maker = get,
) -> AsyncIterator[Load]:
    """Send requests at a rate over kept connections, and some on connections of their own.

    A request fails when it gets no complete answer, another status than 200, or another's answer.
    """
    load = Load()
    nonces = itertools.count(1)
    stop = asyncio.Event()

    async def keep(wait: float) -> None:
        connection: Connection | None = None
        while not await _stopped(stop, wait):
            if connection is None:
                connection = await _open(address, load)
            if connection is not None and not await _ask(connection, load, make, str(next(nonces))):
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    async def alone(wait: float) -> None:
        while not await _stopped(stop, wait):
            connection = await _open(address, load)
            if connection is not None:
                await _ask(connection, load, make, str(next(nonces)))
                connection.close()

    tasks = [asyncio.ensure_future(keep(connections / rate)) for _ in range(connections)]
    if fresh:
        tasks += [asyncio.ensure_future(alone(2 / fresh)) for _ in range(2)]
    try:
        yield load
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def _stopped(stop: asyncio.Event, wait: float) -> bool:
    try:
        async with asyncio.timeout(wait):
            await stop.wait()
    except TimeoutError:
        return False
    return True


async def _open(address: Address, load: Load) -> Connection | None:
    try:
        return await Connection.open(address)
    except (OSError, TimeoutError) as error:
        load.failures.append(f"connect: {error!r}")
        return None


async def _ask(connection: Connection, load: Load, make: Maker, nonce: str) -> bool:
    """One request; gives whether the connection may be used again."""
    start = time.perf_counter()
    try:
        reply = await connection.exchange(make(nonce))
    except (AssertionError, TimeoutError, Malformed) as error:
        load.failures.append(f"{nonce}: {error!r}")
        return False
    if (reply.status, reply.get("x-nonce")) != (200, nonce):
        load.failures.append(f"{nonce}: {reply.status} for {reply.get('x-nonce')}: {reply.body!r}")
    else:
        load.seconds.append(time.perf_counter() - start)
    return reply.get("connection") != "close"
