"""The newest objects, and whether a change matters."""

import pytest

from ingress_controller.objects.meta import ObjectKey, ObjectMeta
from ingress_controller.objects.service import Service
from ingress_controller.objects.slices import SERVICE_NAME_LABEL, EndpointSlice
from ingress_controller.store import Applied, Name, ObjectChange, Store, key_of

WEB = Service(ObjectMeta("web", "shop"))
KEY = ObjectKey("Service", "shop", "web")


def part(name: str, service: str) -> EndpointSlice:
    return EndpointSlice(ObjectMeta(name, "shop", {SERVICE_NAME_LABEL: service}))


def put(store: Store, item: EndpointSlice | Service) -> bool:
    return bool(store.apply([ObjectChange(key_of(item), item)]))


def slices(store: Store, service: str) -> set[str]:
    return {name.name for name, _ in store.slices_of(Name("shop", service))}


def test_an_equal_object_does_not_matter() -> None:
    store = Store()
    name = Name("shop", "web")
    assert store.apply([ObjectChange(KEY, WEB)]) == [Applied(KEY, name, None, WEB)]
    assert store.apply([ObjectChange(KEY, Service(ObjectMeta("web", "shop")))]) == []
    assert store.apply([ObjectChange(KEY, None)] * 2) == [Applied(KEY, name, WEB, None)]
    assert store.services == {}


def test_a_kind_that_is_not_kept_is_refused() -> None:
    store = Store()
    with pytest.raises(ValueError, match="Pod"):
        store.apply([ObjectChange(KEY, WEB), ObjectChange(ObjectKey("Pod", "a", "b"), None)])
    assert store.services == {}


def test_slices_are_found_by_their_service() -> None:
    store = Store()
    put(store, part("one", "web"))
    put(store, part("two", "web"))
    put(store, part("three", "api"))
    assert slices(store, "web") == {"one", "two"}
    put(store, part("two", "api"))
    assert slices(store, "web") == {"one"}
    assert slices(store, "api") == {"two", "three"}
    store.apply([ObjectChange(ObjectKey("EndpointSlice", "shop", "one"), None)])
    assert slices(store, "web") == set()


def test_namespaces_of_a_service_name_are_known() -> None:
    store = Store()
    put(store, WEB)
    put(store, Service(ObjectMeta("web", "blue")))
    assert set(store.namespaces_of_service("web")) == {"shop", "blue"}
    store.apply([ObjectChange(KEY, None)])
    assert set(store.namespaces_of_service("web")) == {"blue"}
    assert set(store.namespaces_of_service("other")) == set()


def test_all_objects_fill_another_store() -> None:
    store, other = Store(), Store()
    put(store, WEB)
    put(store, part("one", "web"))
    other.apply(store.objects())
    assert dict(other.services) == dict(store.services)
    assert slices(other, "web") == {"one"}
