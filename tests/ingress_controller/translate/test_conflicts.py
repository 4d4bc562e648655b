"""Several Ingresses on one host: merged by path; the oldest wins what two of them claim."""

import pytest

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

SERVICES = "".join(
    service(name, ns=ns) for name in ("one", "two", "three") for ns in ("default", "blue", "red")
)


def claim(name: str, *paths: str, created: str = "", namespace: str = "default") -> str:
    time = f"creationTimestamp: {created}" if created else ""
    spec = f"rules: [{rule('a.test', *paths)}]"
    return ingress(name, spec, namespace=namespace, extra=time)


def test_different_paths_of_one_host_are_merged() -> None:
    translation = translated(
        SERVICES
        + claim("web", path("Prefix", "/", "one"))
        + claim("api", path("Prefix", "/api", "two"), namespace="blue")
        + claim("solver", path("Exact", "/.well-known/acme-challenge/x", "three"))
    )
    snapshot = translation.snapshot
    assert outcome(snapshot, "a.test", "/x") == "one"
    assert outcome(snapshot, "a.test", "/api/x") == "two"
    assert outcome(snapshot, "a.test", "/.well-known/acme-challenge/x") == "three"
    assert "route-conflict" not in codes(translation)


@pytest.mark.parametrize(
    ("one", "two", "winner"),
    [
        pytest.param(
            ("z", "2024-01-01T00:00:00Z", "red"),
            ("a", "2024-01-01T00:00:01Z", "blue"),
            "one",
            id="the older wins, whatever its name",
        ),
        pytest.param(
            ("z", "2024-01-01T02:00:00+02:00", "red"),
            ("a", "2024-01-01T00:30:00Z", "blue"),
            "one",
            id="times are compared, not their text",
        ),
        pytest.param(
            ("a", "2024-01-01T00:00:00Z", "red"),
            ("z", "2024-01-01T00:00:00Z", "blue"),
            "two",
            id="at the same time the namespace decides",
        ),
        pytest.param(
            ("a", "2024-01-01T00:00:00Z", "red"),
            ("b", "2024-01-01T00:00:00Z", "red"),
            "one",
            id="then the name",
        ),
        pytest.param(
            ("z", "", "red"), ("a", "1999-01-01T00:00:00Z", "blue"), "one", id="no time is oldest"
        ),
        pytest.param(("a", "", "red"), ("a", "", "blue"), "two", id="two without a time"),
    ],
)
def test_the_oldest_ingress_wins(
    one: tuple[str, str, str], two: tuple[str, str, str], winner: str
) -> None:
    texts = [
        claim(name, path("Prefix", "/", target), created=created, namespace=namespace)
        for (name, created, namespace), target in ((one, "one"), (two, "two"))
    ]
    for text in ("".join(texts), "".join(reversed(texts))):
        translation = translated(SERVICES + text)
        assert outcome(translation.snapshot, "a.test", "/") == winner
        loser, owner = (two, one) if winner == "one" else (one, two)
        found = only(translation, "route-conflict")
        assert (found.object.namespace, found.object.name) == (loser[2], loser[0])
        assert found.severity == "warning"
        assert found.field == "spec.rules[0].http.paths[0].path"
        assert f"Ingress {owner[2]}/{owner[0]}" in found.message


def test_a_loser_keeps_its_other_paths() -> None:
    translation = translated(
        SERVICES
        + claim("a", path("Prefix", "/x", "one"))
        + claim("b", path("Prefix", "/x", "two"), path("Prefix", "/y", "two"))
    )
    assert outcome(translation.snapshot, "a.test", "/x") == "one"
    assert outcome(translation.snapshot, "a.test", "/y") == "two"


def test_inside_one_ingress_the_first_rule_wins() -> None:
    first = rule("a.test", path("Prefix", "/", "one"))
    second = rule("A.test", path("Prefix", "/", "two"))
    spec = f"rules: [{first}, {second}]"
    translation = translated(SERVICES + ingress("web", spec))
    assert outcome(translation.snapshot, "a.test", "/") == "one"
    found = only(translation, "route-conflict")
    assert found.field == "spec.rules[1].http.paths[0].path"
    assert "this Ingress" in found.message


def test_paths_that_are_equal_in_match_form_are_one_path() -> None:
    translation = translated(
        SERVICES
        + claim("a", path("Exact", "/ab", "one"))
        + claim("b", path("Exact", "/%61b", "two"))
    )
    assert outcome(translation.snapshot, "a.test", "/ab") == "one"
    assert only(translation, "route-conflict").object.name == "b"


def test_prefix_and_implementation_specific_are_one_kind_and_exact_another() -> None:
    paths = [path(kind, "/a", "one") for kind in ("Prefix", "ImplementationSpecific", "Exact")]
    assert codes(translated(SERVICES + claim("a", *paths))).count("route-conflict") == 1


def test_the_longer_of_two_prefixes_wins_even_from_a_younger_ingress_and_with_a_warning() -> None:
    translation = translated(
        SERVICES
        + claim("old", path("Prefix", "/foo", "one"), created="2024-01-01T00:00:00Z")
        + claim("young", path("Prefix", "/foo/", "two"), created="2025-01-01T00:00:00Z")
    )
    assert outcome(translation.snapshot, "a.test", "/foo") == "two"
    found = only(translation, "route-shadowed")
    assert (found.object.name, found.severity) == ("old", "warning")


@pytest.mark.parametrize("value", ["true", "yes please"])
def test_a_canary_takes_nothing_of_its_main_ingress_however_old_it_is(value: str) -> None:
    old = claim("canary", path("Prefix", "/", "two"), created="2024-01-01T00:00:00Z")
    marked = old.replace(
        "metadata: {",
        f'metadata: {{annotations: {{nginx.ingress.kubernetes.io/canary: "{value}"}}, ',
    )
    main = claim("main", path("Prefix", "/", "one"), created="2025-01-01T00:00:00Z")
    assert outcome(translated(SERVICES + old + main).snapshot, "a.test", "/") == "two"
    translation = translated(SERVICES + marked + main)
    assert outcome(translation.snapshot, "a.test", "/") == "one"
    found = only(translation, "annotation-unsupported")
    assert (found.object.name, found.severity) == ("canary", "warning")
    assert found.field == "metadata.annotations[nginx.ingress.kubernetes.io/canary]"
    assert outcome(translated(SERVICES + marked).snapshot, "a.test", "/") == "404"
    ordinary = translated(SERVICES + marked.replace(value, "false"))
    assert outcome(ordinary.snapshot, "a.test", "/") == "two"


def test_a_dead_path_of_the_oldest_still_wins() -> None:
    translation = translated(
        SERVICES
        + claim("a", path("Prefix", "/", "missing"))
        + claim("b", path("Prefix", "/", "two"))
    )
    assert outcome(translation.snapshot, "a.test", "/") == "503"


def test_routes_of_a_host_are_sorted_and_each_path_stands_once() -> None:
    paths = [path("Prefix", each, "one") for each in ("/b", "/a", "/a/", "/")]
    snapshot = translated(SERVICES + claim("a", *paths, path("Exact", "/z", "one"))).snapshot
    places = [(r.path.kind, r.path.value) for r in snapshot.hosts["default"]["a.test"].routes]
    assert places == [("exact", "/z"), ("prefix", ""), ("prefix", "/a"), ("prefix", "/b")]
