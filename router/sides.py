"""The two sides of an exchange as it sees them, and who opens connections: interfaces alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from router.forward.request import Forwarding
from router.http.response_decoder import ResponseDecoder
from router.model.snapshot import HostSetName
from router.pool import PooledConnection, Target
from tls.policy import TlsPolicy

if TYPE_CHECKING:
    from router.exchange import Exchange


class ClientSide(Protocol):
    """The client's connection, as the exchange sees it."""

    forwarding: Forwarding
    hosts: HostSetName
    https_port: int
    """The published port that redirects to https name."""
    policy: TlsPolicy | None
    """What the connection was opened under; None for plain HTTP."""

    def whole_certificate(self) -> bytes:
        """The line with the client's whole certificate, or nothing."""
        ...

    def write(self, data: bytes) -> None: ...
    def write_parts(self, parts: list[bytes]) -> None: ...
    def may_keep_alive(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_paused(self) -> bool:
        """Whether the client does not read fast enough."""
        ...

    def exchange_over(self, *, keep_alive: bool) -> None:
        """The answer is complete; the next request's turn, or the end."""
        ...

    def exchange_cut(self, *, reset: bool) -> None:
        """The answer cannot be completed: end the connection so that the client notices."""
        ...

    def open_tunnel(self, upstream: UpstreamSide, early: bytes) -> None: ...


class UpstreamSide(PooledConnection, Protocol):
    """A connection to an endpoint, as the exchange sees it."""

    decoder: ResponseDecoder
    exchange: Exchange | None
    target: Target

    def write(self, data: bytes) -> None: ...
    def write_parts(self, parts: list[bytes]) -> None: ...
    def begin(self, exchange: Exchange) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_paused(self) -> bool: ...
    def wait_for_stray_bytes(self) -> None:
        """Go back to the pool a moment later, if nothing comes meanwhile: the answer had no body,
        but a length, and some servers send the body all the same."""
        ...

    def expect_soon(self) -> None:
        """Start the time in which the upstream has to send something."""
        ...


class Dialler(Protocol):
    """Opens connections."""

    def dial(self, target: Target, exchange: Exchange) -> None:
        """Open one; `Exchange.connected` or `Exchange.connect_failed` is called later."""
        ...
