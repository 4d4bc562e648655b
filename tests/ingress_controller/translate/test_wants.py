"""What must be watched because an object names it, and whom a diagnostic about it concerns."""

import msgspec
import pytest

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import ObjectChange, key_of
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translator
from tests.ingress_controller.translate.manifest import (
    ingress,
    objects,
    path,
    rule,
    service,
    slices,
)
from tests.ingress_controller.translate.tls_objects import https_options

OURS = "python-ingress.dev/"
NAMED = (
    service("web")
    + slices("web", "{addresses: [10.0.0.1]}")
    + ingress(
        "tls",
        f"rules: [{rule('a.test', path('Prefix', '/'))}], "
        "tls: [{hosts: [a.test], secretName: pair}, {hosts: [b.test], secretName: other}, "
        "{hosts: [c.test]}]",
    )
    + ingress(
        "clients",
        f"rules: [{rule('c.test', path('Prefix', '/'))}]",
        extra=f"annotations: {{{OURS}auth-tls-configmap: ca}}",
    )
    + ingress(
        "backends",
        f"rules: [{rule('d.test', path('Prefix', '/'))}]",
        extra=f"annotations: {{{OURS}proxy-ssl-secret: pair}}",
    )
)


def put(text: str) -> list[ObjectChange]:
    return [ObjectChange(key_of(item), item) for item in objects(text)]


def key(kind: str, name: str, namespace: str = "default") -> ObjectKey:
    return ObjectKey(kind, namespace, name)


@pytest.fixture
def translator() -> Translator:
    options = msgspec.structs.replace(https_options(), default_tls_secret="edge/default")
    made = Translator(options)
    made.update(put(NAMED))
    return made


def test_what_ingresses_and_options_name_is_wanted(translator: Translator) -> None:
    assert translator.wanted == {
        key("Secret", "default", "edge"),
        key("Secret", "pair"),
        key("Secret", "other"),
        key("ConfigMap", "ca"),
    }


def test_what_nobody_names_any_more_is_not_wanted(translator: Translator) -> None:
    before = translator.wanted
    translator.update(put(slices("web", "{addresses: [10.0.0.2]}") + service("x")))
    assert translator.wanted is before
    translator.update([ObjectChange(key("Ingress", "tls"), None)])
    assert translator.wanted == before - {key("Secret", "other")}
    translator.update([ObjectChange(key("Ingress", "backends"), None)])
    translator.update([ObjectChange(key("Ingress", "clients"), None)])
    assert translator.wanted == {key("Secret", "default", "edge")}


def test_foreign_ingresses_want_nothing(translator: Translator) -> None:
    translator.update(put(NAMED.replace("ingressClassName: python", "ingressClassName: other")))
    assert translator.wanted == {key("Secret", "default", "edge")}


def test_without_https_only_secrets_for_backends_are_wanted() -> None:
    translator = Translator(Options())
    translator.update(put(NAMED))
    assert translator.wanted == {key("Secret", "pair")}


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        pytest.param(key("Secret", "pair"), ["backends", "tls"], id="a Secret that two name"),
        pytest.param(key("Secret", "other"), ["tls"], id="a Secret that one names"),
        pytest.param(key("Secret", "unknown"), [], id="a Secret that nobody names"),
        pytest.param(key("Secret", "default", "edge"), [], id="the default certificate"),
        pytest.param(key("ConfigMap", "ca"), ["clients"], id="a ConfigMap"),
        pytest.param(key("Service", "web"), ["backends", "clients", "tls"], id="a Service"),
        pytest.param(key("Service", "unknown"), [], id="a Service that nobody names"),
        pytest.param(key("EndpointSlice", "web-x"), ["backends", "clients", "tls"], id="a slice"),
        pytest.param(key("EndpointSlice", "gone"), [], id="a slice that is gone"),
        pytest.param(key("Endpoints", "web"), ["backends", "clients", "tls"], id="Endpoints"),
        pytest.param(key("Ingress", "tls"), ["tls"], id="the Ingress itself"),
        pytest.param(key("Ingress", "unknown"), [], id="an Ingress that is not ours"),
        pytest.param(ObjectKey("IngressClass", "", "python"), [], id="a class"),
        pytest.param(ObjectKey("File", "", "x.yaml"), [], id="a file"),
    ],
)
def test_a_diagnostic_concerns_the_ingresses_that_name_its_object(
    translator: Translator, about: ObjectKey, expected: list[str]
) -> None:
    assert translator.ingresses_about(about) == tuple(key("Ingress", name) for name in expected)
