"""The chunked coding (rules CH1 to CH4)."""

from tests.corpus.rows import LAST, P, Row, S, Seen, T, forward, refuse

HELLO = Seen(method="POST", body=b"hello")
GOOD = b"5\r\nhello\r\n"
TRAILERS_WANTED = P + b"TE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n"


def _fault(name: str, rule: str, body: bytes, *statuses: int) -> Row:
    return refuse(name, rule, T + body, *statuses, aborts=True)


def _trailers(count: int) -> bytes:
    return b"0\r\n" + b"".join(b"t%d: v\r\n" % number for number in range(count)) + b"\r\n"


ROWS: tuple[Row, ...] = (
    _fault("K01 bare LF after the size", "CH1", b"5\nhello\r\n" + LAST),
    _fault("K02 bare LF after the data", "CH1", b"5\r\nhello\n" + LAST),
    _fault("K03 bare CR after the size", "CH1", b"5\rhello\r\n" + LAST),
    _fault("K03b bare CR after the data", "CH1", b"5\r\nhello\r" + LAST),
    _fault("K04 size with 0x", "CH2", b"0x5\r\nhello\r\n" + LAST),
    _fault("K05 size with plus", "CH2", b"+5\r\nhello\r\n" + LAST),
    _fault("K06 size with minus", "CH2", b"-5\r\nhello\r\n" + LAST),
    _fault("K07 empty size", "CH2", b"\r\nhello\r\n" + LAST),
    _fault("K08 space before the size", "CH2", b" 5\r\nhello\r\n" + LAST),
    _fault("K09 space after the size", "CH1", b"5 \r\nhello\r\n" + LAST),
    _fault("K09b tab after the size", "CH1", b"5\t\r\nhello\r\n" + LAST),
    _fault("K10 size with underscore", "CH2", b"0_5\r\nhello\r\n" + LAST),
    _fault("K11 size that is no hex digit", "CH2", b"Z\r\nhello\r\n" + LAST),
    _fault("K12 sign bit", "CH2", b"8000000000000000\r\nhello\r\n" + LAST),
    _fault("K12b size of 2^53", "CH2", b"20000000000000\r\nhello\r\n" + LAST),
    _fault("K12c size of 2^64 + 5", "CH2", b"10000000000000005\r\nhello\r\n" + LAST),
    _fault("K13 long leading zeros", "CH2", b"0000000000000000000005\r\nhello\r\n" + LAST),
    forward("K13b 16 digits", "CH2", T + b"0000000000000005\r\nhello\r\n" + LAST, HELLO),
    forward(
        "K13c hex digits of both cases",
        "CH2",
        T + b"a\r\n0123456789\r\nB\r\n0123456789a\r\n" + LAST,
        Seen(method="POST", body=b"01234567890123456789a"),
    ),
    _fault("K14 data longer than the size", "CH1", b"5\r\nhelloXX\r\n" + LAST),
    _fault("K15 data shorter than the size", "CH1", b"8\r\nhello\r\n" + LAST + LAST),
    forward("K16 extension", "CH3", T + b"5;a=b\r\nhello\r\n0;c\r\n\r\n", HELLO),
    forward("K16b quoted extension", "CH3", T + b'5;a="b c"\r\nhello\r\n' + LAST, HELLO),
    _fault("K17 empty extension", "CH3", b"5;\r\nhello\r\n" + LAST),
    _fault("K17b extension without a name", "CH3", b"5;=b\r\nhello\r\n" + LAST),
    _fault("K17c space before an extension", "CH3", b"5 ;a=b\r\nhello\r\n" + LAST),
    _fault("K18 NUL in an extension", "CH3", b"5;a=\x00\r\nhello\r\n" + LAST),
    _fault(
        "K19 LF in an extension",
        "CH1",
        b"5;a\nGET /smug HTTP/1.1\r\nHost: a\r\nX:\r\nhello\r\n" + LAST,
    ),
    _fault("K20 bare CR in an extension", "CH1", b"5;a\rX\r\nhello\r\n" + LAST),
    _fault("K21 extension of 300 bytes", "CH3", b"5;" + b"a" * 300 + b"\r\nhello\r\n" + LAST),
    forward(
        "K21b extension of 200 bytes",
        "CH3",
        T + b"5;" + b"a" * 200 + b"\r\nhello\r\n" + LAST,
        HELLO,
    ),
    _fault(
        "K22 extensions of 40 KB in all", "CH3", (b"1;" + b"a" * 200 + b"\r\nZ\r\n") * 200 + LAST
    ),
    _fault("K23 last chunk ends with bare LF", "CH1", GOOD + b"0\n\r\n"),
    _fault("K24 framing field in the trailers", "CH4", b"0\r\nContent-Length: 44\r\n\r\n" + S),
    _fault("K24b TE in the trailers", "CH4", b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + S),
    forward(
        "K25 trailer without TE is dropped",
        "CH4",
        T + GOOD + b"0\r\nX-Sum: 5\r\n\r\n" + S,
        HELLO,
        Seen(target="/smug"),
    ),
    forward(
        "K25b trailer with TE: trailers",
        "CH4",
        TRAILERS_WANTED + GOOD + b"0\r\nX-Sum: 5\r\n\r\n",
        Seen(method="POST", body=b"hello", trailers=None),
    ),
    _fault(
        "K26 Host and forwarding field in the trailers",
        "CH4",
        b"0\r\nHost: evil.test\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n",
    ),
    _fault("K26b Authorization in the trailers", "CH4", b"0\r\nAuthorization: Basic eA==\r\n\r\n"),
    _fault("K26c Connection in the trailers", "CH4", b"0\r\nConnection: close\r\n\r\n"),
    _fault("K26d X-Real-IP in the trailers", "CH4", b"0\r\nX-Real-IP: 9.9.9.9\r\n\r\n"),
    _fault("K27 trailer without a colon", "HS4", b"0\r\nX y\r\n\r\n"),
    _fault("K28 folded trailer", "HS2", b"0\r\nX: y\r\n z\r\n\r\n"),
    _fault("K28b space before the colon of a trailer", "HS1", b"0\r\nX : y\r\n\r\n"),
    _fault("K28c NUL in a trailer", "HS3", b"0\r\nX: \x00\r\n\r\n"),
    _fault("K29 2000 trailer fields", "HS6", _trailers(2000), 431),
    _fault("K29b 33 trailer fields", "HS6", _trailers(33), 431),
    forward("K29c 32 trailer fields", "HS6", T + _trailers(32), Seen(method="POST")),
    _fault("K30 bare LF ends the trailers", "CH1", b"0\r\n\n" + S),
    _fault("K30b bare CR ends the trailers", "CH1", b"0\r\n\r" + S),
    refuse(
        "K31 truncated chunk, then silence", "TO", T + b"5\r\nhel", 408, aborts=True, hurried=True
    ),
    refuse(
        "K31b truncated length, then silence",
        "TO",
        P + b"Content-Length: 5\r\n\r\nhel",
        408,
        aborts=True,
        hurried=True,
    ),
    refuse("K32 half a head, then silence", "TO", P[:-4], 408, hurried=True),
)
