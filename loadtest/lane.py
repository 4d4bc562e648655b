"""What all lanes share: a single-threaded epoll loop in the caller's process.

The generator must cost little, because it shares its core with the backend; and it must be the
same for every proxy. So it opens plain sockets, sends prebuilt requests, and looks at an answer
only as far as it must: the status line, and where the answer ends. Over TLS it uses Python's ssl
and verifies no certificate, which is of no account to the proxy. Every loop ends at a deadline.
"""

import contextlib
import errno
import select
import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

HOST: Final = "bench.example"
"""The host that every proxy has a rule for."""

_EVENTS = 256
BROWSER_FIELDS: Final = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
)


def request(method: str, path: str, *fields: str) -> bytes:
    """The head of a request to HOST; each field is a whole line without its end."""
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n".encode()


SMALL: Final = request("GET", "/small", *BROWSER_FIELDS.splitlines())


def client_context() -> ssl.SSLContext:
    """A client of TLS 1.3 that offers HTTP/1.1 and takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    return context


@dataclass(frozen=True, slots=True)
class Count:
    """What one window achieved."""

    units: float
    """Answers; for large bodies, bytes divided by the size of one body."""
    failures: int
    """Answers that were not the expected ones."""
    reconnects: int
    """Connections that ended and were opened anew."""


class Lane(ABC):
    """One kind of load against one proxy. ``open``, ``run`` as often as wanted, ``close``."""

    title: str
    unit: str = "request"
    connections: int = 64
    secure: bool = False
    """Over TLS: ``port`` is then the proxy's port for HTTPS."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._context = client_context() if self.secure else None
        self._session: ssl.SSLSession | None = None  # what new connections resume
        # whose handshake has not ended; whether it should resume the session
        self._shaking: dict[int, tuple[ssl.SSLSocket, bool]] = {}
        self._units = 0.0
        self._failures = 0
        self._reconnects = 0

    def open(self) -> None:
        """Connect and send the first requests.

        Raises:
            OSError: the proxy does not accept.
        """
        for _ in range(self.connections):
            self._connect()

    def run(self, seconds: float, step: Callable[[], None]) -> Count:
        """Load the proxy for this time and say what came back in it.

        ``step`` lets the backend do its work; it is called in every turn of the loop. The loop
        never sleeps: a core that has to be woken costs the one that wakes it (on a virtual
        machine several microseconds), and that would be counted as the proxy's work.
        """
        self._units, self._failures, self._reconnects = 0.0, 0, 0
        poll = self._epoll.poll
        clock = time.perf_counter
        deadline = clock() + seconds
        while clock() < deadline:
            for fd, mask in poll(0, _EVENTS):
                try:
                    if fd in self._shaking:
                        self._shake(fd)
                    else:
                        self._ready(fd, self._sockets[fd], mask)
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue
                except ssl.SSLError:
                    self._failures += 1
                    self._reconnect(fd)
                except OSError as error:
                    if error.errno not in (errno.ECONNRESET, errno.EPIPE):
                        raise
                    self._reconnect(fd)
            step()
        return Count(self._units, self._failures, self._reconnects)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._sockets.values():
            connection.close()
        self._sockets.clear()
        self._shaking.clear()
        self._epoll.close()

    def _connect(self) -> None:
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        connection = socket.socket(socket.AF_INET, kind)
        with contextlib.suppress(BlockingIOError):
            connection.connect(self._address)
        fd = connection.fileno()
        self._epoll.register(fd, select.EPOLLIN)
        if self._context is None:
            self._sockets[fd] = connection
            self._begin(fd, connection)
            return
        self._sockets[fd] = secured = self._context.wrap_socket(
            connection,
            do_handshake_on_connect=False,
            server_hostname=HOST,
            session=self._session,
        )
        self._shaking[fd] = secured, self._session is not None
        with contextlib.suppress(ssl.SSLError):  # a fault comes again when the socket is ready
            self._shake(fd)

    def _shake(self, fd: int) -> None:
        """Go on with a handshake, and with the first request when it has ended.

        Raises:
            SSLWantReadError: the proxy has to say more first.
        """
        connection, resumes = self._shaking[fd]
        connection.do_handshake()
        del self._shaking[fd]
        if connection.session_reused is not resumes:
            self._failures += 1
        self._begin(fd, connection)

    def _reconnect(self, fd: int) -> None:
        """The proxy ended this connection where it might have gone on."""
        self._reconnects += 1
        self._shaking.pop(fd, None)
        self._sockets.pop(fd).close()  # closing takes it out of the epoll set
        self._connect()

    @abstractmethod
    def _begin(self, fd: int, connection: socket.socket) -> None:
        """A new connection: send the first bytes (loopback connects at once)."""

    @abstractmethod
    def _ready(self, fd: int, connection: socket.socket, mask: int) -> None:
        """Events on a connection."""
