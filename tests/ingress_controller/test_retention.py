"""The last good certificate serves on, for so long and no longer."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from ingress_controller.objects.config import ConfigMap, Secret
from ingress_controller.objects.meta import ObjectKey, ObjectMeta
from ingress_controller.retention import MALFORMED_SECONDS, SecretRetention
from ingress_controller.store import ObjectChange, key_of
from ingress_controller.translate.secrets import read_secret_pair
from tests.ingress_controller.translate.tls_objects import pair_secret, secret
from tests.tls.certificates import authority
from tls.certificate import CertificatePair

GOOD = pair_secret("s", "a.test", ca_crt=b"authorities")
RENEWED = pair_secret("s", "a.test", serial=1)
BROKEN = secret("s", tls_crt="garbage", tls_key="garbage", ca_crt=b"new authorities")
EMPTY = secret("s")
KEY = ObjectKey("Secret", "default", "s")
SHORT = authority().issue(["a.test"], days=1)
ENDING = secret("s", tls_crt=SHORT[0], tls_key=SHORT[1])


def expiry(item: Secret) -> int:
    pair = read_secret_pair(item)
    assert isinstance(pair, CertificatePair)
    return pair.not_after


NOW = float(expiry(GOOD) - 30 * 86_400)


class Machine:
    """A retention, and what the translation has been told."""

    def __init__(self, grace: float = 300.0) -> None:
        self.retention = SecretRetention(grace)
        self.told: Secret | None = None

    def apply(self, item: Secret | None, now: float) -> Secret | None:
        return self._hear(self.retention.apply([ObjectChange(KEY, item)], now))

    def due(self, now: float) -> Secret | None:
        return self._hear(self.retention.due(now))

    def _hear(self, changes: tuple[ObjectChange, ...]) -> Secret | None:
        for change in changes:
            assert change.key == KEY
            assert change.object is None or isinstance(change.object, Secret)
            self.told = change.object
        return self.told


def test_a_malformed_update_keeps_the_last_good_pair_for_a_day() -> None:
    machine = Machine()
    assert machine.apply(GOOD, NOW) == GOOD
    kept = machine.apply(BROKEN, NOW + 10)
    assert kept is not None
    assert kept.kept is not None
    assert (kept.kept.deleted, kept.kept.until) == (False, int(NOW + 10 + MALFORMED_SECONDS))
    assert "certificate" in kept.kept.reason
    assert (kept.value("tls.crt"), kept.value("ca.crt")) == (
        GOOD.value("tls.crt"),
        b"new authorities",
    )
    assert machine.retention.next_deadline() == NOW + 10 + MALFORMED_SECONDS
    assert machine.due(NOW + MALFORMED_SECONDS) == kept
    assert machine.due(NOW + 10 + MALFORMED_SECONDS) == BROKEN
    assert machine.retention.next_deadline() is None


def test_a_deleted_secret_serves_its_pair_alone_until_the_grace_is_over() -> None:
    machine = Machine(grace=300)
    machine.apply(GOOD, NOW)
    kept = machine.apply(None, NOW + 10)
    assert kept is not None
    assert kept.kept is not None
    assert (kept.kept.deleted, kept.kept.until) == (True, int(NOW + 310))
    assert kept.data.keys() == {"tls.crt", "tls.key"}
    assert machine.due(NOW + 309) == kept
    assert machine.due(NOW + 310) is None
    assert machine.retention.next_deadline() is None


def test_a_version_that_works_ends_it_at_once() -> None:
    for lost in (BROKEN, EMPTY, None):
        for back in (GOOD, RENEWED):
            machine = Machine()
            machine.apply(GOOD, NOW)
            machine.apply(lost, NOW)
            assert machine.apply(back, NOW + 1) == back
            assert machine.retention.next_deadline() is None
            assert machine.due(NOW + 10**6) == back


def test_nothing_is_kept_past_its_expiry() -> None:
    machine = Machine()
    end = float(expiry(ENDING))
    machine.apply(ENDING, end - 100)
    kept = machine.apply(BROKEN, end - 50)
    assert kept is not None
    assert kept.kept is not None
    assert kept.kept.until == end
    assert machine.due(end) == BROKEN
    machine = Machine()
    machine.apply(ENDING, end - 100)
    assert machine.apply(None, end + 1) is None


def test_neither_breaking_nor_deleting_again_makes_it_longer() -> None:
    machine = Machine(grace=300)
    machine.apply(GOOD, NOW)
    machine.apply(BROKEN, NOW)
    kept = machine.apply(EMPTY, NOW + 1000)
    assert kept is not None
    assert kept.kept is not None
    assert kept.kept.until == int(NOW + MALFORMED_SECONDS)
    machine.apply(None, NOW + 2000)
    machine.apply(None, NOW + 2200)
    assert machine.retention.next_deadline() == NOW + 2300
    machine.apply(BROKEN, NOW + 2250)
    assert machine.retention.next_deadline() == NOW + MALFORMED_SECONDS


def test_without_grace_a_deleted_secret_is_gone() -> None:
    machine = Machine(grace=0)
    machine.apply(GOOD, NOW)
    assert machine.apply(None, NOW) is None


def test_what_never_worked_is_passed_on() -> None:
    machine = Machine()
    for item in (BROKEN, EMPTY, BROKEN, None, BROKEN):
        assert machine.apply(item, NOW) == item
    assert machine.retention.next_deadline() is None


def test_other_kinds_pass_through() -> None:
    config_map = ConfigMap(ObjectMeta("s", "default"), {"tls.crt": "x"})
    changes = (
        ObjectChange(key_of(config_map), config_map),
        ObjectChange(ObjectKey("Service", "default", "s"), None),
    )
    assert SecretRetention(300).apply(changes, NOW) == changes


STEPS = st.lists(
    st.tuples(
        st.sampled_from([GOOD, RENEWED, BROKEN, EMPTY, ENDING, None, "wait"]),
        st.sampled_from([0.0, 1.0, 299.0, 300.0, 40_000.0, MALFORMED_SECONDS]),
    ),
    max_size=12,
)


@given(steps=STEPS, grace=st.sampled_from([0.0, 300.0, 10.0**6]))
@settings(deadline=None)
def test_in_any_sequence_what_is_told_is_true_or_marked_and_ends(
    steps: list[tuple[Secret | str | None, float]], grace: float
) -> None:
    machine = Machine(grace)
    now, really = NOW, None
    lost_since: float | None = None
    for item, pause in steps:
        now += pause
        if not isinstance(item, str):
            really = item
            machine.apply(item, now)
        machine.due(now)
        told = machine.told
        deadline = machine.retention.next_deadline()
        if told is None or told.kept is None:
            assert told == really
            assert deadline is None
            lost_since = None
            continue
        lost_since = now if lost_since is None else lost_since
        assert deadline is not None
        assert now < deadline <= lost_since + MALFORMED_SECONDS
        assert deadline <= expiry(told)
        assert told.kept.until == int(deadline)
        assert told.kept.deleted == (really is None)
        assert really is None or not isinstance(read_secret_pair(really), CertificatePair)
    machine.due(now + 10**9)
    assert machine.told == really


def test_secrets_are_kept_apart() -> None:
    retention = SecretRetention(300)
    items = [pair_secret(name, "a.test") for name in "ab"]
    retention.apply([ObjectChange(key_of(item), item) for item in items], NOW)
    told = [
        retention.apply([ObjectChange(key_of(item), None)], NOW + index)
        for index, item in enumerate(items)
    ]
    kept = [change.object for change in itertools.chain(*told)]
    assert [isinstance(each, Secret) and each.metadata.name for each in kept] == ["a", "b"]
    assert [change.key.name for change in retention.due(NOW + 300)] == ["a"]
    assert retention.next_deadline() == NOW + 301
