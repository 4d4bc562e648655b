"""When an API that is away is asked again: by one of all reflectors, while the others wait.

An API that does not answer (or answers 5xx) must be found again within two seconds of its return,
and must not get more than five requests a minute meanwhile, whatever the number of reflectors. Both
hold because looking whether its port is open is no request: that is done all the time. While it is
closed, a request is sent twice a minute at most; when it opens, at once, and then with backoff. An
answer ends the outage for all of them, and an answer to somebody else, such as who asks for the
Lease, is a reason to try.

An API behind a port that stays open, such as a balancer's, is found by these two alone.

A pure machine; ``now`` is monotonic seconds, ``random`` from 0 to 1.
"""

from collections import deque

from ingress_controller.sources.watch_machine import Pace, backoff

NEWCOMER_SECONDS = 1.0
"""Who has not failed yet tries soon: what is away for one kind may answer another."""


class Outage:
    """Whether the API is away, and when it may be asked."""

    __slots__ = (
        "_attempts",
        "_closed",
        "_failed_at",
        "_hinted",
        "_not_before",
        "_opened",
        "_pace",
        "_sent",
        "_trying",
        "due",
        "looking",
        "since",
    )

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.since: float | None = None
        """When it went away; None while it is there."""
        self.due = 0.0
        """When one of those that wait may send a request."""
        self.looking = False
        """It is worth to look whether the port is open."""
        self._attempts = 0
        self._not_before = 0.0
        self._closed = False
        self._failed_at = float("-inf")
        self._opened = float("-inf")
        """When its port was last seen to open, and attempts began to be counted anew."""
        self._hinted = False
        """One more may try, or has tried, because somebody had an answer meanwhile."""
        self._trying = False
        """One that waited has sent a request, and its outcome is not known yet."""
        self._sent: deque[float] = deque(maxlen=pace.attempts)

    def failed(
        self,
        now: float,
        random: float,
        *,
        retry_after: float = 0.0,
        lost: bool = False,
        tried: bool = False,
    ) -> None:
        """There was no answer, or one of the kind 5xx.

        ``retry_after`` are seconds that the API asked for. ``lost``: a connection that had lived
        for a while was cut, so the API may well be there. ``tried``: it was the turn of who tells
        this, by `sent`; what was under way when the API went away says nothing new.
        """
        self._failed_at = now
        self._not_before = max(self._not_before, now + retry_after)
        self.looking = True
        if self.since is None:
            self.since = now
            self._attempts = 0
            self._closed = False
        elif not tried:
            self.due = max(self.due, self._not_before)
            return
        self._trying = self._closed = self._hinted = False
        if lost and self._attempts == 0:
            self._set_due(now)
        else:
            self._set_due(now + backoff(self._pace, self._attempts, random))
            self._attempts += 1

    def answered(self) -> None:
        """The API answered a request: it is there."""
        self.since = None
        self.looking = self._trying = self._closed = False
        self._not_before = 0.0
        self._hinted = False
        self._sent.clear()

    def overheard(self, now: float) -> None:
        """An answer began, whoever asked. While one is trying, that is a reason for
        one more to try, and no longer one for a third."""
        if self._trying:
            if self._hinted:
                return
            self._hinted = True
        self.due = min(self.due, self._allowed(max(now, self._not_before)))

    def sent(self, now: float) -> None:
        """One of those that wait sends a request now."""
        self._sent.append(now)
        self._trying = True
        # Until its outcome is told; should it never be, another one goes then.
        self._set_due(now + 2 * self._pace.longest_delay)

    def abandoned(self, now: float) -> None:
        """The one that was sending a request will not tell its outcome."""
        if self._trying:
            self._trying = False
            self._set_due(now)

    def probed(self, now: float, *, is_open: bool, begun: float | None = None) -> None:
        """What a look at the port showed that was ``begun`` then."""
        if is_open and begun is not None and begun < self._failed_at:
            return  # somebody failed after it was seen to be open
        if not is_open:
            if not self._closed:
                self._closed = True
                self._set_due(max(self.due, now + self._pace.longest_delay))
            return
        if self._closed:
            self._attempts = 0
            if now >= self._opened + self._pace.attempts_within:
                self._opened = now
                self._sent.clear()  # what came before it opened was no burden for anybody
            self._closed = False
            self.due = min(self.due, self._allowed(now))
        self.looking = False

    def newcomer(self, now: float) -> None:
        """Somebody waits who has not failed since the API went away."""
        if self._closed:
            return
        self.due = min(self.due, self._allowed(max(now + NEWCOMER_SECONDS, self._not_before)))

    def _set_due(self, when: float) -> None:
        self.due = self._allowed(max(when, self._not_before))

    def _allowed(self, when: float) -> float:
        if len(self._sent) < self._pace.attempts:
            return when
        return max(when, self._sent[0] + self._pace.attempts_within)
