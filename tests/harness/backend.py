"""A recording backend on loopback, in a thread of its own.

What comes out: every request that reached it, read by the strict reader of the tests; the raw bytes
of every connection; and what reached it that must never (`violations`). How it answers is a script
for each path: a coroutine function that gets the `Exchange`.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar

import uvloop

from router.model.upstreams import Endpoint
from tests.harness.strict import End, Head, Malformed, Piece, Request, RequestReader

KEPT_RAW = 256 * 1024
"""Bytes of one connection that are kept as they came."""

SAW = 1000
"""Characters of X-Saw; proxies limit the fields of answers too."""

_Result = TypeVar("_Result")


@dataclass(slots=True, eq=False)
class Recorded:
    """One connection as the backend saw it."""

    number: int
    raw: bytearray = field(default_factory=bytearray)
    requests: list[Request] = field(default_factory=list)
    opened_at: float = field(default_factory=time.perf_counter)
    ended_at: float | None = None
    """When the peer closed or reset it, or we did; None while it is open."""
    ended_by: Literal["peer", "peer-reset", "us"] | None = None


class Exchange:
    """One request, and the means to answer it."""

    def __init__(self, backend: "Backend", connection: "_Connection", request: Request) -> None:
        self.backend = backend
        self.request = request
        self.recorded = connection.recorded
        self._connection = connection

    @property
    def nonce(self) -> str:
        """What the client sent to know its own answer again."""
        return self.request.get("x-nonce") or ""

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, piece by piece as it comes."""
        while not self.request.complete:
            for event in await self._connection.events():
                if isinstance(event, Piece):
                    yield event.data

    async def body(self) -> bytes:
        """The whole body."""
        async for _ in self.pieces():
            pass
        return bytes(self.request.body)

    def write(self, data: bytes) -> None:
        """Send, without waiting for room.

        Raises:
            ConnectionResetError: the proxy has ended the connection.
        """
        writer = self._connection.writer
        if writer.is_closing():
            raise ConnectionResetError
        writer.write(data)

    async def send(self, data: bytes) -> None:
        """Send, and wait until there is room for more; raises as `write` does."""
        self.write(data)
        await self._connection.writer.drain()

    def close(self) -> None:
        """Close in order after what was sent."""
        self._connection.end("us")
        self._connection.writer.close()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self._connection.end("us")
        reset(self._connection.writer)

    async def peer_ended(self) -> None:
        """Wait until the proxy closes or resets this connection."""
        while await self._connection.read():
            pass

    async def tunnel(self) -> AsyncIterator[bytes]:
        """Bytes after a 101 that this script sent."""
        record = self._connection.parser.tunnel()
        self.recorded.requests.append(record)
        while True:
            if early := self._connection.take_tunnel_bytes():
                yield early
            if not await self._connection.read():
                return


Script = Callable[[Exchange], Awaitable[None]]


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a stream so that the peer gets a TCP reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class _Ended(Exception):
    """The peer is gone; the script ends."""


class _Connection:
    """Reader, writer, parser and record of one connection."""

    def __init__(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        arrived: list[Request],
    ) -> None:
        self.recorded = Recorded(number)
        self.parser = RequestReader(number)
        self.reader = reader
        self.writer = writer
        self._arrived = arrived
        self._events: list[Head | Piece | End] = []
        self._tunnel: list[bytes] = []

    def end(self, by: Literal["peer", "peer-reset", "us"]) -> None:
        """Note who ended the connection, the first time."""
        if self.recorded.ended_by is None:
            self.recorded.ended_by = by
            self.recorded.ended_at = time.perf_counter()

    async def read(self) -> bool:
        """Feed the parser once; False when the peer closed."""
        try:
            data = await self.reader.read(262144)
        except ConnectionError:
            self.end("peer-reset")
            return False
        if not data:
            self.end("peer")
            return False
        kept = KEPT_RAW - len(self.recorded.raw)
        if kept > 0:
            self.recorded.raw += data[:kept]
        for event in self.parser.feed(data):
            if isinstance(event, Head):
                assert isinstance(event.message, Request)
                self.recorded.requests.append(event.message)
                self._arrived.append(event.message)
            if self.parser.stage == "tunnel" and isinstance(event, Piece):
                self._tunnel.append(event.data)
            else:
                self._events.append(event)
        return True

    def take_tunnel_bytes(self) -> bytes:
        """What came through a tunnel since the last call."""
        if self.parser.waiting:
            for event in self.parser.feed(b""):
                assert isinstance(event, Piece)
                self._tunnel.append(event.data)
        data = b"".join(self._tunnel)
        self._tunnel.clear()
        return data

    async def events(self) -> list[Head | Piece | End]:
        """The next events up to the end of the running message; waits for at least one.

        Raises:
            _Ended: the peer closed.
        """
        while not self._events:
            if not await self.read():
                raise _Ended
        taken: list[Head | Piece | End] = []
        while self._events:
            taken.append(self._events.pop(0))
            if isinstance(taken[-1], End):
                break
        return taken

    async def next_request(self) -> Request:
        """The next request's head.

        Raises:
            _Ended: the peer closed.
        """
        while True:
            while self._events:
                event = self._events.pop(0)
                if isinstance(event, Head):
                    assert isinstance(event.message, Request)
                    return event.message
            if not await self.read():
                raise _Ended


class Backend:
    """See the module. A context manager; `endpoint` says where it listens."""

    def __init__(self, name: str = "backend", *, address: str = "127.0.0.1", port: int = 0) -> None:
        self.name = name
        self.violations: list[str] = []
        self.connections: list[Recorded] = []
        self.requests: list[Request] = []
        """All requests in the order in which their heads arrived."""
        self._scripts: dict[str, Script] = {}
        self._default: Script = echo
        self._open: dict[int, _Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.create_server((address, port), family=family, backlog=1024)
        self.address, self.port = self._listening.getsockname()[:2]
        self._loop = uvloop.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._run, name=f"backend {name}", daemon=True)
        self._started = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(10)
        return self

    def __exit__(self, *exception: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, in the words of the model."""
        return Endpoint(address=self.address, port=self.port)

    def on(self, path: str, script: Script) -> None:
        """Answer requests for this path (without its query) by this script."""
        self._scripts[path] = script

    def otherwise(self, script: Script) -> None:
        """Answer all other requests by this script."""
        self._default = script

    def mark(self) -> "Mark":
        """A point in time; `Mark.requests` gives what came after it."""
        return Mark(self)

    @property
    def open_connections(self) -> int:
        """Connections that neither side has closed."""
        return sum(known.ended_by is None for known in list(self.connections))

    def forget(self) -> None:
        """Drop what was recorded, so that long runs stay small. Marks made before are void."""
        self.requests.clear()
        for known in list(self.connections):
            known.requests.clear()
            known.raw.clear()

    def close_all(self, *, abruptly: bool = False) -> None:
        """End all open connections from our side."""
        self._call(self._close_all(abruptly=abruptly))

    def stop_accepting(self) -> None:
        """Close the listening socket: later connects are refused; open connections live on."""
        self._call(self._close_listener())

    def gate(self) -> "Gate":
        """Something that a script waits for and that a test opens."""
        return Gate(self._loop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._started.set()
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        future: Future[_Result] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._accepted, sock=self._listening, backlog=1024, limit=1 << 20
        )

    async def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _close_all(self, *, abruptly: bool) -> None:
        for connection in list(self._open.values()):
            connection.end("us")
            if abruptly:
                reset(connection.writer)
            else:
                connection.writer.close()
        await asyncio.sleep(0)

    async def _stop(self) -> None:
        await self._close_listener()
        for _ in range(3):
            await asyncio.sleep(0)  # what was accepted in the last moment begins, and can be ended
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        for connection in list(self._open.values()):
            connection.writer.transport.abort()
        await asyncio.sleep(0)  # transports close their sockets in the next turn

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number = len(self.connections)
        connection = _Connection(number, reader, writer, self.requests)
        self.connections.append(connection.recorded)
        self._open[id(connection)] = connection
        try:
            await self._serve(connection)
        except (_Ended, ConnectionError):
            connection.end("peer")
        except Malformed as fault:
            raw = bytes(connection.recorded.raw[-400:])
            self.violations.append(f"{self.name} connection {number}: {fault}; last bytes {raw!r}")
        except asyncio.CancelledError:
            pass
        except Exception as error:  # a script that fails must fail its test
            self.violations.append(f"{self.name} connection {number}: {error!r}")
        finally:
            connection.end("us")
            writer.close()
            del self._open[id(connection)]
            self._tasks.discard(task)

    async def _serve(self, connection: _Connection) -> None:
        while True:
            request = await connection.next_request()
            exchange = Exchange(self, connection, request)
            script = self._scripts.get(request.path, self._default)
            await script(exchange)
            if connection.writer.is_closing() or connection.recorded.ended_by is not None:
                return
            await exchange.body()


class Mark:
    """Tells what a backend received after the mark was made."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._start = len(backend.requests)

    def requests(self, without: str = "") -> list[Request]:
        """Requests since the mark; those for the path ``without`` are left out."""
        return [
            request for request in self._backend.requests[self._start :] if request.path != without
        ]


class Gate:
    """Opened by the test's thread, waited for in the backend's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()

    def open(self) -> None:
        """Let every script pass that waits."""
        self._loop.call_soon_threadsafe(self._event.set)

    async def passed(self) -> None:
        """Wait until the gate is open."""
        await self._event.wait()


def message(
    status: str = "200 OK",
    body: bytes = b"",
    *fields: tuple[str, str],
    length: bool = True,
    version: str = "HTTP/1.1",
) -> bytes:
    """The bytes of an answer."""
    lines = [f"{version} {status}", *(f"{name}: {value}" for name, value in fields)]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def echo(exchange: Exchange) -> None:
    """The default script: 200 after the whole body, saying what was seen (X-Saw) and where."""
    await exchange.body()
    request = exchange.request
    saw = f"{request.method} {request.target} {request.length}"[:SAW]
    answer = message(
        "200 OK",
        saw.encode(),
        ("X-Nonce", exchange.nonce),
        ("X-Saw", saw),
        ("X-Backend", exchange.backend.name),
        ("X-Connection", str(exchange.recorded.number)),
    )
    if request.method == "HEAD":
        answer = answer[: answer.index(b"\r\n\r\n") + 4]
    await exchange.send(answer)


def fixed(answer: bytes) -> Script:
    """Read the request whole, then send these bytes."""

    async def script(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.send(answer)

    return script


def raw(*pieces: bytes, then: Literal["keep", "close", "reset", "hang"] = "keep") -> Script:
    """Read the request whole, send these pieces in segments of their own, then do that.

    A query ``cut=N`` cuts the pieces, joined, after N bytes instead.
    """
    whole = b"".join(pieces)

    async def script(exchange: Exchange) -> None:
        await exchange.body()
        _, _, cut = exchange.request.target.partition("cut=")
        parts = (whole[: int(cut)], whole[int(cut) :]) if cut else pieces
        for part in parts:
            if part:
                await exchange.send(part)
                await asyncio.sleep(0.003)  # a segment of its own, not a wait for something
        await finish(exchange, then)

    return script


async def finish(exchange: Exchange, how: Literal["keep", "close", "reset", "hang"]) -> None:
    """What happens to a connection after an answer."""
    if how == "close":
        exchange.close()
    elif how == "reset":
        exchange.reset()
    elif how == "hang":
        await exchange.peer_ended()


async def hang(exchange: Exchange) -> None:
    """Read the request and never answer."""
    await exchange.peer_ended()


async def tunnel_echo(exchange: Exchange) -> None:
    """Accept any upgrade and send back what comes."""
    protocol = exchange.request.get("upgrade") or "none"
    await exchange.send(
        f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n".encode()
    )
    async for data in exchange.tunnel():
        await exchange.send(data)
    exchange.close()


def iterate(pieces: int, size: int) -> Iterator[bytes]:
    """A body of ``pieces`` × ``size`` bytes."""
    piece = b"0123456789abcdef" * (size // 16)
    for _ in range(pieces):
        yield piece
