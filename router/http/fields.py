"""One header line: read once, then looked up.

Most header lines of a connection, and of all connections, are the same again and again. A line
that passed the rules is remembered with what it means, so that the common line costs one
dictionary look-up instead of a parse. The memory is bounded in lines and in bytes a line, and
holds no credentials.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from router.http.faults import BAD_FIELD, HEAD_TOO_LARGE, Fault

PASS = 0
"""Forwarded as it is."""
DROP = 1
"""Never forwarded: hop-by-hop, or never to be believed."""
HOST = 2
CONNECTION = 3
CONTENT_LENGTH = 4
TRANSFER_ENCODING = 5
UPGRADE = 6
EXPECT = 7
TE = 8
USER_AGENT = 9
REFERER = 10
AUTHORIZATION = 11
CONTENT_TYPE = 12
FORWARDING = 13
"""Says who the client is or what it asked for: believed only from trusted peers."""
WEBSOCKET_KEY = 14
WEBSOCKET_VERSION = 15
TRAILER = 16
COOKIE = 17
SERVER = -1
DATE = -2
HSTS = -4
"""Negative kinds are forwarded like PASS; that they were there is noted, as a bit each."""

_HOP_BY_HOP = {
    # RFC 9110 7.6.1, and names of old proxies; Proxy is httpoxy (CVE-2016-5385).
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"proxy-authenticate": DROP,
    b"proxy-authorization": DROP,
    b"http2-settings": DROP,
    b"proxy": DROP,
}
_COMMON = {
    **_HOP_BY_HOP,
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"upgrade": UPGRADE,
    b"content-type": CONTENT_TYPE,
    b"trailer": TRAILER,
}
REQUEST_KINDS: dict[bytes, int] = {
    **_COMMON,
    b"host": HOST,
    b"expect": EXPECT,
    b"te": TE,
    b"user-agent": USER_AGENT,
    b"referer": REFERER,
    b"authorization": AUTHORIZATION,
    b"cookie": COOKIE,
    b"sec-websocket-key": WEBSOCKET_KEY,
    b"sec-websocket-version": WEBSOCKET_VERSION,
    b"forwarded": FORWARDING,
    b"x-real-ip": FORWARDING,
    b"x-request-id": FORWARDING,
    b"x-scheme": FORWARDING,
}
REQUEST_PREFIXES: tuple[bytes, ...] = (
    b"x-forwarded-",
    b"x-original-",
    b"x-rewrite-",
    b"ssl-client-",
)
"""Beginnings of further names that are FORWARDING, or OURS_ALONE."""
OURS_ALONE = b"ssl-client-"
"""Beginning of the fields that tell upstreams about client certificates: nobody else's pass."""
RESPONSE_KINDS: dict[bytes, int] = {
    **_COMMON,
    b"server": SERVER,
    b"date": DATE,
    b"strict-transport-security": HSTS,
}

_NAME = re.compile(rb"[!#$%&'*+\-.^`|~0-9A-Za-z_]+")
"""A token (RFC 9110 5.6.2)."""
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
"""Visible text, blanks, and obs-text, which is opaque (RFC 9110 5.5)."""

_REMEMBERED_LINES = 4096
_REMEMBERED_LENGTH = 256
_REMEMBERED_VALUES = 64
"""Lines of one name that are remembered: a name whose values always differ (a request id, a time)
must not push out the others."""
_REMEMBERED_NAMES = 1024


class Field(NamedTuple):
    """One header field."""

    kind: int
    name: bytes
    """Lower case."""
    value: bytes
    """Without blanks around it."""
    wire: bytes
    """The line as we write it, with CRLF."""


class StatusLine(NamedTuple):
    """The first line of an answer (RFC 9112 4)."""

    minor: int
    status: int
    reason: bytes


@dataclass(slots=True)
class _Name:
    """A field name as somebody wrote it."""

    kind: int
    lower: bytes
    start: bytes
    """Name, colon and blank, as we write them."""
    underscore: bool
    """Dropped, and counted each time."""
    memory: int
    """How many more lines of this name are remembered."""


class FieldReader:
    """Reads the header lines of one role (requests or responses) for one worker."""

    __slots__ = (
        "_drop_underscores",
        "_kinds",
        "_names",
        "_prefixes",
        "known",
        "known_starts",
        "max_line",
        "underscores",
    )

    def __init__(
        self,
        kinds: dict[bytes, int],
        prefixes: tuple[bytes, ...],
        *,
        max_line: int,
        drop_underscores: bool,
    ) -> None:
        self._kinds = kinds
        self._names: dict[bytes, _Name] = {}
        self._prefixes = prefixes
        self._drop_underscores = drop_underscores
        self.max_line = max_line
        self.known: dict[bytes, Field] = {}
        """Lines that were read before. Callers ask here first and call `read` on a miss."""
        self.known_starts: dict[bytes, StatusLine] = {}
        """Status lines that were read before."""
        self.underscores = 0
        """Fields dropped for an underscore in their name, which servers mistake for a hyphen."""

    def remember_start(self, line: bytes, start: StatusLine) -> None:
        """Remember a status line."""
        if len(line) <= _REMEMBERED_LENGTH:
            if len(self.known_starts) >= _REMEMBERED_LINES:
                self.known_starts.clear()
            self.known_starts[line] = start

    def read(self, line: bytes) -> Field | Fault:
        """The field that ``line`` (without CRLF) holds, or why it is refused.

        RFC 9112 5.1: no blank between name and colon. RFC 9112 5.2: no folding (a folded line
        begins with a blank, so its name is no token). RFC 9110 5.5: no controls in the value.
        """
        if len(line) > self.max_line:
            return HEAD_TOO_LARGE
        name, colon, value = line.partition(b":")
        known = self._names.get(name)
        if known is None:
            if not colon or not _NAME.fullmatch(name):
                return BAD_FIELD
            known = self._learn(name)
        if not _VALUE.fullmatch(value):
            return BAD_FIELD
        value = value.strip(b" \t")
        if known.underscore:
            self.underscores += 1
        field = Field(known.kind, known.lower, value, known.start + value + b"\r\n")
        if known.memory > 0 and len(line) <= _REMEMBERED_LENGTH:
            known.memory -= 1
            if len(self.known) >= _REMEMBERED_LINES:
                self.known.clear()
                self._names.clear()
            self.known[line] = field
        return field

    def _learn(self, name: bytes) -> _Name:
        """What a name (a token) means, from now on known."""
        lower = name.lower()
        kind = self._kinds.get(lower, PASS)
        underscore = False
        if kind == PASS:
            if self._drop_underscores and b"_" in lower:
                underscore = True
                kind = DROP
            elif lower.startswith(self._prefixes):
                kind = DROP if lower.startswith(OURS_ALONE) else FORWARDING
        forgets = underscore or kind in (AUTHORIZATION, COOKIE)
        known = _Name(kind, lower, name + b": ", underscore, 0 if forgets else _REMEMBERED_VALUES)
        if len(self._names) >= _REMEMBERED_NAMES:
            self._names.clear()
        if len(name) <= _REMEMBERED_LENGTH:
            self._names[name] = known
        return known
