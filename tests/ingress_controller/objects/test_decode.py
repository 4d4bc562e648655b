"""Documents become objects, or a reason with a field path."""

import msgspec
import pytest

from ingress_controller.objects.config import Secret
from ingress_controller.objects.decode import Undecodable, decode
from ingress_controller.objects.ingress import Ingress
from ingress_controller.objects.meta import ObjectKey, ObjectMeta, age_key


def service(**metadata: object) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", **metadata},
        "spec": {"ports": [{"port": 80}]},
    }


def ingress(spec: object) -> dict[str, object]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web"},
        "spec": spec,
    }


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(None, id="nothing"),
        pytest.param("text", id="text"),
        pytest.param([1], id="a list"),
        pytest.param({}, id="an empty mapping"),
        pytest.param({"kind": "Service"}, id="no version"),
        pytest.param({"apiVersion": "v1"}, id="no kind"),
        pytest.param({"apiVersion": 1, "kind": "Service"}, id="a version that is no text"),
        pytest.param({"apiVersion": "apps/v1", "kind": "Deployment"}, id="another kind"),
        pytest.param({"apiVersion": "x.dev/v1", "kind": "Ingress"}, id="another group"),
        pytest.param({"apiVersion": "serving.knative.dev/v1", "kind": "Service"}, id="a namesake"),
    ],
)
def test_what_is_not_ours_to_read_is_passed_over(document: object) -> None:
    assert decode(document) is None


def test_an_object_without_namespace_is_in_the_default_one() -> None:
    found = decode(service())
    assert not isinstance(found, Undecodable | None)
    assert found.metadata.namespace == "default"


def test_an_ingress_class_has_no_namespace() -> None:
    found = decode(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": "x", "namespace": "y"},
            "spec": {"controller": "a/b"},
        }
    )
    assert not isinstance(found, Undecodable | None)
    assert found.metadata.namespace == ""


def test_decoding_does_not_change_the_document() -> None:
    document = service()
    decode(document)
    assert document == service()


@pytest.mark.parametrize(
    ("document", "field", "words", "remedy"),
    [
        pytest.param(
            ingress({"rules": [{"host": 5}]}), "spec.rules[0].host", "must be text", "quotes",
            id="a number as host",
        ),
        pytest.param(
            ingress({"rules": {}}), "spec.rules", "must be a list", "kubectl", id="a mapping"
        ),
        pytest.param(
            ingress([]), "spec", "must be a mapping", "kubectl explain", id="a list as spec"
        ),
        pytest.param(
            ingress({"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend":
                {"service": {"name": "w", "port": {"number": "80"}}}}]}}]}),
            "spec.rules[0].http.paths[0].backend.service.port.number", "must be a number",
            "without quotes", id="text as port",
        ),
        pytest.param(
            ingress({"defaultBackend": {"service": {}}}), "spec.defaultBackend.service.name",
            "the field is missing", "add it", id="a missing name",
        ),
        pytest.param(
            service(annotations={"a": "x", "b": True}), "metadata.annotations[b]", "must be text",
            "quotes", id="a boolean annotation",
        ),
        pytest.param(
            service(labels={"v": 1.5}), "metadata.labels[v]", "must be text", "quotes",
            id="a number as label",
        ),
        pytest.param(service(name=80), "metadata.name", "read as '80'", "quotes", id="a number"),
        pytest.param(
            service(name="Web"), "metadata.name", "'Web' is no name", "small letters", id="capitals"
        ),
        pytest.param(
            service(name="a/b"), "metadata.name", "'a/b' is no name", "small letters", id="a slash"
        ),
        pytest.param(
            service(namespace="a:b"), "metadata.namespace", "is no name", "small", id="a colon"
        ),
        pytest.param(service(name=""), "metadata.name", "missing", "small letters", id="no name"),
        pytest.param(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"generateName": "x-"}},
            "metadata.name", "generateName", "set metadata.name", id="generateName",
        ),
        pytest.param(
            {**service(), "spec": {"ports": [{"port": 0}]}}, "spec.ports[0].port",
            "it must be at least 1", "kubectl", id="a port out of range",
        ),
        pytest.param(
            ingress({"ingressClassName": "x" * 254}), "spec.ingressClassName",
            "it must be at most 253 characters", "kubectl", id="a name too long",
        ),
        pytest.param(service(name="x" * 300), "metadata.name", "…", "small", id="a long name"),
        pytest.param(
            service(creationTimestamp="yesterday"), "metadata.creationTimestamp", "", "kubectl",
            id="no time",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Service", "metadata": []}, "metadata.name", "missing", "",
            id="metadata that is a list",
        ),
    ],
)  # fmt: skip
def test_a_structurally_wrong_object_is_refused_with_its_field(
    document: object, field: str, words: str, remedy: str
) -> None:
    found = decode(document)
    assert isinstance(found, Undecodable)
    assert found.field == field
    assert words in found.message
    assert remedy in found.remedy
    assert not found.version


@pytest.mark.parametrize(
    ("version", "right"),
    [
        ("networking.k8s.io/v1beta1", "networking.k8s.io/v1"),
        ("extensions/v1beta1", "networking.k8s.io/v1"),
    ],
)
def test_an_old_version_is_refused_with_the_new_one(version: str, right: str) -> None:
    found = decode({"apiVersion": version, "kind": "Ingress", "metadata": {"name": "web"}})
    assert isinstance(found, Undecodable)
    assert found.version
    assert found.key == ObjectKey("Ingress", "default", "web")
    assert right in found.remedy


def test_unknown_fields_are_passed_over() -> None:
    found = decode(ingress({"rules": [], "somethingNew": {"a": 1}}))
    assert isinstance(found, Ingress)


def test_the_same_bytes_from_an_api_server_give_the_same_object() -> None:
    document = ingress({"ingressClassName": "python", "rules": [{"host": "a.test"}]})
    document["metadata"] = {"name": "web", "namespace": "default", "managedFields": [{}]}
    assert msgspec.json.decode(msgspec.json.encode(document), type=Ingress) == decode(document)


def test_a_secret_prints_without_its_values() -> None:
    secret = Secret(ObjectMeta("s", "default"), data={"tls.key": "aGlkZGVu"})
    assert "aGlkZGVu" not in f"{secret} {secret!r}"
    assert "tls.key=<redacted>" in repr(secret)


def test_objects_without_a_time_are_the_oldest() -> None:
    document = service(creationTimestamp="1970-01-01T00:00:00Z")
    old = decode(document)
    assert not isinstance(old, Undecodable | None)
    assert age_key(ObjectMeta("z", "z")) < age_key(old.metadata)
    assert age_key(ObjectMeta("a", "z")) < age_key(ObjectMeta("b", "z"))
    assert age_key(ObjectMeta("b", "a")) < age_key(ObjectMeta("a", "b"))


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (ObjectKey("Ingress", "shop", "web"), "Ingress shop/web"),
        (ObjectKey("IngressClass", "", "x"), "IngressClass x"),
    ],
)
def test_a_key_reads_as_kind_namespace_name(key: ObjectKey, shown: str) -> None:
    assert str(key) == shown
