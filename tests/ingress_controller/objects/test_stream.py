"""Answers to LIST and WATCH, from bytes to objects."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.objects.config import Secret
from ingress_controller.objects.decode import Undecodable, decode
from ingress_controller.objects.ingress import Ingress, IngressStatus
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.objects.slices import EndpointSlice
from ingress_controller.objects.stream import API_VERSIONS, ObjectReader, StreamError

META = {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7"}


def raw(**fields: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps({"metadata": META} | fields).encode())


def test_a_page_has_the_version_of_the_list_and_not_of_its_items() -> None:
    body = {
        "kind": "ServiceList",
        "metadata": {"resourceVersion": "5", "continue": "t", "remainingItemCount": 3},
        "items": [{"metadata": META}],
    }
    page = ObjectReader("Service").page(json.dumps(body).encode())
    assert (page.version, page.token, len(page.items)) == ("5", "t", 1)


def test_a_list_without_items_is_empty_but_must_say_so() -> None:
    reader = ObjectReader("Service")
    assert reader.page(b'{"metadata":{"resourceVersion":"5"},"items":null}').items == []
    with pytest.raises(StreamError):
        reader.page(b'{"metadata":{"resourceVersion":"5"}}')


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    reader = ObjectReader("Service")
    for read in (reader.page, reader.event):
        with pytest.raises(StreamError):
            read(body)


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)
FIELDS = ("metadata", "spec", "status", "rules", "name", "namespace", "data", "endpoints", "ports")
ODD = st.recursive(
    JSON,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(FIELDS), inner), st.lists(inner, max_size=3)
    ),
)


@given(st.sampled_from(sorted(API_VERSIONS)), ODD)
def test_any_json_is_an_object_or_has_a_reason(kind: str, value: object) -> None:
    item = ObjectReader(kind).item(msgspec.Raw(json.dumps(value).encode()))
    assert item.key.kind == kind
    assert (item.status is not None) <= (kind == "Ingress")
    if isinstance(item.read, Undecodable):
        assert item.read.message


@pytest.mark.parametrize("body", [b"nonsense", b"[" * 100_000, b'{"metadata":{"name":"\xff"}}'])
def test_what_is_no_json_is_no_object(body: bytes) -> None:
    item = ObjectReader("Service").item(msgspec.Raw(body))
    assert isinstance(item.read, Undecodable)


def test_an_object_with_an_odd_text_still_has_its_name() -> None:
    body = b'{"metadata":{"name":"a","namespace":"n","uid":"u"},"spec":{"type":"\xff"}}'
    item = ObjectReader("Service").item(msgspec.Raw(body))
    assert isinstance(item.read, Undecodable)
    assert item[:2] == (ObjectKey("Service", "n", "a"), "u")
    assert item.read.key == item.key


@given(st.sampled_from(sorted(API_VERSIONS)), st.dictionaries(st.sampled_from(FIELDS[1:]), JSON))
def test_bytes_and_documents_are_read_alike(kind: str, fields: dict[str, object]) -> None:
    metadata = META if kind != "IngressClass" else {"name": "a", "uid": "u"}
    document = fields | {"metadata": metadata, "kind": kind, "apiVersion": API_VERSIONS[kind]}
    item = ObjectReader(kind).item(msgspec.Raw(json.dumps(document).encode()))
    if kind == "Ingress":
        document.pop("status", None)
    nothing_null = json.loads(
        json.dumps(document),
        object_hook=lambda found: {
            name: value for name, value in found.items() if value is not None
        },
    )
    assert item.read == decode(nothing_null)


def test_null_is_absent() -> None:
    item = ObjectReader("EndpointSlice").item(raw(addressType="IPv4", endpoints=None, ports=None))
    assert isinstance(item.read, EndpointSlice)
    assert item.read.endpoints == item.read.ports == ()
    assert item.key == ObjectKey("EndpointSlice", "n", "a")
    assert item.uid == "u"


def test_what_is_wrong_with_an_object_is_said_as_for_a_manifest() -> None:
    item = ObjectReader("Ingress").item(raw(spec={"rules": [{"host": 1}]}, status={}))
    assert isinstance(item.read, Undecodable)
    assert item.read.field == "spec.rules[0].host"
    assert item.read.message == "it must be text, but is a number"
    assert (item.key, item.uid) == (ObjectKey("Ingress", "n", "a"), "u")


@pytest.mark.parametrize("spec", [{}, {"rules": None}])
def test_the_status_of_an_ingress_is_no_part_of_it(spec: dict[str, object]) -> None:
    addresses = [{"hostname": "b.test"}, {"ip": "192.0.2.1", "hostname": "a.test"}, {}]
    status = {"loadBalancer": {"ingress": addresses}}
    reader = ObjectReader("Ingress")
    item = reader.item(raw(spec=spec, status=status))
    assert item.status == IngressStatus("u", ("192.0.2.1", "a.test", "b.test"))
    assert item.read == reader.item(raw(spec={})).read
    assert isinstance(item.read, Ingress)


@pytest.mark.parametrize("status", [None, "x", {"loadBalancer": {"ingress": [{"ip": 1}]}}])
def test_a_status_that_cannot_be_read_harms_no_ingress(status: object) -> None:
    item = ObjectReader("Ingress").item(raw(status=status))
    assert isinstance(item.read, Ingress)
    assert item.status == IngressStatus("u", ())


@pytest.mark.parametrize("endpoints", [None, []])
def test_annotations_that_mean_nothing_are_left_out(endpoints: object) -> None:
    annotations = {
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z",
        "other": "x",
    }
    metadata = META | {"annotations": annotations}
    item = ObjectReader("EndpointSlice").item(raw(metadata=metadata, endpoints=endpoints))
    assert isinstance(item.read, EndpointSlice)
    assert item.read.metadata.annotations == {"other": "x"}


def test_nobody_can_mark_a_secret_as_kept() -> None:
    item = ObjectReader("Secret").item(raw(kept={"until": 1, "deleted": True}))
    assert isinstance(item.read, Secret)
    assert item.read.kept is None


def test_the_kinds_of_events() -> None:
    reader = ObjectReader("Service")
    line = json.dumps({"type": "DELETED", "object": {"metadata": META}}).encode()
    event = reader.event(line)
    assert event[0] == "DELETED"
    assert event[2:] == ("7", ObjectKey("Service", "n", "a"), "u")
    bookmark = reader.event(b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}')
    assert (bookmark.type, bookmark.version) == ("BOOKMARK", "9")
    assert reader.event(b'{"type":"ERROR","object":{"code":410}}').type == "ERROR"
