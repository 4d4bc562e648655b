"""Upgrade, Expect and pipelining (rules UP1, UP2, EX1, PI1, PI2)."""

from tests.corpus.rows import END, G, P, Row, S, Seen, forward, refuse

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
HELLO = Seen(method="POST", body=b"hello", lacks=("expect",))


def _socket(*lines: bytes, start: bytes = b"GET /wsno HTTP/1.1\r\nHost: h.test\r\n") -> bytes:
    return start + UPGRADE + b"".join(lines) + b"\r\n"


ROWS: tuple[Row, ...] = (
    forward(
        "U01 h2c",
        "UP2",
        G
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        + b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        Seen(lacks=("upgrade", "http2-settings", "connection")),
    ),
    forward(
        "U02 h2", "UP2", G + b"Connection: Upgrade\r\nUpgrade: h2\r\n\r\n", Seen(lacks=("upgrade",))
    ),
    forward(
        "U03 h2c among others",
        "UP2",
        G + b"Connection: Upgrade\r\nUpgrade: foo, h2c, bar\r\n\r\n",
        Seen(lacks=("upgrade",)),
    ),
    forward(
        "U03b h2c in a second line",
        "UP2",
        G + b"Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: H2C\r\n\r\n",
        Seen(lacks=("upgrade",)),
    ),
    forward(
        "U04 Upgrade without Connection",
        "UP1",
        G + b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + KEY + b"\r\n",
        Seen(lacks=("upgrade",)),
    ),
    forward(
        "U05 refused by the backend, early bytes",
        "UP1",
        _socket(b"Sec-WebSocket-Version: 13\r\n", KEY) + S,
        Seen(target="/wsno", has=(("upgrade", "websocket"),)),
        closes=True,
    ),
    refuse(
        "U06 unknown WebSocket version",
        "UP1",
        _socket(b"Sec-WebSocket-Version: 77\r\n", KEY) + S,
        426,
        has=(("sec-websocket-version", "13"),),
    ),
    refuse("U06b no WebSocket version", "UP1", _socket(KEY), 400, 426),
    refuse("U07 no key", "UP1", _socket(b"Sec-WebSocket-Version: 13\r\n")),
    refuse(
        "U07b bad key",
        "UP1",
        _socket(b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Key: short\r\n"),
    ),
    refuse("U07c two keys", "UP1", _socket(b"Sec-WebSocket-Version: 13\r\n", KEY, KEY)),
    refuse("U08 WebSocket by POST", "UP1", _socket(b"Sec-WebSocket-Version: 13\r\n", KEY, start=P)),
    refuse(
        "U08b WebSocket with a body",
        "UP1",
        _socket(b"Sec-WebSocket-Version: 13\r\n", KEY, b"Content-Length: 5\r\n") + b"hello",
    ),
    refuse(
        "U08c other upgrade with a body",
        "UP1",
        P + b"Connection: upgrade\r\nUpgrade: foo\r\nContent-Length: 5\r\n\r\nhello",
    ),
    forward(
        "U09 Upgrade in HTTP/1.0",
        "UP1",
        b"GET /x HTTP/1.0\r\nHost: h.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        Seen(lacks=("upgrade",)),
        closes=True,
        http10=True,
    ),
    forward(
        "U10 expect, body sent at once",
        "EX1",
        P + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        HELLO,
        interim=(100,),
    ),
    forward(
        "U10b Expect in capitals",
        "EX1",
        P + b"EXPECT: 100-Continue\r\nContent-Length: 5\r\n\r\nhello",
        HELLO,
        interim=(100,),
    ),
    forward(
        "U10c expect, chunked body",
        "EX1",
        P + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        HELLO,
        interim=(100,),
    ),
    refuse(
        "U11 unknown expectation",
        "EX1",
        P + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello",
        417,
    ),
    refuse(
        "U11b one known, one unknown expectation",
        "EX1",
        P + b"Expect: 100-continue, x\r\nContent-Length: 5\r\n\r\nhello",
        417,
    ),
    forward(
        "U12 expect without a body",
        "EX1",
        P + b"Expect: 100-continue\r\n\r\n",
        Seen(method="POST", lacks=("expect",)),
    ),
    forward(
        "U13 expect in HTTP/1.0",
        "EX1",
        b"POST /x HTTP/1.0\r\nHost: h.test\r\nExpect: 100-continue\r\n"
        b"Content-Length: 5\r\n\r\nhello",
        HELLO,
        closes=True,
        http10=True,
    ),
    forward(
        "U14 HTTP/1.0 keep-alive, then a request",
        "PI2",
        b"GET /x HTTP/1.0\r\nHost: h.test\r\n\r\n" + S,
        closes=True,
        http10=True,
    ),
    forward("U15 two requests", "PI1", G + END + S, Seen(), Seen(target="/smug")),
    Row(
        name="U15b good request, then a bad one",
        rule="PI1",
        data=G + END + b"GET /smug HTTP/1.1\r\n\r\n" + S,
        statuses=((200,), (400,)),
        closes=True,
        seen=(Seen(),),
    ),
    forward(
        "U16 request after Connection: close",
        "PI2",
        G + b"Connection: close\r\n\r\n" + G + END,
        closes=True,
    ),
    forward(
        "U16b request after Connection: close, with a body",
        "PI2",
        P + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello" + S,
        Seen(method="POST", body=b"hello"),
        closes=True,
    ),
    forward(
        "U17 50 requests",
        "PI1",
        b"".join(b"GET /%d HTTP/1.1\r\nHost: h.test\r\n\r\n" % n for n in range(50)),
        *(Seen(target=f"/{n}") for n in range(50)),
    ),
)
