"""The backend of the end-to-end tests: `python echo.py PORT …` answers with what it saw, as JSON.

It runs in Pods from a ConfigMap, in any image that has Python; standard library only. Variables:
POD, SERVICE and NAMESPACE are told in the answer; DRAIN is how many seconds it serves on after
SIGTERM (0: it ends at once, with whatever runs). What depends on the path:

    /delay/SECONDS    the usual answer, later
    /ready/no         from now on /healthz answers 503; /ready/yes ends that
    /stream/SECONDS   a chunked body, a piece every tenth of a second
"""

import asyncio
import json
import os
import signal
import sys
from asyncio import StreamReader, StreamWriter

LONGEST = 60.0


class Echo:
    """All connections of one process."""

    def __init__(self) -> None:
        self._about = {key.lower(): os.environ.get(key, "") for key in ("POD", "SERVICE")}
        self._about["namespace"] = os.environ.get("NAMESPACE", "")
        self._ready = True
        self._ending = False

    def end(self) -> None:
        """From now on every answer ends its connection."""
        self._ending = True

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        port = writer.get_extra_info("sockname")[1]
        try:
            while await self._answer(reader, writer, port):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the other side has left
        finally:
            writer.close()

    async def _answer(self, reader: StreamReader, writer: StreamWriter, port: int) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, target, protocol = first.split(" ", 2)
        pairs = [(name, value.strip()) for name, _, value in (x.partition(":") for x in lines)]
        fields = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        path = target.partition("?")[0]
        if path.startswith("/delay/"):
            await asyncio.sleep(min(float(path.split("/")[2]), LONGEST))
        elif path.startswith("/ready/"):
            self._ready = path.endswith("yes")
        elif path.startswith("/stream/"):
            return await self._stream(writer, min(float(path.split("/")[2]), LONGEST))
        seen = {
            **self._about,
            "port": port,
            "method": method,
            "path": target,
            "proto": protocol,
            "host": fields.get("host", ""),
            "headers": pairs,
            "body": len(body),
        }
        status = "503 Not Ready" if path == "/healthz" and not self._ready else "200 OK"
        text = b"" if method == "HEAD" else json.dumps(seen).encode()
        more = f"X-Nonce: {fields['x-nonce']}\r\n" if "x-nonce" in fields else ""
        last = self._ending or fields.get("connection", "").lower() == "close"
        if last:
            more += "Connection: close\r\n"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n{more}\r\n".encode("latin-1")
            + text
        )
        await writer.drain()
        return not last

    async def _stream(self, writer: StreamWriter, seconds: float) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(int(seconds * 10)):
            writer.write(b"5\r\ntick\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.1)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def main(ports: list[int]) -> None:
    """Serves until SIGTERM, and for DRAIN seconds after it."""
    echo, ended = Echo(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    servers = [await asyncio.start_server(echo.serve, "", port, backlog=512) for port in ports]
    await ended.wait()
    if drain := float(os.environ.get("DRAIN", "0")):
        echo.end()
        await asyncio.sleep(drain)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main([int(port) for port in sys.argv[1:]] or [3000]))
