"""Which status an Ingress shall have (`ingress.md` 1.8 and the flapping of section 5)."""

from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ingress_controller.objects.ingress import IngressStatus
from ingress_controller.status.wanted import (
    CALM_SECONDS,
    CONTESTED_SECONDS,
    ECHO_SECONDS,
    REPLICA_SECONDS,
    REWRITES,
    Later,
    Wanted,
    Wish,
)
from ingress_controller.store import Name
from ingress_controller.translate.translator import Standing

SHOP = Name("a", "shop")
OURS = ("192.0.2.1",)
THEIRS = ("198.51.100.9",)
EARLY = -1000.0
LATE = 1000.0
Owner = Literal["ours", "others", "nobody"]


def wanted(owner: Owner | None = "ours", uid: str = "u1") -> Wanted:
    """One Ingress of this standing, and addresses that are published."""
    one = Wanted()
    one.addresses = OURS
    if owner is not None:
        one.confirm(SHOP, Standing(uid, owner), EARLY)
    return one


def has(*addresses: str, uid: str = "u1") -> IngressStatus:
    return IngressStatus(uid, addresses)


def written(one: Wanted, now: float = 0.0) -> Wanted:
    """After the addresses were written."""
    wish = one.look(SHOP, has(), now)
    assert wish == Wish("u1", OURS)
    one.wrote(SHOP, wish, now)
    assert one.look(SHOP, has(*OURS), now) is None
    return one


def test_a_served_ingress_gets_the_published_addresses() -> None:
    one = wanted()
    assert one.look(SHOP, has(), 0.0) == Wish("u1", OURS)
    assert one.look(SHOP, has(*THEIRS), 0.0) == Wish("u1", OURS)
    assert one.look(SHOP, has(*OURS), 0.0) is None


def test_other_replicas_get_a_moment_to_serve_it_too() -> None:
    one = wanted(None)
    one.confirm(SHOP, Standing("u1", "ours"), 10.0)
    assert one.look(SHOP, has(), 10.0) == Later(10.0 + REPLICA_SECONDS)
    one.confirm(SHOP, Standing("u1", "ours"), 10.1)
    assert one.look(SHOP, has(), 10.0 + REPLICA_SECONDS) == Wish("u1", OURS)
    one.confirm(SHOP, Standing("u2", "ours"), 20.0)
    assert one.look(SHOP, has(uid="u2"), 20.0) == Later(20.0 + REPLICA_SECONDS)


def test_an_ingress_that_no_worker_serves_gets_nothing() -> None:
    assert wanted(None).look(SHOP, has(), 0.0) is None


def test_while_no_address_is_known_nothing_is_written_or_removed() -> None:
    one = wanted()
    one.addresses = ()
    assert one.look(SHOP, has(), 0.0) is None
    assert one.look(SHOP, has(*THEIRS), 0.0) is None
    one = written(wanted())
    one.addresses = ()
    assert one.look(SHOP, has(*OURS), LATE) is None


def test_other_addresses_replace_those_before() -> None:
    one = written(wanted())
    one.addresses = ("192.0.2.2",)
    assert one.look(SHOP, has(*OURS), LATE) == Wish("u1", ("192.0.2.2",))


def test_another_life_of_an_ingress_waits_until_it_is_served() -> None:
    one = written(wanted())
    assert one.look(SHOP, has(uid="u2"), LATE) is None
    one.confirm(SHOP, None, EARLY)
    one.confirm(SHOP, Standing("u2", "ours"), EARLY)
    assert one.look(SHOP, has(uid="u2"), LATE) == Wish("u2", OURS)


def test_what_the_source_does_not_know_yet_is_not_written_again() -> None:
    one = wanted()
    one.wrote(SHOP, Wish("u1", OURS), 0.0)
    assert one.look(SHOP, has(), ECHO_SECONDS - 0.1) is None
    assert one.look(SHOP, has(), ECHO_SECONDS) == Wish("u1", OURS)


def test_what_the_source_knows_can_be_changed_by_others_at_once() -> None:
    one = written(wanted())
    assert one.look(SHOP, has(*THEIRS), 0.1) == Wish("u1", OURS)


@pytest.mark.parametrize("owner", ["others", "nobody"])
def test_what_we_wrote_is_removed_when_the_ingress_leaves_us(owner: Owner) -> None:
    one = written(wanted())
    one.confirm(SHOP, Standing("u1", owner), EARLY)
    wish = one.look(SHOP, has(*OURS), LATE)
    assert wish == Wish("u1", ())
    one.wrote(SHOP, wish, LATE)
    assert list(one.names) == []
    assert one.look(SHOP, has(*OURS), LATE) is None, "once is enough"


def test_what_we_wrote_is_removed_even_when_other_addresses_are_published_now() -> None:
    one = written(wanted())
    one.addresses = ("192.0.2.2",)
    one.confirm(SHOP, Standing("u1", "others"), EARLY)
    assert one.look(SHOP, has(*OURS), LATE) == Wish("u1", ())


def test_what_was_written_a_moment_ago_is_removed_though_the_source_does_not_know_it() -> None:
    one = wanted()
    one.wrote(SHOP, Wish("u1", OURS), 0.0)
    one.confirm(SHOP, Standing("u1", "others"), EARLY)
    assert one.look(SHOP, has(), 1.0) == Wish("u1", ())


def test_what_another_controller_wrote_meanwhile_stays() -> None:
    one = written(wanted())
    one.confirm(SHOP, Standing("u1", "others"), EARLY)
    assert one.look(SHOP, has(*THEIRS), LATE) is None
    assert one.look(SHOP, has(*OURS), LATE) is None, "it is theirs now, whatever they write"


def test_what_a_leader_before_us_wrote_is_known_from_having_seen_it() -> None:
    one = wanted()
    assert one.look(SHOP, has(*OURS), 0.0) is None
    one.confirm(SHOP, Standing("u1", "others"), EARLY)
    assert one.look(SHOP, has(*OURS), LATE) == Wish("u1", ())


def test_our_addresses_at_an_ingress_that_nobody_claims_are_removed() -> None:
    """Written by a process that ended before the class was gone."""
    one = wanted("nobody")
    assert one.look(SHOP, has(*OURS), 0.0) == Wish("u1", ())
    assert wanted("nobody").look(SHOP, has(*THEIRS), 0.0) is None


def test_an_ingress_that_nobody_claims_waits_for_our_addresses_to_be_known() -> None:
    one = wanted("nobody")
    one.addresses = ()
    assert one.look(SHOP, has(*OURS), 0.0) is None
    one.addresses = OURS
    assert one.look(SHOP, has(*OURS), 0.0) == Wish("u1", ())


def test_the_same_addresses_at_another_controllers_ingress_may_be_its_own() -> None:
    one = wanted("others")
    assert one.look(SHOP, has(*OURS), 0.0) is None
    assert list(one.names) == []


def test_what_was_never_ours_is_not_remembered() -> None:
    assert list(wanted("others").names) == []


def test_the_same_addresses_by_the_next_controller_stay_where_we_had_written_none() -> None:
    one = wanted()
    one.confirm(SHOP, Standing("u1", "others"), EARLY)
    assert one.look(SHOP, has(*OURS), LATE) is None


def test_an_ingress_that_comes_back_is_written_again() -> None:
    one = written(wanted())
    one.confirm(SHOP, Standing("u1", "others"), EARLY)
    one.wrote(SHOP, Wish("u1", ()), LATE)
    one.confirm(SHOP, Standing("u1", "ours"), EARLY)
    assert one.look(SHOP, has(), LATE) == Wish("u1", OURS)


def test_a_deleted_ingress_is_forgotten() -> None:
    one = written(wanted())
    assert one.look(SHOP, None, LATE) is None, "the source knows it first"
    one.confirm(SHOP, None, EARLY)
    assert list(one.names) == []
    assert one.look(SHOP, None, LATE) is None


def test_two_controllers_that_fight_write_once_a_minute() -> None:
    one = written(wanted())
    now, contested = 10.0, []
    for _ in range(REWRITES):
        wish = one.look(SHOP, has(*THEIRS), now)
        assert wish == Wish("u1", OURS)
        contested.append(one.wrote(SHOP, wish, now))
        assert one.look(SHOP, has(*OURS), now) is None
        now += 1.0
    assert contested == [False, False, True]
    assert one.contested(now) == 1
    last = now - 1.0
    for _ in range(3):
        assert one.look(SHOP, has(*THEIRS), now) == Later(last + CONTESTED_SECONDS)
        last = now = last + CONTESTED_SECONDS
        wish = one.look(SHOP, has(*THEIRS), now)
        assert wish == Wish("u1", OURS)
        assert not one.wrote(SHOP, wish, now), "said once"
        assert one.look(SHOP, has(*OURS), now) is None
    now += CALM_SECONDS + 1
    assert one.contested(now) == 0
    assert one.look(SHOP, has(*THEIRS), now) == Wish("u1", OURS)


def test_a_change_now_and_then_is_no_fight() -> None:
    one = written(wanted())
    for now in range(100, 1000, 40):
        wish = one.look(SHOP, has(*THEIRS), now)
        assert wish == Wish("u1", OURS)
        assert not one.wrote(SHOP, wish, now)
        assert one.look(SHOP, has(*OURS), now) is None
    assert one.contested(1000.0) == 0


def test_our_own_changes_are_no_fight() -> None:
    one = written(wanted())
    before = OURS
    for number in range(2, 20):
        one.addresses = (f"192.0.2.{number}",)
        wish = one.look(SHOP, has(*before), LATE)
        assert wish == Wish("u1", one.addresses)
        assert not one.wrote(SHOP, wish, LATE)
        before = one.addresses
        assert one.look(SHOP, has(*before), LATE) is None
    assert one.contested(LATE) == 0


def test_at_the_end_what_is_ours_can_be_removed() -> None:
    one = written(wanted())
    one.clear()
    wish = one.look(SHOP, has(*OURS), LATE)
    assert wish == Wish("u1", ())
    one.wrote(SHOP, wish, LATE)
    assert one.look(SHOP, has(*OURS), LATE) is None, "the source does not know yet"
    assert one.look(SHOP, has(), LATE) is None
    assert one.look(SHOP, has(*THEIRS), LATE) is None


def test_at_the_end_what_others_wrote_stays() -> None:
    one = wanted()
    one.clear()
    assert one.look(SHOP, has(*THEIRS), LATE) is None


class Life(RuleBasedStateMachine):
    """One Ingress, our writes, the API, a source that lags, and others who write.

    When everything has calmed down, the API has what it should.
    """

    @initialize()
    def start(self) -> None:
        self.wanted = Wanted()
        self.now = 0.0
        self.api: IngressStatus | None = IngressStatus("u1", ())
        self.source: IngressStatus | None = self.api
        self.standing: Standing | None = Standing("u1", "others")
        """As the translator sees it; confirmed later."""
        self.lives = 1

    @rule(addresses=st.sampled_from([OURS, ("192.0.2.2",)]))
    def we_publish(self, addresses: tuple[str, ...]) -> None:
        self.wanted.addresses = addresses

    @rule(seconds=st.sampled_from([0.5, 3.0, ECHO_SECONDS, CONTESTED_SECONDS]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(owner=st.sampled_from(["ours", "others", "nobody"]))
    def its_class_changes(self, owner: Owner) -> None:
        if self.standing is not None:
            self.standing = Standing(self.standing.uid, owner)

    @rule()
    def it_is_deleted(self) -> None:
        self.api = self.standing = None

    @rule(owner=st.sampled_from(["ours", "others"]))
    def it_is_made_anew(self, owner: Owner) -> None:
        self.lives += 1
        self.api = IngressStatus(f"u{self.lives}", ())
        self.standing = Standing(f"u{self.lives}", owner)

    @rule()
    def others_write(self) -> None:
        if self.api is not None:
            self.api = IngressStatus(self.api.uid, THEIRS)

    @rule()
    def the_source_hears_of_it(self) -> None:
        self.source = self.api
        self.wanted.look(SHOP, self.source, self.now)

    @rule()
    def the_workers_serve_it(self) -> None:
        self.wanted.confirm(SHOP, self.standing, self.now)

    @rule()
    def we_write(self) -> None:
        wish = self.wanted.look(SHOP, self.source, self.now)
        if isinstance(wish, Wish) and self.api is not None and self.api.uid == wish.uid:
            if not wish.addresses and self.api.addresses == THEIRS:
                # A write of theirs crossed our removal; they write again, as they would.
                self.others_write()
            else:
                self.api = IngressStatus(wish.uid, wish.addresses)
            self.wanted.wrote(SHOP, wish, self.now)

    @rule()
    def everything_calms_down(self) -> None:
        self.the_workers_serve_it()
        for _ in range(4):
            self.now += CONTESTED_SECONDS + ECHO_SECONDS
            self.the_source_hears_of_it()
            self.we_write()
        self.the_source_hears_of_it()
        if self.api is None or self.standing is None or not self.wanted.addresses:
            return
        if self.standing.owner == "ours":
            assert self.api.addresses == self.wanted.addresses
        else:
            assert self.api.addresses in ((), THEIRS), "nothing of ours stays"

    def teardown(self) -> None:
        self.everything_calms_down()


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_in_the_end_every_status_is_right = Life.TestCase
