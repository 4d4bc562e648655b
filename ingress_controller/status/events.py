"""Writes Events (core/v1) on Ingresses, one at a time, while we lead.

`NoticeBoard` says which. Nobody waits for an Event, and one that cannot be written is a lesser
trouble than a control loop that is busy with it: so there is one request at a time, and a missing
Role is said once.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from ingress_controller.leader.elector import Leadership
from ingress_controller.logs import Log
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.sources.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from ingress_controller.sources.requests import Requests
from ingress_controller.status.notices import Errand, NoticeBoard
from ingress_controller.status.pace import Backoff
from ingress_controller.store import Name
from ingress_controller.translate.diagnostics import Diagnostic
from ingress_controller.translate.translator import Standing
from ingress_controller.waiting import within

COMPONENT: Final = "python-ingress-controller"
REQUEST_SECONDS: Final = 5.0
FORBIDDEN_SECONDS: Final = 600.0
"""Between two attempts in a namespace in which a Role is missing."""
LONGEST_PAUSE: Final = 60.0
MAX_INSTANCE: Final = 128
"""Characters of reportingInstance that the API takes."""


class EventCounts(msgspec.Struct, frozen=True, kw_only=True):
    """For metrics."""

    written: int
    failed: int
    dropped: int
    """Diagnostics for which there was no room; they are told later."""
    pending: int


class _Event(msgspec.Struct, frozen=True):
    """What is read of an Event that the API answers."""

    count: int | None = None


class EventWriter:
    """Tells the owners of Ingresses what is wrong.

    Args:
        instance: the pod's name.
        standing: whose an Ingress is, and its uid; see `Translator.standing`.
        ingresses_about: see `Translator.ingresses_about`.
    """

    def __init__(
        self,
        api: Requests,
        leadership: Leadership,
        log: Log,
        *,
        instance: str,
        standing: Callable[[Name], Standing | None],
        ingresses_about: Callable[[ObjectKey], tuple[ObjectKey, ...]],
    ) -> None:
        self._api = api
        self._leadership = leadership
        self._log = log
        self._instance = instance[:MAX_INSTANCE]
        self._standing = standing
        self._ingresses_about = ingresses_about
        self._found: frozenset[Diagnostic] = frozenset()
        self._board: NoticeBoard | None = None
        """None while we do not lead."""
        self._backoff = Backoff(LONGEST_PAUSE)
        self._wake = asyncio.Event()
        self._written = self._failed = self._dropped = 0
        self._said: set[str] = set()
        leadership.subscribe(self._leading)

    @property
    def counts(self) -> EventCounts:
        """For metrics."""
        board = self._board
        return EventCounts(
            written=self._written,
            failed=self._failed,
            dropped=self._dropped + (0 if board is None else board.dropped),
            pending=0 if board is None else board.waiting,
        )

    def found(self, diagnostics: frozenset[Diagnostic]) -> None:
        """These are all diagnostics there are now."""
        self._found = diagnostics
        if self._board is not None:
            self._board.found(diagnostics, time.monotonic())
            self._wake.set()

    def confirm(self, ingresses: Iterable[Name]) -> None:
        """These Ingresses may be others than before: made anew, or ours."""
        if self._board is not None:
            self._board.look_again(ingresses, time.monotonic())
            self._wake.set()

    async def run(self) -> None:
        """Writes until it is cancelled."""
        while True:
            self._wake.clear()
            wait = await self._step()
            if wait is None or wait > 0:
                await within(self._wake.wait(), wait)
            else:
                await asyncio.sleep(0)

    def _leading(self, leading: bool) -> None:
        if self._board is not None:
            self._dropped += self._board.dropped
            self._board = None
        if leading:
            now = time.monotonic()
            self._backoff.succeeded()
            self._board = NoticeBoard(now)
            self._board.found(self._found, now)
        self._wake.set()

    async def _step(self) -> float | None:
        """Writes one Event, if one is due; seconds until there may be one, None: unknown."""
        board, now = self._board, time.monotonic()
        if board is None or not self._leadership.leading:
            return None
        if now < self._backoff.until:
            return self._backoff.until - now
        board.plan(now, self._standing, self._ingresses_about)
        errand = board.take(now)
        if errand is None:
            at = board.next_time(now)
            return None if at is None else max(0.01, at - now)
        try:
            times = await self._write(errand)
        except ForbiddenError as error:
            self._forbidden(board, errand, error)
        except (NotFoundError, InvalidError) as error:
            # The namespace is going, or the API server wants Events otherwise than we know.
            self._failed += 1
            self._say_once("refused", f"an Event is refused: {error}")
            board.written(errand, errand.times, time.monotonic())
        except ApiError as error:
            self._failed += 1
            self._backoff.failed(
                started=now,
                now=time.monotonic(),
                chance=random.random(),  # noqa: S311 # it spreads requests, no secret
                least=error.retry_after or 0.0,
            )
            board.failed(errand)
        except Exception as error:
            self._failed += 1
            self._log.defect("writing an Event failed", error)
            board.written(errand, errand.times, time.monotonic())
        else:
            self._written += 1
            self._backoff.succeeded()
            board.written(errand, times, time.monotonic())
        return 0.0

    async def _write(self, errand: Errand) -> int:
        """How often the Event was seen, as the API has it now."""
        if errand.times > 1:
            try:
                return await self._patch(errand, {"count": errand.times})
            except NotFoundError:
                pass  # it was too old, and the API server has deleted it
        try:
            return await self._create(errand)
        except ConflictError:
            return await self._patch(errand, {})  # of a leader before us

    async def _create(self, errand: Errand) -> int:
        now = _now()
        notice, namespace = errand.notice, errand.notice.ingress.namespace
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": namespace, "name": notice.event},
            "involvedObject": {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "namespace": namespace,
                "name": notice.ingress.name,
                "uid": notice.uid,
            },
            "type": "Warning",
            "reason": notice.reason,
            "message": notice.message,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": errand.times,
        }
        await self._api.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/events",
            body=msgspec.json.encode(event),
            timeout=REQUEST_SECONDS,
        )
        return errand.times

    async def _patch(self, errand: Errand, fields: dict[str, object]) -> int:
        notice = errand.notice
        body = await self._api.request(
            "PATCH",
            f"/api/v1/namespaces/{notice.ingress.namespace}/events/{notice.event}",
            body=msgspec.json.encode(fields | {"lastTimestamp": _now()}),
            content_type="application/merge-patch+json",
            timeout=REQUEST_SECONDS,
        )
        return msgspec.json.decode(body, type=_Event).count or errand.times

    def _forbidden(self, board: NoticeBoard, errand: Errand, error: ApiError) -> None:
        now = time.monotonic()
        self._failed += 1
        board.failed(errand)
        namespace = errand.notice.ingress.namespace
        board.mute(namespace, until=now + FORBIDDEN_SECONDS, now=now)
        self._say_once(
            "forbidden",
            f"Events cannot be written: {error}; allow create and patch on events to our "
            "ServiceAccount, or start with --no-events",
        )

    def _say_once(self, what: str, message: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._log.warning(message)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
