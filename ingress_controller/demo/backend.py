"""A sample backend: `python -m ingress_controller.demo.backend NAME [PORT]`.

Listens on a free port of 127.0.0.1, prints the port on a line, serves until standard input ends.
With a port, as in a container, it listens on that port of all addresses, until SIGTERM.
What it answers depends on the last element of the path:

    events    server-sent events, two a second        (?count=N ends after N)
    ticks     a chunked text that grows by lines       (?count=N)
    bytes     that many bytes, a MiB by default        (?count=N)
    slow      the usual answer, after a while          (?seconds=S)
    ws        a WebSocket that echoes; plain GET: 426  (?greet closes after one message)
    other     JSON that says who answered, and what arrived

Standard library only, so that it starts at once. It is a sample: it trusts the proxy before it.
"""

import asyncio
import base64
import hashlib
import itertools
import json
import signal
import struct
import sys
import urllib.parse
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from typing import NamedTuple

TICK_SECONDS = 0.5
MOST_TICKS = 7200
"""An hour of ticks: nobody watches a sample for longer."""
LONGEST_SECONDS = 300.0
MOST_BYTES = 64 << 20
PIECE = bytes(64 << 10)
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3."""
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""Opcodes of RFC 6455 section 5.2."""
NORMAL_CLOSURE = struct.pack("!H", 1000)
MOST_FRAME = 1 << 20


class Request(NamedTuple):
    """One request with its body read."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def field(self, name: str) -> str:
        """The value of the first field of this name (lower case), or nothing."""
        return next((value for field, value in self.headers if field.lower() == name), "")

    @property
    def last_element(self) -> str:
        return urllib.parse.urlsplit(self.target).path.rpartition("/")[2]

    def asked(self, name: str) -> str | None:
        """A parameter of the query; empty when it has no value."""
        query = urllib.parse.urlsplit(self.target).query
        return dict(urllib.parse.parse_qsl(query, keep_blank_values=True)).get(name)

    def number(self, name: str, otherwise: float) -> float:
        try:
            return max(0.0, float(self.asked(name) or otherwise))
        except ValueError:
            return otherwise


async def read_request(reader: StreamReader) -> Request | None:
    """The next request of a connection; None when there is none."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    request = Request(method, target, headers, b"")
    if "chunked" in request.field("transfer-encoding"):
        body = b"".join([piece async for piece in _chunks(reader)])
    else:
        body = await reader.readexactly(int(request.field("content-length") or 0))
    return request._replace(body=body)


async def _chunks(reader: StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readline()).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readline()
    while (await reader.readline()).strip():
        pass


class Backend:
    """Answers under a name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = itertools.count(1)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """All requests of one connection."""
        try:
            while (request := await read_request(reader)) is not None:
                if not await self._answer(request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the proxy has left, or what it sent is no HTTP: nothing to answer
        finally:
            writer.close()

    async def _answer(self, request: Request, reader: StreamReader, writer: StreamWriter) -> bool:
        """Answers one request; whether the connection lives on."""
        match request.last_element:
            case "events":
                pieces = self._ticks(request, "id: {}\ndata: event {} from {}\n\n")
                await self._stream(writer, "text/event-stream", pieces)
            case "ticks":
                pieces = self._ticks(request, "{} line {} from {}\n")
                await self._stream(writer, "text/plain", pieces)
            case "ws":
                await self._websocket(request, reader, writer)
                return False
            case "bytes":
                await self._bytes(request, writer)
            case "slow":
                await asyncio.sleep(min(request.number("seconds", 2.0), LONGEST_SECONDS))
                await self._echo(request, writer)
            case _:
                await self._echo(request, writer)
        return True

    async def _echo(self, request: Request, writer: StreamWriter) -> None:
        told = {
            "backend": self._name,
            "answer": next(self._count),
            "method": request.method,
            "target": request.target,
            "headers": dict(request.headers),
            "body_bytes": len(request.body),
        }
        body = json.dumps(told, indent=2).encode() + b"\n"
        writer.write(_head("200 OK", "application/json", f"Content-Length: {len(body)}"))
        if request.method != "HEAD":
            writer.write(body)
        await writer.drain()

    async def _bytes(self, request: Request, writer: StreamWriter) -> None:
        left = min(int(request.number("count", 1 << 20)), MOST_BYTES)
        who = f"Content-Length: {left}\r\nX-Backend: {self._name}"
        writer.write(_head("200 OK", "application/octet-stream", who))
        while left and request.method != "HEAD":
            writer.write(PIECE[:left])
            left -= min(left, len(PIECE))
            await writer.drain()

    async def _stream(
        self, writer: StreamWriter, content_type: str, pieces: AsyncIterator[bytes]
    ) -> None:
        writer.write(_head("200 OK", content_type, "Transfer-Encoding: chunked"))
        async for piece in pieces:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _ticks(self, request: Request, form: str) -> AsyncIterator[bytes]:
        count = min(int(request.number("count", MOST_TICKS)), MOST_TICKS)
        for number in range(1, count + 1):
            yield form.format(number, number, self._name).encode()
            if number < count:
                await asyncio.sleep(TICK_SECONDS)

    async def _websocket(
        self, request: Request, reader: StreamReader, writer: StreamWriter
    ) -> None:
        key = request.field("sec-websocket-key")
        if request.field("upgrade").lower() != "websocket" or not key:
            required = "Upgrade: websocket\r\nConnection: Upgrade, close\r\nContent-Length: 0"
            writer.write(_head("426 Upgrade Required", "text/plain", required))
            await writer.drain()
            return
        accept = base64.b64encode(
            hashlib.sha1(key.encode() + WEBSOCKET_GUID, usedforsecurity=False).digest()
        )
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        writer.write(_frame(TEXT, f"hello from {self._name}\n".encode()))
        await writer.drain()
        if request.asked("greet") is None:
            await self._echo_messages(reader, writer)
        writer.write(_frame(CLOSE, NORMAL_CLOSURE))
        await writer.drain()

    async def _echo_messages(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Sends back what comes, until the client closes. Fragments are echoed one by one."""
        while True:
            first, opcode, payload = await _read_frame(reader)
            if opcode == CLOSE:
                return
            if opcode == PING:
                writer.write(_frame(PONG, payload))
            elif opcode != PONG:
                writer.write(_frame(opcode, payload, first=first))
            await writer.drain()


def _head(status: str, content_type: str, framing: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nCache-Control: no-store\r\n"
        f"{framing}\r\n\r\n"
    ).encode()


async def _read_frame(reader: StreamReader) -> tuple[int, int, bytes]:
    """First byte, opcode and payload of the next frame (RFC 6455 section 5.2)."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", await reader.readexactly(8))
    if length > MOST_FRAME or not second & 0x80:
        raise ValueError("a frame that is too long, or not masked")
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(length)
    plain = bytes(byte ^ key for byte, key in zip(payload, itertools.cycle(mask), strict=False))
    return first, first & 0x0F, plain


def _frame(opcode: int, payload: bytes, *, first: int | None = None) -> bytes:
    """One unmasked frame; ``first`` keeps the FIN bit of an echoed one."""
    head = bytes([0x80 | opcode if first is None else first])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 1 << 16:
        return head + b"\x7e" + struct.pack("!H", len(payload)) + payload
    return head + b"\x7f" + struct.pack("!Q", len(payload)) + payload


async def main(name: str) -> None:
    """Serves until standard input ends, so that it never outlives who started it."""
    server = await asyncio.start_server(Backend(name).serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 # the parent reads it
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


async def main_in_container(name: str, port: int) -> None:
    """Serves until SIGTERM; what runs then is cut, as a sample may."""
    ended = asyncio.Event()
    # Also because a first process gets no signal that it does not handle (man 7 pid_namespaces).
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = await asyncio.start_server(Backend(name).serve, None, port)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case [name]:
            asyncio.run(main(name))
        case [name, port]:
            asyncio.run(main_in_container(name, int(port)))
        case _:
            sys.exit("usage: python -m ingress_controller.demo.backend NAME [PORT]")
