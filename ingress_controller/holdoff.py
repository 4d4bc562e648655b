"""When to build next, and which changes wait: decided from values and ``now`` (seconds) alone.

Changes of rules act after a short quiet time, so that what belongs together acts together. Changes
of endpoints act at once: a pod that is gone fails requests until we know. Builds keep a distance
that follows from what they cost, so that a flapping endpoint or a busy cluster never takes more
than a part of the time.

One kind of change waits longer: the deletion of an EndpointSlice that would leave its Service
without a usable endpoint. During a roll slices are replaced, and between the deletion of the old
and the arrival of the new one a running Service would answer 503.
"""

from collections.abc import Iterable

import msgspec

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.objects.slices import EndpointSlice
from ingress_controller.store import Name, ObjectChange, service_of

QUIET_SECONDS = 0.02
"""From the first change of a rule to the build: an `apply` of several objects arrives within it."""
DISTANCE_SECONDS = 0.01
"""Between two builds, at least."""
COST_FACTOR = 4.0
"""A build that took a second is followed by so many seconds without one."""
HOLD_SECONDS = 1.0
"""For a deletion that would empty a Service: longer than a controller takes to write its next
slice, shorter than anybody would wait for a Service that is really gone."""


_ENDPOINT_KINDS = frozenset({"EndpointSlice", "Endpoints"})


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

    It is the one queue between sources and translation: bounded by the number of objects, since a
    later change of an object replaces an earlier one. Costs what was added, taken or held, not what
    exists.
    """

    def __init__(self) -> None:
        self._rules: dict[ObjectKey, ObjectChange] = {}
        self._endpoints: dict[ObjectKey, ObjectChange] = {}
        """Changes of endpoints, which act at once."""
        self._held: dict[ObjectKey, _Hold] = {}
        """Which of the changes of endpoints wait longer."""
        self._rules_due: float | None = None
        self._endpoints_due: float | None = None
        """When the changes of endpoints that are not held act."""
        self._free = float("-inf")
        """No build before."""
        self._slices: dict[ObjectKey, _Slice] = {}
        """Slices as they will be when everything pending has acted."""
        self._usable: dict[Name, set[ObjectKey]] = {}
        """Which slices of a Service have a usable endpoint, likewise."""

    def add(self, changes: Iterable[ObjectChange], now: float) -> None:
        """Takes note of changes; a later one of the same object replaces an earlier one."""
        for change in changes:
            if change.key.kind not in _ENDPOINT_KINDS:
                self._rules[change.key] = change
                if self._rules_due is None:
                    self._rules_due = now + QUIET_SECONDS
                continue
            self._endpoints[change.key] = change
            self._held.pop(change.key, None)
            emptied = self._follow(change, now)
            if emptied is not None:
                self._held[change.key] = _Hold(until=now + HOLD_SECONDS, service=emptied)
            else:
                self._act(now)

    def next_build(self) -> float | None:
        """When `take` will have something; None: not before something is added."""
        times = [hold.until for hold in self._held.values()]
        times += [due for due in (self._rules_due, self._endpoints_due) if due is not None]
        return max(min(times), self._free) if times else None

    def take(self, now: float) -> tuple[ObjectChange, ...]:
        """The changes whose time has come: rules first, each in the order in which they came."""
        when = self.next_build()
        if when is None or now < when:
            return ()
        taken: list[ObjectChange] = []
        if self._rules_due is not None and self._rules_due <= now:
            taken += self._rules.values()
            self._rules = {}
            self._rules_due = None
        held = self._held = {key: hold for key, hold in self._held.items() if now < hold.until}
        taken += [change for key, change in self._endpoints.items() if key not in held]
        self._endpoints = {key: self._endpoints[key] for key in held}
        self._endpoints_due = None
        self._free = now + DISTANCE_SECONDS
        return tuple(taken)

    def built(self, now: float, seconds: float) -> None:
        """Says when a build ended, and how long it took."""
        self._free = now + max(DISTANCE_SECONDS, COST_FACTOR * seconds)

    def _act(self, now: float) -> None:
        if self._endpoints_due is None:
            self._endpoints_due = now

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
