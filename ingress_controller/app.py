"""The running program: builds everything, starts it in one task group, ends it in order.

Order of the end (SIGTERM): readiness turns false, so that load balancers stop sending; workers
accept for `drain_accept` seconds more, because they learn late, then finish what runs, for
`drain_timeout` seconds at most. Ctrl-C means the same without the first wait and with little
patience; a second one means now.
"""

import asyncio
import contextlib
import gc
import importlib.metadata
import ipaddress
import os
import signal
import time
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import uvloop

from ingress_controller.admin.pages import Shown
from ingress_controller.admin.readiness import Readiness, verdict
from ingress_controller.admin.server import AdminServer
from ingress_controller.admin.state import CertificateExpiry, State
from ingress_controller.explain.explanation import shown
from ingress_controller.logs import LibraryHandler, Log
from ingress_controller.loop import ControlLoop
from ingress_controller.retention import SecretRetention
from ingress_controller.settings import Settings, options_of, unknown_variables
from ingress_controller.sources.manifests import ManifestFolders
from ingress_controller.sources.polling import PolledFolders
from ingress_controller.sources.source import Source
from ingress_controller.store import Name
from ingress_controller.supervisor.orphans import reap_orphans
from ingress_controller.supervisor.sockets import BoundListener, bind_listener
from ingress_controller.supervisor.usage import Usage, usage_of
from ingress_controller.supervisor.workers import Supervisor, WorkerSetup
from ingress_controller.translate.diagnostics import Diagnostic
from ingress_controller.translate.translator import HOST_SET
from router.model.snapshot import Snapshot, Terminate
from tls.default import default_pair
from tls.openssl import probe

if typing.TYPE_CHECKING:
    from ingress_controller.cluster import ClusterSide

INTERRUPT_SECONDS = 3.0
"""After Ctrl-C, running exchanges have so long to end: somebody waits at a terminal."""


class Serving(msgspec.Struct, frozen=True):
    """Where a program that is ready can be reached."""

    http: tuple[str, ...]
    """Addresses such as ``0.0.0.0:8080``."""
    https: tuple[str, ...]
    """Empty when HTTPS is not served."""
    admin: tuple[str, ...]


class Sockets:
    """All listening sockets, bound before anything else starts.

    Raises:
        BindError: one of them cannot be bound.
    """

    def __init__(self, settings: Settings) -> None:
        serving, admin = settings.serving, settings.admin
        with contextlib.ExitStack() as bound:

            def bind(
                addresses: Sequence[str], port: int, flag: str, *, slots: int
            ) -> BoundListener:
                listener = bind_listener(addresses, port, slots=slots, port_flag=flag)
                bound.callback(listener.close)
                return listener

            clients: dict[str, BoundListener] = {
                "http": bind(serving.bind, serving.http_port, "--http-port", slots=serving.workers)
            }
            if serving.https_port is not None:
                clients["https"] = bind(
                    serving.bind, serving.https_port, "--https-port", slots=serving.workers
                )
            self.clients: Mapping[str, BoundListener] = clients
            """By name of the listener in the snapshot."""
            self.admin: BoundListener = bind(
                admin.admin_bind, admin.admin_port, "--admin-port", slots=1
            )
            bound.pop_all()

    @property
    def http(self) -> BoundListener:
        return self.clients["http"]

    @property
    def https(self) -> BoundListener | None:
        """None when HTTPS is not served."""
        return self.clients.get("https")

    @property
    def addresses(self) -> Serving:
        https = () if self.https is None else self.https.addresses
        return Serving(self.http.addresses, https, self.admin.addresses)

    def close_clients(self) -> None:
        """Lets nobody wait in our copies of the sockets that clients reach."""
        for listener in self.clients.values():
            listener.close()


class App:
    """One run of the program; also what the admin port may know of it."""

    def __init__(
        self,
        settings: Settings,
        sockets: Sockets,
        log: Log,
        cluster: "ClusterSide | None",
        *,
        openssl_usable: bool,
    ) -> None:
        """``cluster`` is None when folders of manifests are served."""
        self._settings = settings
        self._sockets = sockets
        self._log = log
        self._addresses = sockets.addresses
        self._was_ready = False
        self._draining = False
        self._stopped = asyncio.Event()
        self._exit_code = 0
        self._announced = asyncio.Event()
        https = sockets.https
        self._self_signed = None if https is None else default_pair(time.time())
        denied = (*settings.worker.denied_endpoints, *(cluster.denied_addresses if cluster else ()))
        options = options_of(
            settings.translation,
            settings.https,
            http_port=sockets.http.port,
            https_port=None if https is None else https.port,
            default_certificate=self._self_signed,
            local_endpoints=cluster is None,
            denied_addresses=denied,
        )
        setup = WorkerSetup(
            listeners=dict(sockets.clients),
            limits=settings.limits,
            options=msgspec.structs.replace(
                settings.worker, denied_endpoints=tuple(filter(_is_network, denied))
            ),
            openssl_usable=openssl_usable,
        )
        self._supervisor = Supervisor(setup, log, self._look)
        self._cluster = cluster
        self._source: Source = (
            PolledFolders(ManifestFolders(settings.serving.manifests), log)
            if cluster is None
            else cluster.source
        )
        self._loop = ControlLoop(
            self._source,
            SecretRetention(settings.https.certificate_grace),
            options,
            self._supervisor,
            log,
            audience=cluster,
        )
        if cluster is not None:
            cluster.inform(lambda: self._loop.translator)
        self._admin = AdminServer(self, sockets.admin, log)

    @property
    def readiness(self) -> Readiness:
        """Whether traffic may come now."""
        return verdict(
            waiting="" if self._loop.published else self._source.waiting,
            was_ready=self._was_ready,
            draining=self._draining,
            workers=self._supervisor.statuses,
        )

    @property
    def snapshot(self) -> Snapshot:
        return self._loop.translator.snapshot

    @property
    def diagnostics(self) -> Sequence[Diagnostic]:
        return self._loop.diagnostics

    async def explain(self, url: str, method: str, headers: Sequence[str]) -> Shown:
        """What would happen to a request now; ValueError when the question is malformed."""
        return shown(await self._loop.explain(url, method, headers, self._settings.limits))

    def state(self) -> State:
        """What metrics show, copied: it is rendered in a thread while everything goes on."""
        totals = self._supervisor.totals
        totals.forget_upstreams(self.snapshot.upstreams)
        return State(
            version=importlib.metadata.version("python-ingress"),
            routes=dict(totals.routes),
            counters=dict(totals.counters),
            gauges=dict(totals.gauges),
            upstreams={slot: dict(gauges) for slot, gauges in totals.upstreams.items()},
            certificates=tuple(self._certificates()),
            workers=self._supervisor.statuses,
            snapshot_version=self.snapshot.version if self._loop.published else None,
            swap_seconds=totals.swap_seconds,
            swap_buckets=tuple(totals.swap_buckets),
            diagnostics=self.diagnostics,
            log_lines_dropped=self._log.dropped,
            processes=dict(self._processes()),
            cluster=None if self._cluster is None else self._cluster.state,
        )

    def _processes(self) -> Iterator[tuple[str, Usage]]:
        pids = {"control": os.getpid()}
        for worker in self._supervisor.statuses:
            if worker.pid is not None:
                pids[str(worker.slot)] = worker.pid
        for name, pid in pids.items():
            if (used := usage_of(pid)) is not None:
                yield name, used

    def _certificates(self) -> Iterator[CertificateExpiry]:
        """Every host with its Secrets, and the default certificate."""
        for pattern, source in self._loop.translator.presented_certificates():
            if source.pair is not None:
                yield CertificateExpiry(pattern, *source.secret, source.pair.not_after)
        snapshot = self.snapshot
        default = snapshot.server_names.get(HOST_SET, {}).get("")
        for digest in default.certificates if isinstance(default, Terminate) else ():
            pair, secret = snapshot.certificates[digest], Name("", "")
            if pair != self._self_signed:
                namespace, _, name = (self._settings.https.default_tls_secret or "").partition("/")
                secret = Name(namespace, name)
            yield CertificateExpiry("", *secret, pair.not_after)

    async def run(self, announce: Callable[[Serving], None]) -> int:
        """Serves until a signal; the answer is the exit code.

        Args:
            announce: called once, when every worker serves the first snapshot.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        await self._admin.start()
        async with asyncio.TaskGroup() as group:
            workers = group.create_task(self._supervisor.run(), name="workers")
            work = [group.create_task(self._loop.run(), name="control loop")]
            if os.getpid() == 1:
                work.append(group.create_task(reap_orphans(), name="orphans"))
            fore = [group.create_task(self._announce(announce), name="announce")]
            if self._cluster is not None:
                fore.append(group.create_task(self._cluster.run(), name="status and Events"))
            await self._stopped.wait()
            for task in fore:
                task.cancel()  # another replica shall lead from now on
            await workers  # what they still serve follows the changes of endpoints to the end
            for task in work:
                task.cancel()
        await self._admin.stop()
        self._log.info("the end", exit_code=self._exit_code)
        return self._exit_code

    async def _announce(self, announce: Callable[[Serving], None]) -> None:
        await self._announced.wait()
        addresses = self._addresses
        self._log.info(
            "ready",
            http=",".join(addresses.http),
            https=",".join(addresses.https) or "off",
            admin=",".join(addresses.admin),
        )
        announce(addresses)

    def _look(self) -> None:
        """A worker serves another version, or none."""
        version = self._supervisor.served_version
        if version is not None:
            self._loop.acknowledged(version)
        if self.readiness.ready:
            if not self._was_ready:
                gc.freeze()  # most of what is there now stays
            self._was_ready = True
            self._announced.set()

    def _terminate(self) -> None:
        limits = self._settings.limits
        self._drain(accept=limits.drain_accept, timeout=limits.drain_timeout, exit_code=0)

    def _interrupt(self) -> None:
        if self._draining:
            self._log.info("interrupted: running requests are cut")
            self._exit_code = 130
            self._supervisor.kill()
        else:
            timeout = min(INTERRUPT_SECONDS, self._settings.limits.drain_timeout)
            self._drain(accept=0.0, timeout=timeout, exit_code=130)

    def _drain(self, *, accept: float, timeout: float, exit_code: int) -> None:
        if self._draining:
            return
        self._draining = True
        self._exit_code = exit_code
        self._log.info(
            "draining: not ready any more", accept=f"{accept:g} s", finish=f"{timeout:g} s"
        )
        self._supervisor.drain(accept=accept, timeout=timeout)
        # Workers hold descriptors of their own. One of ours that stayed open would keep the kernel
        # queueing connections that nobody accepts once the workers have closed theirs.
        self._sockets.close_clients()
        self._stopped.set()


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def serve(settings: Settings, sockets: Sockets, announce: Callable[[Serving], None]) -> int:
    """Runs the program until a signal; the answer is the exit code."""
    log = Log(settings.logging.log_format, settings.logging.log_level)
    LibraryHandler(log).install()
    # A first translation makes half a million objects, none of them in cycles: looking through them
    # again and again would be a third of its time.
    gc.set_threshold(100_000, 50, 100)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(settings, sockets, log, announce))
    finally:
        log.close()


async def _serve(
    settings: Settings, sockets: Sockets, log: Log, announce: Callable[[Serving], None]
) -> int:
    for name in unknown_variables():
        log.warning("this variable is no setting and has no effect; is it misspelt?", variable=name)
    probing = asyncio.create_task(asyncio.to_thread(probe))
    async with contextlib.AsyncExitStack() as stack:
        cluster = None
        if not settings.serving.manifests:
            # Only here: its client library is large, and folders need none.
            from ingress_controller.cluster import ClusterSide

            cluster = await stack.enter_async_context(ClusterSide.connected(settings, log))
        failed = await probing
        if failed is not None:
            log.warning(
                "Python's OpenSSL is used without what its ssl module leaves out: sessions are "
                "resumed by the same worker only, and verify depths are refused",
                reason=failed,
            )
        app = App(settings, sockets, log, cluster, openssl_usable=failed is None)
        return await app.run(announce)
    raise AssertionError("an exit stack suppresses nothing")
