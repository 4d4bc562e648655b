"""Which addresses a Service and a node have."""

import msgspec
import pytest

from ingress_controller.objects.meta import ObjectMeta
from ingress_controller.objects.service import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServiceSpec,
    ServiceStatus,
)
from ingress_controller.objects.slices import EndpointConditions, EndpointSlice, SliceEndpoint
from ingress_controller.status.addresses import (
    MAX_ADDRESSES,
    entries,
    listed,
    nodes_of,
    of_node,
    of_service,
)


def service(*balancer: LoadBalancerIngress, **spec: object) -> Service:
    return Service(
        ObjectMeta(name="edge", namespace="n"),
        ServiceSpec(**{"type": "LoadBalancer", "cluster_ip": "10.96.0.9", **spec}),  # type: ignore[arg-type] # fields
        ServiceStatus(LoadBalancerStatus(balancer)),
    )


def test_lists_are_sorted_canonical_and_without_repetitions() -> None:
    given = ["2001:DB8::0:1", "b.example.com.", "", "192.0.2.1", "B.example.com", "2001:db8::1"]
    assert listed(given) == ("192.0.2.1", "2001:db8::1", "b.example.com")


def test_lists_are_bounded() -> None:
    assert len(listed(f"host-{number}" for number in range(1000))) == MAX_ADDRESSES


def test_entries_say_which_is_an_address_and_which_a_name() -> None:
    assert entries(("1.example.com", "192.0.2.1", "2001:db8::1")) == [
        {"hostname": "1.example.com"},
        {"ip": "192.0.2.1"},
        {"ip": "2001:db8::1"},
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(service(), (), id="load balancer pending"),
        pytest.param(
            service(LoadBalancerIngress("192.0.2.2"), LoadBalancerIngress("192.0.2.1")),
            ("192.0.2.1", "192.0.2.2"),
            id="load balancer with two addresses",
        ),
        pytest.param(
            service(LoadBalancerIngress(hostname="elb.example.com")),
            ("elb.example.com",),
            id="load balancer with a name",
        ),
        pytest.param(
            service(LoadBalancerIngress("192.0.2.1", "elb.example.com")),
            ("192.0.2.1", "elb.example.com"),
            id="load balancer with both",
        ),
        pytest.param(
            service(LoadBalancerIngress("192.0.2.1"), external_ips=("198.51.100.1",)),
            ("192.0.2.1", "198.51.100.1"),
            id="external addresses beside the load balancer",
        ),
        pytest.param(
            service(LoadBalancerIngress("192.0.2.1"), type="NodePort"),
            ("10.96.0.9",),
            id="what is left of a load balancer that it was does not count",
        ),
        pytest.param(service(type="ClusterIP"), ("10.96.0.9",), id="inside the cluster"),
        pytest.param(
            service(type="NodePort", external_ips=("198.51.100.1",)),
            ("198.51.100.1",),
            id="external addresses instead of that inside",
        ),
        pytest.param(service(type="ClusterIP", cluster_ip="None"), (), id="headless"),
        pytest.param(
            service(type="ExternalName", external_name="Edge.example.com."),
            ("edge.example.com",),
            id="another name",
        ),
    ],
)
def test_a_service_is_reached_at(given: Service, expected: tuple[str, ...]) -> None:
    assert of_service(given) == expected


def test_nodes_are_those_with_a_ready_endpoint() -> None:
    def endpoint(node: str, *, ready: bool | None) -> SliceEndpoint:
        return SliceEndpoint(("10.0.0.1",), EndpointConditions(ready=ready), node)

    meta = ObjectMeta(name="x", namespace="n")
    slices = [
        EndpointSlice(meta, "IPv4", (endpoint("a", ready=True), endpoint("b", ready=False))),
        EndpointSlice(meta, "IPv6", (endpoint("a", ready=True), endpoint("c", ready=None))),
        EndpointSlice(meta, "IPv4", (endpoint("", ready=True),)),
    ]
    assert nodes_of(slices) == {"a", "c"}


def node(**addresses: str) -> bytes:
    found = [{"type": type_, "address": address} for type_, address in addresses.items()]
    return msgspec.json.encode({"kind": "Node", "status": {"addresses": found}})


def test_a_node_has_internal_and_external_addresses() -> None:
    body = node(InternalIP="10.1.0.1", ExternalIP="192.0.2.7", Hostname="node-1")
    assert of_node(body, "internal") == ("10.1.0.1",)
    assert of_node(body, "external") == ("192.0.2.7",)
    assert of_node(node(InternalIP="10.1.0.1"), "external") == ("10.1.0.1",)
    assert of_node(node(Hostname="node-1"), "internal") == ()
    assert of_node(b'{"status": {"addresses": null}}', "internal") == ()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"status": {"addresses": [{"type": 1}]}}'])
def test_what_is_no_node_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        of_node(body, "internal")
