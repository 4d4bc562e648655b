"""Whether the API can be reached: shared by all reflectors, so that one asks and the others wait.

Drives one `Outage`. Also bounds how many requests are under way at once.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable

from ingress_controller.logs import Log
from ingress_controller.sources.outage import Outage
from ingress_controller.sources.watch_machine import Pace
from ingress_controller.waiting import within

MAX_REQUESTS = 16
"""Of all reflectors at once, so that a thousand objects that are watched alone do not ask at once,
and status and leader always find a connection."""
CONNECT_SECONDS = 2.0
"""For a look whether the port is open."""
ALARM_SECONDS = 10.0
"""An outage is reported when it lasts so long: servers restart, connections are cut."""


class Reach:
    """Lets reflectors ask the API when it makes sense."""

    def __init__(
        self,
        server: str,
        entry: tuple[str, int],
        pace: Pace,
        log: Log,
        *,
        on_alarm: Callable[[], None],
        on_answer: Callable[[], None],
    ) -> None:
        """``entry`` are host and port of the server, or of the proxy before it. ``on_alarm`` is
        called when `alarm` is different, ``on_answer`` at the first answer after none."""
        self.requests = asyncio.Semaphore(MAX_REQUESTS)
        """Held while a request is under way."""
        self.decoding = asyncio.Lock()
        """Held while a page is decoded: one at a time, so that their slices do not add up."""
        self.alarm = ""
        """Why there is no answer, when that lasts; else empty."""
        self._server = server
        self._entry = entry
        self._pace = pace
        self._log = log
        self._on_alarm = on_alarm
        self._on_answer = on_answer
        self._outage = Outage(pace)
        self._reason = ""
        self._stirred = asyncio.Event()
        self._waiting: deque[asyncio.Future[bool]] = deque()

    @property
    def away(self) -> bool:
        """The last attempt of anybody had no answer."""
        return self._outage.since is not None

    def answered(self) -> None:
        """A request was answered, if only by a refusal."""
        since = self._outage.since
        if since is None:
            return
        self._outage.answered()
        if self.alarm:
            self.alarm = ""
            away = round(time.monotonic() - since)
            self._log.info("the API server answers again", server=self._server, seconds=away)
            self._on_alarm()
        while self._waiting:
            self._release(tries=False)
        self._stirred.set()
        self._on_answer()

    def overheard(self) -> None:
        """An answer began, whoever asked, such as who renews the Lease: it is worth to try."""
        if self.away:
            self._outage.overheard(time.monotonic())
            self._stirred.set()

    def failed(
        self, reason: str, *, retry_after: float = 0.0, lost: bool = False, tried: bool = False
    ) -> None:
        """A request had no answer, or one of the kind 5xx; see `Outage.failed`."""
        self._reason = reason
        self._outage.failed(
            time.monotonic(),
            random.random(),  # noqa: S311  # jitter
            retry_after=retry_after,
            lost=lost,
            tried=tried,
        )
        self._stirred.set()

    async def turn(self, *, newcomer: bool) -> bool:
        """Waits until the API has answered somebody, or the caller shall try: then it is True.

        ``newcomer``: the caller has not failed since its last answer.
        """
        if not self.away:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if newcomer:
            self._outage.newcomer(time.monotonic())
            self._waiting.appendleft(future)
        else:
            self._waiting.append(future)
        self._stirred.set()
        return await future

    def abandoned(self) -> None:
        """Whose turn it was does not try any more."""
        self._outage.abandoned(time.monotonic())
        self._stirred.set()

    async def run(self) -> None:
        """Gives turns until it is cancelled."""
        while True:
            self._stirred.clear()
            now = time.monotonic()
            if not self.away:
                await self._stirred.wait()
                continue
            self._sound_alarm(now)
            self._give_turn(now)
            patience = self._pace.probe_every
            if self._outage.looking:
                is_open = await self._is_open()
                if self._outage.looking:
                    self._outage.probed(time.monotonic(), is_open=is_open, begun=now)
            if self._outage.due > now:
                patience = min(patience, self._outage.due - now)
            await within(self._stirred.wait(), patience)

    def _give_turn(self, now: float) -> None:
        if now < self._outage.due:
            return
        while self._waiting:
            if self._release(tries=True):
                self._outage.sent(now)
                return

    def _release(self, *, tries: bool) -> bool:
        """Lets the first one go on; False when it does not wait any more."""
        future = self._waiting.popleft()
        if future.done():
            return False
        future.set_result(tries)
        return True

    def _sound_alarm(self, now: float) -> None:
        since = self._outage.since
        if since is None or self.alarm or now - since < ALARM_SECONDS:
            return
        self.alarm = self._reason
        self._log.warning("the API server does not answer", server=self._server, why=self._reason)
        self._on_alarm()

    async def _is_open(self) -> bool:
        """Whether the port takes connections."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(*self._entry)
        except (OSError, TimeoutError):
            return False
        writer.transport.abort()
        return True
