"""How fast: a token bucket, and waits that grow while something fails. Time is an argument."""

import math


class Bucket:
    """Tokens come at a steady rate, up to a number that may be taken in one burst."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        """``rate``: tokens a second. It begins full."""
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Takes a token, if there is one."""
        self._fill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def next_time(self, now: float) -> float:
        """When there is a token."""
        self._fill(now)
        return now + max(0.0, 1.0 - self._tokens) / self._rate

    def is_full(self, now: float) -> bool:
        """Nothing was taken for so long that it is like a new one."""
        self._fill(now)
        return self._tokens >= self._burst

    def _fill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        if self._tokens > 1.0 - 1e-9:  # what rounding took; else a wait could be too short to end
            self._tokens = max(self._tokens, 1.0)
        self._at = now


class Backoff:
    """Waits while everything fails: a second, then twice as long each time, up to a limit.

    What was under way when a wait began says nothing new, so its failure does not make it longer.
    """

    __slots__ = ("_began", "_failures", "_longest", "until")

    def __init__(self, longest: float) -> None:
        self.until = -math.inf
        """Nothing shall be tried before."""
        self._longest = longest
        self._failures = 0
        self._began = -math.inf

    @property
    def failing(self) -> bool:
        """The last that was heard is a failure: one attempt at a time is enough."""
        return self._failures > 0

    def failed(self, *, started: float, now: float, chance: float, least: float = 0.0) -> None:
        """An attempt that began at ``started`` failed.

        Args:
            chance: at least 0, less than 1; adds up to a fifth to the wait.
            least: seconds that somebody asked us to wait.
        """
        if started >= self._began:
            self._failures += 1
            self._began = now
        wait = min(2.0 ** min(self._failures - 1, 30), self._longest) * (1 + 0.2 * chance)
        self.until = max(self.until, now + least, self._began + wait)

    def succeeded(self) -> None:
        """It works."""
        self._failures = 0
        self.until = self._began = -math.inf
