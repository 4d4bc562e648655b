"""What can be wrong with a certificate, its key, or a bundle of authorities. Values only."""

from enum import StrEnum

import msgspec

from tls.certificate import CertificatePair


class FaultCode(StrEnum):
    """What is wrong with a certificate, its key, or a bundle of authorities."""

    NO_CERTIFICATE = "no_certificate"
    NO_KEY = "no_key"
    ENCRYPTED_KEY = "encrypted_key"
    KEY_MISMATCH = "key_mismatch"
    CHAIN_ORDER = "chain_order"
    """Only ever a note: the chain was put in order."""
    CHAIN_STRANGERS = "chain_strangers"
    """Only ever a note: certificates that do not belong to the chain were left out."""
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    NO_NAMES = "no_names"
    TOO_LARGE = "too_large"
    UNSUPPORTED_KEY = "unsupported_key"
    WEAK = "weak"
    NOT_AN_AUTHORITY = "not_an_authority"
    GARBAGE = "garbage"


class CertificateFault(msgspec.Struct, frozen=True):
    """One fault, for a diagnostic."""

    code: FaultCode
    reason: str
    """A sentence for people without full stop at its end. Never quotes a key."""


def validity_fault(pair: CertificatePair, now: float) -> CertificateFault | None:
    """Whether the pair is out of its time; ``now`` in Unix seconds (RFC 5280 §4.1.2.5: both ends
    belong to the time)."""
    if now > pair.not_after:
        return CertificateFault(
            FaultCode.EXPIRED, f"the certificate expired {_ago(now - pair.not_after)} ago"
        )
    if now < pair.not_before:
        return CertificateFault(
            FaultCode.NOT_YET_VALID,
            f"the certificate becomes valid only in {_ago(pair.not_before - now)}",
        )
    return None


def _ago(seconds: float) -> str:
    for unit, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{int(seconds // unit)} {name}"
    return f"{int(seconds)} seconds"
