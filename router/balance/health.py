"""Passive health: an endpoint that fails several times in a row rests for a while."""

FAILURES = 3
"""Failures in a row that eject an endpoint."""
WINDOW = 10.0
"""Seconds in which they must happen; also how long the endpoint then rests."""
REFUSED_REST = 1.0
"""Seconds for which an endpoint rests that refused one connect: a pod that ends, or starts."""


class Health:
    """Failures of one endpoint as seen by one worker.

    A failure is a refused or timed-out connect, a connection that ended without an answer, or an
    answer that did not come in time. What the application answers (a 500, say) is no failure.
    """

    __slots__ = ("_failures", "_first", "rests_until")

    def __init__(self) -> None:
        self._failures = 0
        self._first = 0.0
        self.rests_until = 0.0

    def failed(self, now: float) -> bool:
        """Count a failure at ``now`` (monotonic seconds); True when it ejects the endpoint."""
        if self._failures == 0 or now - self._first > WINDOW:
            self._failures = 0
            self._first = now
        self._failures += 1
        if self._failures < FAILURES:
            return False
        self._failures = 0
        self.rests_until = now + WINDOW
        return True

    def refused(self, now: float) -> None:
        """A connect was refused: nobody listens there. Others are tried first for a moment."""
        if not self.failed(now):
            self.rests_until = max(self.rests_until, now + REFUSED_REST)

    def succeeded(self) -> None:
        """An answer came: earlier failures no longer count."""
        self._failures = 0
        self.rests_until = 0.0
