"""Questions: what a client would send for a URL."""

import pytest

from ingress_controller.explain.question import ask, hear
from router.http.faults import (
    BAD_HOST,
    BAD_METHOD,
    HEAD_TOO_LARGE,
    METHOD_NOT_ALLOWED,
    TARGET_TOO_LONG,
    Fault,
)
from router.http.head import RequestHead
from router.model.limits import Limits


@pytest.mark.parametrize(
    ("url", "target", "host"),
    [
        ("http://h.test/a?b=c", "/a?b=c", "h.test"),
        ("http://h.test:8080/a", "/a", "h.test:8080"),
        ("HTTP://h.test", "/", "h.test"),
        ("http://h.test?q", "/?q", "h.test"),
        ("h.test/a", "/a", "h.test"),
        ("h.test:80", "/", "h.test:80"),
        ("http://[::1]:80/a", "/a", "[::1]:80"),
        ("http://h.test/a/../%2e/%2F//b", "/a/../%2e/%2F//b", "h.test"),
    ],
)
def test_a_url_becomes_a_target_and_a_host(url: str, target: str, host: str) -> None:
    asked, notes = ask(url, "GET", ())
    assert (asked.target, asked.headers, notes) == (target, (f"Host: {host}",), ())


def test_a_host_among_the_headers_replaces_that_of_the_url() -> None:
    asked, _ = ask("http://127.0.0.1/a", "GET", ("X: y", "hOsT: h.test"))
    assert asked.headers == ("X: y", "hOsT: h.test")


def test_a_path_alone_needs_a_host_header() -> None:
    asked, _ = ask("/a", "GET", ("Host: h.test",))
    assert asked.target == "/a"
    with pytest.raises(ValueError, match="names no host"):
        ask("/a", "GET", ())


def test_what_is_not_sent_is_noted() -> None:
    asked, notes = ask("http://h.test/a#b", "GET", ())
    assert asked.target == "/a"
    assert "fragment" in notes[0]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://H.test.:8443/a", "h.test"),
        ("https://192.0.2.1/", None),
        ("https://[2001:db8::1]:443/", None),
        ("https://not_a..name/", None),
    ],
)
def test_an_https_url_says_which_name_is_asked_for_in_the_handshake(
    url: str, name: str | None
) -> None:
    asked, _ = ask(url, "GET", ())
    assert (asked.scheme, asked.server_name) == ("https", name)


def test_an_https_url_without_a_host_says_what_to_write() -> None:
    with pytest.raises(ValueError, match="https://host/path"):
        ask("https:///a", "GET", ("Host: h.test",))


@pytest.mark.parametrize(
    ("url", "method", "headers", "reason"),
    [
        ("ftp://h.test/", "GET", (), "not an http URL"),
        ("http:///a", "GET", (), "names no host"),
        ("", "GET", (), "names no host"),
        ("http://u:p@h.test/", "GET", (), "Authorization"),
        ("http://h.test/", "GET", ("X",), "has no colon"),
        ("http://h.test/\r\nX: y", "GET", (), "line break"),
        ("http://h.test/", "GET", ("X: y\nHost: z",), "line break"),
        ("http://h.test/", "GET\r\n", (), "line break"),
        ("http://h.test/\ud800", "GET", (), "surrogate"),
    ],
)
def test_a_malformed_question_says_what_to_write(
    url: str, method: str, headers: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        ask(url, method, headers)


def heard(url: str, *headers: str, method: str = "GET", limits: Limits | None = None) -> object:
    asked, _ = ask(url, method, headers)
    return hear(asked, limits or Limits())


def test_a_good_request_is_heard_as_the_data_plane_reads_it() -> None:
    head = heard("http://h.test/a?b", "Content-Length: 3", method="POST")
    assert isinstance(head, RequestHead)
    assert (head.method, head.path, head.query) == (b"POST", b"/a", b"b")
    assert (head.host_field, head.content_length) == (b"h.test", 3)


@pytest.mark.parametrize(
    ("url", "method", "headers", "fault"),
    [
        ("http://h.test/", "TRACE", (), METHOD_NOT_ALLOWED),
        ("http://h.test/", "get", (), BAD_METHOD),
        ("http://h.test/", "GET", ("Host: h.test", "Host: h.test"), BAD_HOST),
        ("http://h.test/" + "a" * 20000, "GET", (), TARGET_TOO_LONG),
        ("http://h.test/", "GET", tuple(f"X-{n}: y" for n in range(101)), HEAD_TOO_LARGE),
    ],
)
def test_a_bad_request_is_refused_as_the_data_plane_refuses_it(
    url: str, method: str, headers: tuple[str, ...], fault: Fault
) -> None:
    assert heard(url, *headers, method=method) is fault


def test_limits_are_those_of_the_workers() -> None:
    assert heard("http://h.test/", "X: y", limits=Limits(max_header_fields=1)) is HEAD_TOO_LARGE
