"""Addresses and names that never become endpoints: the guards against requests that an attacker
forges through us (SSRF), by an EndpointSlice or an ExternalName that points to the local machine,
to the link, to a metadata service or to the API server.

What a DNS name resolves to is known to the worker alone, which judges again after resolution.
"""

import ipaddress
import re
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Never endpoints, whatever the options say: names of the local machine, of the metadata services
# of clouds, and of the API server.
_REFUSED_NAMES = frozenset(
    {
        "localhost",
        "localhost.localdomain",
        "localhost6",
        "ip6-localhost",
        "ip6-loopback",
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
    }
)
_REFUSED_BELOW = (".localhost", ".localhost.localdomain")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")


def external_address(name: str) -> str:
    """An external name in the form in which it becomes an endpoint address."""
    return name.lower().removesuffix(".")


_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16")
)
"""Where clouds serve credentials: the common address, and those of AWS, Alibaba and Azure."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


class Guard:
    """Says of addresses and names whether they may become endpoints."""

    __slots__ = ("_addresses", "_local_allowed", "_names", "_networks", "_texts")

    def __init__(self, *, local_allowed: bool = False, denied: Iterable[str] = ()) -> None:
        """``denied``: addresses, networks and DNS names beside those that are denied anyway.

        An address is denied whatever its port.
        """
        self._local_allowed = local_allowed
        self._addresses: set[Address] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._names: set[str] = set()
        for written in denied:
            literal = external_address(written).removeprefix("[").removesuffix("]")
            try:
                network = ipaddress.ip_network(literal, strict=False)
            except ValueError:
                self._names.add(literal)
                continue
            if network.num_addresses == 1:
                self._addresses.add(_inner(network.network_address))
            else:
                self._networks.append(network)
        self._texts = frozenset(map(str, self._addresses))

    def may_deny(self, written: str) -> bool:
        """Whether an IPv4 address in its usual form needs a closer look."""
        return written in self._texts or bool(self._networks)

    def refused_address(self, address: Address) -> str | None:
        """Why this address never becomes an endpoint; None when it may.

        An IPv4 address inside an IPv6 address (mapped, or translated by NAT64) counts as itself.
        """
        address = _inner(address)
        if address.is_multicast or address == _BROADCAST:
            return "it is a multicast or broadcast address"
        if address in self._addresses or any(address in network for network in self._networks):
            return "it is an address of the API server or of this controller"
        return None if self._local_allowed else _refused_local(address)

    def refused_name(self, name: str) -> str | None:
        """Why this external name never becomes an endpoint; None when it may.

        Readers of numbers (``inet_aton``) take 127.1, 0x7f000001 and 2130706433 for addresses, so a
        name that ends in a number is an address of four decimal parts or is refused. Local
        addresses are refused in any case.
        """
        host = external_address(name)
        literal = host.removeprefix("[").removesuffix("]")
        try:
            address = ipaddress.ip_address(literal)
        except ValueError:
            pass
        else:
            return self.refused_address(address) or _refused_local(_inner(address))
        if len(host) > 253 or _NAME.fullmatch(host) is None:
            return "it is no DNS name"
        if _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
            return "it is an IP address in an unusual form"
        if host in _REFUSED_NAMES or host.endswith(_REFUSED_BELOW):
            return "it is the name of the local machine or of a service of the platform"
        if host in self._names or host.startswith("kubernetes.default.svc."):
            return "it is the name of the API server"
        return None


def _inner(address: Address) -> Address:
    """The IPv4 address inside an IPv6 address; else the address itself."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    inner = address.ipv4_mapped
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def _refused_local(address: Address) -> str | None:
    if address.is_loopback:
        return "it is a loopback address"
    if address in _METADATA:
        return "it is the address of a metadata service"
    if address.is_link_local:
        return "it is a link-local address"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "it is an unspecified address"
    return None
