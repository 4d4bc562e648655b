"""The chunked coding (RFC 9112 7.1), strictly: sizes, extensions and trailers are bounded."""

import re

from router.http.faults import BAD_CHUNK, BAD_TRAILER, TRAILERS_TOO_LARGE, Fault
from router.http.fields import DROP, PASS, Field, FieldReader
from router.http.rules import MAX_BODY_LENGTH

MAX_CHUNK_LINE = 256
"""Bytes of a chunk's size with its extensions."""
MAX_EXTENSIONS = 16384
"""Bytes of extensions in one message: one-byte chunks with long extensions are an attack."""
MAX_TRAILERS = 32
MAX_TRAILER_BYTES = 16384

_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_TOKEN = rb"[!#$%&'*+\-.^`|~0-9A-Za-z_]+"
_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*)"
)
_FORBIDDEN_TRAILER = re.compile(
    # RFC 9110 6.5.1: fields for framing, routing, authentication, controls; and forwarding names.
    rb"(?:x-forwarded-|x-original-|x-rewrite-|proxy-|if-|sec-|content-(?:encoding|type|range)).*"
    rb"|cache-control|set-cookie|range|max-forwards|www-authenticate|age|expires|location|vary"
    rb"|retry-after|trailer|alt-svc|strict-transport-security"
)

_SIZE, _DATA, _DATA_END, _TRAILER, _DONE = range(5)


class ChunkedDecoder:
    """Takes a chunked body apart as its bytes come."""

    __slots__ = (
        "_extensions",
        "_fields",
        "_held",
        "_left",
        "_refuse_trailers",
        "_state",
        "_trailer_bytes",
        "rest",
        "trailers",
    )

    def __init__(self, fields: FieldReader, *, refuse_trailers: bool) -> None:
        """``refuse_trailers``: a trailer that must not be one is a fault, else it is dropped."""
        self._fields = fields
        self._refuse_trailers = refuse_trailers
        self._state = _SIZE
        self._held = b""
        self._left = 0
        self._extensions = 0
        self._trailer_bytes = 0
        self.trailers: list[Field] = []
        """Trailer fields that may be forwarded."""
        self.rest = b""
        """Once done: the bytes after the body."""

    @property
    def done(self) -> bool:
        """Whether the whole body, trailers included, was taken."""
        return self._state == _DONE

    def feed(self, data: bytes) -> list[bytes] | Fault:
        """The body's pieces in ``data``, or why it is refused. Call until ``done``, not after."""
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[bytes] = []
        position = 0
        end = len(data)
        while self._state != _DONE:
            if self._state == _DATA:
                taken = min(self._left, end - position)
                if taken:
                    pieces.append(data[position : position + taken])
                    position += taken
                    self._left -= taken
                if self._left:
                    return pieces
                self._state = _DATA_END
            elif self._state == _DATA_END:
                mark = data[position : position + 2]
                if not b"\r\n".startswith(mark):
                    return BAD_CHUNK
                if len(mark) < 2:
                    break
                position += 2
                self._state = _SIZE
            else:
                line_end = data.find(b"\r\n", position)
                if line_end < 0:
                    fault = self._check_incomplete(data[position:])
                    if fault is not None:
                        return fault
                    break
                line = data[position:line_end]
                position = line_end + 2
                fault = self._size(line) if self._state == _SIZE else self._trailer(line)
                if fault is not None:
                    return fault
        if self._state == _DONE:
            self.rest = data[position:]
        else:
            self._held = data[position:]
        return pieces

    def _check_incomplete(self, line: bytes) -> Fault | None:
        limit = MAX_CHUNK_LINE if self._state == _SIZE else MAX_TRAILER_BYTES
        if len(line) > limit + 1:
            return BAD_CHUNK if self._state == _SIZE else TRAILERS_TOO_LARGE
        if b"\n" in line or b"\r" in line[:-1]:
            return BAD_CHUNK
        return None

    def _size(self, line: bytes) -> Fault | None:
        match = _LINE.fullmatch(line) if len(line) <= MAX_CHUNK_LINE else None
        if match is None:
            return BAD_CHUNK
        self._extensions += len(match[2])
        size = int(match[1], 16)
        if size > MAX_BODY_LENGTH or self._extensions > MAX_EXTENSIONS:
            return BAD_CHUNK
        self._left = size
        self._state = _DATA if size else _TRAILER
        return None

    def _trailer(self, line: bytes) -> Fault | None:
        if not line:
            self._state = _DONE
            return None
        self._trailer_bytes += len(line)
        if len(self.trailers) >= MAX_TRAILERS or self._trailer_bytes > MAX_TRAILER_BYTES:
            return TRAILERS_TOO_LARGE
        field = self._fields.known.get(line) or self._fields.read(line)
        if isinstance(field, Fault):
            return BAD_TRAILER
        if field.kind == PASS and not _FORBIDDEN_TRAILER.fullmatch(field.name):
            self.trailers.append(field)
        elif self._refuse_trailers and not (field.kind == DROP and b"_" in field.name):
            return BAD_TRAILER
        return None


def chunk(data: bytes) -> bytes:
    """``data`` (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def last_chunk(trailers: list[Field]) -> bytes:
    """The end of a chunked body with trailer fields."""
    return b"0\r\n" + b"".join([field.wire for field in trailers]) + b"\r\n"
