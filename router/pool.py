"""Connections to endpoints: which idle one to take, whether to open one, who waits.

Functions decide and return; dialling and closing is done by those who own transports.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from router.balance.endpoints import eligible
from router.balance.health import Health
from router.balance.round_robin import RoundRobin
from router.model.upstreams import EndpointSet, Upstream
from router.model.wire import UpstreamGauges
from tls.policy import UpstreamTls


class PooledConnection(Protocol):
    """What a pool keeps: an open connection to an endpoint."""

    def is_usable(self) -> bool:
        """Whether it looks alive."""
        ...

    def rest(self) -> None:
        """It stands idle from now on."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Waiting(Protocol):
    """Who waits for a connection."""

    wait_until: float

    def connected(self, connection: PooledConnection, *, reused: bool) -> None: ...
    def must_dial(self) -> None: ...
    def waited_too_long(self) -> None: ...
    def must_go_elsewhere(self) -> None: ...


class Target:
    """One endpoint as this worker uses it: its connections, its health, who waits for it."""

    __slots__ = (
        "_pool",
        "address",
        "gone",
        "health",
        "idle",
        "max_idle",
        "max_open",
        "name",
        "open",
        "port",
        "tls",
        "waiting",
    )

    def __init__(
        self,
        address: str,
        port: int,
        pool: "UpstreamPool",
        *,
        tls: UpstreamTls | None,
        max_open: int,
        max_idle: int,
    ) -> None:
        self.address = address
        self.port = port
        self._pool = pool
        self.tls = tls
        """How https is spoken to it; None for http."""
        self.name = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self.max_open = max_open
        self.max_idle = max_idle
        self.health = Health()
        self.idle: list[PooledConnection] = []
        self.open = 0
        """Connections that are open or being opened."""
        self.waiting: deque[Waiting] = deque()
        self.gone = False
        """No longer eligible: what runs may finish, nothing new begins."""

    def take(self) -> PooledConnection | None:
        """The idle connection that was used last, or None."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            if connection.is_usable():
                return connection
        return None

    def may_open(self) -> bool:
        """Whether one more connection is allowed; if so, it is counted as open from now on."""
        if self.open >= self.max_open:
            return False
        self.open += 1
        self._pool.active.add(self._pool)
        return True

    def give_back(self, connection: PooledConnection) -> None:
        """A connection is free and good for another request."""
        if self.gone:
            connection.close()
        elif self.waiting:
            self.waiting.popleft().connected(connection, reused=True)
        elif len(self.idle) < self.max_idle:
            connection.rest()
            self.idle.append(connection)
        else:
            connection.close()

    def forget(self, connection: PooledConnection | None) -> None:
        """A connection ended, or could not be opened (None)."""
        self.open -= 1
        if connection is not None and connection in self.idle:
            self.idle.remove(connection)
        if self.waiting and self.open < self.max_open:
            self.open += 1
            self.waiting.popleft().must_dial()

    def expire_waiting(self, now: float) -> None:
        """Tell those that have waited too long (they stand in the order of their deadlines)."""
        while self.waiting and self.waiting[0].wait_until <= now:
            self.waiting.popleft().waited_too_long()

    def retire(self) -> None:
        """No longer eligible: idle connections are closed, who waits is sent elsewhere."""
        self.gone = True
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()
        while self.waiting:
            self.waiting.popleft().must_go_elsewhere()


class UpstreamPool:
    """The live endpoints of one upstream; the table refers to it by key and never copies it."""

    __slots__ = (
        "_max_idle",
        "_max_open",
        "_news",
        "_start",
        "_targets",
        "active",
        "rotation",
        "upstream",
    )

    def __init__(
        self,
        upstream: Upstream,
        active: "set[UpstreamPool]",
        *,
        max_open: int,
        max_idle: int,
        start: int,
    ) -> None:
        self.upstream = upstream
        self.active = active
        """The pools of a worker in which something goes on, or that have news to report: who looks
        at pools again and again looks at these only. It costs what is used, not what exists."""
        self._max_open = max_open
        self._max_idle = max_idle
        self._start = start
        self._news = True
        self._targets: dict[tuple[str, int], Target] = {}
        self.rotation: RoundRobin[Target] = RoundRobin()

    def replace(self, endpoints: EndpointSet) -> None:
        """Take over a new endpoint set; targets that stay keep connections and health."""
        targets = {}
        for endpoint in eligible(endpoints):
            place = (endpoint.address, endpoint.port)
            target = self._targets.get(place)
            if target is None:
                target = Target(
                    *place,
                    self,
                    tls=self.upstream.tls,
                    max_open=self._max_open,
                    max_idle=self._max_idle,
                )
            targets[place] = target
        gone = [target for place, target in self._targets.items() if place not in targets]
        self._targets = targets
        self._news = True
        self.active.add(self)
        self.rotation.replace(list(targets.values()), self._start)
        for target in gone:
            target.retire()

    def pick(self, now: float, avoid: Callable[[Target], bool] | None = None) -> Target | None:
        """The endpoint for the next request; None when there is none."""
        return self.rotation.pick(now, avoid)

    def has_other_than(self, tried: list[Target]) -> bool:
        """Whether there is an endpoint that is not among these."""
        return any(target not in tried for target in self.rotation.members)

    def expire_waiting(self, now: float) -> None:
        """Tell requests that have waited too long for a connection."""
        for target in self.rotation.members:
            if target.waiting:
                target.expire_waiting(now)

    def report(self, now: float) -> UpstreamGauges | None:
        """The state of the pool for metrics; None when it is quiet and that was said before."""
        targets = self.rotation.members
        busy = any(target.open or target.health.rests_until > now for target in targets)
        if not busy and not self._news:
            return None
        self._news = busy
        idle = sum(len(target.idle) for target in targets)
        return UpstreamGauges(
            upstream=self.upstream.key,
            eligible=len(targets),
            active=sum(target.open for target in targets) - idle,
            idle=idle,
            ejected=sum(1 for target in targets if target.health.rests_until > now),
            waiting=sum(len(target.waiting) for target in targets),
        )
