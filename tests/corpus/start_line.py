"""The start line (rules SL1 to SL6)."""

from tests.corpus.rows import G, Row, S, Seen, forward, refuse

HOST = b"Host: h.test\r\n\r\n"
_LONGEST = b"/" + b"a" * 16383


def _line(line: bytes) -> bytes:
    return line + b"\r\n" + HOST


ROWS: tuple[Row, ...] = (
    refuse("L01 two spaces", "SL1", _line(b"GET  /x HTTP/1.1")),
    refuse("L01b two spaces before the version", "SL1", _line(b"GET /x  HTTP/1.1")),
    refuse("L02 tabs", "SL1", _line(b"GET\t/x\tHTTP/1.1")),
    refuse("L03 trailing space", "SL1", _line(b"GET /x HTTP/1.1 ")),
    refuse("L04 leading space", "SL1", b" " + G + b"\r\n"),
    forward("L05 one empty line before", "SL2", b"\r\n" + G + b"\r\n"),
    forward("L05b two empty lines before", "SL2", b"\r\n\r\n" + G + b"\r\n"),
    refuse("L05c bare LF before", "SL2", b"\n" + G + b"\r\n"),
    refuse("L06 bare LF everywhere", "SL2", b"GET /x HTTP/1.1\nHost: h.test\n\n"),
    refuse("L06b bare LF after the start line", "SL2", b"GET /x HTTP/1.1\nHost: h.test\r\n\r\n"),
    refuse("L06c bare LF after a field", "SL2", b"GET /x HTTP/1.1\r\nHost: h.test\n\r\n"),
    refuse("L06d bare LF ends the head", "SL2", G + b"\n" + S),
    refuse("L07 bare CR everywhere", "SL2", b"GET /x HTTP/1.1\rHost: h.test\r\r"),
    refuse("L08 no version", "SL1", _line(b"GET /x")),
    refuse("L08b only a method", "SL1", _line(b"GET")),
    refuse("L09 HTTP/2.0", "SL3", _line(b"GET /x HTTP/2.0"), 505),
    refuse("L09b HTTP/3.0", "SL3", _line(b"GET /x HTTP/3.0"), 505),
    refuse("L09c HTTP/0.9", "SL3", _line(b"GET /x HTTP/0.9"), 505),
    forward("L10 HTTP/1.2", "SL3", _line(b"GET /x HTTP/1.2")),
    forward("L10b HTTP/1.9", "SL3", _line(b"GET /x HTTP/1.9")),
    refuse("L11 no minor version", "SL3", _line(b"GET /x HTTP/1")),
    refuse("L11b lower-case version", "SL3", _line(b"GET /x http/1.1")),
    refuse("L12 two-digit minor version", "SL3", _line(b"GET /x HTTP/1.11")),
    refuse("L13 comma in the version", "SL3", _line(b"GET /x HTTP/1,1")),
    refuse("L13b other protocol", "SL3", _line(b"GET /x ICE/1.0")),
    refuse("L14 lower-case method", "SL4", _line(b"get /x HTTP/1.1")),
    refuse("L15 at sign in the method", "SL4", _line(b"G@T /x HTTP/1.1")),
    refuse("L16 no method", "SL4", _line(b" /x HTTP/1.1")),
    refuse("L17 method of 33 letters", "SL4", _line(b"A" * 33 + b" /x HTTP/1.1"), 501),
    refuse("L17b well-formed, unknown method", "SL4", _line(b"FROB /x HTTP/1.1"), 501),
    refuse("L17c method of 5000 letters", "SL4", _line(b"A" * 5000 + b" /x HTTP/1.1"), 501),
    forward("L17d PATCH", "SL4", _line(b"PATCH /x HTTP/1.1"), Seen(method="PATCH")),
    refuse("L18 target of 70 KB", "SL5", _line(b"GET /" + b"a" * 70000 + b" HTTP/1.1"), 414),
    refuse("L18b target one byte too long", "SL5", _line(b"GET " + _LONGEST + b"a HTTP/1.1"), 414),
    forward(
        "L19 longest target",
        "SL5",
        _line(b"GET " + _LONGEST + b" HTTP/1.1"),
        Seen(target=_LONGEST.decode()),
    ),
    refuse("L20 NUL in the target", "SL5", _line(b"GET /x\x00 HTTP/1.1")),
    refuse("L21 control in the target", "SL5", _line(b"GET /x\x01 HTTP/1.1")),
    refuse("L21b DEL in the target", "SL5", _line(b"GET /x\x7f HTTP/1.1")),
    refuse("L21c bare CR in the target", "SL5", _line(b"GET /x\r HTTP/1.1")),
    forward(
        "L22 raw UTF-8 in the target",
        "SL5",
        _line(b"GET /\xc3\xa9 HTTP/1.1"),
        Seen(target="/%C3%A9"),
    ),
    forward(
        "L22b raw UTF-8 in the query",
        "SL5",
        _line(b"GET /x?q=\xc3\xa9 HTTP/1.1"),
        Seen(target="/x?q=%C3%A9"),
    ),
    refuse("L23 space in the target", "SL1", _line(b"GET /x y HTTP/1.1")),
    *(
        refuse(f"L24{letter} {name} in the target", "SL5", _line(b"GET /x" + octet + b"y HTTP/1.1"))
        for letter, name, octet in (
            ("a", "quote", b'"'),
            ("b", "less", b"<"),
            ("c", "greater", b">"),
            ("d", "backslash", b"\\"),
            ("e", "caret", b"^"),
            ("f", "left brace", b"{"),
            ("g", "right brace", b"}"),
            ("h", "pipe", b"|"),
            ("i", "backquote", b"`"),
        )
    ),
    refuse("L25 fragment", "SL5", _line(b"GET /x#y HTTP/1.1")),
    refuse("L25b fragment in the query", "SL5", _line(b"GET /x?a#y HTTP/1.1")),
    refuse("L26 TRACE", "SL4", _line(b"TRACE /x HTTP/1.1"), 405, has=(("allow", None),)),
    refuse(
        "L27 CONNECT, then bytes",
        "SL4",
        b"CONNECT h.test:80 HTTP/1.1\r\nHost: h.test:80\r\n\r\n" + S,
        405,
        has=(("allow", None),),
    ),
    refuse("L28 HTTP/2 preface", "UP2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 505),
    Row(
        name="L29 OPTIONS *",
        rule="SL6",
        data=_line(b"OPTIONS * HTTP/1.1"),
        statuses=((200, 204),),
        closes=False,
        methods=("OPTIONS",),
    ),
    forward("L29b OPTIONS of a path", "SL6", _line(b"OPTIONS /x HTTP/1.1"), Seen(method="OPTIONS")),
    refuse("L30 GET *", "SL6", _line(b"GET * HTTP/1.1")),
    refuse("L30b GET of an authority", "SL5", _line(b"GET h.test:80 HTTP/1.1")),
    refuse("L30c target without a slash", "SL5", _line(b"GET x HTTP/1.1")),
    forward(
        "L31 query stays as it is",
        "SL5",
        _line(b"GET /x?a=%2e%2E/../b&c=//;d?e:@ HTTP/1.1"),
        Seen(target="/x?a=%2e%2E/../b&c=//;d?e:@"),
    ),
    forward("L31b empty query", "SL5", _line(b"GET /x? HTTP/1.1"), Seen(target=("/x?", "/x"))),
)
