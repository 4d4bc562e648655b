"""What answers for a host: certificates, client certificates, passthrough, redirects."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingress_controller.objects.config import Kept, Secret
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import KubernetesObject, ObjectChange, key_of
from ingress_controller.translate import secrets as module
from ingress_controller.translate.expiry import expiring
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translation, Translator, translate
from router.model.snapshot import Answer, Forward, Passthrough, Terminate
from tests.ingress_controller.translate.manifest import (
    codes,
    ingress,
    matched,
    objects,
    only,
    path,
    rule,
    service,
    slices,
)
from tests.ingress_controller.translate.tls_objects import (
    authorities_map,
    authorities_pem,
    https_options,
    issued,
    pair_secret,
    secret,
)

WEB = service("web") + slices("web", "{addresses: [10.0.0.1]}")
OURS, NGINX = "python-ingress.dev/", "nginx.ingress.kubernetes.io/"


def tls(*entries: tuple[str, str]) -> str:
    """``spec.tls`` in flow style, of hosts and Secrets."""
    listed = [f'{{hosts: ["{host}"], secretName: {name}}}' for host, name in entries]
    return f"tls: [{', '.join(listed)}]"


def web(
    name: str, *entries: tuple[str, str], host: str = "a.test", namespace: str = "default",
    annotations: str = "", created: int | None = None, paths: tuple[str, ...] = ("/",),
) -> str:  # fmt: skip
    """An Ingress with TLS for a host; ``created`` is a year."""
    extra = f"annotations: {{{annotations}}}"
    if created is not None:
        extra += f", creationTimestamp: '{created}-01-01T00:00:00Z'"
    rules = rule(host, *[path("Prefix", each) for each in paths])
    return ingress(name, f"{tls(*entries)}, rules: [{rules}]", namespace=namespace, extra=extra)


def made(text: str, *items: KubernetesObject, options: Options | None = None) -> Translation:
    return translate([*objects(WEB + text), *items], options or https_options())


def terminate(translation: Translation, host: str) -> Terminate:
    entry = translation.snapshot.server_names["default"][host]
    assert isinstance(entry, Terminate)
    return entry


def names(translation: Translation, host: str) -> list[str]:
    """Subjects of the certificates of a host."""
    known = translation.snapshot.certificates
    return [known[digest].subject for digest in terminate(translation, host).certificates]


def action(translation: Translation, host: str, where: str) -> str:
    """``forward``, or the status of an answer, then whether plain requests are redirected."""
    route = matched(translation.snapshot, host, where)
    assert route is not None
    what = str(route.action.status) if isinstance(route.action, Answer) else "forward"
    return what + (" redirect" if route.https is not None and route.https.redirect else "")


# -- certificates


def test_a_secret_named_in_tls_answers_for_its_host() -> None:
    found = made(web("i", ("a.test", "s")), pair_secret("s", "a.test"))
    assert names(found, "a.test") == ["CN=serial 0"]
    assert found.diagnostics == ()
    assert action(found, "a.test", "/") == "forward redirect"


def test_there_is_always_a_default_entry_with_one_certificate() -> None:
    default = https_options().default_certificate
    assert default is not None
    for found in (translate([], https_options()), made(web("i", ("a.test", "missing")))):
        assert terminate(found, "").certificates == (default.digest,)
        assert found.snapshot.certificates == {default.digest: default}


def test_the_default_certificate_may_come_from_a_secret_and_follows_it() -> None:
    options = Options(
        https=True,
        default_tls_secret="default/d",
        default_certificate=https_options().default_certificate,
    )
    translator = Translator(options)
    translator.update([])
    assert translator.snapshot.server_names["default"][""] == terminate(
        translate([], https_options()), ""
    )
    translator.update([ObjectChange(ObjectKey("Secret", "default", "d"), None)])
    item = pair_secret("d", "*.test")
    delta = translator.update([ObjectChange(key_of(item), item)])
    assert delta is not None
    assert set(delta.server_names["default"]) == {""}
    assert translator.default_secret == ("default", "d")
    assert list(translator.presented_certificates()) == []
    ((pattern, source),) = translator.presented_certificates(with_default=True)
    assert (pattern, source.secret) == ("", ("default", "d"))
    (soon,) = expiring([(pattern, source)], 4_000_000_000)
    assert "hosts without a certificate of their own" in soon.consequence
    assert translator.diagnostics == ()
    bad = secret("d", tls_crt="x", tls_key="y")
    translator.update([ObjectChange(key_of(bad), bad)])
    assert [found.code for found in translator.diagnostics] == ["certificate-unusable"]
    assert translator.default_secret is None


def test_ecdsa_and_rsa_stand_side_by_side() -> None:
    found = made(
        web("i", ("a.test", "s"), ("a.test", "r")),
        pair_secret("s", "a.test"),
        pair_secret("r", "a.test", algorithm="rsa"),
    )
    known = found.snapshot.certificates
    digests = terminate(found, "a.test").certificates
    assert [known[digest].algorithm for digest in digests] == ["ecdsa", "rsa"]
    assert found.diagnostics == ()


def test_the_oldest_ingress_wins_and_the_other_is_told() -> None:
    found = made(
        web("b", ("a.test", "old"), created=2020)
        + web("a", ("a.test", "new"), created=2021, paths=("/x",)),
        pair_secret("old", "a.test", serial=1),
        pair_secret("new", "a.test", serial=2),
    )
    assert names(found, "a.test") == ["CN=serial 1"]
    told = only(found, "certificate-conflict")
    assert (told.object.name, told.field) == ("a", "spec.tls[0].secretName")
    assert "default/b is older" in told.message


def test_another_secret_of_the_namespace_answers_while_that_of_the_oldest_is_missing() -> None:
    found = made(
        web("b", ("a.test", "missing"), created=2020)
        + web("a", ("a.test", "new"), created=2021, paths=("/x",)),
        pair_secret("new", "a.test"),
    )
    assert names(found, "a.test") == ["CN=serial 0"]
    assert codes(found) == ["certificate-missing"]


def test_a_host_takes_no_certificate_of_a_namespace_that_came_later() -> None:
    found = made(
        web("mine", ("a.test", "missing"), created=2020)
        + web("theirs", ("a.test", "s"), namespace="other", created=2021, paths=("/x",)),
        pair_secret("s", "a.test", namespace="other"),
    )
    assert names(found, "a.test") == []
    assert only(found, "certificate-conflict").object.namespace == "other"


def test_a_secret_of_another_namespace_is_never_used() -> None:
    found = made(web("i", ("a.test", "s")), pair_secret("s", "a.test", namespace="other"))
    assert names(found, "a.test") == []
    assert codes(found) == ["certificate-missing"]


def test_another_namespace_neither_redirects_nor_opens_a_plain_host() -> None:
    found = made(
        ingress("mine", f"rules: [{rule('a.test', path('Prefix', '/'))}]")
        + web("theirs", ("a.test", "s"), namespace="other", created=2021, paths=("/x",)),
        pair_secret("s", "a.test", namespace="other"),
    )
    assert action(found, "a.test", "/") == "forward"


def test_a_precise_host_takes_nothing_from_the_wildcard_of_another_namespace() -> None:
    text = web("wild", ("*.a.test", "w"), host="*.a.test") + web(
        "precise", host="b.a.test", namespace="other", created=2021
    ).replace("tls: [], ", "")
    found = made(text, pair_secret("w", "*.a.test"))
    assert names(found, "*.a.test") == ["CN=serial 0"]
    assert names(found, "b.a.test") == []
    own = made(text.replace("namespace: other", "namespace: default"), pair_secret("w", "*.a.test"))
    assert names(own, "b.a.test") == ["CN=serial 0"]


def test_an_entry_for_a_wildcard_covers_the_hosts_of_its_rules() -> None:
    found = made(web("i", ("*.a.test", "w"), host="b.a.test"), pair_secret("w", "*.a.test"))
    assert names(found, "b.a.test") == names(found, "*.a.test") == ["CN=serial 0"]
    assert action(found, "b.a.test", "/") == "forward redirect"


def test_an_entry_without_hosts_is_for_the_rules_that_its_certificate_covers() -> None:
    text = ingress(
        "i",
        f"tls: [{{secretName: s}}], rules: [{rule('a.test', path('Prefix', '/'))}, "
        f"{rule('b.test', path('Prefix', '/'))}]",
    )
    found = made(text, pair_secret("s", "a.test"))
    assert (names(found, "a.test"), names(found, "b.test")) == (["CN=serial 0"], [])
    assert "b.test" in only(found, "certificate-names").consequence


def test_a_certificate_that_does_not_cover_the_host_is_not_used() -> None:
    found = made(web("i", ("a.test", "s")), pair_secret("s", "b.test"))
    assert names(found, "a.test") == []
    told = only(found, "certificate-names")
    assert (told.severity, "b.test" in told.message) == ("warning", True)
    assert "default certificate answers for a.test" in told.consequence


@pytest.mark.parametrize(
    ("item", "field"),
    [
        pytest.param(secret("s"), "data[tls.crt]", id="empty"),
        pytest.param(secret("s", tls_crt="x"), "data[tls.key]", id="no key"),
        pytest.param(secret("s", tls_crt="x", tls_key="y"), "data[tls.crt]", id="garbage"),
        pytest.param(
            secret("s", tls_crt=issued(("a.test",), "ecdsa", 0)[0],
                   tls_key=issued(("a.test",), "ecdsa", 1)[1]),
            "data[tls.key]", id="another key",
        ),
        pytest.param(
            Secret(secret("s").metadata, data={"tls.crt": "!", "tls.key": "!"}),
            "data[tls.crt]", id="no base64",
        ),
    ],
)  # fmt: skip
def test_a_bad_secret_is_told_on_itself_and_on_the_ingress(item: Secret, field: str) -> None:
    found = made(web("i", ("a.test", "s")), item)
    assert names(found, "a.test") == []
    told = {each.object.kind: each for each in found.diagnostics}
    assert told.keys() == {"Secret", "Ingress"}
    assert told["Secret"].field == field
    assert "Ingress default/i" in told["Secret"].consequence
    assert told["Ingress"].field == "spec.tls[0].secretName"
    assert "default certificate answers for a.test" in told["Ingress"].consequence


def test_the_hosts_of_one_fault_are_joined() -> None:
    hosts = ", ".join(f"h{number}.test" for number in range(8))
    text = ingress("i", f"tls: [{{hosts: [{hosts}], secretName: s}}], defaultBackend: "
                   "{service: {name: web, port: {number: 80}}}")  # fmt: skip
    found = made(text)
    assert "h0.test, h1.test, h2.test, h3.test, h4.test and 3 more" in (
        only(found, "certificate-missing").consequence
    )


def test_what_is_kept_says_until_when() -> None:
    kept = Kept(2_000_000_000, deleted=True)
    found = made(web("i", ("a.test", "s")), pair_secret("s", "a.test", kept=kept))
    assert names(found, "a.test") == ["CN=serial 0"]
    told = only(found, "certificate-kept")
    assert "2033-05-18 03:33:20 UTC" in told.consequence
    assert told.object.kind == "Secret"


def test_a_renewal_changes_the_certificate_alone_and_parses_one_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = [pair_secret("s", "a.test"), pair_secret("t", "b.test")]
    text = web("i", ("a.test", "s")) + web("j", ("b.test", "t"), host="b.test")
    translator = Translator(https_options())
    translator.update(ObjectChange(key_of(each), each) for each in [*objects(WEB + text), *items])
    read = []
    original = module.read_pair
    monkeypatch.setattr(
        module, "read_pair", lambda *args, **more: read.append(1) or original(*args, **more)
    )
    new = pair_secret("s", "a.test", serial=1)
    delta = translator.update([ObjectChange(key_of(new), new)])
    assert delta is not None
    assert (delta.hosts, delta.upstreams, delta.endpoints) == ({}, {}, {})
    assert set(delta.server_names["default"]) == {"a.test"}
    assert sorted(value is None for value in delta.certificates.values()) == [False, True]
    assert len(read) == 1
    labelled = pair_secret("s", "a.test", serial=1, other=b"x")
    assert translator.update([ObjectChange(key_of(labelled), labelled)]) is None
    assert len(read) == 1


def test_certificates_that_end_soon_are_found() -> None:
    translator = Translator(https_options())
    text = web("i", ("a.test", "s"))
    items = [*objects(WEB + text), pair_secret("s", "a.test")]
    translator.update(ObjectChange(key_of(each), each) for each in items)
    (_, source), *_ = translator.presented_certificates()
    assert source.pair is not None
    end = source.pair.not_after
    assert expiring(translator.presented_certificates(), end - 22 * 86_400) == ()
    (soon,) = expiring(translator.presented_certificates(), end - 20 * 86_400)
    assert (soon.severity, soon.code, soon.object.name) == ("warning", "certificate-expires", "s")
    (over,) = expiring(translator.presented_certificates(), end + 1)
    assert (over.severity, "a.test" in over.consequence) == ("error", True)


def test_an_ingress_is_closed_when_its_authorities_become_others_than_its_hosts() -> None:
    demand = f"{OURS}auth-tls-secret: "
    text = web("i", annotations=f"{demand}one", paths=("/a",))
    text += web("j", annotations=f"{demand}two", paths=("/b",))
    items = [
        *objects(WEB + text),
        *(secret(name, ca_crt=authorities_pem()) for name in ("one", "two")),
    ]
    translator = Translator(https_options())
    translator.update(ObjectChange(key_of(each), each) for each in items)
    assert isinstance(matched_action(translator, "/b"), Forward)
    other = secret("two", ca_crt=authorities_pem("another authority"))
    translator.update([ObjectChange(key_of(other), other)])
    assert isinstance(matched_action(translator, "/b"), Answer)
    assert isinstance(matched_action(translator, "/a"), Forward)


def matched_action(translator: Translator, where: str) -> Forward | Answer:
    """What becomes of requests for a path."""
    route = matched(translator.snapshot, "a.test", where)
    assert route is not None
    return route.action


def test_authorities_that_end_soon_are_found() -> None:
    translator = Translator(https_options())
    text = web("i", ("a.test", "s"), annotations=f"{OURS}auth-tls-secret: ca")
    items = [*objects(WEB + text), secret("ca", ca_crt=authorities_pem())]
    translator.update(ObjectChange(key_of(each), each) for each in items)
    (named,) = translator.named_materials()
    end = named.material.not_after
    assert expiring([], end - 22 * 86_400, [named]) == ()
    (soon,) = expiring([], end - 20 * 86_400, [named])
    assert (soon.severity, soon.object.name, soon.field) == ("warning", "ca", "data[ca.crt]")
    assert soon.message == "the authority expires in less than 21 days"
    assert "default/i" in soon.consequence
    (over,) = expiring([], end + 1, [named])
    assert over.severity == "error"
    both = secret("ca", ca_crt=authorities_pem() + authorities_pem("another authority"))
    translator.update([ObjectChange(key_of(both), both)])
    (over,) = expiring([], end + 10_000, translator.named_materials())
    assert (over.severity, over.message) == ("warning", "one of its 2 authorities expired")
    translator.update([ObjectChange(key_of(items[-2]), None)])
    assert list(translator.named_materials()) == []


def test_certificates_for_backends_that_end_soon_are_found() -> None:
    translator = Translator(https_options())
    notes = f"{OURS}backend-protocol: HTTPS, {OURS}proxy-ssl-secret: mine"
    items = [*objects(WEB + web("i", annotations=notes)), pair_secret("mine", "us.test")]
    translator.update(ObjectChange(key_of(each), each) for each in items)
    (named,) = translator.named_materials()
    (soon,) = expiring([], named.material.not_after - 1, [named])
    assert (soon.severity, soon.object.name, soon.field) == ("warning", "mine", "data[tls.crt]")
    assert "https backends of Ingress default/i may refuse us" in soon.consequence


def test_a_fault_is_said_where_the_value_stands() -> None:
    """In a folder of manifests, that may be stringData."""
    text = web("i", ("a.test", "s"), annotations=f"{OURS}auth-tls-secret: ca")
    good = pair_secret("s", "a.test")
    plain = {name: good.value(name) or b"" for name in ("tls.crt", "tls.key")}
    broken = Secret(
        good.metadata, good.type, {}, {"tls.crt": plain["tls.crt"].decode(), "tls.key": "x"}
    )
    leaf = issued(("x.test",), "ecdsa", 0)[0]
    bundle = (authorities_pem() + leaf).decode()
    ca = Secret(secret("ca").metadata, "Opaque", {}, {"ca.crt": bundle})
    translator = Translator(https_options())
    items = [*objects(WEB + text), broken, ca]
    translator.update(ObjectChange(key_of(each), each) for each in items)
    assert fields_of(translator) == {"s": "stringData[tls.key]", "ca": "stringData[ca.crt]"}
    moved = [secret("s", tls_crt=plain["tls.crt"], tls_key="x"), secret("ca", ca_crt=bundle)]
    translator.update(ObjectChange(key_of(each), each) for each in moved)
    assert fields_of(translator) == {"s": "data[tls.key]", "ca": "data[ca.crt]"}


def fields_of(translator: Translator) -> dict[str, str]:
    """Where something is wrong with Secrets."""
    found = translator.diagnostics
    return {each.object.name: each.field for each in found if each.object.kind == "Secret"}


# -- redirects


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ("", "forward redirect"),
        (f'{NGINX}ssl-redirect: "false"', "forward"),
        (f'{OURS}ssl-redirect: "false"', "forward"),
        (f'{OURS}ssl-redirect: "true", {NGINX}ssl-redirect: "false"', "forward redirect"),
        (f'{NGINX}ssl-redirect: "maybe"', "forward redirect"),
        (f'{NGINX}ssl-redirect: "false", {NGINX}force-ssl-redirect: "true"', "forward redirect"),
    ],
)
def test_an_ingress_says_whether_its_routes_redirect(annotations: str, expected: str) -> None:
    text = web("i", ("a.test", "s"), annotations=annotations)
    assert action(made(text, pair_secret("s", "a.test")), "a.test", "/") == expected


def test_challenges_are_never_redirected() -> None:
    text = web("i", ("a.test", "s"), paths=("/", "/.well-known/acme-challenge/token"))
    found = made(text)
    assert action(found, "a.test", "/.well-known/acme-challenge/token") == "forward"
    assert action(found, "a.test", "/.well-known/acme-challengers") == "forward redirect"


def test_hosts_without_tls_redirect_only_when_forced() -> None:
    text = ingress("i", f"rules: [{rule('a.test', path('Prefix', '/'))}]")
    assert action(made(text), "a.test", "/") == "forward"
    forced = text.replace(
        "namespace: default", f'namespace: default, annotations: {{{NGINX}force-ssl-redirect: "1"}}'
    )
    assert action(made(forced), "a.test", "/") == "forward redirect"


def test_hsts_comes_from_the_option_or_the_annotations() -> None:
    def hsts(annotations: str, option: str = "") -> str:
        options = Options(https=True, hsts=option)
        text = web("i", ("a.test", "s"), annotations=annotations)
        route = matched(made(text, options=options).snapshot, "a.test", "/")
        assert route is not None
        assert route.https is not None
        return route.https.hsts

    assert hsts("", "max-age=5") == "max-age=5"
    assert hsts(f'{OURS}hsts: "false"', "max-age=5") == ""
    assert hsts(f'{OURS}hsts: "true"') == "max-age=31536000; includeSubDomains"
    details = f'{OURS}hsts-max-age: "9", {OURS}hsts-include-subdomains: "false", '
    assert hsts(details + f'{OURS}hsts-preload: "true"') == "max-age=9; preload"


# -- client certificates

DEMAND = f"{NGINX}auth-tls-secret: default/ca"
CA = secret("ca", ca_crt=authorities_pem())


def test_client_certificates_are_demanded_of_the_whole_host() -> None:
    found = made(
        web("i", ("a.test", "s"), annotations=DEMAND + f', {OURS}ssl-redirect: "false"')
        + web("j", paths=("/x",), created=2021).replace("tls: [], ", ""),
        pair_secret("s", "a.test"),
        CA,
    )
    policy = terminate(found, "a.test").policy
    assert policy.client_certificates == "required"
    assert set(found.snapshot.authorities) == {policy.authorities}
    assert terminate(found, "").policy.client_certificates == "none"
    assert action(found, "a.test", "/") == action(found, "a.test", "/x") == "forward redirect"
    assert codes(found) == ["annotation-contradictory"]


def test_a_demand_without_spec_tls_holds_too() -> None:
    text = web("i", annotations=DEMAND).replace("tls: [], ", "")
    found = made(text, CA)
    assert terminate(found, "a.test").policy.client_certificates == "required"
    assert action(found, "a.test", "/") == "forward redirect"


@pytest.mark.parametrize(
    ("value", "mode"),
    [("on", "required"), ("optional", "optional"), ("optional_no_ca", "optional"), ("off", "none")],
)
def test_the_mode_is_taken_from_the_annotation(value: str, mode: str) -> None:
    notes = f'{DEMAND}, {NGINX}auth-tls-verify-client: "{value}", {OURS}auth-tls-verify-depth: "2"'
    policy = terminate(made(web("i", annotations=notes), CA), "a.test").policy
    assert policy.client_certificates == mode
    assert policy.verify_depth == (None if mode == "none" else 2)


def test_authorities_may_come_from_a_config_map() -> None:
    notes = f"{OURS}auth-tls-configmap: ca"
    found = made(web("i", annotations=notes), authorities_map("ca"))
    assert terminate(found, "a.test").policy.client_certificates == "required"
    assert found.diagnostics == ()


@pytest.mark.parametrize(
    ("notes", "items"),
    [
        pytest.param(DEMAND, [], id="no Secret"),
        pytest.param(DEMAND, [secret("ca")], id="no ca.crt"),
        pytest.param(DEMAND, [secret("ca", ca_crt="garbage")], id="garbage"),
        pytest.param(
            DEMAND, [secret("ca", ca_crt=issued(("x.test",), "ecdsa", 0)[0])], id="no authority"
        ),
        pytest.param(f"{NGINX}auth-tls-secret: other/ca", [CA], id="another namespace"),
        pytest.param(f"{NGINX}auth-tls-secret: 'a/b/c'", [CA], id="no name"),
        pytest.param(f'{NGINX}auth-tls-verify-client: "on"', [CA], id="no authorities named"),
        pytest.param(f'{DEMAND}, {NGINX}auth-tls-verify-client: "yes"', [CA], id="bad mode"),
        pytest.param(f'{DEMAND}, {NGINX}auth-tls-verify-depth: "-1"', [CA], id="bad depth"),
        pytest.param(f'{DEMAND}, {NGINX}auth-tls-match-cn: "CN=x"', [CA], id="match-cn"),
        pytest.param(f"{OURS}auth-tls-sercet: ca", [CA], id="misspelt"),
        pytest.param(f"{DEMAND}, {OURS}auth-tls-configmap: ca", [CA], id="two sources"),
    ],
)
def test_a_host_whose_clients_cannot_be_verified_is_closed(
    notes: str, items: list[KubernetesObject]
) -> None:
    found = made(
        web("i", ("a.test", "s"), annotations=notes) + web("j", paths=("/x",), created=2021), *items
    )
    assert terminate(found, "a.test").policy.client_certificates == "none"
    assert action(found, "a.test", "/").startswith("503")
    assert action(found, "a.test", "/x").startswith("503")
    assert any(each.severity == "error" and "503" in each.consequence for each in found.diagnostics)


def test_without_https_client_certificates_close_the_host() -> None:
    found = made(web("i", annotations=DEMAND), CA, options=Options())
    assert action(found, "a.test", "/") == "503"
    assert "clients-unverifiable" in codes(found)
    assert (found.snapshot.server_names, found.snapshot.authorities) == ({}, {})


def test_another_namespace_can_neither_demand_nor_get_around_a_demand() -> None:
    theirs = web("z", namespace="other", annotations=f"{NGINX}auth-tls-secret: ca", paths=("/x",),
                 created=2021)  # fmt: skip
    found = made(web("i", ("a.test", "s")) + theirs, secret("ca", namespace="other", ca_crt="x"))
    assert terminate(found, "a.test").policy.client_certificates == "none"
    assert action(found, "a.test", "/") == "forward redirect"
    assert action(found, "a.test", "/x").startswith("503")
    assert only(found, "clients-conflict").object.namespace == "other"


def test_two_demands_of_one_host_must_agree() -> None:
    other = web("j", annotations=f"{NGINX}auth-tls-secret: other", paths=("/x",), created=2021)
    items = [CA, secret("other", ca_crt=authorities_pem("another authority"))]
    found = made(web("i", annotations=DEMAND) + other, *items)
    assert action(found, "a.test", "/") == "forward redirect"
    assert action(found, "a.test", "/x") == "503 redirect"
    same = made(web("i", annotations=DEMAND) + other, CA, secret("other", ca_crt=authorities_pem()))
    assert action(same, "a.test", "/x") == "forward redirect"


def test_a_demand_for_another_depth_is_not_met() -> None:
    notes = f'{DEMAND}, {NGINX}auth-tls-verify-depth: "1"'
    other = web("j", annotations=notes, paths=("/x",), created=2021)
    found = made(web("i", annotations=DEMAND) + other, CA)
    assert action(found, "a.test", "/x") == "503 redirect"
    assert only(found, "clients-conflict").object.name == "j"


def test_whoever_only_names_a_host_in_spec_tls_does_not_own_it() -> None:
    text = web("theirs", ("a.test", "s"), host="b.test", namespace="other", created=2019)
    found = made(text + web("i", annotations=DEMAND, created=2020), CA)
    assert terminate(found, "a.test").policy.client_certificates == "required"
    assert "clients-conflict" not in codes(found)


def test_a_challenge_of_cert_manager_is_served_in_clear_though_certificates_are_demanded() -> None:
    where = "/.well-known/acme-challenge/t"
    solver = ingress(
        "cm", f"rules: [{rule('a.test', path('Exact', where))}]",
        extra='labels: {acme.cert-manager.io/http01-solver: "true"}, '
        "creationTimestamp: '2022-01-01T00:00:00Z'",
    )  # fmt: skip
    demand = web("i", annotations=DEMAND)
    assert action(made(demand + solver, CA), "a.test", where) == "forward"
    assert action(made(demand + solver), "a.test", where) == "forward"
    own = web("i", annotations=DEMAND, paths=("/", where))
    assert action(made(own, CA), "a.test", where) == "forward redirect"


def test_the_stricter_profile_of_a_host_wins() -> None:
    modern = f"{OURS}tls-profile: modern"
    text = web("i", ("a.test", "s")) + web("j", annotations=modern, paths=("/x",), created=2021)
    assert terminate(made(text), "a.test").policy.profile == "modern"
    theirs = web("j", namespace="other", annotations=modern, paths=("/x",), created=2021)
    found = made(web("i", ("a.test", "s")) + theirs + service("web", ns="other"))
    assert terminate(found, "a.test").policy.profile == "intermediate"
    assert action(found, "a.test", "/x").startswith("503")
    bad = web("i", ("a.test", "s"), annotations=f"{OURS}tls-profile: old")
    assert action(made(bad), "a.test", "/").startswith("503")


# -- passthrough

PASS = f'{NGINX}ssl-passthrough: "true"'


def test_a_host_is_passed_through_to_the_backend_of_its_root() -> None:
    found = made(web("i", annotations=PASS, paths=("/", "/x")))
    entry = found.snapshot.server_names["default"]["a.test"]
    assert isinstance(entry, Passthrough)
    assert (entry.upstream, entry.origin.name) == ("default/web:80", "i")
    assert action(found, "a.test", "/") == "421 redirect"


def test_passthrough_without_a_backend_is_an_error_of_the_host() -> None:
    for text in (
        web("i", annotations=PASS, paths=("/x",)),
        web("i", annotations=PASS).replace("name: web,", "name: nowhere,"),
    ):
        found = made(text)
        assert isinstance(found.snapshot.server_names["default"]["a.test"], Terminate)
        assert "passthrough-impossible" in codes(found)
        route = matched(found.snapshot, "a.test", "/x")
        assert route is not None
        assert isinstance(route.action, Answer)


def test_hosts_that_nobody_claims_cannot_be_passed_through() -> None:
    found = made(web("i", host="", annotations=PASS).replace("tls: [], ", ""))
    assert isinstance(found.snapshot.server_names["default"][""], Terminate)
    assert only(found, "passthrough-conflict").object.name == "i"
    assert action(found, "any.test", "/").startswith("503")


@pytest.mark.parametrize("first", ["passes", "ends"])
def test_the_oldest_ingress_decides_between_passthrough_and_termination(first: str) -> None:
    passes, ends = (2020, 2021) if first == "passes" else (2021, 2020)
    found = made(
        web("p", annotations=PASS, created=passes)
        + web("t", ("a.test", "s"), created=ends, paths=("/t",)),
        pair_secret("s", "a.test"),
    )
    entry = found.snapshot.server_names["default"]["a.test"]
    assert isinstance(entry, Passthrough if first == "passes" else Terminate)
    assert only(found, "passthrough-conflict").object.name == ("t" if first == "passes" else "p")
    closed = action(found, "a.test", "/")
    assert closed == ("421 redirect" if first == "passes" else "503 redirect")


def test_another_namespace_cannot_take_the_tls_of_a_host_along() -> None:
    plain = ingress("mine", f"rules: [{rule('a.test', path('Prefix', '/'))}]")
    theirs = web("theirs", namespace="other", annotations=PASS, created=2021)
    found = made(plain + theirs + service("web", ns="other"))
    assert isinstance(found.snapshot.server_names["default"]["a.test"], Terminate)
    assert action(found, "a.test", "/") == "forward"


# -- whatever stands in Secrets


@given(
    values=st.dictionaries(
        st.sampled_from(["tls.crt", "tls.key", "ca.crt"]),
        st.one_of(st.text(max_size=30), st.integers(0, 10**6)),
    ),
    seed=st.integers(0, 10**6),
    plain=st.booleans(),
)
@settings(deadline=None, max_examples=200)
def test_nothing_in_a_secret_stops_the_translation(
    values: dict[str, str | int], seed: int, plain: bool
) -> None:
    """Texts, and the bytes of real pairs with some of them changed or cut off."""
    rng = random.Random(seed)
    certificate, key = issued(("a.test",), "ecdsa", 0)
    real = {"tls.crt": certificate, "tls.key": key, "ca.crt": authorities_pem()}
    texts = {}
    for name, value in {**dict.fromkeys(real, 0), **values}.items():
        written = bytearray(real[name])
        for _ in range(value % 5 if isinstance(value, int) else 0):
            written[rng.randrange(len(written))] = rng.randrange(256)
        if isinstance(value, int) and value % 7 == 6:
            del written[rng.randrange(len(written)) :]
        texts[name] = value if isinstance(value, str) else bytes(written).decode("latin-1")
    meta = secret("s").metadata
    whole = secret("s", **{name.replace(".", "_"): text.encode("latin-1", "replace")
                           for name, text in texts.items()})  # fmt: skip
    item = Secret(meta, string_data=texts) if plain else whole
    notes = f"{NGINX}auth-tls-secret: s, {NGINX}backend-protocol: HTTPS, {NGINX}proxy-ssl-secret: s"
    found = made(web("i", ("a.test", "s"), annotations=notes), item)
    assert terminate(found, "").certificates
    for each in found.diagnostics:
        assert each.message
        assert "PRIVATE KEY-----\n" not in each.message
    if not found.snapshot.authorities:
        assert action(found, "a.test", "/").startswith("503")
