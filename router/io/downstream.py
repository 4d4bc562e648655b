"""A client's connection: bytes to the decoder, bytes from the exchange, one request at a time."""

import asyncio
import fcntl
import socket
import ssl
import struct
import sys
import termios
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from router.accesslog import AccessLog, AccessRecord
from router.exchange import Exchange
from router.forward.certificate import (
    NO_CERTIFICATE,
    Names,
    certificate_lines,
    whole_certificate,
)
from router.forward.request import Forwarding
from router.http.answers import body_size, fault_answer
from router.http.faults import (
    CLIENT_STALLED,
    OVERLOADED,
    REQUEST_TIMEOUT,
    TLS_ON_PLAIN_PORT,
    TUNNEL_IDLE,
    Fault,
)
from router.http.fields import Field
from router.http.head import RequestHead
from router.http.request_decoder import RequestDecoder
from router.io.hub import BUFFER, TICK, Hub
from router.io.tunnel import Tunnel
from router.model.snapshot import Listener
from router.runtime import NEVER, Runtime
from router.sides import Dialler, UpstreamSide
from tls.client_hello import Alert, alert_record
from tls.policy import TlsPolicy

_LINGER_SECONDS = 2.0
_LINGER_SECONDS_TLS = 0.1
"""TLS has no half-closed connections: the client sees the end only when this is over."""
_LINGER_BYTES = 1 << 20
"""After an early answer, so much is read and thrown away: closing with unread bytes would reset
the connection, and the client might never see the answer (RFC 9112 9.6)."""
_NOT_MEASURED = sys.maxsize
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class TlsState:
    """Under what a client's handshake was made."""

    server_name: str
    policy: TlsPolicy


class ClientConnection(asyncio.Protocol):
    """One client connection of a listener."""

    def __init__(
        self,
        hub: Hub,
        dialler: Dialler,
        listener: Listener,
        *,
        tls: TlsState | None = None,
        peer: str | None = None,
    ) -> None:
        """``tls`` says under what the handshake was made, ``peer`` who a PROXY header names."""
        self._hub = hub
        self._dialler = dialler
        self._listener = listener
        self._rt: Runtime = hub.runtime
        self._tls = tls
        self._peer = peer
        self.policy = None if tls is None else tls.policy
        self.hosts = listener.hosts
        self.https_port = listener.https_port
        self.deadline = NEVER
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # connection_made
        self.forwarding: Forwarding = None  # type: ignore[assignment]  # connection_made
        self._decoder: RequestDecoder = None  # type: ignore[assignment]  # connection_made
        self._exchange: Exchange | None = None
        self._tunnel: Tunnel | None = None
        self._opened = 0.0
        self._requests = 0
        self._head_began = False
        self._certificate: bytes | None = None
        self._reading = True
        self._paused = False
        self._lingered = -1
        self._linger_until = NEVER
        self._discarding = False
        """The rest of a request's body that was answered early is thrown away."""
        self._unsent = 0
        self._last_read = 0.0
        self._window_start = 0.0
        self._window_bytes = 0
        self.write: Callable[[bytes], None] = None  # type: ignore[assignment]  # connection_made

    # -- the transport's calls -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's own class
        self.write = transport.write  # type: ignore[attr-defined]  # uvloop's own class
        hub = self._hub
        rt = self._rt
        admitted = hub.admit()
        hub.timed.add(self)
        hub.clients.add(self)
        rt.counters.connections += 1
        peer = self._peer
        if peer is None:
            name = transport.get_extra_info("peername")
            peer = name[0] if name else "unknown"
        self.forwarding = Forwarding(
            peer=_plain(peer),
            proto=self._listener.protocol,
            port=self._listener.published_port,
            proxies=rt.proxies,
            with_forwarded=rt.options.forwarded_header,
            certificate=b"" if self._tls is None else self._shake_hands(self._tls),
        )
        limits = rt.limits
        self._decoder = RequestDecoder(
            self, rt.request_fields, limits.max_header_size, limits.max_header_fields
        )
        self._opened = rt.now
        self.deadline = rt.now + limits.header_timeout
        self._transport.set_write_buffer_limits(high=BUFFER)
        if not admitted:
            rt.counters.refused_connections += 1
            self._answer(OVERLOADED)

    def _shake_hands(self, tls: TlsState) -> bytes:
        """Count the handshake; the lines about the client's certificate."""
        connection: ssl.SSLObject = self._transport.get_extra_info("ssl_object")
        cipher = connection.cipher()
        self._rt.counters.tls_handshake(
            connection.version() or "unknown",
            cipher[0] if cipher else "unknown",
            resumed=bool(connection.session_reused),
        )
        if tls.policy.client_certificates == "none":
            return b""
        der = connection.getpeercert(binary_form=True)
        shown = connection.getpeercert()
        if not der or not shown:
            return NO_CERTIFICATE
        self._certificate = der
        return certificate_lines(
            subject=cast(Names, shown["subject"]), issuer=cast(Names, shown["issuer"]), der=der
        )

    def whole_certificate(self) -> bytes:
        """The line with the client's whole certificate; nothing when it showed none."""
        der = self._certificate
        return b"" if der is None else whole_certificate(ssl.DER_cert_to_PEM_cert(der))

    def data_received(self, data: bytes) -> None:
        tunnel = self._tunnel
        if tunnel is not None:
            self.deadline = self._rt.now + self._rt.limits.tunnel_timeout
            tunnel.from_client(data)
            return
        if self._lingered >= 0:
            self._lingered += len(data)
            if self._lingered > _LINGER_BYTES and self._reading:
                # Enough was thrown away; the client keeps the rest of the time to read its answer.
                self._reading = False
                self._transport.pause_reading()
            return
        decoder = self._decoder
        if not self._head_began and self._exchange is None:
            self._head_began = True
            self.deadline = self._rt.now + self._rt.limits.header_timeout
        try:
            decoder.receive(data)
        except Exception as error:
            self._broke(error)
        if self._exchange is not None and decoder.held > BUFFER:
            self.pause_reading()

    def eof_received(self) -> bool:
        if self._tunnel is not None:
            self._tunnel.client_eof()
            return self._tls is None  # TLS knows no half of a connection
        # A client that closes its side no longer waits for the answer (as nginx and Go see it).
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        hub = self._hub
        hub.timed.discard(self)
        hub.clients.discard(self)
        self.deadline = NEVER
        exchange, self._exchange = self._exchange, None
        if self._tunnel is not None:
            self._tunnel.client_lost()
        elif exchange is not None:
            exchange.client_lost()
        # Decoder and connection refer to each other: without this, all that TLS holds for a
        # connection (its event loop's buffer alone is 256 KiB) would wait for a collection.
        self._decoder = None  # type: ignore[assignment]  # nothing comes any more

    def pause_writing(self) -> None:
        self._paused = True
        if self._tunnel is not None:
            self._tunnel.client_full()
            return
        self._watch_sending()

    def _watch_sending(self) -> None:
        """From now on the client has to read; what it has not taken is measured at the next tick,
        because most pauses and most ends are over by then, and measuring costs a system call."""
        self._unsent = _NOT_MEASURED
        self.deadline = self._rt.now + TICK

    def resume_writing(self) -> None:
        self._paused = False
        if self._tunnel is not None:
            self._tunnel.client_drained()
        elif self._exchange is not None:
            self._wait_for_body()
            self._exchange.client_reads_again()

    # -- the decoder's calls -------------------------------------------------------------------

    def request_head(self, head: RequestHead) -> None:
        exchange = self._exchange = Exchange(self, self._dialler, self._rt, head)
        self._requests += 1
        self._head_began = False
        if head.has_body:
            self._window_start = self._last_read = self._rt.now
            self._window_bytes = 0
            self._wait_for_body()
        else:
            self.deadline = NEVER
        exchange.start()

    def request_body(self, piece: bytes) -> None:
        self._last_read = self._rt.now
        if self._exchange is not None:
            self._exchange.request_body(piece)

    def request_end(self, trailers: list[Field]) -> None:
        exchange = self._exchange
        if exchange is None:
            if self._discarding:
                self._discarding = False
                self.deadline = self._rt.now + self._rt.limits.keepalive_timeout
                self._decoder.next()
        elif not exchange.request_done:
            exchange.request_end(trailers)
            if not self._paused:
                self.deadline = NEVER

    def request_fault(self, fault: Fault) -> None:
        exchange = self._exchange
        if exchange is not None:
            exchange.fail(fault)
        else:
            self._answer(fault)

    # -- the exchange's calls ------------------------------------------------------------------

    def write_parts(self, parts: list[bytes]) -> None:
        """Write several pieces: small ones joined, large ones without a copy."""
        if len(parts[1]) < 16384:
            self.write(b"".join(parts))
        else:
            self._transport.writelines(parts)

    def may_keep_alive(self) -> bool:
        """Whether this connection may serve another request."""
        rt = self._rt
        return (
            not rt.draining
            and self._requests < rt.limits.max_requests_per_connection
            and rt.now - self._opened < rt.limits.max_connection_age
        )

    def pause_reading(self) -> None:
        """Take nothing more from the client for now."""
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()
            if not self._paused:
                self.deadline = NEVER

    def resume_reading(self) -> None:
        """Go on taking bytes from the client."""
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()
            if self._exchange is not None:
                self._last_read = self._window_start = self._rt.now
                self._window_bytes = self._exchange.bytes_received
                self._wait_for_body()

    def is_paused(self) -> bool:
        """Whether more than BUFFER bytes wait to be sent to the client."""
        return self._paused

    def exchange_over(self, *, keep_alive: bool) -> None:
        """The answer is complete: the next request's turn, or the end."""
        self._exchange = None
        if not keep_alive:
            self._end(unread=self._decoder.in_body)
            return
        self.resume_reading()
        if self._decoder.in_body:
            self._discarding = True
            self.deadline = self._rt.now + self._rt.limits.body_timeout
            return
        self.deadline = self._rt.now + self._rt.limits.keepalive_timeout
        self._decoder.next()
        if self._exchange is None and self._decoder.in_head:
            self._head_began = True
            self.deadline = self._rt.now + self._rt.limits.header_timeout

    def exchange_cut(self, *, reset: bool) -> None:
        """End the connection so that the client notices that the answer is not complete."""
        self._exchange = None
        self._decoder.stop()
        if reset:
            self._reset()
        else:
            self.close()

    def open_tunnel(self, upstream: UpstreamSide, early: bytes) -> None:
        """The upstream said 101: from now on bytes pass as they are."""
        exchange = self._exchange
        assert exchange is not None  # noqa: S101 - it is the caller
        self._exchange = None
        self.deadline = self._rt.now + self._rt.limits.tunnel_timeout
        tunnel = Tunnel(exchange, self, upstream)
        self._tunnel = tunnel
        held = self._decoder.stop()
        self.resume_reading()
        if held:
            tunnel.from_client(held)
        if early:
            tunnel.from_upstream(early)

    # -- the tunnel's calls --------------------------------------------------------------------

    def touch(self) -> None:
        """Bytes passed from the upstream: the tunnel is not idle."""
        self.deadline = self._rt.now + self._rt.limits.tunnel_timeout

    def write_eof(self) -> None:
        """Nothing more will be sent to the client."""
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self.close()

    def close(self) -> None:
        """Close once everything is sent."""
        self._watch_sending()
        self._transport.close()

    def _reset(self) -> None:
        """End at once and visibly: an answer that the close delimits would else look complete."""
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        with suppress(OSError):
            if sock is not None:  # it is None when TLS has lost the transport below
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def _unsent_bytes(self) -> int:
        """What the client has not taken: our buffer, and what the kernel holds unacknowledged.

        The kernel takes megabytes and tells of room only when a third of them is free, so our
        buffer alone would show no progress of a client that reads slowly but steadily.
        """
        unsent = self._transport.get_write_buffer_size()
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        queued = array("i", [0])
        with suppress(OSError, ValueError):
            if sock is not None:  # it is None when TLS has lost the transport below
                fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, queued)
        return unsent + queued[0]

    # -- time ----------------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Whether it waits for a request of which nothing has come."""
        return (
            self._exchange is None
            and self._tunnel is None
            and self._lingered < 0
            and not self._discarding
            and not self._decoder.in_head
        )

    def drain(self) -> None:
        """The worker stops: idle connections end now, others with their next answer."""
        if self.is_idle():
            self.close()

    def cut(self) -> None:
        """The time to drain is over."""
        self._reset()

    def expire(self, now: float) -> None:
        """Patience has ended: with whom depends on what is waited for."""
        self.deadline = NEVER
        if self._transport.is_closing():
            self._expire_send(now)
        elif self._lingered >= 0:
            self._expire_linger(now)
        elif self._tunnel is not None:
            self._tunnel.end(TUNNEL_IDLE)
        elif self._paused:
            self._expire_send(now)
        elif self._exchange is not None:
            if self._decoder.in_body and self._reading:
                self._expire_body(now, self._exchange)
        elif self._decoder.in_head:
            self._answer(REQUEST_TIMEOUT)
        else:
            self.close()

    def _expire_send(self, now: float) -> None:
        unsent = self._unsent_bytes()
        if unsent < self._unsent:
            self._unsent = unsent
            self.deadline = now + self._rt.limits.send_timeout
            return
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_lost(CLIENT_STALLED)
        self._reset()

    def _expire_linger(self, now: float) -> None:
        """Closes, unless the client still takes what it was sent: whatever else it sends to a
        closed socket is answered by a reset, which destroys what is on its way."""
        if now < self._linger_until and self._unsent_bytes():
            self.deadline = now + TICK
        else:
            self.close()

    def _expire_body(self, now: float, exchange: Exchange) -> None:
        limits = self._rt.limits
        silent = now - self._last_read >= limits.body_timeout
        window = now - self._window_start
        received = exchange.bytes_received - self._window_bytes
        slow = window >= limits.body_timeout and received < limits.min_body_rate * window
        if silent or slow:
            exchange.fail(REQUEST_TIMEOUT)
            return
        if window >= limits.body_timeout:
            self._window_start = now
            self._window_bytes = exchange.bytes_received
        self._wait_for_body()

    def _wait_for_body(self) -> None:
        """Set the deadline for the rest of the request's body, if any."""
        if self._paused:
            return
        if not self._decoder.in_body:
            self.deadline = NEVER
            return
        timeout = self._rt.limits.body_timeout
        self.deadline = min(self._last_read, self._window_start) + timeout

    # -- ends ----------------------------------------------------------------------------------

    def _answer(self, fault: Fault) -> None:
        """Answer what never became an exchange, log it, and end the connection."""
        rt = self._rt
        sent = 0
        if fault is TLS_ON_PLAIN_PORT:
            self.write(alert_record(Alert.UNEXPECTED_MESSAGE))
        else:
            answer = fault_answer(
                fault,
                request_id="",
                fixed=rt.server_line + rt.date_line,
                keep_alive=b"Connection: close\r\n",
                with_body=True,
            )
            sent = body_size(answer)
            self.write(answer)
        rt.counters.fault(fault.code)
        rt.no_route.count(fault.status, 0.0, 0, sent)
        log = rt.access_log
        if log is not None:
            at = rt.wall_clock()
            log.add(_refused_record(log, at, self.forwarding, fault, sent))
        self._end(unread=True)

    def _end(self, *, unread: bool) -> None:
        held = self._decoder.stop()
        if not unread and not held:
            self.close()
            return
        if self._transport.is_closing():
            return
        self._lingered = 0
        self._linger_until = self._rt.now + self._rt.limits.send_timeout
        self.resume_reading()
        if self._transport.can_write_eof():
            self.deadline = self._rt.now + _LINGER_SECONDS
            self._transport.write_eof()
        else:
            self.deadline = self._rt.now + _LINGER_SECONDS_TLS

    def _broke(self, error: Exception) -> None:
        self._hub.report(error)
        exchange = self._exchange
        if exchange is not None:
            exchange.broke()
        self._transport.close()


def _plain(peer: str) -> str:
    """An IPv4 client of a dual-stack socket by its IPv4 address."""
    return peer[7:] if peer.startswith("::ffff:") and "." in peer else peer


def _refused_record(
    log: AccessLog, at: float, forwarding: Forwarding, fault: Fault, sent: int
) -> AccessRecord:
    """What never became an exchange: only who it was, and what was wrong."""
    return AccessRecord(
        time=log.time(at),
        remote_addr=forwarding.peer,
        request_method="",
        host="",
        request_uri="",
        server_protocol="",
        status=fault.status,
        body_bytes_sent=sent,
        request_length=0,
        request_time=0.0,
        req_id="",
        upstream_tries=0,
        fault=fault.code,
        reason=fault.sentence,
    )
