"""What is to be looked at, in the order in which it was first wished; some of it not before a time.

Each name stands on it once, however often it is wished.
"""

import heapq
import itertools
from collections import OrderedDict

from ingress_controller.store import Name


class Agenda:
    """Names of Ingresses."""

    __slots__ = ("_later", "_ready", "_sequence", "_times")

    def __init__(self) -> None:
        self._ready: OrderedDict[Name, None] = OrderedDict()
        self._times: dict[Name, tuple[float, int]] = {}
        """When names that wait come back; and a number, so that equal times keep their order."""
        self._later: list[tuple[tuple[float, int], Name]] = []
        """A heap of the same; entries whose time is not that of `_times` are void."""
        self._sequence = itertools.count()

    def __len__(self) -> int:
        """Names that are ready; those that wait are not counted."""
        return len(self._ready)

    def add(self, name: Name) -> None:
        """It is ready; behind the others, unless it is ready already."""
        self._times.pop(name, None)
        self._ready.setdefault(name)

    def restore(self, name: Name) -> None:
        """It was taken for nothing, and keeps its place in front of the others."""
        self.add(name)
        self._ready.move_to_end(name, last=False)

    def put_off(self, name: Name, until: float) -> None:
        """It is ready at that time, or earlier if it is added before or was to be."""
        if name in self._ready or (name in self._times and self._times[name][0] <= until):
            return
        time = self._times[name] = (until, next(self._sequence))
        heapq.heappush(self._later, (time, name))
        if len(self._later) > 2 * len(self._times) + 64:
            self._later = [(time, each) for each, time in self._times.items()]
            heapq.heapify(self._later)

    def take(self, now: float) -> Name | None:
        """The name that is ready for longest; it is on the agenda no more."""
        self._wake(now)
        return self._ready.popitem(last=False)[0] if self._ready else None

    def next_time(self, now: float) -> float | None:
        """When something is ready; None when nothing will be."""
        self._wake(now)
        if self._ready:
            return now
        return self._later[0][0][0] if self._later else None

    def clear(self) -> None:
        """Nothing is to be done."""
        self._ready.clear()
        self._times.clear()
        self._later.clear()

    def _wake(self, now: float) -> None:
        """Makes ready whose time has come; drops void entries on top."""
        while self._later:
            time, name = self._later[0]
            valid = self._times.get(name) == time
            if valid and time[0] > now:
                break
            heapq.heappop(self._later)
            if valid:
                del self._times[name]
                self._ready.setdefault(name)
