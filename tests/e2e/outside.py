"""Clients at the published address: strict readers of answers, each request told apart."""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tests.harness.client import Address, Connection, request
from tests.harness.secure import SecureConnection
from tests.harness.strict import Malformed, Reply
from tests.harness.waiting import PATIENCE

TROUBLE = (OSError, AssertionError, TimeoutError, Malformed)
"""What a request without a complete, well-formed answer ends in; ssl.SSLError is an OSError."""
IN_A_ROW = 12
"""New connections are spread over replicas: so many good answers in a row mean that all agree. With
two that differ it takes about eight thousand tries to be fooled."""


class Answer(NamedTuple):
    """An answer, and what the echo backend says in it."""

    reply: Reply
    certificate: bytes
    """The server's certificate (DER) of a request over TLS."""

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def seen(self) -> dict[str, Any]:
        """What the backend saw; fails when no echo backend answered."""
        assert self.status == 200, f"{self.status}: {self.reply.body!r}"
        seen: dict[str, Any] = json.loads(bytes(self.reply.body))
        return seen


class Edge:
    """The address of a controller, as clients outside see it."""

    def __init__(self, host: str, *, http: int = 80, https: int = 443) -> None:
        self.host = host
        self.http: Address = (host, http)
        self.https: Address = (host, https)

    async def get(
        self,
        host: str,
        target: str = "/",
        *fields: tuple[str, str],
        tls: bool = False,
        method: str = "GET",
        body: bytes = b"",
        within: float = PATIENCE,
    ) -> Answer:
        """One request on a connection of its own.

        Raises:
            one of TROUBLE: there was no complete answer.
        """
        data = request(target, *fields, method=method, host=host, body=body)
        if not tls:
            async with await Connection.open(self.http) as connection:
                return Answer(await connection.exchange(data, within), b"")
        connection = await SecureConnection.secure(
            self.https, context=trusting_context(), server_name=host
        )
        async with connection:
            certificate = connection.tls.getpeercert(binary_form=True) or b""
            return Answer(await connection.exchange(data, within), certificate)

    async def until(
        self,
        host: str,
        target: str = "/",
        *,
        holds: Callable[[Answer], object] = lambda answer: answer.status == 200,
        what: str = "",
        tls: bool = False,
        within: float = PATIENCE,
    ) -> tuple[Answer, float]:
        """Ask until the answer is as wanted, by all replicas; gives it and the seconds it took."""
        start = time.perf_counter()
        last: object = "nothing"
        row = 0
        while time.perf_counter() - start < within:
            try:
                answer = await self.get(host, target, tls=tls)
                good = holds(answer)
                row = row + 1 if good else 0
                if row == IN_A_ROW:
                    return answer, time.perf_counter() - start
                last = f"{answer.status} {bytes(answer.reply.body)[:200]!r}"
            except TROUBLE as error:
                good, row, last = False, 0, repr(error)
            await asyncio.sleep(0 if good else 0.01)
        raise AssertionError(f"not within {within} s: {what or f'{host}{target}'}; last: {last}")

    async def until_served(
        self, host: str, target: str = "/", *, by: str = "", tls: bool = False, within: float = 10
    ) -> Answer:
        """Ask until an echo backend answers, of this Service when one is named."""
        answer, _ = await self.until(
            host,
            target,
            holds=lambda found: found.status == 200 and (not by or found.seen["service"] == by),
            what=f"{host}{target} served by {by or 'anyone'}",
            tls=tls,
            within=within,
        )
        return answer

    async def until_status(
        self, status: int, host: str, target: str = "/", *, tls: bool = False, within: float = 10
    ) -> Answer:
        """Ask until the answer has this status."""
        answer, _ = await self.until(
            host,
            target,
            holds=lambda found: found.status == status,
            what=f"{status} for {host}{target}",
            tls=tls,
            within=within,
        )
        return answer

    async def pods(self, host: str, target: str = "/", count: int = 20) -> list[str]:
        """Which Pods answer so many requests."""
        return [str((await self.get(host, target)).seen["pod"]) for _ in range(count)]

    async def certificate(self, server_name: str) -> bytes:
        """The certificate (DER) that answers for a name."""
        connection = await SecureConnection.secure(
            self.https, context=trusting_context(), server_name=server_name
        )
        with contextlib.closing(connection):
            return connection.tls.getpeercert(binary_form=True) or b""

    async def certificates(self, server_name: str, count: int = 16) -> set[bytes]:
        """All certificates (DER) that replicas answer with: each has a default one of its own."""
        return {await self.certificate(server_name) for _ in range(count)}

    async def until_certificate(self, server_name: str, wanted: bytes, within: float = 10) -> float:
        """Shake hands until this certificate (DER) is shown; gives the seconds that it took."""
        start = time.perf_counter()
        row = 0
        while time.perf_counter() - start < within:
            with contextlib.suppress(*TROUBLE):
                row = row + 1 if await self.certificate(server_name) == wanted else 0
                if row == IN_A_ROW:
                    return time.perf_counter() - start
            await asyncio.sleep(0 if row else 0.01)
        raise AssertionError(f"not within {within} s: the new certificate for {server_name}")


def trusting_context() -> ssl.SSLContext:
    """A client that takes any certificate: tests compare it themselves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def statuses(edge: Edge, requests: Sequence[tuple[str, str]]) -> list[int]:
    """The status of each (host, target)."""
    return [(await edge.get(host, target)).status for host, target in requests]
