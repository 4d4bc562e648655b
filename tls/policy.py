"""What a handshake must fulfil: of clients with us, and of upstreams with us. Values only.

Policies are frozen and hashable: they are part of the key under which contexts are kept, and of
the scope within which sessions may be resumed.
"""

import hashlib
from typing import Final, Literal, NewType

import msgspec

AuthoritiesDigest = NewType("AuthoritiesDigest", str)
"""SHA-256, in hexadecimal, of the certificates of a bundle (`Authorities.digest`)."""

Profile = Literal["intermediate", "modern"]
"""Mozilla's server side TLS profiles: ``intermediate`` is TLS 1.2 and 1.3, ``modern`` 1.3 alone."""

ClientCertificates = Literal["none", "optional", "required"]
"""``optional``: a client without certificate is let in, one with a bad certificate is not."""

INTERMEDIATE_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
"""TLS 1.2 suites of Mozilla's intermediate profile, without its DHE suites: those need parameters
made beforehand, no client of the last ten years depends on them, and they invite D(HE)at attacks.
ECDSA comes first for contexts that prefer by our order (two certificates); else the client's
order counts, as the profile wants it."""


class Authorities(msgspec.Struct, frozen=True, omit_defaults=True):
    """Certificates of authorities that clients or upstreams are verified against."""

    digest: AuthoritiesDigest
    pem: bytes
    """PEM certificates, one after the other, nothing else between them."""
    subjects: tuple[str, ...] = ()
    """Who they are, for people."""
    not_after: int = 0
    """Unix seconds when the first of them expires."""


class TlsPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client's handshake must fulfil."""

    profile: Profile = "intermediate"
    alpn: tuple[str, ...] = ("http/1.1",)
    """Protocols in our order of preference; empty does not take part in ALPN (RFC 7301)."""
    client_certificates: ClientCertificates = "none"
    authorities: AuthoritiesDigest | None = None
    """Whom client certificates must come from; needed unless ``client_certificates`` is none."""
    verify_depth: int | None = None
    """Intermediate authorities allowed between a client's certificate and one of ours; None leaves
    OpenSSL's bound of 100."""


class UpstreamTls(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an https upstream is spoken to."""

    server_name: str = ""
    """Name that is sent (SNI) and that the certificate must cover; empty means that the address
    dialled is verified, and no name is sent for an IP address."""
    verify: bool = True
    """False takes any certificate of anybody: only by explicit wish of the object's owner."""
    authorities: AuthoritiesDigest | None = None
    """Whom the certificate must come from; None means the system's authorities."""
    client_certificate: str | None = None
    """Digest of the certificate that we show when asked; None shows none."""
    alpn: tuple[str, ...] = ("http/1.1",)
    verify_depth: int | None = None


def policy_digest(policy: TlsPolicy) -> str:
    """SHA-256 of everything the policy says, in hexadecimal: equal policies, equal digests."""
    return hashlib.sha256(msgspec.msgpack.encode(policy)).hexdigest()


def refuses_alpn(policy: TlsPolicy, offered: tuple[bytes, ...]) -> bool:
    """Whether the client speaks ALPN and offers nothing that we do.

    Such a handshake must end with the alert no_application_protocol (RFC 7301 §3.2): going on
    with HTTP lets an attacker confuse protocols that share a certificate. Python's ssl goes on,
    so the caller asks here before it starts the handshake. A client that offers nothing at all
    speaks HTTP/1.1.
    """
    if not offered or not policy.alpn:
        return False
    return not any(name.encode("ascii") in offered for name in policy.alpn)
