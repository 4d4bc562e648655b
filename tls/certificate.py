"""A certificate chain with its private key, as it travels from the control process to workers."""

from typing import Any, Literal, NewType

import msgspec

CertificateDigest = NewType("CertificateDigest", str)
"""SHA-256, in hexadecimal, of the chain as it is sent to clients. Names a pair in messages, caches
and logs; says nothing about the key."""

KeyAlgorithm = Literal["ecdsa", "rsa", "ed25519"]


class PrivateKey(msgspec.Struct, frozen=True, gc=False):
    """A private key. It prints as redacted, so that no log, fault or debugger line shows it.

    It is encoded like any other value, because workers need it: never put a pair into something
    that people can read.
    """

    pem: bytes
    """Unencrypted PKCS #8."""

    def __repr__(self) -> str:
        return "PrivateKey(redacted)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("pem", "redacted")]


class CertificatePair(msgspec.Struct, frozen=True):
    """What is needed to answer for some names. Made by `tls.pem.read_pair`, which checks it."""

    digest: CertificateDigest
    chain: bytes
    """PEM: the certificate itself first, each next one certifies the one before (RFC 8446
    §4.4.2)."""
    key: PrivateKey
    names: tuple[str, ...]
    """DNS names that it covers, in normal form (`tls.names`), in the certificate's order."""
    not_before: int
    """Unix seconds."""
    not_after: int
    """Unix seconds. Of the certificate itself, as its authorities live longer."""
    algorithm: KeyAlgorithm
    subject: str
    issuer: str
    chain_length: int
