"""Accepting connections whose first bytes decide what they are.

Plain listeners without PROXY protocol need none of this: the event loop accepts for them. Here the
first bytes are looked at without being taken (MSG_PEEK): a PROXY header, then, on TLS ports, the
ClientHello. Only then is the context chosen and the handshake begun, or the connection passed
through. A context that is chosen by a callback within the handshake would not apply its rules for
client certificates and versions.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress

from router.http.answers import fault_answer
from router.http.faults import PLAIN_ON_TLS_PORT
from router.io.downstream import ClientConnection, TlsState
from router.io.hub import Hub
from router.io.passthrough import pass_through
from router.model.snapshot import Listener, Passthrough
from router.proxy_protocol import MAX_HEADER, Malformed, NeedMore, read_proxy_header
from router.runtime import NEVER, Runtime
from router.sides import Dialler
from tls.client_hello import (
    MAX_RECEIVED,
    Alert,
    ClientHello,
    ClientHelloReader,
    NotTls,
    Refused,
    alert_record,
)
from tls.client_hello import NeedMore as NeedMoreHello
from tls.contexts import ContextRefusedError, last_words
from tls.policy import refuses_alpn

ACCEPT_BUDGET = 64
"""Connections accepted in one turn of the loop, so that a flood leaves time for others."""
_CLOSE_WAIT = 8
"""TCP_CLOSE_WAIT of Linux: the peer has closed its side."""
_RETRY_SECONDS = 0.1
"""Pause after accept failed for want of descriptors or memory."""


class PeekingListener:
    """Accepts on one socket and opens each connection by its first bytes."""

    def __init__(
        self,
        hub: Hub,
        dialler: Dialler,
        listener: Listener,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.hub = hub
        self.dialler = dialler
        self.listener = listener
        self.loop = loop
        self._sock = sock
        self.tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Accept from now on."""
        self._sock.setblocking(False)
        self.loop.add_reader(self._sock.fileno(), self._accept)

    def close(self) -> None:
        """Accept nothing more; what was accepted goes on."""
        if self._sock.fileno() >= 0:
            self.loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _accept(self) -> None:
        for _ in range(ACCEPT_BUDGET):
            try:
                accepted, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self.hub.runtime.counters.refused_connections += 1
                self.hub.log_once("accept", "accepting a connection failed", {"error": str(error)})
                self.loop.remove_reader(self._sock.fileno())
                self.loop.call_later(_RETRY_SECONDS, self._resume)
                return
            if not self.hub.admit():
                self.hub.runtime.counters.refused_connections += 1
                accepted.close()
                continue
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Opening(self, accepted, str(address[0])).start()

    def _resume(self) -> None:
        if self._sock.fileno() >= 0:
            self.loop.add_reader(self._sock.fileno(), self._accept)


def _done() -> bool:
    """Nothing more is read. No method: an opening that refers to itself waits for a collection."""
    return False


class Opening:
    """A connection that is accepted, and not yet known to be anything."""

    def __init__(self, listener: PeekingListener, sock: socket.socket, peer: str) -> None:
        self._listener = listener
        self._hub = listener.hub
        self._rt: Runtime = listener.hub.runtime
        self._sock = sock
        self._peer = peer
        self._read: Callable[[], bool] = self._read_hello
        self._hello = ClientHelloReader()
        self._accepted = self._rt.clock()
        self._peeked = 0
        self.deadline = NEVER

    def start(self) -> None:
        """Wait for the first bytes."""
        limits = self._rt.limits
        self._hub.timed.add(self)
        self._hub.openings[self] = None
        if self._rt.proxy_protocol.trust(self._peer):
            self._read = self._read_proxy_header
            self.deadline = self._rt.now + limits.proxy_header_timeout
        else:
            self._expect_content()
            if self._read is _done:
                return
        self._listener.loop.add_reader(self._sock.fileno(), self._readable)

    def expire(self, now: float) -> None:
        """Nothing, or too little, came in time."""
        self._refuse("timeout", b"")

    def give_up(self) -> bool:
        """End it to make room for another one; False once its handshake has begun."""
        if self._read is _done:
            return False
        self._refuse("crowded-out", b"")
        return True

    def _expect_content(self) -> None:
        """What comes next: a ClientHello, or on plain ports HTTP."""
        self.deadline = self._rt.now + self._rt.limits.tls_handshake_timeout
        if self._listener.listener.protocol == "https":
            self._read = self._read_hello
        else:
            self._read = _done
            self._begin(None, None)

    def _readable(self) -> None:
        try:
            while self._read():
                pass
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._end()
        except Exception as error:
            self._hub.report(error)
            self._end()

    def _peek(self, size: int) -> bytes:
        """The first bytes; none when no more will come."""
        data = self._sock.recv(size, socket.MSG_PEEK)
        if len(data) > self._peeked:
            self._peeked = len(data)
            return data
        # Woken without news: after the client's FIN, the socket stays readable whatever its
        # low-water mark says, and would wake us for ever.
        state = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return b"" if state == _CLOSE_WAIT else data

    def _wait_for(self, at_least: int) -> None:
        """Wake up only when so many bytes are there: the peeked ones would wake us at once."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, at_least)

    def _read_proxy_header(self) -> bool:
        data = self._peek(MAX_HEADER)
        if not data:
            self._end()
            return False
        header = read_proxy_header(data)
        if isinstance(header, NeedMore):
            self._wait_for(len(data) + 1)
            return False
        self._wait_for(1)
        if isinstance(header, Malformed):
            self._refuse("proxy-header", b"")
            return False
        self._sock.recv(header.length)
        self._peeked = 0
        if header.client is not None:
            self._peer = header.client
        self._expect_content()
        return True

    def _read_hello(self) -> bool:
        data = self._peek(MAX_RECEIVED)
        if not data:
            self._end()
            return False
        outcome = self._hello.read(data)
        if isinstance(outcome, NeedMoreHello):
            if outcome.at_least <= len(data):
                self._refuse("malformed", alert_record(Alert.RECORD_OVERFLOW))
            else:
                self._wait_for(outcome.at_least)
            return False
        self._wait_for(1)
        if isinstance(outcome, NotTls):
            self._answer_plain(outcome)
        elif isinstance(outcome, Refused):
            self._refuse(outcome.code.replace("_", "-"), alert_record(outcome.alert))
        else:
            self._choose(outcome)
        return False

    def _choose(self, hello: ClientHello) -> None:
        """Passthrough, or a context: decided once, before the handshake."""
        names = self._rt.server_names_for(self._listener.listener.hosts)
        selection = names.select(
            hello.server_name, offers_ecdsa=hello.offers_ecdsa, offers_rsa=hello.offers_rsa
        )
        if selection is None:
            self._refuse("no-certificate", alert_record(Alert.INTERNAL_ERROR))
        elif isinstance(selection, Passthrough):
            self._release()
            self._hub.openings.pop(self, None)
            self._start(
                pass_through(
                    self._hub,
                    self._sock,
                    peer=self._peer,
                    server_name=hello.server_name or "",
                    upstream=selection,
                    loop=self._listener.loop,
                )
            )
        elif refuses_alpn(selection.policy, hello.alpn):
            self._refuse("alpn", alert_record(Alert.NO_APPLICATION_PROTOCOL))
        else:
            try:
                context = self._hub.contexts.get(
                    selection.pairs, selection.policy, selection.authorities
                )
            except ContextRefusedError as refused:
                self._hub.log_once("context", "a TLS handshake was refused", {"why": str(refused)})
                self._refuse("context", alert_record(Alert.INTERNAL_ERROR))
                return
            self._begin(context, TlsState(hello.server_name or "", selection.policy))

    def _begin(self, context: ssl.SSLContext | None, state: TlsState | None) -> None:
        self._release()
        self._start(self._open(context, state))

    async def _open(self, context: ssl.SSLContext | None, state: TlsState | None) -> None:
        listener = self._listener

        def factory() -> ClientConnection:
            return ClientConnection(
                listener.hub, listener.dialler, listener.listener, tls=state, peer=self._peer
            )

        left = self._rt.limits.tls_handshake_timeout - (self._rt.clock() - self._accepted)
        spare = self._sock.dup() if context is not None else None
        try:
            await listener.loop.connect_accepted_socket(
                factory,
                self._sock,
                ssl=context,
                ssl_handshake_timeout=None if context is None else max(0.1, left),
                ssl_shutdown_timeout=None if context is None else 1.0,
            )
        except ssl.SSLError as error:
            if spare is not None:
                # The event loop has closed its socket with the alert still unsent.
                with suppress(OSError):
                    spare.send(last_words(error))
            self._count_failure((error.reason or "ssl").lower().replace("_", "-"))
        except (TimeoutError, ConnectionAbortedError):
            self._count_failure("timeout")
        except OSError:
            self._count_failure("closed")
        finally:
            if spare is not None:
                spare.close()
            self._hub.openings.pop(self, None)

    # -- ends ----------------------------------------------------------------------------------

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._listener.loop.create_task(work)
        self._listener.tasks.add(task)
        task.add_done_callback(self._listener.tasks.discard)

    def _release(self) -> None:
        """Stop waiting; the socket belongs to somebody else now."""
        self.deadline = NEVER
        self._read = _done
        self._hub.timed.discard(self)
        self._listener.loop.remove_reader(self._sock.fileno())

    def _end(self) -> None:
        self._release()
        self._hub.openings.pop(self, None)
        self._sock.close()

    def _refuse(self, reason: str, words: bytes) -> None:
        self._count_failure(reason)
        self._say(words)
        self._end()

    def _answer_plain(self, outcome: NotTls) -> None:
        """Plain HTTP on the TLS port gets a sentence; anything else is just refused."""
        self._count_failure(f"not-tls-{outcome.looks_like}")
        rt = self._rt
        if outcome.looks_like == "http":
            rt.counters.fault(PLAIN_ON_TLS_PORT.code)
            self._say(
                fault_answer(
                    PLAIN_ON_TLS_PORT,
                    request_id="",
                    fixed=rt.server_line + rt.date_line,
                    keep_alive=b"Connection: close\r\n",
                    with_body=True,
                )
            )
        self._end()

    def _say(self, words: bytes) -> None:
        """Write to a fresh socket, whose buffer is empty; take what came, or closing resets."""
        if not words:
            return
        try:
            self._sock.recv(MAX_RECEIVED)
            self._sock.send(words)
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _count_failure(self, reason: str) -> None:
        self._rt.counters.tls_failure(reason)
        self._hub.log_once(
            f"tls.{reason}",
            "a TLS handshake failed",
            {"reason": reason, "peer": self._peer},
            level="info",  # scanners and impatient browsers: nothing that an admin could mend
        )
