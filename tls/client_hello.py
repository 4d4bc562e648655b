"""First bytes of a connection → who is asked for, before anything answers.

The context of a connection is chosen from what is read here, so OpenSSL never chooses and no
callback runs inside the handshake. OpenSSL then reads the same bytes again with its own strict
rules; whatever it understands differently cannot change the choice any more. Callers must
therefore compare Host fields with the name read *here*, not with one that ssl reports.

Nothing here needs a socket: bytes come as an argument, time limits are the caller's.
"""

from enum import StrEnum
from typing import Final, Literal

import msgspec

from tls.names import normalise

MAX_MESSAGE: Final = 16_384
"""Bytes of one ClientHello. Today's post-quantum key shares make 1.7 KiB, a resumed session with a
client certificate in its ticket several more; nginx and Envoy stop at 16 KiB too."""
MAX_RECEIVED: Final = 32_768
"""Bytes of one ClientHello with its record headers, however small the records are cut."""
MAX_RECORD: Final = 16_384
"""Bytes in one plaintext record (RFC 8446 §5.1)."""

TLS12: Final = 0x0303
TLS13: Final = 0x0304

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_SIGNATURE_ALGORITHMS: Final = 13
_ALPN: Final = 16
_SUPPORTED_VERSIONS: Final = 43

_ECDSA: Final = frozenset({0x0403, 0x0503, 0x0603})
_RSA_PSS: Final = frozenset({0x0804, 0x0805, 0x0806})
_RSA: Final = _RSA_PSS | frozenset({0x0401, 0x0501, 0x0601})
_ECDSA_SUITES: Final = frozenset({0xC02B, 0xC02C, 0xCCA9})
"""TLS 1.2 suites with ECDSA that our profiles have (IANA TLS parameters)."""

_TOKEN: Final = (
    frozenset(b"!#$%&'*+-.^_`|~0123456789") | frozenset(range(65, 91)) | frozenset(range(97, 123))
)
"""Octets of an HTTP method (RFC 9110 §5.6.2)."""


class RefusalCode(StrEnum):
    """Why the first bytes are refused; label of the handshake failure metric."""

    NOT_A_HELLO = "not_a_client_hello"
    MALFORMED = "malformed_client_hello"
    TOO_LARGE = "client_hello_too_large"


class Alert(StrEnum):
    """Alerts that are sent in place of a handshake (RFC 8446 §6)."""

    UNEXPECTED_MESSAGE = "unexpected_message"
    RECORD_OVERFLOW = "record_overflow"
    DECODE_ERROR = "decode_error"
    ILLEGAL_PARAMETER = "illegal_parameter"
    PROTOCOL_VERSION = "protocol_version"
    INTERNAL_ERROR = "internal_error"
    UNRECOGNIZED_NAME = "unrecognized_name"
    NO_APPLICATION_PROTOCOL = "no_application_protocol"


_ALERT_NUMBERS: Final = {
    Alert.UNEXPECTED_MESSAGE: 10,
    Alert.RECORD_OVERFLOW: 22,
    Alert.ILLEGAL_PARAMETER: 47,
    Alert.DECODE_ERROR: 50,
    Alert.PROTOCOL_VERSION: 70,
    Alert.INTERNAL_ERROR: 80,
    Alert.UNRECOGNIZED_NAME: 112,
    Alert.NO_APPLICATION_PROTOCOL: 120,
}


def alert_record(alert: Alert) -> bytes:
    """The bytes that end a connection with this alert, fatal and in clear."""
    return b"\x15\x03\x03\x00\x02\x02" + bytes([_ALERT_NUMBERS[alert]])


class NeedMore(msgspec.Struct, frozen=True, gc=False):
    """Not decided yet."""

    at_least: int
    """Nothing new can be said before this many bytes, counted from the first of the connection,
    are there (a value for SO_RCVLOWAT). At most MAX_RECEIVED."""


class ClientHello(msgspec.Struct, frozen=True, gc=False):
    """What the client asks for and offers."""

    server_name: str | None
    """In normal form (`tls.names`). None when there is none, or none that is a DNS name."""
    sent_server_name: bytes | None
    """As it was sent, for logs; differs from ``server_name`` when that is None."""
    alpn: tuple[bytes, ...]
    """Protocols in the client's order; empty when it does not take part (RFC 7301)."""
    versions: tuple[int, ...]
    """In the client's order, as numbers of the wire (0x0304 is TLS 1.3); may hold unknown ones."""
    offers_ecdsa: bool
    """An ECDSA certificate would do: signature algorithm, and for TLS 1.2 also a suite."""
    offers_rsa: bool


class NotTls(msgspec.Struct, frozen=True, gc=False):
    """The client speaks something else: decided with its first byte, so that nobody waits.

    What it looks like is judged by the bytes that are there, the first segment as a rule.
    """

    looks_like: Literal["http", "proxy", "ssl2", "unknown"]
    """``proxy`` is a PROXY protocol header (version 1 or 2) where none was expected."""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """TLS, but not the beginning of a handshake that can go on."""

    code: RefusalCode
    reason: str
    """A sentence for people, without full stop at its end."""
    alert: Alert


Outcome = NeedMore | ClientHello | NotTls | Refused


class ClientHelloReader:
    """Reads the beginning of one connection.

    A reader keeps how far it has come: however a client cuts its bytes into segments and records,
    each byte is looked at once, so the work is linear in MAX_RECEIVED.
    """

    __slots__ = ("_message", "_outcome", "_walked")

    def __init__(self) -> None:
        self._walked = 0
        """Bytes of complete records whose payload is in ``_message``."""
        self._message = bytearray()
        self._outcome: Outcome | None = None

    def read(self, received: bytes | bytearray | memoryview) -> Outcome:
        """The outcome with all bytes received so far.

        ``received`` begins with the first byte of the connection each time, as MSG_PEEK gives it;
        it may grow, and it is not kept. An outcome other than NeedMore is final.
        """
        if self._outcome is None:
            outcome = self._walk(received)
            if isinstance(outcome, NeedMore):
                return outcome
            self._outcome = outcome
            self._message.clear()
        return self._outcome

    def _walk(self, received: bytes | bytearray | memoryview) -> Outcome:
        available = len(received)
        message = self._message
        while True:
            at = self._walked
            if available > at:
                odd = _odd_record(received, at)
                if odd is not None:
                    return odd
            body = at + 5
            if available < body:
                return NeedMore(body) if body <= MAX_RECEIVED else _TOO_LARGE
            length = received[at + 3] << 8 | received[at + 4]
            if not 0 < length <= MAX_RECORD:
                return _BAD_LENGTH
            end = body + length
            if end > MAX_RECEIVED:
                return _TOO_LARGE
            if available < end:
                return NeedMore(end)
            message += received[body:end]
            self._walked = end
            if message[0] != _CLIENT_HELLO:
                return _NOT_A_HELLO
            if len(message) >= 4:
                size = 4 + int.from_bytes(message[1:4], "big")
                if size > MAX_MESSAGE:
                    return _TOO_LARGE
                if len(message) >= size:
                    return _parse(bytes(message[:size]))


def read_client_hello(received: bytes | bytearray | memoryview) -> Outcome:
    """The outcome of bytes that come at once."""
    return ClientHelloReader().read(received)


_TOO_LARGE: Final = Refused(
    RefusalCode.TOO_LARGE,
    f"the ClientHello is longer than {MAX_MESSAGE} bytes, or {MAX_RECEIVED} with record headers",
    Alert.RECORD_OVERFLOW,
)
_BAD_LENGTH: Final = Refused(
    RefusalCode.MALFORMED,
    f"a record is empty or announces more than {MAX_RECORD} bytes",
    Alert.RECORD_OVERFLOW,
)
_NOT_A_HELLO: Final = Refused(
    RefusalCode.NOT_A_HELLO,
    "the connection does not begin with a ClientHello",
    Alert.UNEXPECTED_MESSAGE,
)


def _odd_record(received: bytes | bytearray | memoryview, at: int) -> Outcome | None:
    """What to say when the record at ``at`` is not one of a handshake; None when it is."""
    kind = received[at]
    major = received[at + 1] if len(received) > at + 1 else 3
    if kind == _HANDSHAKE and major == 3:
        return None
    if at or (20 <= kind <= 24 and major == 3):
        return _NOT_A_HELLO
    return NotTls(_looks_like(bytes(received[:32])))


def _looks_like(start: bytes) -> Literal["http", "proxy", "ssl2", "unknown"]:
    if start.startswith((b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n")):
        return "proxy"
    # Two bytes of length with the highest bit set, message type, version (RFC 6101 appendix E).
    if len(start) > 4 and start[0] & 0x80 and start[2] == 1 and start[3] in (0, 2, 3):
        return "ssl2"
    word = start.partition(b" ")[0]
    if word and _TOKEN.issuperset(word):
        return "http"
    return "unknown"


class _MalformedError(Exception):
    """Raised and caught in this file only."""


def _parse(message: bytes) -> ClientHello | Refused:
    try:
        return _parse_hello(message)
    except _MalformedError as malformed:
        return Refused(RefusalCode.MALFORMED, f"ClientHello: {malformed}", Alert.DECODE_ERROR)


def _vector(data: bytes, at: int, width: int, end: int) -> tuple[int, int]:
    """Where the contents of a vector begin and end, whose length takes ``width`` bytes."""
    start = at + width
    if start > end:
        raise _MalformedError("cut off")
    stop = start + int.from_bytes(data[at:start], "big")
    if stop > end:
        raise _MalformedError("a length points beyond its end")
    return start, stop


def _numbers(data: bytes, start: int, stop: int) -> tuple[int, ...]:
    """A list of 16-bit numbers."""
    if start == stop or (stop - start) % 2:
        raise _MalformedError("a list of numbers is empty or cut off")
    return tuple(
        high << 8 | low
        for high, low in zip(data[start:stop:2], data[start + 1 : stop : 2], strict=True)
    )


def _parse_hello(data: bytes) -> ClientHello:
    """RFC 8446 §4.1.2: version, random, session, suites, compression methods, extensions."""
    end = len(data)
    version = int.from_bytes(data[4:6], "big")
    session, session_end = _vector(data, 38, 1, end)
    if session_end - session > 32:
        raise _MalformedError("a session identifier of more than 32 bytes")
    suites, suites_end = _vector(data, session_end, 2, end)
    compression, at = _vector(data, suites_end, 1, end)
    if compression == at:
        raise _MalformedError("no compression method")
    extensions = _extensions(data, at, end)

    versions: tuple[int, ...] = (min(version, TLS12),)
    found = extensions.get(_SUPPORTED_VERSIONS)
    if found is not None:
        versions = _numbers(data, *_whole(data, found, 1))

    algorithms: frozenset[int] = frozenset()
    found = extensions.get(_SIGNATURE_ALGORITHMS)
    if found is not None:
        algorithms = frozenset(_numbers(data, *_whole(data, found, 2)))
    has_tls13 = TLS13 in versions
    ecdsa_suite = has_tls13 or not _ECDSA_SUITES.isdisjoint(_numbers(data, suites, suites_end))

    sent = _server_name(data, extensions.get(_SERVER_NAME))
    return ClientHello(
        server_name=None if sent is None else normalise(sent),
        sent_server_name=sent,
        alpn=_alpn(data, extensions.get(_ALPN)),
        versions=versions,
        offers_ecdsa=ecdsa_suite and not _ECDSA.isdisjoint(algorithms),
        # Without the extension a TLS 1.2 client means SHA-1 (RFC 5246 §7.4.1.4.1): refused by
        # OpenSSL later, and not to be sent to another certificate because of that.
        offers_rsa=found is None or not (_RSA_PSS if has_tls13 else _RSA).isdisjoint(algorithms),
    )


def _extensions(data: bytes, at: int, end: int) -> dict[int, tuple[int, int]]:
    """Where each extension is. None at all is right in TLS 1.2."""
    found: dict[int, tuple[int, int]] = {}
    if at == end:
        return found
    at, stop = _vector(data, at, 2, end)
    if stop != end:
        raise _MalformedError("bytes after the extensions")
    while at < end:
        if at + 4 > end:
            raise _MalformedError("an extension is cut off")
        kind = data[at] << 8 | data[at + 1]
        start, at = _vector(data, at + 2, 2, end)
        # RFC 8446 §4.2; two server names would mean different things to different readers.
        if kind in found:
            raise _MalformedError(f"extension {kind} comes twice")
        found[kind] = (start, at)
    return found


def _whole(data: bytes, extension: tuple[int, int], width: int) -> tuple[int, int]:
    """The contents of an extension that is one vector."""
    start, stop = _vector(data, extension[0], width, extension[1])
    if stop != extension[1]:
        raise _MalformedError("bytes after the contents of an extension")
    return start, stop


def _server_name(data: bytes, extension: tuple[int, int] | None) -> bytes | None:
    """RFC 6066 §3: a list of names, in fact of exactly one of type host_name (0)."""
    if extension is None:
        return None
    at, end = _whole(data, extension, 2)
    if at == end or data[at] != 0:
        raise _MalformedError("server_name without a host name")
    start, stop = _vector(data, at + 1, 2, end)
    if stop != end:
        raise _MalformedError("server_name with more than one name")
    return data[start:stop]


def _alpn(data: bytes, extension: tuple[int, int] | None) -> tuple[bytes, ...]:
    """RFC 7301 §3.1: names of one byte at least."""
    if extension is None:
        return ()
    at, end = _whole(data, extension, 2)
    names = []
    while at < end:
        start, at = _vector(data, at, 1, end)
        if start == at:
            raise _MalformedError("an empty protocol name in ALPN")
        names.append(data[start:at])
    if not names:
        raise _MalformedError("ALPN without a protocol name")
    return tuple(names)
