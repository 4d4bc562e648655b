"""When to build, and which deletions wait (fault table F-15, F-16)."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.holdoff import (
    COST_FACTOR,
    DISTANCE_SECONDS,
    HOLD_SECONDS,
    QUIET_SECONDS,
    Holdoff,
)
from ingress_controller.objects.ingress import Ingress
from ingress_controller.objects.meta import ObjectMeta
from ingress_controller.objects.service import Service
from ingress_controller.objects.slices import (
    SERVICE_NAME_LABEL,
    EndpointConditions,
    EndpointSlice,
    SliceEndpoint,
)
from ingress_controller.store import ObjectChange, ObjectKey

LATE = 100.0


def slice_of(
    name: str, service: str = "shop", *, ready: bool | None = True, serving: bool | None = None
) -> ObjectChange:
    conditions = EndpointConditions(ready=ready, serving=serving)
    endpoint_slice = EndpointSlice(
        metadata=ObjectMeta(name=name, namespace="a", labels={SERVICE_NAME_LABEL: service}),
        endpoints=(SliceEndpoint(addresses=("10.0.0.1",), conditions=conditions),),
    )
    return ObjectChange(ObjectKey("EndpointSlice", "a", name), endpoint_slice)


def gone(name: str, kind: str = "EndpointSlice") -> ObjectChange:
    return ObjectChange(ObjectKey(kind, "a", name), None)


def ingress(name: str) -> ObjectChange:
    return ObjectChange(
        ObjectKey("Ingress", "a", name), Ingress(metadata=ObjectMeta(name=name, namespace="a"))
    )


def service(name: str) -> ObjectChange:
    return ObjectChange(
        ObjectKey("Service", "a", name), Service(metadata=ObjectMeta(name=name, namespace="a"))
    )


def started(*changes: ObjectChange) -> Holdoff:
    """A holdoff that has handed out these changes long ago."""
    holdoff = Holdoff()
    holdoff.add(changes, 0.0)
    assert holdoff.take(LATE) == changes
    return holdoff


def keys(changes: Sequence[ObjectChange]) -> list[str]:
    return [change.key.name for change in changes]


def test_nothing_is_due_before_something_was_added() -> None:
    assert Holdoff().next_build() is None
    assert Holdoff().take(LATE) == ()


def test_changes_act_together_after_a_short_quiet_time() -> None:
    holdoff = Holdoff()
    holdoff.add([ingress("one")], 10.0)
    holdoff.add([ingress("two")], 10.01)

    assert holdoff.next_build() == 10.0 + QUIET_SECONDS
    assert holdoff.take(10.0 + QUIET_SECONDS - 0.001) == ()
    assert keys(holdoff.take(10.0 + QUIET_SECONDS)) == ["one", "two"]
    assert holdoff.next_build() is None


def test_endpoints_act_at_once_and_take_no_rule_along() -> None:
    holdoff = Holdoff()
    holdoff.add([ingress("one")], 10.0)
    holdoff.add([slice_of("new")], 10.01)

    assert holdoff.next_build() == 10.01
    assert keys(holdoff.take(10.01)) == ["new"]
    assert holdoff.next_build() == 10.0 + QUIET_SECONDS
    assert keys(holdoff.take(10.0 + QUIET_SECONDS)) == ["one"]


def test_builds_keep_a_distance() -> None:
    """F-15: a flapping endpoint costs a bounded part of the time."""
    holdoff = started(slice_of("one"))
    holdoff.add([slice_of("one", ready=False)], LATE + 0.001)

    assert holdoff.next_build() == LATE + DISTANCE_SECONDS


def test_after_a_dear_build_nothing_is_built_for_a_multiple_of_its_time() -> None:
    holdoff = started(slice_of("one"))
    holdoff.built(LATE + 0.1, 0.1)
    holdoff.add([slice_of("one", ready=False), ingress("one")], LATE + 0.11)

    assert holdoff.next_build() == LATE + 0.1 + COST_FACTOR * 0.1


def test_endpoints_do_not_wait_for_what_rules_cost() -> None:
    holdoff = Holdoff()
    holdoff.add([ingress("dear")], 0.0)
    assert keys(holdoff.take(1.0)) == ["dear"]
    holdoff.built(2.0, 1.0)
    holdoff.add([ingress("dear"), slice_of("fresh")], 2.0)
    assert holdoff.next_build() == 2.0 + DISTANCE_SECONDS
    assert keys(holdoff.take(2.1)) == ["fresh"]
    holdoff.built(2.1, 0.001)
    assert holdoff.next_build() == 2.0 + COST_FACTOR
    assert keys(holdoff.take(2.0 + COST_FACTOR)) == ["dear"]


def test_many_changes_act_in_portions_that_never_lack_what_they_need() -> None:
    """F-26: neither the control loop nor a worker is busy with one of them for long."""
    holdoff = Holdoff()
    holdoff.add([gone("s-old", "Service"), *(ingress(f"i{n}") for n in range(3))], 0.0)
    holdoff.add([service("s-new"), gone("i0", "Ingress")], 0.0)

    portions = []
    now = 1.0
    while (due := holdoff.next_build()) is not None:
        now = max(now, due)
        portions.append(keys(holdoff.take(now, 2)))
        holdoff.built(now, 0.02)
        assert (holdoff.next_build() or now) <= now + 0.02 + 1e-9, "a backlog waits no longer"
    assert portions == [["s-new", "i0"], ["i1", "i2"], ["s-old"]]


def test_endpoints_and_rules_do_not_starve_each_other() -> None:
    holdoff = Holdoff()
    holdoff.add([slice_of(f"e{n}") for n in range(10)], 0.0)
    holdoff.add([ingress(f"i{n}") for n in range(10)], 0.0)

    assert keys(holdoff.take(1.0, 4)) == ["e0", "e1", "i0", "i1"]


def test_what_is_changed_all_the_time_keeps_nobody_waiting() -> None:
    """Services whose every change is dear would else keep out all rules of all others."""
    holdoff = Holdoff()
    holdoff.add([service(f"s{n}") for n in range(4)], 0.0)
    holdoff.add([ingress("mine")], 0.0)
    acted = []
    for now in range(1, 5):
        acted += keys(holdoff.take(float(now), 2))
        holdoff.add([service(f"s{n}") for n in range(4)], float(now))
    assert "mine" in acted


def test_the_first_build_waits_for_nothing() -> None:
    holdoff = Holdoff()
    holdoff.add([service("a"), slice_of("old")], 0.0)
    assert len(holdoff.take_all()) == 2
    holdoff.add([ingress("b"), gone("old"), gone("a", "Service")], 0.0)
    assert keys(holdoff.take_all()) == ["old", "b", "a"]
    assert holdoff.next_build() is None


def test_what_comes_while_portions_are_left_replaces_them() -> None:
    holdoff = Holdoff()
    holdoff.add([ingress("a"), ingress("b")], 0.0)
    assert keys(holdoff.take(1.0, 1)) == ["a"]
    holdoff.add([gone("b", "Ingress")], 1.0)

    assert holdoff.take(2.0, 5) == (gone("b", "Ingress"),)
    assert holdoff.next_build() is None


def test_a_later_change_of_an_object_replaces_an_earlier_one() -> None:
    holdoff = Holdoff()
    holdoff.add([ingress("one"), gone("one", "Ingress")], 0.0)

    assert holdoff.take(LATE) == (gone("one", "Ingress"),)


def test_the_deletion_of_the_last_slice_waits_a_second() -> None:
    holdoff = started(slice_of("old"))
    holdoff.add([gone("old"), ingress("other")], 200.0)

    assert keys(holdoff.take(200.5)) == ["other"]
    assert holdoff.next_build() == 200.0 + HOLD_SECONDS
    assert keys(holdoff.take(200.0 + HOLD_SECONDS)) == ["old"]


def test_a_held_deletion_acts_together_with_the_slice_that_takes_over() -> None:
    """Delete, then add: at no moment may the set be empty."""
    holdoff = started(slice_of("old"))
    holdoff.add([gone("old")], 200.0)
    holdoff.add([slice_of("new")], 200.3)

    assert holdoff.next_build() == 200.3
    assert keys(holdoff.take(200.4)) == ["new", "old"]
    assert holdoff.next_build() is None


def test_a_held_deletion_is_forgotten_when_the_slice_returns() -> None:
    holdoff = started(slice_of("old"))
    holdoff.add([gone("old")], 200.0)
    holdoff.add([slice_of("old")], 200.3)

    assert holdoff.take(LATE * 3) == (slice_of("old"),)
    assert holdoff.next_build() is None


def test_a_successor_without_usable_endpoints_releases_nothing() -> None:
    holdoff = started(slice_of("old"))
    holdoff.add([gone("old")], 200.0)
    holdoff.add([slice_of("new", ready=False)], 200.3)

    assert keys(holdoff.take(200.4)) == ["new"]
    assert holdoff.next_build() == 200.0 + HOLD_SECONDS


def test_a_deletion_that_leaves_endpoints_acts_at_once() -> None:
    holdoff = started(slice_of("old"), slice_of("new"))
    holdoff.add([gone("old")], 200.0)

    assert keys(holdoff.take(200.1)) == ["old"]


def test_of_two_deletions_the_one_that_empties_the_service_waits() -> None:
    holdoff = started(slice_of("old"), slice_of("new"))
    holdoff.add([gone("old"), gone("new")], 200.0)

    assert keys(holdoff.take(200.1)) == ["old"]
    assert keys(holdoff.take(201.1)) == ["new"]


def test_a_slice_that_loses_its_endpoints_acts_at_once() -> None:
    """Nobody ready is what the cluster says (F-14): 503 at once, not a second later."""
    holdoff = started(slice_of("old"))
    holdoff.add([slice_of("old", ready=False, serving=False)], 200.0)

    assert keys(holdoff.take(200.1)) == ["old"]


def test_the_deletion_of_an_unusable_slice_acts_at_once() -> None:
    holdoff = started(slice_of("old", ready=False))
    holdoff.add([gone("old")], 200.0)

    assert keys(holdoff.take(200.1)) == ["old"]


def test_a_slice_of_another_service_takes_nothing_over() -> None:
    holdoff = started(slice_of("old"), slice_of("other", "cart"))
    holdoff.add([gone("old")], 200.0)

    assert holdoff.take(200.1) == ()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Ingress", "Service", "EndpointSlice"]),
            st.sampled_from(["n1", "n2", "n3"]),
            st.booleans(),
            st.floats(0.0, 0.7),
            st.sampled_from([1, 2, 3, 50]),
        ),
        max_size=40,
    )
)
def test_in_portions_too_the_last_change_of_every_object_acts(
    steps: list[tuple[str, str, bool, float, int]],
) -> None:
    makers = {"Ingress": ingress, "Service": service, "EndpointSlice": slice_of}
    holdoff = Holdoff()
    now = 0.0
    last: dict[ObjectKey, ObjectChange] = {}
    acted: dict[ObjectKey, ObjectChange] = {}
    for kind, name, exists, pause, most in steps:
        change = makers[kind](name) if exists else gone(name, kind)
        last[change.key] = change
        holdoff.add([change], now)
        now += pause
        taken = holdoff.take(now, most)
        assert len(taken) <= most
        acted |= {each.key: each for each in taken}
    for _ in range(1000):
        due = holdoff.next_build()
        if due is None:
            break
        now = max(now, due)
        acted |= {each.key: each for each in holdoff.take(now, 2)}
    assert holdoff.next_build() is None
    assert acted == last


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["s1", "s2", "s3"]),
            st.sampled_from(["gone", "ready", "unready"]),
            st.floats(0.0, 0.7),
        ),
        max_size=30,
    )
)
def test_every_change_acts_within_the_hold_time_and_the_last_one_wins(
    steps: list[tuple[str, str, float]],
) -> None:
    holdoff = Holdoff()
    now = 0.0
    last: dict[str, ObjectChange] = {}
    acted: dict[str, ObjectChange] = {}
    for name, what, pause in steps:
        change = gone(name) if what == "gone" else slice_of(name, ready=what == "ready")
        last[name] = change
        holdoff.add([change], now)
        now += pause
        acted |= {each.key.name: each for each in holdoff.take(now)}
    due = holdoff.next_build()
    while due is not None:
        assert due <= now + HOLD_SECONDS + DISTANCE_SECONDS
        acted |= {each.key.name: each for each in holdoff.take(due)}
        due = holdoff.next_build()
    assert acted == last
