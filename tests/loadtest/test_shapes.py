"""How many users at which moment of a run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.shapes import SHAPES, users_at

RUN = 100.0


def course(shape: str, users: int = 100) -> list[int]:
    """The users at each second of a run."""
    found = [users_at(shape, second, users=users, run_time=RUN) for second in range(int(RUN))]
    assert None not in found
    return [each for each in found if each is not None]


def test_steps_add_a_fifth_of_the_users_in_each_fifth_of_the_run() -> None:
    assert course("steps") == [20] * 20 + [40] * 20 + [60] * 20 + [80] * 20 + [100] * 20


def test_a_spike_has_a_tenth_of_the_users_before_and_after_it() -> None:
    assert course("spike") == [10] * 40 + [100] * 20 + [10] * 40


def test_a_soak_has_all_users_after_a_tenth_of_the_run_and_keeps_them() -> None:
    found = course("soak")
    assert found[:11] == [1, *range(10, 101, 10)]
    assert found[10:] == [100] * 90


def test_a_long_soak_has_all_users_within_a_minute() -> None:
    assert users_at("soak", 60.0, users=50, run_time=36_000) == 50


def test_constant_is_all_users_at_once() -> None:
    assert course("constant", users=7) == [7] * 100


def test_an_unknown_shape_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="no shape 'hill'; there are constant, steps, spike, soak"):
        users_at("hill", 0.0, users=1, run_time=1.0)


@given(
    st.sampled_from(SHAPES),
    st.floats(0, 1e6),
    st.integers(1, 100_000),
    st.floats(0.1, 1e6),
)
def test_there_is_always_a_user_and_never_one_too_many_until_the_end(
    shape: str, elapsed: float, users: int, run_time: float
) -> None:
    found = users_at(shape, elapsed, users=users, run_time=run_time)
    if elapsed >= run_time:
        assert found is None
    else:
        assert found is not None
        assert 1 <= found <= users


@given(st.sampled_from(SHAPES), st.integers(1, 1000))
def test_every_shape_reaches_all_users(shape: str, users: int) -> None:
    assert max(course(shape, users)) == users
