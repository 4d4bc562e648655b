"""How long a body is: Content-Length and Transfer-Encoding (rules FR1 to FR6)."""

from tests.corpus.rows import LAST, G, P, Row, S, Seen, T, forward, refuse

CL5 = b"Content-Length: 5\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
HELLO = Seen(method="POST", body=b"hello")


def _length(value: bytes) -> bytes:
    return P + b"Content-Length:" + value + b"\r\n\r\nhello"


def _coding(value: bytes) -> bytes:
    return P + b"Transfer-Encoding:" + value + b"\r\n\r\n" + LAST


ROWS: tuple[Row, ...] = (
    refuse(
        "F01 CL and TE, TE says empty", "FR1", P + b"Content-Length: 4\r\n" + TE + b"\r\n" + LAST
    ),
    refuse(
        "F02 TE and CL, hidden request",
        "FR1",
        P + TE + b"Content-Length: 44\r\n\r\n" + LAST + S,
    ),
    refuse("F03 CL 0 and TE", "FR1", P + b"Content-Length: 0\r\n" + TE + b"\r\n" + LAST),
    refuse("F04 CL and TE in a GET", "FR1", G + CL5 + TE + b"\r\n" + LAST),
    refuse("F05 CL list of equal numbers", "FR2", _length(b" 5, 5")),
    refuse("F06 two equal CL lines", "FR2", P + CL5 + CL5 + b"\r\nhello"),
    refuse("F06b two different CL lines", "FR2", P + CL5 + b"Content-Length: 41\r\n\r\nhello" + S),
    refuse("F06c CL list of different numbers", "FR2", _length(b" 5, 6")),
    refuse("F07 CL with plus", "FR2", _length(b" +5")),
    refuse("F08 CL with minus", "FR2", _length(b" -5")),
    refuse("F09 CL in hexadecimal", "FR2", _length(b" 0x5")),
    refuse("F10 CL of 2^53 + 1", "FR2", _length(b" 9007199254740993")),
    refuse("F11 CL of 20 digits", "FR2", _length(b" 18446744073709551621")),
    refuse("F12 empty CL", "FR2", _length(b"")),
    refuse("F13 CL of white space", "FR2", _length(b"  ")),
    refuse("F14 CL with inner space", "FR2", _length(b" 5 5")),
    refuse("F15 CL with trailing comma", "FR2", _length(b" 5,")),
    refuse("F16 CL with fraction", "FR2", _length(b" 5.0")),
    refuse("F17 CL with exponent", "FR2", _length(b" 5e0")),
    refuse("F17b CL in quotes", "FR2", _length(b' "5"')),
    refuse("F17c CL with a digit of another script", "FR2", _length(" ٥".encode())),
    forward(
        "F18 CL after a tab",
        "FR2",
        _length(b"\t5"),
        Seen(method="POST", body=b"hello", has=(("content-length", "5"),)),
    ),
    forward(
        "F18b CL with leading zeros",
        "FR2",
        _length(b" 0005"),
        Seen(method="POST", body=b"hello", has=(("content-length", "5"),)),
    ),
    forward("F18c CL with trailing white space", "FR2", _length(b" 5 \t"), HELLO),
    refuse("F19 space before the colon of CL", "HS1", P + b"Content-Length : 5\r\n\r\nhello"),
    forward(
        "F20 underscore alias of CL",
        "FR6",
        P + b"Content_Length: 44\r\n\r\n" + S,
        Seen(method="POST", lacks=("content_length",)),
        Seen(target="/smug"),
    ),
    forward(
        "F20b underscore alias of TE",
        "FR6",
        P + b"Transfer_Encoding: chunked\r\n" + CL5 + b"\r\nhello",
        Seen(method="POST", body=b"hello", lacks=("transfer_encoding",)),
    ),
    refuse("F21 TE xchunked", "FR3", _coding(b" xchunked"), 400, 501),
    refuse("F22 TE chunked twice", "FR3", _coding(b" chunked, chunked"), 400, 501),
    refuse("F23 two TE lines", "FR3", P + TE + TE + b"\r\n" + LAST, 400, 501),
    refuse("F24 TE gzip", "FR3", _coding(b" gzip"), 400, 501),
    refuse(
        "F24b two TE lines, identity last",
        "FR3",
        P + TE + b"Transfer-Encoding: identity\r\n\r\n" + LAST,
        400,
        501,
    ),
    refuse(
        "F25 TE identity and CL",
        "FR1",
        P + b"Transfer-Encoding: identity\r\n" + CL5 + b"\r\nhello",
        400,
        501,
    ),
    refuse("F26 chunked not final", "FR3", _coding(b" chunked, gzip"), 400, 501),
    refuse("F27 gzip before chunked", "FR3", _coding(b" gzip, chunked"), 400, 501),
    refuse("F28 TE with leading comma", "FR3", _coding(b" ,chunked"), 400, 501),
    refuse("F29 TE with trailing comma", "FR3", _coding(b" chunked,"), 400, 501),
    refuse("F30 TE in quotes", "FR3", _coding(b' "chunked"'), 400, 501),
    refuse("F31 TE with a parameter", "FR3", _coding(b" chunked;q=1"), 400, 501),
    refuse("F32 TE with inner space", "FR3", _coding(b" chun ked"), 400, 501),
    refuse("F33 vertical tab in TE", "HS3", _coding(b" \x0bchunked"), 400, 501),
    refuse("F34 NUL in TE", "HS3", _coding(b" chunked\x00"), 400, 501),
    refuse("F35 no-break space in TE", "FR3", _coding(b" \xa0chunked"), 400, 501),
    refuse(
        "F36 space before the colon of TE",
        "HS1",
        P + b"Transfer-Encoding : chunked\r\n\r\n" + LAST,
        400,
        501,
    ),
    refuse("F37 folded TE", "HS2", P + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + LAST, 400, 501),
    refuse("F38 bare CR in TE", "HS3", _coding(b" chunked\r"), 400, 501),
    refuse("F39 TE chunkedfoo", "FR3", _coding(b" chunkedfoo"), 400, 501),
    refuse("F40 empty TE", "FR3", _coding(b"")),
    forward(
        "F40b TE in capitals after a tab",
        "FR3",
        P + b"Transfer-Encoding:\tCHUNKED\r\n\r\n5\r\nhello\r\n" + LAST,
        HELLO,
    ),
    refuse(
        "F41 TE in HTTP/1.0",
        "FR4",
        b"POST /x HTTP/1.0\r\nHost: h.test\r\n" + TE + b"\r\n" + LAST,
        http10=True,
    ),
    refuse(
        "F42 TE and CL in HTTP/1.0, hidden request",
        "FR4",
        b"POST /x HTTP/1.0\r\nHost: h.test\r\nConnection: keep-alive\r\n"
        + TE
        + b"Content-Length: 44\r\n\r\n"
        + LAST
        + S,
        http10=True,
    ),
    forward(
        "F43 chunked body in a GET",
        "FR5",
        G + TE + b"\r\n5\r\nhello\r\n" + LAST + S,
        Seen(body=b"hello"),
        Seen(target="/smug"),
    ),
    forward(
        "F44 bytes after CL 0",
        "PI1",
        P + b"X: y\r\nContent-Length: 0\r\n\r\n" + S,
        Seen(method="POST"),
        Seen(target="/smug"),
    ),
    forward(
        "F45 length in a GET",
        "FR5",
        G + b"Content-Length: 36\r\n\r\n" + S + S,
        Seen(body=S),
        Seen(target="/smug"),
    ),
    forward(
        "F45b length in a DELETE",
        "FR5",
        b"DELETE /x HTTP/1.1\r\nHost: h.test\r\n" + CL5 + b"\r\nhello" + S,
        Seen(method="DELETE", body=b"hello"),
        Seen(target="/smug"),
    ),
    forward(
        "F46 length in a HEAD",
        "FR5",
        b"HEAD /x HTTP/1.1\r\nHost: h.test\r\nContent-Length: 36\r\n\r\n" + S,
        Seen(method="HEAD", body=S),
    ),
    forward(
        "F47 POST without a length, then a request",
        "PI1",
        P + b"\r\n" + S,
        Seen(method="POST"),
        Seen(target="/smug"),
    ),
    forward("F48 chunked body", "FR3", T + b"5\r\nhello\r\n" + LAST, HELLO),
    forward(
        "F49 chunked body, then a request",
        "PI1",
        T + b"5\r\nhello\r\n" + LAST + S,
        HELLO,
        Seen(target="/smug"),
    ),
)
