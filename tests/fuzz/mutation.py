"""Messages that are nearly right: mutations of good and bad examples."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

BYTES = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0",
    b"5",
    b"ffffffffffffffff",
    b"\xff",
    b"\xc3\xa9",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/1.2",
)
"""For any place."""
LINES = (
    b"Host: h.test\r\n",
    b"Host: evil.test\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 36\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Connection: upgrade\r\nUpgrade: foo\r\n",
    b"Connection: X-Forwarded-For\r\n",
    b"Connection: Via, x\r\n",
    b"Expect: 100-continue\r\n",
    b"TE: trailers\r\n",
    b"X-Forwarded-For: 9.9.9.9\r\n",
    b"X_Real_IP: 9.9.9.9\r\n",
    b"Trailer: X\r\n",
    b"X: \xff\r\n",
    b"\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"GET /smug HTTP/1.1\r\nHost: h.test\r\n\r\n",
)
"""For the begin of a line."""
SEGMENTS = (
    b"/..",
    b"/.",
    b"/",
    b"/%2e%2E",
    b"/.%2e",
    b"/%2f",
    b"/%5c",
    b"/..;",
    b"/blocked",
    b"/%62locked",
    b"/a%2fb",
    b"/\xc3\xa9",
    b"/%c3%A9",
    b"/a;b",
    b"?",
)
"""For a path."""
MOST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Mutant:
    """A message that is nearly right, and where it is cut in two."""

    data: bytes
    cut: int
    variant: int = 0
    """Chooses what else varies: the method that an answer is for, what follows it."""


def mutant(number: int, good: Sequence[bytes], bad: Sequence[bytes]) -> Mutant:
    """The mutant with this number: a good example (or, less often, a bad one), mutated."""
    rng = random.Random(number)
    data = rng.choice(good if rng.random() < 0.8 else bad)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3, 5))):
        data = _mutate(rng, data, good)[:MOST_BYTES]
    return Mutant(data, rng.randrange(len(data) + 1), rng.randrange(15))


def _mutate(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    kind = rng.choice(("line", "line", "path", "path", "bytes", "octet", "cut", "repeat", "splice"))
    if kind == "line":
        at = data.find(b"\r\n", at) + 2
        return data[:at] + rng.choice(LINES) + data[at:]
    if kind == "path":
        at = data.find(b" HTTP", data.find(b"/"))
        at = data.find(b"/") if at < 0 or rng.random() < 0.3 else at
        return data[:at] + rng.choice(SEGMENTS) + data[at:] if at >= 0 else data
    if kind == "bytes":
        token = rng.choice(BYTES)
        return data[:at] + token + data[at + rng.choice((0, len(token))) :]
    if kind == "octet":
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    end = min(len(data), at + rng.randint(1, 40))
    if kind == "cut":
        return data[:at] + data[end:]
    if kind == "repeat":
        return data[:end] + data[at:end] * rng.randint(1, 3) + data[end:]
    other = rng.choice(others)
    return data[:at] + other[rng.randrange(len(other) + 1) :]


def smaller(played: Mutant) -> Iterator[Mutant]:
    """Mutants with a part left out, large parts first: to shrink one that fails."""
    data, cut, variant = played.data, played.cut, played.variant
    size = len(data) // 2
    while size:
        for at in range(0, len(data), size):
            rest = data[:at] + data[at + size :]
            yield Mutant(rest, min(cut, len(rest)), variant)
        size //= 2
    yield Mutant(data, 0, variant)
