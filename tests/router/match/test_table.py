"""The Ingress v1 contract for hosts and paths, and what a change of the table shares."""

import pytest

from router.match.paths import CanonicalPath, canonical_path, path_condition
from router.match.table import HostTable, Table, build
from router.model.origin import Origin
from router.model.snapshot import Answer, Delta, Host, PathCondition, PathKind, Route, Snapshot
from router.steps import at_once

_ORIGIN = Origin(kind="Ingress", namespace="shop", name="web", rule=0, path=0)


def route(kind: PathKind, written: str) -> Route:
    condition = path_condition(kind, written)
    assert isinstance(condition, PathCondition)
    answer = Answer(status=200, reason="")
    return Route(path=condition, written=written, action=answer, origin=_ORIGIN)


def bind(pattern: str, bound: Route) -> str:
    """What a route is called in these tests: where it stands and how it is written."""
    return f"{pattern} {bound.path.kind} {bound.written}".strip()


def taker(host: Host, path: bytes) -> str | None:
    """Which route of a host takes the path of a request."""
    canonical = canonical_path(path)
    assert isinstance(canonical, CanonicalPath)
    routes = build({"": host}, bind).find_host(b"h.test")
    assert routes is not None
    return routes.find(canonical.match)


CONTRACT = [
    # Kubernetes, Ingress concepts page, "Examples": its 18 rows in its order.
    pytest.param("P/", b"/", "P/", id="1 the root prefix takes the root"),
    pytest.param("P/", b"/any/path", "P/", id="1 the root prefix takes every path"),
    pytest.param("E/foo", b"/foo", "E/foo", id="2 an equal path"),
    pytest.param("E/foo", b"/bar", None, id="3 another path"),
    pytest.param("E/foo", b"/foo/", None, id="4 exact minds a slash in the request"),
    pytest.param("E/foo/", b"/foo", None, id="5 exact minds a slash in the rule"),
    pytest.param("P/foo", b"/foo", "P/foo", id="6 a prefix takes itself"),
    pytest.param("P/foo", b"/foo/", "P/foo", id="6 a prefix takes itself with a slash"),
    pytest.param("P/foo/", b"/foo", "P/foo/", id="7 a slash of the rule is ignored"),
    pytest.param("P/foo/", b"/foo/", "P/foo/", id="7 slashes on both sides"),
    pytest.param("P/aaa/bb", b"/aaa/bbb", None, id="8 part of an element is none"),
    pytest.param("P/aaa/bbb", b"/aaa/bbb", "P/aaa/bbb", id="9 two equal elements"),
    pytest.param("P/aaa/bbb/", b"/aaa/bbb", "P/aaa/bbb/", id="10 the rule's slash is ignored"),
    pytest.param("P/aaa/bbb", b"/aaa/bbb/", "P/aaa/bbb", id="11 the request's slash matches"),
    pytest.param("P/aaa/bbb", b"/aaa/bbb/ccc", "P/aaa/bbb", id="12 a sub-path"),
    pytest.param("P/aaa/bbb", b"/aaa/bbbxyz", None, id="13 no string prefix"),
    pytest.param("P/ P/aaa", b"/aaa/ccc", "P/aaa", id="14 the longer of two"),
    pytest.param("P/ P/aaa P/aaa/bbb", b"/aaa/bbb", "P/aaa/bbb", id="15 the longest of three"),
    pytest.param("P/ P/aaa P/aaa/bbb", b"/ccc", "P/", id="16 only the root is left"),
    pytest.param("P/aaa", b"/ccc", None, id="17 nothing matches"),
    pytest.param("P/aaa D/", b"/ccc", "D/", id="17 nothing matches: the default backend"),
    pytest.param("P/foo E/foo", b"/foo", "E/foo", id="18 exact before prefix"),
    # API types, KEP-1453 and the conformance suite.
    pytest.param("P/foo/bar", b"/foo/barbaz", None, id="elements, not letters"),
    pytest.param("P/foo/bar", b"/foo/bar/baz", "P/foo/bar", id="an element below"),
    pytest.param("E/foo", b"/FOO", None, id="exact minds case"),
    pytest.param("P/foo", b"/FOO", None, id="prefix minds case"),
    pytest.param("E/foo P/foo/", b"/foo", "E/foo", id="exact before a prefix with a slash"),
    pytest.param("E/foo P/foo/", b"/foo/", "P/foo/", id="only the prefix takes the slash"),
    pytest.param("P/aaa", b"/aaaccc", None, id="conformance: not element-wise"),
    pytest.param("P/aaa P/aaa/bbb", b"/aaa/bbb/ccc", "P/aaa/bbb", id="conformance: sub-path"),
    pytest.param("P/aaa P/aaa/bbb", b"/aaa/ccc", "P/aaa", id="conformance: the shorter prefix"),
    # What the tree must get right.
    pytest.param("P/a/b/c P/a", b"/a/b/x", "P/a", id="a gap between two prefixes"),
    pytest.param("P/a/b/c", b"/a/b", None, id="shorter than the only prefix"),
    pytest.param("P/a/b/c D/", b"/a/b/x", "D/", id="half way down to the only prefix"),
    pytest.param("P/ D/", b"/x", "P/", id="the root prefix leaves the default nothing"),
    pytest.param("E/ P/a D/", b"/", "E/", id="an exact root"),
    pytest.param("E/a/b P/a", b"/a/b/c", "P/a", id="below an exact path"),
    # Both sides in one form.
    pytest.param("P/a b", b"/a%20b/c", "P/a b", id="a space in the rule"),
    pytest.param("E/é", b"/%c3%A9", "E/é", id="a letter beyond ASCII in the rule"),
    pytest.param("E/%7Euser", b"/~user", "E/%7Euser", id="a needless escape in the rule"),
    pytest.param("E/~user", b"/%7euser", "E/~user", id="a needless escape in the request"),
    pytest.param("P/a", b"/a%2Fb", None, id="an encoded slash ends no element"),
    pytest.param("E/a/b", b"//a///b", "E/a/b", id="repeated slashes are matched as one"),
    pytest.param("E/b", b"/a/../b", "E/b", id="dot segments are gone before matching"),
    pytest.param("P/a", b"/a/../b", None, id="dot segments do not stay under the prefix"),
]


def host_of(rules: str) -> Host:
    """``P`` a prefix, ``E`` an exact path, ``D/`` the default; separated by a blank before P E D.

    (A path itself may hold a blank, so the split looks for a kind and a slash.)
    """
    routes, default = [], None
    words: list[str] = []
    for word in rules.split(" "):
        if word[:2] in ("P/", "E/", "D/"):
            words.append(word)
        else:
            words[-1] += f" {word}"
    for word in words:
        if word[0] == "D":
            default = route("prefix", "/")
        else:
            routes.append(route("exact" if word[0] == "E" else "prefix", word[1:]))
    return Host(routes=tuple(routes), default=default)


def _names(host: Host, word: str | None) -> str | None:
    if word is None:
        return None
    return f"{'exact' if word[0] == 'E' else 'prefix'} {word[1:]}"


@pytest.mark.parametrize(("rules", "path", "winner"), CONTRACT)
def test_paths_follow_the_ingress_contract(rules: str, path: bytes, winner: str | None) -> None:
    host = host_of(rules)
    assert taker(host, path) == _names(host, winner)


@pytest.mark.parametrize(("rules", "path", "winner"), CONTRACT)
def test_the_order_of_rules_means_nothing(rules: str, path: bytes, winner: str | None) -> None:
    host = host_of(rules)
    turned = Host(routes=host.routes[::-1], default=host.default)
    assert taker(turned, path) == _names(host, winner)


def test_a_root_prefix_and_a_default_are_told_apart() -> None:
    default = route("prefix", "/")
    root = route("prefix", "/")
    table = build({"": Host(routes=(root,), default=default)}, lambda _, bound: bound)
    routes = table.find_host(b"h.test")
    assert routes is not None
    assert routes.find(b"/x") is root


def hosts(*patterns: str) -> HostTable[str]:
    return build({pattern: Host(default=route("prefix", "/")) for pattern in patterns}, bind)


@pytest.mark.parametrize(
    ("patterns", "host", "taken"),
    [
        pytest.param(["*.foo.com"], b"bar.foo.com", "*.foo.com", id="a wildcard takes one label"),
        pytest.param(["*.foo.com"], b"baz.bar.foo.com", None, id="but not two"),
        pytest.param(["*.foo.com"], b"foo.com", None, id="and not none"),
        pytest.param(["*.foo.com"], b"foo.com.", None, id="a trailing dot is no label"),
        pytest.param([""], b"anything.test", "", id="a rule without host takes every host"),
        pytest.param([""], b"192.0.2.7", "", id="and addresses"),
        pytest.param([""], b"[2001:db8::1]", "", id="and addresses in brackets"),
        pytest.param(["foo.com", ""], b"foo.com", "foo.com", id="precise before none"),
        pytest.param(["*.foo.com", ""], b"bar.foo.com", "*.foo.com", id="wildcard before none"),
        pytest.param(
            ["bar.foo.com", "*.foo.com", ""], b"bar.foo.com", "bar.foo.com", id="precise first"
        ),
        pytest.param(["*.foo.com", ""], b"a.b.foo.com", "", id="none after a wildcard that fails"),
        pytest.param(["foo.com"], b"bar.com", None, id="an unknown host"),
        pytest.param(["*.com"], b"com", None, id="a wildcard for a top-level domain"),
        pytest.param(["localhost"], b"localhost", "localhost", id="a name of one label"),
    ],
)
def test_hosts_follow_the_ingress_contract(
    patterns: list[str], host: bytes, taken: str | None
) -> None:
    routes = hosts(*patterns).find_host(host)
    assert (None if routes is None else routes.pattern) == taken


def test_a_host_does_not_fall_through_to_another() -> None:
    """KEP-1453: no path of the chosen host matches, so nothing does."""
    table = build(
        {
            "a.foo.com": Host(routes=(route("exact", "/a"),)),
            "*.foo.com": Host(routes=(route("prefix", "/"),)),
            "": Host(routes=(route("prefix", "/"),), default=route("prefix", "/")),
        },
        bind,
    )
    routes = table.find_host(b"a.foo.com")
    assert routes is not None
    assert routes.find(b"/b") is None


def test_a_change_replaces_adds_and_removes_hosts() -> None:
    before = hosts("a.test", "b.test", "*.test", "*.old", "")
    host = Host(routes=(route("exact", "/new"),))
    after = at_once(
        before.changing({"a.test": host, "b.test": None, "*.old": None, "": None}, bind)
    )
    assert [after.find_host(name) for name in (b"gone", b"x.old")] == [None, None]
    changed, wildcard = after.find_host(b"a.test"), after.find_host(b"b.test")
    assert changed is not None
    assert changed.find(b"/new") == "a.test exact /new"
    assert changed.find(b"/") is None
    assert wildcard is before.find_host(b"x.test")


def test_a_change_leaves_the_old_table_alone() -> None:
    before = hosts("a.test", "*.test", "")
    at_once(before.changing({"a.test": None, "*.test": None, "": None, "c.test": Host()}, bind))
    assert [
        None if routes is None else routes.pattern
        for routes in map(before.find_host, (b"a.test", b"b.test", b"c"))
    ] == ["a.test", "*.test", ""]


def test_a_change_binds_only_the_routes_of_changed_hosts() -> None:
    bound = []

    def count(pattern: str, what: Route) -> str:
        bound.append(pattern)
        return bind(pattern, what)

    table = build({name: host_of("P/ E/a D/") for name in ("a.test", "b.test", "c.test")}, count)
    bound.clear()
    at_once(table.changing({"b.test": host_of("P/ E/b D/"), "c.test": None}, count))
    assert bound == ["b.test"] * 3


def test_removing_an_unknown_host_changes_nothing() -> None:
    before = hosts("a.test")
    after = at_once(before.changing({"b.test": None, "*.test": None}, bind))
    assert after.find_host(b"a.test") is before.find_host(b"a.test")
    assert after.find_host(b"b.test") is None


def test_a_table_follows_its_snapshot_and_deltas() -> None:
    snapshot = Snapshot(version=3, hosts={"default": {"a.test": host_of("P/")}})
    table = Table.of(snapshot, bind)
    assert table.version == 3
    assert table.hosts_for("default").find_host(b"a.test") is not None
    assert table.hosts_for("other").find_host(b"a.test") is None

    hosts_changed = Delta(base=3, version=4, hosts={"other": {"b.test": host_of("P/")}})
    changed = at_once(table.changing(hosts_changed, bind))
    assert changed.version == 4
    assert changed.hosts_for("other").find_host(b"b.test") is not None
    assert changed.hosts_for("default") is table.hosts_for("default")

    endpoints_changed = at_once(changed.changing(Delta(base=4, version=5), bind))
    assert endpoints_changed.version == 5
    assert endpoints_changed.hosts_for("other") is changed.hosts_for("other")
