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
    SERVER,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    Field,
    FieldReader,
)
from router.http.head import ResponseHead
from router.http.rules import read_response_field

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
"""RFC 9112 4; the space before an empty reason is often missing."""
_SPECIAL = frozenset((CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE))
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
    status_line = _STATUS_LINE.fullmatch(lines[0])
    if status_line is None:
        return BAD_ANSWER
    del lines[0], lines[-2:]
    if len(lines) > max_fields:
        return BAD_ANSWER
    status = int(status_line[2])
    head = ResponseHead(int(status_line[1]), status, status_line[3] or b"", len(raw))
    known = fields.known
    passed = head.passed
    for line in lines:
        field = known.get(line)
        if field is None:
            read = fields.read(line)
            if isinstance(read, Fault):
                return BAD_ANSWER
            field = read
        if field[0] == 0:  # PASS, as in `read_request_head`
            passed.append(field[3])
        elif not _read_special(head, field):
            return BAD_ANSWER
    if head.chunked and (head.content_length >= 0 or head.minor == 0):
        return BAD_ANSWER  # RFC 9112 6.1, 6.3
    if head.nominated is not None:
        names = frozenset(head.nominated)
        head.passed = [line for line in passed if line[: line.index(b":")].lower() not in names]
    return head


def _read_special(head: ResponseHead, field: Field) -> bool:
    """Note what a field says, and pass it on where it goes on; False when it is unusable."""
    kind = field.kind
    if kind in _SPECIAL:
        return read_response_field(head, field)
    if kind in (DROP, TRAILER):
        return True
    if kind == SERVER:
        head.has_server = True
    elif kind == DATE:
        head.has_date = True
    head.passed.append(field.wire)
    return True


def _repair(raw: bytes) -> bytes:
    raw = _LINE_END.sub(b"\r\n", raw)
    body = _FOLD.sub(b" ", raw[:-4])
    return _BLANK_BEFORE_COLON.sub(rb"\1:", body) + b"\r\n\r\n"
