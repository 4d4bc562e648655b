"""What the special fields of a request say, and what is refused: one function, one rule.

Each takes the head so far and the field, notes what it says in the head, and returns None or the
fault. llhttp has checked the syntax of the message before; these rules are stricter than it, or
stand where it is silent.
"""

import re
from collections.abc import Callable

from router.http.faults import (
    AMBIGUOUS_LENGTH,
    BAD_CONNECTION,
    BAD_CONTENT_LENGTH,
    BAD_HOST,
    BAD_REQUEST_LINE,
    BAD_TARGET,
    BAD_TRANSFER_ENCODING,
    BAD_UPGRADE,
    HOST_MISMATCH,
    METHOD_NOT_ALLOWED,
    UNKNOWN_EXPECTATION,
    UNKNOWN_TRANSFER_CODING,
    UPGRADE_VERSION,
    Fault,
)
from router.http.fields import (
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    COOKIE,
    DROP,
    EXPECT,
    FORWARDING,
    HOST,
    REFERER,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    USER_AGENT,
    WEBSOCKET_KEY,
    WEBSOCKET_VERSION,
    Field,
)
from router.http.head import RequestHead, ResponseHead

MAX_BODY_LENGTH = (1 << 53) - 1
"""Larger lengths are not exact in every language behind us."""

_DIGITS = re.compile(rb"[0-9]{1,16}")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^`|~0-9A-Za-z_]+")
_QUERY = re.compile(rb"[!\x24-\x3b=\x3f-\x7e\x80-\xff]+")
"""Visible characters without quote, number sign, < and > (RFC 3986 3.4). Browsers send
\\ ^ ` { | } in queries as they are (WHATWG URL), and old clients octets from 0x80, so these are
taken and forwarded percent-encoded. Paths are judged where they are matched."""
_QUERY_ENCODED = re.compile(rb"[\\^`{|}\x80-\xff]")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/[^?]*)?(?:\?(.*))?", re.IGNORECASE)
_WEBSOCKET_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
"""16 bytes in base 64 (RFC 6455 4.1)."""

_NEVER_NOMINATED = frozenset((b"host", b"content-length", b"transfer-encoding"))
_ALWAYS_REMOVED = frozenset(
    (b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings", b"proxy-connection")
)


def _pass(head: RequestHead, field: Field) -> Fault | None:
    head.passed.append(field.wire)
    return None


def _drop(head: RequestHead, field: Field) -> Fault | None:
    return None


def _host(head: RequestHead, field: Field) -> Fault | None:
    """RFC 9112 3.2: exactly one Host field; its value is judged when the host is looked up."""
    if head.host_field is not None or not field.value:
        return BAD_HOST
    head.host_field = field.value
    return None


def connection_options(value: bytes) -> list[bytes]:
    """The options in a Connection field, in lower case."""
    return [option for part in value.lower().split(b",") if (option := part.strip(b" \t"))]


def _connection(head: RequestHead, field: Field) -> Fault | None:
    """RFC 9110 7.6.1: what Connection names ends here, but nothing that others rely on may."""
    for option in connection_options(field.value):
        if option == b"close":
            head.closes = True
            head.keep_alive = False
        elif option == b"keep-alive":
            head.keep_alive = not head.closes
        elif option == b"upgrade":
            head.upgrade_nominated = True
        elif option in _NEVER_NOMINATED or not _TOKEN.fullmatch(option):
            return BAD_CONNECTION
        elif option not in _ALWAYS_REMOVED:
            if head.nominated is None:
                head.nominated = []
            head.nominated.append(option)
    return None


def _content_length(head: RequestHead, field: Field) -> Fault | None:
    """RFC 9110 8.6: one number of digits; a list is refused even if its members are equal."""
    if head.content_length >= 0 or not _DIGITS.fullmatch(field.value):
        return BAD_CONTENT_LENGTH
    length = int(field.value)
    if length > MAX_BODY_LENGTH:
        return BAD_CONTENT_LENGTH
    head.content_length = length
    return None


def _transfer_encoding(head: RequestHead, field: Field) -> Fault | None:
    """RFC 9112 6.1, stricter: one line, exactly ``chunked``, never in HTTP/1.0."""
    if head.chunked or head.minor == 0:
        return BAD_TRANSFER_ENCODING
    value = field.value.lower()
    if value != b"chunked":
        known = b"chunked" in value or value == b"identity"
        if known or not _TOKEN.fullmatch(value):
            return BAD_TRANSFER_ENCODING
        return UNKNOWN_TRANSFER_CODING
    head.chunked = True
    return None


def _upgrade(head: RequestHead, field: Field) -> Fault | None:
    """RFC 9110 7.8; RFC 9113 3.1: the upgrade to HTTP/2 is gone, so its tokens are dropped."""
    wanted = [
        protocol for protocol in connection_options(field.value) if protocol not in (b"h2c", b"h2")
    ]
    if not wanted:
        return None
    if head.upgrade is not None or len(wanted) > 1:
        # Several protocols to choose from: none is passed on, which every server may do.
        head.upgrade = b""
        return None
    head.upgrade = wanted[0]
    return None


def _expect(head: RequestHead, field: Field) -> Fault | None:
    """RFC 9110 10.1.1: answered here; HTTP/1.0 knows no expectations."""
    if field.value.lower() != b"100-continue":
        return UNKNOWN_EXPECTATION
    head.expects_continue = head.minor == 1
    return None


def _te(head: RequestHead, field: Field) -> Fault | None:
    """RFC 9110 10.1.4: hop-by-hop; we only need to know whether trailers may be sent."""
    if b"trailers" in connection_options(field.value):
        head.takes_trailers = True
    return None


def _user_agent(head: RequestHead, field: Field) -> Fault | None:
    head.user_agent = field.value
    head.passed.append(field.wire)
    return None


def _referer(head: RequestHead, field: Field) -> Fault | None:
    head.referer = field.value
    head.passed.append(field.wire)
    return None


def _authorization(head: RequestHead, field: Field) -> Fault | None:
    head.authorization = field.value
    head.passed.append(field.wire)
    return None


def _content_type(head: RequestHead, field: Field) -> Fault | None:
    head.grpc = field.value.startswith(b"application/grpc")
    head.passed.append(field.wire)
    return None


def _forwarding(head: RequestHead, field: Field) -> Fault | None:
    if head.forwarding is None:
        head.forwarding = []
    head.forwarding.append(field)
    return None


def _websocket_key(head: RequestHead, field: Field) -> Fault | None:
    if head.websocket_key:
        return BAD_UPGRADE
    head.websocket_key = field.value
    head.passed.append(field.wire)
    return None


def _websocket_version(head: RequestHead, field: Field) -> Fault | None:
    head.websocket_version = field.value
    head.passed.append(field.wire)
    return None


REQUEST_RULES: dict[int, Callable[[RequestHead, Field], Fault | None]] = {
    DROP: _drop,
    HOST: _host,
    CONNECTION: _connection,
    CONTENT_LENGTH: _content_length,
    TRANSFER_ENCODING: _transfer_encoding,
    UPGRADE: _upgrade,
    EXPECT: _expect,
    TE: _te,
    USER_AGENT: _user_agent,
    REFERER: _referer,
    AUTHORIZATION: _authorization,
    CONTENT_TYPE: _content_type,
    FORWARDING: _forwarding,
    WEBSOCKET_KEY: _websocket_key,
    WEBSOCKET_VERSION: _websocket_version,
    TRAILER: _drop,
    COOKIE: _pass,
}
"""Rule of each kind of field but PASS."""


def read_target(head: RequestHead) -> Fault | None:
    """RFC 9112 3.2: the four forms of a target; fills path, query and, if needed, the host."""
    target = head.target
    if target[:1] == b"/":
        path, mark, query = target.partition(b"?")
        head.path = path
        return _set_query(head, query) if mark else None
    if target == b"*":
        head.path = target
        return None if head.method == b"OPTIONS" else BAD_REQUEST_LINE
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return BAD_TARGET
    authority = absolute[1]
    if b"@" in authority or not authority:
        return BAD_HOST  # RFC 9110 4.2.4: user information from an untrusted source
    if head.host_field is None:
        head.host_field = authority
    elif head.host_field.lower() != authority.lower():
        return HOST_MISMATCH
    head.path = absolute[2] or b"/"
    return None if absolute[3] is None else _set_query(head, absolute[3])


def _set_query(head: RequestHead, query: bytes) -> Fault | None:
    if query and not _QUERY.fullmatch(query):
        return BAD_TARGET
    if _QUERY_ENCODED.search(query):
        query = _QUERY_ENCODED.sub(lambda match: b"%%%02X" % match[0][0], query)
    head.query = query
    return None


def check_request(head: RequestHead) -> Fault | None:
    """Rules that need the whole head."""
    head.has_body = head.chunked or head.content_length > 0
    if head.method in (b"CONNECT", b"TRACE"):
        return METHOD_NOT_ALLOWED  # RFC 9110 9.3.6, 9.3.8: we are no forward proxy
    if head.host_field is None and head.minor == 1:
        return BAD_HOST
    fault = read_target(head)
    if fault is not None:
        return fault
    if head.chunked and head.content_length >= 0:
        return AMBIGUOUS_LENGTH  # RFC 9112 6.3: smuggling; refusing both is allowed, and safe
    if head.nominated is not None:
        _remove_nominated(head)
    if head.upgrade is not None:
        return _check_upgrade(head)
    return None


def _remove_nominated(head: RequestHead) -> None:
    names = frozenset(head.nominated or ())
    head.passed = [line for line in head.passed if line[: line.index(b":")].lower() not in names]
    if head.forwarding is not None:
        head.forwarding = [field for field in head.forwarding if field.name not in names]


def _check_upgrade(head: RequestHead) -> Fault | None:
    """RFC 9110 7.8: an upgrade needs HTTP/1.1 and ``Connection: upgrade``; else it is ignored."""
    if not head.upgrade or not head.upgrade_nominated or head.minor == 0:
        head.upgrade = None
        return None
    if not _TOKEN.fullmatch(head.upgrade.replace(b"/", b"")):
        return BAD_UPGRADE
    if head.has_body:
        return BAD_UPGRADE  # where its body ends and the new protocol begins is not agreed upon
    if head.upgrade == b"websocket":
        # RFC 6455 4.1, 4.2.1: what a server would refuse must not open a tunnel.
        if head.method != b"GET":
            return BAD_UPGRADE
        if head.websocket_version != b"13":
            return UPGRADE_VERSION
        if not _WEBSOCKET_KEY.fullmatch(head.websocket_key):
            return BAD_UPGRADE
    return None


def read_response_field(head: ResponseHead, field: Field) -> bool:
    """Note what a special field of an answer says; False when it makes the answer unusable."""
    kind = field.kind
    if kind == CONTENT_LENGTH:
        if head.content_length >= 0 or not _DIGITS.fullmatch(field.value):
            return False
        head.content_length = int(field.value)
        return head.content_length <= MAX_BODY_LENGTH
    if kind == TRANSFER_ENCODING:
        if head.chunked or field.value.lower() != b"chunked":
            return False
        head.chunked = True
        return True
    if kind == CONNECTION:
        for option in connection_options(field.value):
            if option == b"close":
                head.closes = True
                head.keep_alive = False
            elif option == b"keep-alive":
                head.keep_alive = not head.closes
            elif option not in _ALWAYS_REMOVED and option not in _NEVER_NOMINATED:
                if head.nominated is None:
                    head.nominated = []
                head.nominated.append(option)
        return True
    if kind == UPGRADE:
        head.upgrade = field.value.lower()
    return True
