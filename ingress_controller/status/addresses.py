"""Addresses and names that clients reach us by, out of Services and nodes.

An address is an IP address in its canonical spelling, or a host name in small letters; lists are
sorted and without repetitions, so that equal ones compare equal.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

from ingress_controller.objects.service import Service
from ingress_controller.objects.slices import EndpointSlice

MAX_ADDRESSES: Final = 64
"""In one status: it is written into every Ingress, and nodes may be many."""

Addresses = tuple[str, ...]


def listed(addresses: Iterable[str]) -> Addresses:
    """In order, each once, MAX_ADDRESSES at most; what is empty is left out."""
    found = {canonical(address) for address in addresses}
    return tuple(sorted(found - {""}))[:MAX_ADDRESSES]


def canonical(address: str) -> str:
    """The one spelling of an address or a name."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address.lower().rstrip(".")


def entries(addresses: Addresses) -> list[dict[str, str]]:
    """`status.loadBalancer.ingress` (networking/v1)."""
    return [{"ip" if _is_ip(each) else "hostname": each} for each in addresses]


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def of_service(service: Service) -> Addresses:
    """Where clients reach a Service: as ingress-nginx's --publish-service reads it.

    That of its load balancer and `spec.externalIPs`; a Service without load balancer that has no
    external addresses has that inside the cluster. Empty while the load balancer has none yet.
    """
    spec = service.spec
    if spec.type == "ExternalName":
        return listed([spec.external_name])
    found = list(spec.external_ips)
    if spec.type == "LoadBalancer":
        for each in service.status.load_balancer.ingress:
            found += (each.ip, each.hostname)
    elif not found and spec.cluster_ip != "None":
        found = [spec.cluster_ip]
    return listed(found)


def nodes_of(slices: Iterable[EndpointSlice]) -> frozenset[str]:
    """Names of the nodes that run a ready endpoint."""
    return frozenset(
        endpoint.node_name
        for each in slices
        for endpoint in each.endpoints
        if endpoint.node_name and endpoint.conditions.ready is not False
    )


class _NodeAddress(msgspec.Struct, frozen=True):
    type: str
    address: str


class _NodeStatus(msgspec.Struct, frozen=True):
    addresses: tuple[_NodeAddress, ...] | None = None


class _Node(msgspec.Struct, frozen=True):
    status: _NodeStatus = _NodeStatus()


def of_node(body: bytes, which: Literal["internal", "external"]) -> Addresses:
    """The addresses of a Node of the API, as JSON.

    External: those of type ExternalIP; a node without one has its internal ones instead, as in
    ingress-nginx.

    Raises:
        ValueError: it is no Node.
    """
    node = msgspec.json.decode(body, type=_Node)
    found = node.status.addresses or ()

    def of_type(type_: str) -> Iterator[str]:
        return (each.address for each in found if each.type == type_)

    external = listed(of_type("ExternalIP")) if which == "external" else ()
    return external or listed(of_type("InternalIP"))
