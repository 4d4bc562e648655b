"""Host names: what a Host field says, and what a rule's host means (rules HO1, HO3, HO4).

Stricter than RFC 9110 §7.2: a registered name consists of letters, digits, hyphen, underscore and
dots, nothing is percent-encoded, and there is no user information and no list.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import msgspec

from router.model.snapshot import HostPattern

MAX_HOST: Final = 255
"""Octets of a host name (RFC 1035 §2.3.4)."""
_MAX_PATTERN: Final = 253
"""Characters of a DNS-1123 subdomain, the API server's bound."""

_NAME: Final = re.compile(rb"([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?(?::([1-9][0-9]{0,4}))?")
_IPV6: Final = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


class HostRefused(msgspec.Struct, frozen=True):
    """Why a rule's host is no pattern."""

    reason: str
    """A sentence for people, without a full stop at its end."""


def normalise_host(raw: bytes) -> bytes | None:
    """The value of a Host field as the table knows it; None when the request must be refused.

    Lower case, without port and without one trailing dot; an IPv6 literal keeps its brackets.
    """
    found = _NAME.fullmatch(raw)
    if found is None:
        found = _IPV6.fullmatch(raw)
        if found is None or not _is_ipv6(found[1][1:-1]):
            return None
    name, port = found.groups()
    if len(name) > MAX_HOST or (port is not None and int(port) > 65535):
        return None
    return name.lower()


def _is_ipv6(literal: bytes) -> bool:
    try:
        IPv6Address(literal.decode("ascii"))
    except AddressValueError:
        return False
    return True


def host_pattern(written: str) -> HostPattern | HostRefused:
    """The pattern for ``spec.rules[].host``: a name, ``*.name``, or empty for every host.

    A DNS-1123 subdomain, as the API server demands; capitals, which it refuses, are read as small
    letters, because host names have no case (RFC 3986 §3.2.2).
    """
    if not written:
        return ""
    pattern = written.lower()
    name = pattern.removeprefix("*.")
    if pattern == "*":
        return HostRefused("a lone * is no host; leave the host out to take every host")
    if "*" in name:
        return HostRefused("a wildcard is the whole first label, as in *.example.com")
    if not written.isascii():
        return HostRefused("the host holds letters beyond ASCII; write its xn-- form")
    if len(pattern) > _MAX_PATTERN:
        return HostRefused(f"the host is longer than {_MAX_PATTERN} characters")
    if name.startswith("[") or _is_ipv4(name):
        return HostRefused("the host is an IP address; a rule's host is a name")
    if ":" in name:
        return HostRefused("the host holds a port or scheme; rules match names alone")
    for label in name.split("."):
        if not _LABEL.fullmatch(label):
            shown = f"the label {label!r}" if label else "an empty label"
            return HostRefused(
                f"the host holds {shown}; a label is letters, digits and inner hyphens"
            )
        if len(label) > 63:
            return HostRefused("the host holds a label longer than 63 characters")
    return pattern


def _is_ipv4(name: str) -> bool:
    try:
        IPv4Address(name)
    except AddressValueError:
        return False
    return True
