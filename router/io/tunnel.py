"""Two connections joined after 101: bytes pass as they are, with backpressure both ways."""

from typing import TYPE_CHECKING

from router.exchange import Exchange
from router.http.faults import CLIENT_GONE, Fault
from router.sides import UpstreamSide

if TYPE_CHECKING:
    from router.io.downstream import ClientConnection
    from router.io.upstream import UpstreamConnection


class Tunnel:
    """An upgraded connection; knows its exchange only to tell it the end."""

    def __init__(
        self, exchange: Exchange, client: "ClientConnection", upstream: UpstreamSide
    ) -> None:
        self._exchange = exchange
        self._client = client
        self._upstream: UpstreamConnection = upstream  # type: ignore[assignment]  # the only kind
        self._received = 0
        self._sent = 0
        self._client_done = False
        self._upstream_done = False
        self._over = False
        self._upstream.enter_tunnel(self)

    def from_client(self, data: bytes) -> None:
        self._received += len(data)
        self._upstream.write(data)

    def from_upstream(self, data: bytes) -> None:
        self._sent += len(data)
        self._client.touch()
        self._client.write(data)

    def client_full(self) -> None:
        self._upstream.pause_reading()

    def client_drained(self) -> None:
        self._upstream.resume_reading()

    def upstream_full(self) -> None:
        self._client.pause_reading()

    def upstream_drained(self) -> None:
        self._client.resume_reading()

    def client_eof(self) -> None:
        """The client sends nothing more; the upstream may go on."""
        self._client_done = True
        self._upstream.write_eof()
        if self._upstream_done:
            self.end(None)

    def upstream_eof(self) -> None:
        """The upstream sends nothing more; the client may go on."""
        self._upstream_done = True
        self._client.write_eof()
        if self._client_done:
            self.end(None)

    def client_lost(self) -> None:
        self.end(None if self._client_done or self._upstream_done else CLIENT_GONE)

    def upstream_lost(self) -> None:
        self.end(None)

    def end(self, fault: Fault | None) -> None:
        """Close both sides, once."""
        if self._over:
            return
        self._over = True
        self._exchange.tunnel_ended(received=self._received, sent=self._sent, fault=fault)
        self._client.close()
        self._upstream.close()
