"""`defaultBackend`: for the hosts of an Ingress's own rules, or for hosts that nobody claims."""

from tests.ingress_controller.translate.manifest import (
    codes,
    ingress,
    matched,
    only,
    outcome,
    path,
    rule,
    service,
    translated,
)

SERVICES = "".join(service(name) for name in ("one", "two", "rest", "other"))


def default(name: str) -> str:
    return f"defaultBackend: {{service: {{name: {name}, port: {{number: 80}}}}}}"


def created(second: int) -> str:
    return f"creationTimestamp: 2024-01-01T00:00:0{second}Z"


def test_an_ingress_without_rules_takes_hosts_that_nobody_claims() -> None:
    snapshot = translated(
        SERVICES
        + ingress("all", default("rest"))
        + ingress("web", f"rules: [{rule('a.test', path('Exact', '/', 'one'))}]")
    ).snapshot
    assert outcome(snapshot, "b.test", "/any/path") == "rest"
    assert outcome(snapshot, "a.test", "/") == "one"
    assert outcome(snapshot, "a.test", "/any/path") == "404"


def test_a_default_backend_serves_the_hosts_of_its_own_rules_alone() -> None:
    rules = f"rules: [{rule('a.test', path('Exact', '/', 'one'))}, {rule('*.b.test')}]"
    snapshot = translated(SERVICES + ingress("web", f"{default('rest')}, {rules}")).snapshot
    assert outcome(snapshot, "a.test", "/x") == "rest"
    assert outcome(snapshot, "x.b.test", "/x") == "rest"
    assert outcome(snapshot, "c.test", "/x") == "404"


def test_a_default_backend_beside_a_rule_without_host_takes_hosts_that_nobody_claims() -> None:
    spec = f"{default('rest')}, rules: [{rule('', path('Exact', '/', 'one'))}]"
    snapshot = translated(SERVICES + ingress("web", spec)).snapshot
    assert outcome(snapshot, "any.test", "/x") == "rest"


def test_the_oldest_of_several_catch_alls_wins() -> None:
    translation = translated(
        SERVICES
        + ingress("a-young", default("one"), extra=created(5))
        + ingress("z-old", default("two"), extra=created(1))
    )
    assert outcome(translation.snapshot, "x.test", "/") == "two"
    found = only(translation, "default-conflict")
    assert found.object.name == "a-young"
    assert "default/z-old" in found.message


def test_the_oldest_default_backend_of_a_shared_host_wins() -> None:
    translation = translated(
        SERVICES
        + ingress("old", f"{default('one')}, rules: [{rule('a.test')}]", extra=created(1))
        + ingress("young", f"{default('two')}, rules: [{rule('a.test')}]", extra=created(2))
    )
    assert outcome(translation.snapshot, "a.test", "/") == "one"
    assert only(translation, "default-conflict").object.name == "young"


def test_a_default_backend_is_explained_by_its_origin() -> None:
    route = matched(translated(SERVICES + ingress("all", default("rest"))).snapshot, "x.test", "/")
    assert route is not None
    assert route.origin.field == "spec.defaultBackend"
    assert route.origin.service == "rest"


def test_a_broken_default_backend_answers_503() -> None:
    translation = translated(ingress("all", default("missing")))
    assert outcome(translation.snapshot, "x.test", "/") == "503"
    found = only(translation, "service-missing")
    assert found.field == "spec.defaultBackend.service.name"


def test_an_ingress_that_says_nothing_is_warned_of() -> None:
    assert codes(translated(ingress("web", "rules: []"))) == ["ingress-empty"]
