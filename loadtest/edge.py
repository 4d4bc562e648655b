"""Connections to the edge: every URL's host goes into the Host field and the server name, every
connection to one address. That is what DNS would do, without DNS.

Built on geventhttpclient, with one difference. It sends a request again up to eleven times when its
connection is closed, also a new one, so that an edge which cuts connections would look sound. Here
a request goes out again once, and only if its connection had been kept alive from an earlier one,
nothing of an answer came, and the method is idempotent (RFC 9110 section 9.2.2, RFC 9112 section
9.3.1). The verdict says how often.
"""

import contextlib
import select
import socket
import ssl
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import gevent.monkey
from geventhttpclient.client import IDEMPOTENT_METHODS, HTTPClient, HTTPClientPool
from geventhttpclient.connectionpool import ConnectionPool, SSLConnectionPool
from geventhttpclient.response import HTTPConnectionClosed
from geventhttpclient.url import URL

from loadtest.meters import Meter

TIMEOUT = 30.0
"""Seconds without a byte after which an answer counts as never coming."""
BLOCK = 1 << 14
_ports = {"http": 80, "https": 443}


class Address(NamedTuple):
    """Where a connection goes."""

    host: str
    port: int


class EdgeError(ValueError):
    """An address or a certificate file cannot be used; the message says why."""


def read_address(text: str, scheme: str) -> Address:
    """Reads ``http://ADDRESS[:PORT]`` or ``ADDRESS[:PORT]``.

    Raises:
        EdgeError: it is neither.
    """
    try:
        parts = urlsplit(text if "://" in text else f"{scheme}://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise EdgeError(f"{text!r} is not an address such as 10.0.0.1 or [::1]:8443")
    return Address(host, port or _ports[scheme])


class Edge:
    """Where the edge is, and how its certificates are checked."""

    def __init__(
        self, http: Address, https: Address, context: ssl.SSLContext, file: Path | None = None
    ) -> None:
        """
        Args:
            http: for plain connections.
            https: for TLS.
            context: how certificates are checked.
            file: two lines, the addresses that new connections go to instead of those above. It is
                read for each connection: so a replaced edge is found, as through a Service.
        """
        self._http = http
        self._https = https
        self._file = file
        self.context = context

    def address(self, *, secure: bool) -> Address:
        """Where a new connection goes now."""
        if self._file is not None:
            lines = self._file.read_text().split()
            return read_address(lines[1 if secure else 0], "https" if secure else "http")
        return self._https if secure else self._http

    def connect(self, server_name: str, *, secure: bool, receive_buffer: int = 0) -> socket.socket:
        """A connection of its own, for what is no plain HTTP client.

        Args:
            server_name: of TLS.
            secure: over TLS.
            receive_buffer: bytes that the kernel may keep for it; 0 leaves that to the kernel.
        """
        host, port = self.address(secure=secure)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, where = found[0]
        made = socket.socket(family, kind, protocol)
        try:
            if receive_buffer:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            made.settimeout(TIMEOUT)
            made.connect(where)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self.context.wrap_socket(made, server_hostname=server_name) if secure else made
        except OSError:
            made.close()
            raise


def trust(ca: str | None, *, insecure: bool) -> ssl.SSLContext:
    """How certificates are checked: by a file of authorities, by those of the system, or not.

    Raises:
        EdgeError: the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise EdgeError(f"--ca {ca}: {error.strerror or error}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _Connections:
    """Mixed into both kinds of pools: new connections where the edge is now, and counted."""

    edge: Edge
    meter: Meter
    secure = False
    reused = False
    """Whether the connection given out last had been used before."""

    def _create_socket(self: Any) -> Any:
        self._connection_host, self._connection_port = self.edge.address(secure=self.secure)
        self.reused = False
        return super()._create_socket()

    def after_connect(self, sock: socket.socket) -> None:
        self.meter.connections += 1
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get_socket(self) -> Any:
        self.reused = True
        return super().get_socket()  # type: ignore[misc] # of the pool

    def _is_socket_alive(self, sock: socket.socket | None) -> bool:
        """Nothing to read and not closed. Not by select, which knows no descriptor above 1023:
        with more users than that, every request would silently open a connection."""
        if sock is None or sock.fileno() < 0:
            return False
        poll = gevent.monkey.get_original("select", "poll")()
        poll.register(sock.fileno(), select.POLLIN)
        return not poll.poll(0)

    def forget(self: Any) -> None:
        """Closes the idle connections."""
        while not self._socket_queue.empty():
            self._socket_queue.get(block=False).close()


class _PlainConnections(_Connections, ConnectionPool):
    pass


class _SecureConnections(_Connections, SSLConnectionPool):
    secure = True


class _Client(HTTPClient):
    """One user's connection to one host (over TLS) or to all of them (in clear)."""

    def __init__(self, server_name: str, edge: Edge, meter: Meter, *, secure: bool) -> None:
        super().__init__(server_name, block_size=BLOCK, concurrency=1)
        words: dict[str, Any] = {
            "size": 1,
            "connection_timeout": TIMEOUT,
            "network_timeout": TIMEOUT,
        }
        pool: _PlainConnections | _SecureConnections
        if secure:
            insecure = edge.context.verify_mode == ssl.CERT_NONE
            pool = _SecureConnections(
                server_name,
                0,
                server_name,
                443,
                insecure=insecure,
                ssl_context_factory=lambda **_: edge.context,
                **words,
            )
        else:
            pool = _PlainConnections(server_name, 0, server_name, 80, **words)
        pool.edge, pool.meter = edge, meter
        pool.size = -1  # the attempts that geventhttpclient makes by itself are one more than this
        self._connection_pool = pool
        self._meter = meter

    def request(self, method: str, *words: Any, **named: Any) -> Any:
        pool = self._connection_pool
        try:
            return super().request(method, *words, **named)
        except (HTTPConnectionClosed, ConnectionResetError, BrokenPipeError):
            if not pool.reused or method.upper() not in IDEMPOTENT_METHODS:
                raise
        self._meter.resent += 1
        pool.forget()
        return super().request(method, *words, **named)


class Clients(HTTPClientPool):
    """One user's HTTP clients."""

    def __init__(self, edge: Edge, meter: Meter) -> None:
        super().__init__()
        self._edge = edge
        self._meter = meter
        self._made: dict[str, _Client] = {}

    def get_client(self, url: str | URL) -> HTTPClient:
        parts = url if isinstance(url, URL) else URL(url)
        secure = parts.scheme == "https"
        key = parts.host if secure else ""
        client = self._made.get(key)
        if client is None:
            client = self._made[key] = _Client(parts.host, self._edge, self._meter, secure=secure)
        return client

    def close(self) -> None:
        for client in self._made.values():
            with contextlib.suppress(OSError):
                client.close()
        self._made.clear()
