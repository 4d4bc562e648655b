"""How a row of the catalogue of adversarial inputs is written down.

A request row says which bytes a client sends, which answers it gets, whether the connection is
closed after them, and what exactly the backend receives: nothing, or the stated requests. An answer
row says which bytes an upstream sends and what the client gets.

The catalogue's own words (`{G}`, `{P}`, `{T}`, `{S}`) are the constants `G`, `P`, `T` and `S`.
"""

from dataclasses import dataclass
from typing import Literal

G = b"GET /x HTTP/1.1\r\nHost: h.test\r\n"
"""The begin of a good request without a body."""
P = b"POST /x HTTP/1.1\r\nHost: h.test\r\n"
"""The begin of a good request that may have a body."""
T = P + b"Transfer-Encoding: chunked\r\n\r\n"
"""A good head whose chunked body follows."""
S = b"GET /smug HTTP/1.1\r\nHost: h.test\r\n\r\n"
"""A second request (36 bytes) that must never be taken for a part of the first, nor reversed."""
END = b"\r\n"
LAST = b"0\r\n\r\n"
"""The end of a chunked body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request that the backend must receive."""

    method: str = "GET"
    target: str | tuple[str, ...] = "/x"
    """One of these targets."""
    body: bytes = b""
    has: tuple[tuple[str, str], ...] = ()
    """Fields with exactly this value."""
    lacks: tuple[str, ...] = ()
    """Fields that must be absent."""
    trailers: tuple[tuple[str, str], ...] | None = ()
    """Exactly these trailers; None: not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A request row. ``statuses``: for each final answer, those that are right."""

    name: str
    rule: str
    data: bytes
    statuses: tuple[tuple[int, ...], ...]
    closes: bool
    seen: tuple[Seen, ...] = ()
    aborts: bool = False
    """A body fault: the backend may have seen the begin of the request, cut off and not reused."""
    interim: tuple[int, ...] = ()
    """Interim answers that may come before the final one."""
    methods: tuple[str, ...] = ()
    """Methods of the requests, when one is not GET or POST."""
    http10: bool = False
    has: tuple[tuple[str, str | None], ...] = ()
    """Fields of the last answer; None: any value."""
    hurried: bool = False
    """The client falls silent; needs a worker with short time-outs."""


def refuse(
    name: str,
    rule: str,
    data: bytes,
    *statuses: int,
    aborts: bool = False,
    has: tuple[tuple[str, str | None], ...] = (),
    http10: bool = False,
    hurried: bool = False,
) -> Row:
    """Refused with one of these statuses (400 if none is said) and closed; nothing is forwarded."""
    return Row(
        name=name,
        rule=rule,
        data=data,
        statuses=(statuses or (400,),),
        closes=True,
        aborts=aborts,
        has=has,
        http10=http10,
        hurried=hurried,
    )


def forward(
    name: str,
    rule: str,
    data: bytes,
    *seen: Seen,
    closes: bool = False,
    interim: tuple[int, ...] = (),
    http10: bool = False,
) -> Row:
    """Forwarded: exactly these requests (``GET /x`` if none is said), each answered with 200."""
    seen = seen or (Seen(),)
    return Row(
        name=name,
        rule=rule,
        data=data,
        statuses=((200,),) * len(seen),
        closes=closes,
        seen=seen,
        interim=interim,
        methods=tuple(request.method for request in seen),
        http10=http10,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """An answer row: ``data`` is what the upstream sends, whole or cut, and ``then`` does."""

    name: str
    rule: str
    data: bytes
    then: Literal["keep", "close", "reset", "hang"] = "keep"
    method: str = "GET"
    statuses: tuple[int, ...] = (200,)
    body: bytes | None = None
    """The body that the client gets; None: not looked at."""
    cut_off: bool = False
    """The client gets no complete answer with this status: its connection is cut."""
    timed: bool = False
    """What comes behind the answer is seen only if it comes before the next request: no cuts."""
    interim: tuple[int, ...] = ()
    """Exactly these interim answers reach an HTTP/1.1 client."""
    has: tuple[tuple[str, str], ...] = ()
    lacks: tuple[str, ...] = ()
    reused: bool | None = None
    """Whether the upstream connection may carry the next request; None: either."""
    http10: bool = False
    hurried: bool = False
