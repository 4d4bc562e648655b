"""Explanations: the verdict is the table's, and each reason is true."""

import pytest
from hypothesis import given, settings

from router.match.explain import Candidate, Matching, explain
from router.match.hosts import normalise_host
from router.match.paths import CanonicalPath, canonical_path, path_condition
from router.match.table import build
from router.model.origin import Origin
from router.model.snapshot import Answer, Host, PathCondition, Route
from tests.properties.tables import requests_of, tables


@settings(max_examples=2500, deadline=None)
@given(tables, requests_of(4))
def test_the_verdict_is_that_of_the_whole_table(
    hosts: dict[str, Host], requests: list[tuple[str, str]]
) -> None:
    table = build(hosts, lambda _, route: route)
    for sent_host, sent_path in requests:
        told = explain(hosts, sent_host.encode(), sent_path.encode())
        name = normalise_host(sent_host.encode())
        assert name is not None
        routes = table.find_host(name)
        assert told.pattern == (None if routes is None else routes.pattern)
        path = canonical_path(sent_path.encode())
        if not isinstance(path, CanonicalPath):
            assert told.path_refused == path.reason
            continue
        assert told.route is (None if routes is None else routes.find(path.match))
        _is_consistent(told, hosts)


def _is_consistent(told: Matching, hosts: dict[str, Host]) -> None:
    """The reasons, which are found apart from the verdict, agree with it."""
    assert [step.pattern for step in told.host_steps if step.taken] == (
        [] if told.pattern is None else [told.pattern]
    )
    entry = Host() if told.pattern is None else hosts[told.pattern]
    known = len(entry.routes) + (entry.default is not None)
    assert len(told.candidates) == known
    winners = [candidate for candidate in told.candidates if candidate.won]
    assert [winner.route for winner in winners] == ([] if told.route is None else [told.route])
    assert all(winner.takes for winner in winners)
    takers = [candidate for candidate in told.candidates if candidate.takes]
    assert bool(takers) == bool(winners)
    assert told.candidates[: len(winners)] == tuple(winners)
    assert all(candidate.reason for candidate in told.candidates)


def route(written: str) -> Route:
    """``=`` before the path makes it exact."""
    exact = written.startswith("=")
    condition = path_condition("exact" if exact else "prefix", written.removeprefix("="))
    assert isinstance(condition, PathCondition)
    origin = Origin(kind="Ingress", namespace="n", name="i", rule=0, path=0)
    answer = Answer(status=200, reason="")
    return Route(path=condition, written=written.removeprefix("="), action=answer, origin=origin)


def told(*written: str, path: str = "/") -> dict[str, str]:
    """What is said about each route of a host, in the order in which it is said."""
    hosts = {"": Host(routes=tuple(map(route, written)), default=route("/"))}
    names = {id(each): name for name, each in zip(written, hosts[""].routes, strict=True)}

    def name(candidate: Candidate) -> str:
        return "default" if candidate.default else names[id(candidate.route)]

    return {
        name(candidate): candidate.reason
        for candidate in explain(hosts, b"h.test", path.encode()).candidates
    }


def test_an_exact_path_wins_over_prefixes_and_says_so() -> None:
    assert told("/", "/foo", "=/foo", "=/bar", path="/foo") == {
        "=/foo": "equals the path, so it wins over every Prefix",
        "/foo": "takes the path too, but Exact /foo wins over it",
        "/": "takes the path too, but Exact /foo wins over it",
        "=/bar": "is another path",
        "default": "only takes what no path takes",
    }


def test_the_longest_prefix_wins_and_the_shorter_say_so() -> None:
    reasons = told("/", "/aaa", "/aaa/bbb", path="/aaa/bbb/ccc")
    assert list(reasons) == ["/aaa/bbb", "/aaa", "/", "default"]
    assert reasons["/aaa/bbb"] == "the longest prefix"
    assert reasons["/aaa"] == reasons["/"] == "takes the path too, but /aaa/bbb is longer"


@pytest.mark.parametrize(
    ("written", "path", "reason"),
    [
        ("=/foo", "/foo/", "differs in the slash at the end, which Exact minds"),
        ("=/foo/", "/foo", "differs in the slash at the end, which Exact minds"),
        ("=/foo", "/FOO", "differs in case"),
        ("=/foo", "/foo/bar", "is above the path, and Exact takes nothing below itself"),
        ("=/foo", "/bar", "is another path"),
        ("/aaa", "/aaaccc", "takes whole elements: 'aaaccc' is not 'aaa'"),
        ("/aaa/bb", "/aaa/bbb/c", "takes whole elements: 'bbb' is not 'bb'"),
        ("/foo", "/FOO", "differs in case: 'FOO' is not 'foo'"),
        ("/foo/bar", "/foo", "goes deeper than the path"),
        ("/foo/bar", "/foo/", "goes deeper than the path"),
        ("/foo", "/bar", "has 'foo' where the path has 'bar'"),
        ("/foo", "/foo%2fbar", "an encoded slash (%2F) is data and ends no element"),
    ],
)
def test_a_path_that_does_not_match_says_why(written: str, path: str, reason: str) -> None:
    reasons = told(written, path=path)
    assert reasons == {"default": "no path takes the request", written: reason}


def test_hosts_are_told_in_the_order_of_precedence() -> None:
    hosts = {name: Host(default=route("/")) for name in ("foo.com", "*.foo.com", "*.com", "")}
    steps = explain(hosts, b"bar.foo.com:8080", b"/").host_steps
    assert [(step.pattern, step.exists, step.taken, step.reason) for step in steps] == [
        ("bar.foo.com", False, False, "no rule is for this host"),
        ("*.foo.com", True, True, "takes one label in place of the star"),
        ("*.com", True, False, "a wildcard takes exactly one label more than it names"),
        ("", True, False, "*.foo.com is more precise"),
    ]


def test_a_wildcard_for_its_own_parent_is_told_why_not() -> None:
    steps = explain({"*.foo.com": Host()}, b"foo.com", b"/").host_steps
    assert [(step.pattern, step.reason) for step in steps] == [
        ("foo.com", "no rule is for this host"),
        ("*.com", "no rule is for this host"),
        ("*.foo.com", "a wildcard takes exactly one label more than it names"),
        ("", "no rule is for every host"),
    ]


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        (b"/a/b", []),
        (b"/%2F/a%20b", []),
        (b"/%61", ["decoded"]),
        (b"/a%2Db", ["decoded"]),
        (b"/\xc3\xa9", ["percent-encoded"]),
        (b"/a/../b", ["dot segments"]),
        (b"/a/.", ["dot segments"]),
        (b"/a/%2e%2e", ["decoded", "dot segments"]),
        (b"//a", ["matched as one"]),
        (b"/%2f", ["with capitals"]),
        (b"//%c3%a9", ["matched as one", "with capitals"]),
    ],
)
def test_what_changed_in_the_path_is_told(path: bytes, changes: list[str]) -> None:
    found = explain({}, b"h.test", path).path_changes
    assert len(found) == len(changes)
    assert all(part in sentence for part, sentence in zip(changes, found, strict=True))


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (b"", "is empty"),
        (b"a,b", "is a list"),
        (b"u@h", "user information"),
        (b"%68", "percent sign"),
        (b"[::1", "IPv6"),
        (b"[::1]:0", "IPv6"),
        (b"h/x", "more than letters"),
        (b"h\xc3\xa9", "more than letters"),
        (b"a..b", "empty label"),
        (b".b:80", "empty label"),
        (b":80", "empty label"),
        (b"a" * 256, "longer than 255"),
        (b"h:99999", "port"),
        (b"h:", "port"),
        (b"::1", "empty label"),
    ],
)
def test_a_refused_host_says_why_and_its_path_is_explained(host: bytes, reason: str) -> None:
    matching = explain({"": Host(default=route("/"))}, host, b"/a/../b")
    assert (matching.host, matching.route, matching.pattern) == (None, None, None)
    assert reason in matching.host_refused
    assert matching.path == "/b"


def test_a_refused_path_says_why_and_its_host_is_explained() -> None:
    matching = explain({"": Host(default=route("/"))}, b"h.test", b"/a/%2e%2e%2fadmin")
    assert (matching.path, matching.route, matching.candidates) == (None, None, ())
    assert "encoded dot" in matching.path_refused
    assert matching.pattern == ""
