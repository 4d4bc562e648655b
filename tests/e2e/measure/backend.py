"""A backend that costs little: `python -m tests.e2e.measure.backend PORT …` on all addresses.

The body of an answer is the address and port that the request came to, so that a prober sees which
endpoint answered.
"""

import asyncio
import signal
import sys
from typing import cast

import uvloop


class Answers(asyncio.Protocol):
    """One connection; requests have no body and fit into what is read at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        host, port = self._transport.get_extra_info("sockname")[:2]
        body = f"{host}:{port}".encode()
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answer * data.count(b"\r\n\r\n"))


async def main(ports: list[int]) -> None:
    """Serves until SIGTERM."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    servers = [await loop.create_server(Answers, "0.0.0.0", port, backlog=512) for port in ports]
    await ended.wait()
    for server in servers:
        server.close()


if __name__ == "__main__":
    uvloop.run(main([int(port) for port in sys.argv[1:]]))
