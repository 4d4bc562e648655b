"""Who the client is: decided from the peer's address and, if the peer is trusted, its fields."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from router.http.fields import Field

Network = IPv4Network | IPv6Network

MAX_HOPS = 32
"""Addresses of X-Forwarded-For that are looked at, from the right."""


class TrustedProxies:
    """The peers whose forwarding fields count."""

    __slots__ = ("_known", "_networks")

    def __init__(self, cidrs: tuple[str, ...]) -> None:
        """Raises ValueError when a CIDR is none."""
        self._networks: list[Network] = [ip_network(cidr, strict=False) for cidr in cidrs]
        self._known: dict[str, bool] = {}

    def trust(self, address: str) -> bool:
        """Whether this address (a literal; anything else is not trusted) is a trusted proxy."""
        if not self._networks:
            return False
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= 4096:
                self._known.clear()
            known = self._known[address] = self._look_up(address)
        return known

    def _look_up(self, address: str) -> bool:
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        mapped = getattr(ip, "ipv4_mapped", None)
        return any((mapped or ip) in network for network in self._networks)


def client_address(peer: str, fields: list[Field] | None, proxies: TrustedProxies) -> str:
    """The address of the client: the rightmost one in X-Forwarded-For that is not trusted.

    ``peer`` must be trusted itself. An entry that is no address ends the search: what stands
    left of it was written by somebody we know nothing about.
    """
    client = peer
    for hop in reversed(forwarded_for(fields)[-MAX_HOPS:]):
        literal = _literal(hop)
        if literal is None:
            break
        client = literal
        if not proxies.trust(literal):
            break
    return client


def forwarded_for(fields: list[Field] | None) -> list[str]:
    """The entries of all X-Forwarded-For fields, in order."""
    return [
        entry
        for field in fields or ()
        if field.name == b"x-forwarded-for"
        for part in field.value.decode("latin-1").split(",")
        if (entry := part.strip())
    ]


def _literal(entry: str) -> str | None:
    """The address in an entry that may carry brackets or a port; None when it is no address."""
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    try:
        return plain_address(entry)
    except ValueError:
        return None


def plain_address(address: str) -> str:
    """An address in its usual form; IPv4 mapped into IPv6 (dual-stack sockets) as IPv4.

    Raises ValueError when it is no address.
    """
    ip = ip_address(address)
    return str(getattr(ip, "ipv4_mapped", None) or ip)
