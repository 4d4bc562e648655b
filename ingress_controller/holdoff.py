"""When to build next, and which changes wait: decided from values and ``now`` (seconds) alone.

Changes of rules act after a short quiet time, so that what belongs together acts together. Changes
of endpoints act at once: a pod that is gone fails requests until we know. Builds keep a distance
that follows from what they cost, so that a flapping endpoint or a busy cluster never takes more
than a part of the time; rules and endpoints each their own.

Many changes at once act in portions, so that neither the control loop nor a worker is busy with one
of them for long: what rules need comes before them, and what they no longer need goes after them.

One kind of change waits longer: the deletion of an EndpointSlice that would leave its Service
without a usable endpoint. During a roll slices are replaced, and between the deletion of the old
and the arrival of the new one a running Service would answer 503.
"""

import itertools
from collections import deque
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
"""A build that took a second is followed by so many seconds without one; by one second while a
portion of what was due is left."""
PORTION = 50
"""Changes for one build: about three milliseconds of translation, and less of a worker's time."""
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
        """Changes of rules and of what they need."""
        self._turn: deque[ObjectKey] = deque()
        """In which order those act that came before the first of them did. What comes later has
        the next turn, so that what somebody changes all the time keeps nobody waiting."""
        self._endpoints: dict[ObjectKey, ObjectChange] = {}
        """Changes of endpoints, which act at once."""
        self._held: dict[ObjectKey, _Hold] = {}
        """Which of the changes of endpoints wait longer."""
        self._rules_due: float | None = None
        self._endpoints_due: float | None = None
        """When the changes of endpoints that are not held act."""
        self._free = float("-inf")
        """No build before."""
        self._rules_free = float("-inf")
        """None with rules before."""
        self._took_rules = False
        """The last build had rules in it."""
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
        if self._endpoints_due is not None:
            times.append(self._endpoints_due)
        if self._rules_due is not None:
            times.append(max(self._rules_due, self._rules_free))
        return max(min(times), self._free) if times else None

    def take(self, now: float, most: int = PORTION) -> tuple[ObjectChange, ...]:
        """The changes whose time has come, ``most`` of them: endpoints, then rules and what belongs
        to them. What is left has its time at once."""
        when = self.next_build()
        if when is None or now < when:
            return ()
        rules = self._rules_due is not None and max(self._rules_due, self._rules_free) <= now
        # Neither starves the other, however many there are.
        taken = self._take_endpoints(now, (most + 1) // 2 if rules else most)
        if rules:
            taken += self._take_rules(most - len(taken))
        self._took_rules = rules
        self._free = now + DISTANCE_SECONDS
        return tuple(taken)

    def take_all(self) -> tuple[ObjectChange, ...]:
        """Every change, whatever its time: for the first build, before which nothing is served."""
        taken = (*self._endpoints.values(), *self._take_rules(len(self._rules)))
        self._endpoints, self._held = {}, {}
        self._endpoints_due = None
        return taken

    def built(self, now: float, seconds: float) -> None:
        """Says when a build ended, and how long it took.

        Endpoints do not wait for what rules cost: else who makes a rule dear, and changes it all
        the time, would keep the requests of all others on endpoints that are gone.
        """
        due = [at for at in (self._rules_due, self._endpoints_due) if at is not None]
        factor = 1.0 if due and min(due) <= now - seconds else COST_FACTOR
        rest = now + max(DISTANCE_SECONDS, factor * seconds)
        if self._took_rules:
            self._rules_free, self._free = rest, now + DISTANCE_SECONDS
        else:
            self._free = rest

    def _take_rules(self, room: int) -> list[ObjectChange]:
        """Changes of rules: before them what they may need, after them what they needed."""
        taken: list[ObjectChange] = []
        while self._rules and len(taken) < room:
            if not self._turn:
                self._turn.extend(sorted(self._rules, key=self._rank))
            taken.append(self._rules.pop(self._turn.popleft()))
        if not self._rules:
            self._rules_due = None
        return taken

    def _rank(self, key: ObjectKey) -> int:
        if key.kind == "Ingress":
            return 1
        return 2 if self._rules[key].object is None else 0

    def _take_endpoints(self, now: float, room: int) -> list[ObjectChange]:
        """Changes of endpoints that are not held (any more)."""
        held = self._held = {key: hold for key, hold in self._held.items() if now < hold.until}
        free = (key for key in self._endpoints if key not in held)
        taken = [self._endpoints[key] for key in itertools.islice(free, room)]
        for change in taken:
            del self._endpoints[change.key]
        if len(self._endpoints) == len(held):
            self._endpoints_due = None
        return taken

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
            # At the end, so that no portion holds it without its successor.
            self._endpoints[key] = self._endpoints.pop(key)
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
