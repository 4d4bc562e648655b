"""Drives a `Candidate` with the API, and tells who listens whether we lead.

Leadership is asked of the clock each time, so whoever asks before acting cannot be wrong for longer
than the act takes. A timer besides tells listeners the moment at which it ends, whatever request
hangs or fails.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import uuid4

import msgspec

from ingress_controller.leader.lease import Candidate, Lease, Read, Timing, Write, read_lease
from ingress_controller.logs import Log
from ingress_controller.sources.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    MalformedAnswerError,
    NotFoundError,
)
from ingress_controller.sources.requests import Requests
from ingress_controller.store import Name
from ingress_controller.waiting import within

FORBIDDEN_SECONDS: Final = 60.0
"""Between two attempts while a Role is missing: a person has to add it."""
RELEASE_SECONDS: Final = 3.0
"""At the end, so long for giving the Lease back; without it others wait for the lease time."""
ATTEMPTS: Final = 3
"""Requests to the Lease in one round, when others write it at the same moment."""

Listener = Callable[[bool], None]


class LeaderCounts(msgspec.Struct, frozen=True, kw_only=True):
    """For metrics."""

    leading: bool
    terms: int
    """How often leadership began."""
    failures: int
    """Rounds without a usable answer of the API."""


class Leadership(Protocol):
    """What writers know of leading."""

    @property
    def leading(self) -> bool:
        """Whether we may write now; to be asked before each write."""

    def subscribe(self, listener: Listener) -> None:
        """Calls the listener whenever leading begins or ends; at once if it has begun."""


class Alone:
    """Leads always: for --no-leader-elect, where nobody else could."""

    leading = True
    counts = LeaderCounts(leading=True, terms=1, failures=0)

    def subscribe(self, listener: Listener) -> None:
        """Calls the listener once."""
        listener(True)


def new_identity(pod: str) -> str:
    """A name in the Lease for this process alone; ``pod`` is for people, and may be empty."""
    return f"{pod or 'ingress-controller'}_{uuid4()}"


class Elector:
    """Takes part in the election until it is cancelled."""

    def __init__(
        self,
        api: Requests,
        lease: Name,
        identity: str,
        log: Log,
        *,
        timing: Timing = Timing(),  # noqa: B008 # frozen
    ) -> None:
        self._api = api
        self._lease = lease
        self._log = log
        self._timing = timing
        self._candidate = Candidate(lease, identity, timing)
        self._identity = identity
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{lease.namespace}/leases"
        self._listeners: list[Listener] = []
        self._told_until = -math.inf
        """When the term ends of which listeners were told."""
        self._timer: asyncio.TimerHandle | None = None
        self._hurry = asyncio.Event()
        self._failures = 0
        """In a row."""
        self._complained = ""
        """Of which kind the failure is that was said last."""
        self._seen_holder: str | None = None
        self._counted_failures = 0
        self._terms = 0
        self._ending = False

    @property
    def leading(self) -> bool:
        """Whether we may act as the leader now."""
        return self._candidate.leads(time.monotonic())

    @property
    def counts(self) -> LeaderCounts:
        """For metrics."""
        return LeaderCounts(
            leading=self.leading, terms=self._terms, failures=self._counted_failures
        )

    def subscribe(self, listener: Listener) -> None:
        """Calls the listener whenever leading begins or ends; at once if it has begun."""
        self._listeners.append(listener)
        if self._told_until > -math.inf:
            listener(True)

    def hurry(self) -> None:
        """The API answers again: ends a wait that an outage made long."""
        if self._failures:
            self._hurry.set()

    async def run(self) -> None:
        """Takes part until it is cancelled; then stops leading, and gives the Lease back."""
        self._ending = False
        try:
            while True:
                delay = await self._round()
                await within(self._hurry.wait(), delay)
                self._hurry.clear()
        finally:
            await self._release()

    async def _round(self) -> float:
        """One attempt to lead, or to go on leading; seconds until the next one."""
        least = 0.0
        try:
            await self._attempt()
        except asyncio.CancelledError:
            raise
        except ForbiddenError as error:
            self._failed(
                "forbidden",
                "cannot take part in the election of the leader, so nothing writes status or "
                f"Events from here: {error}; allow create on leases, and get and update on "
                f"{self._lease.name}, in a Role of namespace {self._lease.namespace}, or start "
                "with --no-leader-elect",
            )
            least = FORBIDDEN_SECONDS
        except ApiError as error:
            self._failed(
                "unavailable", f"cannot ask for the Lease of the leader; it is tried again: {error}"
            )
            least = error.retry_after or 0.0
        except Exception as error:
            self._count_failure()
            self._log.defect("the election of the leader failed; it goes on", error)
        else:
            self._succeeded()
        self._look()
        now = time.monotonic()
        chance = random.random()  # noqa: S311 # it spreads requests, no secret
        delay = self._candidate.wait(now, failures=self._failures, chance=chance)
        return delay if self._candidate.leads(now) else max(delay, least)

    async def _attempt(self) -> None:
        """Reads and writes the Lease as the candidate wants; others may write at the same time."""
        candidate = self._candidate
        for _ in range(ATTEMPTS):
            action: Read | Write | None = candidate.begin(time.monotonic(), _wall())
            if isinstance(action, Read):
                lease = await self._read()
                candidate.found(lease, time.monotonic())
                action = candidate.claim(time.monotonic(), _wall())
            if not isinstance(action, Write) or await self._write(action):
                return

    async def _read(self) -> Lease | None:
        try:
            body = await self._request("GET", f"{self._leases}/{self._lease.name}")
        except NotFoundError:
            return None
        return _lease(body)

    async def _write(self, write: Write) -> bool:
        """Whether it was accepted; if not, the Lease is another one than we know."""
        method, path = "PUT", f"{self._leases}/{self._lease.name}"
        if write.create:
            method, path = "POST", self._leases
        self._candidate.unsure()
        sent = time.monotonic()
        try:
            body = await self._request(method, path, msgspec.json.encode(write.document))
        except ConflictError:
            return False
        except NotFoundError:
            if write.create:
                raise  # the namespace is not there
            return False
        self._candidate.written(_lease(body), sent=sent, now=time.monotonic())
        return True

    async def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        # The API's own deadline does not bind code that hangs elsewhere.
        async with asyncio.timeout(self._timing.request + 1.0):
            return await self._api.request(method, path, body=body, timeout=self._timing.request)

    async def _release(self) -> None:
        self._ending = True
        write = self._candidate.release(_wall())
        self._look()
        if write is None:
            return
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._write(write)
        except (ApiError, ValueError, TimeoutError) as error:
            self._log.info(f"the Lease of the leader could not be given back, others wait: {error}")

    # -- who is told

    def _look(self) -> None:
        """Tells listeners when leading has begun or ended, and looks again when it may end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now, until = time.monotonic(), self._candidate.leads_until
        told, self._told_until = self._told_until, until if now < until else -math.inf
        # A renewal that came too late ended one term and began another, even if nobody noticed.
        ended = told > -math.inf and now >= min(told, until)
        if ended:
            level = "info" if self._ending else "warning"
            self._log.write(
                level, "this process does not lead any more", {"identity": self._identity}
            )
            self._tell(leading=False)
        if now < until:
            self._timer = asyncio.get_running_loop().call_later(until - now, self._look)
            if ended or told == -math.inf:
                self._terms += 1
                self._log.info(
                    "this process leads: it writes status and Events", identity=self._identity
                )
                self._tell(leading=True)

    def _tell(self, *, leading: bool) -> None:
        for listener in self._listeners:
            listener(leading)

    def _succeeded(self) -> None:
        self._failures = 0
        self._complained = ""
        holder = self._candidate.holder
        if holder != self._seen_holder:
            self._seen_holder = holder
            if holder != self._identity:
                self._log.info("another process leads", leader=holder or "nobody yet")

    def _failed(self, kind: str, complaint: str) -> None:
        """Counts; and says it once, until something else happens."""
        self._count_failure()
        if kind != self._complained:
            self._complained = kind
            self._log.warning(complaint)

    def _count_failure(self) -> None:
        self._counted_failures += 1
        # Waits begin to grow when leading has ended: until then every attempt counts.
        self._failures = 1 if self.leading else self._failures + 1


def _lease(body: bytes) -> Lease:
    try:
        return read_lease(body)
    except ValueError as error:
        raise MalformedAnswerError(f"the API's answer is no Lease ({error})") from error


def _wall() -> datetime:
    return datetime.now(UTC)
