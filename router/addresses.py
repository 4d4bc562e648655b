"""Addresses that lead to the local machine, to the link, or to what a platform guards by address.

Whoever may name an endpoint could make us ask there in our place (server-side request forgery).
Literal addresses are judged when rules are translated, names after they are resolved.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16")
)
"""Where clouds serve credentials: the common address, and those of AWS, Alibaba and Azure."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


def inner(address: Address) -> Address:
    """The IPv4 address inside an IPv6 address (mapped, or translated by NAT64); else the address
    itself."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    found = address.ipv4_mapped
    if found is None and address in _NAT64:
        found = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return found or address


def refused_always(address: Address) -> str | None:
    """Why nothing can be served at an `inner` address; None when it may be."""
    if address.is_multicast or address == _BROADCAST:
        return "it is a multicast or broadcast address"
    return None


def refused_local(address: Address) -> str | None:
    """Why an `inner` address leads where only the local machine may ask; None when it does not."""
    if address.is_loopback:
        return "it is a loopback address"
    if address in _METADATA:
        return "it is the address of a metadata service"
    if address.is_link_local:
        return "it is a link-local address"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "it is an unspecified address"
    return None
