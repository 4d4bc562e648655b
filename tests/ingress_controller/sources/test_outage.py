"""When an API that is away is asked again, with a simulated clock and the real figures."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingress_controller.sources.outage import NEWCOMER_SECONDS, Outage
from ingress_controller.sources.watch_machine import Pace

PACE = Pace()
FRACTIONS = st.floats(0, 1, exclude_max=True)


def away(now: float = 0.0) -> Outage:
    outage = Outage(PACE)
    outage.failed(now, 0.0)
    return outage


def test_it_begins_with_a_failure_and_ends_with_an_answer() -> None:
    outage = Outage(PACE)
    assert outage.since is None
    outage.failed(5.0, 0.5)
    assert outage.since == 5.0
    assert outage.due == 5.0 + 0.8 * 1.5
    outage.answered()
    assert outage.since is None
    assert not outage.looking


def test_after_a_connection_that_was_cut_one_tries_at_once() -> None:
    outage = Outage(PACE)
    outage.failed(5.0, 0.5, lost=True)
    assert outage.due == 5.0
    outage.sent(5.0)
    outage.failed(5.1, 0.0, tried=True)
    assert outage.due == 5.1 + 0.8


def test_what_was_under_way_when_it_went_away_does_not_count() -> None:
    outage = away()
    for _ in range(10):
        outage.failed(0.1, 0.9)
    assert outage.due == 0.8


def test_what_fails_late_does_not_answer_for_the_one_that_tries() -> None:
    """Six watches end with their server, one after the other."""
    outage = Outage(PACE)
    outage.failed(5.0, 0.0, lost=True)
    assert outage.due == 5.0
    outage.sent(5.0)
    for _ in range(5):
        outage.failed(5.0, 0.0, lost=True)
    assert outage.due > 60, "one is trying"
    outage.failed(5.1, 0.0, tried=True)
    assert outage.due == 5.1 + 0.8


def test_a_port_seen_open_before_a_failure_is_looked_at_again() -> None:
    outage = away(1.0)
    outage.probed(1.1, is_open=True, begun=0.9)
    assert outage.looking
    outage.probed(1.3, is_open=True, begun=1.2)
    assert not outage.looking
    outage.failed(1.4, 0.0)
    assert outage.looking, "it was open when it fell"


def test_failures_of_those_that_try_double_the_wait_up_to_a_bound() -> None:
    outage = away()
    waits = []
    for _ in range(10):
        now = outage.due
        outage.sent(now)
        outage.failed(now, 0.0, tried=True)
        waits.append(round(outage.due - now, 3))
    assert waits[:3] == [1.6, 3.2, 6.4]
    assert waits[-1] == PACE.longest_delay


def test_the_api_may_ask_for_patience() -> None:
    outage = Outage(PACE)
    outage.failed(0.0, 0.0, retry_after=40.0)
    assert outage.due == 40.0
    outage.newcomer(1.0)
    assert outage.due == 40.0


def test_who_has_not_failed_yet_tries_soon() -> None:
    outage = away()
    for _ in range(4):
        outage.sent(outage.due)
        outage.failed(outage.due, 0.0, tried=True)
    now = outage.due - 10
    outage.newcomer(now)
    assert outage.due == now + NEWCOMER_SECONDS


def test_one_that_ends_without_an_outcome_lets_the_next_one_try() -> None:
    outage = away()
    outage.sent(1.0)
    assert outage.due > 60
    outage.abandoned(2.0)
    assert outage.due == 2.0
    outage.abandoned(1.0)
    assert outage.due == 2.0


def test_a_port_that_opens_is_a_reason_to_try_and_one_that_is_open_is_none() -> None:
    outage = away()
    for _ in range(3):
        outage.sent(outage.due)
        outage.failed(outage.due, 0.0, tried=True)
    due = outage.due
    assert outage.looking
    outage.probed(due - 3, is_open=False)
    assert outage.due == due - 3 + PACE.longest_delay, "nobody would hear a request"
    outage.newcomer(due - 2.5)
    assert outage.due == due - 3 + PACE.longest_delay
    outage.probed(due - 2, is_open=True)
    assert outage.due == due - 2
    outage.sent(due - 2)
    outage.failed(due - 2, 0.0, tried=True)
    assert outage.due == due - 2 + 0.8, "the backoff begins anew"
    outage.probed(due - 1.9, is_open=True)
    assert outage.due == due - 2 + 0.8
    assert not outage.looking


@settings(max_examples=25)
@given(
    st.lists(FRACTIONS, min_size=1, max_size=20),
    st.lists(st.booleans(), min_size=1, max_size=50),
    st.lists(st.sampled_from(["newcomer", "straggler", "abandoned", "lost", ""]), min_size=1),
)
def test_an_hour_without_answers_has_five_requests_a_minute_at_most(
    randoms: list[float], ports: list[bool], happenings: list[str]
) -> None:
    outage = Outage(PACE)
    sent: list[float] = []
    now, step = 0.0, 0
    outage.failed(now, randoms[0])
    while now < 3600:
        random = randoms[step % len(randoms)]
        what = happenings[step % len(happenings)]
        if what == "newcomer":
            outage.newcomer(now)
        elif what == "straggler":
            outage.failed(now, random)
        elif what == "lost":
            outage.failed(now, random, lost=True)
        elif what == "abandoned":
            outage.abandoned(now)
        if outage.looking:
            outage.probed(now, is_open=ports[step % len(ports)])
        if now >= outage.due:
            outage.sent(now)
            sent.append(now)
            outage.failed(now, random, tried=True)
        now += PACE.probe_every
        step += 1
    # A port that opens again and again is a server that starts again and again.
    most = PACE.attempts if len({*ports}) == 1 else 2 * PACE.attempts
    for first, last in zip(sent, sent[most:], strict=False):
        assert last - first >= 60 - 1e-6
    assert len(sent) >= 30, "it is asked at least every other minute"


def test_a_server_that_starts_slowly_is_asked_often_enough() -> None:
    outage = away()
    now = 0.0
    while now < 300:
        outage.probed(now, is_open=False)
        if now >= outage.due:
            outage.sent(now)
            outage.failed(now, 0.9, tried=True)
        now += PACE.probe_every
    outage.probed(now, is_open=False)
    opened = now + PACE.probe_every
    outage.probed(opened, is_open=True)
    asked = []
    for _ in range(PACE.attempts):
        now = outage.due
        asked.append(now - opened)
        outage.sent(now)
        outage.failed(now, 0.0, tried=True)
        outage.probed(now, is_open=True)
    assert asked == pytest.approx([0.0, 0.8, 2.4, 5.6, 12.0])


def test_an_outage_does_not_pay_for_the_one_before() -> None:
    outage = away()
    for _ in range(PACE.attempts):
        outage.sent(1.0)
        outage.failed(1.0, 0.0, tried=True)
    assert outage.due >= 1.0 + PACE.attempts_within
    outage.answered()
    outage.failed(2.0, 0.0)
    assert outage.due == 2.0 + 0.8


def test_while_one_tries_an_answer_to_somebody_else_lets_one_more_try() -> None:
    outage = away()
    outage.sent(1.0)
    outage.overheard(3.0)
    assert outage.due == 3.0
    outage.sent(3.0)
    for now in (5.0, 7.0, 9.0):
        outage.overheard(now)
    assert outage.due == 3.0 + 2 * PACE.longest_delay
    outage.failed(10.0, 0.0, tried=True)
    outage.sent(outage.due)
    outage.overheard(20.0)
    assert outage.due == 20.0


def test_a_port_opens_once() -> None:
    outage = away()
    outage.probed(1.0, is_open=False)
    outage.probed(2.0, is_open=True)
    outage.sent(2.0)
    outage.failed(2.1, 0.0)
    outage.probed(2.9, is_open=True, begun=2.8)
    assert outage.due > 60, "one is trying"


def test_an_answer_to_somebody_else_is_a_reason_to_try() -> None:
    outage = away()
    for _ in range(3):
        outage.sent(1.0)
        outage.failed(1.0, 0.0, tried=True)
    assert outage.due == 1.0 + 6.4
    outage.overheard(2.0)
    assert outage.due == 2.0
    for _ in range(2):
        outage.sent(2.0)
        outage.failed(2.0, 0.0, tried=True)
    outage.overheard(3.0)
    assert outage.due == 1.0 + PACE.attempts_within, "five a minute"
    outage.answered()
    outage.failed(4.0, 0.0, retry_after=40.0)
    outage.overheard(5.0)
    assert outage.due == 44.0, "who asks for patience gets it"


@settings(max_examples=25)
@given(FRACTIONS, st.floats(0, 3600))
def test_after_its_return_somebody_asks_within_a_second(random: float, length: float) -> None:
    outage = Outage(PACE)
    now = 0.0
    outage.failed(now, random)
    while now < length:
        outage.probed(now, is_open=False)
        if now >= outage.due:
            outage.sent(now)
            outage.failed(now, random, tried=True)
        now += PACE.probe_every
    outage.probed(now, is_open=False)
    outage.probed(now + PACE.probe_every, is_open=True)
    assert outage.due - now <= 1.0
