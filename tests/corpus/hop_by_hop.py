"""Hop-by-hop fields and trust (rules HB1 to HB5)."""

from tests.corpus.rows import LAST, G, P, Row, Seen, forward, refuse

OURS = (("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1"))


def _fields(*lines: bytes) -> bytes:
    return G + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


ROWS: tuple[Row, ...] = (
    forward(
        "T01 nominated X-Real-IP",
        "HB1",
        _fields(b"Connection: close, X-Real-IP", b"X-Real-IP: 9.9.9.9"),
        Seen(has=OURS),
        closes=True,
    ),
    forward(
        "T02 nominated X-Forwarded-For",
        "HB1",
        _fields(b"Connection: X-Forwarded-For", b"X-Forwarded-For: 9.9.9.9"),
        Seen(has=OURS),
    ),
    refuse("T03 nominated Host", "HB1", _fields(b"Connection: Host")),
    refuse(
        "T03b nominated Host, other case, second line",
        "HB1",
        _fields(b"Connection: keep-alive", b"connection: x, hOST"),
    ),
    refuse(
        "T04 nominated Content-Length",
        "HB1",
        _fields(b"Connection: Content-Length", b"Content-Length: 0"),
    ),
    refuse(
        "T04b nominated Transfer-Encoding",
        "HB1",
        P + b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
    ),
    forward(
        "T05 nominated Authorization and Cookie",
        "HB1",
        _fields(b"Connection: Authorization, Cookie", b"Authorization: Basic eA==", b"Cookie: a=b"),
        Seen(lacks=("authorization", "cookie")),
    ),
    forward(
        "T05b nominated in several lines and cases",
        "HB1",
        _fields(b"X-A: 1", b"x-b: 2", b"Connection: x-a ,, ", b"CONNECTION: X-B", b"X-C: 3"),
        Seen(has=(("x-c", "3"),), lacks=("x-a", "x-b")),
    ),
    forward(
        "T06 Keep-Alive, Proxy-Connection, TE",
        "HB2",
        _fields(
            b"Keep-Alive: timeout=999", b"Proxy-Connection: keep-alive", b"TE: trailers, deflate"
        ),
        Seen(lacks=("keep-alive", "proxy-connection")),
    ),
    forward("T06b TE without trailers", "HB2", _fields(b"TE: gzip"), Seen(lacks=("te",))),
    forward(
        "T06c proxy credentials",
        "HB2",
        _fields(
            b"Proxy-Authorization: Basic eA==",
            b"Proxy-Authenticate: Basic",
            b"Authorization: Basic eQ==",
        ),
        Seen(
            has=(("authorization", "Basic eQ=="),),
            lacks=("proxy-authorization", "proxy-authenticate"),
        ),
    ),
    forward(
        "T07 forged forwarding fields",
        "HB3",
        _fields(
            b"X-Forwarded-For: 9.9.9.9",
            b"X-Forwarded-Host: evil.test",
            b"X-Forwarded-Port: 1",
            b"X-Forwarded-Proto: https",
            b"X-Real-IP: 9.9.9.9",
            b"Forwarded: for=9.9.9.9",
        ),
        Seen(
            has=(*OURS, ("x-forwarded-host", "h.test"), ("x-forwarded-proto", "http")),
            lacks=("forwarded",),
        ),
    ),
    forward(
        "T07b other forged forwarding fields",
        "HB3",
        _fields(
            b"X-Forwarded-Server: evil",
            b"X-Forwarded-Prefix: /evil",
            b"X-Forwarded-Scheme: https",
            b"X-Forwarded-Ssl: on",
            b"X-Original-Forwarded-For: 9.9.9.9",
        ),
        Seen(
            lacks=(
                "x-forwarded-server",
                "x-forwarded-prefix",
                "x-forwarded-ssl",
                "x-original-forwarded-for",
            )
        ),
    ),
    forward(
        "T08 underscore aliases",
        "FR6",
        _fields(b"X_Forwarded_For: 9.9.9.9", b"X_Real_IP: 9.9.9.9", b"X-Forwarded_Host: evil.test"),
        Seen(has=OURS, lacks=("x_forwarded_for", "x_real_ip", "x-forwarded_host")),
    ),
    forward("T09 Proxy", "HB4", _fields(b"Proxy: http://evil.test:8080"), Seen(lacks=("proxy",))),
    forward(
        "T10 Max-Forwards", "HB5", _fields(b"Max-Forwards: 0"), Seen(has=(("max-forwards", "0"),))
    ),
    forward(
        "T11 X-Original-URL and X-Rewrite-URL",
        "HB3",
        _fields(b"X-Original-URL: /admin", b"X-Rewrite-URL: /admin"),
        Seen(lacks=("x-original-url", "x-rewrite-url")),
    ),
    forward(
        "T12 forged X-Request-ID, two lines",
        "HB3",
        _fields(b"X-Request-ID: evil", b"X-Request-Id: evil2"),
        Seen(),
    ),
    forward(
        "T13 Connection: keep-alive",
        "HB1",
        _fields(b"Connection: keep-alive", b"X: y"),
        Seen(has=(("x", "y"),)),
    ),
    forward(
        "T14 nominated X-Forwarded-Proto",
        "HB1",
        _fields(b"Connection: X-Forwarded-Proto, X-Forwarded-Host"),
        Seen(has=(("x-forwarded-proto", "http"), ("x-forwarded-host", "h.test"))),
    ),
)
