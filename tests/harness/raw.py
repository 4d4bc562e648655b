"""Bytes to a port, and what comes back until the end: for what is no HTTP."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from tests.harness.client import Address
from tests.harness.waiting import PATIENCE


@dataclass(frozen=True, slots=True)
class Said:
    """What the proxy answered, and how it ended the connection."""

    data: bytes
    seconds: float
    """From the connect to the end."""
    ended: str
    """``closed``, ``reset``, or ``open`` when it did not end."""

    @property
    def alert(self) -> int | None:
        """The description of a TLS alert, the only thing that came."""
        if len(self.data) == 7 and self.data[:2] == b"\x15\x03" and self.data[5] == 2:
            return self.data[6]
        return None


async def say(
    address: Address,
    pieces: Iterable[bytes],
    *,
    finish: bool = False,
    every: float = 0.0,
    source: str = "",
    within: float = PATIENCE,
) -> Said:
    """Send the pieces in segments of their own, one ``every`` so many seconds; FIN if ``finish``;
    then read."""
    start = time.perf_counter()
    local = (source, 0) if source else None
    reader, writer = await asyncio.open_connection(*address, local_addr=local)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data, ended = b"", "open"
    send = asyncio.ensure_future(_send(writer, pieces, every=every, finish=finish))
    try:
        async with asyncio.timeout(within):
            while piece := await reader.read(65536):
                data += piece
            ended = "closed"
    except ConnectionError:
        ended = "reset"
    except TimeoutError:
        pass
    finally:
        send.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await send
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return Said(data, time.perf_counter() - start, ended)


async def _send(
    writer: asyncio.StreamWriter, pieces: Iterable[bytes], *, every: float, finish: bool
) -> None:
    for number, piece in enumerate(pieces):
        if number:
            await asyncio.sleep(every)
        writer.write(piece)
        await writer.drain()
    if finish:
        writer.write_eof()
