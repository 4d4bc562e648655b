"""Who wrote which field is left out of JSON, however deep and odd it is, and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.objects.ingress import Ingress
from ingress_controller.objects.managed_fields import without_managed_fields
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.objects.stream import ObjectReader

TEXTS = st.one_of(
    st.text(), st.sampled_from(['"managedFields":[', '\\"managedFields":[', "\\", "]}"])
)
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.just("managedFields"), inner, max_size=3)
    ),
    max_leaves=20,
)


def emptied(value: object) -> object:
    """What is expected, from the document."""
    if isinstance(value, dict):
        return {
            name: [] if name.endswith("managedFields") and isinstance(item, list) else emptied(item)
            for name, item in value.items()
        }
    return [emptied(item) for item in value] if isinstance(value, list) else value


def deep(depth: int) -> bytes:
    """An Ingress whose owner nested what an API server takes: it was tried with 5,000 levels."""
    fields = '{"f:a":' * depth + "{}" + "}" * depth
    managed = f'[{{"manager":"m","fieldsV1":{fields}}}]'
    meta = f'{{"name":"deep","namespace":"evil","resourceVersion":"7","managedFields":{managed}}}'
    return f'{{"metadata":{meta},"spec":{{"ingressClassName":"x"}}}}'.encode()


@given(VALUES)
def test_only_lists_of_managed_fields_are_emptied(value: object) -> None:
    for separators in ((",", ":"), (", ", ": ")):
        text = json.dumps(value, separators=separators).encode()
        assert json.loads(without_managed_fields(text)) == emptied(value)


@given(st.binary())
def test_whatever_comes_is_answered(text: bytes) -> None:
    without_managed_fields(b'{"managedFields":[' + text)


@pytest.mark.parametrize("depth", [*range(880, 1010), 5_000, 9_990, 200_000])
def test_an_object_that_is_nested_deeply_harms_neither_list_nor_watch(depth: int) -> None:
    reader = ObjectReader("Ingress")
    good = b'{"metadata":{"name":"good","namespace":"shop"},"spec":{}}'
    body = b'{"metadata":{"resourceVersion":"9"},"items":[%b,%b]}' % (good, deep(depth))
    items = [reader.item(raw) for raw in reader.page(body).items]
    assert [item.key.name for item in items] == ["good", "deep"]
    event = reader.event(b'{"type":"MODIFIED","object":%b}' % deep(depth))
    assert event.key == ObjectKey("Ingress", "evil", "deep")
    for item in (items[1], reader.item(event.object)):
        assert isinstance(item.read, Ingress)
        assert item.read.spec.ingress_class_name == "x"
