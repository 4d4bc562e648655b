"""The path tables of the Ingress v1 contract, from manifest to route.

Sources: the Ingress concepts page, section "Examples" (rows 1 to 18), `networking/v1` types.go,
KEP-1453 and the conformance suite.
"""

import pytest

from tests.ingress_controller.translate.manifest import (
    ingress,
    only,
    outcome,
    path,
    rule,
    service,
    translated,
)

SERVICES = "".join(service(name) for name in ("one", "two", "three", "rest"))
NAMES = ("one", "two", "three")

TABLE = [
    pytest.param(["Prefix /"], ["/", "/any", "/any/path/"], "one", id="1 root takes every path"),
    pytest.param(["Exact /foo"], ["/foo"], "one", id="2 exact takes the equal path"),
    pytest.param(["Exact /foo"], ["/bar"], "404", id="3 exact takes no other path"),
    pytest.param(["Exact /foo"], ["/foo/"], "404", id="4 a slash more is another path"),
    pytest.param(["Exact /foo/"], ["/foo"], "404", id="5 a slash less is another path"),
    pytest.param(["Prefix /foo"], ["/foo", "/foo/"], "one", id="6 prefix takes itself"),
    pytest.param(["Prefix /foo/"], ["/foo", "/foo/"], "one", id="7 slash of the rule is ignored"),
    pytest.param(["Prefix /aaa/bb"], ["/aaa/bbb"], "404", id="8 elements are compared whole"),
    pytest.param(["Prefix /aaa/bbb"], ["/aaa/bbb"], "one", id="9 two equal elements"),
    pytest.param(["Prefix /aaa/bbb/"], ["/aaa/bbb"], "one", id="10 slash of the rule is ignored"),
    pytest.param(["Prefix /aaa/bbb"], ["/aaa/bbb/"], "one", id="11 slash of the request too"),
    pytest.param(["Prefix /aaa/bbb"], ["/aaa/bbb/ccc"], "one", id="12 a path below"),
    pytest.param(["Prefix /aaa/bbb"], ["/aaa/bbbxyz"], "404", id="13 not a prefix of text"),
    pytest.param(["Prefix /", "Prefix /aaa"], ["/aaa/ccc"], "two", id="14 the longer one"),
    pytest.param(
        ["Prefix /", "Prefix /aaa", "Prefix /aaa/bbb"], ["/aaa/bbb"], "three", id="15 the longest"
    ),
    pytest.param(
        ["Prefix /", "Prefix /aaa", "Prefix /aaa/bbb"], ["/ccc"], "one", id="16 only the root"
    ),
    pytest.param(["Prefix /aaa"], ["/ccc"], "404", id="17 no match"),
    pytest.param(["Prefix /foo", "Exact /foo"], ["/foo"], "two", id="18 exact before prefix"),
    pytest.param(["Prefix /foo/bar"], ["/foo/barbaz"], "404", id="types.go: not /foo/barbaz"),
    pytest.param(["Prefix /foo/bar"], ["/foo/bar/baz"], "one", id="types.go: /foo/bar/baz"),
    pytest.param(["Exact /foo"], ["/FOO"], "404", id="exact minds case"),
    pytest.param(["Prefix /foo"], ["/FOO"], "404", id="prefix minds case"),
    pytest.param(
        ["Prefix /foo", "Prefix /foo/"], ["/foo", "/foo/", "/foo/x"], "two", id="types.go: longer"
    ),
    pytest.param(["Prefix /foo/", "Exact /foo"], ["/foo"], "two", id="KEP-1453: exact first"),
    pytest.param(["Prefix /foo/", "Exact /foo"], ["/foo/"], "one", id="exact without the slash"),
    pytest.param(
        ["ImplementationSpecific /foo"], ["/foo", "/foo/bar"], "one", id="implementation: prefix"
    ),
    pytest.param(["ImplementationSpecific /foo"], ["/foobar"], "404", id="... of elements"),
    pytest.param(["ImplementationSpecific "], ["/", "/any"], "one", id="... an empty path is root"),
]


@pytest.mark.parametrize(("rules", "requests", "expected"), TABLE)
def test_paths_match_as_the_contract_says(
    rules: list[str], requests: list[str], expected: str
) -> None:
    paths = [path(*each.split(" "), NAMES[i]) for i, each in enumerate(rules)]
    snapshot = translated(SERVICES + ingress("web", f"rules: [{rule('a.test', *paths)}]")).snapshot
    assert [outcome(snapshot, "a.test", request) for request in requests] == [expected] * len(
        requests
    )


@pytest.mark.parametrize(("rules", "requests", "expected"), TABLE)
def test_what_no_path_takes_goes_to_the_default_backend(
    rules: list[str], requests: list[str], expected: str
) -> None:
    paths = [path(*each.split(" "), NAMES[i]) for i, each in enumerate(rules)]
    default = "defaultBackend: {service: {name: rest, port: {number: 80}}}"
    spec = f"{default}, rules: [{rule('a.test', *paths)}]"
    snapshot = translated(SERVICES + ingress("web", spec)).snapshot
    wanted = "rest" if expected == "404" else expected
    assert {outcome(snapshot, "a.test", request) for request in requests} == {wanted}


@pytest.mark.parametrize(("rules", "requests", "expected"), TABLE)
def test_the_order_of_paths_does_not_matter(
    rules: list[str], requests: list[str], expected: str
) -> None:
    paths = [path(*each.split(" "), NAMES[i]) for i, each in enumerate(rules)]
    spec = f"rules: [{rule('a.test', *reversed(paths))}]"
    snapshot = translated(SERVICES + ingress("web", spec)).snapshot
    assert {outcome(snapshot, "a.test", request) for request in requests} == {expected}


REFUSED = [
    pytest.param("Exact", "", "write / to take", id="an empty exact path"),
    pytest.param("Prefix", "", "write / to take", id="an empty prefix"),
    pytest.param("Prefix", "foo", "write '/foo'", id="no slash at the beginning"),
    pytest.param("Exact", "foo", "write '/foo'", id="no slash, exact"),
    pytest.param("ImplementationSpecific", "foo", "write '/foo'", id="no slash, implementation"),
    pytest.param("Prefix", "/a//b", "as it stands in a URL", id="an empty element"),
    pytest.param("Prefix", "/a/./b", "as it stands in a URL", id="a dot segment"),
    pytest.param("Exact", "/a/../b", "as it stands in a URL", id="two dots"),
    pytest.param("Exact", "/a/..", "as it stands in a URL", id="two dots at the end"),
    pytest.param("Exact", "/a%2fb", "as it stands in a URL", id="an encoded slash"),
]


@pytest.mark.parametrize(("kind", "written", "remedy"), REFUSED)
def test_a_path_that_the_api_refuses_harms_only_itself(
    kind: str, written: str, remedy: str
) -> None:
    paths = (path(kind, written, "one"), path("Prefix", "/ok", "two"))
    translation = translated(SERVICES + ingress("web", f"rules: [{rule('a.test', *paths)}]"))
    found = only(translation, "path-invalid")
    assert found.severity == "error"
    assert found.field == "spec.rules[0].http.paths[0].path"
    assert remedy in found.remedy
    assert outcome(translation.snapshot, "a.test", "/ok") == "two"
    assert outcome(translation.snapshot, "a.test", "/") == "404"


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        pytest.param("prefix", "write Prefix", id="small letters"),
        pytest.param("EXACT", "write Exact", id="capitals"),
        pytest.param("Regex", "write one of", id="unknown"),
        pytest.param("", "write one of", id="missing"),
    ],
)
def test_an_unknown_path_type_harms_only_its_path(kind: str, remedy: str) -> None:
    paths = (path(kind, "/x", "one").replace("pathType: ,", ""), path("Prefix", "/ok", "two"))
    translation = translated(SERVICES + ingress("web", f"rules: [{rule('a.test', *paths)}]"))
    found = only(translation, "path-type-unknown")
    assert found.field == "spec.rules[0].http.paths[0].pathType"
    assert remedy in found.remedy
    assert outcome(translation.snapshot, "a.test", "/x") == "404"
    assert outcome(translation.snapshot, "a.test", "/ok") == "two"


def test_a_regular_expression_is_read_as_a_plain_prefix_and_warned_of() -> None:
    spec = f"rules: [{rule('a.test', path('ImplementationSpecific', '/api(/|$)(.*)', 'one'))}]"
    translation = translated(SERVICES + ingress("web", spec))
    assert only(translation, "path-regex").severity == "warning"
    assert outcome(translation.snapshot, "a.test", "/api/x") == "404"


def test_a_prefix_with_a_slash_shadows_the_one_without() -> None:
    paths = (path("Prefix", "/foo", "one"), path("Prefix", "/foo/", "two"))
    translation = translated(SERVICES + ingress("web", f"rules: [{rule('a.test', *paths)}]"))
    found = only(translation, "route-shadowed")
    assert found.severity == "hint"
    assert found.field == "spec.rules[0].http.paths[0].path"
    assert "'/foo/' is longer" in found.consequence
