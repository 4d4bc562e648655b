"""The bytes of an answer's head → `ResponseHead`, or the fault.

Servers behind an ingress are many and old. Three things are repaired and written anew in strict
form, as RFC 9112 allows (2.2, 5.1, 5.2): a bare LF as line end, a folded line, blanks before the
colon. llhttp would refuse them, so answers are read by our own rules alone.
"""

import re

from router.http.faults import BAD_ANSWER, Fault
from router.http.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    DROP,
    HSTS,
    SERVER,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    FieldReader,
    StatusLine,
)
from router.http.head import ResponseHead
from router.http.rules import read_response_field

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
"""RFC 9112 4; the space before an empty reason is often missing."""
_SPECIAL = frozenset((CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE))
_NOT_PASSED = frozenset((DROP, TRAILER))
_LINE_END = re.compile(rb"\r?\n")
_FOLD = re.compile(rb"[ \t]*\r\n[ \t]+")
_BLANK_BEFORE_COLON = re.compile(rb"(\r\n[!#$%&'*+\-.^`|~0-9A-Za-z_]+)[ \t]+:")
HEAD_END = re.compile(rb"\r?\n\r?\n")
"""The end of a head, bare line feeds included."""


def read_response_head(raw: bytes, fields: FieldReader, max_fields: int) -> ResponseHead | Fault:
    """Read and judge one head; ``raw`` ends with the empty line.

    A head that is not strict is repaired once and read again.
    """
    head = _read_strict(raw, fields, max_fields)
    if isinstance(head, Fault):
        repaired = _repair(raw)
        if repaired != raw:
            head = _read_strict(repaired, fields, max_fields)
    return head


def _read_strict(raw: bytes, fields: FieldReader, max_fields: int) -> ResponseHead | Fault:
    lines = raw.split(b"\r\n")
    start = _status_line(lines[0], fields)
    if start is None:
        return BAD_ANSWER
    del lines[0], lines[-2:]
    if len(lines) > max_fields:
        return BAD_ANSWER
    head = ResponseHead(start, len(raw))
    known = fields.known
    passed = head.passed
    noted = 0
    for line in lines:
        field = known.get(line)
        if field is None:
            read = fields.read(line)
            if isinstance(read, Fault):
                return BAD_ANSWER
            field = read
        kind = field[0]
        if kind <= 0:
            passed.append(field[3])
            noted |= -kind
        elif kind in _SPECIAL:
            if not read_response_field(head, field):
                return BAD_ANSWER
        elif kind not in _NOT_PASSED:
            passed.append(field[3])
    head.has_server = noted & -SERVER != 0
    head.has_date = noted & -DATE != 0
    head.has_hsts = noted & -HSTS != 0
    if head.chunked and (head.content_length >= 0 or head.minor == 0):
        return BAD_ANSWER  # RFC 9112 6.1, 6.3
    if head.nominated is not None:
        names = frozenset(head.nominated)
        head.passed = [line for line in passed if line[: line.index(b":")].lower() not in names]
    return head


def _status_line(line: bytes, fields: FieldReader) -> StatusLine | None:
    """What a status line says; few differ, so they are remembered like fields."""
    start = fields.known_starts.get(line)
    if start is None:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            return None
        start = StatusLine(int(match[1]), int(match[2]), match[3] or b"")
        fields.remember_start(line, start)
    return start


def _repair(raw: bytes) -> bytes:
    raw = _LINE_END.sub(b"\r\n", raw)
    body = _FOLD.sub(b" ", raw[:-4])
    return _BLANK_BEFORE_COLON.sub(rb"\1:", body) + b"\r\n\r\n"
