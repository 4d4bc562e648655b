"""Waits that have a deadline."""

import asyncio
from collections.abc import Awaitable


async def within(waitable: Awaitable[object], seconds: float | None) -> bool:
    """Whether it was done in time; None: as long as it takes."""
    try:
        # Not wait_for: on Python 3.11 it may swallow a cancellation that comes with the result.
        async with asyncio.timeout(seconds):
            await waitable
    except TimeoutError:
        return False
    return True
