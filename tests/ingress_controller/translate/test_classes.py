"""Which Ingresses are ours: the table of `translate.classes`, row by row (types.go, KEP-1453)."""

import pytest

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name, ObjectChange, key_of
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Standing, Translation, Translator
from tests.ingress_controller.translate.manifest import (
    codes,
    objects,
    only,
    outcome,
    service,
    translated,
)

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


def test_field_and_annotation_that_say_the_same_are_fine() -> None:
    translation = translated(made(field="python", annotation="python"))
    assert served(translation)
    assert "class-contradictory" not in codes(translation)


def test_several_controllers_are_served_side_by_side() -> None:
    classes = ingress_class("x", OURS) + ingress_class("z", THEIRS)
    for name in ("x", "z"):
        assert served(translated(made(field=name) + classes, NGINX))
    assert not served(translated(made(field="x") + classes, Options(controllers=(THEIRS,))))


def test_an_instance_leaves_the_classes_of_others_alone() -> None:
    """Three instances of ours in one cluster, each with a controller of its own."""
    names = ("a", "b", "c")
    text = "".join(
        made(field=name).replace("name: web}\nspec: {ingress", f"name: {name}}}\nspec: {{ingress")
        + ingress_class(name, f"{OURS}-{name}")
        for name in names
    )
    for name in names:
        translator = Translator(Options(ingress_classes=(), controllers=(f"{OURS}-{name}",)))
        translator.update(put(text))
        owners = {
            each: standing.owner
            for each in names
            if (standing := translator.standing(Name("default", each))) is not None
        }
        assert owners == {each: "ours" if each == name else "others" for each in names}


def test_annotations_of_ingress_nginx_are_read_when_its_class_is_taken_over() -> None:
    """Under its own names, as they stand on Ingresses that move."""
    note = ', annotations: {nginx.ingress.kubernetes.io/backend-protocol: "HTTPS"}'
    text = made(field="nginx").replace(
        "metadata: {name: web}\nspec: {in", f"metadata: {{name: web{note}}}\nspec: {{in"
    )
    translation = translated(text + ingress_class("nginx", THEIRS), NGINX)
    (upstream,) = translation.snapshot.upstreams.values()
    assert upstream.protocol == "https"


def put(text: str) -> list[ObjectChange]:
    return [ObjectChange(key_of(item), item) for item in objects(text)]


def gone(name: str) -> list[ObjectChange]:
    return [ObjectChange(ObjectKey("IngressClass", "", name), None)]


@pytest.fixture
def translator() -> Translator:
    """As in a cluster, where only IngressClass objects say what is ours."""
    found = Translator(Options(ingress_classes=()))
    found.update(put(made(field="x")))
    found.take_touched()
    return found


WEB = Name("default", "web")


def owner(translator: Translator) -> str:
    standing = translator.standing(WEB)
    assert standing is not None
    assert translator.served(WEB) is (standing.owner == "ours")
    assert (outcome(translator.snapshot, "x.test", "/") == "web") is (standing.owner == "ours")
    return standing.owner


def test_a_class_may_come_go_and_come_back_as_somebody_elses(translator: Translator) -> None:
    """Its controller is immutable, but an object of its name may be made anew."""
    assert owner(translator) == "nobody"
    translator.update(put(ingress_class("x", OURS)))
    assert owner(translator) == "ours"
    translator.update(put(ingress_class("x", THEIRS)))
    assert owner(translator) == "others"
    translator.update(put(ingress_class("x", OURS)))
    assert owner(translator) == "ours"


def test_a_class_that_goes_takes_its_ingresses_along(translator: Translator) -> None:
    translator.update(put(ingress_class("x", OURS)))
    translator.take_touched()
    assert translator.update(gone("x")) is not None
    assert translator.take_touched() == {WEB}
    assert translator.standing(WEB) == Standing("", "nobody")
    assert outcome(translator.snapshot, "x.test", "/") == "404"


def test_a_default_class_adopts_what_was_there_before_it(translator: Translator) -> None:
    """The API server names it in new Ingresses only."""
    translator.update(put(made()))
    assert translator.standing(WEB) == Standing("", "nobody")
    translator.update(put(ingress_class("x", OURS)))
    assert translator.standing(WEB) == Standing("", "nobody")
    translator.update(put(ingress_class("x", OURS, default="true")))
    assert translator.standing(WEB) == Standing("", "ours")
    translator.update(gone("x"))
    assert translator.standing(WEB) == Standing("", "nobody")


def test_an_ingress_that_is_made_anew_has_another_uid() -> None:
    translator = Translator(Options())
    for uid in ("1", "2"):
        text = made(field="python").replace(
            "name: web}\nspec: {in", f'name: web, uid: "{uid}"}}\nspec: {{in'
        )
        translator.update(put(text))
        assert translator.standing(WEB) == Standing(uid, "ours")
        assert WEB in translator.take_touched()
    translator.update([ObjectChange(ObjectKey("Ingress", *WEB), None)])
    assert translator.standing(WEB) is None
