"""A worker process: serves inherited listening sockets by the snapshots that it is sent.

Started as ``python -m router.worker --control-fd N``. The control process speaks first; see
`router.model.wire`. The process holds no API credentials and imports nothing that does.
"""

import argparse
import asyncio
import ctypes
import gc
import os
import random
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable

import uvloop

from router.accesslog import AccessLog
from router.io.connect import Dialler
from router.io.downstream import ClientConnection
from router.io.hub import Hub, tick_forever
from router.io.listener import PeekingListener
from router.io.logsink import LogSink
from router.model.apply import OutOfStepError
from router.model.snapshot import Listener
from router.model.wire import (
    Acknowledged,
    Change,
    Configure,
    Deframer,
    Drain,
    FromWorker,
    Load,
    LogLine,
    OutOfStep,
    Ready,
    Stats,
    Tickets,
    ToWorker,
    decode_to_worker,
    frame,
)
from router.runtime import Runtime
from router.turns import Turns
from tls.certificate import CertificateDigest
from tls.contexts import ServerContexts
from tls.openssl import OpenSsl
from tls.tickets import TicketSecret
from tls.upstream import UpstreamContexts

BACKLOG = 4096
"""Connections that may wait to be accepted."""
REPORT_SECONDS = 1.0
_FDS_FOR_CLIENTS = 0.45
"""Share of the file descriptors that clients may take; upstreams need as many."""
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MALLOC_THRESHOLD = 64 << 20


def keep_large_blocks() -> None:
    """Tell glibc to reuse blocks up to 64 MiB instead of mapping them anew.

    Each read of a large body allocates up to 256 KiB; as an mmap it would cost page faults, which
    made bodies three times dearer. Elsewhere (musl) there is no mallopt, and nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _MALLOC_THRESHOLD)
    mallopt(_M_TRIM_THRESHOLD, _MALLOC_THRESHOLD)


class ControlChannel(asyncio.Protocol):
    """The worker's end of the channel."""

    def __init__(self, on_message: Callable[[ToWorker], None], on_end: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_end = on_end
        self._deframer = Deframer()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        for body in self._deframer.feed(data):
            self._on_message(decode_to_worker(body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_end()

    def close(self) -> None:
        """End the channel, and with it this worker, once what was sent is written."""
        if self._transport is not None:
            self._transport.close()

    def send(self, message: FromWorker) -> None:
        """Send to the control process; without one, messages are lost."""
        if self._transport is not None:
            self._transport.write(frame(message))


class Worker:
    """Wires runtime, connections, listeners and the channel together."""

    def __init__(self, loop: asyncio.AbstractEventLoop, slot: socket.socket) -> None:
        self._loop = loop
        self._slot = slot
        self._channel = ControlChannel(self._on_message, self._on_channel_lost)
        self._runtime: Runtime | None = None
        self._hub: Hub | None = None
        self._sink: LogSink | None = None
        self._configure: Configure | None = None
        self._updates: asyncio.Queue[Load | Change] = asyncio.Queue()
        """Bounded by what the control process has under way to us."""
        self._listening = False
        self._servers: list[asyncio.Server | PeekingListener] = []
        self._secret: TicketSecret | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining: asyncio.Task[None] | None = None
        self.done = asyncio.Event()

    async def run(self) -> None:
        """Serve until drained."""
        await self._loop.connect_accepted_socket(lambda: self._channel, self._slot)
        signal_drain = self._on_terminate
        self._loop.add_signal_handler(signal.SIGTERM, signal_drain)
        self._loop.add_signal_handler(signal.SIGINT, lambda: None)
        await self.done.wait()
        for task in self._tasks:
            task.cancel()
        if self._hub is not None:
            self._hub.tick()
            self._report()
        if self._sink is not None:
            self._sink.close(timeout=1.0)

    def _start(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- messages ------------------------------------------------------------------------------

    def _on_message(self, message: ToWorker) -> None:
        if isinstance(message, Configure):
            self._configured(message)
        elif isinstance(message, Tickets):
            self._secret = message.secret
            if self._hub is not None:
                self._hub.contexts.rotate(message.secret)
        elif isinstance(message, Load | Change):
            self._updates.put_nowait(message)
        elif isinstance(message, Drain):
            self._begin_drain(message.accept, message.timeout)

    def _on_channel_lost(self) -> None:
        # Without a control process nobody would ever end us: serve on as in any drain, then go.
        if self._configure is None:
            self.done.set()
            return
        limits = self._configure.limits
        self._begin_drain(limits.drain_accept, limits.drain_timeout)

    def _on_terminate(self) -> None:
        self._on_channel_lost()

    def _configured(self, message: Configure) -> None:
        self._configure = message
        limits, options = message.limits, message.options
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        self._runtime = Runtime(
            limits=limits,
            options=options,
            access_log=self._open_access_log(options.access_log),
            clock=time.monotonic,
            wall_clock=time.time,
            random_bits=random.Random().getrandbits,  # noqa: S311 - ids for correlation, no secrets
        )
        openssl = OpenSsl() if message.openssl_usable else None
        self._hub = Hub(
            runtime=self._runtime,
            contexts=ServerContexts(openssl=openssl, secret=self._secret),
            upstream_contexts=UpstreamContexts(openssl=openssl),
            max_clients=limits.max_connections or int(soft * _FDS_FOR_CLIENTS),
            log=self._log,
        )
        self._hub.tick()
        self._start(self._loop.create_task(tick_forever(self._hub)))
        self._start(self._loop.create_task(self._report_forever()))
        self._start(self._loop.create_task(self._update_forever(self._runtime)))
        self._channel.send(Ready(pid=os.getpid()))

    def _open_access_log(self, where: str) -> AccessLog | None:
        if where == "off":
            return None
        fd = sys.stdout.fileno()
        if where != "-":
            try:
                fd = os.open(where, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                self._log(
                    "error",
                    "the access log cannot be opened; it goes to standard output",
                    {"path": where, "error": str(error)},
                )
        self._sink = LogSink(fd)
        return AccessLog(self._sink.write)

    async def _update_forever(self, runtime: Runtime) -> None:
        """Take snapshots and deltas in their order; requests are served between the steps."""
        turns = Turns()
        while True:
            message = await self._updates.get()
            began = time.monotonic()
            try:
                await self._update(runtime, message, turns)
            except OutOfStepError:
                self._channel.send(OutOfStep(version=runtime.snapshot.version))
                continue
            except Exception as error:
                # What is held now may be half of two versions: a new worker begins whole.
                self._log("error", f"a snapshot cannot be applied: {error!r}", {})
                self._channel.close()
                return
            seconds = time.monotonic() - began
            self._channel.send(Acknowledged(runtime.snapshot.version, seconds))
            if not self._listening and self._draining is None:
                # Nothing is accepted before the first whole table is here.
                self._listening = True
                gc.collect()
                gc.freeze()
                self._start(self._loop.create_task(self._listen(runtime.snapshot.listeners)))

    async def _update(self, runtime: Runtime, message: Load | Change, turns: Turns) -> None:
        if isinstance(message, Load):
            gone = runtime.snapshot.certificates.keys() - message.snapshot.certificates.keys()
            await turns.take(runtime.loading(message.snapshot))
        else:
            pairs = message.delta.certificates
            gone = {digest for digest, pair in pairs.items() if pair is None}
            await turns.take(runtime.changing(message.delta))
        self._forget(gone)

    def _forget(self, digests: Iterable[CertificateDigest]) -> None:
        """Let go of contexts with certificates that are gone; open connections keep theirs."""
        if self._hub is not None:
            for digest in digests:
                self._hub.contexts.forget(digest)

    async def _listen(self, listeners: dict[str, Listener]) -> None:
        hub, configure = self._hub, self._configure
        if hub is None or configure is None:
            return
        dialler = Dialler(hub, self._loop)
        for inherited in configure.sockets:
            listener = listeners.get(inherited.listener)
            if listener is None:
                self._log(
                    "error",
                    "a listening socket has no listener in the snapshot; it is not served",
                    {"listener": inherited.listener},
                )
                continue
            sock = socket.socket(fileno=inherited.fd)
            if listener.protocol == "https" or configure.options.proxy_protocol_from:
                peeking = PeekingListener(hub, dialler, listener, sock, self._loop)
                peeking.start()
                self._servers.append(peeking)
                continue
            self._servers.append(
                await self._loop.create_server(
                    _factory(hub, dialler, listener), sock=sock, backlog=BACKLOG
                )
            )

    # -- reports -------------------------------------------------------------------------------

    def _log(self, level: str, event: str, fields: dict[str, str]) -> None:
        self._channel.send(LogLine(level=level, event=event, fields=fields))  # type: ignore[arg-type]  # callers use the literals

    async def _report_forever(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            self._report()

    def _report(self) -> None:
        runtime, hub = self._runtime, self._hub
        if runtime is None or hub is None:
            return
        counters = runtime.counters.report()
        fields = runtime.request_fields
        if fields.underscores:
            counters["underscore_fields_dropped"] = fields.underscores
            fields.underscores = 0
        access_log = runtime.access_log
        if access_log is not None and access_log.dropped:
            counters["access_log_lines_dropped"] = access_log.dropped
            access_log.dropped = 0
        self._channel.send(
            Stats(
                routes=runtime.report_routes(),
                upstreams=runtime.report_pools(),
                counters=counters,
                gauges={
                    "client_connections": len(hub.clients),
                    "upstream_connections": len(hub.timed) - len(hub.clients),
                    "open_exchanges": sum(1 for client in hub.clients if not client.is_idle()),
                    "snapshot_version": runtime.snapshot.version,
                },
            )
        )

    # -- the end -------------------------------------------------------------------------------

    def _begin_drain(self, accept: float, timeout: float) -> None:
        if self._draining is not None:
            if accept == 0:
                self._draining.cancel()  # a second, more urgent drain takes over
            else:
                return
        self._draining = self._loop.create_task(self._drain(accept, timeout))

    async def _drain(self, accept: float, timeout: float) -> None:  # noqa: ASYNC109 - a protocol value
        """Accept for a while, close the listeners, finish what runs, cut what does not end."""
        hub, runtime = self._hub, self._runtime
        if hub is None or runtime is None:
            self.done.set()
            return
        runtime.draining = True
        await asyncio.sleep(accept)
        for server in self._servers:
            server.close()
        for client in list(hub.clients):
            client.drain()
        deadline = self._loop.time() + timeout
        while hub.busy() and self._loop.time() < deadline:
            await asyncio.sleep(0.05)
            for client in list(hub.clients):
                client.drain()
        for client in list(hub.clients):
            client.cut()
        for side in list(hub.pairs):
            side.close()
        await asyncio.sleep(0)
        self.done.set()


def _factory(hub: Hub, dialler: Dialler, listener: Listener) -> Callable[[], ClientConnection]:
    return lambda: ClientConnection(hub, dialler, listener)


async def _main(control_fd: int) -> None:
    loop = asyncio.get_running_loop()
    await Worker(loop, socket.socket(fileno=control_fd)).run()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="router.worker", description=__doc__)
    parser.add_argument("--control-fd", type=int, required=True, help="end of the control channel")
    arguments = parser.parse_args()
    keep_large_blocks()
    # Exchanges leave no cycles behind; a rare collection catches what others leave.
    gc.set_threshold(50_000, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(arguments.control_fd))


if __name__ == "__main__":
    main()
