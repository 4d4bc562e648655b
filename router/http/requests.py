"""The bytes of a request head → `RequestHead`, or the fault."""

import re

from router.http.faults import (
    BAD_METHOD,
    BAD_REQUEST_LINE,
    BAD_SYNTAX,
    HEAD_TOO_LARGE,
    TARGET_TOO_LONG,
    UNKNOWN_METHOD,
    UNSUPPORTED_VERSION,
    Fault,
)
from router.http.fields import FieldReader
from router.http.head import RequestHead
from router.http.rules import REQUEST_RULES, check_request

MAX_METHOD = 32
"""Letters of a method; the longest registered one (UPDATEREDIRECTREF) has 17."""

_MINOR = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}
_VERSION = re.compile(rb"HTTP/([0-9])\.([0-9])")
_OCTET = re.compile(rb"[\x80-\xff]")
_METHOD = re.compile(rb"[A-Z][A-Z-]*")
_METHODS = frozenset(
    # What llhttp knows for HTTP, without those that only RTSP and ICE have.
    (
        b"GET HEAD POST PUT DELETE OPTIONS PATCH TRACE CONNECT "
        b"ACL BIND CHECKOUT COPY LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE "
        b"NOTIFY PROPFIND PROPPATCH PURGE QUERY REBIND REPORT SEARCH SUBSCRIBE UNBIND UNLINK "
        b"UNLOCK UNSUBSCRIBE"
    ).split()
)


def read_request_head(raw: bytes, fields: FieldReader, max_fields: int) -> RequestHead | Fault:
    """Read and judge one head.

    ``raw`` is everything from the request line to the empty line, both included, and has passed
    llhttp. All rules of the message are applied; the path is judged later, where it is matched.
    """
    lines = raw.split(b"\r\n")
    parts = lines[0].split(b" ")
    if len(parts) != 3:
        return BAD_REQUEST_LINE  # RFC 9112 3: single spaces; llhttp takes several
    method, target, version = parts
    minor = _MINOR.get(version)
    if minor is None or method not in _METHODS:
        fault = judge_request_line(lines[0])
        if fault is not None:
            return fault
        minor = 1
    if len(target) > fields.max_line:
        return TARGET_TOO_LONG
    del lines[0], lines[-2:]
    if len(lines) > max_fields:
        return HEAD_TOO_LARGE
    head = RequestHead(method, target, minor, len(raw))
    known = fields.known
    passed = head.passed
    for line in lines:
        field = known.get(line)
        if field is None:
            read = fields.read(line)
            if isinstance(read, Fault):
                return read
            field = read
        if field[0] == 0:  # PASS; by number and index, since this runs for each field of each head
            passed.append(field[3])
        else:
            fault = REQUEST_RULES[field[0]](head, field)
            if fault is not None:
                return fault
    fault = check_request(head)
    return head if fault is None else fault


def repeat_request_head(
    raw: bytes, line_end: int, before: RequestHead, max_line: int
) -> RequestHead | Fault | None:
    """A head whose fields are, byte for byte, those of the one before on its connection.

    Clients that keep a connection send the same fields with each request as a rule; then only the
    request line needs to be read. None when the line itself is not of the common kind.
    """
    parts = raw[:line_end].split(b" ")
    if len(parts) != 3 or len(parts[1]) > max_line:
        return None
    method, target, version = parts
    if method not in _METHODS or _MINOR.get(version) != before.minor:
        return None
    head = before.again(method, target, len(raw))
    fault = check_request(head)
    return head if fault is None else fault


def judge_request_line(line: bytes) -> Fault | None:
    """Why a request line is refused that llhttp or the common path did not take.

    None means that it is good after all: HTTP/1.2 to 1.9 are treated as 1.1 (RFC 9110 2.5).
    """
    parts = line.split(b" ")
    if len(parts) != 3:
        return BAD_REQUEST_LINE
    method, target, version = parts
    if not _METHOD.fullmatch(method):
        return BAD_METHOD
    match = _VERSION.fullmatch(version)
    if match is None or not target:
        return BAD_REQUEST_LINE
    if method == b"PRI":
        return BAD_SYNTAX  # RFC 9113 3.4: the preface of HTTP/2, made to fail in HTTP/1.1
    if match[1] != b"1":
        return UNSUPPORTED_VERSION
    if len(method) > MAX_METHOD or method not in _METHODS:
        return UNKNOWN_METHOD  # RFC 9110 9.1
    return None


def judge_refused_head(raw: bytes, max_line: int) -> Fault:
    """The fault for bytes that llhttp refused: as exact as the request line allows."""
    line, end, _ = raw.partition(b"\r\n")
    if not end:
        return TARGET_TOO_LONG if len(line) > max_line else BAD_SYNTAX
    return judge_request_line(line) or BAD_SYNTAX


def for_llhttp(raw: bytes) -> bytes | None:
    """The head as llhttp can judge it, when its request line has what we take and llhttp does not.

    That is HTTP/1.2 to 1.9, and octets from 0x80 in the target. None when it has neither.
    """
    line, end, rest = raw.partition(b"\r\n")
    start, _, version = line.rpartition(b" ")
    match = _VERSION.fullmatch(version)
    if match is None or match[1] != b"1":
        return None
    plain = _OCTET.sub(b"%AA", start) + b" HTTP/1." + (b"1" if match[2] > b"1" else match[2])
    return plain + end + rest if plain != line else None
