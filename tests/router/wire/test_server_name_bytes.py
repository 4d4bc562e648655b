"""Server names in bytes that no TLS library sends: which certificate answers, and who is asked.

A ClientHello for TLS 1.2 alone, as the proxy's flight is in clear then.
"""

import asyncio
import ssl
from collections.abc import Iterator

import pytest

from tests.harness.backend import Backend
from tests.harness.client import Address
from tests.harness.raw import say
from tests.harness.secure import Name, needs_certificate, secure_worker, serve
from tests.harness.worker import Worker
from tests.tls.certificates import authorities, pair

DEFAULT, PLAIN, WILD, GUARDED = "default.test", "plain.test", "*.wild.test", "guarded.test"
_CERTIFICATE, _CERTIFICATE_REQUEST = 11, 13


def _vector(width: int, contents: bytes) -> bytes:
    return len(contents).to_bytes(width, "big") + contents


def _extension(kind: int, contents: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _vector(2, contents)


def _hello(server_name: bytes | None, *, names: int = 1, kind: int = 0) -> bytes:
    """A ClientHello that a TLS 1.2 server answers with certificates in clear."""
    extensions = _extension(13, _vector(2, b"\x04\x03\x08\x04\x04\x01"))
    extensions += _extension(10, _vector(2, b"\x00\x17\x00\x1d")) + _extension(11, b"\x01\x00")
    if server_name is not None:
        name = bytes([kind]) + _vector(2, server_name)
        extensions += _extension(0, _vector(2, name * names))
    body = b"\x03\x03" + b"r" * 32 + b"\x00" + _vector(2, b"\xc0\x2b\xc0\x2f") + b"\x01\x00"
    message = b"\x01" + _vector(3, body + _vector(2, extensions))
    return b"\x16\x03\x01" + _vector(2, message)


def _flight(data: bytes) -> dict[int, bytes]:
    """Handshake messages by type."""
    stream, at = b"", 0
    while at < len(data) and data[at] == 22:
        length = int.from_bytes(data[at + 3 : at + 5], "big")
        stream += data[at + 5 : at + 5 + length]
        at += 5 + length
    messages, at = {}, 0
    while at < len(stream):
        length = int.from_bytes(stream[at + 1 : at + 4], "big")
        messages[stream[at]] = stream[at + 4 : at + 4 + length]
        at += 4 + length
    return messages


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with Backend() as backend, secure_worker() as worker:
        _serve(worker, backend)
        yield worker.secure_address
        worker.check()


def _serve(worker: Worker, backend: Backend) -> None:
    names = {
        PLAIN: Name(pairs=(pair(PLAIN),)),
        WILD: Name(pairs=(pair(WILD),)),
        GUARDED: needs_certificate(GUARDED, issuer=authorities()),
    }
    serve(worker, {"h.test": {"/": "web"}}, {"web": [backend.endpoint]}, names)


ANSWERED: list[tuple[bytes | None, str]] = [
    (None, DEFAULT),
    (b"plain.test", PLAIN),
    (b"PLAIN.Test", PLAIN),
    (b"plain.test.", PLAIN),
    (b"guarded.test", GUARDED),
    (b"GUARDED.TEST.", GUARDED),
    (b"a.wild.test", WILD),
    (b"a_b.wild.test", WILD),
    (b"wild.test", DEFAULT),
    (b"a.b.wild.test", DEFAULT),
    (b"nobody.test", DEFAULT),
    (b"127.0.0.1", DEFAULT),
    (b"::1", DEFAULT),
    (b"guarded.test:443", DEFAULT),
    (b"guarded.test..", DEFAULT),
    (b".guarded.test", DEFAULT),
    (b" guarded.test", DEFAULT),
    (b"*.wild.test", DEFAULT),
    (b"x" * 64 + b".wild.test", DEFAULT),
    (b"a." * 120 + b"wild.test", DEFAULT),
    (b"guarded.te\xc5\xbft", DEFAULT),
    (b"guarded\xff.test", DEFAULT),
]
REFUSED = {
    "empty": _hello(b""),
    "NUL": _hello(b"guarded.test\x00.plain.test"),
    "NUL at the end": _hello(b"plain.test\x00"),
    "300 bytes": _hello(b"x" * 300),
    "two names": _hello(b"plain.test", names=2),
    "another kind of name": _hello(b"plain.test", kind=1),
}
WAIT = 0.6
"""Seconds in which a flight of the proxy comes."""


async def test_which_certificate_answers(address: Address) -> None:
    flights = await asyncio.gather(
        *(say(address, [_hello(name)], within=WAIT) for name, _ in ANSWERED)
    )
    for said, (name, whose) in zip(flights, ANSWERED, strict=True):
        messages = _flight(said.data)
        assert _CERTIFICATE in messages, (name, said)
        leaf = ssl.PEM_cert_to_DER_cert(pair(whose).chain.decode())
        assert leaf in messages[_CERTIFICATE], name
        assert (_CERTIFICATE_REQUEST in messages) is (whose == GUARDED), name


async def test_names_that_none_may_send_open_nothing(address: Address) -> None:
    """Refused with an alert; or answered as if no name had been sent, and never by a host's."""
    flights = await asyncio.gather(
        *(say(address, [hello], within=WAIT) for hello in REFUSED.values())
    )
    for said, case in zip(flights, REFUSED, strict=True):
        if said.alert is None:
            messages = _flight(said.data)
            leaf = ssl.PEM_cert_to_DER_cert(pair(DEFAULT).chain.decode())
            assert leaf in messages[_CERTIFICATE], (case, said)
            assert _CERTIFICATE_REQUEST not in messages, case
        else:
            assert said.alert in (22, 47, 50, 112), case
