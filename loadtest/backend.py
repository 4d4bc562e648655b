"""The backend that all proxies are measured in front of: prebuilt answers, one epoll loop.

It must be cheap, because it shares a core and a process with the load generator and must not be
what limits a round. So it reads only what it needs of a request: the path of the first line and
how the body is framed. It trusts its clients, which are proxies on the same machine.

    python -m loadtest.backend ADDRESS...

runs it as a process of its own: it listens on one free port on every address, prints that port as
its first line, and ends when its standard input is closed, so that it cannot outlive the program
that started it.
"""

import base64
import contextlib
import hashlib
import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

SMALL_BODY: Final = 96
LARGE_BODY: Final = 10 * 1000 * 1000

_READ = 262_144
_EVENTS = 256
_BACKLOG = 4096
_STOP_SECONDS = 5.0
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


def listen(addresses: Sequence[str]) -> list[socket.socket]:
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


class Backend:
    """Listening sockets and the connections that came through them."""

    def __init__(self, listeners: list[socket.socket]) -> None:
        self.port: int = listeners[0].getsockname()[1]
        self._epoll = select.epoll()
        self._sink = bytearray(_READ)
        self._connections: dict[int, Connection] = {}
        self._listeners = {listener.fileno(): listener for listener in listeners}
        for fd in self._listeners:
            self._epoll.register(fd, select.EPOLLIN)

    def fileno(self) -> int:
        """Readable when `step` has something to do."""
        return self._epoll.fileno()

    def step(self, timeout: float = 0.0) -> None:
        """Do what can be done now; if that is nothing, wait for so many seconds."""
        connections = self._connections
        for fd, mask in self._epoll.poll(timeout, _EVENTS):
            connection = connections.get(fd)
            if connection is None:
                accepted, _ = self._listeners[fd].accept()
                self._epoll.register(accepted, select.EPOLLIN)
                connections[accepted.fileno()] = Connection(accepted, self._epoll, self._sink)
            elif not connection.ready(mask):
                connections.pop(fd).close()

    def close(self) -> None:
        """Close everything."""
        for connection in self._connections.values():
            connection.close()
        for listener in self._listeners.values():
            listener.close()
        self._epoll.close()


@contextlib.contextmanager
def process(core: int, addresses: tuple[str, ...]) -> Iterator[int]:
    """A backend as a process of its own on this core; gives its port.

    Raises:
        OSError: it did not start.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        started = subprocess.Popen(
            [sys.executable, "-m", "loadtest.backend", *addresses],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parent.parent,
        )
    finally:
        os.sched_setaffinity(0, before)
    assert started.stdin is not None  # noqa: S101 -- a pipe, above
    assert started.stdout is not None  # noqa: S101 -- a pipe, above
    try:
        line = started.stdout.readline()
        if not line:
            raise OSError("the backend did not start; its message is above")
        yield int(line)
    finally:
        started.stdin.close()
        started.stdout.close()
        started.wait(_STOP_SECONDS)


def main() -> None:
    """The command line: addresses in, a port out."""
    backend = Backend(listen(sys.argv[1:] or ["127.0.0.1"]))
    print(backend.port, flush=True)
    while True:
        readable, _, _ = select.select([backend, sys.stdin], [], [])
        if sys.stdin in readable:
            return
        backend.step()


if __name__ == "__main__":
    main()
