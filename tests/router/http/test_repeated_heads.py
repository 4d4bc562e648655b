"""A head whose fields are those of the one before is read the same as on a fresh connection."""

from hypothesis import given
from hypothesis import strategies as st

from router.http.faults import Fault
from router.http.fields import REQUEST_KINDS, REQUEST_PREFIXES, Field, FieldReader
from router.http.head import RequestHead
from router.http.request_decoder import RequestDecoder

LINES = st.sampled_from(
    [
        "GET /a HTTP/1.1",
        "GET /b?q=| HTTP/1.1",
        "HEAD /a HTTP/1.1",
        "DELETE http://h.test/x HTTP/1.1",
        "GET http://other.test/x HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET * HTTP/1.1",
        "TRACE / HTTP/1.1",
        "GET /a HTTP/1.0",
        "GET http://h.test/x HTTP/1.0",
        "GET  /a HTTP/1.1",
        "GET /a HTTP/1.7",
        "FOO /a HTTP/1.1",
    ]
)
BLOCKS = st.sampled_from(
    [
        ("Host: h.test",),
        (),
        ("Host: h.test", "User-Agent: x", "Cookie: a=b", "Authorization: Basic eA=="),
        ("Host: h.test", "Connection: X-A", "X-A: b"),
        ("Host: h.test", "Connection: close"),
        ("Host: h.test", "TE: trailers", "X-Forwarded-For: 192.0.2.1", "Referer: r"),
        ("Host: h.test", "Connection: upgrade", "Upgrade: custom"),
        ("Host: h.test", "Content-Length: 0"),
        ("Host: h.test", "Expect: 100-continue"),
    ]
)


class Recorder:
    """Keeps heads and faults, and asks for the next request at once."""

    def __init__(self) -> None:
        fields = FieldReader(REQUEST_KINDS, REQUEST_PREFIXES, max_line=8192, drop_underscores=True)
        self.decoder = RequestDecoder(self, fields, 65536, 100)
        self.heard: list[object] = []

    def request_head(self, head: RequestHead) -> None:
        self.heard.append({name: getattr(head, name) for name in RequestHead.__slots__})

    def request_body(self, piece: bytes) -> None: ...

    def request_end(self, trailers: list[Field]) -> None:
        self.decoder.next()

    def request_fault(self, fault: Fault) -> None:
        self.heard.append(fault)


@given(st.lists(st.tuples(LINES, BLOCKS), min_size=2, max_size=6), st.booleans())
def test_repeated_fields_mean_the_same(
    requests: list[tuple[str, tuple[str, ...]]], same: bool
) -> None:
    if same:
        requests = [(line, requests[0][1]) for line, _ in requests]
    connection = Recorder()
    alone: list[object] = []
    for line, block in requests:
        raw = "\r\n".join((line, *block, "", "")).encode()
        connection.decoder.receive(raw)
        fresh = Recorder()
        fresh.decoder.receive(raw)
        alone += fresh.heard
        last = alone[-1]
        if not isinstance(last, dict) or not last["keep_alive"]:
            break  # the connection ends here
    assert connection.heard == alone
