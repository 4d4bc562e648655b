"""Round robin: fair, also while members come, go and rest."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from router.balance.health import FAILURES, REFUSED_REST, WINDOW, Health
from router.balance.round_robin import RoundRobin


class Member:
    """Something to pick, with a name for people."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.health = Health()


def members(names: str) -> dict[str, Member]:
    return {name: Member(name) for name in names}


def turns(rotation: RoundRobin[Member], count: int, now: float = 0.0) -> str:
    return "".join(picked.name for _ in range(count) if (picked := rotation.pick(now)) is not None)


def test_each_member_has_its_turn() -> None:
    rotation: RoundRobin[Member] = RoundRobin()
    rotation.replace(list(members("abc").values()))
    assert turns(rotation, 7) == "abcabca"


def test_nobody_is_picked_from_nothing() -> None:
    rotation: RoundRobin[Member] = RoundRobin()
    assert rotation.pick(0.0) is None


def test_whose_turn_is_next_stays_next_when_others_come_and_go() -> None:
    known = members("abcd")
    rotation: RoundRobin[Member] = RoundRobin()
    rotation.replace([known[name] for name in "abc"])
    assert turns(rotation, 2) == "ab"
    rotation.replace([known[name] for name in "bcd"])
    assert turns(rotation, 4) == "cbdc"


@given(
    st.lists(st.tuples(st.sets(st.sampled_from("abcdef"), min_size=1), st.integers(0, 7))),
    st.integers(0, 9),
)
def test_between_changes_no_member_is_ahead_by_more_than_one(
    steps: list[tuple[set[str], int]], start: int
) -> None:
    known = members("abcdef")
    rotation: RoundRobin[Member] = RoundRobin()
    for names, picks in steps:
        rotation.replace([known[name] for name in sorted(names)], start)
        counts = Counter(turns(rotation, picks))
        assert set(counts) <= names
        assert max(counts.values(), default=0) - min(counts[name] for name in names) <= 1


def test_a_resting_member_is_passed_over() -> None:
    known = members("abc")
    rotation: RoundRobin[Member] = RoundRobin()
    rotation.replace(list(known.values()))
    known["b"].health.rests_until = 10.0
    assert turns(rotation, 4, now=5.0) == "acac"
    assert turns(rotation, 3, now=10.0) in {"abc", "bca", "cab"}


def test_when_most_rest_all_are_tried() -> None:
    known = members("abc")
    rotation: RoundRobin[Member] = RoundRobin()
    rotation.replace(list(known.values()))
    known["a"].health.rests_until = known["b"].health.rests_until = 10.0
    assert set(turns(rotation, 3, now=5.0)) == set("abc")


def test_what_was_tried_is_avoided() -> None:
    known = members("abc")
    rotation: RoundRobin[Member] = RoundRobin()
    rotation.replace(list(known.values()))
    tried = [known["a"], known["b"]]
    assert rotation.pick(0.0, tried.__contains__) is known["c"]
    tried.append(known["c"])
    assert rotation.pick(0.0, tried.__contains__) is None


def test_failures_in_a_row_eject_and_an_answer_forgives() -> None:
    health = Health()
    assert [health.failed(1.0) for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
    assert health.rests_until == 1.0 + WINDOW
    health.succeeded()
    assert health.rests_until == 0.0
    assert health.failed(2.0) is False


def test_failures_far_apart_do_not_add_up() -> None:
    health = Health()
    assert not any(health.failed(at * (WINDOW + 1)) for at in range(FAILURES * 2))


def test_a_refused_connect_rests_for_a_moment_only() -> None:
    health = Health()
    health.refused(1.0)
    assert health.rests_until == 1.0 + REFUSED_REST
