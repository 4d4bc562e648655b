"""When a run is good, and when its numbers can be trusted."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.verdict import Limits, Node, Totals, Verdict, judge, merged, percentile

TIMES = {1: 90, 5: 9, 70: 1}


def node(cpu_seconds: float = 1.0, late: float = 1.0) -> Node:
    return Node(name="a", cpu_seconds=cpu_seconds, seconds=10.0, connections=5, resent=2, late=late)


def verdict(
    limits: Limits | None = None,
    cpu_seconds: float = 1.0,
    *,
    late: float = 1.0,
    requests: int = 100,
    failures: int = 0,
    exceptions: int = 0,
    missing: int = 0,
) -> Verdict:
    totals = Totals(
        requests=requests,
        failures=failures,
        seconds=10.0,
        times=TIMES,
        exceptions=exceptions,
        missing=missing,
    )
    return judge(totals, [node(), node(cpu_seconds, late)], limits or Limits())


def test_a_run_without_failures_is_good_and_tells_what_it_measured() -> None:
    good = verdict()
    assert good.reasons == ()
    text = "\n".join(good.lines)
    assert "100 requests in 10.0 s (10 a second), 0 failed" in text
    assert "median 1 ms, p99 5 ms" in text
    assert "connections: 10 opened; 4 requests sent again" in text
    assert "2 process(es); the busiest used 10% of a core; 20000 µs of" in text
    assert "late by 1 ms (p99)" in text
    assert len(good.lines) == 4, "a doubt is told without reason"


def test_one_failure_fails_a_run_unless_some_may() -> None:
    (reason,) = verdict(failures=1).reasons
    assert reason == "1.000% of the requests failed; the limit is 0.000%"
    assert verdict(Limits(fail_ratio=0.01), failures=1).reasons == ()
    assert verdict(Limits(fail_ratio=0.01), failures=2).reasons


def test_a_p99_above_its_limit_fails_a_run() -> None:
    assert verdict(Limits(p99=5)).reasons == ()
    assert verdict(Limits(p99=3.5)).reasons == ("p99 is 5 ms; the limit is 3.5 ms",)


def test_a_busy_locust_is_told_and_its_p99_is_not_blamed_on_the_edge() -> None:
    busy = verdict(Limits(p99=1), cpu_seconds=9.0)
    assert any("locust was the bottleneck" in line for line in busy.lines)
    assert "so this says nothing of the edge" in busy.reasons[0]


def test_a_late_locust_is_told_and_its_p99_is_not_blamed_on_the_edge() -> None:
    late = verdict(Limits(p99=4.5), late=15.0)
    assert any("this machine is busy" in line for line in late.lines)
    assert "so this says nothing of the edge" in late.reasons[0]


def test_a_run_that_asked_nothing_is_not_good() -> None:
    empty = judge(Totals(requests=0, failures=0, seconds=0.0, times={}), [], Limits(p99=1))
    assert empty.reasons == ("nothing was asked", "p99 is none; the limit is 1 ms")


def test_defects_of_the_load_test_and_lost_workers_fail_a_run() -> None:
    assert "the load test itself failed 3 times" in verdict(exceptions=3).reasons[0]
    assert "1 worker(s) went missing" in verdict(missing=1).reasons[0]


def test_tables_of_times_are_added_up() -> None:
    assert merged([{1: 2, 3: 4}, {3: 1}, {}]) == Counter({1: 2, 3: 5})


@given(st.lists(st.integers(0, 50), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_the_nearest_rank_of_the_sorted_times(
    times: list[int], part: float
) -> None:
    rank = next(n for n in range(1, len(times) + 1) if n >= len(times) * part - 1e-9)
    assert percentile(Counter(times), part) == sorted(times)[rank - 1]


@pytest.mark.parametrize("part", [0.5, 1.0])
def test_no_answers_have_no_percentile(part: float) -> None:
    assert percentile({}, part) is None
