"""Answers of an upstream (RFC 9112 6.3 and 9.2, RFC 9110 15.2, 6.4.1 and 7.6.1)."""

from tests.corpus.rows import AnswerRow

OK = b"HTTP/1.1 200 OK\r\n"
CL5 = b"Content-Length: 5\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
HELLO = CL5 + b"\r\nhello"
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"


def _bad(name: str, rule: str, data: bytes) -> AnswerRow:
    """An answer that must become 502 and whose connection must not be used again."""
    return AnswerRow(name=name, rule=rule, data=data, statuses=(502,), reused=False)


def _good(name: str, rule: str, data: bytes, **more: object) -> AnswerRow:
    """An answer with the body ``hello`` whose connection may carry the next request."""
    values: dict[str, object] = {"body": b"hello", "reused": True, **more}
    return AnswerRow(name=name, rule=rule, data=data, **values)  # type: ignore[arg-type] # one dict of mixed values


ROWS: tuple[AnswerRow, ...] = (
    _good("R00 good answer", "FR", OK + HELLO),
    _good("R00b good chunked answer", "CH", OK + TE + b"\r\n5\r\nhello\r\n0\r\n\r\n"),
    _bad("R01 CL is no number", "FR2", OK + b"Content-Length: x\r\n\r\nhello"),
    _bad("R01b CL with plus", "FR2", OK + b"Content-Length: +5\r\n\r\nhello"),
    _bad("R02 two CL differ", "FR2", OK + CL5 + b"Content-Length: 6\r\n\r\nhello!"),
    _bad("R02b CL list differs", "FR2", OK + b"Content-Length: 5, 6\r\n\r\nhello!"),
    _bad("R03 CL and TE", "FR1", OK + CL5 + TE + b"\r\n5\r\nhello\r\n0\r\n\r\n"),
    _bad("R04 two TE lines", "FR3", OK + TE + TE + b"\r\n5\r\nhello\r\n0\r\n\r\n"),
    _bad(
        "R05 TE xchunked", "FR3", OK + b"Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    _bad(
        "R05b TE gzip, chunked",
        "FR3",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    _bad(
        "R06 chunked not final",
        "FR3",
        OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    _bad(
        "R06b TE in HTTP/1.0", "FR4", b"HTTP/1.0 200 OK\r\n" + TE + b"\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    _good("R07 folding", "HS2", OK + b"X: a\r\n b\r\n" + HELLO, has=(("x", "a b"),)),
    _good(
        "R08 bare LF everywhere",
        "SL2",
        b"HTTP/1.1 200 OK\nX: y\nContent-Length: 5\n\nhello",
        has=(("x", "y"),),
    ),
    _good("R09 space before the colon", "HS1", OK + b"X : y\r\n" + HELLO, has=(("x", "y"),)),
    _bad("R10 NUL in a value", "HS3", OK + b"X: a\x00b\r\n" + HELLO),
    _bad("R10b control in a value", "HS3", OK + b"X: a\x01b\r\n" + HELLO),
    _bad("R11 CR in a value", "HS3", OK + b"X: a\rb\r\n" + HELLO),
    _bad("R12 status of two digits", "SL", b"HTTP/1.1 20 OK\r\n" + HELLO),
    _bad("R12b status 099", "SL", b"HTTP/1.1 099 Low\r\n" + HELLO),
    _bad("R12c status with letters", "SL", b"HTTP/1.1 2OO OK\r\n" + HELLO),
    _bad("R12d no status", "SL", b"HTTP/1.1\r\n" + HELLO),
    _bad("R13 status 2000", "SL", b"HTTP/1.1 2000 OK\r\n" + HELLO),
    _good("R14 no reason phrase", "SL", b"HTTP/1.1 200 \r\n" + HELLO),
    _good("R14b no space after the status", "SL", b"HTTP/1.1 200\r\n" + HELLO),
    _good("R14c obs-text in the reason", "SL", b"HTTP/1.1 200 caf\xe9\r\n" + HELLO),
    AnswerRow(
        name="R15 HTTP/1.0, ended by close",
        rule="FR",
        data=b"HTTP/1.0 200 OK\r\n\r\nhello",
        then="close",
        body=b"hello",
        reused=False,
    ),
    AnswerRow(
        name="R15b HTTP/1.1, ended by close",
        rule="FR",
        data=OK + b"\r\nhello",
        then="close",
        body=b"hello",
        reused=False,
    ),
    AnswerRow(
        name="R15c HTTP/1.0 with a length",
        rule="FR",
        data=b"HTTP/1.0 200 OK\r\n" + HELLO,
        body=b"hello",
        reused=False,
    ),
    AnswerRow(
        name="R15d Connection: close with a length",
        rule="FR",
        data=OK + b"Connection: close\r\n" + HELLO,
        body=b"hello",
        reused=False,
        lacks=("connection",),
    ),
    _good(
        "R15e HTTP/1.0 keep-alive",
        "FR",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + HELLO,
        reused=None,
    ),
    _bad("R16 HTTP/2.0", "SL3", b"HTTP/2.0 200 OK\r\n" + HELLO),
    _bad("R17 ICY", "SL3", b"ICY 200 OK\r\n" + HELLO),
    _bad("R18 no head", "SL3", b"hello, this is HTTP/0.9\r\n\r\n"),
    AnswerRow(
        name="R19 204 with a body",
        rule="FR",
        data=b"HTTP/1.1 204 No Content\r\n" + HELLO,
        statuses=(204,),
        body=b"",
        reused=False,
        lacks=("content-length",),
    ),
    AnswerRow(
        name="R19b 204 with TE",
        rule="FR",
        data=b"HTTP/1.1 204 No Content\r\n" + TE + b"\r\n5\r\nhello\r\n0\r\n\r\n",
        statuses=(204, 502),
        reused=False,
    ),
    _good("R19c 204", "FR", b"HTTP/1.1 204 No Content\r\n\r\n", statuses=(204,), body=b""),
    AnswerRow(
        name="R20 304 with a length",
        rule="FR",
        data=b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n' + CL5 + b"\r\n",
        statuses=(304,),
        body=b"",
        has=(("etag", '"a"'),),
    ),
    AnswerRow(
        name="R20b 304 with a body",
        rule="FR",
        data=b"HTTP/1.1 304 Not Modified\r\n" + HELLO,
        statuses=(304,),
        body=b"",
        reused=False,
    ),
    AnswerRow(
        name="R21 HEAD with a body",
        rule="FR",
        data=OK + HELLO,
        method="HEAD",
        body=b"",
        has=(("content-length", "5"),),
        reused=False,
    ),
    _good(
        "R21b HEAD",
        "FR",
        OK + CL5 + b"\r\n",
        method="HEAD",
        body=b"",
        has=(("content-length", "5"),),
        reused=None,  # only a moment later: a body that should not be there may follow
    ),
    _bad(
        "R22 101 unasked",
        "UP1",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
        b"Upgrade: websocket\r\n\r\nhello",
    ),
    _good("R23 100 unasked", "EX", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + HELLO),
    _good("R24 103", "EX", HINT + OK + HELLO, interim=(103,)),
    _good("R24b two 103", "EX", HINT * 2 + OK + HELLO, interim=(103, 103)),
    _good("R24c 103 to HTTP/1.0", "EX", HINT + OK + HELLO, http10=True),
    _bad("R25 500 times 102", "EX", b"HTTP/1.1 102 Processing\r\n\r\n" * 500 + OK + HELLO),
    _bad("R25b 17 times 102", "EX", b"HTTP/1.1 102 Processing\r\n\r\n" * 17 + OK + HELLO),
    _good(
        "R25c 16 times 102",
        "EX",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 16 + OK + HELLO,
        interim=(102,) * 16,
    ),
    AnswerRow(
        name="R26 bytes after the answer",
        rule="PI",
        data=OK + HELLO + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        body=b"hello",
        reused=False,
        timed=True,
    ),
    AnswerRow(
        name="R27 CL 10, 5 sent, close",
        rule="FR",
        data=OK + b"Content-Length: 10\r\n\r\nhello",
        then="close",
        cut_off=True,
        reused=False,
    ),
    AnswerRow(
        name="R27b CL 10, 5 sent, reset",
        rule="FR",
        data=OK + b"Content-Length: 10\r\n\r\nhello",
        then="reset",
        cut_off=True,
        statuses=(200, 502),
        reused=False,
    ),
    AnswerRow(
        name="R28 chunked, cut by close",
        rule="CH",
        data=OK + TE + b"\r\n5\r\nhello\r\n",
        then="close",
        cut_off=True,
        reused=False,
    ),
    AnswerRow(
        name="R28b chunked, last chunk without end",
        rule="CH",
        data=OK + TE + b"\r\n5\r\nhello\r\n0\r\n",
        then="close",
        cut_off=True,
        reused=False,
    ),
    AnswerRow(
        name="R29 chunk size Z",
        rule="CH2",
        data=OK + TE + b"\r\nZ\r\nhello\r\n0\r\n\r\n",
        cut_off=True,
        reused=False,
    ),
    AnswerRow(
        name="R29b chunk longer than its size",
        rule="CH1",
        data=OK + TE + b"\r\n5\r\nhelloXX\r\n0\r\n\r\n",
        cut_off=True,
        reused=False,
    ),
    _good("R30 chunk extension", "CH3", OK + TE + b"\r\n5;a=b\r\nhello\r\n0\r\n\r\n"),
    _bad("R31 field of 100 KB", "HS6", OK + b"X: " + b"y" * 100_000 + b"\r\n" + HELLO),
    _bad("R31b 150 fields", "HS6", OK + b"".join(b"h%d: v\r\n" % n for n in range(150)) + HELLO),
    _bad("R32 empty field name", "HS4", OK + b": y\r\n" + HELLO),
    _bad("R32b no colon", "HS4", OK + b"X y\r\n" + HELLO),
    _bad("R32c parentheses in a name", "HS4", OK + b"X(y): z\r\n" + HELLO),
    _good(
        "R33 hop-by-hop fields",
        "HB2",
        OK
        + b"Connection: X-A, keep-alive\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\n"
        + b"Proxy-Connection: x\r\nUpgrade: h2c\r\nX-B: 2\r\n"
        + HELLO,
        has=(("x-b", "2"),),
        lacks=("x-a", "keep-alive", "proxy-connection", "upgrade"),
    ),
    _good("R34 trailers without TE", "CH4", OK + TE + b"\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"),
    AnswerRow(
        name="R35 close, no reply",
        rule="F-18",
        data=b"",
        then="close",
        statuses=(502,),
        reused=False,
    ),
    AnswerRow(
        name="R35b half a head, close",
        rule="F-18",
        data=b"HTTP/1.1 200 OK\r\nX",
        then="close",
        statuses=(502,),
        reused=False,
    ),
    AnswerRow(
        name="R36 reset, no reply",
        rule="F-18",
        data=b"",
        then="reset",
        statuses=(502,),
        reused=False,
    ),
    AnswerRow(
        name="R37 accept, then hang",
        rule="TO",
        data=b"",
        then="hang",
        statuses=(504,),
        reused=False,
        hurried=True,
    ),
    AnswerRow(
        name="R37b half a head, then hang",
        rule="TO",
        data=b"HTTP/1.1 200 OK\r\nX",
        then="hang",
        statuses=(504,),
        reused=False,
        hurried=True,
    ),
    AnswerRow(
        name="R37c half a body, then hang",
        rule="TO",
        data=OK + b"Content-Length: 10\r\n\r\nhello",
        then="hang",
        cut_off=True,
        reused=False,
        hurried=True,
    ),
    _good("R38 status 299", "SL", b"HTTP/1.1 299 Odd\r\n" + HELLO, statuses=(299,)),
    _good(
        "R39 obs-text in a value", "HS7", OK + b"X: caf\xe9\r\n" + HELLO, has=(("x", "caf\xe9"),)
    ),
)
