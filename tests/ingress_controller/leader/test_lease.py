"""Who leads: the rules, with values."""

import math
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from ingress_controller.leader.lease import (
    MAX_BACKOFF,
    MAX_DURATION,
    Candidate,
    Lease,
    LeaseSpec,
    Read,
    Timing,
    Write,
    read_lease,
)
from ingress_controller.store import Name

LEASE = Name("python-ingress", "python-ingress-leader")
NOON = datetime(2026, 5, 4, 12, 0, 0, 250, tzinfo=UTC)


def candidate(identity: str = "a", timing: Timing | None = None) -> Candidate:
    return Candidate(LEASE, identity, timing or Timing())


def lease(holder: str | None = "b", *, version: str = "1", **spec: object) -> Lease:
    """What the API has."""
    given = {"holderIdentity": holder, "leaseDurationSeconds": 15, **spec}
    document = {
        "metadata": {"name": "x", "resourceVersion": version, "labels": {"mine": "1"}},
        "spec": {name: value for name, value in given.items() if value is not None},
    }
    return read_lease(msgspec.json.encode(document))


def accepted(write: Write, version: str) -> Lease:
    """What the API answers to a write."""
    metadata = write.document["metadata"]
    assert isinstance(metadata, dict)
    document = {**write.document, "metadata": {**metadata, "resourceVersion": version}}
    return read_lease(msgspec.json.encode(document))


def spec_of(write: Write | None) -> dict[str, object]:
    assert write is not None
    spec = write.document["spec"]
    assert isinstance(spec, dict)
    return spec


def leader(now: float = 0.0) -> Candidate:
    """A candidate that took a free Lease at ``now``."""
    one = candidate()
    one.found(lease(""), now)
    write = one.claim(now, NOON)
    assert write is not None
    one.written(accepted(write, "2"), sent=now, now=now)
    return one


def test_an_absent_lease_is_created_and_led() -> None:
    one = candidate()
    assert one.begin(0.0, NOON) == Read()
    one.found(None, 0.1)
    write = one.claim(0.1, NOON)
    assert write == Write(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": "python-ingress", "name": "python-ingress-leader"},
            "spec": {
                "holderIdentity": "a",
                "leaseDurationSeconds": 15,
                "acquireTime": "2026-05-04T12:00:00.000250Z",
                "renewTime": "2026-05-04T12:00:00.000250Z",
                "leaseTransitions": 0,
            },
        },
        create=True,
    )
    assert not one.leads(0.2)
    one.written(accepted(write, "1"), sent=0.2, now=0.9)
    assert one.leads(10.1)
    assert not one.leads(10.2), "the deadline counts from before the request was sent"


def test_a_lease_without_holder_is_taken_at_once() -> None:
    one = candidate()
    one.found(lease("", leaseTransitions=4, acquireTime="then"), 0.0)
    spec = spec_of(one.claim(0.0, NOON))
    assert spec["holderIdentity"] == "a"
    assert spec["leaseTransitions"] == 5
    assert spec["acquireTime"] == spec["renewTime"] == "2026-05-04T12:00:00.000250Z"


def test_a_renewal_keeps_what_it_does_not_know_and_the_time_of_the_take_over() -> None:
    one = candidate()
    one.found(lease("a", leaseTransitions=4, acquireTime="then", strategy="Oldest"), 0.0)
    write = one.claim(0.0, NOON)
    spec = spec_of(write)
    assert spec["strategy"] == "Oldest"
    assert spec["acquireTime"] == "then"
    assert spec["leaseTransitions"] == 4
    assert write is not None
    assert write.document["metadata"] == {
        "name": "x",
        "resourceVersion": "1",
        "labels": {"mine": "1"},
    }


def test_who_leads_renews_without_asking_first() -> None:
    one = leader()
    assert isinstance(one.begin(2.0, NOON), Write)


def test_who_does_not_know_the_newest_version_asks_first() -> None:
    one = leader()
    one.unsure()
    assert one.begin(2.0, NOON) == Read()
    one.found(lease("a", version="9"), 2.0)
    assert isinstance(one.claim(2.0, NOON), Write)


def test_who_has_stopped_leading_asks_first() -> None:
    assert leader().begin(10.0, NOON) == Read()


def test_a_held_lease_is_taken_when_it_was_unchanged_for_its_whole_duration() -> None:
    one = candidate()
    one.found(lease(), 5.0)
    assert one.claim(5.0, NOON) is None
    one.found(lease(), 19.9)
    assert one.claim(19.9, NOON) is None
    one.found(lease(), 20.0)
    assert spec_of(one.claim(20.0, NOON))["leaseTransitions"] == 1


def test_a_renewal_begins_the_wait_anew() -> None:
    one = candidate()
    one.found(lease(renewTime="1"), 0.0)
    one.found(lease(renewTime="1"), 12.5)
    one.found(lease(renewTime="2", version="2"), 14.0)
    one.found(lease(renewTime="2", version="2"), 27.4)
    assert one.claim(27.4, NOON) is None
    assert one.claim(27.5, NOON) is not None, "it may have been renewed right after 12.5"


def test_who_looked_long_ago_does_not_count_from_then() -> None:
    """The holder may have renewed it just now, and leads for ten seconds."""
    one = candidate()
    one.found(lease(renewTime="1"), 0.0)
    one.found(lease(renewTime="2", version="2"), 14.0)
    free = 14.0 - Timing().look + Timing().lease
    assert free > 14.0 + Timing().renew_deadline
    assert one.free_at == pytest.approx(free)


def test_who_sees_a_lease_for_the_first_time_waits_for_all_of_it() -> None:
    one = candidate()
    one.found(None, 0.0)
    one.found(lease(), 1.0)
    assert one.free_at == 16.0


def test_times_of_day_in_the_lease_are_never_believed() -> None:
    """A holder whose clock is two hours behind, or years ahead, is alive while it renews."""
    for written in ("2020-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z", "nonsense"):
        one = candidate()
        one.found(lease(renewTime=written), 0.0)
        assert one.claim(14.0, NOON) is None
        assert one.claim(15.0, NOON) is not None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(60, 60.0, id="longer than ours"),
        pytest.param(5, 5.0, id="shorter than ours"),
        pytest.param(None, 15.0, id="missing: ours"),
        pytest.param(0, 1.0, id="nothing"),
        pytest.param(2**31 - 1, MAX_DURATION, id="for ever"),
    ],
)
def test_the_duration_in_the_lease_counts(seconds: int | None, expected: float) -> None:
    one = candidate()
    one.found(lease(leaseDurationSeconds=seconds), 100.0)
    assert one.free_at == 100.0 + expected


def test_who_finds_another_holder_stops_at_once() -> None:
    one = leader()
    one.found(lease("b", version="7"), 1.0)
    assert not one.leads(1.0)
    assert one.claim(1.0, NOON) is None
    assert one.holder == "b"


def test_a_leader_creates_a_deleted_lease_anew() -> None:
    one = leader()
    one.found(None, 1.0)
    assert one.leads(1.0)
    write = one.claim(1.0, NOON)
    assert write is not None
    assert write.create


def test_others_wait_before_they_create_a_deleted_lease() -> None:
    """Its holder may still lead: it has not been asked."""
    one = candidate()
    one.found(lease("b"), 0.0)
    one.found(lease("b"), 13.0)
    one.found(None, 14.0)
    one.found(None, 27.9)
    assert one.claim(27.9, NOON) is None
    assert one.holder == ""
    write = one.claim(28.0, NOON)
    assert write is not None
    assert write.create


def test_release_empties_the_holder_and_stops_at_once() -> None:
    one = leader()
    write = one.release(NOON)
    spec = spec_of(write)
    assert spec["holderIdentity"] == ""
    assert spec["leaseDurationSeconds"] == 1
    assert spec["leaseTransitions"] == 1, "as it was: nobody took over"
    assert write is not None
    assert not write.create
    assert not one.leads(0.0)


def test_who_does_not_hold_the_lease_releases_nothing() -> None:
    assert candidate().release(NOON) is None
    lost = leader()
    lost.found(lease("b"), 1.0)
    assert lost.release(NOON) is None


def test_a_leader_without_contact_still_gives_the_lease_back() -> None:
    """Its name still stands there; the version says whether that is true."""
    one = leader()
    assert not one.leads(11.0)
    assert one.release(NOON) is not None


def test_a_renewal_differs_even_when_the_clock_stands_still() -> None:
    """The API server takes an equal object for no change, and would not renew anything."""
    one = leader()
    first = spec_of(one.begin(2.0, NOON))["renewTime"]  # type: ignore[arg-type] # a Write: it leads
    assert first == "2026-05-04T12:00:00.000251Z"
    later = spec_of(one.begin(2.0, NOON + timedelta(hours=-2)))["renewTime"]  # type: ignore[arg-type] # the same
    assert later == "2026-05-04T10:00:00.000250Z"


def test_a_leader_renews_often_enough_to_fail_four_times() -> None:
    one = leader()
    assert one.wait(0.0, failures=0, chance=0.0) == 2.0
    assert one.wait(0.0, failures=4, chance=0.99) < 2.5


def test_others_look_when_the_lease_may_be_free() -> None:
    one = candidate()
    one.found(lease(), 0.0)
    assert one.wait(5.0, failures=0, chance=0.5) == pytest.approx(2.2)
    assert one.wait(14.0, failures=0, chance=0.0) == pytest.approx(1.0)
    assert one.wait(14.0, failures=0, chance=0.5) == pytest.approx(1.2)
    assert one.wait(15.01, failures=0, chance=0.0) == pytest.approx(0.1), "it was not free yet"


def test_waits_grow_to_a_minute_while_the_api_is_away() -> None:
    one = candidate()
    waits = [one.wait(0.0, failures=count, chance=0.0) for count in range(1, 9)]
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, MAX_BACKOFF, MAX_BACKOFF, MAX_BACKOFF]
    assert one.wait(0.0, failures=10**6, chance=0.999) == MAX_BACKOFF


@pytest.mark.parametrize(
    "times",
    [
        {"lease": 10.0},
        {"lease": 12.4},
        {"renew_deadline": 5.0},
        {"retry": 0.0},
        {"request": 1.0},
        {"lease": -1.0},
    ],
)
def test_times_with_which_two_could_lead_are_refused(times: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="retry <= request < renew_deadline < lease"):
        Timing(**times)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"metadata": {}}',
        b'{"metadata": {"resourceVersion": 5}}',
        b'{"metadata": {"resourceVersion": "5"}, "spec": {"leaseDurationSeconds": "x"}}',
    ],
)
def test_what_is_no_lease_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_lease(body)


def test_a_lease_without_spec_has_no_holder() -> None:
    found = read_lease(b'{"metadata": {"resourceVersion": "5"}}')
    assert found.spec == LeaseSpec()
    assert found.holder == ""
    one = candidate()
    one.found(found, 0.0)
    assert spec_of(one.claim(0.0, NOON))["holderIdentity"] == "a"


def test_leading_has_an_end_that_can_be_asked() -> None:
    assert candidate().leads_until == -math.inf
    assert leader(3.0).leads_until == 13.0
