"""Addresses and names that never become endpoints (SSRF by slices and external names)."""

from ipaddress import ip_address

import pytest

from ingress_controller.translate.addresses import Guard
from ingress_controller.translate.options import Options
from tests.ingress_controller.translate.manifest import (
    endpoints,
    ingress,
    only,
    outcome,
    path,
    rule,
    service,
    slices,
    translated,
)

DENIED = ("10.96.0.1", "fd00::1", "172.18.0.0/24", "api.cluster.example", "[fd00::2]", "")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.255",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "::ffff:a9fe:a9fe",
    ],
)
def test_local_addresses_are_refused_where_a_cluster_is_served(address: str) -> None:
    assert Guard().refused_address(ip_address(address)) is not None
    assert Guard(local_allowed=True).refused_address(ip_address(address)) is None
    assert Guard(local_allowed=True).refused_name(address) is not None


@pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "ff02::1"])
def test_what_is_no_single_host_is_refused_in_any_case(address: str) -> None:
    assert Guard(local_allowed=True).refused_address(ip_address(address)) is not None


@pytest.mark.parametrize("address", ["10.0.0.1", "203.0.113.9", "2001:db8::1", "fd00::9"])
def test_others_are_taken(address: str) -> None:
    guard = Guard(denied=DENIED)
    assert guard.refused_address(ip_address(address)) is None
    assert guard.refused_name(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "10.96.0.1",
        "::ffff:10.96.0.1",
        "64:ff9b::a60:1",
        "fd00::1",
        "fd00:0::1",
        "fd00::2",
        "172.18.0.77",
        "::ffff:172.18.0.77",
    ],
)
@pytest.mark.parametrize("local", [True, False])
def test_the_api_server_and_ourselves_are_refused(address: str, *, local: bool) -> None:
    guard = Guard(local_allowed=local, denied=DENIED)
    assert "API server or of this controller" in (guard.refused_address(ip_address(address)) or "")
    assert guard.refused_name(address) is not None
    assert guard.refused_name(f"[{address}]" if ":" in address else f"{address}.") is not None


def test_the_api_server_is_refused_by_name() -> None:
    guard = Guard(denied=DENIED)
    assert guard.refused_name("API.cluster.example.") == "it is the name of the API server"
    assert guard.refused_name("kubernetes.default.svc.cluster.local") is not None
    assert guard.refused_name("cluster.example") is None


WEB = ingress("i", f"rules: [{rule('a.test', path('Prefix', '/'))}]") + service("web")


@pytest.mark.parametrize(
    ("denied", "left"),
    [
        pytest.param((), ["10.0.0.1", "10.0.0.2"], id="nothing"),
        pytest.param(("10.0.0.1",), ["10.0.0.2"], id="an address"),
        pytest.param(("10.0.0.0/31",), ["10.0.0.2"], id="a network"),
        pytest.param(("10.0.0.0/8",), [], id="all"),
    ],
)
def test_denied_addresses_are_left_out_of_slices(denied: tuple[str, ...], left: list[str]) -> None:
    text = WEB + slices("web", "{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}")
    translation = translated(text, Options(denied_addresses=denied))
    served = endpoints(translation.snapshot, "default/web:80")
    assert [each.address for each in served] == left
    if denied:
        found = only(translation, "endpoint-address-refused")
        assert found.object.name == "web-x"


def test_denied_addresses_are_no_external_names() -> None:
    text = WEB.replace("ports:", "type: ExternalName, externalName: 10.0.0.1, ports:")
    options = Options(allow_external_name=True)
    assert outcome(translated(text, options).snapshot, "a.test", "/") == "web"
    options = Options(allow_external_name=True, denied_addresses=("10.0.0.1",))
    translation = translated(text, options)
    assert outcome(translation.snapshot, "a.test", "/") == "503"
    assert "API server" in only(translation, "external-name-refused").message


def test_the_service_of_the_api_server_is_never_served() -> None:
    text = WEB.replace("name: web", "name: kubernetes") + slices(
        "kubernetes", "{addresses: [172.18.0.2]}"
    )
    translation = translated(text)
    assert outcome(translation.snapshot, "a.test", "/") == "503"
    assert only(translation, "service-refused").object.name == "i"
    elsewhere = text.replace("namespace: default", "namespace: shop")
    assert outcome(translated(elsewhere).snapshot, "a.test", "/") == "kubernetes"
