"""TLS that endpoints end themselves, beside hosts whose TLS ends here, on one port."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from router.model import wire
from router.model.limits import Limits
from router.model.upstreams import Endpoint
from tests.harness.backend import Backend
from tests.harness.client import Address, request
from tests.harness.raw import say
from tests.harness.secure import Name, SecureConnection, renamed, secure_worker, serve
from tests.harness.serving import serving
from tests.harness.waiting import until
from tests.harness.worker import QUIET, Worker
from tests.tls.certificates import pair
from tests.tls.handshakes import client_context, hello_bytes
from tls.contexts import load_pair

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HELLO = hello_bytes(client_context(), "raw.test")


@dataclass(slots=True)
class Site:
    """A worker with an ended host and passed ones; ``owner``, a port, ends TLS itself."""

    worker: Worker
    owner: int

    @property
    def address(self) -> Address:
        return self.worker.secure_address


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nowner")
            await writer.drain()
    writer.close()


@asynccontextmanager
async def _site(
    handler: Handler,
    *,
    limits: Limits | None = None,
    options: wire.Options = QUIET,
    others: tuple[Endpoint, ...] = (),
) -> AsyncIterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, pair("owner.test", "*.passed.test", issuer="the owner of the backend"))
    with Backend() as backend, secure_worker(limits=limits, options=options) as worker:
        async with (
            serving(_answer, context) as owner,
            serving(handler) as raw,
        ):
            serve(
                worker,
                {
                    "h.test": {"/": "web"},
                    "owner.test": {"/": "owner"},
                    "raw.test": {"/": "raw"},
                    "none.test": {"/": "none"},
                    "named.passed.test": {"/": "named"},
                },
                {
                    "web": [backend.endpoint],
                    "owner": [Endpoint("127.0.0.1", owner)],
                    "raw": [*others, Endpoint("127.0.0.1", raw)],
                    "none": [],
                    "named": [Endpoint("127.1", owner)],
                },
                {
                    "h.test": Name(pairs=(pair("h.test"),)),
                    "owner.test": Name(passthrough="owner"),
                    "*.passed.test": Name(passthrough="owner"),
                    "ended.passed.test": Name(pairs=(pair("ended.passed.test"),)),
                    "raw.test": Name(passthrough="raw"),
                    "none.test": Name(passthrough="none"),
                    "named.passed.test": Name(passthrough="named"),
                },
            )
            base = worker.descriptors
            yield Site(worker, owner)
            backend.close_all()
            if worker.alive:
                worker.check()
                await until(lambda: worker.descriptors <= base, "descriptors at their base")


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back once the client has ended its side."""
    writer.write(await reader.read(-1))
    writer.close()


async def _whose(site: Site, server_name: str, issuer: str) -> SecureConnection:
    context = client_context(trusts=issuer)
    return await SecureConnection.secure(site.address, context=context, server_name=server_name)


async def test_the_owners_certificate_is_seen_beside_ours_on_one_port() -> None:
    async with _site(_echo) as site:
        for name in ("owner.test", "OWNER.test", "x.passed.test"):
            async with await _whose(site, name, "the owner of the backend") as connection:
                reply = await connection.exchange(request(host="owner.test"))
                assert bytes(reply.body) == b"owner"
        for name in ("h.test", "ended.passed.test"):
            async with await _whose(site, name, "test authority") as connection:
                assert connection.tls.version() == "TLSv1.3"


async def test_a_name_that_leads_into_this_machine_is_no_endpoint() -> None:
    """The owner of an ExternalName can make it mean anything, so it is judged once resolved."""
    async with _site(_echo) as site:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await _whose(site, "named.passed.test", "the owner of the backend")
        async with await _whose(site, "owner.test", "the owner of the backend") as connection:
            assert (await connection.exchange(request(host="owner.test"))).status == 200


async def test_requests_on_ended_connections_do_not_reach_a_passed_host() -> None:
    async with (
        _site(_echo) as site,
        await _whose(site, "h.test", "test authority") as connection,
    ):
        reply = await connection.exchange(request(host="owner.test"))
        assert reply.status in (404, 421, 502)
        assert bytes(reply.body) != b"owner"


async def test_bytes_pass_untouched_and_each_side_ends_by_itself() -> None:
    behind = bytes(range(256)) * 4000
    async with _site(_echo) as site:
        said = await say(site.address, [HELLO + behind], finish=True)
        assert said.data == HELLO + behind
        assert said.ended == "closed"
        cut = await say(site.address, [HELLO[:1], HELLO[1:50], HELLO[50:], b"!"], finish=True)
        assert cut.data == HELLO + b"!"


async def test_the_endpoint_may_end_its_side_first() -> None:
    received = bytearray()

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.readexactly(len(HELLO)))
        writer.write(b"all")
        writer.write_eof()
        received.extend(await reader.read(-1))
        writer.close()

    async with _site(first) as site:
        reader, writer = await asyncio.open_connection(*site.address)
        writer.write(HELLO)
        assert await reader.read(-1) == b"all"
        writer.write(b"more")
        writer.write_eof()
        await until(lambda: bytes(received) == HELLO + b"more", "all at the endpoint")
        writer.close()


async def test_pairs_that_both_sides_end_are_given_back() -> None:
    async with _site(_echo) as site:
        base = site.worker.descriptors
        await asyncio.gather(*(say(site.address, [HELLO], finish=True) for _ in range(50)))
        await until(lambda: site.worker.descriptors <= base, "descriptors at their base")


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_endpoints_that_hang_up_at_once_end_the_client(how: str) -> None:
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if how == "reset":
            writer.transport.abort()
        else:
            writer.close()

    async with _site(slam) as site:
        outcomes = await asyncio.gather(
            *(say(site.address, [HELLO, b"x" * 5000]) for _ in range(50))
        )
        assert {said.data for said in outcomes} == {b""}
        assert {said.ended for said in outcomes} <= {"closed", "reset"}


async def test_a_refused_endpoint_is_followed_by_the_next() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        refuses = Endpoint(address="127.0.0.1", port=gone.getsockname()[1])
    async with _site(_echo, others=(refuses,)) as site:
        for _ in range(6):
            said = await say(site.address, [HELLO], finish=True)
            assert said.data == HELLO


async def test_without_an_endpoint_the_connection_ends_and_is_counted() -> None:
    async with _site(_echo) as site:
        hello = hello_bytes(client_context(), "none.test")
        said = await say(site.address, [hello])
        assert said.data == b""
        assert said.ended != "open"
        assert said.seconds < 2
        worker = site.worker
        await until(lambda: worker.counted("tls.failures.no-endpoint") == 1, "the count")
        [line] = worker.log_lines
        assert line.fields["server_name"] == "none.test"


async def test_a_silent_pair_is_ended() -> None:
    async with _site(_echo, limits=Limits(tunnel_timeout=0.5)) as site:
        said = await say(site.address, [HELLO])
        assert said.ended != "open"
        assert said.seconds < 2


async def test_a_side_that_does_not_read_pauses_the_other() -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            while sent < 200 << 20:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536

    async with _site(pour) as site:
        before = site.worker.memory
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, site.address)
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.write(HELLO)
        await reader.readexactly(1)
        stalled = -1
        while stalled != sent:
            stalled = sent
            await asyncio.sleep(0.2)
        assert sent < 100 << 20
        assert site.worker.memory - before < 20 << 20
        writer.transport.abort()


async def test_drain_lets_pairs_end_by_themselves() -> None:
    async with _site(_echo) as site:
        reader, writer = await asyncio.open_connection(*site.address)
        writer.write(HELLO)
        await until(lambda: site.worker.counted("passthroughs") == 1, "the pair")
        site.worker.drain(accept=0, timeout=5)
        await asyncio.sleep(0.3)
        writer.write(b"late")
        writer.write_eof()
        assert await reader.read(-1) == HELLO + b"late"
        writer.close()
        assert await asyncio.to_thread(site.worker.exit_code) == 0


async def test_a_name_that_is_passed_no_more_is_ended_here() -> None:
    async with _site(_echo) as site:
        name = Name(pairs=(pair("owner.test"),))
        site.worker.apply(renamed({"owner.test": name}))
        async with await _whose(site, "owner.test", "test authority") as connection:
            assert connection.tls.version() == "TLSv1.3"
        site.worker.apply(renamed({"owner.test": Name(passthrough="owner")}))
        async with await _whose(site, "owner.test", "the owner of the backend") as connection:
            reply = await connection.exchange(request(host="owner.test"))
            assert bytes(reply.body) == b"owner"


async def test_a_proxy_header_goes_no_further() -> None:
    """It was for us; the endpoint gets what the client sent."""
    options = wire.Options(access_log="off", proxy_protocol_from=("127.0.0.7",))
    async with _site(_echo, options=options) as site:
        header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
        said = await say(site.address, [header + HELLO], finish=True, source="127.0.0.7")
        assert said.data == HELLO
