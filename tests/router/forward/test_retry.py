"""When a request may go out once more."""

import pytest

from router.forward.retry import MAX_REFUSED, Attempts, may_try_again
from router.http.faults import (
    BAD_ANSWER,
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    CUT_ANSWER,
    FAULTS,
    UPSTREAM_CLOSED,
    UPSTREAM_TIMEOUT,
    Fault,
)

SENT = Attempts(tries=1, sent=True)
REUSED = Attempts(tries=1, sent=True, reused=True)
UNSENT = Attempts(tries=1)


@pytest.mark.parametrize(
    ("fault", "attempts", "method", "others", "expected"),
    [
        pytest.param(CONNECT_REFUSED, UNSENT, b"POST", True, True, id="refused: elsewhere"),
        pytest.param(CONNECT_REFUSED, UNSENT, b"GET", False, False, id="refused: nowhere else"),
        pytest.param(CONNECT_TIMEOUT, UNSENT, b"POST", True, True, id="no connection: elsewhere"),
        pytest.param(UPSTREAM_CLOSED, SENT, b"GET", False, True, id="closed: GET once more"),
        pytest.param(UPSTREAM_CLOSED, SENT, b"POST", True, False, id="closed after POST was sent"),
        pytest.param(
            UPSTREAM_CLOSED, Attempts(tries=2, sent=True, resent=True), b"GET", True, False,
            id="closed: not a third time",
        ),
        pytest.param(BAD_ANSWER, REUSED, b"GET", True, True, id="left-over bytes"),
        pytest.param(BAD_ANSWER, SENT, b"GET", True, False, id="malformed on a fresh connection"),
        pytest.param(UPSTREAM_TIMEOUT, SENT, b"GET", True, False, id="time-out: it may be at work"),
        pytest.param(CUT_ANSWER, SENT, b"GET", True, False, id="cut answer"),
    ],
)  # fmt: skip
def test_rule(
    fault: Fault, attempts: Attempts, method: bytes, *, others: bool, expected: bool
) -> None:
    again = may_try_again(
        fault, attempts, method=method, replayable=True, others_left=others, max_tries=3
    )
    assert again is expected


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code)
def test_a_body_that_is_gone_is_never_sent_again(fault: Fault) -> None:
    assert not may_try_again(
        fault, UNSENT, method=b"GET", replayable=False, others_left=True, max_tries=3
    )


def test_refused_connects_are_bounded_but_use_up_no_tries() -> None:
    many = Attempts(tries=MAX_REFUSED - 1, refused=MAX_REFUSED - 1)
    most = Attempts(tries=MAX_REFUSED, refused=MAX_REFUSED)
    for attempts, expected in ((many, True), (most, False)):
        assert expected is may_try_again(
            CONNECT_REFUSED,
            attempts,
            method=b"GET",
            replayable=True,
            others_left=True,
            max_tries=3,
        )


def test_fault_codes_are_unique() -> None:
    assert len({fault.code for fault in FAULTS}) == len(FAULTS) > 30
