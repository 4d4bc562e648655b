"""A host belongs to one namespace, where hosts are not shared."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import ObjectChange, key_of
from ingress_controller.translate.diagnostics import Diagnostic
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translation, Translator, translate
from router.model.snapshot import Snapshot
from tests.ingress_controller.translate.manifest import (
    backend,
    codes,
    objects,
    only,
    outcome,
    path,
    rule,
    service,
)

APART = Options(allow_shared_hosts=False)
ALLOW = "python-ingress.dev/allow-hosts-from"


def made(
    name: str,
    namespace: str,
    age: int,
    *rules: str,
    extra: str = "",
    more: str = "",
    note: str = "",
) -> str:
    """An Ingress of our class, made ``age`` seconds after the others."""
    notes = f', annotations: {{{ALLOW}: "{note}"}}' if note else ""
    parts = [f"rules: [{', '.join(rules)}]"] if rules else []
    parts += [extra] if extra else []
    return (
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n"
        f'metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "2026-01-01T00:00:'
        f'{age:02}Z"{notes}{more}}}\n'
        f"spec: {{ingressClassName: python, {', '.join(parts)}}}\n"
    )


def all_of(host: str, name: str) -> str:
    """A rule that sends everything to a Service."""
    return rule(host, path("Prefix", "/", name))


SERVICES = service("red", ns="red") + service("blue", ns="blue") + service("blue", ns="red")
RED = made("a", "red", 1, all_of("shop.test", "red"))
BLUE = made("b", "blue", 2, rule("shop.test", path("Prefix", "/admin", "blue")))


def apart(*texts: str, options: Options = APART) -> Translation:
    return translate(objects(SERVICES + "".join(texts)), options)


def said(translation: Translation) -> list[str]:
    """All codes, but for the missing endpoints."""
    return [code for code in codes(translation) if code != "service-without-endpoints"]


def test_another_namespace_gets_no_path_of_a_host_that_is_not_its_own() -> None:
    translation = apart(RED, BLUE)
    assert outcome(translation.snapshot, "shop.test", "/admin") == "red"
    found = only(translation, "host-owned")
    assert found.object == ObjectKey("Ingress", "blue", "b")
    assert (found.severity, found.field) == ("error", "spec.rules[0].host")
    assert "host shop.test belongs to namespace red: its Ingress a is older" in found.message


def test_shared_hosts_are_merged() -> None:
    translation = apart(RED, BLUE, options=Options(allow_shared_hosts=True))
    assert outcome(translation.snapshot, "shop.test", "/admin") == "blue"
    assert said(translation) == []


def test_ingresses_of_one_namespace_share_a_host() -> None:
    """As cert-manager's solver does, in the namespace of the Certificate."""
    young = made("z", "red", 9, rule("shop.test", path("Exact", "/x", "blue")))
    translation = apart(RED, BLUE, young)
    assert outcome(translation.snapshot, "shop.test", "/x") == "blue"
    assert said(translation) == ["host-owned"]


def test_only_the_host_is_lost_not_the_ingress() -> None:
    both = made("b", "blue", 2, all_of("shop.test", "blue"), all_of("other.test", "blue"))
    translation = apart(RED, both)
    assert outcome(translation.snapshot, "shop.test", "/") == "red"
    assert outcome(translation.snapshot, "other.test", "/") == "blue"


def test_a_default_backend_does_not_reach_a_host_that_is_not_its_own() -> None:
    bounded = made("a", "red", 1, rule("shop.test", path("Prefix", "/a", "red")))
    default = made("b", "blue", 2, rule("shop.test"), extra=f"defaultBackend: {backend('blue')}")
    translation = apart(bounded, default)
    assert outcome(translation.snapshot, "shop.test", "/b") == "404"


def changed(translator: Translator, *texts: str) -> Snapshot:
    translator.update([ObjectChange(key_of(each), each) for each in objects("".join(texts))])
    return translator.snapshot


def test_the_next_one_takes_over_and_keeps_the_host() -> None:
    translator = Translator(APART)
    whole = made("b", "blue", 2, all_of("shop.test", "blue"))
    assert outcome(changed(translator, SERVICES, RED, whole), "shop.test", "/") == "red"
    translator.update([ObjectChange(ObjectKey("Ingress", "red", "a"), None)])
    assert outcome(translator.snapshot, "shop.test", "/") == "blue"
    assert [each.code for each in translator.diagnostics if each.severity != "hint"] == []
    again = made("a", "red", 5, all_of("shop.test", "red"))
    assert outcome(changed(translator, again), "shop.test", "/") == "blue"
    (found,) = [each for each in translator.diagnostics if each.severity != "hint"]
    assert (found.code, found.object) == ("host-owned", ObjectKey("Ingress", "red", "a"))


def test_a_name_in_tls_alone_owns_nothing() -> None:
    """Else an Ingress that serves nothing could keep the owner of a name away."""
    squatter = made("s", "blue", 0, extra="tls: [{hosts: [shop.test], secretName: s}]")
    translation = apart(RED, squatter, options=Options(allow_shared_hosts=False, https=True))
    assert outcome(translation.snapshot, "shop.test", "/") == "red"
    found = only(translation, "host-owned")
    assert found.field == "spec.tls[0].hosts[0]"
    assert "has rules for it, not only spec.tls" in found.message


WILD = made("w", "red", 3, all_of("*.shop.test", "red"))
WILD_ALLOWS = made("w", "red", 3, all_of("*.shop.test", "red"), note="green, blue")
BELOW_OLD = made("x", "blue", 2, all_of("api.shop.test", "blue"))
BELOW_YOUNG = made("x", "blue", 4, all_of("api.shop.test", "blue"))
BELOW_OWN = made("own", "red", 5, all_of("api.shop.test", "blue"))


@pytest.mark.parametrize(
    ("texts", "serves"),
    [
        pytest.param([WILD, BELOW_YOUNG], "red", id="the wildcard was first"),
        pytest.param([WILD, BELOW_OLD], "blue", id="the precise host was first"),
        pytest.param([WILD_ALLOWS, BELOW_YOUNG], "blue", id="the wildcard's owner lets it in"),
        pytest.param([WILD, BELOW_OWN], "blue", id="the same namespace"),
        pytest.param(
            [made("w", "red", 3, all_of("*.shop.test", "red"), note="*"), BELOW_YOUNG],
            "blue",
            id="it lets everybody in",
        ),
        pytest.param(
            [made("w", "red", 3, all_of("*.shop.test", "red"), note="green"), BELOW_YOUNG],
            "red",
            id="it lets another one in",
        ),
        pytest.param(
            [WILD, made("v", "red", 9, rule("*.shop.test"), note="blue"), BELOW_YOUNG],
            "blue",
            id="any Ingress of the owner may let in",
        ),
        pytest.param(
            [WILD, made("v", "green", 9, rule("*.shop.test"), note="blue"), BELOW_YOUNG],
            "red",
            id="nobody else may",
        ),
        pytest.param(
            [
                WILD,
                BELOW_OLD,
                made("x2", "blue", 8, rule("api.shop.test", path("Exact", "/", "z"))),
            ],
            "503",
            id="a young Ingress of a namespace that was first",
        ),
        pytest.param([WILD, BELOW_YOUNG, BELOW_OWN], "blue", id="the owner's own rules are young"),
        pytest.param(
            [
                made("t", "red", 1, extra="tls: [{hosts: ['*.shop.test'], secretName: s}]"),
                BELOW_YOUNG,
            ],
            "blue",
            id="a wildcard in tls alone",
        ),
    ],
)
def test_hosts_below_a_wildcard(texts: list[str], serves: str) -> None:
    for order in (texts, texts[::-1]):
        translator = Translator(Options(allow_shared_hosts=False, https=True))
        changed(translator, SERVICES)
        for text in order:
            changed(translator, text)
        assert outcome(translator.snapshot, "api.shop.test", "/") == serves


def test_a_host_below_a_wildcard_is_told_how_to_be_let_in() -> None:
    found = only(apart(WILD, BELOW_YOUNG), "host-owned")
    assert found.object == ObjectKey("Ingress", "blue", "x")
    assert "below *.shop.test, which belongs to namespace red: its Ingress w is older" in (
        found.message
    )
    assert f"{ALLOW}: blue put on Ingress red/w" in found.remedy


def test_hosts_below_a_wildcard_come_to_life_when_it_goes() -> None:
    translator = Translator(APART)
    changed(translator, SERVICES, WILD, BELOW_YOUNG)
    translator.update([ObjectChange(ObjectKey("Ingress", "red", "w"), None)])
    assert outcome(translator.snapshot, "api.shop.test", "/") == "blue"
    young = made("w", "red", 8, all_of("*.shop.test", "red"))
    assert outcome(changed(translator, young), "api.shop.test", "/") == "blue"
    assert outcome(translator.snapshot, "www.shop.test", "/") == "red"


CATCH_ALL = Options(catch_all_namespaces=("red", "edge"))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({"rules": [all_of("", "blue")]}, "spec.rules[0]", id="a rule without host"),
        pytest.param({"extra": f"defaultBackend: {backend('blue')}"}, "spec.defaultBackend"),
    ],
)
def test_only_some_namespaces_may_take_every_host(spec: dict[str, str], field: str) -> None:
    rules, extra = spec.get("rules", ()), spec.get("extra", "")
    other = made("b", "blue", 1, *rules, extra=extra)
    translation = apart(other, options=CATCH_ALL)
    assert outcome(translation.snapshot, "any.test", "/") == "404"
    found = only(translation, "catch-all-refused")
    assert (found.object.name, found.field) == ("b", field)
    assert outcome(apart(other).snapshot, "any.test", "/") == "blue"
    mine = made("a", "red", 9, *rules, extra=extra)
    translation = apart(other, mine, options=CATCH_ALL)
    assert outcome(translation.snapshot, "any.test", "/") == "blue"  # namespace red's Service
    assert said(translation) == ["catch-all-refused"]


def test_a_host_by_name_needs_no_permission() -> None:
    translation = apart(made("b", "blue", 1, all_of("b.test", "blue")), options=CATCH_ALL)
    assert outcome(translation.snapshot, "b.test", "/") == "blue"


def test_every_host_is_owned_by_one_namespace_too() -> None:
    first = made("a", "red", 1, all_of("", "red"))
    second = made("b", "blue", 2, rule("", path("Prefix", "/b", "blue")))
    translation = apart(first, second)
    assert outcome(translation.snapshot, "any.test", "/b") == "red"
    assert "every host that nobody names" in only(translation, "host-owned").message


NAMESPACES = ("blue", "green", "red")
HOSTS = ("a.test", "*.test", "b.a.test", "*.a.test", "")
claims = st.fixed_dictionaries(
    {
        "namespace": st.sampled_from(NAMESPACES),
        "age": st.integers(0, 5),
        "hosts": st.lists(st.sampled_from(HOSTS), unique=True, max_size=3),
        "tls": st.lists(st.sampled_from(HOSTS[:-1]), unique=True, max_size=2),
        "allows": st.sampled_from(["", "", "blue", "*"]),
    }
)


def owners(every: Iterable[dict], host: str) -> set[str]:
    """Whose the host is, in the words of the rules; a slow and obvious second implementation."""
    listed = sorted(every, key=lambda one: (one["age"], one["namespace"], one["name"]))
    with_rules = [one for one in listed if host in one["hosts"]]
    claimants = with_rules + [one for one in listed if host in one["tls"]]
    wildcard = f"*.{host.partition('.')[2]}"
    above = [] if host.startswith("*.") or "." not in host else listed
    above = [one for one in above if wildcard in one["hosts"]]
    for one in claimants:
        if above and above[0]["namespace"] != one["namespace"]:
            first = above[0]
            allowed = {each["allows"] for each in above if each["namespace"] == first["namespace"]}
            older = (first["age"], first["namespace"]) < (one["age"], one["namespace"])
            if older and not {one["namespace"], "*"} & allowed:
                continue
        return {one["namespace"]}
    return set()


@given(st.lists(claims, max_size=6))
@settings(max_examples=300, deadline=None)
def test_each_host_belongs_to_whom_the_rules_say(every: list[dict]) -> None:
    texts = []
    for index, one in enumerate(every):
        one["name"] = f"i{index}"
        hosts = ", ".join(f"'{host}'" for host in one["tls"])
        rules = [all_of(host, "web") for host in one["hosts"]]
        tls = f"tls: [{{hosts: [{hosts}], secretName: s}}]" if hosts else "tls: []"
        texts.append(
            made(one["name"], one["namespace"], one["age"], *rules, extra=tls, note=one["allows"])
        )
    options = Options(allow_shared_hosts=False, https=True)
    snapshot, diagnostics = translate(objects("".join(texts)) if texts else [], options)
    for host in HOSTS:
        found = snapshot.hosts["default"].get(host)
        served = set() if found is None else {route.origin.namespace for route in found.routes}
        expected = owners(every, host)
        with_rules = {one["namespace"] for one in every if host in one["hosts"]}
        assert served == expected & with_rules
        claimed = {one["namespace"] for one in every if host in (*one["hosts"], *one["tls"])}
        assert {each.object.namespace for each in _about(diagnostics, host)} == claimed - expected


def _about(diagnostics: Iterable[Diagnostic], host: str) -> list[Diagnostic]:
    shown = f"host {host} " if host else "every host that nobody names "
    return [
        each for each in diagnostics if each.code == "host-owned" and each.message.startswith(shown)
    ]


def test_the_place_in_a_refused_ingress_follows_its_rules() -> None:
    translator = Translator(APART)
    changed(translator, SERVICES, RED, BLUE)
    moved = made(
        "b",
        "blue",
        2,
        all_of("new.test", "blue"),
        rule("shop.test", path("Prefix", "/admin", "blue")),
    )
    changed(translator, moved)
    (found,) = [each for each in translator.diagnostics if each.code == "host-owned"]
    assert found.field == "spec.rules[1].host"
