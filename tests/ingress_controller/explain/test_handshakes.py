"""Explanations of https requests, redirects and https upstreams."""

import pytest

from ingress_controller.explain.explanation import Explanation, shown
from ingress_controller.explain.text import as_text
from ingress_controller.explain.walk import explain
from ingress_controller.objects.config import Kept
from ingress_controller.store import KubernetesObject, ObjectChange, key_of
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
from tests.ingress_controller.translate.tls_objects import (
    authorities_pem,
    https_options,
    pair_secret,
    secret,
)

NGINX = "nginx.ingress.kubernetes.io/"
WEB = service("web") + slices("web", "{addresses: [10.0.0.1]}")


def secure(host: str, notes: str = "", name: str = "i") -> str:
    tls = f"tls: [{{hosts: [{host}], secretName: s}}]"
    rules = f"rules: [{rule(host, path('Prefix', '/'))}]"
    return ingress(name, f"{tls}, {rules}", extra=f"annotations: {{{notes}}}")


def told(
    url: str, text: str, *items: KubernetesObject, headers: tuple[str, ...] = (),
    options: Options | None = None,
) -> Explanation:  # fmt: skip
    translator = Translator(options or https_options())
    found = [*objects(WEB + text), *items]
    translator.update(ObjectChange(key_of(item), item) for item in found)
    return explain(translator, url=url, headers=headers)


def test_the_certificate_of_a_host_is_shown_with_its_secret_names_and_end() -> None:
    found = told("https://A.test/x", secure("a.test"), pair_secret("s", "a.test"))
    assert found.verdict.outcome == "forwarded"
    assert found.tls is not None
    assert (found.tls.pattern, found.tls.ends_here) == ("a.test", True)
    (certificate,) = found.tls.certificates
    assert certificate.answers
    assert (certificate.secret, certificate.ingress) == ("default/s", "Ingress default/i")
    assert (certificate.names, certificate.algorithm) == (("a.test",), "ecdsa")
    assert certificate.expires.endswith(" UTC")
    text = as_text(found, colour=False)
    assert "Secret default/s" in text
    assert certificate.expires in text
    assert "PRIVATE" not in str(shown(found))


@pytest.mark.parametrize(
    ("url", "secrets", "reason"),
    [
        ("https://a.test/", 0, "no certificate of its own"),
        ("https://unknown.test/", 1, "no Ingress of ours names unknown.test"),
        ("https://192.0.2.1/", 1, "no server name is sent"),
    ],
)
def test_the_default_certificate_answers_where_there_is_no_other(
    url: str, secrets: int, reason: str
) -> None:
    items = [pair_secret("s", "a.test")][:secrets]
    for options in (https_options(), Options(https=True)):
        found = told(url, secure("a.test"), *items, options=options)
        assert found.tls is not None
        assert reason in found.tls.reason
        answering = [each for each in found.tls.certificates if each.answers]
        assert [each.secret for each in answering] == [""]
        assert "default certificate" in as_text(found, colour=False)


def test_a_missing_secret_and_its_finding_are_shown() -> None:
    found = told("https://a.test/", secure("a.test"))
    assert found.tls is not None
    assert ("default/s", "there is no such Secret") in [
        (each.secret, each.reason) for each in found.tls.certificates
    ]
    assert "certificate-missing" in [each.code for each in found.findings]


def test_a_kept_certificate_says_until_when() -> None:
    kept = Kept(2_000_000_000, deleted=True)
    found = told("https://a.test/", secure("a.test"), pair_secret("s", "a.test", kept=kept))
    assert found.tls is not None
    assert found.tls.certificates[0].kept_until == "2033-05-18 03:33:20 UTC"
    assert "certificate-kept" in [each.code for each in found.findings]


def test_a_plain_request_for_a_host_with_tls_is_redirected() -> None:
    found = told("http://a.test/x?y", secure("a.test"), pair_secret("s", "a.test"))
    assert (found.verdict.outcome, found.verdict.status) == ("answered", 308)
    assert found.verdict.summary == "redirected to https://a.test/x?y"
    assert found.served
    other = Options(https=True, https_port=8443)
    found = told("http://a.test:8080/x", secure("a.test"), options=other)
    assert found.verdict.summary == "redirected to https://a.test:8443/x"


def test_client_certificates_and_hsts_are_told() -> None:
    notes = f"{NGINX}auth-tls-secret: ca, python-ingress.dev/hsts-max-age: '5'"
    items = (pair_secret("s", "a.test"), secret("ca", ca_crt=authorities_pem()))
    found = told("https://a.test/", secure("a.test", notes), *items)
    assert found.tls is not None
    assert found.tls.client_certificates == "required"
    assert found.tls.authorities == ("CN=test authority",)
    assert found.tls.hsts == "max-age=5; includeSubDomains"
    text = as_text(found, colour=False)
    assert "client certificates are required, from CN=test authority" in text
    assert "Strict-Transport-Security: max-age=5" in text


def test_a_host_under_another_policy_than_the_connection_is_misdirected() -> None:
    text = secure("a.test", f"{NGINX}auth-tls-secret: ca") + secure("b.test", name="j")
    ca = secret("ca", ca_crt=authorities_pem())
    for url, host in (
        ("https://b.test/", "a.test"),
        ("https://a.test/", "b.test"),
        ("https://192.0.2.1/", "a.test"),
        ("https://unknown.test/", "a.test"),
    ):
        found = told(url, text, ca, headers=(f"Host: {host}",))
        assert (found.verdict.status, found.verdict.code) == (421, "misdirected")
    assert told("https://unknown.test/", text, ca, headers=("Host: b.test",)).served


def test_passthrough_is_told_to_its_endpoints() -> None:
    text = ingress(
        "i", f"rules: [{rule('a.test', path('Prefix', '/'))}]",
        extra=f'annotations: {{{NGINX}ssl-passthrough: "true"}}',
    )  # fmt: skip
    found = told("https://a.test/", text)
    assert (found.verdict.outcome, found.verdict.reason) == ("forwarded", "to 10.0.0.1:8080")
    assert found.tls is not None
    assert (found.tls.ends_here, found.tls.pattern) == (False, "a.test")
    assert told("http://a.test/", text).verdict.status == 308
    assert told("https://b.test/", text, headers=("Host: a.test",)).verdict.status == 421


def test_an_https_upstream_says_how_it_is_verified() -> None:
    notes = f"{NGINX}backend-protocol: HTTPS"
    found = told("https://a.test/", secure("a.test", notes))
    assert "web.default.svc by the system's authorities" in found.upstreams[0].tls
    found = told("https://a.test/", secure("a.test", f"{notes}, {NGINX}proxy-ssl-verify: 'off'"))
    assert "not verified" in found.upstreams[0].tls
    assert found.upstreams[0].tls in as_text(found, colour=False)


def test_where_https_is_not_served_the_same_request_is_told_over_http() -> None:
    found = told("https://a.test/", secure("a.test"), options=Options())
    assert found.tls is None
    assert found.verdict.outcome == "forwarded"
    assert "https is not served" in found.notes[0]
