"""Host and authority (rules HO1 to HO4)."""

from tests.corpus.rows import END, G, Row, Seen, forward, refuse

X = b"GET /x HTTP/1.1\r\n"


def _host(value: bytes) -> bytes:
    return X + b"Host: " + value + b"\r\n\r\n"


def _target(target: bytes, host: bytes = b"h.test") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"


ROWS: tuple[Row, ...] = (
    refuse("H01 no Host", "HO1", X + END),
    refuse("H02 second Host, other", "HO1", G + b"Host: evil.test\r\n\r\n"),
    refuse("H03 second Host, same", "HO1", G + b"Host: h.test\r\n\r\n"),
    refuse("H04 empty Host", "HO1", X + b"Host:\r\n\r\n"),
    refuse("H05 comma", "HO1", _host(b"h.test,evil.test")),
    refuse("H06 space", "HO1", _host(b"h.test evil.test")),
    refuse("H07 slash", "HO1", _host(b"h.test/evil")),
    refuse("H07b question mark", "HO1", _host(b"h.test?evil")),
    refuse("H07c backslash", "HO1", _host(b"h.test\\evil")),
    refuse("H07d hash", "HO1", _host(b"h.test#evil")),
    refuse("H08 port with a letter", "HO1", _host(b"h.test:80x")),
    refuse("H09 port too large", "HO1", _host(b"h.test:99999")),
    refuse("H10 port 0", "HO1", _host(b"h.test:0")),
    refuse("H10b negative port", "HO1", _host(b"h.test:-80")),
    refuse("H10c two ports", "HO1", _host(b"h.test:80:80")),
    refuse("H11 open bracket", "HO1", _host(b"[::1")),
    refuse("H11b no address in brackets", "HO1", _host(b"[evil]")),
    refuse("H11c text after the bracket", "HO1", _host(b"[::1]x")),
    Row(
        name="H11d IPv6 address",
        rule="HO1",
        data=_host(b"[::1]:80"),
        statuses=((404,),),
        closes=False,
    ),
    forward("H12 port is not matched", "HO4", _host(b"h.test:8080")),
    refuse("H13 absolute-form, other Host", "HO2", _target(b"http://evil.test/x"), 400),
    forward("H14 absolute-form, same Host", "HO2", _target(b"http://h.test/x")),
    forward(
        "H14b absolute-form, https", "HO2", _target(b"https://h.test/x?y"), Seen(target="/x?y")
    ),
    refuse("H15 userinfo in the target", "HO3", _target(b"http://u:p@h.test/x")),
    refuse("H15b userinfo in Host", "HO3", _host(b"u@h.test")),
    forward("H16 absolute-form without a path", "HO2", _target(b"http://h.test"), Seen(target="/")),
    forward(
        "H16b absolute-form, only a query", "HO2", _target(b"http://h.test?q"), Seen(target="/?q")
    ),
    refuse("H17 ftp", "HO2", _target(b"ftp://h.test/x")),
    refuse("H17b no authority", "HO2", _target(b"http:///x")),
    refuse("H17c absolute-form without Host", "HO1", b"GET http://h.test/x HTTP/1.1\r\n\r\n"),
    forward(
        "H18 absolute-form, repeated slash", "HO2", _target(b"http://h.test//x"), Seen(target="//x")
    ),
    forward("H19 upper case", "HO4", _host(b"H.TesT")),
    forward("H20 trailing dot", "HO4", _host(b"h.test.")),
    refuse("H20b only a dot", "HO1", _host(b".")),
    refuse("H21 target begins with an at sign", "SL5", _target(b"@evil.test/x")),
    refuse("H22 folded Host", "HS2", X + b"X: 1\r\n Host: evil.test\r\nHost: h.test\r\n\r\n"),
    refuse("H23 raw UTF-8", "HO1", _host("é.test".encode())),
    refuse("H23b NUL", "HO1", _host(b"h.test\x00")),
    refuse(
        "H24 HTTP/1.0 without Host",
        "HO1",
        b"GET /x HTTP/1.0\r\n\r\n",
        400,
        404,
        http10=True,
    ),
    forward(
        "H25 HTTP/1.0 with Host",
        "HO1",
        b"GET /x HTTP/1.0\r\nHost: h.test\r\n\r\n",
        closes=True,
        http10=True,
    ),
)
