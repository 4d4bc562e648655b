"""What workers report, added up: counters survive the workers that counted.

Workers send growth, so a restarted worker simply begins to add again. Gauges are the last value of
each living worker.
"""

from collections import Counter
from collections.abc import Mapping
from operator import add
from typing import NamedTuple

from router.model.origin import RouteLabel
from router.model.snapshot import SnapshotVersion
from router.model.wire import RouteStats, Stats, UpstreamGauges

MAX_ROUTES = 50_000
"""Labels kept. With more, the one that grew longest ago begins anew, as after a restart."""

SWAP_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds in seconds of the swap duration histogram."""


class RouteTotal(NamedTuple):
    """All requests of one label since the control process started; see `wire.RouteStats`."""

    codes: tuple[int, ...]
    buckets: tuple[int, ...]
    seconds: float
    bytes_received: int
    bytes_sent: int

    def plus(self, growth: RouteStats) -> "RouteTotal":
        return RouteTotal(
            tuple(map(add, self.codes, growth.codes)),
            tuple(map(add, self.buckets, growth.buckets)),
            self.seconds + growth.seconds,
            self.bytes_received + growth.bytes_received,
            self.bytes_sent + growth.bytes_sent,
        )


class Totals:
    """Sums over all workers, past and present; values are replaced, never changed in place."""

    def __init__(self) -> None:
        self.routes: dict[RouteLabel, RouteTotal] = {}
        self.counters: Counter[str] = Counter()
        self.gauges: dict[int, Mapping[str, float]] = {}
        """By worker slot."""
        self.upstreams: dict[int, dict[str, UpstreamGauges]] = {}
        """By worker slot and upstream."""
        self.swaps = 0
        self.swap_seconds = 0.0
        self.swap_buckets = [0] * (len(SWAP_BUCKETS) + 1)

    def add(self, slot: int, stats: Stats) -> None:
        """Adds one report of a worker."""
        for growth in stats.routes:
            label = RouteLabel(growth.namespace, growth.ingress, growth.service)
            # Taking it out and putting it in again keeps the order "grew longest ago first".
            before = self.routes.pop(label, None)
            if before is None:
                self.routes[label] = RouteTotal(*_fields(growth))
            else:
                self.routes[label] = before.plus(growth)
        while len(self.routes) > MAX_ROUTES:
            del self.routes[next(iter(self.routes))]
        self.counters.update(stats.counters)
        if stats.gauges:
            self.gauges[slot] = stats.gauges
        by_upstream = self.upstreams.setdefault(slot, {})
        for gauges in stats.upstreams:
            by_upstream[gauges.upstream] = gauges

    def swapped(self, seconds: float) -> None:
        """Adds one swap of a table in a worker."""
        self.swaps += 1
        self.swap_seconds += seconds
        index = next((i for i, bound in enumerate(SWAP_BUCKETS) if seconds <= bound), -1)
        self.swap_buckets[index] += 1

    def gone(self, slot: int) -> None:
        """Forgets the gauges of a worker that has ended."""
        self.gauges.pop(slot, None)
        self.upstreams.pop(slot, None)

    def forget_upstreams(self, known: Mapping[str, object]) -> None:
        """Drops gauges of upstreams that no longer exist."""
        for by_upstream in self.upstreams.values():
            for upstream in [key for key in by_upstream if key not in known]:
                del by_upstream[upstream]


class WorkerStatus(NamedTuple):
    """What is known of one worker slot."""

    slot: int
    pid: int | None
    """None while it is not running."""
    version: SnapshotVersion | None
    """The version it serves; None before its first acknowledgement."""
    restarts: int


def _fields(
    growth: RouteStats,
) -> tuple[tuple[int, ...], tuple[int, ...], float, int, int]:
    return (
        growth.codes,
        growth.buckets,
        growth.seconds,
        growth.bytes_received,
        growth.bytes_sent,
    )
