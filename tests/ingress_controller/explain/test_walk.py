"""Explanations of requests to small sets of manifests."""

from ingress_controller.explain.explanation import Explanation, shown
from ingress_controller.explain.text import as_text
from ingress_controller.explain.walk import explain
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import ObjectChange, key_of
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translator
from router.model.limits import Limits
from tests.ingress_controller.translate.manifest import (
    backend,
    ingress,
    objects,
    path,
    rule,
    service,
    slices,
)

SHOP = (
    ingress(
        "shop",
        f"defaultBackend: {backend('home')}, rules: ["
        + rule("shop.test", path("Prefix", "/"), path("Exact", "/cart", "cart"))
        + "]",
    )
    + service("web", "{port: 80, name: http, targetPort: 8080}")
    + slices(
        "web",
        "{addresses: [10.0.0.1]},"
        "{addresses: [10.0.0.2], conditions: {ready: false}},"
        "{addresses: [10.0.0.3], conditions: {ready: false, serving: true, terminating: true}}",
    )
    + service("cart")
    + slices(
        "cart",
        "{addresses: ['fd00::1'], "
        "conditions: {ready: false, serving: true, terminating: true}},"
        "{addresses: ['fd00::2'], conditions: {ready: false}}",
        address_type="IPv6",
    )
    + service("home")
)


def translator(text: str) -> Translator:
    found = Translator(Options())
    found.update(ObjectChange(key_of(item), item) for item in objects(text))
    return found


def explained(
    url: str,
    manifests: str = SHOP,
    *headers: str,
    method: str = "GET",
    limits: Limits | None = None,
) -> Explanation:
    return explain(translator(manifests), url=url, method=method, headers=headers, limits=limits)


def verdict(told: Explanation) -> tuple[str, int | None, str]:
    return (told.verdict.outcome, told.verdict.status, told.verdict.code)


def test_a_forwarded_request_is_told_to_its_endpoints() -> None:
    told = explained("http://shop.test/x?y=z")
    assert verdict(told) == ("forwarded", None, "")
    assert told.served
    assert (told.host_pattern, told.forwarded_target) == ("shop.test", "/x?y=z")
    assert [(route.kind, route.path, route.won) for route in told.routes] == [
        ("Prefix", "/", True),
        ("Exact", "/cart", False),
        ("default", "", False),
    ]
    winner = told.routes[0]
    assert (winner.object, winner.field, winner.rule) == (
        "Ingress default/shop",
        "spec.rules[0].http.paths[0]",
        0,
    )
    (upstream,) = told.upstreams
    assert (upstream.service, upstream.port, upstream.port_name) == ("default/web", 80, "http")
    assert (upstream.target_port, upstream.type, upstream.share) == ("8080", "ClusterIP", 1.0)
    assert upstream.sources == ("EndpointSlice default/web-x",)
    assert [(each.address, each.eligible, each.reason) for each in upstream.endpoints] == [
        ("10.0.0.1:8080", True, "ready"),
        ("10.0.0.2:8080", False, "not ready"),
        ("10.0.0.3:8080", False, "terminating, and others are ready"),
    ]


def test_the_last_terminating_endpoint_is_eligible_and_says_why() -> None:
    told = explained("http://shop.test/cart")
    assert verdict(told) == ("forwarded", None, "")
    assert [(each.address, each.eligible) for each in told.upstreams[0].endpoints] == [
        ("[fd00::1]:8080", True),
        ("[fd00::2]:8080", False),
    ]
    assert "no endpoint is ready" in told.upstreams[0].endpoints[0].reason


def test_a_service_without_endpoints_is_503_with_the_reason() -> None:
    told = explained(
        "http://shop.test/",
        SHOP.replace("10.0.0.1]}", "10.0.0.1], conditions: {ready: false}}").replace(
            "terminating: true", "terminating: false"
        ),
    )
    assert verdict(told) == ("refused", 503, "no-endpoint")
    assert "10.0.0.1:8080, 10.0.0.2:8080" in told.verdict.reason
    assert told.limits == {}
    assert [route.path for route in told.routes if route.won] == ["/"]


def test_a_backend_that_cannot_be_served_is_503_and_its_finding_is_shown() -> None:
    text = ingress("i", f"rules: [{rule('h.test', path('Prefix', '/', 'nowhere'))}]")
    told = explained("http://h.test/", text)
    assert verdict(told) == ("refused", 503, "unservable-rule")
    assert "no Service nowhere" in told.verdict.reason
    assert [found.code for found in told.findings] == ["service-missing"]


def test_a_path_that_nothing_takes_is_404_and_other_hosts_are_not_asked() -> None:
    text = ingress("i", f"rules: [{rule('h.test', path('Exact', '/a'))}]") + ingress(
        "all", f"defaultBackend: {backend('web')}"
    )
    told = explained("http://h.test/b", text)
    assert verdict(told) == ("refused", 404, "no-route")
    assert "other hosts are not asked" in told.verdict.reason
    assert [route.reason for route in told.routes] == ["is another path"]


def test_a_host_of_an_ingress_that_is_not_ours_is_404_and_says_whose_it_is() -> None:
    text = ingress("i", f"rules: [{rule('h.test', path('Prefix', '/'))}]").replace(
        "ingressClassName: python", "ingressClassName: nginx"
    )
    told = explained("http://h.test/", text)
    assert verdict(told) == ("refused", 404, "no-route")
    assert [(found.object, found.code) for found in told.findings] == [
        ("Ingress default/i", "class-unknown")
    ]


def test_a_rule_whose_path_is_invalid_is_404_and_says_why() -> None:
    text = ingress("i", f"rules: [{rule('h.test', path('Prefix', '/a//b'))}]")
    told = explained("http://h.test/a/b", text)
    assert verdict(told) == ("refused", 404, "no-route")
    assert "path-invalid" in [found.code for found in told.findings]


def test_an_ambiguous_path_is_400_and_its_host_is_told() -> None:
    told = explained("http://shop.test/a/%2e%2e%2fadmin")
    assert verdict(told) == ("refused", 400, "ambiguous-path")
    assert "encoded dot" in told.verdict.reason
    assert told.host_pattern == "shop.test"


def test_a_bad_host_is_400() -> None:
    told = explained("http://127.0.0.1/", SHOP, "Host: shop..test")
    assert verdict(told) == ("refused", 400, "bad-host")
    assert told.verdict.reason == "the host holds an empty label"


def test_a_method_that_is_not_allowed_is_405() -> None:
    told = explained("http://shop.test/", method="TRACE")
    assert verdict(told) == ("refused", 405, "method-not-allowed")


def test_a_body_over_the_limit_is_413() -> None:
    told = explained(
        "http://shop.test/",
        SHOP,
        "Content-Length: 11",
        method="POST",
        limits=Limits(max_body_size=10),
    )
    assert verdict(told) == ("refused", 413, "body-too-large")


def test_options_of_the_server_is_answered_here() -> None:
    told = explained("*", SHOP, "Host: shop.test", method="OPTIONS")
    assert verdict(told) == ("answered", 204, "")
    assert told.served


def test_findings_about_other_rules_of_the_ingress_are_left_out() -> None:
    text = (
        ingress(
            "i",
            "rules: ["
            + rule("a.test", path("Prefix", "/"), path("Prefix", "/gone", "nowhere"))
            + "]",
        )
        + service("web")
        + slices("web", "{addresses: [10.0.0.1]}")
    )
    assert explained("http://a.test/", text).findings == ()
    assert [found.code for found in explained("http://a.test/gone", text).findings] == [
        "service-missing"
    ]


def test_a_claim_that_lost_is_told_with_all_claimants() -> None:
    claim = f"rules: [{rule('h.test', path('Prefix', '/'))}]"
    text = ingress("old", claim) + ingress("young", claim) + service("web")
    told = explained("http://h.test/", text)
    assert told.ingresses == ("Ingress default/old", "Ingress default/young")
    assert ("Ingress default/young", "route-conflict") in [
        (found.object, found.code) for found in told.findings
    ]


def test_locations_are_asked_for_what_is_shown() -> None:
    def locate(key: ObjectKey) -> str:
        return f"{key.kind}.yaml:1"

    told = explain(translator(SHOP), url="http://shop.test/", locate=locate)
    assert told.routes[0].location == "Ingress.yaml:1"
    assert told.upstreams[0].location == "Service.yaml:1"


def test_an_explanation_is_plain_json_values() -> None:
    plain = shown(explained("http://shop.test/"))
    assert plain["verdict"]["outcome"] == "forwarded"
    assert plain["upstreams"][0]["endpoints"][0]["eligible"] is True


def test_the_text_tells_every_step_in_order() -> None:
    text = as_text(explained("http://shop.test/cart/../x%41?y"), colour=False)
    assert text == (
        "GET /cart/../x%41?y   Host: shop.test\n"
        "\n"
        "forwarded to Service default/web\n"
        "to 10.0.0.1:8080\n"
        "\n"
        "Host\n"
        "  taken   shop.test     equals the host\n"
        "  absent  *.test        no rule is for this host\n"
        "  absent  (every host)  no rule is for every host\n"
        "\n"
        "Path\n"
        "  received   /cart/../x%41\n"
        "  matched    /xA\n"
        "  forwarded  /xA?y\n"
        "  because    letters, digits and - . _ ~ need no percent-encoding: decoded\n"
        "  because    dot segments (. and ..) are resolved\n"
        "\n"
        "Routes\n"
        "  wins   Prefix /         the longest prefix\n"
        "  loses  default backend  only takes what no path takes\n"
        "  no     Exact /cart      is another path\n"
        "\n"
        "  Ingress default/shop   spec.rules[0].http.paths[0]\n"
        "\n"
        "Service\n"
        "  default/web   port http (80), target port 8080, ClusterIP\n"
        "  endpoints from EndpointSlice default/web-x\n"
        "  eligible  10.0.0.1:8080  ready yes, serving yes, terminating no: ready\n"
        "  left out  10.0.0.2:8080  ready no, serving yes, terminating no: not ready\n"
        "  left out  10.0.0.3:8080  ready no, serving yes, terminating yes: "
        "terminating, and others are ready\n"
        "\n"
        "Limits\n"
        "  --max-body-size             unlimited\n"
        "  --body-timeout              30s\n"
        "  --send-timeout              30s\n"
        "  --upstream-connect-timeout  5s\n"
        "  --upstream-read-timeout     1m\n"
        "  --upstream-tries            3\n"
        "  --max-upstream-connections  1024\n"
        "  --max-upstream-waiting      1024"
    )


def test_nothing_in_a_request_steers_the_terminal() -> None:
    told = explained("http://shop.test/\x1b[2J")
    text = as_text(told, colour=False)
    assert "\x1b" not in text
    assert "\\x1b[2J" in text


def test_a_host_of_many_routes_shows_the_nearest_and_counts_the_rest() -> None:
    paths = (path("Prefix", f"/p{number}") for number in range(100))
    text = ingress("i", f"rules: [{rule('h.test', path('Prefix', '/'), *paths)}]") + service("web")
    shown_text = as_text(explained("http://h.test/p7/x", text), colour=False)
    assert "wins   Prefix /p7" in shown_text
    assert "loses  Prefix /" in shown_text
    assert "and 74 more that do not take the path" in shown_text


def test_a_host_that_its_claimant_was_refused_is_told() -> None:
    """The wildcard of another namespace takes the request, or nothing does."""
    below = ingress("b", f"rules: [{rule('api.shop.test', path('Prefix', '/'))}]", namespace="b")
    wild = ingress("a", f"rules: [{rule('*.shop.test', path('Prefix', '/'))}]", namespace="a")
    everything = ingress("c", f"rules: [{rule('', path('Prefix', '/'))}]", namespace="c")
    apart = Translator(Options(allow_shared_hosts=False, catch_all_namespaces=("a",)))
    apart.update(
        ObjectChange(key_of(item), item) for item in objects(SHOP + below + wild + everything)
    )

    told = explain(apart, url="http://api.shop.test/")
    assert told.host_pattern == "*.shop.test"
    assert ("host-owned", "Ingress b/b") in [(each.code, each.object) for each in told.findings]

    told = explain(apart, url="http://other.test/")
    assert told.host_pattern is None
    assert [(each.code, each.object) for each in told.findings] == [
        ("catch-all-refused", "Ingress c/c")
    ]


def test_a_mistake_in_the_options_of_the_class_is_told() -> None:
    cls = (
        "---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: python}\n"
        "spec: {controller: python-ingress.dev/controller, "
        "parameters: {kind: ConfigMap, scope: Namespace, namespace: edge, name: options}}\n"
    )
    options = (
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: options, namespace: edge}\n"
        "data: {ssl-redirekt: 'false'}\n"
    )
    told = explained("http://shop.test/", SHOP + cls + options)
    assert [each.code for each in told.findings if "ConfigMap" in each.object] == ["option-unknown"]
    told = explained("http://shop.test/", SHOP + cls)
    assert "class-parameters-missing" in [each.code for each in told.findings]
