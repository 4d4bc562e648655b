"""What a reflector does next, decided from values; then a walk through any events and faults."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ingress_controller.objects.ingress import Ingress, IngressSpec
from ingress_controller.objects.meta import ObjectKey, ObjectMeta
from ingress_controller.objects.stream import Item
from ingress_controller.sources.mirror import Mirror
from ingress_controller.sources.watch_machine import (
    MUTE_WATCHES,
    SHRINK,
    WHOLE_AFTER,
    Check,
    ListPage,
    Pace,
    Pause,
    Step,
    Trouble,
    Watch,
    WatchMachine,
    backoff,
    is_lower,
)

PACE = Pace()
FIRST_PAGE = ListPage("", 500)
OTHERS = [Trouble.THROTTLED, Trouble.UNAUTHORIZED, Trouble.REFUSED, Trouble.MALFORMED]


class At:
    """A machine and a clock."""

    def __init__(self, *, cheap: bool = False) -> None:
        self.machine = WatchMachine(PACE, cheap_list=cheap)
        self.now = 0.0

    def next(self, random: float = 0.0) -> Step:
        return self.machine.next(self.now, random)

    def failed(self, trouble: Trouble, retry_after: float = 0.0, random: float = 0.0) -> None:
        self.machine.failed(trouble, self.now, random, retry_after)

    def listed(self, version: str = "10") -> "At":
        assert isinstance(self.next(), ListPage)
        assert self.machine.listed(version, "", self.now)
        return self

    def watched(self, version: str = "10", lived: float = 0.0) -> "At":
        self.listed(version)
        assert isinstance(self.next(), Watch)
        self.now += lived
        return self

    def heard(self, version: str) -> bool:
        return self.machine.heard(version, self.now)

    def patience(self) -> float:
        """Seconds until it does something."""
        step = self.next()
        return step.until - self.now if isinstance(step, Pause) else 0.0

    def rested(self) -> Step:
        self.now += self.patience()
        return self.next()


def test_a_list_that_cannot_be_used_begins_anew_with_smaller_pages() -> None:
    at = At()
    for size in (500, 62, 7, 1, 1):
        assert at.next() == ListPage("", size)
        at.failed(Trouble.MALFORMED)
        at.now += 100
    at.listed()
    at.failed(Trouble.DISORDER)
    at.now += 100
    assert at.next() == ListPage("", 1)
    for size in (1, 7, 62, 500):
        at.listed()
        at.now += 1000
        at.failed(Trouble.DISORDER)
        assert at.next() == ListPage("", size)


def test_it_lists_page_by_page_and_watches_from_the_version_of_the_list() -> None:
    at = At()
    assert at.next() == FIRST_PAGE
    assert not at.machine.listed("10", "a", at.now)
    assert at.next() == ListPage("a", 500)
    assert not at.machine.listed("10", "b", at.now)
    assert at.machine.listing
    assert at.next() == ListPage("b", 500)
    assert at.machine.listed("10", "", at.now)
    assert not at.machine.listing
    assert at.next() == Watch("10", 240)
    assert at.machine.watching


def test_the_version_of_the_first_page_counts() -> None:
    at = At()
    at.machine.listed("10", "a", at.now)
    at.machine.listed("11", "", at.now)
    assert at.next() == Watch("10", 240)


@given(st.floats(0, 1, exclude_max=True))
def test_watches_last_four_to_seven_minutes(random: float) -> None:
    step = At().listed().next(random)
    assert isinstance(step, Watch)
    assert 240 <= step.timeout <= 420


def test_a_watch_that_ended_goes_on_where_it_was() -> None:
    at = At().watched()
    assert at.heard("12")
    at.now += 300
    at.machine.ended(at.now, 0.0)
    assert not at.machine.watching
    assert at.next() == Watch("12", 240)


def test_a_watch_that_ended_at_once_is_opened_again_later() -> None:
    at = At().watched()
    at.heard("12")
    at.now += 0.25
    at.machine.ended(at.now, 0.0)
    assert at.patience() == 0.75
    assert at.rested() == Watch("12", 240)


def test_one_that_said_nothing_meanwhile_waits_longer_each_time() -> None:
    at = At().watched()
    waits = []
    for _ in range(8):
        at.machine.ended(at.now, 0.0)
        waits.append(at.patience())
        assert at.rested() == Watch("10", 240)
    assert waits == pytest.approx([0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0])


def test_a_version_that_is_too_old_is_listed_at_once_the_first_time() -> None:
    at = At().watched()
    at.failed(Trouble.GONE)
    assert at.next() == FIRST_PAGE
    at.watched()
    at.failed(Trouble.GONE, random=0.5)
    assert at.patience() == pytest.approx(0.8 * 1.5)
    at.rested()
    at.watched()
    at.now += PACE.healthy_after + 1
    at.failed(Trouble.GONE)
    assert at.next() == FIRST_PAGE


def test_a_list_whose_token_ended_begins_anew_and_in_the_end_without_pages() -> None:
    at = At()
    for _ in range(WHOLE_AFTER):
        assert at.rested() == FIRST_PAGE
        at.machine.listed("10", "a", at.now)
        at.failed(Trouble.GONE)
    assert at.rested() == ListPage("", 0)
    at.listed()
    at.next()
    at.failed(Trouble.GONE)
    assert at.rested() == FIRST_PAGE


def test_a_page_without_an_answer_is_asked_for_again() -> None:
    at = At()
    at.machine.listed("10", "a", at.now)
    at.failed(Trouble.AWAY)
    assert at.next() == ListPage("a", 500)
    at.failed(Trouble.THROTTLED)
    assert at.rested() == ListPage("a", 500)


def test_a_malformed_page_spoils_the_list() -> None:
    at = At()
    at.machine.listed("10", "a", at.now)
    at.failed(Trouble.MALFORMED)
    assert at.rested() == ListPage("", 500 // SHRINK)


def test_a_silent_watch_is_checked_and_opened_anew_at_once() -> None:
    at = At().watched(lived=90)
    at.failed(Trouble.SILENT)
    assert at.next() == Check()
    assert at.machine.checked("30", at.now)
    assert at.next() == Watch("10", 240)


@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.AWAY, *OTHERS])
def test_a_watch_that_failed_is_checked_before_it_is_opened_anew(trouble: Trouble) -> None:
    at = At().watched(lived=30)
    at.failed(trouble)
    is_outage = trouble in (Trouble.LOST, Trouble.AWAY)
    assert (at.patience() == 0) == is_outage, "an outage has its own clock"
    assert at.rested() == Check()
    at.failed(trouble)
    assert at.rested() == Check()
    assert at.machine.checked("10", at.now)
    assert at.rested() == Watch("10", 240)


def test_after_an_outage_a_watch_is_checked() -> None:
    at = At().listed()
    at.machine.doubt(at.now)
    assert at.next() == Check()
    at = At()
    at.machine.doubt(at.now)
    assert at.next() == FIRST_PAGE


def test_after_an_outage_all_kinds_are_fresh_at_one_time() -> None:
    """Whatever failed before, and though a starting server refuses for a while, then says 410."""
    at = At().listed()
    for _ in range(6):
        at.failed(Trouble.REFUSED)
        at.rested()
    at.machine.doubt(at.now)
    assert at.next() == Check(), "not after the pause that was collected"
    for _ in range(5):
        at.failed(Trouble.REFUSED)
        assert at.patience() <= 2 * Pace().first_delay
        at.rested()
    assert at.machine.checked("10", at.now)
    at.failed(Trouble.GONE)
    assert at.next() == FIRST_PAGE, "at once"
    at.listed().failed(Trouble.GONE)
    assert at.patience() > 0, "but not again and again"


@pytest.mark.parametrize(
    ("trouble", "cheap", "longest"),
    [
        pytest.param(Trouble.UNAUTHORIZED, False, PACE.longest_unauthorized, id="credentials"),
        pytest.param(Trouble.UNAUTHORIZED, True, PACE.longest_delay, id="a thousand objects"),
        pytest.param(Trouble.REFUSED, False, PACE.longest_delay, id="rights, which a person gives"),
    ],
)
def test_refused_credentials_are_tried_again_soon(
    trouble: Trouble, cheap: bool, longest: float
) -> None:
    at = At(cheap=cheap).listed()
    waits = []
    for _ in range(10):
        at.failed(trouble)
        waits.append(at.patience())
        at.rested()
    assert max(waits) == pytest.approx(longest)


def test_versions_that_went_backwards_mean_a_list() -> None:
    at = At().watched("1000", lived=30)
    at.failed(Trouble.AWAY)
    assert not at.machine.checked("999", at.now)
    assert at.next() == FIRST_PAGE
    at.watched("999")


@pytest.mark.parametrize("trouble", [Trouble.AWAY, Trouble.SILENT, *OTHERS])
def test_one_object_is_listed_instead_of_checked(trouble: Trouble) -> None:
    at = At(cheap=True).watched(lived=30)
    at.failed(trouble)
    assert at.rested() == FIRST_PAGE


@pytest.mark.parametrize("trouble", [Trouble.AWAY, *OTHERS])
def test_watches_that_fail_at_once_again_and_again_mean_a_list(trouble: Trouble) -> None:
    at = At().watched()
    for _ in range(MUTE_WATCHES - 1):
        at.failed(trouble)
        assert at.rested() == Check()
        at.machine.checked("10", at.now)
        assert isinstance(at.rested(), Watch)
    at.failed(trouble)
    assert at.rested() == FIRST_PAGE


def test_a_watch_that_spoke_or_lived_is_not_one_that_fails_at_once() -> None:
    at = At().watched()
    for number in range(3 * MUTE_WATCHES):
        if number % 2:
            assert at.heard(str(20 + number))
        else:
            at.now += 20
        assert at.machine.established(at.now)
        at.failed(Trouble.AWAY)
        assert at.rested() == Check()
        at.machine.checked("50", at.now)
        assert isinstance(at.rested(), Watch)


def test_connections_that_are_lost_say_nothing_about_the_version() -> None:
    at = At().watched()
    for _ in range(3 * MUTE_WATCHES):
        at.failed(Trouble.LOST)
        assert at.next() == Check()
        at.machine.checked("10", at.now)
        assert isinstance(at.next(), Watch)


def test_an_event_that_is_older_than_the_one_before_is_not_taken() -> None:
    at = At().watched()
    assert at.heard("12")
    assert at.heard("12")
    assert not at.heard("11")
    at.failed(Trouble.DISORDER)
    assert at.next() == FIRST_PAGE


@pytest.mark.parametrize("trouble", [t for t in OTHERS if t is not Trouble.UNAUTHORIZED])
def test_failures_wait_longer_each_time_until_all_was_well_for_a_while(trouble: Trouble) -> None:
    at = At()
    waits = []
    for _ in range(7):
        at.failed(trouble)
        waits.append(at.patience())
        at.rested()
    assert waits == pytest.approx([0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0])
    at.watched(lived=PACE.healthy_after - 1)
    at.heard("11")
    at.failed(trouble)
    assert at.patience() == pytest.approx(30.0)
    at.rested()
    at.machine.checked("11", at.now)
    assert isinstance(at.next(), Watch)
    at.now += PACE.healthy_after + 1
    at.failed(trouble)
    assert at.patience() == pytest.approx(0.8)


def test_the_api_may_ask_for_more_patience_but_not_for_less() -> None:
    at = At()
    at.failed(Trouble.THROTTLED, retry_after=17.0)
    assert at.patience() == 17.0
    for _ in range(8):
        at.failed(Trouble.THROTTLED, retry_after=1.0)
        at.rested()
    at.failed(Trouble.THROTTLED, retry_after=1.0)
    assert at.patience() == pytest.approx(30.0)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_longer_than_twice_the_bound(attempts: int, random: float) -> None:
    assert 0.8 <= backoff(PACE, attempts, random) <= 60.0


@pytest.mark.parametrize(
    ("version", "than", "lower"),
    [
        ("9", "10", True),
        ("10", "9", False),
        ("10", "10", False),
        ("010", "10", False),
        ("", "10", False),
        ("a9", "a10", False),
        ("-1", "10", False),
        ("1" * 21, "2" * 22, False),
        ("٣", "10", False),
    ],
)
def test_only_numbers_are_lower(version: str, than: str, lower: bool) -> None:
    assert is_lower(version, than) is lower


class Server:
    """An API server of one kind, as far as versions, pages and history matter."""

    def __init__(self, numbers: bool) -> None:
        self.numbers = numbers
        self.version = 100
        self.forgotten = 0
        self.objects: dict[str, Item] = {}
        self.history: list[tuple[int, Item, bool]] = []
        self.pages: dict[str, tuple[str, list[Item]]] = {}
        self.made = 0
        self.backups: dict[int, dict[str, Item]] = {100: {}}

    def named(self, version: int) -> str:
        return str(version) if self.numbers else f"v{version}"

    def number(self, version: str) -> int:
        return int(version.removeprefix("v"))

    def put(self, name: str, value: str, *, anew: bool) -> None:
        before = self.objects.get(name)
        self.made += 1
        uid = before.uid if before is not None and not anew else f"u{self.made}"
        if before is not None and anew:
            self.delete(name)
        self.version += 1
        item = _item(name, value, uid)
        self.objects[name] = item
        self.history.append((self.version, item, True))
        self.backups[self.version] = dict(self.objects)

    def delete(self, name: str) -> None:
        self.version += 1
        self.history.append((self.version, self.objects.pop(name), False))
        self.backups[self.version] = dict(self.objects)

    def restore(self, version: int) -> None:
        self.version = self.forgotten = version
        self.objects = dict(self.backups[version])
        self.history.clear()
        self.pages.clear()

    def page(self, token: str, limit: int) -> tuple[str, str, list[Item]] | None:
        """Version, next token, items; None when the token is too old."""
        if token:
            if token not in self.pages:
                return None
            version, rest = self.pages[token]
        else:
            version, rest = self.named(self.version), list(self.objects.values())
        if limit and len(rest) > limit:
            self.pages[token := f"t{len(self.pages)}"] = (version, rest[limit:])
            return version, token, rest[:limit]
        return version, "", rest


def _item(name: str, value: str, uid: str) -> Item:
    read = Ingress(ObjectMeta(name, "n", uid=uid), IngressSpec(value))
    return Item(ObjectKey("Ingress", "n", name), uid, read, None)


NAMES = st.sampled_from("abcdefgh")
SMALL = Pace(page_size=2)


class Walk(RuleBasedStateMachine):
    """The machine and a mirror, driven against the server as the reflector does it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.random = 0.0
        self.lists = 0
        self.cursor: int | None = None
        """What the open watch has sent; None without one."""
        self.last: tuple[int, Item, bool] | None = None

    @initialize(numbers=st.booleans(), cheap=st.booleans())
    def begin(self, numbers: bool, cheap: bool) -> None:
        self.server = Server(numbers)
        self.machine = WatchMachine(SMALL, cheap_list=cheap)
        self.mirror = Mirror("", {}, lambda name: None)

    # What the server's users do.

    @rule(name=NAMES, value=st.sampled_from("xyz"), anew=st.booleans())
    def put(self, name: str, value: str, anew: bool) -> None:
        self.server.put(name, value, anew=anew)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if name in self.server.objects:
            self.server.delete(name)

    # What the reflector does.

    @rule(count=st.integers(1, 6), random=st.floats(0, 1, exclude_max=True))
    def go_on(self, count: int, random: float) -> None:
        self.random = random
        for _ in range(count):
            self.step()

    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # What goes wrong.

    @rule(
        trouble=st.sampled_from([Trouble.LOST, Trouble.AWAY, *OTHERS]),
        retry_after=st.sampled_from([0.0, 5.0]),
    )
    def fail(self, trouble: Trouble, retry_after: float) -> None:
        """The next thing that the machine does fails."""
        if self.cursor is None and isinstance(self.next(), Pause):
            return
        self.failed(trouble, retry_after)

    @rule()
    def fall_silent(self) -> None:
        if self.cursor is not None:
            self.now += SMALL.silence
            self.failed(Trouble.SILENT)

    @rule()
    def end(self) -> None:
        if self.cursor is not None:
            self.cursor = self.last = None
            self.machine.ended(self.now, self.random)

    @rule()
    def forget_history(self) -> None:
        self.server.forgotten = self.server.version

    @rule()
    def expire_tokens(self) -> None:
        self.server.pages.clear()

    @rule()
    def repeat(self) -> None:
        """The last event comes twice."""
        if self.cursor is not None and self.last is not None:
            self.event(*self.last)

    @precondition(lambda self: self.server.numbers)
    @rule(name=NAMES, is_gone=st.booleans())
    def turn_round(self, name: str, is_gone: bool) -> None:
        """Two events come in the wrong order."""
        while self.cursor is not None and self.cursor < self.server.version:
            self.step()
        if self.cursor is None:
            return
        self.server.put(name, "x", anew=False)
        self.server.put(name, "y", anew=False)
        if is_gone:
            self.server.delete(name)
        for event in self.server.history[: -3 - is_gone + 1 : -1]:
            if self.cursor is not None:
                self.event(*event)

    @precondition(lambda self: self.server.numbers)
    @rule(back=st.integers(1, 5))
    def restore(self, back: int) -> None:
        """As from a backup: all watches are cut, and the versions run backwards.

        Nobody writes before the next check: a version that was reached again is not told apart.
        """
        self.server.restore(max(self.server.version - back, 100))
        if self.cursor is not None:
            self.failed(Trouble.LOST)
        elif self.machine.listing:
            self.failed(Trouble.GONE)
        else:
            self.machine.doubt(self.now)
        self.settle()

    # The reflector.

    def next(self) -> Step:
        return self.machine.next(self.now, self.random)

    def step(self) -> None:
        if self.cursor is not None:
            event = next((event for event in self.server.history if event[0] > self.cursor), None)
            if event is not None:
                self.event(*event)
            return
        step = self.next()
        if isinstance(step, Pause):
            assert self.now < step.until <= self.now + 60.0
            self.now = step.until
        elif isinstance(step, ListPage):
            self.list(step)
        elif isinstance(step, Check):
            self.machine.checked(self.server.named(self.server.version), self.now)
        elif self.server.number(step.version) < self.server.forgotten:
            self.failed(Trouble.GONE)
        else:
            self.cursor = self.server.number(step.version)

    def list(self, step: ListPage) -> None:
        if not step.token:
            self.mirror.begin()
            self.lists += 1
        answer = self.server.page(step.token, step.limit)
        if answer is None:
            self.failed(Trouble.GONE)
            return
        version, token, items = answer
        for item in items:
            self.mirror.add(item)
        if not token:
            self.mirror.complete()
        assert self.machine.listed(version, token, self.now) == (not token)

    def event(self, version: int, item: Item, present: bool) -> None:
        if not self.machine.heard(self.server.named(version), self.now):
            self.failed(Trouble.DISORDER)
            return
        assert self.cursor is not None
        self.cursor = max(self.cursor, version)
        self.last = (version, item, present)
        if present:
            self.mirror.put(item)
        elif self.mirror.uid(item.key) not in ("", item.uid):
            self.failed(Trouble.DISORDER)
        else:
            self.mirror.remove(item.key)

    def failed(self, trouble: Trouble, retry_after: float = 0.0) -> None:
        self.cursor = self.last = None
        self.machine.failed(trouble, self.now, self.random, retry_after)

    def settle(self) -> None:
        """When nothing goes wrong any more, the mirror soon shows what the server has."""
        for _ in range(60 + len(self.server.history)):
            if self.cursor is not None and self.cursor >= self.server.version:
                break
            self.step()
        assert self.cursor == self.server.version
        objects = {item.key: item.read for item in self.server.objects.values()}
        assert self.mirror.objects == objects

    def teardown(self) -> None:
        if hasattr(self, "server"):
            self.settle()
            before = self.lists
            self.end()
            self.settle()
            assert self.lists == before, "a watch that ended needs no list"


def test_after_any_events_and_faults_the_mirror_shows_what_the_server_has() -> None:
    run_state_machine_as_test(
        Walk, settings=settings(max_examples=200, stateful_step_count=60, deadline=None)
    )
