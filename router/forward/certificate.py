"""What upstreams are told about a client's certificate: fields with ingress-nginx's names.

Only verified certificates get this far: the handshake failed for all others. Fields of these names
that clients send are never passed on.
"""

import hashlib
from collections.abc import Iterable
from urllib.parse import quote

_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "domainComponent": "DC",
    "userId": "UID",
    "streetAddress": "STREET",
}
_SPECIAL = frozenset('",+;<>\\=')

Names = Iterable[Iterable[tuple[str, str]]]
"""A distinguished name as Python's ssl gives it: relative names of (type, value) pairs."""


def distinguished_name(names: Names) -> str:
    """A distinguished name in RFC 4514 form, most specific part first, in visible ASCII.

    What a header must not hold (controls, letters beyond ASCII) is escaped by its octets.
    """
    parts = [
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in relative)
        for relative in names
    ]
    return ",".join(reversed(parts))


def _escaped(value: str) -> str:
    escaped = []
    for place, character in enumerate(value):
        at_edge = place in (0, len(value) - 1)
        if (
            character in _SPECIAL
            or (character == " " and at_edge)
            or (place == 0 and character == "#")
        ):
            escaped.append("\\" + character)
        elif " " <= character <= "~":
            escaped.append(character)
        else:
            octets = character.encode("utf-8", "surrogatepass")
            escaped.append("".join(f"\\{octet:02X}" for octet in octets))
    return "".join(escaped)


def certificate_lines(*, subject: Names, issuer: Names, der: bytes) -> bytes:
    """The lines about a verified certificate, each with CRLF."""
    return (
        "ssl-client-verify: SUCCESS\r\n"
        f"ssl-client-subject-dn: {distinguished_name(subject)}\r\n"
        f"ssl-client-issuer-dn: {distinguished_name(issuer)}\r\n"
        f"ssl-client-fingerprint: {hashlib.sha256(der).hexdigest()}\r\n"
    ).encode("ascii")


NO_CERTIFICATE = b"ssl-client-verify: NONE\r\n"
"""Where a certificate is optional, and the client showed none."""


def whole_certificate(pem: str) -> bytes:
    """The line with the whole certificate, percent-encoded as nginx does, with CRLF."""
    return f"ssl-client-cert: {quote(pem, safe='')}\r\n".encode("ascii")
