"""Writes the status of Ingresses, by PATCH, while we lead.

Whatever happens, a wish is kept: what cannot be written now is tried again, slower and slower, one
request at a time while everything fails. Ingresses are written in the order in which the need
arose, `MAX_AT_ONCE` at once and `WRITES_PER_SECOND` at most, so that neither the API server nor the
control loop, which shares this thread, notices thousands of them.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from ingress_controller.leader.elector import Leadership
from ingress_controller.logs import Log
from ingress_controller.objects.ingress import IngressStatus
from ingress_controller.sources.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from ingress_controller.sources.requests import Requests
from ingress_controller.status.addresses import Addresses, entries
from ingress_controller.status.agenda import Agenda
from ingress_controller.status.pace import Backoff, Bucket
from ingress_controller.status.wanted import ECHO_SECONDS, Later, Wanted, Wish
from ingress_controller.store import Name
from ingress_controller.translate.translator import Standing
from ingress_controller.waiting import within

MAX_AT_ONCE: Final = 8
WRITES_PER_SECOND: Final = 100.0
"""Each costs this process about half a millisecond, and the API server one write of etcd and an
event for everybody who watches Ingresses."""
REQUEST_SECONDS: Final = 5.0
"""For one write. With the Lease's deadline of 10 s, the last one ends when others may lead."""
LONGEST_PAUSE: Final = 60.0
"""Between two attempts while nothing can be written."""
FORBIDDEN_SECONDS: Final = 60.0
"""Between two attempts in a namespace in which a Role is missing."""
REFUSED_SECONDS: Final = 300.0
"""Between two attempts at an Ingress whose status the API server refuses."""
MOVED_SECONDS: Final = 5.0
"""The Ingress is gone or another one; the source will soon say so, else it is tried again."""
CLEAR_SECONDS: Final = 10.0
MAX_LOOKS: Final = 500
"""Ingresses looked at before others get their turn: about a millisecond."""
MAX_NAMED: Final = 10
"""Contested Ingresses that the log names."""


class StatusCounts(msgspec.Struct, frozen=True, kw_only=True):
    """For metrics."""

    written: int
    failed: int
    pending: int
    """Ingresses that wait for being written, or for being looked at."""
    contested: int
    """Ingresses whose status somebody else writes, too."""


class StatusWriter:
    """Keeps the status of all Ingresses of ours as it shall be, while we lead.

    Args:
        statuses: what the API has, kept up to date by the source, which calls `seen`.
    """

    def __init__(
        self,
        api: Requests,
        statuses: Mapping[Name, IngressStatus],
        leadership: Leadership,
        log: Log,
    ) -> None:
        self._api = api
        self._statuses = statuses
        self._leadership = leadership
        self._log = log
        self._wanted = Wanted()
        self._agenda = Agenda()
        self._wake = asyncio.Event()
        self._under_way: dict[Name, asyncio.Task[None]] = {}
        self._again: set[Name] = set()
        """To be looked at once more when its write has ended."""
        self._bucket = Bucket(
            rate=WRITES_PER_SECOND, burst=WRITES_PER_SECOND / 4, now=time.monotonic()
        )
        self._backoff = Backoff(LONGEST_PAUSE)
        self._muted: dict[str, float] = {}
        """Namespaces in which we may not write, and until when that is believed."""
        self._clearing: asyncio.Event | None = None
        """Set when everything has been removed."""
        self._written = self._failed = 0
        self._complaints: set[str] = set()
        self._named = 0
        leadership.subscribe(self._leading)

    @property
    def counts(self) -> StatusCounts:
        """For metrics."""
        return StatusCounts(
            written=self._written,
            failed=self._failed,
            pending=len(self._agenda) + len(self._under_way),
            contested=self._wanted.contested(time.monotonic()),
        )

    def publish(self, addresses: Addresses) -> None:
        """These addresses are published now; none: it is not known which."""
        if addresses == self._wanted.addresses:
            return
        self._wanted.addresses = addresses
        if addresses:
            self._look_at(list(self._wanted.names))

    def confirm(self, standings: Mapping[Name, Standing | None]) -> None:
        """Every worker serves a version in which this was the standing of these Ingresses; None: it
        was not there. Never to be told before, or a client meets a 404 at a published address."""
        now = time.monotonic()
        for name, standing in standings.items():
            self._wanted.confirm(name, standing, now)
        self._look_at(standings)

    def seen(self, name: Name) -> None:
        """What the API has of this Ingress is different."""
        self._look_at((name,))

    async def run(self) -> None:
        """Writes until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                wait = self._begin(group.create_task)
                if self._clearing is not None and not self._agenda and not self._under_way:
                    self._clearing.set()
                await within(self._wake.wait(), None if wait is None else max(0.001, wait))

    async def clear(self, seconds: float = CLEAR_SECONDS) -> None:
        """Removes what we wrote, as far as that is possible in so many seconds; only if we lead,
        and while `run` runs. Nothing is written after."""
        if not self._leadership.leading:
            return
        self._clearing = asyncio.Event()
        self._wanted.clear()
        self._look_at(list(self._wanted.names))
        self._wake.set()
        if not await within(self._clearing.wait(), seconds):
            left = len(self._agenda) + len(self._under_way)
            self._log.warning(
                f"the status of {left} Ingresses could not be removed within {seconds:g} s; "
                "it stays until another controller writes it"
            )

    # -- what is to be done

    def _leading(self, leading: bool) -> None:
        """Begins with everything that may have changed, or stops at once."""
        if leading:
            self._backoff.succeeded()
            self._muted.clear()
            self._look_at(list(self._wanted.names))
            return
        self._agenda.clear()
        self._again.clear()
        for task in self._under_way.values():
            task.cancel()
        self._wake.set()

    def _look_at(self, names: Iterable[Name]) -> None:
        if not self._leadership.leading:
            # What others write while it is right tells us what is ours, should we lead later.
            now = time.monotonic()
            for name in names:
                self._wanted.look(name, self._statuses.get(name), now)
            return
        for name in names:
            if name in self._under_way:
                self._again.add(name)
            else:
                self._agenda.add(name)
        self._wake.set()

    def _begin(self, start: Callable[..., asyncio.Task[None]]) -> float | None:
        """Starts the writes that may start now; seconds until there may be more, if known."""
        now = time.monotonic()
        for _ in range(MAX_LOOKS):
            if not self._leadership.leading:
                return None
            if len(self._under_way) >= (1 if self._backoff.failing else MAX_AT_ONCE):
                return None  # the end of one of them wakes us
            free = self._free_at(now)
            if free > now:
                return free - now if self._agenda else self._next(now)
            name = self._agenda.take(now)
            if name is None:
                return self._next(now)
            wish = self._wanted.look(name, self._statuses.get(name), now)
            if isinstance(wish, Later):
                self._agenda.put_off(name, wish.at)
            elif wish is not None:
                muted = self._muted.get(name.namespace, -math.inf)
                if muted > now:
                    self._agenda.put_off(name, muted)
                    continue
                self._bucket.take(now)
                self._start(start, name, wish)
        return 0.0

    def _start(self, start: Callable[..., asyncio.Task[None]], name: Name, wish: Wish) -> None:
        task = self._under_way[name] = start(self._write(name, wish), name="write a status")
        task.add_done_callback(lambda _: self._ended(name))

    def _next(self, now: float) -> float | None:
        at = self._agenda.next_time(now)
        return None if at is None else at - now

    def _free_at(self, now: float) -> float:
        """When a write may begin."""
        pace = now if self._clearing is not None else self._bucket.next_time(now)
        return max(pace, self._backoff.until)

    # -- one write

    async def _write(self, name: Name, wish: Wish) -> None:
        started = time.monotonic()
        try:
            await self._patch(name, wish)
            self._done(name, wish)
        except (NotFoundError, ConflictError):
            # It was deleted, or made anew, or is being written by everybody: no fault of anyone.
            self._agenda.put_off(name, time.monotonic() + MOVED_SECONDS)
        except ForbiddenError as error:
            self._forbidden(name, error)
        except InvalidError as error:
            self._refused(name, wish, error)
        except ApiError as error:
            self._unavailable(name, started, str(error), error.retry_after or 0.0)
        except Exception as error:
            self._log.defect("writing a status failed; it is tried again", error)
            self._unavailable(name, started, "", 0.0)

    def _ended(self, name: Name) -> None:
        """A write succeeded, failed or was cancelled, perhaps before it began."""
        del self._under_way[name]
        if name in self._again:
            self._again.discard(name)
            self._agenda.add(name)
        self._wake.set()

    async def _patch(self, name: Name, wish: Wish) -> None:
        patch = {
            # Another life of the same name must not get what was meant for this one.
            "metadata": {"uid": wish.uid},
            # null removes a field (RFC 7396).
            "status": {"loadBalancer": {"ingress": entries(wish.addresses) or None}},
        }
        await self._api.request(
            "PATCH",
            f"/apis/networking.k8s.io/v1/namespaces/{name.namespace}/ingresses/{name.name}/status",
            body=msgspec.json.encode(patch),
            content_type="application/merge-patch+json",
            timeout=REQUEST_SECONDS,
        )

    def _done(self, name: Name, wish: Wish) -> None:
        now = time.monotonic()
        self._written += 1
        self._backoff.succeeded()
        self._complaints -= {"", name.namespace}
        self._agenda.put_off(name, now + ECHO_SECONDS)
        if not self._wanted.wrote(name, wish, now):
            return
        self._named += 1
        if self._named <= MAX_NAMED:
            self._log.warning(
                "somebody else writes the status of an Ingress of ours, too; it is written once a "
                "minute from now on; find the other controller (`kubectl get ingress -o yaml "
                "--show-managed-fields`), or start one of both without publishing its status",
                ingress=f"{name.namespace}/{name.name}",
            )
        elif self._named == MAX_NAMED + 1:
            self._log.warning("more Ingresses have a contested status than are named here")

    def _forbidden(self, name: Name, error: ApiError) -> None:
        until = time.monotonic() + FORBIDDEN_SECONDS
        self._failed += 1
        self._muted[name.namespace] = until
        self._agenda.put_off(name, until)
        self._complain(
            f"the status of Ingresses cannot be written: {error}; allow patch on ingresses/status "
            "to our ServiceAccount, or start with --no-publish-status",
            about=name.namespace,
        )

    def _refused(self, name: Name, wish: Wish, error: ApiError) -> None:
        current = self._statuses.get(name)
        if current is None or current.uid != wish.uid:
            return  # it was another life of the Ingress; what there is now is told by the source
        self._failed += 1
        self._agenda.put_off(name, time.monotonic() + REFUSED_SECONDS)
        self._complain(f"the API server refuses a status: {error}", about=name.namespace)

    def _unavailable(self, name: Name, started: float, why: str, least: float) -> None:
        """Everything waits."""
        self._failed += 1
        self._backoff.failed(
            started=started,
            now=time.monotonic(),
            chance=random.random(),  # noqa: S311 # it spreads requests, no secret
            least=least,
        )
        if self._leadership.leading:
            self._agenda.restore(name)
        if why:
            self._complain(f"a status cannot be written; it is tried again: {why}", about="")

    def _complain(self, message: str, *, about: str) -> None:
        """Once about everything (empty) or about a namespace, until something could be written
        there again; and a few at most."""
        if about not in self._complaints and len(self._complaints) < MAX_NAMED:
            self._complaints.add(about)
            self._log.warning(message)
