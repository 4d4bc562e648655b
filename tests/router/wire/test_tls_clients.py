"""Clients that people use, over TLS: curl, openssl, Python, websockets; bodies and streams."""

import asyncio
import contextlib
import hashlib
import http.client
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from router.model.snapshot import HttpsRules
from router.model.upstreams import Endpoint
from tests.harness.backend import Backend, Exchange, iterate
from tests.harness.client import request
from tests.harness.secure import (
    Name,
    SecureConnection,
    SecureEdge,
    needs_certificate,
    secure_worker,
    serve,
)
from tests.tls.certificates import authorities, authority, client_pair, pair
from tests.tls.handshakes import client_context

BIG = 64 << 20


@pytest.fixture(scope="module")
def shared_clients() -> Iterator[SecureEdge]:
    with Backend() as backend, secure_worker() as worker:
        guarded = needs_certificate("guarded.test", issuer=authorities())
        serve(
            worker,
            {"h.test": {"/": "web"}, "guarded.test": {"/": "web"}},
            {"web": [backend.endpoint]},
            {"h.test": Name(pairs=(pair("h.test"),)), "guarded.test": guarded},
            rules={"guarded.test": HttpsRules(pass_client_certificate=True)},
        )
        yield SecureEdge(worker, backend)


@pytest.fixture
def clients(shared_clients: SecureEdge) -> Iterator[SecureEdge]:
    yield shared_clients
    shared_clients.check()
    shared_clients.backend.forget()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ca.pem``, and ``client.pem`` with certificate and key."""
    folder = tmp_path_factory.mktemp("pem")
    (folder / "ca.pem").write_bytes(authority().certificate_pem)
    alice = client_pair("alice")
    (folder / "client.pem").write_bytes(alice.chain + alice.key.pem)
    return folder


def _curl(edge: SecureEdge, files: Path, host: str, *more: str) -> subprocess.CompletedProcess[str]:
    address, port = edge.worker.secure_address
    return subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--max-time", "20", "--noproxy", "*"),
            *("--cacert", str(files / "ca.pem"), "--resolve", f"{host}:{port}:{address}"),
            *more,
            f"https://{host}:{port}/x",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    "more", [(), ("--http1.1",), ("--http2",), ("--tls-max", "1.2"), ("--tlsv1.3",)]
)
def test_curl(clients: SecureEdge, files: Path, more: tuple[str, ...]) -> None:
    outcome = _curl(clients, files, "h.test", *more)
    assert (outcome.stdout, outcome.returncode) == ("GET /x 0", 0), outcome


def test_curl_sees_what_is_wrong(clients: SecureEdge, files: Path) -> None:
    """60: the default certificate is for nobody; 35 and 56: an alert says what is missing."""
    assert _curl(clients, files, "nobody.test").returncode == 60
    outcome = _curl(clients, files, "guarded.test")
    assert outcome.returncode in (35, 56)
    assert "alert" in outcome.stderr


def test_curl_with_a_certificate(clients: SecureEdge, files: Path) -> None:
    outcome = _curl(clients, files, "guarded.test", "--cert", str(files / "client.pem"))
    assert outcome.stdout == "GET /x 0", outcome
    seen = clients.backend.requests[-1]
    [pem] = seen.values("ssl-client-cert")
    assert pem.startswith("-----BEGIN%20CERTIFICATE-----%0A")
    [fingerprint] = seen.values("ssl-client-fingerprint")
    der = ssl.PEM_cert_to_DER_cert(client_pair("alice").chain.decode())
    assert fingerprint == hashlib.sha256(der).hexdigest()
    assert seen.values("ssl-client-issuer-dn") == ["CN=test authority"]


def test_openssl_verifies_and_resumes(clients: SecureEdge, files: Path, tmp_path: Path) -> None:
    address, port = clients.worker.secure_address
    session = tmp_path / "session"
    for version in ("-tls1_2", "-tls1_3"):
        for turn in (["-sess_out", str(session)], ["-sess_in", str(session)]):
            outcome = subprocess.run(
                [
                    *("openssl", "s_client", version, "-connect", f"{address}:{port}"),
                    *("-servername", "h.test", "-verify_hostname", "h.test"),
                    *("-verify_return_error", "-CAfile", str(files / "ca.pem"), "-ign_eof", *turn),
                ],
                input=request("/x", ("Connection", "close")).decode(),
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert "HTTP/1.1 200 OK" in outcome.stdout, outcome
            assert "Verify return code: 0 (ok)" in outcome.stdout
            assert ("Reused, TLS" in outcome.stdout) is (turn[0] == "-sess_in"), outcome.stdout


def test_python(clients: SecureEdge) -> None:
    address, port = clients.worker.secure_address
    context = client_context(trusts="test authority")
    # The name is verified, the address is dialled.
    raw = http.client.HTTPSConnection("h.test", port, context=context, timeout=20)
    raw._create_connection = lambda *_, **__: socket.create_connection(  # type: ignore[attr-defined]  # no other way
        (address, port), 20
    )
    with contextlib.closing(raw) as connection:
        for _ in range(3):
            connection.request("POST", "/x", body=b"x" * 100_000)
            answer = connection.getresponse()
            assert answer.read() == b"POST /x 100000"


async def test_websockets() -> None:
    async def echo(connection: ServerConnection) -> None:
        async for text in connection:
            await connection.send(text)

    with secure_worker() as worker:
        async with serve_websockets(echo, "127.0.0.1", 0, max_size=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            serve(
                worker,
                {"ws.test": {"/": "ws"}},
                {"ws": [Endpoint("127.0.0.1", port)]},
                {"ws.test": Name(pairs=(pair("ws.test"),))},
            )
            host, secure_port = worker.secure_address
            async with connect(
                f"wss://ws.test:{secure_port}/chat",
                host=host,
                port=secure_port,
                ssl=client_context(),
                max_size=None,
            ) as client:
                for sent in ("hello", b"\x00\xff", "", b"x" * 5_000_000):
                    await client.send(sent)
                    assert await client.recv() == sent
                await client.ping()
        worker.check()


async def test_a_large_answer_is_streamed(clients: SecureEdge) -> None:
    async def large(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        for piece in iterate(BIG >> 16, 65536):
            await exchange.send(piece)

    clients.backend.on("/large", large)
    before = clients.worker.memory
    async with await clients.open() as connection:
        reply = await connection.exchange(request("/large"), within=60)
        assert reply.length == BIG
        await clients.clean_on(connection)
    assert clients.worker.peak_memory - before < 24 << 20


async def test_a_large_body_is_streamed(clients: SecureEdge) -> None:
    before = clients.worker.memory
    head = request("/x", ("Content-Length", str(BIG)), method="POST")
    async with await clients.open() as connection:
        connection.reader.methods.append("POST")
        await connection.send(head)
        for piece in iterate(BIG >> 18, 1 << 18):
            assert await connection.send(piece)
        [reply] = await connection.receive(within=60)
        assert reply.get("x-saw") == f"POST /x {BIG}"
        await clients.clean_on(connection)
    assert clients.worker.peak_memory - before < 24 << 20


async def test_an_upstream_that_does_not_read_pauses_the_client(clients: SecureEdge) -> None:
    gate = clients.backend.gate()

    async def late(exchange: Exchange) -> None:
        await gate.passed()
        length = len(await exchange.body())
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Saw: %d\r\n\r\n" % length)

    clients.backend.on("/late", late)
    before = clients.worker.memory
    head = request("/late", ("Content-Length", str(BIG)), method="POST")
    async with await clients.open() as connection:
        connection.reader.methods.append("POST")
        await connection.send(head)
        sent = 0

        async def pour() -> None:
            nonlocal sent
            for piece in iterate(BIG >> 16, 1 << 16):
                await connection.send(piece, 60)
                sent += len(piece)

        pouring = asyncio.ensure_future(pour())
        stalled = -1
        while stalled != sent:
            stalled = sent
            await asyncio.sleep(0.15)
        assert sent < BIG
        assert clients.worker.memory - before < 16 << 20
        gate.open()
        await pouring
        [reply] = await connection.receive(within=60)
        assert reply.status == 200


async def test_events_arrive_one_by_one(clients: SecureEdge) -> None:
    gates = [clients.backend.gate() for _ in range(3)]

    async def stream(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for gate in gates:
            await gate.passed()
            await exchange.send(b"a\r\ndata: one\n\r\n")
        await exchange.send(b"0\r\n\r\n")

    clients.backend.on("/events", stream)
    async with await clients.open() as connection:
        await connection.send(request("/events"))
        reply = await connection.head()
        for count, gate in enumerate(gates, 1):
            gate.open()
            while reply.length < 10 * count:
                await connection.read()
            assert reply.length == 10 * count


async def test_client_supplied_certificate_fields_never_pass(clients: SecureEdge) -> None:
    forged = (
        ("Ssl-Client-Verify", "SUCCESS"),
        ("SSL-CLIENT-SUBJECT-DN", "CN=root"),
        ("ssl-client-issuer-dn", "CN=root"),
        ("ssl-client-fingerprint", "00"),
        ("ssl-client-cert", "x"),
        ("ssl-client-anything", "x"),
        ("ssl_client_verify", "SUCCESS"),
    )
    async with await clients.open() as connection:
        assert (await connection.exchange(request("/x", *forged))).status == 200
    seen = clients.backend.requests[-1]
    assert [name for name, _ in seen.fields if name.startswith("ssl")] == []
    context = client_context(certificate=client_pair('bob, the "builder"\u00fc + co'))
    async with await SecureConnection.secure(
        clients.worker.secure_address, context=context, server_name="guarded.test"
    ) as connection:
        reply = await connection.exchange(request("/x", *forged, host="guarded.test"))
        assert reply.status == 200
    seen = clients.backend.requests[-1]
    assert seen.values("ssl-client-verify") == ["SUCCESS"]
    assert seen.values("ssl-client-subject-dn") == ['CN=bob\\, the \\"builder\\"\\C3\\BC \\+ co']
    assert seen.get("ssl-client-anything") is None
