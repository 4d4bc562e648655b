"""Takes steps in turns with everything else that the event loop does."""

import asyncio
import time

from router.steps import Steps

TURN_SECONDS = 0.002
"""After so long others have their turn: what a request waits for an update at a time."""
SHARE = 1 / 8
"""Of the time that the others took, if that is more: a loop that is busy with thousands of
connections comes back after a second, and an update must come to its end all the same."""


class Turns:
    """The turns of one task; one piece of work after the other."""

    def __init__(self) -> None:
        self._ends = 0.0
        """When our turn ends."""

    async def take(self, steps: Steps[None]) -> None:
        """Takes all steps; what the generator raises ends it."""
        for _ in steps:
            now = time.perf_counter()
            if now > self._ends:
                await asyncio.sleep(0)
                back = time.perf_counter()
                self._ends = back + max(TURN_SECONDS, (back - now) * SHARE)
