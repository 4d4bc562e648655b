"""PROXY protocol on real sockets: who may send it, what becomes of it, on both ports."""

import asyncio
import socket
import ssl
from collections.abc import Iterator

import pytest

from router.model import wire
from tests.harness.client import Connection, request
from tests.harness.edge import Probe
from tests.harness.raw import say
from tests.harness.secure import SecureConnection, SecureEdge, secure_edge
from tests.harness.worker import Worker
from tests.tls.handshakes import client_context, hello_bytes

LOAD_BALANCER = "127.0.0.7"
BOTH = "127.0.0.8"
"""Sends PROXY headers, and its forwarding fields count too."""
OPTIONS = wire.Options(
    access_log="off",
    proxy_protocol_from=(LOAD_BALANCER, f"{BOTH}/32"),
    trusted_proxies=(f"{BOTH}/32", "192.0.2.9/32"),
)
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command: int, family: int, addresses: bytes, tlvs: bytes = b"") -> bytes:
    rest = addresses + tlvs
    return V2 + bytes((0x20 | command, family)) + len(rest).to_bytes(2, "big") + rest


FOUR = socket.inet_aton("192.0.2.1") + socket.inet_aton("192.0.2.2") + b"\x30\x39\x01\xbb"
SIX = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    + b"\x30\x39\x01\xbb"
)
GOOD = {
    "v1 IPv4": (b"PROXY TCP4 192.0.2.1 192.0.2.2 12345 443\r\n", "192.0.2.1"),
    "v1 IPv6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 12345 443\r\n", "2001:db8::1"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", LOAD_BALANCER),
    "v1 unknown with words": (b"PROXY UNKNOWN ff:: ff:: 65535 65535\r\n", LOAD_BALANCER),
    "v2 IPv4": (v2(1, 0x11, FOUR), "192.0.2.1"),
    "v2 IPv6": (v2(1, 0x21, SIX), "2001:db8::1"),
    "v2 TLVs": (v2(1, 0x11, FOUR, b"\x04\x00\x04abcd" * 60), "192.0.2.1"),
    "v2 local": (v2(0, 0x00, b""), LOAD_BALANCER),
    "v2 local with addresses": (v2(0, 0x11, FOUR), LOAD_BALANCER),
    "v2 unspecified": (v2(1, 0x00, b"xyz"), LOAD_BALANCER),
}
BAD = {
    "none": request(),
    "v1 lower case": b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "v1 bare LF": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
    "v1 two spaces": b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
    "v1 no port": b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
    "v1 large port": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
    "v1 leading zero": b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
    "v1 wrong family": b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
    "v1 no address": b"PROXY TCP4 999.0.2.1 192.0.2.2 1 2\r\n",
    "v1 injection": b"PROXY TCP4 192.0.2.1\x00 192.0.2.2 1 2\r\n",
    "v1 too long": b"PROXY UNKNOWN " + b"x" * 93 + b"\r\n",
    "v1 endless": b"PROXY TCP4 " + b"1" * 300,
    "v2 version 1": V2 + b"\x11\x11\x00\x0c" + FOUR,
    "v2 unknown command": V2 + b"\x22\x11\x00\x0c" + FOUR,
    "v2 datagram": V2 + b"\x21\x12\x00\x0c" + FOUR,
    "v2 UNIX": V2 + b"\x21\x31\x00\xd8" + b"x" * 216,
    "v2 short": V2 + b"\x21\x11\x00\x0b" + FOUR[:11],
    "v2 huge": V2 + b"\x21\x11\xff\xff" + FOUR,
    "v2 broken signature": V2[:-1] + b"\r\x21\x11\x00\x0c" + FOUR,
}


@pytest.fixture(scope="module")
def shared_proxied() -> Iterator[SecureEdge]:
    with secure_edge(options=OPTIONS) as pair:
        yield pair


@pytest.fixture
def proxied(shared_proxied: SecureEdge) -> Iterator[SecureEdge]:
    yield shared_proxied
    shared_proxied.check()
    shared_proxied.backend.forget()


async def _connect(
    worker: Worker, *, secure: bool, header: bytes, source: str = LOAD_BALANCER
) -> Connection:
    """A connection that begins with these bytes in clear."""
    if secure:
        return await SecureConnection.secure(worker.secure_address, prefix=header, source=source)
    connection = await Connection.open(worker.address, source=source)
    await connection.send(header)
    return connection


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "secure"])
@pytest.mark.parametrize("header", GOOD)
async def test_the_header_says_who_the_client_is(
    proxied: SecureEdge, header: str, *, secure: bool
) -> None:
    data, client = GOOD[header]
    async with await _connect(proxied.worker, secure=secure, header=data) as connection:
        for _ in range(2):
            await proxied.clean_on(connection)
    for seen in proxied.backend.requests:
        assert seen.values("x-forwarded-for") == [client]
        assert seen.values("x-real-ip") == [client]
        assert seen.values("x-forwarded-proto") == ["https" if secure else "http"]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "secure"])
@pytest.mark.parametrize("header", BAD)
async def test_what_is_no_header_ends_the_connection(
    proxied: SecureEdge, header: str, *, secure: bool
) -> None:
    behind = hello_bytes(client_context(), "h.test") if secure else request()
    address = proxied.worker.secure_address if secure else proxied.worker.address
    said = await say(address, [BAD[header] + behind], source=LOAD_BALANCER)
    assert said.data == b""
    assert said.ended in ("closed", "reset")
    assert said.seconds < 2.0
    assert proxied.backend.requests == []


async def test_a_hello_without_a_header_ends_the_connection(proxied: SecureEdge) -> None:
    hello = hello_bytes(client_context(), "h.test")
    said = await say(proxied.worker.secure_address, [hello], source=LOAD_BALANCER)
    assert (said.data, said.ended != "open") == (b"", True)


@pytest.mark.parametrize("header", ["v1 IPv4", "v2 IPv4"])
async def test_a_header_of_anybody_else_is_refused(proxied: SecureEdge, header: str) -> None:
    data, _ = GOOD[header]
    plain = await say(proxied.worker.address, [data + request()])
    assert plain.data.startswith(b"HTTP/1.1 400 ")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await SecureConnection.secure(proxied.worker.secure_address, prefix=data)
    assert proxied.backend.requests == []


async def test_one_header_only(proxied: SecureEdge) -> None:
    data, _ = GOOD["v1 IPv4"]
    said = await say(proxied.worker.address, [data + data + request()], source=LOAD_BALANCER)
    assert said.data.startswith(b"HTTP/1.1 400 ")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await SecureConnection.secure(
            proxied.worker.secure_address, prefix=data + data, source=LOAD_BALANCER
        )


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "secure"])
@pytest.mark.parametrize("header", ["v1 IPv4", "v2 TLVs"])
async def test_a_header_may_be_cut_anywhere(
    proxied: SecureEdge, header: str, *, secure: bool
) -> None:
    data, client = GOOD[header]
    address = proxied.worker.secure_address if secure else proxied.worker.address
    kind = SecureConnection if secure else Connection
    step = 1 if len(data) < 100 else 13
    connections = {
        at: await kind.open(address, source=LOAD_BALANCER) for at in range(1, len(data) + 1, step)
    }
    async with Probe(proxied.address) as probe:
        for at, connection in connections.items():
            await Connection._transmit(connection, data[:at])
        await probe.pass_through()
        for at, connection in connections.items():
            await Connection._transmit(connection, data[at:])
    try:
        await asyncio.gather(*(_served(proxied, known) for known in connections.values()))
    finally:
        for connection in connections.values():
            connection.close()
    seen = {request.get("x-forwarded-for") for request in proxied.backend.requests}
    assert seen == {client}
    assert len(proxied.backend.requests) == len(connections)


async def _served(edge: SecureEdge, connection: Connection) -> None:
    if isinstance(connection, SecureConnection):
        await connection.shake_hands(client_context(), "h.test")
    await edge.clean_on(connection)


async def test_the_client_named_decides_whether_its_fields_count(proxied: SecureEdge) -> None:
    """The load balancer is trusted to name the client; fields are the client's own."""
    fields = (("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https"))
    data, client = GOOD["v1 IPv4"]
    trusted = b"PROXY TCP4 192.0.2.9 192.0.2.2 12345 443\r\n"
    for header, chain in ((data, client), (trusted, "198.51.100.7, 192.0.2.9")):
        async with await _connect(
            proxied.worker, secure=False, header=header, source=BOTH
        ) as connection:
            assert (await connection.exchange(request("/x", *fields))).status == 200
        seen = proxied.backend.requests[-1]
        assert seen.values("x-forwarded-for") == [chain]
        assert seen.values("x-forwarded-proto") == ["http" if chain == client else "https"]


async def test_refused_headers_are_counted_and_told_once_a_second() -> None:
    with secure_edge(options=OPTIONS) as edge:
        await asyncio.gather(
            *(
                say(address, [BAD["v1 no port"]], source=LOAD_BALANCER)
                for address in (edge.worker.address, edge.worker.secure_address)
                for _ in range(20)
            )
        )
        await asyncio.to_thread(
            edge.worker.heard,
            lambda _: edge.worker.counted("tls.failures.proxy-header") == 40,
            "40",
        )
        told = [line for line in edge.worker.log_lines if "proxy" in str(line.fields)]
        assert 1 <= len(told) <= 2
