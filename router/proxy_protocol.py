"""The PROXY protocol: who the client of a load balancer is, in a header before everything else.

Versions 1 and 2 of the specification by HAProxy's authors (proxy-protocol.txt). Pure: bytes in,
outcome out. The caller peeks, so a header is consumed in its exact length.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

MAX_HEADER = 536
"""Bytes looked at: version 1 takes 107, version 2 that and what its TLVs add; longer is refused."""

_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_V1 = re.compile(
    rb"PROXY (?:UNKNOWN[\x20-\x7e]*|TCP([46]) ([0-9A-Fa-f.:]{2,45}) ([0-9A-Fa-f.:]{2,45})"
    rb" (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n"
)
_V1_LENGTH = 107


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A complete header."""

    length: int
    """Bytes that it takes at the beginning of the connection."""
    client: str | None
    """The client's address; None when the proxy speaks for itself (health checks)."""


@dataclass(frozen=True, slots=True)
class NeedMore:
    """Not decided yet."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """No such header."""

    reason: str


def read_proxy_header(data: bytes) -> ProxyHeader | NeedMore | Malformed:
    """The header at the beginning of ``data`` (the first bytes of a connection)."""
    start = data[:12]
    if _V2.startswith(start) or start.startswith(_V2):
        return _read_v2(data) if len(data) >= 16 else NeedMore()
    if b"PROXY ".startswith(data[:6]) or data.startswith(b"PROXY "):
        return _read_v1(data)
    return Malformed("the connection does not begin with a PROXY protocol header")


def _read_v1(data: bytes) -> ProxyHeader | NeedMore | Malformed:
    end = data.find(b"\n", 0, _V1_LENGTH)
    if end < 0:
        if len(data) >= _V1_LENGTH:
            return Malformed("the PROXY line is longer than 107 bytes")
        return NeedMore()
    match = _V1.fullmatch(data[: end + 1])
    if match is None:
        return Malformed("the PROXY line is malformed")
    if match[1] is None:
        return ProxyHeader(end + 1, None)
    kind = IPv4Address if match[1] == b"4" else IPv6Address
    try:
        client = kind(match[2].decode("ascii"))
        kind(match[3].decode("ascii"))
    except ValueError:
        return Malformed("the PROXY line holds an address of another family, or none")
    if int(match[4]) > 65535 or int(match[5]) > 65535:
        return Malformed("the PROXY line holds a port above 65535")
    return ProxyHeader(end + 1, str(client))


def _read_v2(data: bytes) -> ProxyHeader | NeedMore | Malformed:
    version, command = data[12] >> 4, data[12] & 15
    family, transport = data[13] >> 4, data[13] & 15
    length = 16 + int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1:
        return Malformed("the PROXY header has an unknown version or command")
    if length > MAX_HEADER:
        return Malformed(f"the PROXY header is longer than {MAX_HEADER} bytes")
    if len(data) < length:
        return NeedMore()
    if command == 0 or family == 0:
        return ProxyHeader(length, None)  # LOCAL, or an address family that says nothing
    if transport != 1 or family not in (1, 2):
        return Malformed("the PROXY header is not about a TCP connection over IP")
    size = 4 if family == 1 else 16
    if length < 16 + 2 * size + 4:
        return Malformed("the PROXY header is too short for its addresses")
    raw = data[16 : 16 + size]
    return ProxyHeader(length, str(IPv4Address(raw) if family == 1 else IPv6Address(raw)))
