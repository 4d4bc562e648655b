"""A pod in a process of its own, for rolling updates: prints its port, serves until SIGTERM.

``python pod.py NAME GRACE``: after SIGTERM it goes on serving for GRACE seconds (as one with a
preStop hook does), then it refuses connects, closes idle connections, finishes what runs, and ends.
With GRACE 0 it does so at once.
"""

import asyncio
import signal
import sys


class Pod:
    """Answers every request with its name and the request's nonce."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ending = False
        self._idle: set[asyncio.StreamWriter] = set()
        self._running = 0
        self._done = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not self._ending:
                self._idle.add(writer)
                head = await reader.readuntil(b"\r\n\r\n")
                self._idle.discard(writer)
                self._running += 1
                try:
                    await self._answer(head.decode("latin-1"), reader, writer)
                finally:
                    self._running -= 1
                    self._done.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._idle.discard(writer)
            writer.close()

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        await reader.readexactly(int(fields.get("Content-Length", "0")))
        await asyncio.sleep(0.005)  # some work, so that requests run when the signal comes
        nonce = fields.get("X-Nonce", "")
        close = "Connection: close\r\n" if self._ending else ""
        writer.write(
            f"HTTP/1.1 200 OK\r\nX-Backend: {self._name}\r\nX-Nonce: {nonce}\r\n{close}"
            "Content-Length: 2\r\n\r\nok".encode()
        )
        await writer.drain()

    async def run(self, grace: float) -> None:
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - read by the test
        await told.wait()
        await asyncio.sleep(grace)
        self._ending = True
        server.close()
        for writer in list(self._idle):
            writer.close()
        while self._running:
            self._done.clear()
            await self._done.wait()


if __name__ == "__main__":
    asyncio.run(Pod(sys.argv[1]).run(float(sys.argv[2])))
