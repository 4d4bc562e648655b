"""Everything that can go wrong with one exchange: code, whose fault, status, sentence.

This table is the only place where a status code is chosen for a failure. The code is what the
access log, the metrics and ``explain`` call it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Side(StrEnum):
    """Whose fault it is."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    US = "us"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an exchange fails."""

    code: str
    side: Side
    status: int
    sentence: str
    """For people; says what is wrong, not who they are."""
    closes: bool = True
    """Whether the client's connection ends with the answer."""


def _client(code: str, status: int, sentence: str, *, closes: bool = True) -> Fault:
    return Fault(code, Side.CLIENT, status, sentence, closes)


def _upstream(code: str, status: int, sentence: str) -> Fault:
    return Fault(code, Side.UPSTREAM, status, sentence, closes=False)


BAD_REQUEST_LINE = _client(
    "bad-request-line",
    400,
    "The request line is not 'METHOD target HTTP/1.1' with single spaces.",
)
BAD_SYNTAX = _client("bad-syntax", 400, "The request is not well-formed HTTP/1.1.")
BAD_TARGET = _client(
    "bad-target", 400, "The request target has characters that must be percent-encoded."
)
AMBIGUOUS_PATH = _client(
    "ambiguous-path", 400, "The path can be read in more than one way, so it is not forwarded."
)
TARGET_TOO_LONG = _client("target-too-long", 414, "The request target is too long.")
BAD_METHOD = _client("bad-method", 400, "The method is not made of upper-case letters.")
UNKNOWN_METHOD = _client("unknown-method", 501, "This method is not known here.")
METHOD_NOT_ALLOWED = _client("method-not-allowed", 405, "This method is not allowed here.")
UNSUPPORTED_VERSION = _client("unsupported-version", 505, "Only HTTP/1.0 and HTTP/1.1 are spoken.")
BAD_HOST = _client("bad-host", 400, "There must be exactly one Host field with a valid host name.")
HOST_MISMATCH = _client(
    "host-mismatch", 400, "The authority of the request target differs from the Host field."
)
BAD_FIELD = _client("bad-field", 400, "A header field is malformed.")
HEAD_TOO_LARGE = _client("head-too-large", 431, "The header fields are too large or too many.")
BAD_CONTENT_LENGTH = _client(
    "bad-content-length", 400, "Content-Length must be one decimal number."
)
BAD_TRANSFER_ENCODING = _client(
    "bad-transfer-encoding", 400, "Transfer-Encoding must be 'chunked', once, in HTTP/1.1."
)
UNKNOWN_TRANSFER_CODING = _client(
    "unknown-transfer-coding", 501, "The only transfer coding known here is 'chunked'."
)
AMBIGUOUS_LENGTH = _client(
    "ambiguous-length", 400, "Content-Length and Transfer-Encoding exclude each other."
)
BAD_CONNECTION = _client(
    "bad-connection", 400, "The Connection field names a field that must not be removed."
)
BAD_UPGRADE = _client("bad-upgrade", 400, "The upgrade request is malformed.")
UPGRADE_VERSION = _client("websocket-version", 426, "Only WebSocket version 13 is spoken.")
UNKNOWN_EXPECTATION = _client(
    "unknown-expectation", 417, "The only expectation met here is '100-continue'."
)
BAD_CHUNK = _client("bad-chunk", 400, "The chunked body is malformed.")
BAD_TRAILER = _client("bad-trailer", 400, "A trailer field is malformed or not allowed there.")
TRAILERS_TOO_LARGE = _client("trailers-too-large", 431, "There are too many trailer fields.")
BODY_TOO_LARGE = _client("body-too-large", 413, "The request body is larger than allowed.")
REQUEST_TIMEOUT = _client("request-timeout", 408, "The request did not come in time.")
CLIENT_GONE = _client("client-gone", 499, "The client closed the connection before the answer.")
CLIENT_STALLED = _client("client-stalled", 499, "The client did not read the answer in time.")
TUNNEL_IDLE = _client("tunnel-idle", 499, "The upgraded connection was idle for too long.")

TLS_ON_PLAIN_PORT = _client(
    "tls-on-plain-port", 400, "This port speaks plain HTTP; the client began with TLS."
)
PLAIN_ON_TLS_PORT = _client(
    "plain-on-tls-port", 400, "This port speaks HTTPS; the client began with plain HTTP."
)
MISDIRECTED = _client(
    "misdirected", 421, "This host has other TLS rules than the connection was opened under."
)
CERTIFICATE_NEEDED = _client(
    "certificate-needed", 403, "This host is served over HTTPS with a client certificate only."
)

NO_ROUTE = _client("no-route", 404, "No rule matches this host and path.", closes=False)

NO_ENDPOINT = _upstream("no-endpoint", 503, "The service has no endpoint that is ready.")
UNSERVABLE = _upstream("unservable-rule", 503, "The rule for this path cannot be served.")
POOL_FULL = _upstream("pool-full", 503, "Too many requests wait for this service.")
CONNECT_REFUSED = _upstream("connect-refused", 502, "The service refused the connection.")
CONNECT_TIMEOUT = _upstream(
    "connect-timeout", 504, "The service did not accept a connection in time."
)
UPSTREAM_CLOSED = _upstream(
    "upstream-closed", 502, "The service closed the connection without an answer."
)
UPSTREAM_TIMEOUT = _upstream("upstream-timeout", 504, "The service did not answer in time.")
UPSTREAM_UNTRUSTED = _upstream(
    "upstream-untrusted", 502, "The certificate of the service could not be verified."
)
UPSTREAM_TLS = _upstream("upstream-tls", 502, "No TLS connection to the service could be opened.")
BAD_ANSWER = _upstream("bad-answer", 502, "The service answered with malformed HTTP.")
CUT_ANSWER = _upstream("cut-answer", 502, "The service ended its answer too early.")
TOO_MANY_INTERIM = _upstream(
    "too-many-interim-answers", 502, "The service sent too many interim answers."
)

OVERLOADED = Fault("overloaded", Side.US, 503, "Too many connections are open.")
INTERNAL = Fault("internal", Side.US, 500, "The proxy failed to handle this request.")

FAULTS: tuple[Fault, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Fault)
)
"""All faults, for documentation and tests."""
