"""Addresses and names that never become endpoints: the guards against requests that an attacker
forges through us (SSRF), by an EndpointSlice or an ExternalName that points to the local machine,
to the link, to a metadata service or to the API server.

What a DNS name resolves to is known to the worker alone, which judges again after resolution.
"""

import ipaddress
import re
from collections.abc import Iterable

from router.addresses import Address, inner, refused_always, refused_local

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
                self._addresses.add(inner(network.network_address))
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
        address = inner(address)
        if (why := refused_always(address)) is not None:
            return why
        if address in self._addresses or any(address in network for network in self._networks):
            return "it is an address of the API server or of this controller"
        return None if self._local_allowed else refused_local(address)

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
            return self.refused_address(address) or refused_local(inner(address))
        if len(host) > 253 or _NAME.fullmatch(host) is None:
            return "it is no DNS name"
        if _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
            return "it is an IP address in an unusual form"
        if host in _REFUSED_NAMES or host.endswith(_REFUSED_BELOW):
            return "it is the name of the local machine or of a service of the platform"
        if host in self._names or host.startswith("kubernetes.default.svc."):
            return "it is the name of the API server"
        return None
