"""TLS that is not ended here: two plain sockets joined, the ClientHello still unread in the one."""

import asyncio
import socket
from collections.abc import Callable

from router.io.connect import endpoint_address
from router.io.hub import BUFFER, Hub
from router.model.snapshot import Passthrough
from router.pool import Target
from router.runtime import NEVER


class Side(asyncio.Protocol):
    """One side of the pair; whatever comes goes to the other one."""

    def __init__(self, hub: Hub, other: Callable[[], "Side | None"], *, timed: bool) -> None:
        self._hub = hub
        self._other = other
        self._timed = timed
        self.deadline = NEVER
        self.transport: asyncio.Transport | None = None
        self.ended = False
        """Nothing more comes from here."""
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's own class
        self.transport.set_write_buffer_limits(high=BUFFER)  # type: ignore[union-attr]  # just set
        if self._timed:
            self._hub.timed.add(self)
            self._hub.pairs.add(self)
            self.touch()
        if self._over:
            self.close()

    def touch(self) -> None:
        """Bytes passed: the pair is not idle."""
        if self._timed:
            self.deadline = self._hub.runtime.now + self._hub.runtime.limits.tunnel_timeout
        else:
            other = self._other()
            if other is not None:
                other.touch()

    def data_received(self, data: bytes) -> None:
        self.touch()
        other = self._other()
        if other is not None and other.transport is not None and not other.transport.is_closing():
            other.transport.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        other = self._other()
        if other is None or other.transport is None or other.transport.is_closing():
            return False
        if other.ended:
            other.close()
            return False
        other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        other = self._other()
        if other is not None and other.transport is not None:
            other.transport.pause_reading()

    def resume_writing(self) -> None:
        other = self._other()
        if other is not None and other.transport is not None:
            other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._hub.timed.discard(self)
        self._hub.pairs.discard(self)
        other = self._other()
        if other is not None:
            other.close()

    def expire(self, now: float) -> None:
        """Idle for too long."""
        self.close()

    def close(self) -> None:
        """End this side, and by it the other one."""
        self._over = True
        self.deadline = NEVER
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()


async def pass_through(
    hub: Hub,
    sock: socket.socket,
    *,
    peer: str,
    server_name: str,
    upstream: Passthrough,
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Join the client's socket with an endpoint of the upstream, trying others if one refuses."""
    rt = hub.runtime
    pool = rt.pools.get(upstream.upstream)
    tried: list[Target] = []
    back: Side | None = None
    front = Side(hub, lambda: back, timed=True)
    while pool is not None and len(tried) < rt.limits.upstream_tries:
        target = pool.pick(rt.now, tried.__contains__)
        if target is None:
            break
        tried.append(target)
        try:
            async with asyncio.timeout(rt.limits.upstream_connect_timeout):
                host = await endpoint_address(loop, target.address, target.port, rt.denied)
                _, back = await loop.create_connection(
                    lambda: Side(hub, lambda: front, timed=False), host, target.port
                )
        except OSError:
            target.health.refused(rt.now)
            continue
        rt.counters.passthroughs += 1
        try:
            await loop.connect_accepted_socket(lambda: front, sock)
        except OSError:
            back.close()
        return
    rt.counters.tls_failure("no-endpoint")
    hub.log_once(
        "passthrough",
        "a TLS connection could not be passed through: no endpoint took it",
        {"server_name": server_name, "upstream": upstream.upstream, "peer": peer},
    )
    sock.close()
