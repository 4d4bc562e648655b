"""How backends are spoken to over https: by the Service, by the Ingress, never unverified."""

import pytest

from ingress_controller.store import KubernetesObject, ObjectChange, key_of
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translation, Translator, translate
from router.model.snapshot import Answer
from router.model.upstreams import Upstream
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
from tests.ingress_controller.translate.tls_objects import authorities_pem, pair_secret, secret

NGINX = "nginx.ingress.kubernetes.io/"
HTTPS = f"{NGINX}backend-protocol: HTTPS"
PLAIN = service("web") + slices("web", "{addresses: [10.0.0.1]}")
SECURE = PLAIN.replace("name: http}]", "name: http, appProtocol: https}]")


def web(annotations: str = "", name: str = "i", host: str = "a.test") -> str:
    extra = f"annotations: {{{annotations}}}"
    return ingress(name, f"rules: [{rule(host, path('Prefix', '/'))}]", extra=extra)


def made(text: str, *items: KubernetesObject) -> Translation:
    return translate([*objects(text), *items], Options())


def upstream(found: Translation, host: str = "a.test") -> Upstream:
    route = matched(found.snapshot, host, "/")
    assert route is not None
    assert not isinstance(route.action, Answer), route.action
    return found.snapshot.upstreams[route.action.backends[0].upstream]


@pytest.mark.parametrize("text", [SECURE + web(), PLAIN + web(HTTPS)])
def test_https_is_verified_under_the_name_of_the_service(text: str) -> None:
    spoken = upstream(made(text))
    assert spoken.protocol == "https"
    assert spoken.tls is not None
    assert (spoken.tls.server_name, spoken.tls.verify) == ("web.default.svc", True)
    assert (spoken.tls.authorities, spoken.tls.client_certificate) == (None, None)
    assert spoken.key.startswith("default/web:80+https-")


def test_the_annotation_wins_over_the_service() -> None:
    assert upstream(made(SECURE + web(f"{NGINX}backend-protocol: http"))).protocol == "http"


def test_an_external_name_is_verified_under_that_name() -> None:
    text = service("web", "{port: 443, appProtocol: https}", "type: ExternalName, "
                   "externalName: X.example.")  # fmt: skip
    text += ingress("i", f"rules: [{rule('a.test', path('Prefix', '/', 'web', 'number: 443'))}]")
    spoken = upstream(translate(objects(text), Options(allow_external_name=True)))
    assert spoken.tls is not None
    assert spoken.tls.server_name == "x.example"


def test_a_secret_brings_authorities_and_our_own_certificate() -> None:
    notes = f"{HTTPS}, {NGINX}proxy-ssl-secret: default/s, {NGINX}proxy-ssl-name: web.internal, "
    notes += f'{NGINX}proxy-ssl-verify-depth: "1"'
    found = made(PLAIN + web(notes), pair_secret("s", "us", ca_crt=authorities_pem()))
    tls = upstream(found).tls
    assert tls is not None
    assert (tls.server_name, tls.verify_depth) == ("web.internal", 1)
    assert set(found.snapshot.authorities) == {tls.authorities}
    assert set(found.snapshot.certificates) == {tls.client_certificate}
    assert found.diagnostics == ()


@pytest.mark.parametrize(
    ("value", "items"),
    [
        pytest.param("s", [], id="no Secret"),
        pytest.param("s", [secret("s")], id="nothing in it"),
        pytest.param("s", [secret("s", ca_crt="garbage")], id="bad authorities"),
        pytest.param("s", [secret("s", tls_crt="x", tls_key="y")], id="bad pair"),
        pytest.param("other/s", [], id="another namespace"),
        pytest.param("a b", [], id="no name"),
    ],
)
def test_a_secret_that_cannot_be_used_closes_the_route(
    value: str, items: list[KubernetesObject]
) -> None:
    found = made(PLAIN + web(f"{HTTPS}, {NGINX}proxy-ssl-secret: {value}"), *items)
    route = matched(found.snapshot, "a.test", "/")
    assert route is not None
    assert isinstance(route.action, Answer)
    assert route.action.status == 503
    (told,) = [each for each in found.diagnostics if each.severity == "error"]
    assert told.field == f"metadata.annotations[{NGINX}proxy-ssl-secret]"


def test_verification_is_off_only_by_explicit_wish_and_warned_of() -> None:
    found = made(PLAIN + web(f'{HTTPS}, {NGINX}proxy-ssl-verify: "off"'))
    spoken = upstream(found)
    assert spoken.tls is not None
    assert not spoken.tls.verify
    assert only(found, "verification-off").severity == "warning"
    doubtful = upstream(made(PLAIN + web(f'{HTTPS}, {NGINX}proxy-ssl-verify: "of"')))
    assert doubtful.tls is not None
    assert doubtful.tls.verify


def test_what_one_ingress_wants_never_holds_for_another() -> None:
    off = web(f'{HTTPS}, {NGINX}proxy-ssl-verify: "off"', "lax", "off.test")
    found = made(PLAIN + off + web(HTTPS) + web("", "plain", "plain.test"))
    spoken = [upstream(found, host) for host in ("off.test", "a.test", "plain.test")]
    assert len({each.key for each in spoken}) == 3
    assert [each.tls is not None and each.tls.verify for each in spoken] == [False, True, False]
    assert [each.protocol for each in spoken] == ["https", "https", "http"]
    assert all(found.snapshot.endpoints[each.key].endpoints for each in spoken)


@pytest.mark.parametrize(
    ("value", "protocol", "code"),
    [
        ("GRPC", "http", "annotation-unsupported"),
        ("GRPCS", "https", "annotation-unsupported"),
        ("AUTO_HTTP", "http", "annotation-unsupported"),
        ("FCGI", "503", "annotation-unsupported"),
        ("HTPS", "503", "annotation-invalid"),
    ],
)
def test_other_protocols_are_told(value: str, protocol: str, code: str) -> None:
    found = made(PLAIN + web(f"{NGINX}backend-protocol: {value}"))
    route = matched(found.snapshot, "a.test", "/")
    assert route is not None
    shown = "503" if isinstance(route.action, Answer) else upstream(found).protocol
    assert (shown, codes(found)) == (protocol, [code])


def test_new_authorities_make_a_new_upstream() -> None:
    """Connections that were opened under the old ones must not live on."""
    translator = Translator(Options())
    items = [*objects(PLAIN + web(f"{HTTPS}, {NGINX}proxy-ssl-secret: s"))]
    items.append(secret("s", ca_crt=authorities_pem()))
    translator.update(ObjectChange(key_of(each), each) for each in items)
    (before,) = translator.snapshot.upstreams
    new = secret("s", ca_crt=authorities_pem("another authority"))
    delta = translator.update([ObjectChange(key_of(new), new)])
    assert delta is not None
    assert delta.upstreams.pop(before) is None
    assert len(delta.upstreams) == 1
    assert sorted(value is None for value in delta.authorities.values()) == [False, True]
