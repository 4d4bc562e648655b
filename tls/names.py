"""DNS names as TLS uses them: in a ClientHello, in a certificate, in a table of hosts.

A name in *normal form* is lower case, has no trailing dot, and keeps its A-labels (``xn--…``) as
they are. Labels may hold letters, digits, hyphens and underscores, hyphens anywhere: resolvers
and the router's host table take such names too, and the two must not disagree.
"""

import re
from collections.abc import Iterable
from typing import Final

MAX_NAME: Final = 253
"""Characters of a name without trailing dot: 255 octets on the wire (RFC 1035 §2.3.4)."""

_LABELS: Final = r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*"
_NAME: Final = re.compile(_LABELS)
_PATTERN: Final = re.compile(rf"(?:\*\.)?{_LABELS}")


def normalise(name: str | bytes) -> str | None:
    """The name in normal form; None when it is no DNS name, so also for an address literal.

    One trailing dot is taken off (``example.test.`` is the same host). A name whose last label is
    all digits is read as an IPv4 literal by clients, and is none here either.
    """
    return _normalise(name, _NAME)


def normalise_pattern(name: str | bytes) -> str | None:
    """The same for a name that may begin with ``*.``, as in certificates and host tables."""
    return _normalise(name, _PATTERN)


def _normalise(name: str | bytes, form: re.Pattern[str]) -> str | None:
    if isinstance(name, bytes):
        if not name.isascii():
            return None
        name = name.decode("ascii")
    # Not str.lower on any text: it maps the Kelvin sign to "k".
    if not name.isascii():
        return None
    name = name.lower().removesuffix(".")
    if len(name) > MAX_NAME or form.fullmatch(name) is None:
        return None
    if name[name.rfind(".") + 1 :].isdigit():
        return None
    return name


def wildcard_of(name: str) -> str | None:
    """``*.example.test`` for ``shop.example.test``; None for a name of one label."""
    _, dot, parent = name.partition(".")
    return f"*.{parent}" if dot else None


def covers(certificate_name: str, host: str) -> bool:
    """Whether a certificate for this name is right for this host; both in normal form.

    A wildcard is a whole first label and stands for exactly one label (RFC 9525 §6.3): ``*.a.test``
    covers ``b.a.test``, neither ``a.test`` nor ``c.b.a.test``. A host may itself be a wildcard, as
    in a rule for ``*.a.test``; only the same wildcard covers it.
    """
    return certificate_name == host or (
        certificate_name.startswith("*.") and certificate_name == wildcard_of(host)
    )


def any_covers(certificate_names: Iterable[str], host: str) -> bool:
    """Whether one of a certificate's names covers the host."""
    return any(covers(name, host) for name in certificate_names)
