"""Which Ingresses are ours: the table of `translate.classes`, row by row (types.go, KEP-1453)."""

import pytest

from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translation
from tests.ingress_controller.translate.manifest import codes, only, outcome, service, translated

BACKEND = "defaultBackend: {service: {name: web, port: {number: 80}}}"


def made(*, field: str = "", annotation: str = "") -> str:
    notes = f", annotations: {{kubernetes.io/ingress.class: {annotation}}}" if annotation else ""
    name = f"ingressClassName: {field}, " if field else ""
    return service("web") + (
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n"
        f"metadata: {{name: web{notes}}}\nspec: {{{name}{BACKEND}}}\n"
    )


def ingress_class(name: str, controller: str, *, default: str = "") -> str:
    key = "ingressclass.kubernetes.io/is-default-class"
    notes = f', annotations: {{{key}: "{default}"}}' if default else ""
    return (
        "---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\n"
        f"metadata: {{name: {name}{notes}}}\nspec: {{controller: {controller}}}\n"
    )


OURS = "python-ingress.dev/controller"
THEIRS = "k8s.io/ingress-nginx"
NGINX = Options(ingress_classes=("nginx",), controllers=(OURS, THEIRS))
ADOPT = Options(watch_ingress_without_class=True)


def served(translation: Translation) -> bool:
    return outcome(translation.snapshot, "x.test", "/") == "web"


@pytest.mark.parametrize(
    ("manifests", "options", "expected"),
    [
        pytest.param(made(field="python"), Options(), True, id="our name, no object"),
        pytest.param(made(annotation="python"), Options(), True, id="our name by annotation"),
        pytest.param(made(field="x") + ingress_class("x", OURS), Options(), True, id="our object"),
        pytest.param(
            made(annotation="x") + ingress_class("x", OURS), Options(), True, id="by annotation"
        ),
        pytest.param(
            made(field="x") + ingress_class("x", THEIRS), Options(), False, id="their object"
        ),
        pytest.param(
            made(field="python") + ingress_class("python", THEIRS),
            Options(),
            False,
            id="our name, their object",
        ),
        pytest.param(made(field="nginx"), Options(), False, id="their name, no object"),
        pytest.param(made(annotation="nginx"), Options(), False, id="their name by annotation"),
        pytest.param(made(field="nginx"), NGINX, True, id="a name taken over"),
        pytest.param(
            made(field="x") + ingress_class("x", THEIRS), NGINX, True, id="a controller taken over"
        ),
        pytest.param(made(field="python", annotation="nginx"), Options(), True, id="field counts"),
        pytest.param(made(field="nginx", annotation="python"), Options(), False, id="field counts"),
        pytest.param(made(), Options(), False, id="no class"),
        pytest.param(made(), ADOPT, True, id="no class, adopted"),
        pytest.param(
            made() + ingress_class("x", OURS, default="true"), Options(), True, id="our default"
        ),
        pytest.param(
            made() + ingress_class("x", OURS, default="True"),
            Options(),
            False,
            id="not exactly true",
        ),
        pytest.param(
            made() + ingress_class("x", THEIRS, default="true"),
            Options(),
            False,
            id="their default",
        ),
        pytest.param(
            made(field="nginx") + ingress_class("x", OURS, default="true"),
            Options(),
            False,
            id="the default is for those without a class",
        ),
        pytest.param(made(field="nginx"), ADOPT, False, id="so is the switch"),
    ],
)
def test_an_ingress_is_ours_by_its_class(manifests: str, options: Options, expected: bool) -> None:
    assert served(translated(manifests, options)) is expected


def test_field_and_annotation_that_differ_are_warned_of() -> None:
    found = only(translated(made(field="python", annotation="nginx")), "class-contradictory")
    assert found.severity == "warning"


def test_a_foreign_class_is_only_hinted_at() -> None:
    translation = translated(made(field="x") + ingress_class("x", THEIRS))
    assert only(translation, "class-foreign").severity == "hint"
    assert translation.snapshot.hosts == {"default": {}}
    assert codes(translation) == ["class-foreign"]


def test_an_unknown_class_is_told_what_would_be_served() -> None:
    translation = translated(made(field="Python") + ingress_class("prod", OURS))
    found = only(translation, "class-unknown")
    assert found.severity == "warning"
    assert found.field == "spec.ingressClassName"
    assert "there is 'python'" in found.message
    assert "'prod' or 'python'" in found.remedy
    assert "--ingress-class 'Python'" in found.remedy


def test_an_ingress_without_class_is_told_how_to_get_one() -> None:
    found = only(translated(made()), "class-missing")
    assert "spec.ingressClassName to 'python'" in found.remedy
    assert "--watch-ingress-without-class" in found.remedy


def test_two_default_classes_are_warned_of_where_they_are_ours() -> None:
    translation = translated(
        made()
        + ingress_class("x", OURS, default="true")
        + ingress_class("z", THEIRS, default="true")
    )
    assert served(translation)
    assert only(translation, "class-default-repeated").object.name == "x"
