"""Which Events are written, and when."""

import re
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.status.notices import (
    AGAIN_SECONDS,
    MAX_ABOUT,
    MAX_MESSAGE,
    MAX_PER_INGRESS,
    MAX_WAITING,
    NAMESPACE_BURST,
    QUIET_REVIEW_SECONDS,
    REFRESH_SECONDS,
    REVIEW_SECONDS,
    SETTLE,
    SETTLE_LONGER,
    TOTAL_BURST,
    TOTAL_RATE,
    Errand,
    NoticeBoard,
    notice_of,
)
from ingress_controller.store import Name
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode, Severity
from ingress_controller.translate.translator import Standing

SHOP = Name("a", "shop")
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def diagnostic(
    name: str = "shop",
    message: str = "there is no Service a/cart",
    *,
    namespace: str = "a",
    kind: str = "Ingress",
    code: DiagnosticCode = DiagnosticCode.SERVICE_MISSING,
    severity: Severity = "error",
    field: str = "spec.rules[0].http.paths[0].backend.service.name",
) -> Diagnostic:
    return Diagnostic(
        code=code,
        severity=severity,
        object=ObjectKey(kind, namespace, name),
        field=field,
        message=message,
        consequence="requests for the path get 503",
        remedy="create the Service, or correct the name",
    )


class Board:
    """A board, the cluster around it, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.board = NoticeBoard(self.now)
        self.standings: dict[Name, Standing | None] = {}
        self.users: dict[ObjectKey, tuple[ObjectKey, ...]] = {}

    def standing(self, name: Name) -> Standing | None:
        return self.standings.get(name, Standing("u1", "ours"))

    def found(self, *diagnostics: Diagnostic, after: float = 0.0) -> None:
        self.now += after
        self.board.found(frozenset(diagnostics), self.now)

    def take(self, after: float = 0.0) -> list[Errand]:
        """All that is to be written now; it is written."""
        self.now += after
        taken = []
        self._plan()
        while (errand := self.board.take(self.now)) is not None:
            taken.append(errand)
            self.board.written(errand, errand.times, self.now)
        return taken

    def take_all(self, seconds: float, step: float = 1.0) -> list[Errand]:
        end, taken = self.now + seconds, []
        while self.now < end:
            taken += self.take(step)
        return taken

    def _plan(self) -> None:
        for _ in range(50):
            self.board.plan(self.now, self.standing, lambda key: self.users.get(key, ()))


def ingresses(errands: Iterable[Errand]) -> list[Name]:
    return [errand.notice.ingress for errand in errands]


def test_an_event_says_what_is_wrong_what_follows_and_what_to_do() -> None:
    notice = notice_of(diagnostic(), SHOP, "u1")
    assert notice.reason == "ServiceMissing"
    assert notice.message == (
        "spec.rules[0].http.paths[0].backend.service.name: there is no Service a/cart. "
        "Consequence: requests for the path get 503. "
        "Remedy: create the Service, or correct the name."
    )
    assert re.fullmatch(r"shop\.[0-9a-f]{16}", notice.event)
    about_secret = notice_of(diagnostic("pair", kind="Secret", field="data[tls.crt]"), SHOP, "u1")
    assert about_secret.message.startswith("Secret a/pair, data[tls.crt]: there is no")
    without_field = notice_of(diagnostic("pair", kind="Secret", field=""), SHOP, "u1")
    assert without_field.message.startswith("Secret a/pair: there is no")
    assert notice_of(diagnostic(field=""), SHOP, "u1").message.startswith("there is no Service")


def test_an_event_is_known_by_what_it_says() -> None:
    first = notice_of(diagnostic(), SHOP, "u1")
    assert notice_of(diagnostic(), SHOP, "u1") == first
    others = [
        notice_of(diagnostic(), SHOP, "u2"),
        notice_of(diagnostic(message="another"), SHOP, "u1"),
        notice_of(diagnostic(code=DiagnosticCode.BACKEND_INVALID), SHOP, "u1"),
    ]
    assert len({first.event, *(other.event for other in others)}) == 4


@given(
    st.from_regex(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?", fullmatch=True).filter(
        lambda name: DNS_SUBDOMAIN.fullmatch(name)
    ),
    st.text(max_size=3000),
    st.text(max_size=3000),
)
def test_names_are_valid_and_messages_fit(name: str, message: str, field: str) -> None:
    notice = notice_of(diagnostic(name, message, field=field), Name("a", name), "u1")
    assert len(notice.event) <= 253
    assert DNS_SUBDOMAIN.fullmatch(notice.event)
    assert len(notice.message.encode()) <= MAX_MESSAGE
    assert notice.message.endswith("Remedy: create the Service, or correct the name.")


def test_every_code_has_a_reason_that_kubectl_can_show() -> None:
    for code in DiagnosticCode:
        reason = notice_of(diagnostic(code=code), SHOP, "u1").reason
        assert re.fullmatch(r"([A-Z][a-z]+)+", reason)


def test_a_diagnostic_is_told_once_it_has_lasted() -> None:
    it = Board()
    it.found(diagnostic())
    assert it.take() == []
    assert it.board.next_time(it.now) == it.now + SETTLE
    (errand,) = it.take(after=SETTLE)
    assert errand == Errand(notice_of(diagnostic(), SHOP, "u1"), 1)
    assert it.take_all(120) == []


def test_what_is_repaired_at_once_is_not_told() -> None:
    it = Board()
    it.found(diagnostic())
    it.found(after=SETTLE / 2)
    assert it.take_all(10) == []


def test_an_application_that_starts_is_given_time() -> None:
    code = DiagnosticCode.SERVICE_WITHOUT_ENDPOINTS
    it = Board()
    it.users[ObjectKey("Service", "a", "cart")] = (ObjectKey("Ingress", *SHOP),)
    it.found(diagnostic("cart", kind="Service", code=code, severity="warning"))
    assert it.take(after=SETTLE_LONGER[code] - 1) == []
    assert len(it.take(after=1)) == 1


def test_hints_and_resolved_diagnostics_make_no_event() -> None:
    it = Board()
    it.found(diagnostic(severity="hint"))
    assert it.take_all(10) == []
    it.found(diagnostic())
    assert len(it.take_all(10)) == 1
    it.found()
    assert it.take_all(REFRESH_SECONDS * 2, step=60) == []


def test_what_lasts_is_refreshed_before_the_event_is_deleted() -> None:
    it = Board()
    it.found(diagnostic())
    it.take(after=SETTLE)
    times, last = [], it.now
    for _ in range(1000):
        for errand in it.take(after=10):
            assert it.now - last < 3600 - 600, "the API server deletes it after an hour"
            times.append(errand.times)
            last = it.now
    assert times == [2, 3, 4, 5, 6]


def test_what_comes_and_goes_counts_up_every_five_minutes() -> None:
    it = Board()
    told = []
    for _ in range(60):
        it.found(diagnostic())
        told += it.take_all(10)
        it.found()
        told += it.take_all(10)
    assert [errand.times for errand in told] == [1, 2, 3, 4]
    assert 60 * 20 / AGAIN_SECONDS == 4


def test_what_comes_back_and_stays_is_counted_when_that_is_allowed() -> None:
    it = Board()
    it.found(diagnostic())
    it.take(after=SETTLE)
    it.found(after=1)
    it.found(diagnostic(), after=1)
    assert it.take_all(AGAIN_SECONDS - 10) == []
    assert [errand.times for errand in it.take_all(2 * REVIEW_SECONDS)] == [2]


def test_an_ingress_that_is_not_ours_hears_nothing() -> None:
    it = Board()
    for standing in (
        None,
        Standing("u1", "others"),
        Standing("u1", "nobody"),
        Standing("", "ours"),
    ):
        it.standings[SHOP] = standing
        it.found()
        it.found(diagnostic())
        assert it.take_all(10) == []


def test_another_life_of_an_ingress_hears_of_the_same_mistake() -> None:
    it = Board()
    it.found(diagnostic())
    it.take(after=SETTLE)
    it.standings[SHOP] = Standing("u2", "ours")
    assert it.take(after=1) == []
    it.board.look_again([SHOP, Name("a", "other")], it.now)
    (errand,) = it.take()
    assert (errand.notice.uid, errand.times) == ("u2", 1)


def test_a_look_again_does_not_come_before_the_diagnostic_has_lasted() -> None:
    it = Board()
    it.found(diagnostic())
    it.board.look_again([SHOP], it.now)
    assert it.take() == []


def test_what_waits_for_an_earlier_life_is_not_told_any_more() -> None:
    it = Board()
    it.found(diagnostic())
    it.now += SETTLE
    it._plan()
    it.standings[SHOP] = Standing("u2", "ours")
    it.board.look_again([SHOP], it.now)
    assert [errand.notice.uid for errand in it.take()] == ["u2"]


def test_many_looks_at_once_are_one() -> None:
    it = Board()
    it.found(diagnostic())
    it.take(after=SETTLE)
    it.take_all(100)
    for _ in range(10):
        it.board.look_again([SHOP], it.now)
        it.now += 0.01
    asked: list[Name] = []

    def standing(name: Name) -> Standing:
        asked.append(name)
        return Standing("u1", "ours")

    it.board.plan(it.now + QUIET_REVIEW_SECONDS - 1, standing, lambda key: ())
    assert asked == [SHOP]


def test_what_is_wrong_with_a_secret_is_told_to_those_who_use_it() -> None:
    it = Board()
    key = ObjectKey("Secret", "a", "pair")
    it.users[key] = tuple(ObjectKey("Ingress", "a", f"i{number:02}") for number in range(30))
    it.found(diagnostic("pair", kind="Secret"))
    told = it.take_all(30)
    assert ingresses(told) == [Name("a", f"i{number:02}") for number in range(MAX_ABOUT)]
    it.users[key] = (ObjectKey("Ingress", "a", "new"),)
    assert ingresses(it.take_all(REVIEW_SECONDS + 1)) == [Name("a", "new")]


@pytest.mark.parametrize("kind", ["File", "Folder", "IngressClass", "Secret"])
def test_what_no_ingress_uses_is_told_nobody(kind: str) -> None:
    it = Board()
    it.found(diagnostic("x", kind=kind))
    assert it.take_all(10) == []


def test_one_ingress_with_many_mistakes_hears_of_some_errors_first() -> None:
    it = Board()
    many = [diagnostic(message=f"warning {n}", severity="warning") for n in range(500)]
    errors = [diagnostic(message=f"error {n}") for n in range(5)]
    it.found(*many, *errors)
    told = it.take_all(60)
    assert len(told) == MAX_PER_INGRESS
    assert all("error" in errand.notice.message for errand in told[:5])
    it.found(*many)
    more = it.take_all(2 * REVIEW_SECONDS)
    assert len(more) == 5, "the next ones, now that there is room"


def test_a_tenant_with_thousands_of_mistakes_does_not_keep_others_waiting() -> None:
    it = Board()
    noise = [diagnostic(f"i{number}", namespace="noisy") for number in range(3000)]
    it.found(*noise)
    it.take(after=SETTLE)
    other = diagnostic("shop", namespace="quiet")
    it.found(*noise, other, after=1)
    told = it.take(after=SETTLE)
    assert Name("quiet", "shop") in ingresses(told)
    told = it.take_all(100)
    assert 95 <= len(told) <= 105, "one a second"
    assert it.board.waiting <= MAX_WAITING
    assert 2000 <= it.board.dropped <= 3000, "each counts once"
    told_names = set(ingresses(it.take_all(3000, step=20)))
    assert len(told_names) > 1500, "dropped ones get their turn"


def test_many_tenants_together_are_bounded_and_take_turns() -> None:
    it = Board()
    found = [
        diagnostic(f"i{number}", namespace=f"n{tenant:02}")
        for tenant in range(40)
        for number in range(50)
    ]
    it.found(*found)
    first = it.take(after=SETTLE)
    assert len(first) == TOTAL_BURST
    assert len({name.namespace for name in ingresses(first)}) == 40
    assert len(it.take_all(20)) <= 20 * TOTAL_RATE + 1
    assert NAMESPACE_BURST < TOTAL_BURST


def test_what_failed_is_the_next_if_it_is_still_wanted() -> None:
    it = Board()
    first, second = diagnostic("one"), diagnostic("two")
    it.found(first, second)
    it.now += SETTLE
    it._plan()
    errand = it.board.take(it.now)
    assert errand is not None
    it.board.failed(errand)
    assert it.board.waiting == 2
    assert ingresses(it.take()) == [Name("a", "one"), Name("a", "two")]
    it.found(second, diagnostic("three"))
    it.now += SETTLE
    it._plan()
    errand = it.board.take(it.now)
    assert errand is not None
    it.found(second)
    it.board.failed(errand)
    assert it.board.waiting == 0
    assert it.board.take(it.now) is None


def test_what_is_resolved_while_it_waits_is_not_written() -> None:
    it = Board()
    many = [diagnostic(f"i{number:03}") for number in range(100)]
    it.found(*many)
    assert len(it.take(after=SETTLE)) == NAMESPACE_BURST
    it.found()
    assert it.board.waiting == 0
    assert it.take_all(10) == []


def test_a_namespace_in_which_nothing_can_be_written_waits_and_the_others_do_not() -> None:
    it = Board()
    it.board.mute("closed", until=it.now + 600, now=it.now)
    it.found(diagnostic(namespace="closed"), diagnostic(namespace="open"))
    assert ingresses(it.take_all(100)) == [Name("open", "shop")]
    next_time = it.board.next_time(it.now)
    assert next_time is not None
    assert next_time > it.now
    assert ingresses(it.take_all(600)) == [Name("closed", "shop")]


def test_nothing_is_kept_of_what_is_no_more() -> None:
    it = Board()
    board = it.board
    for round_ in range(20):
        it.found(*[diagnostic(f"i{number}", f"m{round_}") for number in range(50)])
        it.take_all(5)
        assert len(board._due) <= 2 * 50 + 65
    it.found()
    it.take_all(QUIET_REVIEW_SECONDS + 1)
    assert not board._findings
    assert not board._of_ingress
    assert not board._shown
    assert not board._waiting
    assert not board._due
    assert board.waiting == 0


@given(
    st.lists(
        st.tuples(
            st.sets(st.integers(0, 11)),
            st.sampled_from([0.3, 1.0, 30.0, 400.0]),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_whatever_comes_and_goes_what_lasts_is_told(
    steps: list[tuple[set[int], float, bool]],
) -> None:
    it = Board()
    possible = [
        diagnostic(f"i{number % 3}", f"m{number}", namespace="ab"[number % 2])
        for number in range(12)
    ]
    current: set[int] = set()
    for current, seconds, fails in steps:
        it.found(*[possible[number] for number in current])
        it.now += seconds
        it._plan()
        errand = it.board.take(it.now)
        if errand is not None and fails:
            it.board.failed(errand)
        elif errand is not None:
            it.board.written(errand, errand.times, it.now)
        assert it.board.waiting == sum(map(len, it.board._waiting.values()))
    it.take_all(AGAIN_SECONDS + 2 * REVIEW_SECONDS, step=5)
    assert it.board.waiting == 0
    wanted = {
        notice_of(possible[number], Name(*possible[number].object[1:]), "u1").event
        for number in current
    }
    assert wanted == {event.name for events in it.board._shown.values() for event in events}
    assert wanted <= {event.name for event in it.board._written}
