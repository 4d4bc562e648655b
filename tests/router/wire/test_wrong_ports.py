"""Plain HTTP on the TLS port, TLS on the plain port: each is told so, counted and logged."""

import asyncio
import ssl
from collections.abc import Iterator

import pytest

from tests.harness.client import request
from tests.harness.raw import say
from tests.harness.secure import SecureConnection, SecureEdge, secure_edge
from tests.harness.waiting import until
from tests.tls.handshakes import client_context, hello_bytes


@pytest.fixture(scope="module")
def shared_ports() -> Iterator[SecureEdge]:
    with secure_edge() as pair:
        yield pair


@pytest.fixture(name="edge")
def _edge(shared_ports: SecureEdge) -> Iterator[SecureEdge]:
    yield shared_ports
    shared_ports.check()
    shared_ports.backend.forget()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(), id="GET"),
        pytest.param(request(method="POST", body=b"x" * 1000), id="POST"),
        pytest.param(b"GET", id="cut"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\n\r\n", id="OPTIONS"),
    ],
)
async def test_plain_http_on_the_tls_port_gets_a_sentence(edge: SecureEdge, data: bytes) -> None:
    said = await say(edge.worker.secure_address, [data])
    assert said.ended == "closed"
    head, _, body = said.data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in head + b"\r\n"
    assert b"speaks HTTPS" in body
    assert edge.backend.requests == []


async def test_a_large_plain_request_gets_the_sentence_too(
    edge: SecureEdge,
) -> None:
    """Closing while bytes come in would reset the connection, and the sentence would be lost."""
    for _ in range(10):
        data = request(method="POST", body=b"x" * 300_000)
        said = await say(edge.worker.secure_address, [data])
        assert said.data.startswith(b"HTTP/1.1 400 "), said


@pytest.mark.parametrize(
    ("data", "alert"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", None),
        (b"\x00\x01\x02", None),
        (b"\x15\x03\x01\x00\x02\x02\x28", 10),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", 10),
        (b"\x16\x03\x01\x00\x00", 22),
    ],
)
async def test_other_protocols_on_the_tls_port_are_refused(
    edge: SecureEdge, data: bytes, alert: int | None
) -> None:
    said = await say(edge.worker.secure_address, [data])
    assert said.ended != "open"
    assert said.seconds < 2
    if alert is not None:
        assert said.alert == alert
    assert edge.backend.requests == []


async def test_tls_on_the_plain_port_gets_an_alert(edge: SecureEdge) -> None:
    said = await say(edge.address, [hello_bytes(client_context(), "h.test")])
    assert (said.alert, said.ended) == (10, "closed")
    with pytest.raises(ssl.SSLError, match="UNEXPECTED_MESSAGE"):
        await SecureConnection.secure(edge.address)
    await until(lambda: edge.worker.counted("fault.tls-on-plain-port") == 2, "both counted")


async def test_floods_of_wrong_beginnings_are_counted_and_told_once_a_second() -> None:
    with secure_edge() as edge:
        worker = edge.worker
        wrong = [b"GET / HTTP/1.1\r\n\r\n", b"\x00", b"\x16\x03\x01\x00\x00"]
        await asyncio.gather(
            *(say(worker.secure_address, [data]) for data in wrong for _ in range(50))
        )

        def failures() -> dict[str, int]:
            names = {name for stats in worker.stats for name in stats.counters}
            return {name: worker.counted(name) for name in names if "tls.failures" in name}

        await until(lambda: sum(failures().values()) == 150, "all counted")
        assert sorted(failures().values()) == [50, 50, 50]
        assert worker.counted("fault.plain-on-tls-port") == 50
        told = [line for line in worker.log_lines if line.event == "a TLS handshake failed"]
        assert 3 <= len(told) <= 6
        assert {line.level for line in told} == {"info"}


async def test_protocols_that_we_do_not_speak_are_refused_by_alpn(edge: SecureEdge) -> None:
    for offered in (("h2",), ("spdy/3", "ftp")):
        with pytest.raises(ssl.SSLError, match="no application protocol"):
            await SecureConnection.secure(
                edge.worker.secure_address, context=client_context(alpn=offered)
            )
    for offered in ((), ("http/1.1",), ("h2", "http/1.1")):
        async with await SecureConnection.secure(
            edge.worker.secure_address, context=client_context(alpn=offered)
        ) as connection:
            chosen = connection.tls.selected_alpn_protocol()
            assert chosen == ("http/1.1" if offered else None)
            await edge.clean_on(connection)
