"""Certificates and policy → the context of a connection that clients open.

A context is chosen before the handshake and never changed by a callback within it: client
certificates, versions and ALPN of the chosen policy then hold for the whole handshake (a context
set by ``sni_callback`` brings its certificate along, but not these).

Contexts are built when first asked for (about half a millisecond) and kept, the least recently
used one going first. Connections keep theirs for as long as they live, whatever happens here.
"""

import os
import ssl
from collections import OrderedDict
from typing import Final

from tls.certificate import CertificateDigest, CertificatePair
from tls.openssl import OpenSsl
from tls.policy import INTERMEDIATE_CIPHERS, Authorities, TlsPolicy
from tls.tickets import TicketSecret, ticket_keys, ticket_scope

DEFAULT_LIMIT: Final = 4096
"""Contexts kept in one worker: about 70 MiB when all are in use."""

GROUPS: Final = "X25519:prime256v1:secp384r1"
"""Key exchange groups of Mozilla's profiles, in their order."""
GROUPS_POST_QUANTUM: Final = f"X25519MLKEM768:{GROUPS}"
"""The same with the hybrid group, which OpenSSL knows since 3.5."""

_PRIORITIZE_CHACHA: Final = 1 << 21
"""SSL_OP_PRIORITIZE_CHACHA, which Python does not name: where our order counts, a client that puts
ChaCha20 first (it has no AES in hardware) gets it all the same."""

ContextKey = tuple[tuple[CertificateDigest, ...], TlsPolicy]


class ContextRefusedError(Exception):
    """No context can be made that keeps the policy. The connection must be refused.

    Its text is a sentence for people, without the certificate's or key's contents.
    """


class _ServerSide(ssl.SSLObject):
    """A server's side that keeps the alert which says why it refuses."""

    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            error.last_words = self.outgoing.read()  # type: ignore[attr-defined]  # ours
            raise


class ServerContext(ssl.SSLContext):
    """A context whose failed handshakes can be explained to the client (`last_words`).

    Event loops drop a connection at the first error, with OpenSSL's alert still in memory; a client
    without the certificate that is asked for would only see that the connection ended.
    """

    sslobject_class = _ServerSide

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As `ssl.SSLContext.wrap_bio`."""
        side = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        if isinstance(side, _ServerSide):
            side.outgoing = outgoing
        return side


def last_words(error: ssl.SSLError) -> bytes:
    """The alert for the client after a handshake failed; empty when there is none."""
    words = getattr(error, "last_words", b"")
    return words if isinstance(words, bytes) else b""


class ServerContexts:
    """The contexts of one worker, bounded."""

    __slots__ = ("_by_digest", "_kept", "_limit", "_openssl", "_secret")

    def __init__(
        self,
        *,
        openssl: OpenSsl | None,
        secret: TicketSecret | None,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        """``openssl`` is None where `tls.openssl.probe` said no, ``secret`` None where workers
        share no ticket keys: then each context has random ones of its own."""
        self._openssl = openssl
        self._secret = secret
        self._limit = max(1, limit)
        self._kept: OrderedDict[ContextKey, tuple[ssl.SSLContext, bytes] | str] = OrderedDict()
        """By key: the context with its ticket scope, or why there is none."""
        self._by_digest: dict[CertificateDigest, set[ContextKey]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(
        self,
        pairs: tuple[CertificatePair, ...],
        policy: TlsPolicy,
        authorities: Authorities | None = None,
    ) -> ssl.SSLContext:
        """The context for a `tls.store.Selection`; equal inputs get the same one.

        With two pairs the client's offer decides which is sent, ECDSA before RSA.

        Raises:
            ContextRefusedError: the policy cannot be kept, or OpenSSL does not take a pair. The
                same answer then follows until `forget`, without another try.
        """
        if policy.client_certificates != "none" and (
            authorities is None or authorities.digest != policy.authorities
        ):
            raise ContextRefusedError("the authorities for client certificates are not there")
        key = (tuple(pair.digest for pair in pairs), policy)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._build(pairs, policy, authorities)
            self._keep(key, kept)
        else:
            self._kept.move_to_end(key)
        if isinstance(kept, str):
            raise ContextRefusedError(kept)
        return kept[0]

    def forget(self, digest: CertificateDigest) -> None:
        """Let go of all contexts with this certificate: it was replaced or deleted."""
        for key in self._by_digest.pop(digest, ()):
            self._drop(key)

    def rotate(self, secret: TicketSecret | None) -> None:
        """Use a new secret from now on. Tickets of the one before mean a full handshake."""
        self._secret = secret
        if self._openssl is None:
            # Keys cannot be set on these, only be made anew together with the context.
            self._kept.clear()
            self._by_digest.clear()
            return
        for kept in self._kept.values():
            if isinstance(kept, tuple):
                self._set_keys(self._openssl, *kept)

    def _keep(self, key: ContextKey, kept: tuple[ssl.SSLContext, bytes] | str) -> None:
        while len(self._kept) >= self._limit:
            self._drop(next(iter(self._kept)))
        self._kept[key] = kept
        for digest in key[0]:
            self._by_digest.setdefault(digest, set()).add(key)

    def _drop(self, key: ContextKey) -> None:
        self._kept.pop(key, None)
        for digest in key[0]:
            keys = self._by_digest.get(digest)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._by_digest[digest]

    def _build(
        self,
        pairs: tuple[CertificatePair, ...],
        policy: TlsPolicy,
        authorities: Authorities | None,
    ) -> tuple[ssl.SSLContext, bytes] | str:
        try:
            context = _server_context(pairs, policy)
            _verify_clients(context, policy, authorities, self._openssl)
        except ContextRefusedError as refused:
            return str(refused)
        scope = ticket_scope(pairs, policy)
        if self._openssl is not None:
            self._openssl.disable_session_cache(context)
            # Contexts of other scopes refuse the session even if they could read the ticket.
            if not self._openssl.set_session_scope(context, scope):
                return "OpenSSL does not take the scope of sessions"
            _set_groups(self._openssl, context)
            self._set_keys(self._openssl, context, scope)
        return context, scope

    def _set_keys(self, openssl: OpenSsl, context: ssl.SSLContext, scope: bytes) -> None:
        # When keys are not taken, the context's own random ones stay: sessions resume less often.
        if self._secret is not None:
            openssl.set_ticket_keys(context, ticket_keys(self._secret, scope))


def _server_context(pairs: tuple[CertificatePair, ...], policy: TlsPolicy) -> ssl.SSLContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    if policy.profile == "modern":
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(":".join(INTERMEDIATE_CIPHERS))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if len(pairs) > 1:
        # Only so does OpenSSL prefer ECDSA to RSA whatever the client's order is.
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if policy.alpn:
        context.set_alpn_protocols(list(policy.alpn))
    for pair in pairs:
        load_pair(context, pair)
    return context


def load_pair(context: ssl.SSLContext, pair: CertificatePair) -> None:
    """Let the context show this certificate. The key is in memory only, not in any file system.

    Raises:
        ContextRefusedError: OpenSSL does not take it.
    """
    fd = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as memory:
            memory.write(pair.key.pem)
            memory.write(pair.chain)
        context.load_cert_chain(f"/proc/self/fd/{fd}", password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as failed:
        raise ContextRefusedError(
            f"OpenSSL does not take certificate {pair.digest[:16]} ({pair.subject}): "
            f"{getattr(failed, 'reason', None) or failed}"
        ) from failed
    finally:
        os.close(fd)


def _no_password() -> str:
    """Asked for when a key is encrypted; without this, OpenSSL would ask the terminal."""
    raise ValueError("the key is encrypted")


def _verify_clients(
    context: ssl.SSLContext,
    policy: TlsPolicy,
    authorities: Authorities | None,
    openssl: OpenSsl | None,
) -> None:
    if policy.client_certificates == "none" or authorities is None:
        return
    load_authorities(context, authorities)
    if policy.verify_depth is not None:
        limit_depth(context, policy.verify_depth, openssl)
    context.verify_mode = (
        ssl.CERT_REQUIRED if policy.client_certificates == "required" else ssl.CERT_OPTIONAL
    )


def load_authorities(context: ssl.SSLContext, authorities: Authorities) -> None:
    """Trust these, and an intermediate one among them without its root: its owner named it.

    Raises:
        ContextRefusedError: OpenSSL does not take one of them.
    """
    try:
        context.load_verify_locations(cadata=authorities.pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as failed:
        raise ContextRefusedError(
            f"OpenSSL does not take the authorities {authorities.digest[:16]}: "
            f"{getattr(failed, 'reason', None) or failed}"
        ) from failed
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def limit_depth(context: ssl.SSLContext, depth: int, openssl: OpenSsl | None) -> None:
    """Allow so many intermediate authorities.

    Raises:
        ContextRefusedError: this Python's OpenSSL cannot be reached, so the limit would not hold.
    """
    if openssl is None or not openssl.set_verify_depth(context, depth):
        raise ContextRefusedError("a verify depth cannot be set with this build of Python")


def _set_groups(openssl: OpenSsl, context: ssl.SSLContext) -> None:
    """Mozilla's groups. OpenSSL's own longer list stays if it takes neither."""
    if ssl.OPENSSL_VERSION_INFO >= (3, 5) and openssl.set_groups(context, GROUPS_POST_QUANTUM):
        return
    openssl.set_groups(context, GROUPS)
