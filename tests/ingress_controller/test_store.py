"""The newest objects, and whether a change matters."""

import pytest

from ingress_controller.objects.meta import ObjectKey, ObjectMeta
from ingress_controller.objects.service import Service
from ingress_controller.objects.slices import SERVICE_NAME_LABEL, EndpointSlice
from ingress_controller.store import Name, ObjectChange, Store, key_of

WEB = Service(ObjectMeta("web", "shop"))
KEY = ObjectKey("Service", "shop", "web")


def part(name: str, service: str) -> EndpointSlice:
    return EndpointSlice(ObjectMeta(name, "shop", {SERVICE_NAME_LABEL: service}))


def put(store: Store, item: EndpointSlice | Service) -> bool:
    return store.apply(ObjectChange(key_of(item), item))[1]


def slices(store: Store, service: str) -> set[str]:
    return {name.name for name, _ in store.slices_of(Name("shop", service))}


def test_an_equal_object_does_not_matter() -> None:
    store = Store()
    assert store.apply(ObjectChange(KEY, WEB)) == (None, True)
    assert store.apply(ObjectChange(KEY, Service(ObjectMeta("web", "shop")))) == (WEB, False)
    assert store.apply(ObjectChange(KEY, None)) == (WEB, True)
    assert store.apply(ObjectChange(KEY, None)) == (None, False)
    assert store.services == {}


def test_a_kind_that_is_not_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="Pod"):
        Store().apply(ObjectChange(ObjectKey("Pod", "a", "b"), None))


def test_slices_are_found_by_their_service() -> None:
    store = Store()
    put(store, part("one", "web"))
    put(store, part("two", "web"))
    put(store, part("three", "api"))
    assert slices(store, "web") == {"one", "two"}
    put(store, part("two", "api"))
    assert slices(store, "web") == {"one"}
    assert slices(store, "api") == {"two", "three"}
    store.apply(ObjectChange(ObjectKey("EndpointSlice", "shop", "one"), None))
    assert slices(store, "web") == set()


def test_namespaces_of_a_service_name_are_known() -> None:
    store = Store()
    put(store, WEB)
    put(store, Service(ObjectMeta("web", "blue")))
    assert set(store.namespaces_of_service("web")) == {"shop", "blue"}
    store.apply(ObjectChange(KEY, None))
    assert set(store.namespaces_of_service("web")) == {"blue"}
    assert set(store.namespaces_of_service("other")) == set()


def test_all_objects_fill_another_store() -> None:
    store, other = Store(), Store()
    put(store, WEB)
    put(store, part("one", "web"))
    for change in store.objects():
        other.apply(change)
    assert dict(other.services) == dict(store.services)
    assert slices(other, "web") == {"one"}
