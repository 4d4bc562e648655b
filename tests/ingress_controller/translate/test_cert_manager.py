"""HTTP-01 challenges, with the objects that cert-manager makes.

As of cert-manager 1.18: the solver's Ingress, its Service (NodePort) and the slices of its Pod live
in the Certificate's namespace, in any order of arrival, for about a minute.
"""

import itertools

import msgspec
import pytest

from ingress_controller.explain.walk import explain
from ingress_controller.objects.config import Secret
from ingress_controller.store import KubernetesObject, Name, ObjectChange, key_of
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translator
from router.model.snapshot import Terminate
from tests.ingress_controller.translate.manifest import objects
from tests.ingress_controller.translate.tls_objects import (
    authorities_pem,
    https_options,
    pair_secret,
    secret,
)

TOKEN = "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo"
CHALLENGE = f"/.well-known/acme-challenge/{TOKEN}"
LABELS = (
    '{acme.cert-manager.io/http-domain: "1048209862", '
    'acme.cert-manager.io/http-token: "1151421546", '
    'acme.cert-manager.io/http01-solver: "true"}'
)
BACKEND = "backend: {service: {name: cm-acme-http-solver-k7rqv, port: {number: 8089}}}"
CLASSES = {
    "field": ("", "  ingressClassName: python\n"),
    "annotation": ("    kubernetes.io/ingress.class: python\n", ""),
    "neither": ("", ""),
}


def solver_ingress(
    host: str = "shop.test", *, by: str = "field", kind: str = "Exact", notes: str = ""
) -> str:
    annotation, field = CLASSES[by]
    named = f"host: {host}" if host else "{}"
    return f"""
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: cm-acme-http-solver-x5dk2
  namespace: shop
  creationTimestamp: "2026-02-01T10:00:00Z"
  labels: {LABELS}
  annotations:
    nginx.ingress.kubernetes.io/whitelist-source-range: 0.0.0.0/0,::/0
{annotation}{notes}spec:
{field}  rules:
  - {named if host else "http:"}
{"    http:" if host else ""}
      paths:
      - path: {CHALLENGE}
        pathType: {kind}
        {BACKEND}
"""


def solver_service(kind: str = "NodePort") -> str:
    node_port = ", nodePort: 31417" if kind == "NodePort" else ""
    return f"""
---
apiVersion: v1
kind: Service
metadata:
  name: cm-acme-http-solver-k7rqv
  namespace: shop
  labels: {LABELS}
  annotations: {{auth.istio.io/8089: NONE}}
spec:
  type: {kind}
  clusterIP: 10.96.7.7
  ports: [{{name: http, port: 8089, protocol: TCP, targetPort: 8089{node_port}}}]
  selector: {LABELS}
"""


SOLVER_SLICE = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: cm-acme-http-solver-k7rqv-8mzhs
  namespace: shop
  labels: {kubernetes.io/service-name: cm-acme-http-solver-k7rqv}
addressType: IPv4
ports: [{name: http, port: 8089, protocol: TCP}]
endpoints: [{addresses: [10.1.2.3], conditions: {ready: true, serving: true, terminating: false}}]
"""
SOLVER = solver_ingress() + solver_service() + SOLVER_SLICE


def shop(*paths: str, notes: str = "", tls: bool = True) -> str:
    """The user's Ingress, with ingress-shim's annotation; its Secret does not exist at first."""
    rules = "".join(f"\n      - {path}" for path in paths or (root("Prefix"),))
    ends = "  tls: [{hosts: [shop.test], secretName: shop-tls}]" if tls else ""
    return f"""
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: "", port: 8080}}]
endpoints: [{{addresses: [10.1.2.9]}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  namespace: shop
  creationTimestamp: "2026-01-01T10:00:00Z"
  annotations:
    cert-manager.io/cluster-issuer: letsencrypt
{notes}
spec:
  ingressClassName: python
  rules:
  - host: shop.test
    http:
      paths:{rules}
{ends}
"""


def root(kind: str) -> str:
    return (
        f"{{path: /, pathType: {kind}, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}"
    )


APART = msgspec.structs.replace(https_options(), allow_shared_hosts=False)


def changes(text: str, *more: KubernetesObject) -> list[ObjectChange]:
    return [ObjectChange(key_of(item), item) for item in [*objects(text), *more]]


def made(text: str, *more: KubernetesObject, options: Options = APART) -> Translator:
    translator = Translator(options)
    translator.update(changes(text, *more))
    return translator


def answer(translator: Translator, url: str) -> str:
    """Where a request goes, or its status."""
    verdict = explain(translator, url=url).verdict
    return verdict.reason if verdict.outcome == "forwarded" else str(verdict.status)


TO_SOLVER, TO_WEB = "to 10.1.2.3:8089", "to 10.1.2.9:8080"
IN_CLEAR = f"http://shop.test{CHALLENGE}"


@pytest.mark.parametrize("kind", ["Exact", "ImplementationSpecific"])
@pytest.mark.parametrize(
    "user",
    [
        pytest.param(shop(), id="a host with TLS, which redirects"),
        pytest.param(shop(tls=False), id="a host without TLS"),
        pytest.param(shop(root("ImplementationSpecific")), id="of an unspecific path type"),
        pytest.param(
            shop(
                notes="    python-ingress.dev/force-ssl-redirect: 'true'\n"
                "    nginx.ingress.kubernetes.io/ssl-redirect: 'true'"
            ),
            id="that redirects by force",
        ),
        pytest.param(
            shop(notes="    nginx.ingress.kubernetes.io/auth-tls-secret: clients"),
            id="that demands client certificates",
        ),
        pytest.param(
            shop(notes="    nginx.ingress.kubernetes.io/auth-tls-secret: nothing"),
            id="that is closed, as whom to let in cannot be read",
        ),
        pytest.param(
            shop(notes="    python-ingress.dev/auth-nonsense: x"), id="whose rules are closed"
        ),
        pytest.param(
            shop(notes="    nginx.ingress.kubernetes.io/ssl-passthrough: 'true'"),
            id="that is passed through",
        ),
        pytest.param("", id="that nobody else claims"),
    ],
)
def test_a_challenge_is_answered_in_clear_on_any_host(user: str, kind: str) -> None:
    translator = made(user + SOLVER.replace("pathType: Exact", f"pathType: {kind}"), CLIENTS)
    assert answer(translator, IN_CLEAR) == TO_SOLVER
    if user:
        assert answer(translator, "http://shop.test/other") != TO_SOLVER


CLIENTS = secret("clients", namespace="shop", ca_crt=authorities_pem())


@pytest.mark.parametrize("kind", ["NodePort", "ClusterIP"])
def test_the_type_of_the_solvers_service_makes_no_difference(kind: str) -> None:
    translator = made(shop() + solver_ingress() + solver_service(kind) + SOLVER_SLICE)
    assert answer(translator, IN_CLEAR) == TO_SOLVER


def test_any_order_of_arrival_ends_in_the_same() -> None:
    parts = [*objects(shop() + SOLVER), pair_secret("shop-tls", "shop.test", namespace="shop")]
    expected = made(shop() + SOLVER, parts[-1])
    late = [item for item in parts if "solver" in item.metadata.name or isinstance(item, Secret)]
    first = [item for item in parts if item not in late]
    assert len(late) == 4
    for order in itertools.permutations(late):
        translator = made("", *first)
        missing = {key_of(item) for item in late[:3]}
        for item in order:
            translator.update([ObjectChange(key_of(item), item)])
            missing.discard(key_of(item))
            assert (answer(translator, IN_CLEAR) == TO_SOLVER) is (not missing)
        assert translator.snapshot.hosts == expected.snapshot.hosts
        assert translator.snapshot.endpoints == expected.snapshot.endpoints
        for item in late[:3]:
            translator.update([ObjectChange(key_of(item), None)])
        assert answer(translator, IN_CLEAR) == "308"
        assert [each for each in translator.diagnostics if each.severity != "hint"] == []


@pytest.mark.parametrize(
    ("by", "options", "adopted"),
    [
        pytest.param("field", APART, True, id="by ingressClassName"),
        pytest.param("annotation", APART, True, id="by the old annotation"),
        pytest.param("neither", APART, False, id="without class"),
        pytest.param(
            "neither",
            msgspec.structs.replace(APART, watch_ingress_without_class=True),
            True,
            id="without class, by the switch",
        ),
    ],
)
def test_solvers_are_ours_by_their_class(by: str, options: Options, adopted: bool) -> None:
    translator = made(
        shop() + solver_ingress(by=by) + solver_service() + SOLVER_SLICE, options=options
    )
    assert (answer(translator, IN_CLEAR) == TO_SOLVER) is adopted
    name = Name("shop", "cm-acme-http-solver-x5dk2")
    assert translator.served(name) is adopted
    assert name in translator.take_touched()


def test_an_identifier_that_is_an_address_is_answered_without_a_host() -> None:
    text = shop() + solver_ingress("").replace("  - http:\n\n", "  - http:\n")
    translator = made(text + solver_service() + SOLVER_SLICE)
    assert answer(translator, f"http://192.0.2.7{CHALLENGE}") == TO_SOLVER


# -- edit in place: the path is put into the user's own Ingress, without a label

IN_PLACE = f"{{path: {CHALLENGE}, pathType: Exact, {BACKEND}}}"
TO_USER = f"{{path: {CHALLENGE}, pathType: Exact, {root('x').partition('Type: x, ')[2]}"


@pytest.mark.parametrize(
    "notes",
    [
        pytest.param("", id="redirect"),
        pytest.param(
            "    nginx.ingress.kubernetes.io/auth-tls-secret: clients", id="client certificates"
        ),
        pytest.param("    python-ingress.dev/auth-nonsense: x", id="closed"),
    ],
)
def test_a_path_put_into_the_users_ingress_inherits_no_obstacle(notes: str) -> None:
    text = shop(IN_PLACE, root("Prefix"), notes=notes) + solver_service() + SOLVER_SLICE
    translator = made(text, CLIENTS)
    assert answer(translator, IN_CLEAR) == TO_SOLVER
    assert answer(translator, "http://shop.test/") in ("308", "503")


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        pytest.param("", TO_WEB, id="is not redirected"),
        pytest.param(
            "    nginx.ingress.kubernetes.io/auth-tls-secret: clients", "308", id="stays guarded"
        ),
        pytest.param("    python-ingress.dev/auth-nonsense: x", "503", id="stays closed"),
    ],
)
def test_a_path_of_challenges_that_is_the_applications_own(notes: str, expected: str) -> None:
    translator = made(shop(TO_USER, root("Prefix"), notes=notes), CLIENTS)
    assert answer(translator, IN_CLEAR) == expected


# -- certificates

SHOWN = {
    "missing": None,
    "empty": secret("shop-tls", namespace="shop", tls_crt="", tls_key=""),
    "wrong": secret("shop-tls", namespace="shop", tls_crt="garbage", tls_key="garbage"),
    "of another type": Secret(
        secret("shop-tls", namespace="shop").metadata, "Opaque", {"tls.key": "eA=="}
    ),
}


@pytest.mark.parametrize("found", SHOWN.values(), ids=SHOWN)
def test_a_host_without_its_secret_is_served_with_the_default_certificate(
    found: Secret | None,
) -> None:
    translator = made(shop() + SOLVER, *([] if found is None else [found]))
    told = explain(translator, url="https://shop.test/")
    assert told.verdict.outcome == "forwarded"
    assert told.tls is not None
    assert [each.secret for each in told.tls.certificates if each.answers] == [""]
    assert answer(translator, IN_CLEAR) == TO_SOLVER


def test_the_temporary_certificate_gives_way_to_the_real_one() -> None:
    """Without a word about routes or endpoints: only handshakes from then on are different."""
    translator = made(shop() + SOLVER)
    for serial in (1, 2):
        item = pair_secret("shop-tls", "shop.test", namespace="shop", serial=serial)
        delta = translator.update([ObjectChange(key_of(item), item)])
        assert delta is not None
        assert (delta.hosts, delta.upstreams, delta.endpoints) == ({}, {}, {})
        entry = delta.server_names["default"]["shop.test"]
        assert isinstance(entry, Terminate)
        (new,) = [digest for digest, pair in delta.certificates.items() if pair is not None]
        assert entry.certificates == (new,)
        assert len(delta.certificates) == serial  # and the one before goes


# -- what is said of it

NOISE = """\
    nginx.ingress.kubernetes.io/service-upstream: "true"
    nginx.ingress.kubernetes.io/server-snippet: x
    python-ingress.dev/unheard-of: "true"
"""


def test_annotations_of_solvers_are_not_worth_a_word() -> None:
    """They live for a minute, and their owner is a program."""
    translator = made(shop(tls=False) + SOLVER)
    assert translator.diagnostics == ()
    noisy = solver_ingress(notes=NOISE)
    assert made(shop(tls=False) + noisy + solver_service() + SOLVER_SLICE).diagnostics == ()


def test_the_solver_of_another_namespace_gets_nothing_of_the_host() -> None:
    """Else anybody could get certificates for anybody's host."""
    text = SOLVER.replace("namespace: shop", "namespace: thief")
    translator = made(shop() + text)
    assert answer(translator, IN_CLEAR) == "308"
    assert "host-owned" in {each.code for each in translator.diagnostics}


# -- a host that only a wildcard serves, or rules without host

WILD = shop().replace("- host: shop.test", "- host: '*.test'")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(WILD, id="a wildcard"),
        pytest.param(WILD.replace("hosts: [shop.test]", "hosts: ['*.test']"), id="with its name"),
        pytest.param(shop().replace("- host: shop.test\n    http", "- http"), id="every host"),
    ],
)
@pytest.mark.parametrize(
    "notes", ["", "    nginx.ingress.kubernetes.io/auth-tls-secret: clients\n"]
)
def test_a_solver_takes_nothing_from_whom_a_host_is_served_by(text: str, notes: str) -> None:
    """No host falls through to another, so a solver's host would be 404 but for the challenge."""
    text = text.replace("letsencrypt\n", f"letsencrypt\n{notes}")
    more = [CLIENTS, pair_secret("shop-tls", "shop.test", "*.test", namespace="shop")]
    before, during = made(text, *more), made(text + SOLVER, *more)
    assert answer(during, IN_CLEAR) == TO_SOLVER
    for url in ("http://shop.test/", "https://shop.test/x", "http://other.test/"):
        assert answer(during, url) == answer(before, url)
    one, other = (explain(each, url="https://shop.test/x").tls for each in (before, during))
    assert one is not None
    assert other is not None
    assert one.client_certificates == other.client_certificates
    if "every" not in text and "- http" not in text:
        assert [each.secret for each in other.certificates if each.answers] == ["shop/shop-tls"]


def test_what_serves_a_solvers_host_may_change_meanwhile() -> None:
    translator = made(WILD + SOLVER)
    assert answer(translator, "https://shop.test/x") == TO_WEB
    translator.update(changes(WILD.replace("[10.1.2.9]", "[10.1.2.8]")))
    assert answer(translator, "https://shop.test/x") == "to 10.1.2.8:8080"
    translator.update(changes(WILD.replace("path: /,", "path: /y,")))
    assert answer(translator, "https://shop.test/x") == "404"
    assert answer(translator, "https://shop.test/y") == TO_WEB
    translator.update(changes(WILD.replace("port: {number: 80}", "port: {number: 81}")))
    assert answer(translator, "https://shop.test/x") == "503"
    translator.update([ObjectChange(key_of(objects(WILD)[-1]), None)])
    assert answer(translator, "https://shop.test/x") == "404"
    assert answer(translator, IN_CLEAR) == TO_SOLVER


def test_another_namespaces_wildcard_does_not_serve_a_solvers_host() -> None:
    text = SOLVER.replace("namespace: shop", "namespace: other")
    allowed = WILD.replace(
        "letsencrypt\n", "letsencrypt\n    python-ingress.dev/allow-hosts-from: other\n"
    )
    translator = made(allowed + text)
    assert answer(translator, IN_CLEAR) == TO_SOLVER
    assert answer(translator, "https://shop.test/x") == "404"


@pytest.mark.parametrize(
    "wild",
    [
        pytest.param(WILD.replace("hosts: [shop.test]", "hosts: ['*.test']"), id="a wildcard"),
        pytest.param(
            shop(tls=False).replace("- host: shop.test\n    http", "- http"), id="every host"
        ),
    ],
)
def test_a_solvers_host_is_guarded_as_soon_as_what_serves_it_is(wild: str) -> None:
    translator = made(wild + SOLVER, CLIENTS)
    guarded = wild.replace(
        "letsencrypt\n", "letsencrypt\n    nginx.ingress.kubernetes.io/auth-tls-secret: clients\n"
    )
    for text, expected in ((guarded, "required"), (wild, "none")):
        translator.update(changes(text))
        told = explain(translator, url="https://shop.test/x").tls
        assert told is not None
        assert told.client_certificates == expected
        assert answer(translator, IN_CLEAR) == TO_SOLVER
