"""Requests and watches to the Kubernetes API: bytes out, bytes in, every wait with a deadline.

Credentials are loaded again once a minute at most, and when the server refuses them; when the
authorities have changed, new connections trust the new ones and watches that run live on.

In: a method, a path, a query. Out: bytes, or an error of `errors`.
"""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from ingress_controller.sources.connections import FAILURES, Call, Pools, why
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
from ingress_controller.sources.requests import NO_QUERY

__all__ = ["Access", "KubeApi"]

RENEW_SECONDS = 60.0
"""Credentials are about this old at most when they are used; a Pod's token is renewed ten minutes
and more before it ends (Kubernetes: "Managing Service Accounts")."""
RENEW_PAUSE_SECONDS = 1.0
"""After credentials were loaded because the server refused them, for so long they are not loaded
for that reason again: an exec plugin may be slow and pay for each call."""
MAX_BODY = 128 * 1024 * 1024
"""Bytes of one answer, which is held twice for a moment. A page of 500 objects of the most that
etcd takes would be 750 MiB: `watch_machine` then asks for smaller pages."""
MAX_LINE = 16 * 1024 * 1024
"""Bytes of one watch event: etcd takes 1.5 MiB, and JSON is longer than what it stores."""
MAX_ERROR_BODY = 64 * 1024


class KubeApi:
    """The API server as one account sees it. Use it on the event loop that made it."""

    def __init__(self, account: Account, login: Login) -> None:
        """Use `connect`, or `enter` for an account of your own.

        Raises:
            AccessError: a certificate file cannot be used.
        """
        self.server = login.server
        """URL of the API server, for logs."""
        self.on_answer: Callable[[], None] = lambda: None
        """Called at each answer that shows the server to be itself, refusals included."""
        self._account = account
        self._login = login
        self._digest = tls_digest(login)
        self._pools = Pools(tls_context(login))
        self._retired: list[Pools] = []
        self._closed = False
        self._renewal: asyncio.Task[bool] | None = None
        self._trouble = ""  # why credentials could not be loaded again
        self._renew_at = asyncio.get_running_loop().time() + RENEW_SECONDS
        self._pause_until = 0.0

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

    @property
    def entry(self) -> tuple[str, int]:
        """Host and port that connections are opened to: those of the proxy, if there is one."""
        url = URL(self._login.proxy or self._login.server)
        return url.host or "", url.port or 443

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
        call = Call(f"{method} {path}", method, self._url(path, query), body, headers)
        try:
            async with asyncio.timeout(timeout), self._answer(call) as response:
                return await self._read(call, response, MAX_BODY)
        except TimeoutError:
            message = f"{call.what}: {self.server} gave no answer within {timeout:g} s"
            raise UnavailableError(message) from None

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
        call = Call(f"watch of {path}", "GET", self._url(path, query), None, {}, limits)
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
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])
        for pools in (self._pools, *self._retired):
            await pools.close()
        self._retired.clear()

    def _url(self, path: str, query: Mapping[str, str]) -> URL:
        return URL(f"{self.server}{path}{'?' if query else ''}{urlencode(query)}", encoded=True)

    @asynccontextmanager
    async def _answer(self, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer with a good status; its connection is closed unless the body was read."""
        if asyncio.get_running_loop().time() >= self._renew_at:
            self._begin_renewal(anew=False)  # not waited for: what we have is still good
        for last in (False, True):
            if self._closed:
                raise UnavailableError(f"{call.what}: connections to {self.server} were closed")
            login = self._login
            try:
                async with self._pools.send(call, login) as response:
                    if response.status < 500:
                        self.on_answer()
                    if 200 <= response.status < 300:
                        yield response
                        return
                    failure = await self._refusal(call, response)
            except ssl.SSLError as error:
                failure = self._failure(call, error)  # there may be new authorities
            except FAILURES as error:
                raise self._failure(call, error) from None
            may_pass = failure.status is None or isinstance(failure, UnauthorizedError)
            if last or not may_pass or not await self._renewed(login):
                if self._trouble and isinstance(failure, UnauthorizedError):
                    failure.args = (f"{failure}; {self._trouble}",)
                raise failure

    async def _renewed(self, used: Login) -> bool:
        """The credentials that were ``used`` have been refused: there are others to try, or the
        same ones were loaded again."""
        if self._login != used:
            return True
        if self._renewal is None and asyncio.get_running_loop().time() < self._pause_until:
            return False
        renewal = self._begin_renewal(anew=True)
        await asyncio.wait([renewal])  # unlike awaiting it, this never cancels it
        return not renewal.cancelled() and renewal.result()

    def _begin_renewal(self, *, anew: bool) -> "asyncio.Task[bool]":
        """One at a time, and to its end: the deadline of the request that began it may be short."""
        if self._renewal is None:
            loop = asyncio.get_running_loop()
            self._renewal = loop.create_task(self._renew(anew=anew), name="renew credentials")
        return self._renewal

    async def _renew(self, *, anew: bool) -> bool:
        """Load the credentials again. If that fails, what we have may still do; if it does not,
        the server's answer will tell both."""
        loop = asyncio.get_running_loop()
        try:
            login = await self._account.load(anew=anew)
            digest = tls_digest(login)
            context = tls_context(login) if digest != self._digest else None
        except AccessError as error:
            self._trouble = str(error)
            return False
        finally:
            self._renewal = None
            self._renew_at = loop.time() + RENEW_SECONDS
            if anew:
                self._pause_until = loop.time() + RENEW_PAUSE_SECONDS
        self._login, self._trouble = login, ""
        if digest != self._digest:
            self._retired.append(self._pools)
            self._pools, self._digest = Pools(context), digest
        for pools in [pools for pools in self._retired if not pools.calls]:
            self._retired.remove(pools)
            await pools.close()
        return True

    async def _piece(self, call: Call, response: aiohttp.ClientResponse) -> bytes:
        """What has come of a body; nothing at its end."""
        try:
            return await response.content.readany()
        except FAILURES as error:
            raise self._failure(call, error) from None
        except RuntimeError:
            # The library's word for a connection that was closed before it was asked to read.
            closed = f"{call.what}: the connection to {self.server} was closed"
            raise self._redacted(UnavailableError(closed)) from None

    async def _read(self, call: Call, response: aiohttp.ClientResponse, limit: int) -> bytes:
        """A whole body, of ``limit`` bytes at most."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self._piece(call, response):
            size += len(piece)
            if size > limit:
                raise MalformedAnswerError(f"{call.what}: the answer has more than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    async def _refusal(self, call: Call, response: aiohttp.ClientResponse) -> ApiError:
        """What an answer with another status means."""
        try:
            status = read_status(await self._read(call, response, MAX_ERROR_BODY))
        except ApiError:
            status = read_status(b"")  # the code says enough
        asked = retry_after_seconds(response.headers.get("Retry-After", ""), time.time())
        return self._redacted(error_of(call.what, response.status, status, asked))

    def _failure(self, call: Call, error: Exception) -> ApiError:
        """No answer, or none that could be read."""
        is_proxy = isinstance(error, aiohttp.ClientHttpProxyError)
        if isinstance(error, aiohttp.ClientResponseError) and not is_proxy:
            return MalformedAnswerError(f"{call.what}: what {self.server} answers is no HTTP")
        message = f"{call.what}: {self.server} {why(error, call.limits)}"
        return self._redacted(UnavailableError(message))

    def _redacted(self, error: ApiError) -> ApiError:
        """Without credentials: a gateway in between may quote what it got."""
        message = str(error)
        for secret in self._login.secrets:
            message = message.replace(secret, "(redacted)")
        error.args = (message,)
        return error
