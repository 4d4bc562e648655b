"""What one Ingress says beside hosts, paths and backends: bounds, annotations, TLS."""

import pytest

from ingress_controller.translate import ingress as module
from tests.ingress_controller.translate.manifest import (
    codes,
    ingress,
    only,
    outcome,
    path,
    rule,
    service,
    translated,
)

GOOD = service("web") + ingress("good", f"rules: [{rule('ok.test', path('Prefix', '/'))}]")


def noted(annotations: str, labels: str = "{}") -> str:
    return ingress(
        "web",
        f"rules: [{rule('a.test', path('Prefix', '/'))}]",
        extra=f"annotations: {{{annotations}}}, labels: {labels}",
    )


@pytest.mark.parametrize("what", ["paths", "rules"])
def test_an_ingress_that_is_too_large_harms_only_itself(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PATHS", 2)
    monkeypatch.setattr(module, "MAX_RULES", 2)
    paths = [path("Exact", f"/{n}") for n in range(3)]
    many = (
        rule("a.test", *paths)
        if what == "paths"
        else ", ".join(rule(f"{each}.test") for each in "abc")
    )
    translation = translated(GOOD + ingress("large", f"rules: [{many}]"))
    found = only(translation, "ingress-too-large")
    assert (found.severity, found.object.name) == ("error", "large")
    assert outcome(translation.snapshot, "a.test", "/0") == "404"
    assert outcome(translation.snapshot, "ok.test", "/") == "web"


def test_an_ingress_of_the_largest_size_is_served() -> None:
    paths = [path("Exact", f"/{n}") for n in range(module.MAX_PATHS)]
    translation = translated(service("web") + ingress("l", f"rules: [{rule('a.test', *paths)}]"))
    assert outcome(translation.snapshot, "a.test", f"/{module.MAX_PATHS - 1}") == "web"


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("rewrite-target", "hint"),
        ("proxy-body-size", "hint"),
        ("auth-url", "warning"),
        ("whitelist-source-range", "warning"),
        ("limit-rps", "warning"),
    ],
)
def test_annotations_of_ingress_nginx_are_reported_and_those_that_protect_louder(
    name: str, severity: str
) -> None:
    translation = translated(GOOD + noted(f'nginx.ingress.kubernetes.io/{name}: "x"'))
    found = only(translation, "annotation-unused")
    assert found.severity == severity
    assert found.field == f"metadata.annotations[nginx.ingress.kubernetes.io/{name}]"


def test_other_annotations_are_nobodys_business() -> None:
    text = noted("kubectl.kubernetes.io/last-applied-configuration: x, example.com/y: z")
    assert "annotation-unused" not in codes(translated(GOOD + text))


def test_the_short_lived_ingresses_of_cert_manager_are_left_in_peace() -> None:
    label = '{acme.cert-manager.io/http01-solver: "true"}'
    text = noted("nginx.ingress.kubernetes.io/whitelist-source-range: 0.0.0.0/0", label)
    assert "annotation-unused" not in codes(translated(GOOD + text))


def test_tls_is_accepted_with_a_hint() -> None:
    spec = (
        f"tls: [{{hosts: [a.test], secretName: s}}], rules: [{rule('a.test', path('Prefix', '/'))}]"
    )
    translation = translated(GOOD + ingress("web", spec))
    assert only(translation, "tls-unused").severity == "hint"
    assert outcome(translation.snapshot, "a.test", "/") == "web"


def test_every_diagnostic_says_what_happens_now_and_what_to_do() -> None:
    bad = [
        ingress("ia", f"rules: [{rule('x:1', path('Prefix', '/'))}]"),
        ingress(
            "b", f"rules: [{rule('b.test', path('prefix', '/'), path('Prefix', 'x', 'none'))}]"
        ),
        ingress("c", "rules: []"),
        ingress("d", f"rules: [{rule('ok.test', path('Prefix', '/', 'missing'))}]"),
    ]
    diagnostics = translated(GOOD + "".join(bad)).diagnostics
    assert len(diagnostics) >= 6
    for found in diagnostics:
        assert found.object.name
        assert found.message
        assert found.consequence
        assert found.remedy
        assert not found.message.endswith(".")
