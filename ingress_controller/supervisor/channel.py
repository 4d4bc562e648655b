"""The control process's end of the socket pair to a worker."""

import asyncio
from collections.abc import Callable
from typing import cast

import msgspec

from router.model.wire import Deframer, FromWorker, decode_from_worker

MAX_QUEUED = 64 << 20
"""Bytes that may wait for a worker to read; ten snapshots of 5,000 Ingresses."""


class Channel(asyncio.Protocol):
    """Frames to and from one worker.

    Args:
        on_message: called with each message of the worker.
        on_lost: called once when the channel has ended, with what was wrong (nothing, when the
            worker closed it).
    """

    def __init__(
        self, on_message: Callable[[FromWorker], None], on_lost: Callable[[str], None]
    ) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._deframer = Deframer()
        self._transport: asyncio.Transport | None = None
        self._reason = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._on_lost(self._reason if error is None else f"the channel failed: {error}")

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._deframer.feed(data):
                self._on_message(decode_from_worker(body))
        except (ValueError, msgspec.DecodeError) as error:
            self._reason = f"it sent what is no message of ours: {error}"
            self.close()

    @property
    def full(self) -> bool:
        """Whether so much waits to be read by the worker that nothing may be added."""
        return self._transport is not None and (
            self._transport.get_write_buffer_size() > MAX_QUEUED
        )

    def send(self, framed: bytes) -> None:
        """Queues one frame; without effect when the channel has ended."""
        if self._transport is not None:
            self._transport.write(framed)

    def close(self) -> None:
        """Ends the channel; a worker that still lives drains by itself."""
        if self._transport is not None:
            self._transport.abort()
