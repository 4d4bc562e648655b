"""Who leads, given the time: one candidate's view of a Lease (coordination.k8s.io/v1).

The rules are client-go's (`tools/leaderelection`), with its times. What makes them safe:

* We lead for `renew_deadline` seconds from the moment *before* a successful write was sent.
* Whoever wants to take over waits for the whole duration of the lease, counted from the last look
  at which the newest version was not there yet, but from no more than `Timing.look` before it was
  received. So it waits for the duration less `look` after the holder's write at least, which is
  longer than the holder's deadline: the holder has stopped before. (client-go counts from the
  moment at which it received it, so that a take-over takes `look` longer.)
* Both are measured by each one's own monotonic clock. Times of day are written into the object for
  people, and never read.
* Every write names the version that it replaces, so that of two writers one is refused.

A Lease that somebody deletes counts as one more change of it: who knew a holder waits as long as if
it had been renewed. A candidate that never saw the Lease cannot know; it creates it and leads at
once, as everyone expects of the first start. Somebody who empties ``holderIdentity`` by hand, or
shortens ``leaseDurationSeconds``, is taken at their word.
"""

import math
from datetime import datetime, timedelta
from typing import Final

import msgspec

from ingress_controller.store import Name

MAX_DURATION: Final = 3600.0
"""Seconds. A Lease that claims a longer one would keep everybody out until a person comes."""
MAX_BACKOFF: Final = 60.0
"""Seconds between two attempts while the API does not answer: an outage of hours costs it one
request a minute."""
JITTER: Final = 0.2
"""Share of a wait that chance adds, so that candidates do not come in step."""
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
"""MicroTime of meta/v1: the API server wants exactly six digits."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds; the defaults are those of client-go and of every controller that uses it."""

    lease: float = 15.0
    """Who finds the Lease unchanged for so long may take it. Written in whole seconds."""
    renew_deadline: float = 10.0
    """Who could not renew for so long has stopped leading."""
    retry: float = 2.0
    """Between two attempts."""
    request: float = 5.0
    """For one request: two fit into the deadline."""

    @property
    def look(self) -> float:
        """Between two looks of somebody who waits, at most."""
        return self.retry * (1 + JITTER)

    def __post_init__(self) -> None:
        """Refuses times with which two could lead.

        Raises:
            ValueError: they are not in the order retry, request, deadline, lease, or the lease is
                not longer than the deadline by what may pass between two looks.
        """
        if not 0 < self.retry <= self.request < self.renew_deadline < self.lease - self.look:
            raise ValueError(
                f"it must be: 0 < retry <= request < renew_deadline < lease - {1 + JITTER} retry"
            )


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`spec`, as far as we read it."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Metadata(msgspec.Struct, frozen=True, rename="camel", gc=False):
    resource_version: str


class _Document(msgspec.Struct, frozen=True, gc=False):
    metadata: _Metadata
    spec: LeaseSpec | None = None


class Lease(msgspec.Struct, frozen=True):
    """A version of the object, and all of its document: what we do not know is written back."""

    spec: LeaseSpec
    version: str
    """`metadata.resourceVersion`."""
    document: dict[str, object]

    @property
    def holder(self) -> str:
        """Empty when nobody holds it."""
        return self.spec.holder_identity or ""


def read_lease(body: bytes) -> Lease:
    """A Lease as the API answers it.

    Raises:
        ValueError: it is none.
    """
    document = msgspec.json.decode(body, type=dict[str, object])
    known = msgspec.convert(document, _Document)
    return Lease(known.spec or LeaseSpec(), known.metadata.resource_version, document)


class Read(msgspec.Struct, frozen=True):
    """Ask for the Lease."""


class Write(msgspec.Struct, frozen=True):
    """Put this document in the Lease's place."""

    document: dict[str, object]
    create: bool
    """It does not exist yet."""


class Candidate:
    """What one candidate knows, and what it may do. `now` is in seconds of a monotonic clock."""

    def __init__(self, lease: Name, identity: str, timing: Timing) -> None:
        """``identity`` must belong to this process alone: not to an earlier life of its Pod."""
        self._lease = lease
        self._identity = identity
        self._timing = timing
        self._seen: Lease | None = None
        """The newest version that we received."""
        self._seen_at = -math.inf
        """When it was there at the latest, as far as others may count on it."""
        self._looked_at = -math.inf
        """When the API last said what the Lease is."""
        self._absent = False
        """It was deleted after we had seen it."""
        self._current = False
        """`_seen` may still be what the API has: nobody refused it."""
        self._leads_until = -math.inf

    @property
    def leads_until(self) -> float:
        """When leadership ends unless it is renewed; in the past for who does not lead."""
        return self._leads_until

    @property
    def holder(self) -> str:
        """Who holds the Lease as we know it; empty when nobody does."""
        return "" if self._seen is None or self._absent else self._seen.holder

    def leads(self, now: float) -> bool:
        """Whether we may act as the leader."""
        return now < self._leads_until

    def begin(self, now: float, wall: datetime) -> Read | Write:
        """A round begins: who leads writes at once over the version that it wrote last."""
        if self._seen is not None and self._current and self.leads(now):
            return self._claim(self._seen, wall)
        return Read()

    def found(self, lease: Lease | None, now: float) -> None:
        """The answer to a `Read`; None when there is no such Lease. ``now``: when it arrived."""
        looked_at, self._looked_at = self._looked_at, now
        changed_at = max(looked_at, now - self._timing.look)
        if lease is None:
            if self._seen is not None and not self._absent:
                self._absent, self._current = True, False
                self._seen_at = changed_at
            return
        before = self._seen
        if before is None:
            self._seen_at = now
        elif self._absent or (before.version, before.spec) != (lease.version, lease.spec):
            self._seen_at = changed_at
        self._seen, self._absent, self._current = lease, False, True
        if lease.holder != self._identity:
            self._leads_until = -math.inf

    def claim(self, now: float, wall: datetime) -> Write | None:
        """What to write after `found`; None while somebody else holds the Lease."""
        if self._seen is None:
            return Write(self._new_document(wall), create=True)
        if self._absent:
            free = self.leads(now) or self.free_at <= now
            return Write(self._new_document(wall), create=True) if free else None
        if self._seen.holder in ("", self._identity) or self.free_at <= now:
            return self._claim(self._seen, wall)
        return None

    def written(self, lease: Lease, *, sent: float, now: float) -> None:
        """A `Write` succeeded. ``sent``: a moment before it was sent; ``now``: after the answer."""
        self._seen, self._absent, self._current = lease, False, True
        self._seen_at = self._looked_at = now
        if lease.holder == self._identity:
            self._leads_until = sent + self._timing.renew_deadline

    def unsure(self) -> None:
        """A `Write` was refused or its fate is unknown: what we know may be old."""
        self._current = False

    def release(self, wall: datetime) -> Write | None:
        """Stops leading at once; what to write so that others need not wait, if anything."""
        led = self._leads_until > -math.inf
        self._leads_until = -math.inf
        if not led or self._seen is None or self._absent or self._seen.holder != self._identity:
            return None
        # One second as in client-go: for those who wait even for a Lease without a holder.
        return Write(self._document(self._seen, wall, holder="", seconds=1), create=False)

    @property
    def free_at(self) -> float:
        """When the Lease may be taken if it does not change until then."""
        seconds = None if self._seen is None else self._seen.spec.lease_duration_seconds
        duration = self._timing.lease if seconds is None else min(max(seconds, 1), MAX_DURATION)
        return self._seen_at + duration

    def wait(self, now: float, *, failures: int, chance: float) -> float:
        """Seconds until the next round.

        Args:
            failures: rounds in a row that did not get an answer.
            chance: at least 0, less than 1.
        """
        retry = self._timing.retry * (1 + JITTER * chance)
        if self.leads(now):
            return retry
        if failures:
            return min(retry * 2.0 ** min(failures - 1, 10), MAX_BACKOFF)
        # On time, or at once if it has passed since we looked: a take-over does not wait for one
        # round more.
        left = max(self.free_at - now, self._timing.retry / 20)
        return min(retry, left + JITTER * self._timing.retry * chance)

    def _claim(self, lease: Lease, wall: datetime) -> Write:
        seconds = math.ceil(self._timing.lease)
        return Write(self._document(lease, wall, self._identity, seconds), create=False)

    def _document(
        self, lease: Lease, wall: datetime, holder: str, seconds: int
    ) -> dict[str, object]:
        """The Lease with ours in it; whatever else stands there stays."""
        renewed = wall.strftime(_TIME)
        if renewed == lease.spec.renew_time:
            # With a clock that stands still the API server would see no change, and nor would
            # those who wait.
            renewed = (wall + timedelta(microseconds=1)).strftime(_TIME)
        known = lease.document.get("spec")
        spec: dict[str, object] = dict(known) if isinstance(known, dict) else {}
        transitions = lease.spec.lease_transitions or 0
        if lease.holder != holder:
            spec["acquireTime"] = renewed
            transitions += 1 if holder else 0
        spec |= {
            "holderIdentity": holder,
            "leaseDurationSeconds": seconds,
            "renewTime": renewed,
            "leaseTransitions": transitions,
        }
        return {**lease.document, "spec": spec}

    def _new_document(self, wall: datetime) -> dict[str, object]:
        now = wall.strftime(_TIME)
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": self._lease.namespace, "name": self._lease.name},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": math.ceil(self._timing.lease),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }
