"""The backend that all proxies are measured in front of: prebuilt answers, one epoll loop.

It must be cheap, because it shares its core with the load generator and must not be what limits a
round. So it reads only what it needs of a request: the path of the first line and how the body is
framed. It trusts its clients, which are proxies on the same machine.

    python -m loadtest.backend ADDRESS...

listens on one free port on every address, prints that port as its first line, and ends when its
standard input is closed, so that it cannot outlive the program that started it.
"""

import base64
import contextlib
import hashlib
import re
import select
import socket
import sys
from typing import Final

SMALL_BODY: Final = 96
LARGE_BODY: Final = 10 * 1000 * 1000

_READ = 262_144
_EVENTS = 256
_BACKLOG = 4096
_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_WEBSOCKET_KEY = re.compile(rb"\r\nsec-websocket-key: *(\S+)", re.IGNORECASE)


def answer(body: bytes) -> bytes:
    """A complete 200 answer with this body."""
    head = (
        "HTTP/1.1 200 OK\r\n"
        "Server: backend\r\n"
        "Date: Tue, 24 Nov 2026 10:00:00 GMT\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


_SMALL = answer(b"x" * SMALL_BODY)
_LARGE = memoryview(answer(b"x" * LARGE_BODY))
_DONE = answer(b"done")
_MISSING = _SMALL.replace(b"200 OK", b"404 Not Found", 1)


def upgraded(key: bytes) -> bytes:
    """The 101 answer to a WebSocket handshake (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


class Connection:
    """One accepted connection; ``ready`` answers False when it has ended."""

    __slots__ = (
        "_chunk_tail",
        "_epoll",
        "_head",
        "_left",
        "_sink",
        "_socket",
        "_tunnel",
        "_unsent",
    )

    def __init__(self, accepted: socket.socket, epoll: select.epoll, sink: bytearray) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = accepted
        self._epoll = epoll
        self._sink = sink
        self._head = b""
        self._left = 0  # bytes of a request body still expected
        self._chunk_tail: bytes | None = None  # end of what was read of a chunked body
        self._tunnel = False
        self._unsent = memoryview(b"")

    def ready(self, mask: int) -> bool:
        """Do what the socket is ready for."""
        try:
            if self._unsent:
                if mask & select.EPOLLOUT:
                    self._send(self._unsent)
                return not mask & (select.EPOLLHUP | select.EPOLLERR)
            if self._left:
                return self._swallow()
            data = self._socket.recv(_READ)
            if not data:
                return False
            if self._tunnel:
                self._send(memoryview(data))
            elif self._chunk_tail is not None:
                self._swallow_chunks(data)
            else:
                self._take(self._head + data)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Give the descriptor back."""
        self._epoll.unregister(self._socket)
        self._socket.close()

    def _take(self, data: bytes) -> None:
        """``data`` is all that was read of a request so far."""
        if data.startswith(b"GET /small") and data.endswith(b"\r\n\r\n"):
            self._head = b""
            self._socket.send(_SMALL)
            return
        head, end, body = data.partition(b"\r\n\r\n")
        if not end:
            self._head = data
            return
        self._head = b""
        if head.startswith(b"POST /upload"):
            if _CHUNKED.search(head):
                self._chunk_tail = b""
                self._swallow_chunks(body)
            elif length := _CONTENT_LENGTH.search(head):
                self._left = int(length[1]) - len(body)
                if self._left <= 0:
                    self._left = 0
                    self._socket.send(_DONE)
        elif head.startswith(b"GET /large"):
            self._send(_LARGE)
        elif head.startswith(b"GET /echo") and (key := _WEBSOCKET_KEY.search(head)):
            self._tunnel = True
            self._send(memoryview(upgraded(key[1]) + body))
        else:
            self._socket.send(_MISSING)

    def _swallow(self) -> bool:
        # MSG_TRUNC: the kernel throws the bytes away without copying them
        wanted = min(self._left, len(self._sink))
        count = self._socket.recv_into(self._sink, wanted, socket.MSG_TRUNC)
        self._left -= count
        if not self._left:
            self._socket.send(_DONE)
        return count > 0

    def _swallow_chunks(self, data: bytes) -> None:
        # the generator's bodies are one letter repeated, so the last chunk cannot be inside one
        self._chunk_tail = ((self._chunk_tail or b"") + data)[-5:]
        if self._chunk_tail == b"0\r\n\r\n":
            self._chunk_tail = None
            self._socket.send(_DONE)

    def _send(self, data: memoryview) -> None:
        waiting = bool(self._unsent)
        try:
            self._unsent = data[self._socket.send(data) :]
        except BlockingIOError:
            self._unsent = data
        if bool(self._unsent) != waiting:
            wanted = select.EPOLLOUT if self._unsent else select.EPOLLIN
            self._epoll.modify(self._socket, wanted)


def listen(addresses: list[str]) -> list[socket.socket]:
    """Listening sockets on every address, on one port that is free on the first.

    Raises:
        OSError: the port is taken on another, or an address is not of this machine.
    """
    with contextlib.ExitStack() as opened:
        first = opened.enter_context(socket.create_server((addresses[0], 0), backlog=_BACKLOG))
        port = first.getsockname()[1]
        listeners = [first]
        for address in addresses[1:]:
            other = socket.create_server((address, port), backlog=_BACKLOG)
            listeners.append(opened.enter_context(other))
        opened.pop_all()  # they stay open
        return listeners


def serve(listeners: list[socket.socket], until_closed: int) -> None:
    """Answer until the descriptor ``until_closed`` reports its end."""
    epoll = select.epoll()
    sink = bytearray(_READ)
    connections: dict[int, Connection] = {}
    accepting = {listener.fileno(): listener for listener in listeners}
    for fd in (*accepting, until_closed):
        epoll.register(fd, select.EPOLLIN)
    while True:
        for fd, mask in epoll.poll(maxevents=_EVENTS):
            connection = connections.get(fd)
            if connection is not None:
                if not connection.ready(mask):
                    connections.pop(fd).close()
            elif fd == until_closed:
                return
            else:
                accepted, _ = accepting[fd].accept()
                epoll.register(accepted, select.EPOLLIN)
                connections[accepted.fileno()] = Connection(accepted, epoll, sink)


def main() -> None:
    """The command line: addresses in, a port out."""
    listeners = listen(sys.argv[1:] or ["127.0.0.1"])
    print(listeners[0].getsockname()[1], flush=True)
    serve(listeners, sys.stdin.fileno())


if __name__ == "__main__":
    main()
