"""Options in ConfigMaps: of --config, and of a class."""

from pathlib import Path

import msgspec
import pytest

from ingress_controller.objects.config import ConfigMap
from ingress_controller.objects.meta import ObjectKey, ObjectMeta
from ingress_controller.store import ObjectChange, key_of
from ingress_controller.translate.config import MAX_UNKNOWN, ROWS, ClassSettings, read_config
from ingress_controller.translate.config_page import page
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translation, Translator, translate
from router.model.snapshot import HttpsRules, Terminate
from tests.ingress_controller.translate.manifest import codes, matched, objects, only
from tests.ingress_controller.translate.tls_objects import https_options

BASE = ClassSettings.of(Options())


def config_map(name: str = "options", namespace: str = "edge", **data: str) -> ConfigMap:
    return ConfigMap(
        ObjectMeta(name, namespace), {key.replace("_", "-"): text for key, text in data.items()}
    )


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"ssl_redirect": "false"}, {"ssl_redirect": False}, id="ssl-redirect"),
        pytest.param({"force_ssl_redirect": "true"}, {"force_ssl_redirect": True}, id="force"),
        pytest.param({"tls_profile": "modern"}, {"tls_profile": "modern"}, id="profile"),
        pytest.param(
            {"hsts": "true"}, {"hsts": "max-age=31536000; includeSubDomains"}, id="hsts alone"
        ),
        pytest.param(
            {"hsts_max_age": "60", "hsts_include_subdomains": "false", "hsts_preload": "true"},
            {"hsts": "max-age=60; preload"},
            id="hsts in detail",
        ),
        pytest.param({"hsts": "false", "hsts_max_age": "60"}, {"hsts": ""}, id="no hsts"),
        pytest.param({"ssl_redirect": " false\n"}, {"ssl_redirect": False}, id="blanks around"),
    ],
)
def test_keys_replace_what_the_flags_say(data: dict[str, str], changed: dict[str, object]) -> None:
    read = read_config(config_map(**data), BASE)
    assert read.settings == msgspec.structs.replace(BASE, **changed)
    assert read.diagnostics == ()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("text", ["", "nonsense", "-1", "\0", "9" * 400])
def test_a_value_that_cannot_be_read_leaves_the_option_as_it_is(row, text: str) -> None:  # type: ignore[no-untyped-def] # a row of the table
    read = read_config(ConfigMap(ObjectMeta("c", "edge"), {row.name: text}), BASE)
    assert read.settings == BASE
    (found,) = read.diagnostics
    assert (found.code, found.severity, found.field) == (
        "option-invalid",
        "error",
        f"data[{row.name}]",
    )
    assert found.object == ObjectKey("ConfigMap", "edge", "c")
    assert found.consequence == "the option is what it is without this key"


def test_a_key_that_is_no_option_is_said_with_the_one_that_was_meant() -> None:
    read = read_config(config_map(ssl_redirects="true", use_http2="true"), BASE)
    first, second = read.diagnostics
    assert (first.code, first.field) == ("option-unknown", "data[ssl-redirects]")
    assert first.remedy == "write ssl-redirect, or remove it"
    assert "docs/configmap.md" in second.remedy


def test_thousands_of_unknown_keys_are_counted() -> None:
    data = {f"key-{number}": "" for number in range(5000)}
    read = read_config(ConfigMap(ObjectMeta("c", "edge"), data), BASE)
    assert len(read.diagnostics) == MAX_UNKNOWN + 1
    assert read.diagnostics[-1].message == f"{5000 - MAX_UNKNOWN} more keys are no options"


def test_the_committed_page_is_what_the_program_prints() -> None:
    assert (Path(__file__).parents[3] / "docs/configmap.md").read_text() == page()


# -- what becomes of it

INGRESSES = "".join(
    f"""
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, annotations: {{{note}}}}}
spec:
  ingressClassName: {cls}
  defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}
  rules: [{{host: {name}.test}}]
  tls: [{{hosts: [{name}.test], secretName: s}}]
"""
    for name, cls, note in (
        ("plain", "python", ""),
        ("classy", "special", ""),
        ("own", "special", 'python-ingress.dev/ssl-redirect: "true"'),
    )
)
CLASS = """
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: special}
spec:
  controller: python-ingress.dev/controller
  parameters: {kind: ConfigMap, scope: Namespace, namespace: edge, name: special}
"""
SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
"""
HTTPS = msgspec.structs.replace(https_options(), config="edge/options")


def rules(translation: Translation | Translator, host: str) -> HttpsRules | None:
    route = matched(translation.snapshot, f"{host}.test", "/")
    assert route is not None
    return route.https


def made(text: str, *maps: ConfigMap, options: Options = HTTPS) -> Translation:
    return translate([*objects(INGRESSES + SERVICE + text), *maps], options)


def test_annotation_class_config_and_flags_count_in_this_order() -> None:
    options = msgspec.structs.replace(HTTPS, hsts="max-age=1")
    general = config_map(ssl_redirect="false")
    special = config_map("special", hsts_max_age="5", hsts_include_subdomains="false")
    translation = made(CLASS, general, special, options=options)
    assert rules(translation, "plain") == HttpsRules(redirect=False, hsts="max-age=1")
    assert rules(translation, "classy") == HttpsRules(redirect=False, hsts="max-age=5")
    assert rules(translation, "own") == HttpsRules(redirect=True, hsts="max-age=5")


def test_the_profile_of_a_class_is_that_of_its_hosts_alone() -> None:
    names = made(
        CLASS, config_map(), config_map("special", tls_profile="modern")
    ).snapshot.server_names["default"]
    profiles = {
        name: each.policy.profile for name, each in names.items() if isinstance(each, Terminate)
    }
    assert profiles == {
        "": "intermediate",
        "plain.test": "intermediate",
        "classy.test": "modern",
        "own.test": "modern",
    }


def test_the_profile_of_config_is_that_of_unknown_names_too() -> None:
    names = made("", config_map(tls_profile="modern")).snapshot.server_names["default"]
    assert {each.policy.profile for each in names.values() if isinstance(each, Terminate)} == {
        "modern"
    }


def test_hosts_without_tls_are_redirected_when_the_class_says_so() -> None:
    text = INGRESSES.replace("tls:", "x:") + CLASS + SERVICE
    special = config_map("special", force_ssl_redirect="true")
    translation = translate([*objects(text), special], HTTPS)
    assert rules(translation, "classy") == HttpsRules(redirect=True)
    assert rules(translation, "plain") is None


def test_a_missing_config_leaves_the_flags() -> None:
    translation = made("")
    assert rules(translation, "plain") == HttpsRules(redirect=True)
    found = only(translation, "config-missing")
    assert found.object == ObjectKey("ConfigMap", "edge", "options")


def test_missing_parameters_leave_what_config_and_flags_say() -> None:
    translation = made(CLASS, config_map(ssl_redirect="false"))
    assert rules(translation, "classy") == HttpsRules(redirect=False)
    found = only(translation, "class-parameters-missing")
    assert found.object == ObjectKey("IngressClass", "", "special")
    assert found.message == "there is no ConfigMap edge/special"


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        pytest.param("{kind: ConfigMap, name: special}", "scope", id="the default scope"),
        pytest.param("{kind: ConfigMap, name: special, scope: Cluster}", "scope", id="cluster"),
        pytest.param(
            "{kind: ConfigMap, name: special, scope: Namespace}", "namespace", id="no namespace"
        ),
        pytest.param("{apiGroup: example.com, kind: Settings, name: s}", "kind", id="another kind"),
        pytest.param(
            "{apiGroup: example.com, kind: ConfigMap, name: s}", "kind", id="another group"
        ),
    ],
)
def test_parameters_that_are_no_config_map_have_no_effect(parameters: str, field: str) -> None:
    text = CLASS.partition("  parameters:")[0] + f"  parameters: {parameters}\n"
    translation = made(text, config_map(), config_map("special", ssl_redirect="false"))
    assert rules(translation, "classy") == HttpsRules(redirect=True)
    found = only(translation, "class-parameters-invalid")
    assert found.field == f"spec.parameters.{field}"


def test_parameters_of_a_foreign_class_are_not_read() -> None:
    text = CLASS.replace("python-ingress.dev/controller", "example.com/other")
    translation = made(text, config_map(), config_map("special", nonsense="x"))
    assert not {"option-unknown", "class-parameters-missing"} & set(codes(translation))


def test_one_config_map_of_two_classes_is_said_once() -> None:
    text = CLASS + CLASS.replace("{name: special}", "{name: other}")
    translation = made(text, config_map(), config_map("special", nonsense="x"))
    assert codes(translation).count("option-unknown") == 1


def test_adopted_ingresses_have_the_options_of_the_default_class() -> None:
    key = "ingressclass.kubernetes.io/is-default-class"
    text = CLASS.replace("{name: special}", f'{{name: special, annotations: {{{key}: "true"}}}}')
    classless = INGRESSES.replace("  ingressClassName: python\n", "")
    special = config_map("special", ssl_redirect="false")
    translation = translate([*objects(classless + SERVICE + text), special, config_map()], HTTPS)
    assert rules(translation, "plain") == HttpsRules(redirect=False)


def put(*items: ConfigMap) -> list[ObjectChange]:
    return [ObjectChange(key_of(item), item) for item in items]


def test_a_change_concerns_the_ingresses_of_the_class_alone() -> None:
    translator = Translator(HTTPS)
    translator.update(ObjectChange(key_of(i), i) for i in objects(INGRESSES + SERVICE + CLASS))
    translator.update(put(config_map(), config_map("special")))
    translator.take_touched()
    delta = translator.update(put(config_map("special", ssl_redirect="false")))
    assert delta is not None
    assert set(delta.hosts["default"]) == {"classy.test"}
    assert delta.server_names == {}
    assert {name.name for name in translator.take_touched()} == {"classy", "own"}
    assert translator.update(put(config_map("special", ssl_redirect="no"))) is not None
    assert rules(translator, "classy") == HttpsRules(redirect=True)
    assert "option-invalid" in {each.code for each in translator.diagnostics}
    assert translator.update(put(config_map("stranger", ssl_redirect="false"))) is None
    gone = ObjectChange(ObjectKey("ConfigMap", "edge", "options"), None)
    assert translator.update([gone]) is None
    assert "config-missing" in {each.code for each in translator.diagnostics}


def test_config_maps_that_are_named_are_wanted() -> None:
    translator = Translator(HTTPS)
    general = ObjectKey("ConfigMap", "edge", "options")
    assert translator.wanted == {general}
    translator.update(ObjectChange(key_of(item), item) for item in objects(CLASS))
    assert translator.wanted == {general, ObjectKey("ConfigMap", "edge", "special")}
    translator.update([ObjectChange(ObjectKey("IngressClass", "", "special"), None)])
    assert translator.wanted == {general}
