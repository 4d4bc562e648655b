"""Who of all reflectors asks an API that is away, and that failures are told apart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from ingress_controller.logs import Log
from ingress_controller.sources.reach import Reach
from ingress_controller.sources.watch_machine import Pace
from tests.harness.waiting import until

NEVER = 60.0
PACE = msgspec.structs.replace(Pace(), first_delay=NEVER, longest_delay=NEVER, probe_every=0.01)
"""Who waits for the backoff waits for longer than a test."""


@asynccontextmanager
async def reaching(port: int = 1) -> AsyncIterator[Reach]:
    """Nobody listens on port 1."""
    reach = Reach(
        "https://api.test",
        ("127.0.0.1", port),
        PACE,
        Log("off", "info"),
        on_alarm=lambda: None,
        on_answer=lambda: None,
    )
    task = asyncio.create_task(reach.run())
    try:
        yield reach
    finally:
        task.cancel()


async def test_nobody_waits_while_the_api_is_there() -> None:
    async with reaching() as reach:
        assert await reach.turn(newcomer=False) is False


async def test_of_those_that_wait_one_tries_when_a_connection_was_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def look(self: Any) -> bool:
        return True

    monkeypatch.setattr(Reach, "_is_open", look)
    async with reaching() as reach:
        reach.failed("cut", lost=True)
        waiting = [asyncio.create_task(reach.turn(newcomer=False)) for _ in range(5)]
        await until(lambda: any(task.done() for task in waiting), "one has its turn")
        for _ in range(5):
            reach.failed("the end of another connection", lost=True)
        await asyncio.sleep(0.05)
        assert sum(task.done() for task in waiting) == 1
        reach.answered()
        assert sorted(await asyncio.gather(*waiting)) == [False] * 4 + [True]


async def test_who_is_let_go_by_an_answer_does_not_take_it_for_a_turn() -> None:
    """Though the API is away again before they look."""
    async with reaching() as reach:
        reach.failed("away")
        waiting = [asyncio.create_task(reach.turn(newcomer=False)) for _ in range(5)]
        await asyncio.sleep(0.02)
        reach.answered()
        reach.failed("away again")
        assert await asyncio.gather(*waiting) == [False] * 5


async def test_a_port_that_was_open_before_somebody_failed_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that ends takes connections until it does."""
    looks: list[asyncio.Future[bool]] = []

    async def look(self: Any) -> bool:
        looks.append(asyncio.get_running_loop().create_future())
        return await looks[-1]

    monkeypatch.setattr(Reach, "_is_open", look)
    async with reaching() as reach:
        reach.failed("cut")
        await until(lambda: len(looks) == 1, "its port is looked at")
        reach.failed("refused")
        looks[0].set_result(True)
        await until(lambda: len(looks) == 2, "its port is looked at again")
        looks[1].set_result(True)
        await asyncio.sleep(0.05)
        assert len(looks) == 2, "a port that is open is no news"
