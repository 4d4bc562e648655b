"""Contexts for https upstreams, shared by all that need the same, and their sessions.

A context with the system's authorities is large and takes milliseconds to make, so it is kept by
what it depends on: not by upstream, and not by server name, which belongs to the dial.
"""

import ssl
from collections import OrderedDict
from typing import Final

from tls.certificate import CertificatePair
from tls.contexts import ContextRefusedError, limit_depth, load_authorities, load_pair
from tls.openssl import OpenSsl
from tls.policy import Authorities, UpstreamTls

DEFAULT_LIMIT: Final = 256
"""Contexts kept in one worker."""
SESSIONS_LIMIT: Final = 1024
"""Sessions kept for one context, one an endpoint and name."""


class UpstreamContext:
    """One context with the sessions that endpoints gave us."""

    __slots__ = ("_context", "_sessions")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._sessions: OrderedDict[tuple[str, str], ssl.SSLSession] = OrderedDict()

    def dial(self, endpoint: str, server_hostname: str) -> "Dial":
        """What to give an event loop as ``ssl`` for one connection to this endpoint."""
        return Dial(self, endpoint, server_hostname)

    def wrap(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, endpoint: str, name: str
    ) -> ssl.SSLObject:
        """A client's side over memory, with the session that the endpoint gave us last."""
        session = self._sessions.get((endpoint, name))
        return self._context.wrap_bio(incoming, outgoing, server_hostname=name, session=session)

    def remember(self, endpoint: str, name: str, session: ssl.SSLSession) -> None:
        sessions = self._sessions
        sessions[endpoint, name] = session
        sessions.move_to_end((endpoint, name))
        if len(sessions) > SESSIONS_LIMIT:
            sessions.popitem(last=False)


class Dial:
    """Stands for a context in ``loop.create_connection(ssl=…)`` and offers a session to resume.

    asyncio and uvloop ask of a context ``wrap_bio`` alone, and have no argument for a session.
    """

    __slots__ = ("_context", "_endpoint", "server_hostname")

    def __init__(self, context: UpstreamContext, endpoint: str, server_hostname: str) -> None:
        self._context = context
        self._endpoint = endpoint
        self.server_hostname = server_hostname
        """To be passed beside: the name that is verified."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> ssl.SSLObject:
        """As `ssl.SSLContext.wrap_bio`, for a client.

        Raises:
            ValueError: for another name than the one to verify.
        """
        if server_side or server_hostname != self.server_hostname:
            raise ValueError(f"this connection must verify {self.server_hostname!r}")
        return self._context.wrap(incoming, outgoing, self._endpoint, self.server_hostname)

    def remember(self, connection: ssl.SSLObject) -> None:
        """Keep the connection's session for the next one to this endpoint.

        Call it after the first bytes of an answer: TLS 1.3 sends tickets after the handshake.
        """
        session = connection.session
        if session is not None and session.has_ticket:
            self._context.remember(self._endpoint, self.server_hostname, session)


class UpstreamContexts:
    """The client contexts of one worker, bounded."""

    __slots__ = ("_kept", "_limit", "_openssl")

    def __init__(self, *, openssl: OpenSsl | None, limit: int = DEFAULT_LIMIT) -> None:
        self._openssl = openssl
        self._limit = max(1, limit)
        self._kept: OrderedDict[UpstreamTls, UpstreamContext] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(
        self,
        profile: UpstreamTls,
        *,
        authorities: Authorities | None = None,
        client: CertificatePair | None = None,
    ) -> UpstreamContext:
        """The context for a profile; profiles that differ in ``server_name`` alone share it.

        ``authorities`` and ``client`` are what the profile names by digest.

        Raises:
            ContextRefusedError: what the profile names is not there or not taken by OpenSSL. The
                upstream must not be spoken to then: never in clear, never unverified.
        """
        key = UpstreamTls(
            verify=profile.verify,
            authorities=profile.authorities,
            client_certificate=profile.client_certificate,
            alpn=profile.alpn,
            verify_depth=profile.verify_depth,
        )
        kept = self._kept.get(key)
        if kept is None:
            kept = UpstreamContext(_client_context(key, authorities, client, self._openssl))
            while len(self._kept) >= self._limit:
                self._kept.popitem(last=False)
            self._kept[key] = kept
        else:
            self._kept.move_to_end(key)
        return kept


def hostname_for(profile: UpstreamTls, address: str) -> str:
    """The name to send and verify when this address is dialled.

    An address without a name in the profile is verified as an IP address, and then no name is
    sent (RFC 6066 §3 allows none).
    """
    return profile.server_name or address


def _client_context(
    profile: UpstreamTls,
    authorities: Authorities | None,
    client: CertificatePair | None,
    openssl: OpenSsl | None,
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if profile.alpn:
        context.set_alpn_protocols(list(profile.alpn))
    if not profile.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif profile.authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    elif authorities is None or authorities.digest != profile.authorities:
        raise ContextRefusedError("the authorities for the upstream's certificate are not there")
    else:
        load_authorities(context, authorities)
    if profile.verify and profile.verify_depth is not None:
        limit_depth(context, profile.verify_depth, openssl)
    if profile.client_certificate is not None:
        if client is None or client.digest != profile.client_certificate:
            raise ContextRefusedError("the certificate to show to the upstream is not there")
        load_pair(context, client)
    return context
