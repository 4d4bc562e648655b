"""Endpoints that speak https: verified, never in clear instead, sessions resumed."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from router.model.limits import Limits
from router.model.upstreams import Endpoint, UpstreamTls
from tests.harness.client import chunked, fetch, request
from tests.harness.secure import secure_worker, secured
from tests.harness.serving import serving
from tests.harness.strict import Reply
from tests.harness.waiting import until
from tests.harness.worker import Worker, snapshot
from tests.tls.certificates import authorities, authority, client_pair, pair
from tls.certificate import CertificatePair
from tls.contexts import load_pair
from tls.faults import CertificateFault
from tls.pem import read_pair

ISSUER = "authority of upstreams"
NAME = "upstream.test"
GOOD = UpstreamTls(server_name=NAME, authorities=authorities(ISSUER).digest)


@dataclass(slots=True)
class Upstream:
    """An https endpoint and what it saw."""

    endpoint: Endpoint
    heads: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    resumed: list[bool] = field(default_factory=list)
    shown: list[object] = field(default_factory=list)
    clear: bytearray = field(default_factory=bytearray)
    """First bytes of connections that are not TLS."""


@asynccontextmanager
async def _upstream(
    certificate: CertificatePair,
    *,
    clients: ssl.VerifyMode = ssl.CERT_NONE,
    version: ssl.TLSVersion | None = None,
) -> AsyncIterator[Upstream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, certificate)
    context.load_verify_locations(cadata=authorities().pem.decode())
    context.verify_mode = clients
    if version is not None:
        context.maximum_version = version

    def named(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        upstream.names.append(name)

    context.sni_callback = named

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("ssl_object")
        upstream.resumed.append(connection.session_reused)
        upstream.shown.append(connection.getpeercert())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                upstream.heads.append(head)
                if b"chunked" in head.lower():
                    await reader.readuntil(b"0\r\n\r\n")
                close = b"/close" in head.split(b"\r\n")[0]
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n"
                    + (b"Connection: close\r\n" if close else b"")
                    + b"\r\nsecret"
                )
                await writer.drain()
                if close:
                    break
        writer.close()
        await writer.wait_closed()

    async with serving(serve, context, limit=1 << 20) as port:
        upstream = Upstream(Endpoint("127.0.0.1", port))
        yield upstream


@asynccontextmanager
async def _silence() -> AsyncIterator[Upstream]:
    """Accepts and never says anything; keeps what came."""

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                upstream.clear.extend(data)
        writer.close()

    async with serving(keep) as port:
        upstream = Upstream(Endpoint("127.0.0.1", port))
        yield upstream


def _serve(
    worker: Worker,
    endpoints: list[Endpoint],
    tls: UpstreamTls,
    *,
    client: CertificatePair | None = None,
) -> None:
    whole = secured(
        snapshot(0, {"h.test": {"/": "up"}}, {"up": endpoints}), {}, upstreams={"up": tls}
    )
    bundle = authorities(ISSUER)
    certificates = dict(whole.certificates)
    if client is not None:
        certificates[client.digest] = client
    worker.load(replace(whole, authorities={bundle.digest: bundle}, certificates=certificates))


async def _get(worker: Worker, target: str = "/x") -> Reply:
    return await fetch(worker.address, request(target))


def _expired() -> CertificatePair:
    """Valid from an hour ago, for no time."""
    read = read_pair(*authority(ISSUER).issue([NAME], days=0))
    assert not isinstance(read, CertificateFault)
    return read.pair


async def test_a_good_upstream_is_verified_and_told_its_name() -> None:
    with secure_worker() as worker:
        async with _upstream(pair(NAME, issuer=ISSUER)) as upstream:
            _serve(worker, [upstream.endpoint], GOOD)
            for _ in range(3):
                reply = await _get(worker)
                assert (reply.status, bytes(reply.body)) == (200, b"secret")
            assert upstream.names == [NAME]
            assert b"\r\nHost: h.test\r\n" in upstream.heads[0]
            assert b"\r\nX-Forwarded-Proto: http\r\n" in upstream.heads[0]
        worker.check()


async def test_an_address_is_verified_when_no_name_is_given() -> None:
    with secure_worker() as worker:
        tls = replace(GOOD, server_name="")
        async with _upstream(pair("127.0.0.1", "ip.test", issuer=ISSUER)) as upstream:
            _serve(worker, [upstream.endpoint], tls)
            assert (await _get(worker)).status == 200
            assert upstream.names == [None]
        async with _upstream(pair(NAME, issuer=ISSUER)) as upstream:
            _serve(worker, [upstream.endpoint], tls)
            assert (await _get(worker)).status == 502
            assert upstream.heads == []
        worker.check()


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        pytest.param(lambda: pair("other.test", issuer=ISSUER), "mismatch", id="wrong name"),
        pytest.param(lambda: pair(NAME), "self-signed", id="unknown authority"),
        pytest.param(_expired, "expired", id="expired"),
    ],
)
async def test_an_upstream_that_is_not_verified_gets_no_request(
    certificate: object, why: str
) -> None:
    assert callable(certificate)
    with secure_worker() as worker:
        async with _upstream(certificate()) as upstream:
            _serve(worker, [upstream.endpoint], GOOD)
            reply = await _get(worker)
            assert reply.status == 502
            assert b"could not be verified" in reply.body
            assert upstream.heads == []
            assert upstream.clear == b""
            await until(lambda: bool(worker.log_lines), "the worker tells why")
            [line] = worker.log_lines
            assert line.fields["endpoint"].startswith("127.0.0.1:")
            assert why in line.fields["why"]
        worker.check()


async def test_the_systems_authorities_do_not_know_ours() -> None:
    with secure_worker() as worker:
        async with _upstream(pair(NAME, issuer=ISSUER)) as upstream:
            _serve(worker, [upstream.endpoint], UpstreamTls(server_name=NAME))
            assert (await _get(worker)).status == 502
            assert upstream.heads == []
        worker.check()


async def test_verification_can_be_switched_off() -> None:
    with secure_worker() as worker:
        async with _upstream(_expired()) as upstream:
            _serve(worker, [upstream.endpoint], UpstreamTls(verify=False))
            assert (await _get(worker)).status == 200
        worker.check()


async def test_missing_authorities_mean_no_request() -> None:
    with secure_worker() as worker:
        async with _upstream(pair(NAME, issuer=ISSUER)) as upstream:
            tls = replace(GOOD, authorities=authorities("nobody sent these").digest)
            _serve(worker, [upstream.endpoint], tls)
            assert (await _get(worker)).status == 502
            tls = replace(GOOD, client_certificate="0" * 64)
            _serve(worker, [upstream.endpoint], tls)
            assert (await _get(worker)).status == 502
            assert upstream.heads == []
        worker.check()


async def test_our_certificate_is_shown_where_it_is_asked_for() -> None:
    ours = client_pair("the proxy")
    with secure_worker() as worker:
        async with _upstream(pair(NAME, issuer=ISSUER), clients=ssl.CERT_REQUIRED) as upstream:
            tls = replace(GOOD, client_certificate=ours.digest)
            _serve(worker, [upstream.endpoint], tls, client=ours)
            assert (await _get(worker)).status == 200
            assert "the proxy" in str(upstream.shown)
        async with _upstream(pair(NAME, issuer=ISSUER), clients=ssl.CERT_REQUIRED) as upstream:
            _serve(worker, [upstream.endpoint], GOOD)
            assert (await _get(worker)).status == 502
            assert upstream.heads == []
        worker.check()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_sessions_are_resumed(version: ssl.TLSVersion) -> None:
    with secure_worker() as worker:
        async with _upstream(pair(NAME, issuer=ISSUER), version=version) as upstream:
            _serve(worker, [upstream.endpoint], GOOD)
            for _ in range(4):
                assert (await _get(worker, "/close")).status == 200
            assert upstream.resumed == [False, True, True, True]
        worker.check()


async def test_a_session_is_not_resumed_under_another_profile() -> None:
    """A session of an unverified connection must not stand in for verification."""
    with secure_worker() as worker:
        async with _upstream(pair(NAME)) as upstream:
            _serve(worker, [upstream.endpoint], UpstreamTls(server_name=NAME, verify=False))
            assert (await _get(worker, "/close")).status == 200
            _serve(worker, [upstream.endpoint], GOOD)
            assert (await _get(worker, "/close")).status == 502
            assert len(upstream.heads) == 1
        worker.check()


async def test_connections_of_another_profile_are_not_used_again() -> None:
    with secure_worker() as worker:
        async with _upstream(pair(NAME)) as upstream:
            _serve(worker, [upstream.endpoint], UpstreamTls(server_name=NAME, verify=False))
            assert (await _get(worker)).status == 200
            _serve(worker, [upstream.endpoint], GOOD)
            assert (await _get(worker)).status == 502
            assert len(upstream.heads) == 1
        worker.check()


async def test_a_handshake_that_hangs_is_a_gateway_timeout() -> None:
    limits = Limits(upstream_connect_timeout=0.5)
    with secure_worker(limits=limits) as worker:
        base = worker.descriptors
        async with _silence() as upstream:
            _serve(worker, [upstream.endpoint], GOOD)
            replies = await asyncio.gather(*(_get(worker) for _ in range(10)))
            assert {reply.status for reply in replies} == {504}
            assert upstream.clear.startswith(b"\x16\x03")
            assert b"GET " not in upstream.clear
            await until(lambda: worker.descriptors <= base, "descriptors at their base")
        worker.check()


async def test_an_upstream_that_speaks_in_clear_is_not_answered_in_clear() -> None:
    async def clear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read(65536))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        with contextlib.suppress(ConnectionError):
            received.extend(await reader.read(65536))
        writer.close()

    received = bytearray()
    with secure_worker() as worker:
        async with serving(clear) as port:
            _serve(worker, [Endpoint("127.0.0.1", port)], GOOD)
            reply = await _get(worker)
            assert reply.status == 502
            assert b"TLS" in reply.body
        assert b"GET " not in received
        worker.check()


async def test_another_endpoint_is_tried_when_one_is_not_verified() -> None:
    with secure_worker() as worker:
        async with (
            _upstream(pair("other.test", issuer=ISSUER)) as bad,
            _upstream(pair(NAME, issuer=ISSUER)) as good,
        ):
            _serve(worker, [bad.endpoint, good.endpoint], GOOD)
            statuses = {(await _get(worker)).status for _ in range(6)}
            assert statuses == {200}
            assert bad.heads == []
            assert len(good.heads) == 6
        worker.check()


async def test_bodies_and_close_notify() -> None:
    """An upstream that ends its connection after an answer ends nothing else."""
    with secure_worker() as worker:
        async with _upstream(pair(NAME, issuer=ISSUER)) as upstream:
            _serve(worker, [upstream.endpoint], GOOD)
            head = request("/x", ("Transfer-Encoding", "chunked"), method="POST")
            for target in ("/close", "/x", "/close", "/x"):
                assert (await _get(worker, target)).status == 200
                reply = await fetch(worker.address, head + chunked(b"x" * 100_000, b"y"))
                assert reply.status == 200
        worker.check()
