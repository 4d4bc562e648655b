"""Work in steps: a generator that yields where others may have their turn, and returns its result.

What takes long for many hosts is written this way once, and run either at once or in turns with
everything else that the event loop does.
"""

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]

TURN_SECONDS = 0.002
"""After so long others have their turn: what a request may wait for an update at a time."""


def at_once(steps: Steps[T]) -> T:
    """Takes all steps without a pause; gives the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


async def in_turns(steps: Steps[T]) -> T:
    """Takes all steps, with pauses in which the event loop goes on; gives the result."""
    began = time.perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        if time.perf_counter() - began > TURN_SECONDS:
            await asyncio.sleep(0)
            began = time.perf_counter()
