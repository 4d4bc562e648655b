"""A change costs what it changes: what deltas carry, and what is not even looked at."""

import msgspec
import pytest

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import KubernetesObject, Name, ObjectChange, key_of
from ingress_controller.translate import readings, routes
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translator
from router.model.snapshot import Delta, Forward
from tests.ingress_controller.translate.manifest import (
    backend,
    ingress,
    objects,
    path,
    rule,
    service,
    slices,
)

BASE = (
    service("web")
    + service("api")
    + slices("web", "{addresses: [10.0.0.1]}")
    + slices("api", "{addresses: [10.0.1.1]}")
    + ingress("a", f"rules: [{rule('a.test', path('Prefix', '/'), path('Prefix', '/v1', 'api'))}]")
    + ingress("b", f"rules: [{rule('b.test', path('Prefix', '/', 'api'))}]")
)


@pytest.fixture
def translator() -> Translator:
    made = Translator(Options())
    made.update(put(BASE))
    return made


def put(text: str) -> list[ObjectChange]:
    return [ObjectChange(key_of(item), item) for item in objects(text)]


def gone(kind: str, name: str) -> list[ObjectChange]:
    return [ObjectChange(ObjectKey(kind, "default", name), None)]


def names(delta: Delta | None) -> tuple[set[str], set[str], set[str]]:
    """Changed hosts, upstreams and endpoint sets."""
    assert delta is not None
    hosts = delta.hosts.get("default", {})
    return set(hosts), set(delta.upstreams), set(delta.endpoints)


def test_versions_count_up_by_one() -> None:
    translator = Translator(Options())
    assert translator.snapshot.version == 0
    first = translator.update(put(BASE))
    assert first is not None
    assert (first.base, first.version, translator.snapshot.version) == (0, 1, 1)
    assert translator.update(put(BASE)) is None
    assert translator.snapshot.version == 1


def test_the_listener_says_the_published_port() -> None:
    listeners = Translator(Options(http_port=8080)).snapshot.listeners
    assert [each.published_port for each in listeners.values()] == [8080]
    assert [each.hosts for each in listeners.values()] == ["default"]


def test_a_changed_slice_changes_its_endpoint_set_alone(translator: Translator) -> None:
    delta = translator.update(put(slices("web", "{addresses: [10.0.0.2]}")))
    assert names(delta) == (set(), set(), {"default/web:80"})


def test_a_deleted_slice_leaves_an_empty_set(translator: Translator) -> None:
    delta = translator.update(gone("EndpointSlice", "web-x"))
    assert names(delta) == (set(), set(), {"default/web:80"})
    assert translator.snapshot.endpoints["default/web:80"].endpoints == ()


def test_no_route_is_looked_at_when_endpoints_change(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a route was made")

    monkeypatch.setattr(routes, "Route", never)
    monkeypatch.setattr(routes, "merge", never)
    monkeypatch.setattr(readings, "read_ingress", never)
    assert translator.update(put(slices("web", "{addresses: [10.0.0.2]}"))) is not None


def test_a_changed_ingress_changes_its_hosts_alone(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(
        readings,
        "read_ingress",
        lambda item, https: read.append(item) or original(item, https=https),
    )
    delta = translator.update(put(ingress("b", f"rules: [{rule('c.test', path('Exact', '/'))}]")))
    assert names(delta) == ({"b.test", "c.test"}, set(), set())
    assert delta is not None
    assert delta.hosts["default"]["b.test"] is None
    assert [item.metadata.name for item in read] == ["b"]


original = readings.read_ingress


def test_the_last_reference_takes_the_upstream_along(translator: Translator) -> None:
    translator.update(gone("Ingress", "b"))
    delta = translator.update(put(ingress("a", f"rules: [{rule('a.test', path('Prefix', '/'))}]")))
    assert names(delta) == ({"a.test"}, {"default/api:80"}, {"default/api:80"})
    assert delta is not None
    assert delta.upstreams["default/api:80"] is None
    assert delta.endpoints["default/api:80"] is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(BASE, id="everything again"),
        pytest.param(service("web", more="selector: {app: other}"), id="a selector"),
        pytest.param(
            BASE.replace("{name: a, namespace", "{name: a, labels: {a: b}, namespace"),
            id="a label of an Ingress",
        ),
        pytest.param(service("unused"), id="a Service without a route"),
        pytest.param(slices("unused", "{addresses: [10.0.0.9]}"), id="a slice without a route"),
        pytest.param(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b}", id="a ConfigMap"
        ),
        pytest.param("apiVersion: v1\nkind: Secret\nmetadata: {name: x}", id="a Secret"),
    ],
)  # fmt: skip
def test_what_changes_nothing_for_workers_gives_no_delta(translator: Translator, text: str) -> None:
    before = translator.snapshot
    assert translator.update(put(text)) is None
    assert translator.snapshot is before


def test_a_service_that_comes_late_brings_its_routes_to_life(translator: Translator) -> None:
    late = ingress("late", f"rules: [{rule('late.test', path('Prefix', '/', 'late'))}]")
    translator.update(put(late))
    assert "service-missing" in {found.code for found in translator.diagnostics}
    delta = translator.update(put(service("late") + slices("late", "{addresses: [10.0.0.3]}")))
    assert names(delta) == ({"late.test"}, {"default/late:80"}, {"default/late:80"})
    assert translator.diagnostics == ()
    route = translator.snapshot.hosts["default"]["late.test"].routes[0]
    assert isinstance(route.action, Forward)


def test_a_service_of_that_name_elsewhere_changes_the_advice(translator: Translator) -> None:
    translator.update(put(ingress("x", f"rules: [{rule('x.test', path('Prefix', '/', 'nope'))}]")))
    assert translator.update(put(service("nope", ns="shop"))) is None
    (found,) = translator.diagnostics
    assert "namespace shop" in found.remedy


def test_a_class_that_becomes_ours_brings_its_ingresses(translator: Translator) -> None:
    text = ingress("new", f"rules: [{rule('n.test', path('Prefix', '/'))}]")
    translator.update(put(text.replace("ingressClassName: python", "ingressClassName: new")))
    assert "n.test" not in translator.snapshot.hosts["default"]
    new = (
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: new}\n"
        "spec: {controller: python-ingress.dev/controller}\n"
    )
    delta = translator.update(put(new))
    assert names(delta) == ({"n.test"}, set(), set())
    assert translator.diagnostics == ()
    delta = translator.update([ObjectChange(ObjectKey("IngressClass", "", "new"), None)])
    assert names(delta) == ({"n.test"}, set(), set())


def test_an_unknown_kind_is_a_defect_of_the_caller(translator: Translator) -> None:
    with pytest.raises(ValueError, match="Pod"):
        translator.update([ObjectChange(ObjectKey("Pod", "default", "x"), None)])


def test_an_upstream_shows_what_stands_behind_it(translator: Translator) -> None:
    view = translator.upstream_view("default/web:80")
    assert view is not None
    assert view.service.metadata.name == "web"
    assert view.port.name == "http"
    assert [each.address for each in view.endpoints.endpoints] == ["10.0.0.1"]
    assert view.sources == (ObjectKey("EndpointSlice", "default", "web-x"),)
    assert translator.upstream_view("default/none:80") is None


def test_a_host_shows_who_claims_it(translator: Translator) -> None:
    translator.update(put(ingress("zz", f"rules: [{rule('a.test', path('Prefix', '/'))}]")))
    assert [key.name for key in translator.claimants("a.test")] == ["a", "zz"]
    assert [found.code for found in translator.host_diagnostics("a.test")] == ["route-conflict"]
    assert translator.claimants("none.test") == ()


def test_the_snapshot_survives_the_changes_after_it(translator: Translator) -> None:
    before = translator.snapshot
    kept = msgspec.msgpack.encode(before)
    translator.update(gone("Ingress", "a"))
    translator.update(put(slices("api", "{addresses: [10.9.9.9]}")))
    assert msgspec.msgpack.encode(before) == kept


def test_everything_deleted_leaves_nothing(translator: Translator) -> None:
    everything: list[KubernetesObject] = objects(BASE)
    translator.update(ObjectChange(key_of(item), None) for item in everything)
    snapshot = translator.snapshot
    assert (snapshot.hosts, snapshot.upstreams, snapshot.endpoints) == ({"default": {}}, {}, {})
    assert translator.diagnostics == ()


def test_ingresses_that_are_read_are_told_once(translator: Translator) -> None:
    a, b = Name("default", "a"), Name("default", "b")
    assert translator.take_touched() == {a, b}
    assert translator.take_touched() == set()
    translator.update(put(ingress("b", "defaultBackend: " + backend("web"))) + gone("Ingress", "a"))
    assert translator.take_touched() == {a, b}
    assert not translator.served(a)
    assert translator.served(b)
    translator.update(put(slices("web", "{addresses: [10.0.0.7]}") + BASE))
    assert translator.take_touched() == {a, b}
    translator.update(put(service("web", "{port: 81}")))
    assert translator.take_touched() == set()


def test_an_ingress_of_a_class_that_became_foreign_is_touched(translator: Translator) -> None:
    translator.take_touched()
    theirs = (
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: python}\n"
        "spec: {controller: example.com/other}\n"
    )
    translator.update(put(theirs))
    assert translator.take_touched() == {Name("default", "a"), Name("default", "b")}
    assert not translator.served(Name("default", "a"))


def test_a_rebuilt_translator_has_the_same_objects_and_the_next_version(
    translator: Translator,
) -> None:
    translator.take_touched()
    translator.update(gone("Ingress", "b"))
    made = translator.rebuilt(Options(http_port=8080))
    assert made.snapshot.version == translator.snapshot.version + 1
    assert made.snapshot.hosts == translator.snapshot.hosts
    assert made.snapshot.listeners["http"].published_port == 8080
    assert made.take_touched() == {Name("default", "a"), Name("default", "b")}
    delta = made.update(put(BASE))
    assert delta is not None
    assert (delta.base, delta.version) == (3, 4)


def test_a_rebuilt_translator_of_nothing_has_the_next_version() -> None:
    assert Translator(Options(), 7).rebuilt(Options()).snapshot.version == 8


def test_a_failed_update_loses_no_change(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of ours: the memos are half-way, and `rebuilt` has all that was said."""

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    text = ingress("new", f"rules: [{rule('n.test', path('Prefix', '/'))}]")
    with monkeypatch.context() as patched:
        patched.setattr(readings, "read_ingress", fails)
        with pytest.raises(RuntimeError, match="a defect"):
            translator.update(put(text + service("late")) + gone("Ingress", "a"))
    with pytest.raises(RuntimeError, match="only rebuilding helps"):
        translator.update(put(service("later")))
    made = translator.rebuilt(Options())
    fresh = Translator(Options())
    fresh.update(put(BASE + text + service("late") + service("later")))
    fresh.update(gone("Ingress", "a"))
    assert made.snapshot.hosts == fresh.snapshot.hosts
    assert made.diagnostics == fresh.diagnostics


def test_changes_of_an_unknown_kind_take_nothing_in(translator: Translator) -> None:
    before = translator.snapshot
    unknown = ObjectChange(ObjectKey("Pod", "default", "x"), None)
    with pytest.raises(ValueError, match="Pod"):
        translator.update([*gone("Ingress", "a"), unknown])
    assert translator.update([]) is None
    assert translator.rebuilt(Options()).snapshot.hosts == before.hosts
