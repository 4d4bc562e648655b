"""TLS in front of the harness: names with certificates, and a client whose every step can fail."""

import asyncio
import functools
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import msgspec
from msgspec.structs import replace

from router.model import wire
from router.model.limits import Limits
from router.model.origin import Origin
from router.model.snapshot import (
    Answer,
    Delta,
    Host,
    HttpsRules,
    Listener,
    Passthrough,
    Snapshot,
    Terminate,
)
from router.model.upstreams import Endpoint, UpstreamTls
from tests.harness.backend import Backend
from tests.harness.client import Address, Connection
from tests.harness.edge import Edge
from tests.harness.waiting import PATIENCE
from tests.harness.worker import QUIET, Target, Worker, key, snapshot
from tests.tls.certificates import pair
from tests.tls.handshakes import client_context
from tls.certificate import CertificatePair
from tls.openssl import probe
from tls.policy import Authorities, TlsPolicy
from tls.tickets import SECRET_BYTES, TicketSecret

SECRET = TicketSecret(b"s" * SECRET_BYTES)
PUBLISHED = 8443
"""The port that redirects name."""


@functools.cache
def openssl_usable() -> bool:
    """What the control process would find out."""
    return probe() is None


def secure_worker(
    *,
    limits: Limits | None = None,
    options: wire.Options = QUIET,
    secret: TicketSecret = SECRET,
) -> Worker:
    """A worker that listens for TLS too."""
    return Worker(limits=limits, options=options, secret=secret, openssl_usable=openssl_usable())


class Name(msgspec.Struct, frozen=True, kw_only=True):
    """What answers for one server name."""

    pairs: tuple[CertificatePair, ...] = ()
    policy: TlsPolicy = TlsPolicy()
    authorities: Authorities | None = None
    passthrough: str = ""
    """Service whose endpoints end TLS themselves."""

    @property
    def entry(self) -> Terminate | Passthrough:
        """As the snapshot says it."""
        if self.passthrough:
            origin = Origin(kind="Ingress", namespace="test", name="web", service=self.passthrough)
            return Passthrough(upstream=key(self.passthrough), origin=origin)
        return Terminate(
            certificates=tuple(known.digest for known in self.pairs), policy=self.policy
        )


def default_name() -> Name:
    """The certificate of last resort."""
    return Name(pairs=(pair("default.test"),))


def needs_certificate(*names: str, issuer: Authorities, optional: bool = False) -> Name:
    """A name whose clients show a certificate of this authority."""
    policy = TlsPolicy(
        client_certificates="optional" if optional else "required", authorities=issuer.digest
    )
    return Name(pairs=(pair(*names),), policy=policy, authorities=issuer)


def secured(
    plain: Snapshot,
    names: Mapping[str, Name],
    *,
    rules: Mapping[str, HttpsRules] | None = None,
    upstreams: Mapping[str, UpstreamTls] | None = None,
    published_port: int = PUBLISHED,
) -> Snapshot:
    """The snapshot with an HTTPS listener, these names, rules for hosts, and https upstreams."""
    http = replace(plain.listeners["http"], https_port=published_port)
    https = Listener(
        "https", protocol="https", published_port=published_port, https_port=published_port
    )
    entries = {"": default_name(), **names}
    hosts = dict(plain.hosts["default"])
    for pattern, rule in (rules or {}).items():
        hosts[pattern] = Host(
            routes=tuple(replace(route, https=rule) for route in hosts[pattern].routes)
        )
    return replace(
        plain,
        listeners={"http": http, "https": https},
        hosts={"default": hosts},
        server_names={"default": {pattern: name.entry for pattern, name in entries.items()}},
        certificates={known.digest: known for name in entries.values() for known in name.pairs},
        authorities={
            name.authorities.digest: name.authorities
            for name in entries.values()
            if name.authorities is not None
        },
        upstreams=plain.upstreams
        | {
            key(service): replace(plain.upstreams[key(service)], protocol="https", tls=tls)
            for service, tls in (upstreams or {}).items()
        },
    )


def serve(
    worker: Worker,
    table: Mapping[str, Mapping[str, Target]],
    services: Mapping[str, Iterable[Endpoint]],
    names: Mapping[str, Name],
    *,
    rules: Mapping[str, HttpsRules] | None = None,
    upstreams: Mapping[str, UpstreamTls] | None = None,
    published_port: int = PUBLISHED,
) -> Snapshot:
    """Replace everything that the worker serves; gives the snapshot."""
    whole = secured(
        snapshot(0, table, services),
        names,
        rules=rules,
        upstreams=upstreams,
        published_port=published_port,
    )
    worker.load(whole)
    return whole


def renamed(changes: Mapping[str, Name], gone: Iterable[CertificatePair] = ()) -> Delta:
    """A delta for these names; certificates that are gone are taken out."""
    return Delta(
        base=0,
        version=0,
        server_names={"default": {pattern: name.entry for pattern, name in changes.items()}},
        certificates={known.digest: None for known in gone}
        | {known.digest: known for name in changes.values() for known in name.pairs},
        authorities={
            name.authorities.digest: name.authorities
            for name in changes.values()
            if name.authorities is not None
        },
    )


class SecureConnection(Connection):
    """A client over TLS; read `Connection`. An end without close_notify counts as a reset."""

    def __init__(self, sock: socket.socket, methods: Iterable[str], *, http10: bool) -> None:
        super().__init__(sock, methods, http10=http10)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: ssl.SSLObject = None  # type: ignore[assignment]  # set by begin

    @classmethod
    async def secure(
        cls,
        address: Address,
        methods: Iterable[str] = (),
        *,
        context: ssl.SSLContext | None = None,
        server_name: str | None = "h.test",
        session: ssl.SSLSession | None = None,
        http10: bool = False,
        receive_buffer: int = 0,
        source: str = "",
        prefix: bytes = b"",
    ) -> Self:
        """Connect, send the prefix in clear, and shake hands.

        Raises:
            ssl.SSLError: one side refused the other.
            ConnectionError: the proxy ended the connection meanwhile.
        """
        connection = await cls.open(
            address, methods, http10=http10, receive_buffer=receive_buffer, source=source
        )
        try:
            if prefix:
                await Connection._transmit(connection, prefix)
            await connection.shake_hands(context or client_context(), server_name, session)
        except BaseException:
            connection.close()
            raise
        return connection

    async def shake_hands(
        self,
        context: ssl.SSLContext,
        server_name: str | None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        """The handshake; raises as `secure` does."""
        if server_name is None:
            context.check_hostname = False
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_name, session=session
        )
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    self.tls.do_handshake()
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._more()
                except ssl.SSLError:
                    await self._flush()
                    raise
                else:
                    await self._flush()
                    return

    async def _more(self) -> None:
        """Read from the socket once."""
        while True:
            try:
                data = self._sock.recv(65536)
            except BlockingIOError:
                await self._readable()
            else:
                break
        if not data:
            raise ConnectionAbortedError("the proxy ended the connection in the handshake")
        self._incoming.write(data)

    async def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            await super()._transmit(data)

    async def _transmit(self, data: bytes) -> None:
        for start in range(0, len(data), 1 << 20):
            self.tls.write(data[start : start + (1 << 20)])
            await self._flush()

    def _receive(self, most: int) -> bytes:
        while True:
            try:
                return self.tls.read(most)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError as cut:
                raise ConnectionResetError("no close_notify") from cut
            except ssl.SSLWantReadError:
                data = self._sock.recv(65536)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()

    async def ticket(self) -> ssl.SSLSession:
        """The session for a later connection; an answer must have been read before (TLS 1.3)."""
        session = self.tls.session
        assert session is not None
        return session


class SecureEdge(Edge):
    """An edge whose clients speak TLS. What proves that pools are well goes in clear."""

    @property
    def context(self) -> ssl.SSLContext:
        """A client that trusts the certificate of ``h.test``."""
        return client_context(alpn=("http/1.1",))

    async def open(
        self, methods: Iterable[str] = (), *, http10: bool = False, receive_buffer: int = 0
    ) -> Connection:
        return await SecureConnection.secure(
            self.worker.secure_address,
            methods,
            context=self.context,
            http10=http10,
            receive_buffer=receive_buffer,
        )

    async def clean_everywhere(self) -> None:
        await Edge(self.worker, self.backend).clean_everywhere()


@contextmanager
def secure_edge(
    limits: Limits | None = None, options: wire.Options = QUIET
) -> Iterator[SecureEdge]:
    """As `tests.harness.edge.edge`, and over TLS."""
    with Backend() as backend, secure_worker(limits=limits, options=options) as worker:
        base = worker.descriptors
        serve(
            worker,
            {
                "h.test": {"/": "web", "=/blocked": Answer(403, "not for the public")},
                "empty.test": {"/": "empty"},
            },
            {"web": [backend.endpoint], "empty": []},
            {"h.test": Name(pairs=(pair("h.test"),))},
        )
        pair_ = SecureEdge(worker, backend)
        yield pair_
        pair_.check()
        backend.close_all()
        worker.descriptors_return_to(base)
