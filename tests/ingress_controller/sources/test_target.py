"""Where in the API things are read."""

import pytest

from ingress_controller.sources.target import Target, is_name


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (Target("Service"), "/api/v1/services", {}),
        (Target("Secret", "a"), "/api/v1/namespaces/a/secrets", {}),
        (
            Target("Secret", selector="type=kubernetes.io/tls"),
            "/api/v1/secrets",
            {"fieldSelector": "type=kubernetes.io/tls"},
        ),
        (
            Target("ConfigMap", "a", "b"),
            "/api/v1/namespaces/a/configmaps",
            {"fieldSelector": "metadata.name=b"},
        ),
        (Target("IngressClass"), "/apis/networking.k8s.io/v1/ingressclasses", {}),
        (Target("Ingress", "a"), "/apis/networking.k8s.io/v1/namespaces/a/ingresses", {}),
        (Target("EndpointSlice"), "/apis/discovery.k8s.io/v1/endpointslices", {}),
    ],
)
def test_a_target_has_a_path_and_a_selector(
    target: Target, path: str, query: dict[str, str]
) -> None:
    assert target.path == path
    assert target.query == query


def test_a_target_is_called_as_people_would() -> None:
    assert str(Target("Secret", "a", "b")) == "Secret a/b"
    assert str(Target("Secret", "a")) == "secrets in namespace a"
    assert str(Target("Secret")) == "secrets"


@pytest.mark.parametrize("text", ["a", "a-b", "a.b", "0", "a" * 253])
def test_names_are_what_the_api_takes(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "-a", "a-", "A", "a/b", "a b", "a,b", "a=b", "a\n", "é", "a" * 254]
)
def test_other_texts_are_no_names(text: str) -> None:
    assert not is_name(text)
