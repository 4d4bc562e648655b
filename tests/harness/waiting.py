"""Waiting for a condition, bounded in time; tests never sleep for a fixed time."""

import asyncio
import time
from collections.abc import Callable

PATIENCE = 10.0
"""Seconds after which a test fails that waits for something that must happen soon."""


async def until(condition: Callable[[], object], what: str, within: float = PATIENCE) -> float:
    """Wait until the condition is true; gives the seconds that it took.

    Raises:
        AssertionError: it is still false after ``within`` seconds.
    """
    start = time.perf_counter()
    while not condition():
        if time.perf_counter() - start > within:
            raise AssertionError(f"not within {within} s: {what}")
        await asyncio.sleep(0.002)
    return time.perf_counter() - start


def wait_until(condition: Callable[[], object], what: str, within: float = PATIENCE) -> float:
    """`until` for code that is not a coroutine."""
    start = time.perf_counter()
    while not condition():
        if time.perf_counter() - start > within:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.002)
    return time.perf_counter() - start
