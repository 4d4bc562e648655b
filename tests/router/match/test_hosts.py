"""Hosts: rules HO1, HO3 and HO4 for Host fields, DNS-1123 for the hosts of rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.match.hosts import HostRefused, host_pattern, normalise_host


@pytest.mark.parametrize(
    ("raw", "host"),
    [
        (b"h.test", b"h.test"),
        (b"H.Test", b"h.test"),
        (b"h.test:80", b"h.test"),
        (b"h.test:65535", b"h.test"),
        (b"h.test.", b"h.test"),
        (b"h.test.:8080", b"h.test"),
        (b"localhost", b"localhost"),
        (b"my_host-1.test", b"my_host-1.test"),
        (b"192.0.2.7:8080", b"192.0.2.7"),
        (b"[2001:DB8::1]", b"[2001:db8::1]"),
        (b"[::ffff:192.0.2.7]:80", b"[::ffff:192.0.2.7]"),
        (b"a" * 255, b"a" * 255),
    ],
)
def test_a_host_field_is_normalised(raw: bytes, host: bytes) -> None:
    assert normalise_host(raw) == host


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b":80", id="only a port"),
        pytest.param(b".", id="only a dot"),
        pytest.param(b".h.test", id="empty first label"),
        pytest.param(b"h..test", id="empty inner label"),
        pytest.param(b"h.test..", id="two dots at the end"),
        pytest.param(b"h.test/evil", id="H07 a path"),
        pytest.param(b"h.test:80x", id="H08 letters in the port"),
        pytest.param(b"h.test:99999", id="H09 a port too large"),
        pytest.param(b"h.test:65536", id="a port too large by one"),
        pytest.param(b"h.test:0", id="port zero"),
        pytest.param(b"h.test:", id="empty port"),
        pytest.param(b"h.test:80:80", id="two ports"),
        pytest.param(b"u@h.test", id="H15 user information"),
        pytest.param(b"u:p@h.test", id="user information with password"),
        pytest.param(b"h.test,evil.test", id="a list"),
        pytest.param(b"h.test evil", id="a space"),
        pytest.param(b"%68.test", id="percent-encoded"),
        pytest.param(b"*.test", id="a wildcard"),
        pytest.param(b"h\xc3\xa9.test", id="beyond ASCII"),
        pytest.param(b"h.test\n", id="a line feed at the end"),
        pytest.param(b"[::1", id="an open bracket"),
        pytest.param(b"::1", id="IPv6 without brackets"),
        pytest.param(b"[::1%25eth0]", id="an IPv6 zone"),
        pytest.param(b"[1:2:3]", id="a short IPv6 address"),
        pytest.param(b"[v1.x]", id="a future address"),
        pytest.param(b"a" * 256, id="too long"),
    ],
)
def test_an_invalid_host_field_is_refused(raw: bytes) -> None:
    assert normalise_host(raw) is None


@given(st.text(alphabet="aB.-_:0[]*@,", max_size=12).map(str.encode))
def test_a_normal_host_is_its_own_normal_form(raw: bytes) -> None:
    host = normalise_host(raw)
    if host is not None:
        assert normalise_host(host) == host


@pytest.mark.parametrize(
    ("written", "pattern"),
    [
        ("", ""),
        ("shop.example", "shop.example"),
        ("Shop.Example", "shop.example"),
        ("*.shop.example", "*.shop.example"),
        ("*.com", "*.com"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("1.2.3.4.example", "1.2.3.4.example"),
    ],
)
def test_a_rules_host_becomes_a_pattern(written: str, pattern: str) -> None:
    assert host_pattern(written) == pattern


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("*", "lone *"),
        ("a.*.example", "whole first label"),
        ("*foo.example", "whole first label"),
        ("*.*.example", "whole first label"),
        ("192.0.2.7", "IP address"),
        ("[::1]", "IP address"),
        ("shop.example:8080", "port"),
        ("http://shop.example", "port or scheme"),
        ("shop.example.", "empty label"),
        ("shop..example", "empty label"),
        ("*.", "empty label"),
        ("my_shop.example", "'my_shop'"),
        ("-a.example", "'-a'"),
        ("shop.example/path", "'example/path'"),
        ("bücher.example", "xn--"),
        ("\u212a.example", "xn--"),
        ("a" * 64 + ".example", "longer than 63"),
        ("a." * 126 + "ab", "longer than 253"),
        ("shop.example\n", "label"),
    ],
)
def test_a_rules_host_that_is_none_is_refused(written: str, reason: str) -> None:
    refused = host_pattern(written)
    assert isinstance(refused, HostRefused)
    assert reason in refused.reason


@given(st.text(alphabet="aB1.-_*:", max_size=12))
def test_a_pattern_is_its_own_pattern(written: str) -> None:
    pattern = host_pattern(written)
    if isinstance(pattern, str):
        assert host_pattern(pattern) == pattern


@given(st.from_regex(r"[a-z0-9]{1,5}(\.[a-z0-9]{1,5}){0,3}", fullmatch=True))
def test_a_request_can_name_every_precise_pattern(written: str) -> None:
    pattern = host_pattern(written)
    if isinstance(pattern, str):
        assert normalise_host(pattern.encode()) == pattern.encode()
