"""In which order Ingresses are looked at."""

from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.status.agenda import Agenda
from ingress_controller.store import Name

A, B, C = Name("n", "a"), Name("n", "b"), Name("n", "c")


def test_the_oldest_wish_comes_first_and_counts_once() -> None:
    agenda = Agenda()
    for name in (A, B, A, C, A):
        agenda.add(name)
    assert len(agenda) == 3
    assert [agenda.take(0.0) for _ in range(4)] == [A, B, C, None]


def test_what_was_taken_for_nothing_keeps_its_place() -> None:
    agenda = Agenda()
    agenda.add(A)
    agenda.add(B)
    assert agenda.take(0.0) == A
    agenda.restore(A)
    assert agenda.take(0.0) == A


def test_what_is_put_off_comes_when_its_time_has_come() -> None:
    agenda = Agenda()
    agenda.put_off(A, 5.0)
    assert len(agenda) == 0
    assert agenda.next_time(1.0) == 5.0
    assert agenda.take(4.9) is None
    assert agenda.take(5.0) == A
    assert agenda.next_time(5.0) is None


def test_the_earliest_time_counts() -> None:
    agenda = Agenda()
    agenda.put_off(A, 5.0)
    agenda.put_off(A, 3.0)
    agenda.put_off(A, 9.0)
    assert agenda.next_time(0.0) == 3.0
    assert agenda.take(3.0) == A
    assert agenda.take(9.0) is None


def test_what_is_wished_anew_does_not_wait() -> None:
    agenda = Agenda()
    agenda.put_off(A, 5.0)
    agenda.add(A)
    assert agenda.next_time(0.0) == 0.0
    assert agenda.take(0.0) == A
    assert agenda.take(5.0) is None
    agenda.add(A)
    agenda.put_off(A, 5.0)
    assert agenda.take(0.0) == A


def test_equal_times_keep_the_order_in_which_they_were_wished() -> None:
    agenda = Agenda()
    for name in (C, A, B):
        agenda.put_off(name, 5.0)
    assert [agenda.take(5.0) for _ in range(3)] == [C, A, B]


def test_an_agenda_can_be_emptied() -> None:
    agenda = Agenda()
    agenda.add(A)
    agenda.put_off(B, 1.0)
    agenda.clear()
    assert agenda.take(9.0) is None
    assert agenda.next_time(9.0) is None


def test_times_that_are_void_are_not_kept_for_ever() -> None:
    agenda = Agenda()
    for _ in range(10_000):
        agenda.put_off(A, 1e9)
        agenda.add(A)
        agenda.take(0.0)
    assert len(agenda._later) < 100


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "put_off", "take", "restore"]),
            st.sampled_from("abcdef"),
            st.integers(0, 20),
        ),
        max_size=60,
    )
)
def test_nothing_is_lost_and_nothing_comes_twice_or_early(
    steps: list[tuple[str, str, int]],
) -> None:
    agenda = Agenda()
    ready: list[Name] = []
    later: dict[Name, tuple[float, int]] = {}
    now = 0.0

    def wake() -> None:
        for time, name in sorted((time, name) for name, time in later.items()):
            if time[0] <= now:
                del later[name]
                ready.append(name)

    for index, (what, letter, number) in enumerate(steps):
        name = Name("n", letter)
        if what == "put_off":
            agenda.put_off(name, now + number)
            if name not in ready and (name not in later or now + number < later[name][0]):
                later[name] = (now + number, index)
        elif what == "take":
            now += number
            wake()
            assert agenda.take(now) == (ready.pop(0) if ready else None)
        else:
            getattr(agenda, what)(name)
            later.pop(name, None)
            if what == "restore":
                ready = [name, *(each for each in ready if each != name)]
            elif name not in ready:
                ready.append(name)
        wake()
        soonest = min((time for time, _ in later.values()), default=None)
        assert agenda.next_time(now) == (now if ready else soonest)
        assert len(agenda) == len(ready)
