"""The host table of the Ingress v1 contract (concepts page, "Hostname wildcards"; types.go)."""

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


def hosts(*written: str) -> str:
    """An Ingress with a rule a host, each with a Service of its own."""
    rules = [
        rule(host, path("Prefix", "/", name))
        for host, name in zip(written, ("one", "two", "three"), strict=False)
    ]
    return SERVICES + ingress("web", f"rules: [{', '.join(rules)}]")


@pytest.mark.parametrize(
    ("written", "host", "expected"),
    [
        pytest.param("*.foo.com", "bar.foo.com", "one", id="a shared suffix"),
        pytest.param("*.foo.com", "baz.bar.foo.com", "404", id="the wildcard is one label"),
        pytest.param("*.foo.com", "foo.com", "404", id="the wildcard is exactly one label"),
        pytest.param("", "any.test", "one", id="no host takes every host"),
        pytest.param("", "10.0.0.1", "one", id="no host takes an IPv4 literal"),
        pytest.param("", "[::1]", "one", id="no host takes an IPv6 literal"),
        pytest.param("foo.com", "foo.com", "one", id="an equal name"),
        pytest.param("foo.com", "FOO.com:8080", "one", id="case and port do not count"),
        pytest.param("foo.com", "foo.com.", "one", id="a dot at the end does not count"),
        pytest.param("Foo.com", "foo.com", "one", id="capitals in the rule do not count"),
        pytest.param("foo.com", "bar.foo.com", "404", id="another name"),
    ],
)
def test_hosts_match_as_the_contract_says(written: str, host: str, expected: str) -> None:
    assert outcome(translated(hosts(written)).snapshot, host, "/") == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param("a.foo.com", "one", id="precise before wildcard"),
        pytest.param("b.foo.com", "two", id="wildcard before none"),
        pytest.param("bar.com", "three", id="none takes the rest"),
        pytest.param("x.a.foo.com", "three", id="two labels are not the wildcard's"),
    ],
)
def test_precise_comes_before_wildcard_before_none(host: str, expected: str) -> None:
    snapshot = translated(hosts("a.foo.com", "*.foo.com", "")).snapshot
    assert outcome(snapshot, host, "/") == expected


def test_a_miss_inside_a_host_does_not_try_another_host() -> None:
    rules = [
        rule("a.foo.com", path("Exact", "/only", "one")),
        rule("*.foo.com", path("Prefix", "/", "two")),
        rule("", path("Prefix", "/", "three")),
    ]
    snapshot = translated(SERVICES + ingress("web", f"rules: [{', '.join(rules)}]")).snapshot
    assert outcome(snapshot, "a.foo.com", "/other") == "404"


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        pytest.param("foo.com:8080", "write 'foo.com';", id="a port"),
        pytest.param("https://foo.com", "without a scheme", id="a scheme"),
        pytest.param("foo.com/path", "paths belong into http.paths", id="a path"),
        pytest.param("*", "write a DNS name", id="a lone star"),
        pytest.param("foo.*.com", "write a DNS name", id="a star inside"),
        pytest.param("10.0.0.1", "write a DNS name", id="an address"),
        pytest.param("a_b.com", "write a DNS name", id="an underscore"),
    ],
)
def test_a_host_that_is_none_harms_only_its_rule(written: str, remedy: str) -> None:
    translation = translated(hosts(written, "ok.test"))
    found = only(translation, "host-invalid")
    assert found.severity == "error"
    assert found.field == "spec.rules[0].host"
    assert remedy in found.remedy
    assert outcome(translation.snapshot, "ok.test", "/") == "two"
    assert outcome(translation.snapshot, "other.test", "/") == "404"


def test_a_rule_without_http_sends_its_host_to_the_default_backend() -> None:
    default = "defaultBackend: {service: {name: rest, port: {number: 80}}}"
    rules = f"rules: [{rule('a.test')}, {rule('b.test', path('Prefix', '/b', 'one'))}]"
    snapshot = translated(SERVICES + ingress("web", f"{default}, {rules}")).snapshot
    assert outcome(snapshot, "a.test", "/x") == "rest"
    assert outcome(snapshot, "b.test", "/x") == "rest"
    assert outcome(snapshot, "b.test", "/b") == "one"
    assert outcome(snapshot, "c.test", "/x") == "404"


def test_a_rule_without_http_and_default_backend_claims_its_host_and_is_warned_of() -> None:
    translation = translated(
        SERVICES
        + ingress("web", f"rules: [{rule('a.test')}]")
        + ingress("all", "defaultBackend: {service: {name: rest, port: {number: 80}}}")
    )
    assert only(translation, "rule-without-paths").field == "spec.rules[0]"
    assert outcome(translation.snapshot, "a.test", "/") == "404"
    assert outcome(translation.snapshot, "b.test", "/") == "rest"
