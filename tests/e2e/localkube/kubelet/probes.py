"""One check of a container: httpGet, tcpSocket, exec or grpc. The same handlers serve preStop and
postStart.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable

import aiohttp

from .api import Object

Exec = Callable[[list[str], float | None], Awaitable[tuple[int | None, str]]]
Port = Callable[[int | str], int]


async def check(
    action: Object, ip: str, port: Port, execute: Exec, seconds: float
) -> tuple[bool, str]:
    """Whether the action succeeds, and what is to be said when it doesn't."""
    try:
        if get := action.get("httpGet"):
            return await asyncio.wait_for(_http(get, ip, port(get["port"])), seconds)
        if tcp := action.get("tcpSocket"):
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(tcp.get("host") or ip, port(tcp["port"])), seconds
            )
            writer.close()
            return True, ""
        if grpc := action.get("grpc"):
            return await asyncio.wait_for(
                _grpc(ip, grpc["port"], grpc.get("service") or ""), seconds
            )
        if command := action.get("exec"):
            code, output = await execute(command["command"], seconds)
            return code == 0, output
        if sleep := action.get("sleep"):
            await asyncio.sleep(sleep["seconds"])
            return True, ""
    except TimeoutError:
        return False, f"no answer within {seconds:g}s"
    except (OSError, aiohttp.ClientError, ValueError) as e:
        return False, str(e) or repr(e)
    return False, "unknown kind of handler"


async def _http(get: Object, ip: str, port: int) -> tuple[bool, str]:
    headers = {"User-Agent": "kube-probe/1.36", "Accept": "*/*"} | {
        h["name"]: h["value"] for h in get.get("httpHeaders") or []
    }
    path = (get.get("path") or "/").removeprefix("/")
    url = f"{get.get('scheme', 'HTTP').lower()}://{get.get('host') or ip}:{port}/{path}"
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False, force_close=True)) as s,
        s.get(url, headers=headers, allow_redirects=False) as r,
    ):
        return 200 <= r.status < 400, f"HTTP probe failed with statuscode: {r.status}"


async def _grpc(ip: str, port: int, service: str) -> tuple[bool, str]:
    """grpc.health.v1.Health/Check over HTTP/2 without a library: one request, and only DATA of the
    answer matters.
    """

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return (
            struct.pack(">I", len(payload))[1:]
            + bytes([kind, flags])
            + struct.pack(">I", stream)
            + payload
        )

    def literal(name: str, value: str) -> bytes:
        return b"\x10" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()

    head = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": ip,
    }
    head |= {"content-type": "application/grpc", "te": "trailers"}
    message = b"\x0a" + bytes([len(service)]) + service.encode() if service else b""
    reader, writer = await asyncio.open_connection(ip, port)
    try:
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        writer.write(frame(1, 4, 1, b"".join(literal(k, v) for k, v in head.items())))
        writer.write(frame(0, 1, 1, b"\0" + struct.pack(">I", len(message)) + message))
        body = b""
        while True:
            start = await reader.readexactly(9)
            size, kind, flags, stream = (
                int.from_bytes(start[:3], "big"),
                start[3],
                start[4],
                int.from_bytes(start[5:], "big"),
            )
            payload = await reader.readexactly(size)
            if kind == 4 and not flags & 1:
                writer.write(frame(4, 1, 0, b""))
            if kind == 0 and stream == 1:
                body += payload
            if stream == 1 and (kind == 3 or (flags & 1 and kind in (0, 1))):
                break
            if kind == 7:
                break
        return body[5:] == b"\x08\x01", "service unhealthy or health protocol not served"
    except asyncio.IncompleteReadError:
        return False, "connection closed before the answer"
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
