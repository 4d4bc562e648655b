"""What a reflector does next: list, page, watch, check, pause. Values in, values out.

A list is always asked for without a resource version: the API then answers with what is newest, so
no list can be older than what we hold, and none can ask for a version that is "too large". What a
list says *is* the state; the version that the watch begins at is the list's, not the largest of its
items.

====================================  ============================================================
the server ends the watch             watch again from the last version; no list
410, as status or as ERROR event      list anew at once; if that was just done, with backoff
410 while paging                      the list begins anew; what came of it is not used
the watch is silent                   check, then watch from the last version
no answer, 5xx                        the `Outage` that all reflectors share says when to try; then
                                      check and watch, or the same page again
429, 503 with Retry-After             not before that, and not before the backoff
401                                   the same, with a backoff that stays short for whole kinds
other refusals, malformed answers     backoff; then check and watch; malformed lists begin anew with
                                      smaller pages
three watches in a row are refused     list anew: what is wrong may be the version
or broken at once
an event is older than the one before list anew: the stream is out of order
====================================  ============================================================

A *check* is a list of one object. After a failure it tells whether the API still (or again) knows
our version: when etcd was restored from a backup, versions run backwards, and a watch from one that
does not exist yet says nothing at all until it is reached (Kubernetes, "API concepts", "Unavailable
resource versions"). If the check's version is lower than ours, everything is listed.

Versions are compared for equality, or for "lower" as numbers where that makes us look again; never
to drop what the API said.
"""

import math
from enum import Enum, auto
from typing import NamedTuple

import msgspec


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast and how patient, in seconds; as client-go where it has such a figure."""

    page_size: int = 500
    """Objects of one page."""
    page_timeout: float = 30.0
    check_timeout: float = 10.0
    silence: float = 90.0
    """Without a byte a watch counts as dead. The API sends bookmarks once a minute."""
    shortest_watch: int = 240
    longest_watch: int = 420
    """The server ends each watch after a random time between both."""
    first_delay: float = 0.8
    longest_delay: float = 30.0
    """Bounds of the backoff, to which up to as much again is added at random."""
    longest_unauthorized: float = 5.0
    """The upper one for whole kinds while our credentials are refused: others may lie in their file
    any time. Single objects, of which there may be a thousand, wait as for other refusals."""
    healthy_after: float = 120.0
    """So long after the last failure the backoff begins anew."""
    gone_distance: float = 10.0
    """Between two lists that are asked for at once because the version was too old."""
    recovery: float = 30.0
    """So long after an outage, refusals are those of a server that is starting: all kinds are to be
    fresh at one time, so the backoff does not grow."""
    brief: float = 1.0
    """Watches that end sooner are not opened again at once."""
    probe_every: float = 0.8
    """Between two looks whether the port of an API that is away is open again."""
    attempts: int = 5
    attempts_within: float = 60.0
    """At most so many requests to an API that is away, of all reflectors together."""


class Trouble(Enum):
    """Why a request or a watch failed."""

    GONE = auto()
    """The version, or the token that continues a list, is too old."""
    LOST = auto()
    """No answer: the connection was refused, or is gone."""
    AWAY = auto()
    """An answer of the kind 5xx."""
    THROTTLED = auto()
    UNAUTHORIZED = auto()
    """Our credentials are not accepted."""
    REFUSED = auto()
    """Not allowed, not found, not understood."""
    MALFORMED = auto()
    """Not what the API promises."""
    SILENT = auto()
    """A watch said nothing for too long."""
    DISORDER = auto()
    """An event came that is older than the one before."""


class ListPage(NamedTuple):
    """Ask for a page of the list."""

    token: str
    """Continues the list; empty: from its beginning, forget the pages before."""
    limit: int
    """Objects of the page; 0 for all at once."""


class Check(NamedTuple):
    """Ask for a list of one object, for its version."""


class Watch(NamedTuple):
    """Open a watch."""

    version: str
    timeout: int
    """Seconds after which the server shall end it."""


class Pause(NamedTuple):
    """Do nothing until then."""

    until: float


Step = ListPage | Check | Watch | Pause

WHOLE_AFTER = 2
"""Lists whose tokens ended before the list did; the next one is asked for without pages."""
SHRINK = 8
"""After a page that could not be used, pages are so many times smaller: it may have been too large,
since objects may have 1.5 MB and 500 of them more than an answer may. After a whole list they are
larger again."""
MUTE_WATCHES = 3
"""Watches that failed soon and without a word, one after the other, after which the version is
doubted."""
MUTE_SECONDS = 10.0


class WatchMachine:
    """The state of one reflector; ``now`` is monotonic, ``random`` from 0 to 1.

    `next` says what to do. What came of it is told by `listed`, `checked`, `heard`, `ended` or
    `failed`. `doubt` says that the API was away meanwhile.
    """

    __slots__ = (
        "_attempts",
        "_cheap",
        "_doubtful",
        "_expired",
        "_gone_at",
        "_healthy_since",
        "_listed_version",
        "_mute",
        "_not_before",
        "_opened",
        "_pace",
        "_recovering_until",
        "_said_something",
        "_shrunk",
        "_token",
        "_version",
    )

    def __init__(self, pace: Pace, *, cheap_list: bool = False) -> None:
        """``cheap_list``: the list holds one object at most, so it takes the place of checks."""
        self._pace = pace
        self._cheap = cheap_list
        self._version: str | None = None
        """What the watch goes on from; None when a list is needed."""
        self._token = ""
        self._listed_version = ""
        self._expired = 0
        self._shrunk = 0
        """How many times smaller pages are, as a power of SHRINK."""
        self._doubtful = False
        self._opened: float | None = None
        """When the watch was opened that is open now."""
        self._said_something = False
        self._mute = 0
        self._attempts = 0
        self._not_before = self._gone_at = self._recovering_until = float("-inf")
        self._healthy_since: float | None = None

    @property
    def listing(self) -> bool:
        """A list is under way, or needed."""
        return self._version is None

    @property
    def watching(self) -> bool:
        """A watch is open, or being opened."""
        return self._opened is not None

    def established(self, now: float) -> bool:
        """A watch was open for a while, or has said something."""
        if self._opened is None:
            return False
        return self._said_something or now - self._opened >= self._pace.brief

    def next(self, now: float, random: float) -> Step:
        """What to do now; asking again without telling what came of it begins a new attempt."""
        if now < self._not_before:
            return Pause(self._not_before)
        if self._version is None:
            size = max(1, self._pace.page_size // SHRINK ** min(self._shrunk, 9))
            whole = self._expired >= WHOLE_AFTER and not self._shrunk
            return ListPage(self._token, 0 if whole else size)
        if self._doubtful:
            return Check()
        self._opened = now
        self._said_something = False
        spread = self._pace.longest_watch - self._pace.shortest_watch
        return Watch(self._version, self._pace.shortest_watch + round(spread * random))

    def listed(self, version: str, token: str, now: float) -> bool:
        """A page came, with the list's version and the token of the next page.

        Returns:
            Whether it was the last one: the list is whole.
        """
        self._well(now)
        if not self._token:
            self._listed_version = version
        self._token = token
        if token:
            return False
        # The first page's version: should pages ever differ, what is watched twice does no harm.
        self._version = self._listed_version
        self._doubtful = False
        self._expired = self._mute = 0
        self._shrunk = max(0, self._shrunk - 1)
        return True

    def checked(self, version: str, now: float) -> bool:
        """The version that a list has now.

        Returns:
            Whether it can be that of our history; if not, a list comes next.
        """
        self._well(now)
        self._doubtful = False
        if self._version is not None and is_lower(version, self._version):
            self._start_over()
            return False
        return True

    def heard(self, version: str, now: float) -> bool:
        """The watch said something, up to this version.

        Returns:
            False: it is older than what was said before; do not use it, close the watch and tell
            `failed`.
        """
        if self._version is not None and is_lower(version, self._version):
            return False
        self._well(now)
        self._version = version
        self._said_something = True
        self._mute = 0
        return True

    def ended(self, now: float, random: float) -> None:
        """The server ended the watch in good order."""
        opened, self._opened = self._opened, None
        if opened is None or now - opened >= self._pace.brief:
            return
        if self._said_something:
            self._not_before = opened + self._pace.brief
        else:
            self._fall_back(now, random)

    def failed(self, trouble: Trouble, now: float, random: float, retry_after: float = 0.0) -> None:
        """A request or the watch failed; ``retry_after`` are seconds that the API asked for."""
        opened, self._opened = self._opened, None
        if trouble is Trouble.SILENT:
            self._suspect()
            return
        self._forget_old_failures(now)
        if trouble is Trouble.GONE and self._version is None:
            self._expired += 1
        if trouble is Trouble.MALFORMED and self._version is None:
            self._token = ""
            self._shrunk += 1
        if trouble in (Trouble.GONE, Trouble.DISORDER):
            self._start_over()
        elif trouble is not Trouble.LOST and self._is_mute(opened, now):
            self._mute += 1
            if self._mute >= MUTE_WATCHES:
                self._mute = 0
                self._start_over()
        self._suspect()
        if trouble in (Trouble.LOST, Trouble.AWAY):
            return  # the shared outage says when
        if (
            trouble in (Trouble.GONE, Trouble.DISORDER)
            and now - self._gone_at >= self._pace.gone_distance
        ):
            self._gone_at = now
            return
        unauthorized = trouble is Trouble.UNAUTHORIZED and not self._cheap
        longest = self._pace.longest_unauthorized if unauthorized else math.inf
        self._fall_back(now, random, retry_after, longest)

    def doubt(self, now: float) -> None:
        """The API is away: check before the next watch, and forget what failed before."""
        self._opened = None
        self._suspect()
        self._attempts = 0
        self._not_before = float("-inf")
        self._recovering_until = now + self._pace.recovery

    def _is_mute(self, opened: float | None, now: float) -> bool:
        """A watch failed soon and said nothing."""
        return opened is not None and not self._said_something and now - opened < MUTE_SECONDS

    def _suspect(self) -> None:
        if self._version is None:
            return
        if self._cheap:
            self._start_over()
        else:
            self._doubtful = True

    def _start_over(self) -> None:
        self._version = None
        self._token = ""
        self._doubtful = False

    def _well(self, now: float) -> None:
        if self._healthy_since is None:
            self._healthy_since = now

    def _forget_old_failures(self, now: float) -> None:
        """Begins the backoff anew after a good time."""
        healthy = self._healthy_since
        if healthy is not None and now - healthy >= self._pace.healthy_after:
            self._attempts = 0
        self._healthy_since = None

    def _fall_back(
        self, now: float, random: float, retry_after: float = 0.0, longest: float = math.inf
    ) -> None:
        self._forget_old_failures(now)
        attempts = 0 if now < self._recovering_until else self._attempts
        delay = min(backoff(self._pace, attempts, random), longest * (1.0 + random))
        self._not_before = now + max(retry_after, delay)
        self._attempts += 1


def backoff(pace: Pace, attempts: int, random: float) -> float:
    """Seconds to wait after so many failures: doubled each time, plus up to as much again."""
    return min(pace.first_delay * 2.0 ** min(attempts, 30), pace.longest_delay) * (1.0 + random)


_DIGITS = 20
"""Enough for 64 bits; longer texts are no versions as etcd makes them."""


def is_lower(version: str, than: str) -> bool:
    """Whether a version is certainly lower: both are numbers, and it is the smaller one."""
    return (
        version != than
        and all(v.isascii() and v.isdecimal() and len(v) <= _DIGITS for v in (version, than))
        and int(version) < int(than)
    )
