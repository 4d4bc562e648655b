"""EndpointSlices: conditions with their nil rules, duplicates, families, addresses refused."""

import pytest

from ingress_controller.translate import endpoints as module
from ingress_controller.translate.options import Options
from router.model.upstreams import Endpoint
from tests.ingress_controller.translate.manifest import (
    backend,
    codes,
    endpoints,
    ingress,
    only,
    outcome,
    service,
    slices,
    translated,
)

TO_WEB = service("web") + ingress("web", f"defaultBackend: {backend('web')}")
KEY = "default/web:80"


def legacy(subsets: str) -> str:
    return f"---\napiVersion: v1\nkind: Endpoints\nmetadata: {{name: web}}\nsubsets: [{subsets}]\n"


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        pytest.param("{}", (True, True, False), id="all unknown"),
        pytest.param("{ready: null, serving: null}", (True, True, False), id="null is unknown"),
        pytest.param("{ready: true}", (True, True, False), id="ready"),
        pytest.param("{ready: false}", (False, True, False), id="not ready, serving unknown"),
        pytest.param("{ready: false, serving: false}", (False, False, False), id="not serving"),
        pytest.param(
            "{ready: false, serving: true, terminating: true}", (False, True, True), id="ending"
        ),
        pytest.param(
            "{ready: true, serving: true, terminating: true}",
            (True, True, True),
            id="publishNotReadyAddresses",
        ),
    ],
)
def test_unknown_conditions_mean_what_the_api_says(
    conditions: str, expected: tuple[bool, bool, bool]
) -> None:
    text = slices("web", f"{{addresses: [10.0.0.1], conditions: {conditions}}}")
    snapshot = translated(TO_WEB + text).snapshot
    assert endpoints(snapshot, KEY) == [Endpoint("10.0.0.1", 8080, *expected)]


def test_without_conditions_an_endpoint_is_ready() -> None:
    snapshot = translated(TO_WEB + slices("web", "{addresses: [10.0.0.1]}")).snapshot
    assert endpoints(snapshot, KEY) == [Endpoint("10.0.0.1", 8080)]


def test_endpoints_of_all_slices_are_joined_each_address_once() -> None:
    text = slices("web", "{addresses: [10.0.0.2]}, {addresses: [10.0.0.1]}", suffix="a")
    text += slices("web", "{addresses: [10.0.0.1]}, {addresses: [10.0.0.3]}", suffix="b")
    snapshot = translated(TO_WEB + text).snapshot
    assert endpoints(snapshot, KEY) == [Endpoint(f"10.0.0.{n}", 8080) for n in (1, 2, 3)]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_of_two_copies_of_an_endpoint_the_one_that_can_serve_more_counts(
    order: tuple[str, str],
) -> None:
    ending = "{addresses: [10.0.0.1], conditions: {ready: false, terminating: true}}"
    first, second = order
    text = slices("web", ending, suffix=first) + slices(
        "web", "{addresses: [10.0.0.1]}", suffix=second
    )
    assert endpoints(translated(TO_WEB + text).snapshot, KEY) == [Endpoint("10.0.0.1", 8080)]


def test_both_families_are_served_and_ipv6_has_one_spelling() -> None:
    text = slices("web", "{addresses: [10.0.0.1]}", suffix="4")
    text += slices(
        "web",
        '{addresses: ["2001:DB8:0::1"]}, {addresses: ["2001:db8::1"]}',
        address_type="IPv6",
        suffix="6",
    )
    snapshot = translated(TO_WEB + text).snapshot
    assert endpoints(snapshot, KEY) == [Endpoint("10.0.0.1", 8080), Endpoint("2001:db8::1", 8080)]


def test_only_the_first_address_of_an_endpoint_is_taken() -> None:
    snapshot = translated(TO_WEB + slices("web", "{addresses: [10.0.0.1, 10.0.0.9]}")).snapshot
    assert endpoints(snapshot, KEY) == [Endpoint("10.0.0.1", 8080)]


def test_a_slice_of_names_is_refused() -> None:
    text = slices("web", "{addresses: [web.example]}", address_type="FQDN")
    translation = translated(TO_WEB + text)
    assert endpoints(translation.snapshot, KEY) == []
    assert only(translation, "slice-address-type").object.kind == "EndpointSlice"


@pytest.mark.parametrize(
    ("service_port", "slice_ports", "expected"),
    [
        pytest.param("{port: 80}", "{port: 8080}", [8080], id="unnamed to unnamed"),
        pytest.param("{port: 80}", '{name: "", port: 8080}', [8080], id="unnamed to empty"),
        pytest.param("{port: 80, name: http}", "{name: http, port: 3000}", [3000], id="by name"),
        pytest.param(
            "{port: 80, name: http}",
            "{name: admin, port: 1}, {name: http, port: 2}",
            [2],
            id="the port of that name alone",
        ),
        pytest.param("{port: 80, name: http}", "{port: 8080}", [], id="another name"),
        pytest.param("{port: 80, name: http}", "{name: http}", [], id="no number"),
        pytest.param("{port: 80, name: http}", "{name: http, port: 0}", [], id="zero"),
        pytest.param("{port: 80, name: http}", "{name: http, port: 65536}", [], id="too high"),
        pytest.param(
            "{port: 80, name: http}", "{name: http, port: 53, protocol: UDP}", [], id="no TCP"
        ),
        pytest.param("{port: 80, name: http}", "", [], id="no ports"),
    ],
)
def test_the_port_of_a_slice_is_found_by_the_name_of_the_service_port(
    service_port: str, slice_ports: str, expected: list[int]
) -> None:
    text = service("web", service_port) + ingress("web", f"defaultBackend: {backend('web')}")
    snapshot = translated(text + slices("web", "{addresses: [10.0.0.1]}", slice_ports)).snapshot
    assert [each.port for each in endpoints(snapshot, KEY)] == expected


def test_pods_may_have_a_named_port_under_different_numbers() -> None:
    text = slices("web", "{addresses: [10.0.0.1]}", "{name: http, port: 1}", suffix="a")
    text += slices("web", "{addresses: [10.0.0.2]}", "{name: http, port: 2}", suffix="b")
    snapshot = translated(TO_WEB + text).snapshot
    assert endpoints(snapshot, KEY) == [Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 2)]


def test_slices_of_another_service_or_namespace_do_not_count() -> None:
    other = slices("web", "{addresses: [10.0.0.1]}").replace("labels:", "namespace: shop, labels:")
    snapshot = translated(TO_WEB + other + slices("api", "{addresses: [10.0.0.2]}")).snapshot
    assert endpoints(snapshot, KEY) == []


@pytest.mark.parametrize(
    ("address", "family", "why"),
    [
        pytest.param("127.0.0.1", "IPv4", "loopback", id="loopback"),
        pytest.param("127.9.9.9", "IPv4", "loopback", id="all of 127"),
        pytest.param("169.254.169.254", "IPv4", "metadata", id="metadata"),
        pytest.param("169.254.1.1", "IPv4", "link-local", id="link-local"),
        pytest.param("0.0.0.0", "IPv4", "unspecified", id="unspecified"),
        pytest.param("0.1.2.3", "IPv4", "unspecified", id="this network"),
        pytest.param("100.100.100.200", "IPv4", "metadata", id="metadata of Alibaba"),
        pytest.param("168.63.129.16", "IPv4", "metadata", id="metadata of Azure"),
        pytest.param("::1", "IPv6", "loopback", id="IPv6 loopback"),
        pytest.param("::", "IPv6", "unspecified", id="IPv6 unspecified"),
        pytest.param("fe80::1", "IPv6", "link-local", id="IPv6 link-local"),
        pytest.param("::ffff:127.0.0.1", "IPv6", "loopback", id="mapped loopback"),
        pytest.param("::ffff:a9fe:a9fe", "IPv6", "metadata", id="mapped metadata"),
        pytest.param("64:ff9b::7f00:1", "IPv6", "loopback", id="translated loopback"),
        pytest.param("fd00:ec2::254", "IPv6", "metadata", id="metadata of AWS"),
    ],
)
def test_local_addresses_are_refused_unless_they_are_allowed(
    address: str, family: str, why: str
) -> None:
    text = TO_WEB + slices(
        "web", f'{{addresses: ["{address}"]}}, {{addresses: [10.0.0.7]}}', address_type=family
    )
    refused = translated(text)
    assert [each.address for each in endpoints(refused.snapshot, KEY)] == ["10.0.0.7"]
    found = only(refused, "endpoint-address-refused")
    assert found.severity == "error"
    assert found.object.kind == "EndpointSlice"
    assert why in found.message
    allowed = translated(text, Options(allow_local_endpoints=True))
    assert len(endpoints(allowed.snapshot, KEY)) == 2
    assert allowed.diagnostics == ()


@pytest.mark.parametrize(
    "address", ["224.0.0.1", "255.255.255.255", "ff02::1", "web.example", "1.2.3", "01.2.3.4", ""]
)
def test_what_is_no_address_of_a_host_is_refused_always(address: str) -> None:
    text = TO_WEB + slices("web", f'{{addresses: ["{address}"]}}')
    translation = translated(text, Options(allow_local_endpoints=True))
    assert endpoints(translation.snapshot, KEY) == []
    assert "endpoint-address-refused" in codes(translation)


def test_ordinary_addresses_that_look_like_guarded_ones_are_served() -> None:
    addresses = [
        "12.7.0.1",
        "169.25.4.1",
        "10.0.0.255",
        "192.0.2.1",
        "223.255.255.254",
        "100.64.0.1",
    ]
    text = slices("web", ", ".join(f"{{addresses: [{each}]}}" for each in addresses))
    translation = translated(TO_WEB + text)
    assert {each.address for each in endpoints(translation.snapshot, KEY)} == set(addresses)
    assert translation.diagnostics == ()


def test_legacy_endpoints_serve_a_service_without_slices() -> None:
    text = legacy(
        "{addresses: [{ip: 10.0.0.1}], notReadyAddresses: [{ip: 10.0.0.2}],"
        " ports: [{name: http, port: 8080}]}"
    )
    translation = translated(TO_WEB + text)
    assert endpoints(translation.snapshot, KEY) == [
        Endpoint("10.0.0.1", 8080),
        Endpoint("10.0.0.2", 8080, ready=False, serving=False),
    ]
    assert translation.diagnostics == ()


def test_a_slice_even_an_empty_one_outweighs_legacy_endpoints() -> None:
    text = legacy("{addresses: [{ip: 10.0.0.1}], ports: [{name: http, port: 8080}]}")
    snapshot = translated(TO_WEB + text + slices("web", "")).snapshot
    assert endpoints(snapshot, KEY) == []


@pytest.mark.parametrize(
    ("text", "severity", "words"),
    [
        pytest.param("", "hint", "add one with the label", id="no slice at all"),
        pytest.param(slices("web", ""), "warning", "match the selector", id="an empty slice"),
        pytest.param(
            slices("web", "{addresses: [10.0.0.1], conditions: {ready: false}}"),
            "warning",
            "readiness",
            id="none ready",
        ),
        pytest.param(
            slices("web", "{addresses: [10.0.0.1]}", "{name: web, port: 80}"),
            "warning",
            "'web': the port of a slice must have the name of the Service port, 'http'",
            id="another port name",
        ),
    ],
)
def test_a_service_that_nothing_serves_is_a_route_with_a_diagnostic(
    text: str, severity: str, words: str
) -> None:
    translation = translated(TO_WEB + text)
    found = only(translation, "service-without-endpoints")
    assert found.severity == severity
    assert words in found.remedy
    assert outcome(translation.snapshot, "x.test", "/") == "web"


def test_endpoints_that_end_but_still_serve_are_usable() -> None:
    ending = "{addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}}"
    assert translated(TO_WEB + slices("web", ending)).diagnostics == ()


def test_slices_of_services_without_a_route_are_not_looked_at() -> None:
    text = service("web") + slices("web", "{addresses: [127.0.0.1]}", address_type="FQDN")
    translation = translated(text)
    assert translation.diagnostics == ()
    assert translation.snapshot.endpoints == {}


def test_more_endpoints_than_an_upstream_may_have_are_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_ENDPOINTS", 3)
    text = slices("web", ", ".join(f"{{addresses: [10.0.0.{n}]}}" for n in range(1, 6)))
    translation = translated(TO_WEB + text)
    assert [each.address[-1] for each in endpoints(translation.snapshot, KEY)] == ["1", "2", "3"]
    assert "endpoints-too-many" in codes(translation)
