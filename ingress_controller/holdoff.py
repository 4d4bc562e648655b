"""When to build next, and which changes wait: decided from values and ``now`` (seconds) alone.

Changes act after a short quiet time, so that what belongs together acts together; builds keep a
distance, so that a flapping endpoint costs at most twenty a second. One kind of change waits
longer: the deletion of an EndpointSlice that would leave its Service without a usable endpoint.
During a roll slices are replaced, and between the deletion of the old and the arrival of the new
one a running Service would answer 503.
"""

from collections.abc import Iterable

import msgspec

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.objects.slices import EndpointSlice
from ingress_controller.store import Name, ObjectChange, service_of

QUIET_SECONDS = 0.02
"""From the first change to the build: an `apply` of several objects arrives within it."""
DISTANCE_SECONDS = 0.05
"""Between two builds."""
HOLD_SECONDS = 1.0
"""For a deletion that would empty a Service: longer than a controller takes to write its next
slice, shorter than anybody would wait for a Service that is really gone."""


class _Slice(msgspec.Struct, frozen=True, gc=False):
    """What the rule needs to know of an EndpointSlice."""

    service: Name
    usable: bool


class _Hold(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A deletion that waits, and the Service that it would empty."""

    until: float
    service: Name


class Holdoff:
    """Collects changes; hands them out in batches when their time has come.

    Costs what was added, taken or held, not what exists.
    """

    def __init__(self) -> None:
        self._pending: dict[ObjectKey, ObjectChange] = {}
        self._held: dict[ObjectKey, _Hold] = {}
        """Which of the pending changes wait longer."""
        self._due: float | None = None
        """When the pending changes that are not held act."""
        self._last_build = float("-inf")
        self._slices: dict[ObjectKey, _Slice] = {}
        """Slices as they will be when everything pending has acted."""
        self._usable: dict[Name, set[ObjectKey]] = {}
        """Which slices of a Service have a usable endpoint, likewise."""

    def add(self, changes: Iterable[ObjectChange], now: float) -> None:
        """Takes note of changes; a later one of the same object replaces an earlier one."""
        for change in changes:
            self._pending[change.key] = change
            self._held.pop(change.key, None)
            emptied = self._follow(change, now)
            if emptied is not None:
                self._held[change.key] = _Hold(until=now + HOLD_SECONDS, service=emptied)
            else:
                self._act(now)

    def next_build(self) -> float | None:
        """When `take` will have something; None: not before something is added."""
        times = [hold.until for hold in self._held.values()]
        if self._due is not None:
            times.append(self._due)
        return min(times, default=None)

    def take(self, now: float) -> tuple[ObjectChange, ...]:
        """The changes whose time has come, in the order in which they came."""
        when = self.next_build()
        if when is None or now < when:
            return ()
        self._held = {key: hold for key, hold in self._held.items() if now < hold.until}
        taken = tuple(change for key, change in self._pending.items() if key not in self._held)
        self._pending = {key: self._pending[key] for key in self._held}
        self._due = None
        self._last_build = now
        return taken

    def _act(self, now: float) -> None:
        if self._due is None:
            self._due = max(now + QUIET_SECONDS, self._last_build + DISTANCE_SECONDS)

    def _follow(self, change: ObjectChange, now: float) -> Name | None:
        """Follows a change of a slice; the Service that its deletion would empty, if it would."""
        before = self._slices.pop(change.key, None)
        if before is not None and before.usable:
            remaining = self._usable[before.service]
            remaining.discard(change.key)
            if not remaining:
                del self._usable[before.service]
        if isinstance(change.object, EndpointSlice):
            after = _read(change.object)
            self._slices[change.key] = after
            if after.usable:
                self._usable.setdefault(after.service, set()).add(change.key)
                self._release(after.service, now)
        elif before is not None and before.usable and before.service not in self._usable:
            return before.service
        return None

    def _release(self, service: Name, now: float) -> None:
        """Lets held deletions act together with the slice that takes over."""
        for key in [key for key, hold in self._held.items() if hold.service == service]:
            del self._held[key]
            self._act(now)


def _read(endpoint_slice: EndpointSlice) -> _Slice:
    """Usable is what may get traffic: ready, or at least still serving (nil means ready)."""
    return _Slice(
        service=service_of(endpoint_slice),
        usable=any(
            endpoint.conditions.ready is not False or endpoint.conditions.serving is True
            for endpoint in endpoint_slice.endpoints
        ),
    )
