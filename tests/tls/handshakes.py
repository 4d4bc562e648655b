"""Handshakes in memory and on loopback sockets."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.tls.certificates import authority
from tls.certificate import CertificatePair
from tls.contexts import load_pair


def client_context(
    *,
    trusts: str | None = "test authority",
    certificate: CertificatePair | None = None,
    alpn: tuple[str, ...] = (),
    version: ssl.TLSVersion | None = None,
    ciphers: str | None = None,
) -> ssl.SSLContext:
    """A client that trusts one of our test authorities, or anybody when None."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusts is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=authority(trusts).certificate_pem.decode())
    if certificate is not None:
        load_pair(context, certificate)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if ciphers is not None:
        context.set_ciphers(ciphers)
    return context


@dataclass
class Ends:
    """Both sides of a finished handshake, with one message exchanged so that tickets arrived."""

    client: ssl.SSLObject
    server: ssl.SSLObject

    @property
    def resumed(self) -> bool:
        reused = self.client.session_reused
        assert reused == self.server.session_reused
        return bool(reused)

    @property
    def session(self) -> ssl.SSLSession:
        session = self.client.session
        assert session is not None
        return session


def _step(side: ssl.SSLObject, *, done: bool) -> bool:
    if done:
        return True
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def shake(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    name: str | None = "a.test",
    session: ssl.SSLSession | None = None,
) -> Ends:
    """A handshake in memory and one byte each way.

    Raises:
        ssl.SSLError: one side refused the other.
    """
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    done = [False, False]
    for _ in range(10):
        done = [_step(theirs, done=done[0]), _step(ours, done=done[1])]
        if all(done):
            break
    assert all(done), "the handshake does not end"
    theirs.write(b"?")
    assert ours.read(1) == b"?"
    ours.write(b"!")
    assert theirs.read(1) == b"!"
    return Ends(theirs, ours)


def hello_bytes(context: ssl.SSLContext, name: str | None = None) -> bytes:
    """The first flight of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    side = context.wrap_bio(incoming, outgoing, server_hostname=name)
    assert not _step(side, done=False)
    return outgoing.read()


@dataclass
class Served:
    """A server on a loopback port, and what became of each connection, in order."""

    port: int
    outcomes: list[str] = field(default_factory=list)
    finished: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def outcome(self) -> str:
        """What became of the next connection."""
        assert self.finished.acquire(timeout=20)
        return self.outcomes.pop(0)


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"


def _serve_one(accepted: socket.socket, context: ssl.SSLContext) -> str:
    accepted.settimeout(20)
    try:
        with context.wrap_socket(accepted, server_side=True) as secure:
            read = secure.recv(65536)
            if read:
                secure.sendall(ANSWER)
            cipher = secure.cipher()
            assert cipher is not None
            return f"{secure.version()} {cipher[0]} {secure.selected_alpn_protocol()}"
    except ssl.SSLError as failed:
        return f"failed {failed.reason}"
    except OSError as failed:
        return f"failed {type(failed).__name__}"


@contextmanager
def serving(context: ssl.SSLContext, connections: int = 1) -> Iterator[Served]:
    """Answers so many connections, one after the other, each with one HTTP answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        served = Served(listener.getsockname()[1])

        def run() -> None:
            for _ in range(connections):
                try:
                    accepted, _peer = listener.accept()
                except OSError:
                    return
                with accepted:
                    served.outcomes.append(_serve_one(accepted, context))
                served.finished.release()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield served
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
