"""A connection to an endpoint: kept by its target's pool between exchanges."""

import asyncio
from collections.abc import Callable

from router.exchange import Exchange
from router.http.faults import CUT_ANSWER, UPSTREAM_CLOSED, UPSTREAM_TIMEOUT, Fault
from router.http.fields import Field
from router.http.head import ResponseHead
from router.http.response_decoder import ResponseDecoder
from router.io.hub import BUFFER, Hub
from router.io.tunnel import Tunnel
from router.pool import Target
from router.runtime import NEVER, Runtime
from tls.upstream import Dial


class _Nobody:
    """Hears answers that nobody asked for; the decoder notes them as unclean."""

    def response_head(self, head: ResponseHead) -> None: ...
    def response_body(self, piece: bytes) -> None: ...
    def response_end(self, trailers: list[Field]) -> None: ...
    def response_fault(self, fault: Fault) -> None: ...


_NOBODY = _Nobody()
_DOUBT = 0.1
"""Seconds after which a body that should not be there would have come."""


class UpstreamConnection(asyncio.Protocol):
    """One connection to one endpoint."""

    def __init__(self, hub: Hub, target: Target, dial: Dial | None = None) -> None:
        self._hub = hub
        self._dial = dial
        self._rt: Runtime = hub.runtime
        self.target = target
        self.exchange: Exchange | None = None
        self.tunnel: Tunnel | None = None
        self.deadline = NEVER
        limits = hub.runtime.limits
        self._timeout = limits.upstream_read_timeout
        self.decoder = ResponseDecoder(
            _NOBODY,
            hub.runtime.response_fields,
            limits.max_header_size,
            limits.max_header_fields,
        )
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # connection_made
        self._reading = True
        self._paused = False
        self.lost = False
        self._doubtful = False
        self.write: Callable[[bytes], None] = None  # type: ignore[assignment]  # connection_made

    # -- the transport's calls -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's own class
        self.write = transport.write  # type: ignore[attr-defined]  # uvloop's own class
        self._transport.set_write_buffer_limits(high=BUFFER)
        self._hub.timed.add(self)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            if self.tunnel is not None:
                self.tunnel.from_upstream(data)
            else:
                # An idle upstream has nothing to say: whatever this is, it must not become the
                # answer of the next request.
                self.decoder.clean = False
                self.close()
            return
        if self._reading:
            self.deadline = self._rt.now + self._timeout
        if self._dial is not None:
            self._dial.remember(self._transport.get_extra_info("ssl_object"))
            self._dial = None
        try:
            self.decoder.receive(data)
            if self.exchange is exchange:
                exchange.flush()
        except Exception as error:
            self._broke(error, exchange)

    def eof_received(self) -> bool:
        if self.tunnel is not None:
            self.tunnel.upstream_eof()
            return True
        if self.exchange is not None:
            self.decoder.end_of_stream()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._hub.timed.discard(self)
        self.deadline = NEVER
        exchange = self.exchange
        if self.tunnel is not None:
            self.tunnel.upstream_lost()
        elif exchange is not None:
            # After a reset, not even a body that ends with the connection is complete.
            exchange.response_fault(CUT_ANSWER if self.decoder.began else UPSTREAM_CLOSED)
        self.target.forget(self)

    def pause_writing(self) -> None:
        self._paused = True
        if self.tunnel is not None:
            self.tunnel.upstream_full()

    def resume_writing(self) -> None:
        self._paused = False
        if self.tunnel is not None:
            self.tunnel.upstream_drained()
        elif self.exchange is not None:
            self.deadline = self._rt.now + self._timeout
            self.exchange.upstream_reads_again()

    # -- the exchange's and the pool's calls ---------------------------------------------------

    def begin(self, exchange: Exchange) -> None:
        """This exchange's answer comes next."""
        self.exchange = exchange
        self.decoder.sink = exchange
        self.deadline = self._rt.now + self._timeout

    def expect_soon(self) -> None:
        """The upstream has to send something, from now on."""
        self.deadline = self._rt.now + self._timeout

    def is_usable(self) -> bool:
        """Whether it looks alive, and nothing came that nobody asked for."""
        return self.decoder.clean and not self._transport.is_closing()

    def write_parts(self, parts: list[bytes]) -> None:
        """Write several pieces: small ones joined, large ones without a copy."""
        if sum(map(len, parts)) < 16384:
            self.write(b"".join(parts))
        else:
            self._transport.writelines(parts)

    def pause_reading(self) -> None:
        """Take nothing more from the upstream for now."""
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()
            self.deadline = NEVER

    def resume_reading(self) -> None:
        """Go on taking bytes from the upstream."""
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()
            self.deadline = self._rt.now + self._timeout

    def wait_for_stray_bytes(self) -> None:
        """Go back to the pool with the next tick, if nothing comes meanwhile."""
        self.decoder.sink = _NOBODY
        self._doubtful = True
        self.deadline = self._rt.now + _DOUBT

    def is_paused(self) -> bool:
        """Whether more than BUFFER bytes wait to be sent to the upstream."""
        return self._paused

    def rest(self) -> None:
        """It stands idle in the pool from now on."""
        self.decoder.sink = _NOBODY
        self.deadline = self._rt.now + self._rt.limits.upstream_keepalive_timeout

    def close(self) -> None:
        """End it at once: nothing that is still to be sent matters to anybody."""
        self.deadline = NEVER
        self._transport.abort()

    # -- the tunnel's calls --------------------------------------------------------------------

    def write_eof(self) -> None:
        """Nothing more will be sent to the upstream."""
        if not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()

    def enter_tunnel(self, tunnel: Tunnel) -> None:
        """From now on bytes pass as they are."""
        self.exchange = None
        self.tunnel = tunnel
        self.deadline = NEVER

    # -- time ----------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """No answer in time, or idle for too long."""
        exchange = self.exchange
        if exchange is None and self._doubtful:
            self._doubtful = False
            self.target.give_back(self)
        elif exchange is None:
            self.close()
        elif not exchange.request_done and not self._paused:
            # It is the client that we wait for; its own deadline runs.
            self.deadline = now + self._timeout
        else:
            exchange.response_fault(UPSTREAM_TIMEOUT)

    def _broke(self, error: Exception, exchange: Exchange) -> None:
        self._hub.report(error)
        exchange.broke()
        self.close()
