"""A raw client: bytes in any cut, answers read strictly, and how the connection ended."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Literal, Self

from tests.harness.strict import End, Head, Piece, Reply, ReplyReader
from tests.harness.waiting import PATIENCE

Address = tuple[str, int]
Ending = Literal["open", "closed", "reset"]


class Connection:
    """One client connection. Use it as an asynchronous context manager."""

    def __init__(self, sock: socket.socket, methods: Iterable[str], *, http10: bool) -> None:
        self._sock = sock
        self.reader = ReplyReader(methods, http10=http10)
        self.raw = bytearray()
        """The last bytes received, for messages of failed tests."""
        self.replies: list[Reply] = []
        """All answers whose head came, interim ones too."""
        self.finished: list[Reply] = []
        """Complete final answers."""
        self._given = 0
        self.tunnelled = bytearray()
        self.ended: Ending = "open"
        self.send_failed = False

    @classmethod
    async def open(
        cls,
        address: Address,
        methods: Iterable[str] = (),
        *,
        http10: bool = False,
        receive_buffer: int = 0,
        source: str = "",
    ) -> Self:
        """Connect, from ``source``. ``methods`` are those of the requests to come (else GET)."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                sock.bind((source, 0))
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return cls(sock, methods, http10=http10)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    @property
    def local_port(self) -> int:
        """Our end, as the proxy sees it."""
        return int(self._sock.getsockname()[1])

    def close(self) -> None:
        """Close in order."""
        self._sock.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def finish_sending(self) -> None:
        """Send FIN and go on reading."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    async def send(self, data: bytes, within: float = PATIENCE) -> bool:
        """Send all; False when the proxy does not take it any more."""
        try:
            async with asyncio.timeout(within):
                await self._transmit(data)
        except ConnectionError:
            self.send_failed = True
            return False
        return True

    async def read(self, within: float = PATIENCE, *, most: int = 262144) -> list[bytes]:
        """Read once, at most so many bytes; gives the pieces of body that came.

        Raises:
            TimeoutError: nothing came.
            Malformed: the proxy sent something that it must not.
        """
        async with asyncio.timeout(within):
            while True:
                try:
                    data = self._receive(most)
                except BlockingIOError:
                    await self._readable()
                except ConnectionError:
                    self.ended = "reset"
                    return []
                else:
                    return self._take(data)

    async def _transmit(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    def _receive(self, most: int) -> bytes:
        """What came; empty at the end. Raises BlockingIOError when nothing did."""
        return self._sock.recv(most)

    async def _readable(self) -> None:
        """Wait without reading: a time-out in the same moment must not lose what was read."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._sock, _settle, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._sock)

    def take(self) -> None:
        """Read what has come already, without waiting.

        Raises:
            Malformed: the proxy sent something that it must not.
        """
        while self.ended == "open":
            try:
                self._take(self._receive(262144))
            except BlockingIOError:
                return
            except ConnectionError:
                self.ended = "reset"

    def _take(self, data: bytes) -> list[bytes]:
        self.raw = (self.raw + data)[-65536:]
        if not data:
            self.ended = "closed"
            events = self.reader.end() if self.reader.stage == "close" else []
        else:
            events = self.reader.feed(data)
        pieces = []
        for event in events:
            if isinstance(event, Head):
                assert isinstance(event.message, Reply)
                self.replies.append(event.message)
            elif isinstance(event, Piece):
                pieces.append(event.data)
                if self.reader.stage == "tunnel":
                    self.tunnelled += event.data
            elif isinstance(event, End):
                assert isinstance(event.message, Reply)
                if event.message.status >= 200:
                    self.finished.append(event.message)
        return pieces

    async def receive(self, count: int = 1, within: float = PATIENCE) -> list[Reply]:
        """The next final answers, complete; fewer when the connection ended.

        Raises:
            TimeoutError: they did not come.
        """
        start, wanted = self._given, self._given + count
        async with asyncio.timeout(within):
            while len(self.finished) < wanted and self.ended == "open":
                await self.read(within)
        self._given = min(wanted, len(self.finished))
        return self.finished[start:wanted]

    async def head(self, count: int = 1, within: float = PATIENCE) -> Reply:
        """Read until that many heads have come in all; gives the last of them."""
        async with asyncio.timeout(within):
            while len(self.replies) < count and self.ended == "open":
                await self.read(within)
        assert len(self.replies) >= count, f"connection {self.ended}, got {bytes(self.raw)!r}"
        return self.replies[count - 1]

    async def ending(self, within: float = PATIENCE) -> Ending:
        """Read until the connection ends; ``open`` when it does not."""
        try:
            async with asyncio.timeout(within):
                while self.ended == "open":
                    await self.read(within)
        except TimeoutError:
            pass
        return self.ended

    async def exchange(self, request: bytes, within: float = PATIENCE) -> Reply:
        """Send one request and read its final answer whole.

        Raises:
            AssertionError: the connection ended before.
        """
        self.reader.methods.append(request.partition(b" ")[0].decode("latin-1"))
        await self.send(request)
        replies = await self.receive(1, within)
        assert replies, f"connection {self.ended} without an answer, got {bytes(self.raw)!r}"
        return replies[0]


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def request(
    target: str = "/x",
    *fields: tuple[str, str],
    method: str = "GET",
    host: str = "h.test",
    body: bytes = b"",
    nonce: str = "",
    version: str = "HTTP/1.1",
) -> bytes:
    """The bytes of a well-formed request."""
    lines = [f"{method} {target} {version}", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in fields]
    if nonce:
        lines.append(f"X-Nonce: {nonce}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes, trailers: Sequence[tuple[str, str]] = ()) -> bytes:
    """A body in chunked coding."""
    parts = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece]
    parts.append(b"0\r\n")
    parts += [f"{name}: {value}\r\n".encode("latin-1") for name, value in trailers]
    parts.append(b"\r\n")
    return b"".join(parts)


async def fetch(address: Address, data: bytes, *, http10: bool = False) -> Reply:
    """One request on a connection of its own."""
    async with await Connection.open(address, http10=http10) as connection:
        return await connection.exchange(data)
