"""The kinds of load, one class each."""

import itertools
import select
import socket
import ssl
from typing import Final

from loadtest.backend import LARGE_BODY, SMALL_BODY
from loadtest.lane import BROWSER_FIELDS, Lane, request

VARIANTS: Final = 5000
"""Different requests that take turns, so that no proxy sees the same bytes again and again."""

_PIECE = 1 << 20
_RECORDS = 32
"""TLS records of one connection that are read before the others and the backend have their turn."""


def small_requests() -> list[bytes]:
    """Requests of three fields, as load generators send them, that differ in their query."""
    fields = BROWSER_FIELDS.splitlines()
    return [request("GET", f"/small?page={n}", *fields) for n in range(VARIANTS)]


def forty_field_requests() -> list[bytes]:
    """What a browser and an application in front send: with Host, 40 fields, 1.8 kB.

    The query and six of the fields differ from request to request.
    """
    fields = (
        *BROWSER_FIELDS.splitlines(),
        "Accept-Language: en-GB,en;q=0.7,de;q=0.3",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Cache-Control: no-cache",
        "Pragma: no-cache",
        "DNT: 1",
        "Sec-Fetch-Dest: document",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-User: ?1",
        "Upgrade-Insecure-Requests: 1",
        "Priority: u=0, i",
        *(f"X-Application-Field-{n:02}: value of field number {n}" for n in range(20)),
    )
    return [
        request(
            "GET",
            f"/small?page={n}",
            *fields,
            f"Referer: https://bench.example/catalogue/shoes?page={n - 1}&sort=price",
            f"Cookie: session={n:032x}; theme=dark; basket=0192837465",
            f"Authorization: Bearer eyJhbGciOiJFUzI1NiJ9.{n:024x}.c2lnbmF0dXJl",
            f"traceparent: 00-{n:032x}-b7ad6b7169203331-01",
            f"X-Request-Start: t=1764000000{n:06}",
            f"X-Session: {n:032x}",
        )
        for n in range(VARIANTS)
    ]


class _SmallAnswers(Lane):
    """What the lanes with the 96-byte answer share."""

    def __init__(self, port: int, requests: list[bytes]) -> None:
        super().__init__(port)
        self._parts: dict[int, bytes] = {}
        self._next = itertools.cycle(requests).__next__

    def _begin(self, fd: int, connection: socket.socket) -> None:
        self._parts.pop(fd, None)
        connection.send(self._next())

    def _complete(self, fd: int, data: bytes) -> bool:
        """Whether an answer is complete with this data; counts it."""
        if fd in self._parts:
            data = self._parts.pop(fd) + data
        end = data.find(b"\r\n\r\n") + 4
        if end > 3 and len(data) == end + SMALL_BODY and data.startswith(b"HTTP/1.1 200"):
            self._units += 1
            return True
        if len(data) < 16384 and (end == 3 or data.startswith(b"HTTP/1.1 200")):
            self._parts[fd] = data
            return False
        self._failures += 1
        return True


class KeepAlive(_SmallAnswers):
    """One small request after the other on every connection."""

    title = "small keep-alive"

    def __init__(self, port: int, requests: list[bytes] | None = None) -> None:
        super().__init__(port, requests or small_requests())

    def _ready(self, fd: int, connection: socket.socket, mask: int) -> None:
        data = connection.recv(16384)
        if not data:
            self._reconnect(fd)
        elif self._complete(fd, data):
            connection.send(self._next())


class FortyFields(KeepAlive):
    """The same with requests of 40 header fields."""

    title = "40 header fields"

    def __init__(self, port: int) -> None:
        super().__init__(port, forty_field_requests())


class NewConnection(_SmallAnswers):
    """A connection for every request; the proxy closes it after its answer."""

    title = "new connection per request"
    connections = 32

    def __init__(self, port: int) -> None:
        closing = (b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        super().__init__(port, [small.replace(*closing) for small in small_requests()])

    def _ready(self, fd: int, connection: socket.socket, mask: int) -> None:
        data = connection.recv(16384)
        if data:
            self._complete(fd, data)
            return
        if self._parts.pop(fd, None) is not None:  # ended inside an answer
            self._failures += 1
        self._sockets.pop(fd).close()
        self._connect()


class Download(Lane):
    """Answers of 10 MB; the kernel throws the bodies away without copying them (MSG_TRUNC)."""

    title = "10 MB download"
    connections = 4

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._request = request("GET", "/large", *BROWSER_FIELDS.splitlines())
        self._sink = bytearray(_PIECE)
        self._left: dict[int, int] = {}  # bytes of the body still expected

    def _begin(self, fd: int, connection: socket.socket) -> None:
        self._left[fd] = 0
        connection.send(self._request)

    def _ready(self, fd: int, connection: socket.socket, mask: int) -> None:
        left = self._left[fd]
        if left:
            count = self._discard(connection, min(left, _PIECE))
            if not count:
                self._failures += 1
                self._reconnect(fd)
                return
        else:
            data = connection.recv(4096)
            end = data.find(b"\r\n\r\n") + 4
            if end == 3 or not data.startswith(b"HTTP/1.1 200"):
                self._failures += 1
                self._reconnect(fd)
                return
            left = LARGE_BODY
            count = len(data) - end
        self._units += count / LARGE_BODY
        left -= count
        self._left[fd] = left
        if not left:
            connection.send(self._request)

    def _discard(self, connection: socket.socket, most: int) -> int:
        """Read at most so many bytes of a body; 0 at the end of the connection."""
        return connection.recv_into(self._sink, most, socket.MSG_TRUNC)


class Upload(Lane):
    """Request bodies of 10 MB."""

    title = "10 MB upload"
    connections = 4

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._body = memoryview(b"x" * _PIECE)
        self._head = request(
            "POST",
            "/upload",
            *BROWSER_FIELDS.splitlines(),
            "Content-Type: application/octet-stream",
            f"Content-Length: {LARGE_BODY}",
        )
        self._left: dict[int, int] = {}  # bytes of the body still to send

    def _begin(self, fd: int, connection: socket.socket) -> None:
        connection.send(self._head)
        self._left[fd] = LARGE_BODY
        self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)

    def _ready(self, fd: int, connection: socket.socket, mask: int) -> None:
        left = self._left[fd]
        if mask & select.EPOLLIN:
            data = connection.recv(4096)
            if left or not data.startswith(b"HTTP/1.1 200"):
                self._failures += 1
                self._reconnect(fd)
            else:
                self._begin(fd, connection)
        elif mask & select.EPOLLOUT and left:
            count = connection.send(self._body[:left])
            self._units += count / LARGE_BODY
            self._left[fd] = left - count
            if left == count:
                self._epoll.modify(fd, select.EPOLLIN)


class Echo(Lane):
    """WebSocket messages of 64 bytes there and back, one under way on each connection."""

    title = "WebSocket echo"
    unit = "message"

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._handshake = request(
            "GET",
            "/echo",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )
        # a text frame of 64 bytes, masked with four zero bytes (RFC 6455 section 5.2)
        self._frame = b"\x81\xc0" + bytes(4) + b"y" * 64
        self._open: set[int] = set()
        self._missing: dict[int, int] = {}  # bytes of the echo still expected

    def _begin(self, fd: int, connection: socket.socket) -> None:
        self._open.discard(fd)
        connection.send(self._handshake)

    def _ready(self, fd: int, connection: socket.socket, mask: int) -> None:
        data = connection.recv(4096)
        if not data:
            self._reconnect(fd)
        elif fd not in self._open:
            if not (data.startswith(b"HTTP/1.1 101") and data.endswith(b"\r\n\r\n")):
                self._failures += 1
                self._reconnect(fd)
                return
            self._open.add(fd)
            self._missing[fd] = len(self._frame)
            connection.send(self._frame)
        else:
            missing = self._missing[fd] - len(data)
            if missing > 0:
                self._missing[fd] = missing
                return
            self._units += 1
            self._missing[fd] = len(self._frame)
            connection.send(self._frame)


class SecureKeepAlive(KeepAlive):
    """Small requests on connections that had their handshake before."""

    title = "HTTPS keep-alive"
    secure = True


class SecureDownload(Download):
    """Answers of 10 MB that are deciphered and thrown away."""

    title = "HTTPS 10 MB download"
    secure = True

    def _discard(self, connection: socket.socket, most: int) -> int:
        # one call reads one record of at most 16 kB
        count = 0
        for _ in range(_RECORDS):
            try:
                read = connection.recv_into(self._sink, most - count)
            except ssl.SSLWantReadError:
                if not count:
                    raise
                break
            count += read
            if not read or count == most:
                break
        return count


class FullHandshake(NewConnection):
    """A connection with a full handshake for every request."""

    title = "new HTTPS connection, full handshake"
    secure = True


class ResumedHandshake(FullHandshake):
    """A connection for every request; its handshake resumes the session of the first."""

    title = "new HTTPS connection, resumed"

    def _complete(self, fd: int, data: bytes) -> bool:
        connection = self._sockets[fd]
        if self._session is None and isinstance(connection, ssl.SSLSocket):
            self._session = connection.session  # tickets come before the first answer
        return super()._complete(fd, data)


LANES: Final[dict[str, type[Lane]]] = {
    "small": KeepAlive,
    "fields": FortyFields,
    "download": Download,
    "upload": Upload,
    "connections": NewConnection,
    "websocket": Echo,
    "https": SecureKeepAlive,
    "https-download": SecureDownload,
    "https-full": FullHandshake,
    "https-resumed": ResumedHandshake,
}
