"""PEM as people put it into Secrets → certificates that are known to work, or the reason why not.

For the control process: workers get only what was checked here. Nothing here knows the time, so
equal bytes give equal results; whether a certificate is valid *now* is for
`tls.faults.validity_fault` to say.
"""

import hashlib
import re
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from tls.certificate import CertificateDigest, CertificatePair, KeyAlgorithm, PrivateKey
from tls.faults import CertificateFault, FaultCode
from tls.names import normalise_pattern
from tls.policy import Authorities, AuthoritiesDigest

MAX_CHAIN_PEM: Final = 65_536
"""Bytes; a chain of five with RSA-4096 keys takes 12 KiB. It is sent in each full handshake."""
MAX_KEY_PEM: Final = 16_384
"""Bytes; an RSA key of 8,192 bits takes 6.4 KiB."""
MAX_CHAIN: Final = 16
"""Certificates in a chain; public ones have two to four."""
MAX_BUNDLE_PEM: Final = 524_288
"""Bytes of a bundle of authorities; all that browsers trust take 220 KiB."""
MAX_BUNDLE: Final = 512
"""Certificates in a bundle."""
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
"""Below, OpenSSL's security level 2 refuses it; above, one signature takes 100 ms and more."""

_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN (?:X509 )?CERTIFICATE-----[^-]*-----END (?:X509 )?CERTIFICATE-----"
)
_KEY: Final = re.compile(
    rb"-----BEGIN ((?:[A-Z0-9]+ )?PRIVATE KEY)-----((?:[^-]|-(?!----))*)-----END \1-----"
)
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_WEAK_HASHES: Final = (hashes.MD5, hashes.SHA1)
_LONGEST_NAME: Final = 200


class PairRead(msgspec.Struct, frozen=True):
    """A pair that works, and what its owner should know all the same."""

    pair: CertificatePair
    notes: tuple[CertificateFault, ...] = ()


class AuthoritiesRead(msgspec.Struct, frozen=True):
    """A bundle that can be verified against, and what its owner should know all the same."""

    authorities: Authorities
    notes: tuple[CertificateFault, ...] = ()


class _FaultError(Exception):
    """Raised and caught in this file only."""

    def __init__(self, code: FaultCode, reason: str) -> None:
        super().__init__(reason)
        self.fault = CertificateFault(code, reason)


def read_pair(
    certificate: bytes, key: bytes, *, needs_names: bool = True
) -> PairRead | CertificateFault:
    """The pair of ``tls.crt`` and ``tls.key``, or the first reason why there is none.

    Both are PEM; text around the blocks is fine. The certificates may come in any order, with
    others between them. ``needs_names`` is False for a certificate that we show to upstreams:
    names in it are of no use there. Bounded by MAX_CHAIN_PEM, MAX_KEY_PEM and MAX_CHAIN.
    """
    try:
        return _read_pair(certificate, key, needs_names=needs_names)
    except _FaultError as refused:
        return refused.fault
    except Exception as failed:  # whatever a parser makes of hostile input harms this pair alone
        return CertificateFault(
            FaultCode.GARBAGE, f"the certificate cannot be read ({type(failed).__name__})"
        )


def read_authorities(pem: bytes) -> AuthoritiesRead | CertificateFault:
    """The authorities in ``ca.crt``, or the reason why there are none.

    Takes certificates that may issue others, and self-signed ones, which vouch for themselves
    only. Others are left out with a note. Bounded by MAX_BUNDLE_PEM and MAX_BUNDLE.
    """
    try:
        return _read_authorities(pem)
    except _FaultError as refused:
        return refused.fault
    except Exception as failed:  # whatever a parser makes of hostile input harms this bundle alone
        return CertificateFault(
            FaultCode.GARBAGE, f"the authorities cannot be read ({type(failed).__name__})"
        )


def _read_pair(certificate: bytes, key: bytes, *, needs_names: bool) -> PairRead:
    if len(certificate) > MAX_CHAIN_PEM:
        raise _FaultError(
            FaultCode.TOO_LARGE, f"the certificates take more than {MAX_CHAIN_PEM} bytes"
        )
    given = _certificates(certificate, MAX_CHAIN)
    private, algorithm = _private_key(key)
    chain, notes = _chain(given, private)
    for member in chain:
        _refuse_weak(member)
    leaf = chain[0]
    _prove(private, leaf)
    names = _names(leaf)
    if needs_names and not names:
        raise _FaultError(
            FaultCode.NO_NAMES,
            "the certificate has no subject alternative name; clients do not look at the common "
            "name (RFC 9525 §2), so it fits no host",
        )
    pem = b"".join(member.public_bytes(serialization.Encoding.PEM) for member in chain)
    pair = CertificatePair(
        digest=CertificateDigest(hashlib.sha256(pem).hexdigest()),
        chain=pem,
        key=PrivateKey(
            private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        ),
        names=names,
        not_before=int(leaf.not_valid_before_utc.timestamp()),
        not_after=int(leaf.not_valid_after_utc.timestamp()),
        algorithm=algorithm,
        subject=_printable(leaf.subject) or (names[0] if names else "without a subject"),
        issuer=_printable(leaf.issuer),
        chain_length=len(chain),
    )
    return PairRead(pair, notes)


def _certificates(pem: bytes, limit: int) -> list[x509.Certificate]:
    """The different certificates, in their order."""
    blocks = [block[0] for block in _CERTIFICATE.finditer(pem)]
    if not blocks:
        raise _FaultError(FaultCode.NO_CERTIFICATE, _no_certificate(pem))
    if len(blocks) > limit:
        raise _FaultError(FaultCode.TOO_LARGE, f"more than {limit} certificates")
    found: dict[bytes, x509.Certificate] = {}
    for number, block in enumerate(blocks, 1):
        try:
            read = x509.load_pem_x509_certificate(block)
            found.setdefault(read.public_bytes(serialization.Encoding.DER), read)
        except Exception as failed:
            raise _FaultError(
                FaultCode.GARBAGE, f"certificate {number} of {len(blocks)} cannot be read"
            ) from failed
    return list(found.values())


def _no_certificate(pem: bytes) -> str:
    if not pem.strip():
        return "the certificate is empty"
    if b"PRIVATE KEY-----" in pem:
        return "there is a private key where the certificate should be"
    if pem[:1] == b"\x30":
        return "the certificate is in DER; it must be PEM (-----BEGIN CERTIFICATE-----)"
    return "there is no complete PEM block of a certificate (-----BEGIN CERTIFICATE-----)"


_Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def _private_key(pem: bytes) -> tuple[_Private, KeyAlgorithm]:
    if len(pem) > MAX_KEY_PEM:
        raise _FaultError(FaultCode.TOO_LARGE, f"the key takes more than {MAX_KEY_PEM} bytes")
    block = _KEY.search(pem)
    if block is None:
        if not pem.strip():
            reason = "the key is empty"
        elif b"BEGIN CERTIFICATE-----" in pem:
            reason = "there is a certificate where the key should be"
        else:
            reason = "there is no complete PEM block of a private key"
        raise _FaultError(FaultCode.NO_KEY, reason)
    # Told by its label, so that no password derivation of the owner's choice ever runs.
    if block[1] == b"ENCRYPTED PRIVATE KEY" or b"ENCRYPTED" in block[2]:
        raise _FaultError(
            FaultCode.ENCRYPTED_KEY,
            "the key is encrypted; store it without password (openssl pkey -in tls.key)",
        )
    try:
        # The check that is skipped tests primes for 30 to 250 ms; `_prove` has the key sign.
        key = serialization.load_pem_private_key(
            block[0], password=None, unsafe_skip_rsa_key_validation=True
        )
    except Exception as failed:
        raise _FaultError(FaultCode.GARBAGE, "the key cannot be read") from failed
    if isinstance(key, rsa.RSAPrivateKey):
        return key, "rsa"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return key, "ecdsa"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key, "ed25519"
    raise _FaultError(
        FaultCode.UNSUPPORTED_KEY,
        f"the key must be ECDSA (P-256, P-384, P-521), RSA or Ed25519, not {_kind(key)}",
    )


def _kind(key: object) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return f"ECDSA on {key.curve.name}"
    return type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")


def _chain(
    given: list[x509.Certificate], private: _Private
) -> tuple[list[x509.Certificate], tuple[CertificateFault, ...]]:
    """The key's certificate, then each its issuer, as far as they are there."""
    public = _spki(private.public_key())
    own = [member for member in given if _public(member) == public]
    if not own:
        raise _FaultError(
            FaultCode.KEY_MISMATCH,
            f"the key does not belong to the certificate ({_printable(given[0].subject)})",
        )
    chain = own[:1]
    rest = [member for member in given if member is not chain[0]]
    while rest and chain[-1].issuer != chain[-1].subject:
        issuer = next((one for one in rest if _issued(chain[-1], one)), None)
        if issuer is None:
            break
        chain.append(issuer)
        rest.remove(issuer)
    notes = []
    if chain != given[: len(chain)]:
        notes.append(
            CertificateFault(
                FaultCode.CHAIN_ORDER,
                "the certificates were not in order (own certificate first, then each its "
                "issuer); they are served in order",
            )
        )
    if rest:
        notes.append(
            CertificateFault(
                FaultCode.CHAIN_STRANGERS,
                f"{len(rest)} of {len(given)} certificates do not belong to the chain and are "
                f"not served, the first being {_printable(rest[0].subject)}",
            )
        )
    return chain, tuple(notes)


def _spki(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        return b""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _public(member: x509.Certificate) -> bytes:
    try:
        return _spki(member.public_key())
    except Exception:  # a key that cannot be read is not the one we look for
        return b""


def _issued(member: x509.Certificate, issuer: x509.Certificate) -> bool:
    if member.issuer != issuer.subject:
        return False
    try:
        member.verify_directly_issued_by(issuer)
    except Exception:  # wrong signature, unknown algorithm, or a key that cannot be read
        return False
    return True


def _refuse_weak(member: x509.Certificate) -> None:
    """What OpenSSL would refuse in a worker at security level 2."""
    who = _printable(member.subject)
    public = member.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < MIN_RSA_BITS:
            raise _FaultError(
                FaultCode.WEAK,
                f"the RSA key of {who} has {public.key_size} bits; {MIN_RSA_BITS} are needed",
            )
        if public.key_size > MAX_RSA_BITS:
            raise _FaultError(
                FaultCode.TOO_LARGE,
                f"the RSA key of {who} has {public.key_size} bits; {MAX_RSA_BITS} are allowed",
            )
    if member.issuer != member.subject and isinstance(
        member.signature_hash_algorithm, _WEAK_HASHES
    ):
        raise _FaultError(
            FaultCode.WEAK,
            f"the signature of {who} is made with {member.signature_hash_algorithm.name}, which "
            "no client accepts any more",
        )


def _prove(private: _Private, leaf: x509.Certificate) -> None:
    """One signature: an RSA key may have the right modulus and still be damaged."""
    if not isinstance(private, rsa.RSAPrivateKey):
        return
    public = leaf.public_key()
    message = b"proof"
    try:
        signature = private.sign(message, padding.PKCS1v15(), hashes.SHA256())
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError) as failed:
        raise _FaultError(
            FaultCode.GARBAGE, "the key is damaged: its signatures are wrong"
        ) from failed


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    """DNS names in normal form, then addresses; each once."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    names = dict.fromkeys(
        name
        for written in found.get_values_for_type(x509.DNSName)
        if (name := normalise_pattern(written)) is not None
    )
    names |= dict.fromkeys(str(address) for address in found.get_values_for_type(x509.IPAddress))
    return tuple(names)


def _printable(name: x509.Name) -> str:
    """A distinguished name for one line of a log: bounded, without control characters."""
    text = name.rfc4514_string()
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"


def _read_authorities(pem: bytes) -> AuthoritiesRead:
    if len(pem) > MAX_BUNDLE_PEM:
        raise _FaultError(
            FaultCode.TOO_LARGE, f"the authorities take more than {MAX_BUNDLE_PEM} bytes"
        )
    given = _certificates(pem, MAX_BUNDLE)
    taken = [member for member in given if _may_vouch(member)]
    if not taken:
        raise _FaultError(
            FaultCode.NOT_AN_AUTHORITY,
            f"{_printable(given[0].subject)} is not the certificate of an authority (basic "
            "constraints CA:TRUE)",
        )
    notes: tuple[CertificateFault, ...] = ()
    if len(taken) < len(given):
        left = next(member for member in given if member not in taken)
        notes = (
            CertificateFault(
                FaultCode.NOT_AN_AUTHORITY,
                f"{len(given) - len(taken)} of {len(given)} certificates are not of authorities "
                f"and are left out, the first being {_printable(left.subject)}",
            ),
        )
    canonical = b"".join(member.public_bytes(serialization.Encoding.PEM) for member in taken)
    return AuthoritiesRead(
        Authorities(
            digest=AuthoritiesDigest(hashlib.sha256(canonical).hexdigest()),
            pem=canonical,
            subjects=tuple(_printable(member.subject) for member in taken),
            not_after=int(min(member.not_valid_after_utc for member in taken).timestamp()),
        ),
        notes,
    )


def _may_vouch(member: x509.Certificate) -> bool:
    if member.issuer == member.subject:
        return True
    try:
        constraints = member.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca
