"""ClientHellos on real sockets: cut anywhere they are understood, mutated they are refused.

Eight seconds by default, always from the same number on; ``FUZZ_SECONDS=600 FUZZ_SEED=…`` runs
longer, and from another one.
"""

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Iterator

import pytest

from router.model.limits import Limits
from tests.harness.client import request
from tests.harness.edge import Probe
from tests.harness.secure import (
    SecureConnection,
    SecureEdge,
    needs_certificate,
    renamed,
    secure_edge,
)
from tests.tls.certificates import authorities
from tests.tls.handshakes import client_context, hello_bytes
from tls.client_hello import MAX_MESSAGE

SECONDS = float(os.environ.get("FUZZ_SECONDS", "8"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
BATCH = 50
GUARDED = "guarded.test"


@pytest.fixture(scope="module")
def shared_greeted() -> Iterator[SecureEdge]:
    # A mutant may be the beginning of a longer hello; such wait for the deadline.
    with secure_edge(Limits(tls_handshake_timeout=0.6)) as pair:
        pair.worker.apply(renamed({GUARDED: needs_certificate(GUARDED, issuer=authorities())}))
        yield pair


@pytest.fixture
def greeted(shared_greeted: SecureEdge) -> Iterator[SecureEdge]:
    yield shared_greeted
    shared_greeted.check()


class _Cut(SecureConnection):
    """Its ClientHello goes out in two segments; the second one when it is told to."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]  # passed on as they came
        self.at = 0
        self.rest: asyncio.Event = asyncio.Event()
        self.begun: asyncio.Event = asyncio.Event()

    async def _flush(self) -> None:
        data = self._outgoing.read()
        loop = asyncio.get_running_loop()
        if data and not self.begun.is_set():
            await loop.sock_sendall(self._sock, data[: self.at])
            self.begun.set()
            await self.rest.wait()
            data = data[self.at :]
        if data:
            await loop.sock_sendall(self._sock, data)


async def test_a_hello_cut_at_every_byte_is_understood() -> None:
    with secure_edge() as edge:
        size = len(hello_bytes(edge.context, "h.test"))
        async with Probe(edge.address) as probe:
            for start in range(1, size, 60):
                await _cut_batch(edge, probe, range(start, min(start + 60, size)))


async def _cut_batch(edge: SecureEdge, probe: Probe, positions: range) -> None:
    connections = [await _Cut.open(edge.worker.secure_address) for _ in positions]
    shaking = []
    try:
        for connection, at in zip(connections, positions, strict=True):
            connection.at = at
            shaking.append(asyncio.ensure_future(connection.shake_hands(edge.context, "h.test")))
        for connection in connections:
            await connection.begun.wait()
        await probe.pass_through()
        for connection in connections:
            connection.rest.set()
        await asyncio.gather(*shaking)
        for connection in connections:
            assert (await connection.exchange(request())).status == 200
    finally:
        for connection in connections:
            connection.close()


def _rerecorded(hello: bytes, size: int) -> bytes:
    """The same message in records of this size."""
    message = hello[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def _mutant(hello: bytes, rng: random.Random) -> bytes:
    """Something near a ClientHello."""
    data = bytearray(hello)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = rng.randrange(len(data))
        kind = rng.randrange(7)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del data[at : at + rng.choice((1, 2, 4, 30))]
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 30)))
        elif kind == 4:
            other = rng.randrange(len(data))
            data[at:at] = data[other : other + rng.randrange(1, 60)]
        elif kind == 5:
            del data[at:]
        else:
            data[3:5] = rng.randrange(65536).to_bytes(2, "big")
        data = data or bytearray(b"\x16")
    if rng.random() < 0.1 and len(data) > 10:
        return _rerecorded(bytes(data), rng.choice((1, 2, 5, 100)))
    return bytes(data)


def _fixed() -> list[bytes]:
    """What mutation would hardly find."""
    hello = hello_bytes(client_context(), "h.test")
    record = b"\x16\x03\x01\x40\x00"
    return [
        b"\x16",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff" + b"\x01" * 70000,
        b"\x80\x2e\x01\x03\x01" + bytes(41),
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x17\x03\x03\x00\x01\x00",
        record + b"\x01" + (MAX_MESSAGE - 3).to_bytes(3, "big") + bytes(16380),
        (record + b"\x01\x00\x3f\xfc" + bytes(16380)) * 2,
        b"\x16\x03\x01\x00\x01\x01" * 6000,
        bytes(100),
        hello + hello,
        hello[:-1] + hello,
    ]


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
async def test_mutated_hellos_end_cleanly(greeted: SecureEdge) -> None:
    """None reaches a backend; the worker lives, and its memory is flat."""
    rng = random.Random(SEED)
    hellos = [
        hello_bytes(client_context(alpn=("http/1.1",)), name)
        for name in ("h.test", GUARDED, "nobody.test", None)
    ]
    fixed = _fixed()
    count, settled = 0, 0
    warm = 200 if SECONDS < 60 else 20_000  # caches fill slowly, and are bounded
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        batch = [fixed.pop() for _ in range(min(len(fixed), BATCH))]
        batch += [_mutant(rng.choice(hellos), rng) for _ in range(BATCH - len(batch))]
        finish = bool(count % (8 * BATCH))
        before = len(greeted.backend.requests)
        await asyncio.gather(*(_greet(greeted, data, finish=finish) for data in batch))
        assert len(greeted.backend.requests) == before
        count += len(batch)
        if count == warm:
            settled = greeted.worker.memory
        if count % 500 == 0:
            await greeted.clean()
            greeted.check()
    assert count > 30 * SECONDS, f"only {count} in {SECONDS} s"
    grown = greeted.worker.memory - settled
    assert grown < max(4 << 20, 500 * count // 1000), f"{count} hellos: memory grew by {grown}"


async def _greet(edge: SecureEdge, data: bytes, *, finish: bool) -> None:
    """Send it, and read until the proxy ends it; what comes is TLS or a sentence about it."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, edge.worker.secure_address)
        answer = b""
        async with asyncio.timeout(10):
            with contextlib.suppress(OSError):  # also: not connected any more
                await loop.sock_sendall(sock, data)
                if finish:
                    sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while piece := await loop.sock_recv(sock, 65536):
                    answer += piece
    assert answer[:1] in (b"", b"\x16", b"\x15") or answer.startswith(b"HTTP/1.1 400 "), answer
