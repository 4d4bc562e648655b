"""How fast things are done, with values."""

import math

from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.status.pace import Backoff, Bucket


def test_a_bucket_gives_a_burst_and_then_its_rate() -> None:
    bucket = Bucket(rate=2.0, burst=3.0, now=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.next_time(10.0) == 10.5
    assert not bucket.take(10.4)
    assert bucket.take(10.5)
    assert not bucket.is_full(11.0)
    assert bucket.is_full(12.1)


@given(
    st.floats(0.001, 1000),
    st.integers(1, 100),
    st.lists(st.floats(0, 100), max_size=50),
)
def test_a_bucket_never_gives_more_than_it_says_and_gives_when_it_says(
    rate: float, burst: int, waits: list[float]
) -> None:
    now = 5.0
    bucket = Bucket(rate=rate, burst=burst, now=now)
    taken = 0
    for wait in waits:
        now += wait
        taken += bucket.take(now)
        assert taken <= burst + (now - 5.0) * rate * 1.001 + 1e-6
    at = bucket.next_time(now)
    assert at >= now
    assert bucket.take(math.nextafter(at, math.inf))


def test_waits_double_up_to_a_limit_and_end_with_a_success() -> None:
    backoff = Backoff(10.0)
    now, waits = 0.0, []
    for _ in range(6):
        backoff.failed(started=now, now=now, chance=0.0)
        waits.append(backoff.until - now)
        now = backoff.until
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert backoff.failing
    backoff.succeeded()
    assert backoff.until == -math.inf
    assert not backoff.failing


def test_what_was_under_way_when_a_wait_began_makes_it_no_longer() -> None:
    backoff = Backoff(60.0)
    for _ in range(8):
        backoff.failed(started=0.0, now=1.0, chance=0.0)
    assert backoff.until == 2.0


def test_a_server_that_says_when_to_come_back_is_obeyed() -> None:
    backoff = Backoff(60.0)
    backoff.failed(started=0.0, now=1.0, chance=0.5, least=30.0)
    assert backoff.until == 31.0
    backoff.failed(started=0.0, now=2.0, chance=0.5)
    assert backoff.until == 31.0


def test_a_thousand_failures_are_no_overflow() -> None:
    backoff = Backoff(60.0)
    for now in range(2000):
        backoff.failed(started=float(now), now=float(now), chance=0.99)
    assert 1999.0 + 60.0 <= backoff.until <= 1999.0 + 72.0
