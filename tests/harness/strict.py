"""A second, independent and strict reader of HTTP/1.1, written for the tests alone.

It shares no code and no parser library with the product. It accepts only what our proxy itself may
put on a wire, which is much less than what HTTP allows: no folding, no bare LF, no extensions of
chunks, one space after a colon, no two ways to say how long a body is.

`RequestReader` reads what reached a backend, `ReplyReader` what reached a client. Both are fed
bytes in any cut and give events; both raise `Malformed` at the first byte that must not be there.
"""

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

MAX_HEAD = 256 * 1024
KEPT_BODY = 4 * 1024 * 1024
"""Bytes of a body that are kept; longer bodies are only counted, so that gigabytes can pass."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
_TARGET = re.compile(r"/[!$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]*")
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_STATUS_LINE = re.compile(r"HTTP/1\.1 ([1-9][0-9][0-9]) ([\t -~\x80-\xff]*)")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,15}")
_CHUNK_SIZE = re.compile(r"[0-9A-Fa-f]{1,16}")

_NEVER_TO_BACKENDS = frozenset(
    (
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "x-original-url",
        "x-rewrite-url",
    )
)
_ONCE = frozenset(
    (
        "connection",
        "content-length",
        "host",
        "transfer-encoding",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
    )
)
_CONNECTION_TOKENS = frozenset(("close", "keep-alive", "te", "upgrade"))
_NEVER_IN_TRAILERS = frozenset(
    (
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "x-real-ip",
    )
)

Stage = Literal["head", "length", "size", "data", "data-end", "trailers", "close", "tunnel"]


class Malformed(Exception):
    """Bytes that our proxy must never send."""


@dataclass(slots=True, eq=False)
class Message:
    """What requests and answers share. Names of fields are lower case."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    length: int = 0
    """Bytes of the body so far, also those that were not kept."""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    chunked: bool = False
    complete: bool = False

    def get(self, name: str) -> str | None:
        """The value of the first field with this lower-case name."""
        return next((value for known, value in self.fields if known == name), None)

    def values(self, name: str) -> list[str]:
        """All values of this lower-case name, in order."""
        return [value for known, value in self.fields if known == name]


@dataclass(slots=True, eq=False)
class Request(Message):
    """A request as it reached a backend."""

    method: str = ""
    target: str = ""
    connection: int = 0
    """Number of the backend's connection that it came on."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(slots=True, eq=False)
class Reply(Message):
    """An answer as it reached a client."""

    status: int = 0
    reason: str = ""


@dataclass(slots=True, frozen=True)
class Head:
    """A head is complete."""

    message: Message


@dataclass(slots=True, frozen=True)
class Piece:
    """Bytes of a body, or of a tunnel."""

    data: bytes


@dataclass(slots=True, frozen=True)
class End:
    """A message is complete."""

    message: Message


Event = Head | Piece | End


class _Reader:
    """Cuts a stream into messages; the two roles differ in the first line and in the framing."""

    def __init__(self) -> None:
        self.stage: Stage = "head"
        self._buffer = bytearray()
        self._left = 0
        self._message: Message | None = None

    def _begin(self, head: str) -> tuple[Message, Stage, int]:
        raise NotImplementedError

    @property
    def waiting(self) -> bytes:
        """Bytes of a message that is not complete yet."""
        return bytes(self._buffer)

    @property
    def between_messages(self) -> bool:
        """Nothing is half read: a peer may close here."""
        return self.stage in ("head", "tunnel") and not self._buffer

    def feed(self, data: bytes) -> list[Event]:
        """The events that become known with these bytes.

        Raises:
            Malformed: something that our proxy must never send.
        """
        self._buffer += data
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def end(self) -> list[Event]:
        """The peer closed.

        Raises:
            Malformed: in the middle of a message.
        """
        message = self._message
        if self.stage == "close" and message is not None:
            message.complete = True
            self.stage, self._message = "head", None
            return [End(message)]
        if not self.between_messages:
            raise Malformed(f"closed in the middle of a message ({self.stage})")
        return []

    def _step(self, events: list[Event]) -> bool:
        if self.stage == "head":
            return self._read_head(events)
        if self.stage in ("length", "data"):
            return self._read_counted(events)
        if self.stage in ("close", "tunnel"):
            return self._read_all(events)
        line = self._line()
        if line is None:
            return False
        if self.stage == "size":
            self._read_size(line)
        elif self.stage == "data-end":
            if line:
                raise Malformed(f"chunk is longer than its size: {line!r}")
            self.stage = "size"
        elif line:
            self._read_trailer(line)
        else:
            self._finish(events)
        return True

    def _read_head(self, events: list[Event]) -> bool:
        buffer = self._buffer
        if not buffer:
            return False
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > MAX_HEAD:
                raise Malformed("head without end")
            return False
        head = buffer[:end].decode("latin-1")
        del buffer[: end + 4]
        message, stage, self._left = self._begin(head)
        self._message = message
        self.stage = stage
        if stage != "head":
            events.append(Head(message))
            if stage == "length" and not self._left:
                self._finish(events)
        return True

    def _read_counted(self, events: list[Event]) -> bool:
        buffer = self._buffer
        if not buffer:
            return False
        piece = bytes(buffer[: self._left])
        del buffer[: self._left]
        self._left -= len(piece)
        self._keep(piece, events)
        if not self._left:
            if self.stage == "length":
                self._finish(events)
            else:
                self.stage = "data-end"
        return True

    def _read_all(self, events: list[Event]) -> bool:
        if not self._buffer:
            return False
        piece = bytes(self._buffer)
        self._buffer.clear()
        self._keep(piece, events)
        return False

    def _keep(self, piece: bytes, events: list[Event]) -> None:
        message = self._message
        assert message is not None
        message.length += len(piece)
        if len(message.body) < KEPT_BODY:
            message.body += piece
        events.append(Piece(piece))

    def _line(self) -> str | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise Malformed("line without end")
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Malformed(f"line does not end with CRLF: {line!r}")
        return line[:-2].decode("latin-1")

    def _read_size(self, line: str) -> None:
        if not _CHUNK_SIZE.fullmatch(line):
            raise Malformed(f"chunk size {line!r}")
        self._left = int(line, 16)
        self.stage = "data" if self._left else "trailers"

    def _read_trailer(self, line: str) -> None:
        name, value = _field(line)
        if name in _NEVER_IN_TRAILERS:
            raise Malformed(f"{name} in trailers")
        assert self._message is not None
        self._message.trailers.append((name, value))

    def _finish(self, events: list[Event]) -> None:
        message = self._message
        assert message is not None
        message.complete = True
        events.append(End(message))
        self.stage, self._message = "head", None


class RequestReader(_Reader):
    """Reads what our proxy sent to a backend."""

    def __init__(self, connection: int = 0) -> None:
        super().__init__()
        self._connection = connection

    def _begin(self, head: str) -> tuple[Message, Stage, int]:
        line, fields = _head(head)
        parts = line.split(" ")
        if len(parts) != 3 or parts[2] != "HTTP/1.1":
            raise Malformed(f"request line {line!r}")
        method, target, _ = parts
        if not _METHOD.fullmatch(method):
            raise Malformed(f"method {method!r}")
        if not _TARGET.fullmatch(target):
            raise Malformed(f"target {target!r}")
        request = Request(fields=fields, method=method, target=target, connection=self._connection)
        _check_request(request)
        coding = request.get("transfer-encoding")
        length = _length(request)
        if coding is not None:
            if coding != "chunked" or length is not None:
                raise Malformed(f"Transfer-Encoding {coding!r} with Content-Length {length}")
            request.chunked = True
            return request, "size", 0
        return request, "length", length or 0

    def tunnel(self) -> Request:
        """All later bytes belong to no message; the answer was 101. Gives the tunnel's record."""
        record = Request(connection=self._connection)
        self.stage, self._message = "tunnel", record
        return record


class ReplyReader(_Reader):
    """Reads what our proxy sent to a client; needs to know the methods of the requests."""

    def __init__(self, methods: Iterable[str] = (), *, http10: bool = False) -> None:
        super().__init__()
        self.methods = deque(methods)
        self._http10 = http10

    def _begin(self, head: str) -> tuple[Message, Stage, int]:
        line, fields = _head(head)
        matched = _STATUS_LINE.fullmatch(line)
        if not matched:
            raise Malformed(f"status line {line!r}")
        reply = Reply(fields=fields, status=int(matched[1]), reason=matched[2])
        coding = reply.get("transfer-encoding")
        length = _length(reply)
        if len(reply.values("transfer-encoding")) > 1 or (
            coding is not None and length is not None
        ):
            raise Malformed("more than one way to say the length")
        if reply.status == 101:
            return reply, "tunnel", 0
        if reply.status < 200:
            if coding is not None or length is not None or self._http10:
                raise Malformed(f"interim answer {reply.status} with a length or to HTTP/1.0")
            return reply, "length", 0
        method = self.methods.popleft() if self.methods else "GET"
        if reply.status == 204 and (coding is not None or length is not None):
            raise Malformed("204 with a length")
        if method == "HEAD" or reply.status in (204, 304):
            return reply, "length", 0
        if coding is not None:
            if coding != "chunked" or self._http10:
                raise Malformed(f"Transfer-Encoding {coding!r}")
            reply.chunked = True
            return reply, "size", 0
        if length is None:
            return reply, "close", 0
        return reply, "length", length


def _head(head: str) -> tuple[str, list[tuple[str, str]]]:
    lines = head.split("\r\n")
    for line in lines:
        if "\r" in line or "\n" in line or "\0" in line:
            raise Malformed(f"line {line!r}")
    return lines[0], [_field(line) for line in lines[1:]]


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not _TOKEN.fullmatch(name):
        raise Malformed(f"field {line!r}")
    if value and value[0] != " ":
        raise Malformed(f"no space after the colon: {line!r}")
    if not _VALUE.fullmatch(value[1:]):
        raise Malformed(f"value of field {line!r}")
    return name.lower(), value[1:]


def _length(message: Message) -> int | None:
    values = message.values("content-length")
    if not values:
        return None
    if len(values) > 1 or not _LENGTH.fullmatch(values[0]):
        raise Malformed(f"Content-Length {values!r}")
    return int(values[0])


def _check_request(request: Request) -> None:
    """What a backend must never see, whatever the client sent."""
    for name in {name for name, _ in request.fields}:
        if "_" in name:
            raise Malformed(f"{name}: a name with an underscore")
        if name in _NEVER_TO_BACKENDS:
            raise Malformed(f"{name} reached the backend")
        if name in _ONCE and len(request.values(name)) > 1:
            raise Malformed(f"{name} more than once")
    if not request.get("host"):
        raise Malformed("no Host")
    tokens = {token.strip().lower() for token in (request.get("connection") or "").split(",")}
    if tokens - _CONNECTION_TOKENS - {""}:
        raise Malformed(f"Connection {request.get('connection')!r}")
    if "upgrade" in tokens and request.get("upgrade") is None:
        raise Malformed("Connection: upgrade without Upgrade")
    upgrade = (request.get("upgrade") or "").lower()
    if upgrade in ("h2", "h2c") or "," in upgrade:
        raise Malformed(f"Upgrade {upgrade!r}")
    if request.get("te") not in (None, "trailers"):
        raise Malformed(f"TE {request.get('te')!r}")
