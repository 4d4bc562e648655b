"""Requests and watches to the Kubernetes API: bytes out, bytes in, every wait with a deadline.

Two pools of connections, because a watch holds its connection for minutes and must never keep a
Lease from being renewed. Credentials are loaded again once a minute at most, and when the server
refuses them; when the authorities have changed, new connections trust the new ones and watches that
run live on.

In: a method, a path, a query. Out: bytes, or an error of `errors`.
"""

import asyncio
import importlib.metadata
import os
import socket
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from ingress_controller.sources.credentials import (
    Access,
    Account,
    Login,
    find_account,
    tls_context,
    tls_digest,
)
from ingress_controller.sources.errors import (
    AccessError,
    ApiError,
    MalformedAnswerError,
    UnauthorizedError,
    UnavailableError,
    error_of,
    read_status,
    retry_after_seconds,
)
from ingress_controller.sources.lines import Lines

__all__ = ["Access", "KubeApi"]

RENEW_SECONDS = 60.0
"""Credentials are at most this old when they are used; a Pod's token is renewed ten minutes and
more before it ends (Kubernetes: "Managing Service Accounts")."""
RENEW_PAUSE_SECONDS = 1.0
"""After credentials were loaded because the server refused them, for so long they are not loaded
for that reason again: an exec plugin may be slow and pay for each call."""
MAX_REQUESTS = 32
"""Connections for requests; the status writer uses eight at once."""
MAX_STREAMS = 1024
"""Connections for watches: seven kinds, once for each namespace or each object watched alone."""
MAX_BODY = 256 * 1024 * 1024
"""Bytes of one answer: a page of 500 objects of the most that etcd takes would be 750 MiB, but a
process that holds this much at once is near its limit."""
MAX_LINE = 16 * 1024 * 1024
"""Bytes of one watch event: etcd takes 1.5 MiB, JSON is longer than what it stores."""
MAX_ERROR_BODY = 64 * 1024
IDLE_SECONDS = 30.0
"""Idle connections of requests are closed after so long; the API server's own limit is 180 s."""
KEEPALIVE = (
    ("TCP_KEEPIDLE", 15),
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 30_000),
)
"""Seconds, seconds, probes, and milliseconds that sent bytes may stay unacknowledged. Half a minute
is what Go's clients need (HTTP/2 PING). Options that a system lacks are left out."""
NO_LIMITS = aiohttp.ClientTimeout(total=None)
"""For requests: one deadline around everything instead."""
NO_QUERY: Mapping[str, str] = MappingProxyType({})


class KubeApi:
    """The API server as one account sees it. Use it on the event loop that made it."""

    def __init__(self, account: Account, login: Login) -> None:
        """Use `connect`, or `enter` for an account of your own."""
        self.server = login.server
        """URL of the API server, for logs."""
        self._account = account
        self._login = login
        self._trouble = ""  # why credentials could not be loaded again
        self._digest = tls_digest(login)
        self._pools = _Pools(tls_context(login))
        self._retired: list[_Pools] = []
        self._closed = False
        now = asyncio.get_running_loop().time()
        self._renew_at = now + RENEW_SECONDS
        self._pause_until = now
        self._renewing = asyncio.Lock()

    @classmethod
    async def connect(cls, access: Access) -> "KubeApi":
        """Load the credentials; makes no request.

        Raises:
            AccessError: no usable kubeconfig, context or service account.
        """
        return await cls.enter(find_account(access, os.environ))

    @classmethod
    async def enter(cls, account: Account) -> "KubeApi":
        """As `connect`, with this account."""
        return cls(account, await account.load(anew=False))

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] = NO_QUERY,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float = 10.0,  # noqa: ASYNC109  # one deadline for several waits, set inside
    ) -> bytes:
        """The body of an answer with a status of 200 to 299.

        ``path`` begins with a slash and is sent as it is; ``timeout`` in seconds covers all:
        renewed credentials, the wait for a connection, the whole answer.

        Raises:
            ApiError: anything else.
        """
        headers = {} if body is None else {"Content-Type": content_type}
        call = _Call(f"{method} {path}", method, self._url(path, query), body, headers, NO_LIMITS)
        try:
            async with asyncio.timeout(timeout), self._answer(call) as response:
                return await _read(call.what, response, MAX_BODY)
        except TimeoutError:
            message = f"{call.what}: {self.server} gave no answer within {timeout:g} s"
            raise UnavailableError(message) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._failure(call, error) from None

    async def stream(
        self, path: str, *, query: Mapping[str, str], silence: float, connect: float = 10.0
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch, whole and without their line feed, until the server ends it.

        ``silence`` are the seconds without a byte after which the connection counts as dead, also
        before the head of the answer; ``connect`` those for getting a connection.

        Raises:
            ApiError: refused, lost, silent, or no lines.
        """
        limits = aiohttp.ClientTimeout(total=None, connect=connect, sock_read=silence)
        call = _Call(f"watch of {path}", "GET", self._url(path, query), None, {}, limits)
        lines = Lines(MAX_LINE)
        async with self._answer(call) as response:
            while piece := await self._piece(call, response):
                for line in lines.feed(piece):
                    yield line
                if lines.too_long:
                    raise MalformedAnswerError(
                        f"{call.what}: an event has more than {MAX_LINE} bytes"
                    )
        if lines.rest:
            raise MalformedAnswerError(f"{call.what}: ended in the middle of an event")

    async def close(self) -> None:
        """End all connections; watches that still run end with an error, as what comes later."""
        self._closed = True
        for pools in (self._pools, *self._retired):
            await pools.close()
        self._retired.clear()

    def _url(self, path: str, query: Mapping[str, str]) -> URL:
        return URL(f"{self.server}{path}{'?' if query else ''}{urlencode(query)}", encoded=True)

    @asynccontextmanager
    async def _answer(self, call: "_Call") -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer with a good status; its connection is closed unless the body was read."""
        if asyncio.get_running_loop().time() >= self._renew_at:
            await self._renew(self._login, anew=False)
        for last in (False, True):
            if self._closed:
                raise UnavailableError(f"{call.what}: connections to {self.server} were closed")
            login, pools = self._login, self._pools
            with pools.used():
                try:
                    response = await pools.send(call, login)
                except ssl.SSLError as error:
                    failure: ApiError = self._failure(call, error)
                except (aiohttp.ClientError, OSError) as error:
                    raise self._failure(call, error) from None
                else:
                    try:
                        if 200 <= response.status < 300:
                            yield response
                            return
                        failure = await self._refusal(call, response)
                    finally:
                        response.close()
            worth_it = isinstance(failure, UnauthorizedError) or failure.status is None
            if last or not worth_it or not await self._renew(login, anew=True):
                raise failure

    async def _renew(self, used: Login, *, anew: bool) -> bool:
        """Load the credentials again. ``used`` were those when that seemed necessary.

        Gives False when there is nothing that a further attempt could do better. A failure leaves
        what we have: it may still do, and if it does not, the server's answer will tell both.
        """
        async with self._renewing:
            now = asyncio.get_running_loop().time()
            if self._login != used or (not anew and now < self._renew_at):
                return True
            if anew and now < self._pause_until:
                return False
            self._renew_at = now + RENEW_SECONDS
            try:
                login = await self._account.load(anew=anew)
                digest = tls_digest(login)
                context = tls_context(login) if digest != self._digest else None
            except AccessError as error:
                self._trouble = str(error)
                return False
            finally:
                if anew:
                    self._pause_until = asyncio.get_running_loop().time() + RENEW_PAUSE_SECONDS
            self._login, self._trouble = login, ""
            if digest != self._digest:
                self._retired.append(self._pools)
                self._pools, self._digest = _Pools(context), digest
            for pools in [pools for pools in self._retired if not pools.users]:
                self._retired.remove(pools)
                await pools.close()
            return True

    async def _piece(self, call: "_Call", response: aiohttp.ClientResponse) -> bytes:
        try:
            return await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise self._failure(call, error) from None

    async def _refusal(self, call: "_Call", response: aiohttp.ClientResponse) -> ApiError:
        """What an answer with another status means; its body is read as far as it matters."""
        try:
            status = read_status(await _read(call.what, response, MAX_ERROR_BODY))
        except (aiohttp.ClientError, OSError, MalformedAnswerError):
            status = read_status(b"")
        asked = response.headers.get("Retry-After", "")
        error = error_of(
            call.what, response.status, status, retry_after_seconds(asked, time.time())
        )
        if isinstance(error, UnauthorizedError) and self._trouble:
            error.args = (f"{error}; {self._trouble}",)
        return self._redacted(error)

    def _failure(self, call: "_Call", error: Exception) -> ApiError:
        """No answer, or none that could be read."""
        if isinstance(error, aiohttp.ClientResponseError) and not isinstance(
            error, aiohttp.ClientHttpProxyError
        ):
            return MalformedAnswerError(f"{call.what}: what {self.server} answers is no HTTP")
        why = _why(error, call.limits)
        return self._redacted(UnavailableError(f"{call.what}: {self.server} {why}"))

    def _redacted(self, error: ApiError) -> ApiError:
        """A gateway in between may quote what it got."""
        message = str(error)
        for secret in self._login.secrets:
            message = message.replace(secret, "(redacted)")
        error.args = (message,)
        return error


class _Call(NamedTuple):
    """What is sent, and how long it may take."""

    what: str
    method: str
    url: URL
    body: bytes | None
    headers: dict[str, str]
    limits: aiohttp.ClientTimeout


class _Pools:
    """Connections that trust the same authorities and show the same certificate."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.users = 0
        self._requests = _session(context, MAX_REQUESTS)
        self._streams = _session(context, MAX_STREAMS)

    @contextmanager
    def used(self) -> Iterator[None]:
        """In here an answer is waited for or read."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1

    async def send(self, call: _Call, login: Login) -> aiohttp.ClientResponse:
        """The answer's head; raises what the HTTP client raises."""
        if login.authorization is not None:
            call.headers["Authorization"] = login.authorization
        session = self._requests if call.limits is NO_LIMITS else self._streams
        return await session.request(
            call.method,
            call.url,
            data=call.body,
            headers=call.headers,
            timeout=call.limits,
            allow_redirects=False,  # the credentials are for this server alone
            proxy=login.proxy,
            server_hostname=login.server_name,
        )

    async def close(self) -> None:
        """End all connections."""
        await self._requests.close()
        await self._streams.close()


def _session(context: ssl.SSLContext | None, connections: int) -> aiohttp.ClientSession:
    version = importlib.metadata.version("python-ingress")
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=connections,
            ssl=context if context is not None else True,
            keepalive_timeout=IDLE_SECONDS,
            socket_factory=_watched_socket,
        ),
        headers={
            "User-Agent": f"python-ingress/{version}",
            "Accept": "application/json",
            # Lists would come compressed otherwise, which costs the API server, and our start,
            # more than the bytes cost a cluster's network.
            "Accept-Encoding": "identity",
        },
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,  # traffic to the API server takes no proxy that nobody asked for
    )


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


async def _read(what: str, response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body.

    Raises:
        MalformedAnswerError: it has more than ``limit`` bytes.
    """
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.readany():
        size += len(piece)
        if size > limit:
            raise MalformedAnswerError(f"{what}: the answer has more than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _why(error: Exception, limits: aiohttp.ClientTimeout) -> str:
    """What the HTTP client's error means, in words of ours: its own may quote URLs and fields."""
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
            return f"does not agree on TLS: {error.reason or 'the handshake failed'}"
        case aiohttp.ConnectionTimeoutError():
            return f"gave no connection within {limits.connect:g} s"
        case aiohttp.ServerTimeoutError():
            return f"was silent for {limits.sock_read:g} s"
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError():
            return "ended the connection in the middle"
        case OSError() if error.errno:
            return f"cannot be reached: {os.strerror(error.errno)}"
    return f"cannot be reached ({type(error).__name__})"
