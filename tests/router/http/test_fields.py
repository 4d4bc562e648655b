"""One line, read once; what is remembered is bounded and holds no credentials."""

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.http.faults import BAD_FIELD, HEAD_TOO_LARGE, Fault
from router.http.fields import DROP, FORWARDING, PASS, REQUEST_KINDS, REQUEST_PREFIXES, FieldReader


def reader() -> FieldReader:
    return FieldReader(REQUEST_KINDS, REQUEST_PREFIXES, max_line=100, drop_underscores=True)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        pytest.param(b"Accept: */*", PASS, id="ordinary"),
        pytest.param(b"X-A:", PASS, id="empty value"),
        pytest.param(b"X-Forwarded-For: 1.2.3.4", FORWARDING, id="forwarding by prefix"),
        pytest.param(b"x-real-IP: 1.2.3.4", FORWARDING, id="forwarding by name, any case"),
        pytest.param(b"Proxy: http://evil", DROP, id="httpoxy"),
        pytest.param(b"X_Real_IP: 1.2.3.4", DROP, id="underscore"),
    ],
)
def test_kind(line: bytes, kind: int) -> None:
    field = reader().read(line)
    assert not isinstance(field, Fault)
    assert field.kind == kind


@pytest.mark.parametrize(
    "line",
    [
        b"X : y",
        b" X: y",
        b"X\t: y",
        b": y",
        b"X y",
        b"X(y): z",
        b"X\xff: z",
        b"X: a\x00b",
        b"X: a\rb",
    ],
)
def test_malformed_line_is_refused(line: bytes) -> None:
    assert reader().read(line) == BAD_FIELD


def test_long_line_is_refused() -> None:
    assert reader().read(b"X: " + b"a" * 98) == HEAD_TOO_LARGE


def test_credentials_are_not_remembered() -> None:
    fields = reader()
    for line in (b"Authorization: Basic eDp5", b"Cookie: session=1", b"Accept: */*"):
        fields.read(line)
    assert list(fields.known) == [b"Accept: */*"]


def test_memory_is_bounded() -> None:
    fields = reader()
    for number in range(10_000):
        fields.read(b"X-N: %d" % number)
    assert len(fields.known) <= 4096


@given(st.binary(max_size=30).filter(lambda line: b"\r" not in line and b"\n" not in line))
@example(b"X:\x7f")
@example(b"X:\x80")
def test_what_we_take_llhttp_takes(line: bytes) -> None:
    field = reader().read(b"X-" + line)
    if not isinstance(field, Fault):
        parser = httptools.HttpRequestParser(object())
        parser.feed_data(b"GET / HTTP/1.1\r\nHost: a\r\nX-" + line + b"\r\n\r\n")
