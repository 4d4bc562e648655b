"""Connections to the API server: two bounded pools, watched by the kernel. The HTTP client is here.

Two, because a watch holds its connection for minutes, and must never keep a Lease from being
renewed. Out: answers whose head is there, or what the HTTP client raises; `why` puts that into
words.
"""

import importlib.metadata
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from ingress_controller.sources.credentials import Login

MAX_REQUESTS = 32
"""Connections for requests; the status writer uses eight at once."""
MAX_STREAMS = 1024
"""Connections for watches: six kinds, once for each namespace or for each object watched alone."""
IDLE_SECONDS = 30.0
"""Idle connections of requests are closed after so long; the API server's own limit is 180 s."""
KEEPALIVE = (
    ("TCP_KEEPIDLE", 15),
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 30_000),
)
"""Seconds, seconds, probes, and milliseconds for which sent bytes may stay unacknowledged. Go's
clients notice a dead peer after 30 s as well (HTTP/2 PING). What a system lacks is left out."""
NO_LIMITS = aiohttp.ClientTimeout(total=None)
"""For requests, which have one deadline around everything."""
FAILURES = (aiohttp.ClientError, OSError)
"""What the HTTP client raises when there is no answer."""


class Call(NamedTuple):
    """What is sent, and how long it may take."""

    what: str
    """The call as error messages name it."""
    method: str
    url: URL
    body: bytes | None
    headers: dict[str, str]
    limits: aiohttp.ClientTimeout = NO_LIMITS


class Pools:
    """Connections that trust the same authorities and show the same certificate."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.calls = 0
        """Answers that are waited for or read."""
        self._open: set[aiohttp.ClientResponse] = set()
        agent = f"python-ingress/{importlib.metadata.version('python-ingress')}"
        self._requests = _session(context, MAX_REQUESTS, agent)
        self._streams = _session(context, MAX_STREAMS, agent)

    @asynccontextmanager
    async def send(self, call: Call, login: Login) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, as soon as its head is there. If its body was not read to the end, its
        connection is closed.

        Raises:
            aiohttp.ClientError, OSError: see `why`.
        """
        if login.authorization is not None:
            call.headers["Authorization"] = login.authorization
        session = self._requests if call.limits is NO_LIMITS else self._streams
        self.calls += 1
        try:
            response = await session.request(
                call.method,
                call.url,
                data=call.body,
                headers=call.headers,
                timeout=call.limits,
                allow_redirects=False,  # the credentials are for this server alone
                proxy=login.proxy,
                server_hostname=login.server_name,
            )
            self._open.add(response)
            try:
                yield response
            finally:
                self._open.discard(response)
                response.close()
        finally:
            self.calls -= 1

    async def close(self) -> None:
        """End all connections; whoever reads an answer is told."""
        for response in list(self._open):
            response.close()  # a session that closes leaves its readers waiting for ever
        await self._requests.close()
        await self._streams.close()


def why(error: Exception, limits: aiohttp.ClientTimeout) -> str:
    """What became of the server, in words of ours: the client's may quote URLs and fields."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "it is not trusted")
            return f"shows a certificate that is not accepted: {reason}"
        case aiohttp.ClientHttpProxyError():
            return f"cannot be reached: the proxy answered {error.status}"
        case aiohttp.ClientProxyConnectionError():
            return "cannot be reached: its proxy cannot"
        case aiohttp.ClientConnectorDNSError():
            return "cannot be found: its name has no address"
        case ssl.SSLError():
            reason = getattr(getattr(error, "os_error", error), "reason", None)
            return f"does not agree on TLS: {reason or 'the handshake failed'}"
        case aiohttp.ConnectionTimeoutError() if limits.connect is not None:
            return f"gave no connection within {limits.connect:g} s"
        case aiohttp.ServerTimeoutError() if limits.sock_read is not None:
            return f"was silent for {limits.sock_read:g} s"
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError():
            return "ended the connection in the middle"
        case OSError() if error.errno:
            return f"cannot be reached: {os.strerror(error.errno)}"
    return f"cannot be reached ({type(error).__name__})"


def _session(context: ssl.SSLContext | None, connections: int, agent: str) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=connections,
            ssl=context if context is not None else True,
            keepalive_timeout=IDLE_SECONDS,
            socket_factory=_watched_socket,
        ),
        headers={
            "User-Agent": agent,
            "Accept": "application/json",
            # Lists would come compressed otherwise, which costs the API server, and our start,
            # more than the bytes cost a cluster's network.
            "Accept-Encoding": "identity",
        },
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,  # traffic to the API server takes no proxy that nobody asked for
    )
    # It would send a GET or PUT twice that got no answer. Reflectors decide themselves when an API
    # server that is away is asked again, for all together.
    session._retry_connection = False  # there is no public way
    return session


def _watched_socket(
    address: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]],
) -> socket.socket:
    """A socket whose kernel notices within about half a minute that the other side is gone."""
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock
