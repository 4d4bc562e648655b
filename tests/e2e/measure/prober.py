"""Clients that cost little: raw requests over connections that are kept."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from tests.e2e.outside import trusting_context

PAUSE = 0.001
"""Seconds from one look to the next: what is measured is late by half of it."""
PATIENCE = 30.0


class Seen(NamedTuple):
    """A short answer."""

    status: int
    body: bytes


class Prober(asyncio.Protocol):
    """One connection, one request at a time."""

    @classmethod
    async def open(cls, port: int, *, server_name: str = "") -> "Prober":
        """Connect to a port of this machine, over TLS when a server name is given."""
        loop = asyncio.get_running_loop()
        context = trusting_context() if server_name else None
        _, prober = await loop.create_connection(
            cls, "127.0.0.1", port, ssl=context, server_hostname=server_name or None
        )
        return prober

    def __init__(self) -> None:
        self._data = b""
        self._waiting: asyncio.Future[Seen] | None = None
        self.open_ = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.open_ = True

    def connection_lost(self, error: Exception | None) -> None:
        self.open_ = False
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(ConnectionResetError("the proxy ended the connection"))

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, separator, body = self._data.partition(b"\r\n\r\n")
        if not separator or self._waiting is None:
            return
        lowered = head.lower()
        at = lowered.index(b"content-length:") + 15
        length = int(lowered[at : (lowered + b"\r\n").index(b"\r\n", at)])
        if len(body) >= length:
            self._data = b""
            self._waiting.set_result(Seen(int(head[9:12]), body[:length]))

    async def ask(self, host: str, target: str = "/") -> Seen:
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._waiting
        finally:
            self._waiting = None

    async def until(
        self, host: str, target: str, holds: Callable[[Seen], bool], since: float
    ) -> float:
        """Look until the answer is as wanted; gives the seconds since then.

        Raises:
            AssertionError: it never was.
        """
        while True:
            seen = await self.ask(host, target)
            now = time.perf_counter()
            if holds(seen):
                return now - since
            assert now - since < PATIENCE, f"{host}{target}: still {seen}"
            await asyncio.sleep(PAUSE)


async def certificate(port: int, server_name: str) -> bytes:
    """One handshake; gives the certificate (DER)."""
    prober = await Prober.open(port, server_name=server_name)
    try:
        tls: ssl.SSLObject = prober.transport.get_extra_info("ssl_object")
        return tls.getpeercert(binary_form=True) or b""
    finally:
        prober.transport.abort()


@dataclass(slots=True)
class Traffic:
    """What a steady load met."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@asynccontextmanager
async def traffic(
    port: int, hosts: list[str], *, rate: float = 200.0, connections: int = 10
) -> AsyncIterator[Traffic]:
    """Requests at a rate over kept connections; each has its own moment in the second."""
    met = Traffic()
    stop = asyncio.Event()

    async def keep(number: int) -> None:
        prober = await Prober.open(port)
        wait = connections / rate
        at = time.perf_counter() + wait * number / connections
        turn = number
        while not stop.is_set():
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            at += wait
            turn += connections
            begun = time.perf_counter()
            try:
                if not prober.open_:
                    prober = await Prober.open(port)
                seen = await prober.ask(hosts[turn % len(hosts)])
            except (OSError, TimeoutError) as error:
                met.failures.append(repr(error))
                continue
            if seen.status == 200:
                met.seconds.append(time.perf_counter() - begun)
            else:
                met.failures.append(str(seen.status))
        prober.transport.abort()

    tasks = [asyncio.ensure_future(keep(number)) for number in range(connections)]
    try:
        yield met
    finally:
        stop.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
