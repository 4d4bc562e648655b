"""Keeps a `Mirror` of one kind in step with the API: does what a `WatchMachine` says.

Decodes and hands over in pieces, so that the event loop never waits long for a list.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from ingress_controller.logs import Log
from ingress_controller.objects.stream import ObjectReader, Page, StreamError
from ingress_controller.sources.errors import (
    ApiError,
    GoneError,
    MalformedAnswerError,
    ThrottledError,
    UnauthorizedError,
    error_of,
    read_status,
)
from ingress_controller.sources.mirror import Mirror
from ingress_controller.sources.reach import Reach
from ingress_controller.sources.requests import Requests
from ingress_controller.sources.target import Target
from ingress_controller.sources.watch_machine import (
    Check,
    ListPage,
    Pace,
    Pause,
    Trouble,
    Watch,
    WatchMachine,
)
from ingress_controller.store import ObjectChange

PIECE = 500
"""Changes handed over at once."""
SLICE_SECONDS = 0.004
"""After so long the event loop gets its turn."""
GLANCE = 16
"""Objects between two looks at the clock."""
MAX_PAGES = 4_000
"""Two million objects; a list that goes on is no list."""
TOO_LARGE = "ResourceVersionTooLarge"
"""Reason in the API's answer to a version that it does not know yet (504)."""
SILENT_SHARE = 0.95
"""Of the longest silence: what fails after so much of it failed because of it."""
REPORT_AFTER = 3
"""Failures in a row after which they are reported; refusals are reported at once."""


class Api(Requests, Protocol):
    """What a reflector needs of `kube_api.KubeApi`."""

    @property
    def server(self) -> str: ...

    @property
    def entry(self) -> tuple[str, int]: ...

    def stream(
        self, path: str, *, query: Mapping[str, str], silence: float
    ) -> AsyncGenerator[bytes, None]: ...


class Sink(Protocol):
    """Whom a reflector tells."""

    def changed(self, reflector: "Reflector", changes: Sequence[ObjectChange]) -> None:
        """Objects are different."""

    def answered(self, reflector: "Reflector") -> None:
        """For the first time, it is known which objects there are."""

    def reported(self, reflector: "Reflector") -> None:
        """`Reflector.problem` or what cannot be read is different."""


class Reflector:
    """One kind, of all namespaces or of one, or a single object."""

    def __init__(
        self,
        api: Api,
        reach: Reach,
        target: Target,
        mirror: Mirror,
        sink: Sink,
        log: Log,
        pace: Pace,
        *,
        lenient: bool = False,
    ) -> None:
        """``lenient``: a refusal counts as an answer, that there is nothing; of one object alone
        also an error that the API repeats."""
        self.target = target
        self.mirror = mirror
        self.answered = False
        """What there is has been handed over."""
        self.problem: ApiError | None = None
        """Why it cannot be read now, when that does not pass by itself."""
        self.lists = 0
        """Lists that were begun."""
        self.watches = 0
        """Watches that were opened."""
        self.errors = 0
        self.last_error = ""
        self.heard_at = time.monotonic()
        """When the API last said something about this kind."""
        self._api = api
        self._reach = reach
        self._sink = sink
        self._log = log
        self._pace = pace
        self._lenient = lenient
        self._reader = ObjectReader(target.kind)
        self._machine = WatchMachine(pace, cheap_list=bool(target.name))
        self._failures = 0
        """In a row."""
        self._watch_failed = False
        """The last of them was a watch's own."""
        self._my_turn = False
        """The next request is the one by which all find out whether the API is back."""
        self._pages = 0
        self._turn_began = 0.0

    async def run(self) -> None:
        """Reads and watches until it is cancelled; nothing that the API answers ends it."""
        try:
            while True:
                try:
                    try:
                        await self._step()
                    except ApiError as error:
                        self._failed(error)
                    except StreamError as error:
                        self._failed(MalformedAnswerError(f"{self.target}: {error}"))
                except _DisorderError:
                    self._log.warning(
                        "a watch is out of order; everything is listed anew", kind=self.target
                    )
                    self._count("the watch is out of order")
                    self._machine.failed(Trouble.DISORDER, time.monotonic(), _random())
                except Exception as error:
                    self._log.defect(f"reading {self.target} failed; it is listed anew", error)
                    self._count(f"a defect: {error!r}")
                    self._machine.failed(Trouble.DISORDER, time.monotonic(), _random())
        finally:
            if self._my_turn:
                self._reach.abandoned()

    async def _step(self) -> None:
        now = time.monotonic()
        step = self._machine.next(now, _random())
        if isinstance(step, Pause):
            await asyncio.sleep(step.until - now)
            return
        if self._reach.away and not self._my_turn:
            self._my_turn = await self._reach.turn(newcomer=self._failures == 0)
            self._machine.doubt(time.monotonic())
            return
        if isinstance(step, ListPage):
            await self._list(step)
        elif isinstance(step, Check):
            await self._check()
        else:
            await self._watch(step)

    async def _ask(self, query: dict[str, str], patience: float) -> bytes:
        """The answer to a list; that there was one is told to the others."""
        async with self._reach.requests:
            body = await self._api.request(
                "GET",
                self.target.path,
                query=self.target.query | query,
                timeout=patience,
            )
        self._reach.answered()
        self._my_turn = False
        self.heard_at = time.monotonic()
        return body

    async def _list(self, step: ListPage) -> None:
        if not step.token:
            self.mirror.begin()
            self.lists += 1
            self._pages = 0
            if self.lists > 1:
                self._log.info("it is listed anew", kind=self.target, why=self.last_error)
        query = {"limit": str(step.limit)} if step.limit else {}
        if step.token:
            query["continue"] = step.token
        body = await self._ask(query, self._pace.page_timeout)
        async with self._reach.decoding:
            page = await self._page(body)
            if page.token and (page.token == step.token or self._pages >= MAX_PAGES):
                raise StreamError("the list does not end")
            if not page.token:
                await self._complete()
        if self._machine.listed(page.version, page.token, time.monotonic()):
            self._well(watched=False)
            self._answer()

    async def _page(self, body: bytes) -> Page:
        self._turn_began = time.perf_counter()
        page = self._reader.page(body)
        self._pages += 1
        for number, raw in enumerate(page.items):
            if number % GLANCE == 0:
                await self._breathe()
            item = self._reader.item(raw)
            if not item.key.name:
                # Whose last good version should stay? Without it, all would seem to be deleted.
                raise StreamError("the list holds something that has no name")
            self.mirror.add(item)
        return page

    async def _complete(self) -> None:
        """The list is whole: hands over what is different."""
        unreadable = self.mirror.unreadable
        changes = self.mirror.complete()
        for start in range(0, len(changes), PIECE):
            await self._breathe()
            self._sink.changed(self, changes[start : start + PIECE])
        if self.mirror.unreadable != unreadable:
            self._sink.reported(self)

    async def _check(self) -> None:
        page = self._reader.page(await self._ask({"limit": "1"}, self._pace.check_timeout))
        if not self._machine.checked(page.version, time.monotonic()):
            self._log.warning(
                "the API's versions went backwards, as after a restore; everything is listed anew",
                kind=self.target,
            )
        self._well(watched=False)

    async def _watch(self, step: Watch) -> None:
        query = {
            "watch": "true",
            "resourceVersion": step.version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(step.timeout),
        }
        self.watches += 1
        self.heard_at = time.monotonic()
        lines = self._api.stream(
            self.target.path, query=self.target.query | query, silence=self._pace.silence
        )
        self._turn_began = time.perf_counter()
        async with contextlib.aclosing(lines):
            async for line in lines:
                self._event(line)
                await self._breathe()
        now = time.monotonic()
        if self._failures and self._machine.established(now):
            self._well(watched=True)
        self._machine.ended(now, _random())

    def _event(self, line: bytes) -> None:
        event = self._reader.event(line)
        if event.type == "ERROR":
            status = read_status(bytes(event.object))
            raise error_of(f"watch of {self.target}", status.code or 500, status)
        now = self.heard_at = time.monotonic()
        if not self._machine.heard(event.version, now):
            raise _DisorderError
        if self._failures:
            self._well(watched=True)
        if event.type == "BOOKMARK":
            return
        key, unreadable = event.key, self.mirror.unreadable
        before = unreadable.get(key)
        if event.type == "DELETED":
            held = self.mirror.uid(key)
            if held and event.uid and held != event.uid:
                raise _DisorderError  # it was deleted before the one that we hold was made
            change = self.mirror.remove(key)
        else:
            change = self.mirror.put(self._reader.item(event.object))
        if change is not None:
            self._sink.changed(self, (change,))
        if unreadable.get(key) != before:
            self._sink.reported(self)

    async def _breathe(self) -> None:
        if time.perf_counter() - self._turn_began > SLICE_SECONDS:
            await asyncio.sleep(0)
            self._turn_began = time.perf_counter()

    def _answer(self) -> None:
        if not self.answered:
            self.answered = True
            self._sink.answered(self)

    def _well(self, *, watched: bool) -> None:
        """The API answers about this kind; ``watched``: a watch did. That a list works says
        nothing about watches, which may be refused where lists are not."""
        if self._watch_failed and not watched:
            return
        self._failures = 0
        self._watch_failed = False
        self.last_error = ""
        if self.problem is not None:
            self.problem = None
            self._log.info("it can be read again", kind=self.target)
            self._sink.reported(self)

    def _count(self, error: str, *, of_watch: bool = False) -> None:
        self.errors += 1
        self._failures += 1
        self._watch_failed = of_watch
        self.last_error = error

    def _failed(self, error: ApiError) -> None:
        now = time.monotonic()
        trouble = _trouble(error)
        lost = trouble is Trouble.LOST and self._machine.established(now)
        if lost and now - self.heard_at >= SILENT_SHARE * self._pace.silence:
            self._log.debug("a watch was silent; it is opened anew", kind=self.target)
            self._well(watched=True)
            self._machine.failed(Trouble.SILENT, now, _random())
            return
        retry_after = error.retry_after or 0.0
        if trouble not in (Trouble.LOST, Trouble.AWAY) and error.status is not None:
            self._reach.answered()
        elif trouble is not Trouble.MALFORMED or self._my_turn:
            self._reach.failed(str(error), retry_after=retry_after, lost=lost, tried=self._my_turn)
        self._my_turn = False
        is_healed_by_list = trouble in (Trouble.LOST, Trouble.GONE)
        self._count(str(error), of_watch=self._machine.watching and not is_healed_by_list)
        self._machine.failed(trouble, now, _random(), retry_after)
        refused = trouble in (Trouble.UNAUTHORIZED, Trouble.REFUSED)
        # That nothing answers is the same for all kinds, and reported once.
        repeated = self._failures >= REPORT_AFTER and trouble is not Trouble.LOST
        known = self.problem
        if refused or repeated:
            self.problem = error
        alone = bool(self.target.name) and error.status is not None
        if self._lenient and (refused or (repeated and alone)):
            self._answer()
        if str(self.problem) != str(known):
            self._log.warning("it cannot be read", kind=self.target, why=error)
            self._sink.reported(self)


class _DisorderError(Exception):
    """An event is older than one before it."""


def _random() -> float:
    return random.random()  # noqa: S311  # jitter


def _trouble(error: ApiError) -> Trouble:
    if isinstance(error, GoneError) or TOO_LARGE in error.reasons:
        return Trouble.GONE
    if isinstance(error, MalformedAnswerError):
        return Trouble.MALFORMED
    if error.status is None:
        return Trouble.LOST
    if error.status >= 500:
        return Trouble.AWAY
    if isinstance(error, UnauthorizedError):
        return Trouble.UNAUTHORIZED
    return Trouble.THROTTLED if isinstance(error, ThrottledError) else Trouble.REFUSED
