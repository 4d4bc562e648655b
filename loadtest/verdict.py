"""Whether a run was good, and whether its numbers can be trusted: plain functions of its totals."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

BUSY: Final = 0.9
"""From this part of a core on, a locust process waits for itself: its times are too long."""
LATE: Final = 10.0
"""Milliseconds; from here on it is told that times are doubtful."""
PACED: Final = frozenset({"SLOW", "RULE", "ROLL"})
"""Types of requests whose times are not latencies of the edge; no limit holds for them."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """What one locust process did."""

    name: str
    cpu_seconds: float
    """Of its core."""
    seconds: float
    connections: int
    """Opened to the edge, by HTTP clients that keep them alive."""
    resent: int
    """Requests sent again because a kept-alive connection was closed before any answer."""
    late: float
    """p99 of the milliseconds by which it was late when it meant to wake up: because it was busy,
    or because the machine was. Times of answers are too long by as much."""

    @property
    def busy(self) -> float:
        """The part of a core that it used."""
        return self.cpu_seconds / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run must hold."""

    fail_ratio: float = 0.0
    """The part of the requests that may fail."""
    p99: float | None = None
    """Milliseconds within which 99 of 100 answers come."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What all nodes measured together."""

    requests: int
    failures: int
    seconds: float
    times: Mapping[int, int]
    """How many answers took how many milliseconds; none of the types in `PACED`."""
    exceptions: int = 0
    """Defects of the load test itself."""
    missing: int = 0
    """Workers of which nothing came any more."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The end of a run."""

    lines: tuple[str, ...]
    """For people."""
    reasons: tuple[str, ...]
    """Why it failed; none when it is good."""


def merged(times: Iterable[Mapping[int, int]]) -> Counter[int]:
    """Several tables of times as one."""
    total: Counter[int] = Counter()
    for each in times:
        total.update(each)
    return total


def percentile(times: Mapping[int, int], part: float) -> float | None:
    """The time within which that part of the answers came (nearest rank); None without answers."""
    count = sum(times.values())
    if count == 0:
        return None
    left = max(1, math.ceil(count * part - 1e-9))
    for time in sorted(times):
        left -= times[time]
        if left <= 0:
            return float(time)
    raise AssertionError("a rank is never beyond the last time")


def judge(totals: Totals, nodes: Sequence[Node], limits: Limits) -> Verdict:
    """Judges a run by its limits."""
    p50, p99 = (percentile(totals.times, part) for part in (0.5, 0.99))
    ratio = totals.failures / totals.requests if totals.requests else 0.0
    rate = totals.requests / totals.seconds if totals.seconds > 0 else 0.0
    busiest = max(nodes, key=lambda node: node.busy, default=None)
    bottleneck = busiest is not None and busiest.busy >= BUSY
    lines = [
        f"{totals.requests} requests in {totals.seconds:.1f} s ({rate:.0f} a second), "
        f"{totals.failures} failed ({ratio:.3%})",
        f"answers: median {_shown(p50)}, p99 {_shown(p99)} (without paced ones: "
        f"{', '.join(sorted(PACED))})",
        f"connections: {sum(node.connections for node in nodes)} opened; "
        f"{sum(node.resent for node in nodes)} requests sent again, because the edge closed an "
        "idle connection as they were sent",
    ]
    late = max((node.late for node in nodes), default=0.0)
    if busiest is not None:
        each = sum(node.cpu_seconds for node in nodes) / max(1, totals.requests) * 1e6
        lines.append(
            f"locust: {len(nodes)} process(es); the busiest used {busiest.busy:.0%} of a core; "
            f"{each:.0f} µs of processor time a request; late by {late:g} ms (p99)"
        )
    if bottleneck:
        lines.append(
            "locust was the bottleneck: rate and times above are its own, not the edge's. Use "
            "fewer users or a lower --rate-per-user, or more processes (--processes)."
        )
    elif late >= LATE:
        lines.append(
            "locust was late, although it had little to do: this machine is busy. Times above are "
            "too long by as much."
        )
    reasons = []
    if totals.requests == 0:
        reasons.append("nothing was asked")
    if ratio > limits.fail_ratio:
        reasons.append(f"{ratio:.3%} of the requests failed; the limit is {limits.fail_ratio:.3%}")
    if limits.p99 is not None and (p99 is None or p99 > limits.p99):
        also = ", but locust itself was busy or late, so this says nothing of the edge"
        doubtful = bottleneck or (p99 is not None and p99 - late <= limits.p99)
        reasons.append(
            f"p99 is {_shown(p99)}; the limit is {limits.p99:g} ms" + (also if doubtful else "")
        )
    if totals.exceptions:
        reasons.append(f"the load test itself failed {totals.exceptions} times; see its log")
    if totals.missing:
        reasons.append(f"{totals.missing} worker(s) went missing, and their numbers with them")
    return Verdict(lines=tuple(lines), reasons=tuple(reasons))


def _shown(milliseconds: float | None) -> str:
    return "none" if milliseconds is None else f"{milliseconds:g} ms"
