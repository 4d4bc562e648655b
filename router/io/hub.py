"""What all connections of one worker share, and the one coarse timer.

No request has a timer object of its own: each connection holds the time at which its patience
ends, and a tick, four times a second, looks at all of them.
"""

import asyncio
import traceback
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

from router.runtime import Runtime
from tls.contexts import ServerContexts
from tls.upstream import UpstreamContexts

if TYPE_CHECKING:
    from router.io.downstream import ClientConnection
    from router.io.listener import Opening
    from router.io.passthrough import Side

BUFFER = 65536
"""Bytes that wait to be sent to one side, and bytes of pipelined requests that wait for their
turn, before reading pauses."""
TICK = 0.25
"""Seconds between two ticks: the precision of all time-outs."""
_MAX_REPORTS = 10
"""Unexpected exceptions reported in one second; more are counted only."""


class Timed(Protocol):
    """A connection with a deadline."""

    deadline: float
    """Monotonic seconds; infinite when nothing is waited for."""

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        ...


class Hub:
    """The connections of one worker."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        max_clients: int,
        contexts: ServerContexts,
        upstream_contexts: UpstreamContexts,
        log: Callable[[str, str, dict[str, str]], None],
    ) -> None:
        self.runtime = runtime
        self.max_clients = max_clients
        self.timed: set[Timed] = set()
        self.clients: set[ClientConnection] = set()
        self.openings: dict[Opening, None] = {}
        """Accepted connections that are not clients yet, the oldest first."""
        self.pairs: set[Side] = set()
        """Clients' sides of connections that are passed through."""
        self.contexts = contexts
        self.upstream_contexts = upstream_contexts
        self._log = log
        self._reports = 0
        self._said: dict[str, float] = {}
        self._date_second = 0

    def tick(self) -> None:
        """Move the coarse clock, end what took too long."""
        rt = self.runtime
        now = rt.now = rt.clock()
        second = int(rt.wall_clock())
        if second != self._date_second:
            self._date_second = second
            rt.date_line = f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
            self._reports = 0
        for connection in [timed for timed in self.timed if timed.deadline <= now]:
            try:
                connection.expire(now)
            except Exception as error:
                self.report(error)
        for pool in tuple(rt.active_pools):
            pool.expire_waiting(now)
        if rt.access_log is not None:
            rt.access_log.flush()

    def admit(self) -> bool:
        """Whether one more client may connect; makes room by ending the oldest connection of which
        nothing is known yet, else by closing the clients that are idle for longest."""
        if len(self.clients) + len(self.openings) + len(self.pairs) < self.max_clients:
            return True
        for opening in self.openings:
            if opening.give_up():
                return True
        idle = sorted(
            (client for client in self.clients if client.is_idle()),
            key=lambda client: client.deadline,
        )
        for client in idle[: max(1, len(idle) // 20)]:
            client.close()
        return bool(idle)

    def log_once(
        self, key: str, event: str, fields: dict[str, str], level: str = "warning"
    ) -> None:
        """Tell what may happen often: at most once a second for each key."""
        now = self.runtime.clock()
        if now - self._said.get(key, -1.0) < 1.0:
            return
        if len(self._said) > 256:
            self._said.clear()
        self._said[key] = now
        self._log(level, event, fields)

    def busy(self) -> bool:
        """Whether anything is still going on with clients."""
        return bool(self.clients or self.openings or self.pairs)

    def report(self, error: Exception) -> None:
        """An exception that is a defect of ours: tell, and go on."""
        self._reports += 1
        self.runtime.counters.fault("internal")
        if self._reports <= _MAX_REPORTS:
            trace = "".join(traceback.format_exception(error))
            self._log("error", "unexpected error; one connection was ended", {"trace": trace})


async def tick_forever(hub: Hub) -> None:
    """Tick until cancelled."""
    while True:
        hub.tick()
        await asyncio.sleep(TICK)
