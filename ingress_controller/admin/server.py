"""The HTTP side of the admin port. Every answer but the index and the metrics is JSON."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
from aiohttp import web

from ingress_controller.admin.metrics import render
from ingress_controller.admin.pages import INDEX, Shown, diagnostics_page, routes_page
from ingress_controller.admin.readiness import Readiness
from ingress_controller.admin.state import State
from ingress_controller.logs import Log
from ingress_controller.supervisor.sockets import BoundListener
from ingress_controller.translate.diagnostics import Diagnostic
from router.model.snapshot import Snapshot

MAX_CONNECTIONS = 256
"""Probes and Prometheus need a handful; further connections are closed at once."""
MAX_CONNECTION_SECONDS = 120.0
"""Age of a connection at which it is cut, so that silent ones cannot fill the limit for ever."""
METRICS_SECONDS = 1.0
"""Workers report once a second: metrics that are younger are given again."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Running(Protocol):
    """What the admin port may know of the running program."""

    @property
    def readiness(self) -> Readiness: ...

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def diagnostics(self) -> Sequence[Diagnostic]: ...

    def state(self) -> State: ...

    async def explain(self, url: str, method: str, headers: Sequence[str]) -> Shown:
        """Raises ValueError with a sentence when the question is malformed."""
        ...


class AdminServer:
    """Serves the admin port on sockets that are bound already."""

    def __init__(self, running: Running, listener: BoundListener, log: Log) -> None:
        self._running = running
        self._log = log
        self._listener = listener
        app = web.Application(middlewares=[self._errors_as_json], client_max_size=1024)
        app.router.add_get("/", _index)
        app.router.add_get("/healthz", _healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/routes", self._routes)
        app.router.add_get("/diagnostics", self._diagnostics)
        app.router.add_get("/explain", self._explain)
        self._runner = web.AppRunner(
            app, handle_signals=False, access_log=None, keepalive_timeout=30.0, shutdown_timeout=1.0
        )
        self._servers: list[asyncio.Server] = []
        self._rendered = b""
        self._rendered_at = float("-inf")
        self._rendering = asyncio.Lock()

    async def start(self) -> None:
        """Begins to answer."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        for listening in self._listener.slots[0]:
            self._servers.append(await loop.create_server(self._connection, sock=listening))

    async def stop(self) -> None:
        """Answers what was asked, for a second at most, and closes the port."""
        for server in self._servers:
            server.close()
        await self._runner.cleanup()

    def _connection(self) -> asyncio.BaseProtocol:
        """The protocol of one accepted connection."""
        server = self._runner.server
        if server is None or len(server.connections) >= MAX_CONNECTIONS:
            return _Refused()
        protocol = server()
        asyncio.get_running_loop().call_later(MAX_CONNECTION_SECONDS, _cut, protocol)
        return protocol

    async def _readyz(self, request: web.Request) -> web.Response:
        readiness = self._running.readiness
        shown: Shown = {"ready": readiness.ready, "reason": readiness.reason}
        return _json(shown, status=200 if readiness.ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        async with self._rendering:
            if time.monotonic() - self._rendered_at >= METRICS_SECONDS:
                # In a thread: 2,000 Ingresses take a fifth of a second to write down.
                self._rendered = await asyncio.to_thread(render, self._running.state())
                self._rendered_at = time.monotonic()
        return web.Response(
            body=self._rendered,
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _routes(self, request: web.Request) -> web.Response:
        return _json(await asyncio.to_thread(routes_page, self._running.snapshot))

    async def _diagnostics(self, request: web.Request) -> web.Response:
        return _json(diagnostics_page(self._running.diagnostics))

    async def _explain(self, request: web.Request) -> web.Response:
        url = request.query.get("url", "")
        method = request.query.get("method", "GET")
        headers = request.query.getall("header", [])
        try:
            return _json(await self._running.explain(url, method, headers))
        except ValueError as error:
            return _json({"error": str(error)}, status=400)

    @web.middleware
    async def _errors_as_json(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every refusal, and a defect of ours too, is JSON with a sentence."""
        try:
            return await handler(request)
        except web.HTTPNotFound:
            sentence = f"there is no page {request.path}; / lists all pages"
            return _json({"error": sentence}, status=404)
        except web.HTTPMethodNotAllowed:
            return _json({"error": "this port is read-only; ask with GET"}, status=405)
        except web.HTTPException as error:
            return _json({"error": error.reason}, status=error.status)
        except Exception as error:
            self._log.defect(f"the admin page {request.path} failed", error)
            return _json({"error": "this page failed; the log says why"}, status=500)


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _cut(protocol: asyncio.BaseProtocol) -> None:
    transport: asyncio.Transport | None = getattr(protocol, "transport", None)
    if transport is not None:
        transport.close()


def _json(shown: Shown, *, status: int = 200) -> web.Response:
    body = msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")


async def _index(request: web.Request) -> web.Response:
    return web.Response(text=INDEX, content_type="text/html")


async def _healthz(request: web.Request) -> web.Response:
    """Alive: the control loop answers. Workers are the supervisor's to heal, not the kubelet's."""
    return _json({"alive": True})
