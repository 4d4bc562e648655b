"""Which Events shall exist on which Ingresses, and what is to be written next. Time is an argument.

A diagnostic that an Ingress's owner must act on becomes an Event on that Ingress: one about the
Ingress itself, or about a Secret, a ConfigMap, a Service or its endpoints that it uses. Hints
become none, nor does what concerns an Ingress that is not ours: it may be another controller's.

* A diagnostic must last a moment before it is told (`SETTLE`): objects that are applied together
  arrive one after the other, and Pods need a while until they are ready.
* An Event is known by what it says: object, uid, reason and message make its name. So whoever leads
  next, or after a restart, finds it instead of writing another one.
* While the diagnostic lasts, the Event is refreshed, because the API server deletes Events after an
  hour (--event-ttl). One that comes back counts up, at most every five minutes.
* No namespace can keep the others waiting: they take turns, and each has a rate of its own.
* Everything is bounded; what had no room is looked at again a minute later.
"""

import hashlib
import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.status.pace import Bucket
from ingress_controller.store import Name
from ingress_controller.translate.diagnostics import SEVERITIES, Diagnostic, DiagnosticCode
from ingress_controller.translate.translator import Standing

SETTLE: Final = 1.0
"""Seconds that a diagnostic must last."""
SETTLE_LONGER: Final = {DiagnosticCode.SERVICE_WITHOUT_ENDPOINTS: 15.0}
"""Seconds for what is so for a while at every start of an application."""
REVIEW_SECONDS: Final = 60.0
"""Between two looks at a diagnostic about what others may use by now, or that had no room."""
QUIET_REVIEW_SECONDS: Final = 600.0
"""Between two looks at any other: it may be time to refresh its Events."""
AGAIN_SECONDS: Final = 300.0
"""Between two writes of an Event whose diagnostic comes and goes."""
REFRESH_SECONDS: Final = 1800.0
"""Between two writes of an Event whose diagnostic lasts: half of the API server's default."""
NAMESPACE_BURST: Final = 25.0
NAMESPACE_RATE: Final = 1.0
"""Events a second for one namespace, after a burst of 25 (client-go allows each object 25)."""
TOTAL_BURST: Final = 50.0
TOTAL_RATE: Final = 10.0
"""Events a second altogether."""
MAX_PER_INGRESS: Final = 20
"""Events on one Ingress at a time, errors first: nobody reads more, and the next ones appear when
these are repaired."""
MAX_ABOUT: Final = 10
"""Ingresses that hear of a diagnostic about one object that they share: the oldest."""
MAX_WAITING: Final = 200
"""Events of one namespace that wait for being written."""
MAX_WAITING_TOTAL: Final = 5_000
MAX_REMEMBERED: Final = 20_000
"""Written Events that are known, about 300 bytes each; one that is forgotten is found again by its
name."""
MAX_PLANNED: Final = 200
"""Diagnostics looked at in one go: about two milliseconds."""
MAX_MESSAGE: Final = 1024
"""Bytes; the API takes no longer ones (`events.k8s.io` note)."""
MAX_NAME: Final = 253


class Notice(NamedTuple):
    """One Event on one Ingress."""

    ingress: Name
    uid: str
    reason: str
    message: str
    event: str
    """Its name, in the Ingress's namespace."""


class Errand(NamedTuple):
    """An Event to be written."""

    notice: Notice
    times: int
    """How often it was seen, this time included; 1: it is new."""


def notice_of(diagnostic: Diagnostic, ingress: Name, uid: str) -> Notice:
    """The Event that tells an Ingress's owner of a diagnostic."""
    reason = "".join(part.capitalize() for part in diagnostic.code.value.split("-"))
    message = _message(diagnostic, ingress)
    said = "\0".join((uid, reason, message)).encode("utf-8", "replace")
    digest = hashlib.blake2b(said, digest_size=8).hexdigest()
    stem = ingress.name[: MAX_NAME - 1 - len(digest)].rstrip(".-")
    return Notice(ingress, uid, reason, message, f"{stem}.{digest}")


def _message(diagnostic: Diagnostic, ingress: Name) -> str:
    """What is wrong, what happens now, what to do; the first is cut if all are too long."""
    of_ingress = diagnostic.object == ObjectKey("Ingress", *ingress)
    where = "" if of_ingress else str(diagnostic.object)
    if diagnostic.field:
        where = f"{where}, {diagnostic.field}" if where else diagnostic.field
    what = f"{where}: {diagnostic.message}" if where else diagnostic.message
    rest = f". Consequence: {diagnostic.consequence}. Remedy: {diagnostic.remedy}."
    room = MAX_MESSAGE - len(rest.encode("utf-8", "replace"))
    return _cut(_cut(what, max(room, MAX_MESSAGE // 2)) + rest, MAX_MESSAGE)


def _cut(text: str, limit: int) -> str:
    """At most so many bytes of UTF-8."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"


class _Finding(msgspec.Struct):
    """A diagnostic that is so now."""

    due: float
    """When it is looked at next."""
    settled: float
    """Before that it is not told at all."""
    events: dict[Name, Name]
    """Its Events that were written or wait, by namespace and name, with their Ingresses."""
    dropped: bool = False
    """There was no room for one of its Events."""


class _Written(NamedTuple):
    """An Event that was written."""

    times: int
    at: float


class NoticeBoard:
    """What is wrong now, what was told, and what is to be told next."""

    def __init__(self, now: float) -> None:
        self.dropped = 0
        """Diagnostics for which there was no room; they are looked at again."""
        self._all: frozenset[Diagnostic] = frozenset()
        self._findings: dict[Diagnostic, _Finding] = {}
        self._of_ingress: dict[Name, set[Diagnostic]] = {}
        """Diagnostics about Ingresses themselves."""
        self._due: list[tuple[float, int, Diagnostic]] = []
        """A heap; entries whose time is not that of the finding are void."""
        self._sequence = itertools.count()
        self._shown: dict[Name, set[Name]] = {}
        """Ingress → its Events."""
        self._waiting: OrderedDict[str, OrderedDict[Name, Errand]] = OrderedDict()
        """By namespace, which take turns; in them by namespace and name of the Event."""
        self._waiting_total = 0
        self._written: OrderedDict[Name, _Written] = OrderedDict()
        self._muted: dict[str, float] = {}
        self._total = Bucket(rate=TOTAL_RATE, burst=TOTAL_BURST, now=now)
        self._buckets: dict[str, Bucket] = {}

    @property
    def waiting(self) -> int:
        """Events that are to be written."""
        return self._waiting_total

    def found(self, diagnostics: frozenset[Diagnostic], now: float) -> None:
        """These are all diagnostics there are now."""
        before, self._all = self._all, diagnostics
        for diagnostic in before - diagnostics:
            self._resolve(diagnostic)
        fresh = [one for one in diagnostics - before if one.severity != "hint"]
        for diagnostic in sorted(fresh, key=_errors_first):
            settled = now + SETTLE_LONGER.get(diagnostic.code, SETTLE)
            self._findings[diagnostic] = _Finding(settled, settled, {})
            self._push(settled, diagnostic)
            if diagnostic.object.kind == "Ingress":
                name = Name(diagnostic.object.namespace, diagnostic.object.name)
                self._of_ingress.setdefault(name, set()).add(diagnostic)

    def look_again(self, ingresses: Iterable[Name], now: float) -> None:
        """These Ingresses may be others than before: of another uid, or ours."""
        for name in ingresses:
            for diagnostic in self._of_ingress.get(name, ()):
                finding = self._findings[diagnostic]
                due = max(now, finding.settled)
                if due < finding.due:
                    finding.due = due
                    self._push(due, diagnostic)

    def plan(
        self,
        now: float,
        standing: Callable[[Name], Standing | None],
        ingresses_about: Callable[[ObjectKey], tuple[ObjectKey, ...]],
    ) -> None:
        """Finds out which Events are to be written for the diagnostics whose time has come."""
        for _ in range(MAX_PLANNED):
            if not self._due or self._due[0][0] > now:
                return
            due, _, diagnostic = heapq.heappop(self._due)
            finding = self._findings.get(diagnostic)
            if finding is None or finding.due != due:
                continue
            key = diagnostic.object
            about = (key,) if key.kind == "Ingress" else ingresses_about(key)[:MAX_ABOUT]
            names = [Name(*one[1:]) for one in about]
            told = self._tell(diagnostic, finding, names, standing, now)
            quiet = told and key.kind == "Ingress"
            finding.due = now + (QUIET_REVIEW_SECONDS if quiet else REVIEW_SECONDS)
            self._push(finding.due, diagnostic)

    def take(self, now: float) -> Errand | None:
        """What is to be written now; it waits no more."""
        if self._total.next_time(now) > now:
            return None
        for _ in range(len(self._waiting)):
            namespace, waiting = next(iter(self._waiting.items()))
            self._waiting.move_to_end(namespace)
            if self._muted.get(namespace, now) > now or not self._bucket(namespace, now).take(now):
                continue
            self._total.take(now)
            event, errand = waiting.popitem(last=False)
            self._removed(event.namespace)
            return errand
        return None

    def next_time(self, now: float) -> float | None:
        """When `plan` or `take` may have something to do; None: not before something changes."""
        times = [self._due[0][0]] if self._due else []
        if self._waiting:
            turns = [
                max(self._bucket(each, now).next_time(now), self._muted.get(each, now))
                for each in self._waiting
            ]
            times.append(max(min(turns), self._total.next_time(now)))
        return min(times, default=None)

    def written(self, errand: Errand, times: int, now: float) -> None:
        """The Event is there, with this count; or there is no use in trying it soon again."""
        event = Name(errand.notice.ingress.namespace, errand.notice.event)
        self._written[event] = _Written(times, now)
        self._written.move_to_end(event)
        if len(self._written) > MAX_REMEMBERED:
            self._written.popitem(last=False)

    def failed(self, errand: Errand) -> None:
        """It was not written, and is the next of its namespace if it is still wanted."""
        ingress = errand.notice.ingress
        event = Name(ingress.namespace, errand.notice.event)
        if event in self._shown.get(ingress, ()):
            waiting = self._waiting.setdefault(event.namespace, OrderedDict())
            self._waiting_total += event not in waiting
            waiting[event] = errand
            waiting.move_to_end(event, last=False)

    def mute(self, namespace: str, *, until: float, now: float) -> None:
        """Nothing can be written there; until then it is not tried."""
        self._muted = {each: time for each, time in self._muted.items() if time > now}
        self._muted[namespace] = until

    def _tell(
        self,
        diagnostic: Diagnostic,
        finding: _Finding,
        ingresses: list[Name],
        standing: Callable[[Name], Standing | None],
        now: float,
    ) -> bool:
        """Lets the Events of a diagnostic be written, where they are not there yet or are old;
        whether there was room for all of them."""
        events: dict[Name, Name] = {}
        complete = True
        for name in ingresses:
            known = standing(name)
            if known is None or known.owner != "ours" or not known.uid:
                continue
            notice = notice_of(diagnostic, name, known.uid)
            event = Name(name.namespace, notice.event)
            shown = self._shown.setdefault(name, set())
            room = len(shown) < MAX_PER_INGRESS and event not in shown
            if (room or event in finding.events) and self._want(notice, event, finding, now):
                events[event] = name
                shown.add(event)
            else:
                complete = False
            if not shown:
                del self._shown[name]
        for event, name in finding.events.items():
            if event not in events:
                self._withdraw(event, name)
        finding.events = events
        return complete

    def _want(self, notice: Notice, event: Name, finding: _Finding, now: float) -> bool:
        """Whether the Event is written, or waits for it."""
        waiting = self._waiting.get(event.namespace, ())
        if event in waiting:
            return True
        before, known = self._written.get(event), event in finding.events
        if before is not None and now < before.at + (REFRESH_SECONDS if known else AGAIN_SECONDS):
            return known
        if len(waiting) >= MAX_WAITING or self._waiting_total >= MAX_WAITING_TOTAL:
            self.dropped += not finding.dropped
            finding.dropped = True
            return known
        errand = Errand(notice, 1 if before is None else before.times + 1)
        self._waiting.setdefault(event.namespace, OrderedDict())[event] = errand
        self._waiting_total += 1
        return True

    def _resolve(self, diagnostic: Diagnostic) -> None:
        """A diagnostic is no more: nothing is written for it, and nothing is said of its end."""
        finding = self._findings.pop(diagnostic, None)
        if finding is None:
            return
        for event, name in finding.events.items():
            self._withdraw(event, name)
        if diagnostic.object.kind == "Ingress":
            name = Name(diagnostic.object.namespace, diagnostic.object.name)
            remaining = self._of_ingress[name]
            remaining.discard(diagnostic)
            if not remaining:
                del self._of_ingress[name]

    def _withdraw(self, event: Name, ingress: Name) -> None:
        """An Event is not wanted any more; one that was written stays where it is."""
        shown = self._shown.get(ingress, set())
        shown.discard(event)
        if not shown:
            self._shown.pop(ingress, None)
        waiting = self._waiting.get(event.namespace)
        if waiting is not None and waiting.pop(event, None) is not None:
            self._removed(event.namespace)

    def _removed(self, namespace: str) -> None:
        self._waiting_total -= 1
        if not self._waiting[namespace]:
            del self._waiting[namespace]

    def _push(self, due: float, diagnostic: Diagnostic) -> None:
        heapq.heappush(self._due, (due, next(self._sequence), diagnostic))
        if len(self._due) > 2 * len(self._findings) + 64:
            self._due = [
                (finding.due, next(self._sequence), each)
                for each, finding in self._findings.items()
            ]
            heapq.heapify(self._due)

    def _bucket(self, namespace: str, now: float) -> Bucket:
        bucket = self._buckets.get(namespace)
        if bucket is None:
            if len(self._buckets) >= 1000:
                full = [each for each, one in self._buckets.items() if one.is_full(now)]
                for each in full:
                    del self._buckets[each]
            bucket = Bucket(rate=NAMESPACE_RATE, burst=NAMESPACE_BURST, now=now)
            self._buckets[namespace] = bucket
        return bucket


def _errors_first(diagnostic: Diagnostic) -> tuple[int, ObjectKey, str, str]:
    """Cheaper than `diagnostics.order`, and only to be the same each time."""
    rank = SEVERITIES.index(diagnostic.severity)
    return (rank, diagnostic.object, diagnostic.field, diagnostic.message)
