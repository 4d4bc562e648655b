"""Session ticket keys that all workers share, none of which leaves the context it is for.

One secret lives in the control process and in the workers. Each server context derives keys of its
own from it: the same context in another worker has the same keys, so a session resumes there;
a context for another name or under another policy has other keys, so it takes the ticket for
garbage and does a full handshake. This matters: OpenSSL does not ask a resumed session for a
client certificate again, so a ticket of an open host must mean nothing to a host that demands one.

The control process makes a new secret from time to time and sends it to all workers. Tickets of
the one before then mean a full handshake, once for each client: tickets live two hours, so with a
rotation each twelve hours few ever notice, and no old key is kept.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tls.certificate import CertificatePair
from tls.policy import TlsPolicy, policy_digest

SECRET_BYTES: Final = 32
KEYS_BYTES: Final = 80
"""What OpenSSL takes: 16 bytes of key name, 32 for HMAC, 32 for AES-256."""
ROTATE_SECONDS: Final = 12 * 3600
"""Bound of what a stolen secret opens; nginx and Envoy leave it to their operators."""


class TicketSecret(msgspec.Struct, frozen=True, gc=False):
    """SECRET_BYTES random bytes, made by the control process. Prints as redacted."""

    secret: bytes

    def __repr__(self) -> str:
        return "TicketSecret(redacted)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("secret", "redacted")]


def ticket_scope(pairs: Iterable[CertificatePair], policy: TlsPolicy) -> bytes:
    """Within what sessions may be resumed: the same policy, for the same certificate names.

    By names and not by certificate, so that a renewal does not end every session. 32 bytes, the
    longest session identifier context that OpenSSL takes.
    """
    names = sorted({name for pair in pairs for name in pair.names or (pair.digest,)})
    text = "\n".join([policy_digest(policy), *names])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def ticket_keys(secret: TicketSecret, scope: bytes) -> bytes:
    """KEYS_BYTES for one scope (HKDF-Expand with SHA-256, RFC 5869 §2.3)."""
    keys = block = b""
    counter = 1
    while len(keys) < KEYS_BYTES:
        info = block + b"session tickets" + scope + bytes([counter])
        block = hmac.digest(secret.secret, info, "sha256")
        keys += block
        counter += 1
    return keys[:KEYS_BYTES]
