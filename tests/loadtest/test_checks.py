"""Which answers count as right."""

import dataclasses

import pytest

from loadtest.checks import Change, judge, problem
from loadtest.targets import Target

PAGE = Target(url="http://a.example/", host="a.example", path="/", secure=False, says=("from a",))
UPLOAD = dataclasses.replace(PAGE, says=("from a", "{size} bytes\n"))
TEXTS = ("from a", "from b")
FLIP = Change(before="from a", after="from b", at=10.0, deadline=11.0)
MADE = Change(before=None, after="from a", at=10.0, deadline=11.0)
GONE = Change(before="from a", after=None, at=10.0, deadline=11.0)


def test_the_right_backend_with_the_right_status_is_no_problem() -> None:
    assert problem(PAGE, 200, b"this is from a") is None
    assert problem(UPLOAD, 200, b"from a: 10 bytes\n", size=10) is None


@pytest.mark.parametrize(
    ("target", "status", "body", "said"),
    [
        (PAGE, 502, b"from a", "status 502, expected 200"),
        (PAGE, 200, b"from b", "wrong answer: it does not hold 'from a'"),
        (UPLOAD, 200, b"from a: 9 bytes\n", "wrong answer: it does not hold '{size} bytes\\n'"),
        (UPLOAD, 200, b"from a: 100 bytes\n", "wrong answer: it does not hold"),
        (dataclasses.replace(PAGE, status=503), 200, b"from a", "status 200, expected 503"),
    ],
)
def test_anything_else_is_a_problem(target: Target, status: int, body: bytes, said: str) -> None:
    assert (problem(target, status, body, size=1000) or "").startswith(said)


@pytest.mark.parametrize(
    ("change", "sent", "status", "body", "expected"),
    [
        (FLIP, 10.5, 200, b"from a", "old"),
        (FLIP, 10.5, 200, b"from b", "new"),
        (FLIP, 11.5, 200, b"from b", "new"),
        (FLIP, 11.0, 200, b"from a", "the old rule answered more than 1 s after the change"),
        (FLIP, 10.5, 200, b"from c", "wrong backend: none"),
        (FLIP, 10.5, 404, b"", "wrong backend: none"),
        (FLIP, 10.5, 502, b"from b", "status 502 from a backend"),
        (FLIP, 10.5, 503, b"", "status 503, expected that of a backend"),
        (MADE, 10.5, 404, b"", "old"),
        (MADE, 10.5, 200, b"from the default backend", "old"),
        (MADE, 10.5, 200, b"from a", "new"),
        (MADE, 11.5, 404, b"", "the old rule answered more than 1 s"),
        (MADE, 10.5, 200, b"from b", "wrong backend: from b"),
        (GONE, 10.5, 200, b"from a", "old"),
        (GONE, 10.5, 404, b"", "new"),
        (GONE, 11.5, 200, b"from a", "the old rule answered more than 1 s"),
        (GONE, 11.5, 200, b"from b", "wrong backend: from b"),
    ],
)
def test_an_answer_is_judged_by_the_rule_of_its_moment(
    change: Change, sent: float, status: int, body: bytes, expected: str
) -> None:
    assert judge(change, sent, status, body, TEXTS).startswith(expected)
