"""Starts workers, keeps them alive and in step, and drains them.

A worker is a process of its own, started by module name: the control process never imports what
proxies bytes, and a worker never loads what talks to Kubernetes. Each runs in its own session, so
that Ctrl-C on a terminal reaches the control process alone, which then drains in order.
"""

import asyncio
import secrets
import socket
import sys
import time
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Callable

import msgspec

from ingress_controller.logs import Log
from ingress_controller.supervisor.channel import Channel
from ingress_controller.supervisor.sockets import BoundListener
from ingress_controller.supervisor.totals import Totals, WorkerStatus
from ingress_controller.waiting import within
from router.model.limits import Limits
from router.model.snapshot import Delta, Snapshot, SnapshotVersion
from router.model.wire import (
    Acknowledged,
    Change,
    Configure,
    Drain,
    FromWorker,
    ListenerSocket,
    Load,
    LogLine,
    Options,
    OutOfStep,
    Ready,
    Stats,
    Tickets,
    frame,
)
from tls.tickets import ROTATE_SECONDS, SECRET_BYTES, TicketSecret

PROGRAM = (sys.executable, "-P", "-m", "router.worker")
"""-P: the current folder, which may hold anything, is no place to import from."""

START_SECONDS = 30.0
"""From the start of a worker to its first message: an interpreter on a busy machine takes long."""
ACKNOWLEDGE_SECONDS = 30.0
"""A snapshot of 5,000 hosts takes 0.1 s, and nine times as long in a worker that is never idle; who
needs longer than this hangs."""
STABLE_SECONDS = 10.0
"""A worker that lived so long did not fail at once; its next restart waits for nothing."""
LONGEST_DELAY = 10.0
"""Between two starts of a worker that keeps dying."""
MAX_UNACKNOWLEDGED = 32
"""Deltas under way to one worker; beyond, it gets one snapshot when it has caught up."""
KILL_GRACE_SECONDS = 2.0
"""A drained worker may need so much longer than it was given, before it is killed."""
CHECK_SECONDS = 0.25
"""How often deadlines are looked at."""


def restart_delay(failures: int) -> float:
    """Seconds to wait before a start, after so many starts in a row that failed early."""
    return 0.0 if failures < 2 else min(LONGEST_DELAY, 0.25 * 2.0 ** min(failures - 2, 10))


class WorkerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What every worker is given at its start."""

    listeners: dict[str, BoundListener]
    """By name of the listener in the snapshot."""
    limits: Limits
    options: Options
    openssl_usable: bool = False
    """What `tls.openssl.probe` found out."""
    program: tuple[str, ...] = PROGRAM
    acknowledge_seconds: float = ACKNOWLEDGE_SECONDS
    """A worker that leaves a snapshot unanswered for longer is killed and replaced."""
    rotate_seconds: float = ROTATE_SECONDS
    """Between two secrets of session tickets."""


class Worker:
    """One worker process from its start to its end.

    Args:
        on_message: called with what the worker says beside acknowledgements.
    """

    def __init__(
        self,
        slot: int,
        setup: WorkerSetup,
        current_load: Callable[[], bytes | None],
        current_tickets: Callable[[], bytes],
        on_message: Callable[["Worker", FromWorker], None],
    ) -> None:
        self.slot = slot
        self.version: SnapshotVersion | None = None
        """What it serves."""
        self.process: Process | None = None
        self.started = time.monotonic()
        self._setup = setup
        self._current_load = current_load
        self._current_tickets = current_tickets
        self._on_message = on_message
        self._channel = Channel(self._receive, self._lost)
        self._ready = False
        self._unacknowledged: deque[float] = deque()
        """When each message that still has no answer was sent."""
        self._behind = False
        """Deltas were left out; the next message is a whole snapshot."""
        self._lost_reason: str | None = None
        """Why the channel ended; empty when the worker closed it."""

    async def start(self) -> None:
        """Starts the process and sends its configuration.

        Raises:
            OSError: the process cannot be started.
        """
        setup = self._setup
        ours, theirs = socket.socketpair()
        sockets = tuple(
            ListenerSocket(listening.fileno(), name)
            for name, listener in setup.listeners.items()
            for listening in listener.slots[self.slot]
        )
        with theirs:
            ours.setblocking(False)
            await asyncio.get_running_loop().create_connection(lambda: self._channel, sock=ours)
            self.process = await asyncio.create_subprocess_exec(
                *setup.program,
                "--control-fd",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *(each.fd for each in sockets)),
                start_new_session=True,
            )
        configure = Configure(
            sockets=sockets,
            limits=setup.limits,
            options=setup.options,
            openssl_usable=setup.openssl_usable,
        )
        self._channel.send(frame(configure))
        self._channel.send(self._current_tickets())

    def publish(self, framed_delta: bytes | None) -> None:
        """Sends a delta, or the whole current snapshot when there is none or it would not fit."""
        if not self._ready:
            return
        full = len(self._unacknowledged) >= MAX_UNACKNOWLEDGED or self._channel.full
        if full or (self._behind and self._unacknowledged):
            self._behind = True
            return
        load = self._current_load() if framed_delta is None or self._behind else framed_delta
        if load is not None:
            self._behind = False
            self._unacknowledged.append(time.monotonic())
            self._channel.send(load)

    def send(self, framed: bytes) -> None:
        """Tells it what needs no answer."""
        self._channel.send(framed)

    def kill(self) -> None:
        """Ends it at once."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    def close(self) -> None:
        """Ends the channel."""
        self._channel.close()

    def complaint(self, now: float) -> str:
        """Why it must be killed, as half a sentence; empty while all is well."""
        if self._lost_reason is not None:
            return self._lost_reason or "it closed its channel"
        if not self._ready and now - self.started > START_SECONDS:
            return f"it did not report within {START_SECONDS:g} s of its start"
        patience = self._setup.acknowledge_seconds
        if self._unacknowledged and now - self._unacknowledged[0] > patience:
            return f"it did not acknowledge a snapshot within {patience:g} s"
        return ""

    @property
    def trouble(self) -> str:
        """What was wrong with its channel, to be added to how it ended."""
        return f" ({self._lost_reason})" if self._lost_reason else ""

    def _receive(self, message: FromWorker) -> None:
        match message:
            case Ready():
                self._ready = True
                self.publish(None)
            case Acknowledged():
                self.version = message.version
                self._answered()
            case OutOfStep():
                self._behind = True
                self._answered()
        self._on_message(self, message)

    def _answered(self) -> None:
        """Each Load and Change is answered once, in order."""
        if self._unacknowledged:
            self._unacknowledged.popleft()
        if self._behind and not self._unacknowledged:
            self.publish(None)

    def _lost(self, reason: str) -> None:
        self._lost_reason = reason


class Supervisor:
    """All workers, and the snapshot that they shall serve."""

    def __init__(self, setup: WorkerSetup, log: Log, on_progress: Callable[[], None]) -> None:
        self.totals = Totals()
        self._setup = setup
        self._log = log
        self._on_progress = on_progress
        """Called when a worker serves another version, or none."""
        slots = len(next(iter(setup.listeners.values())).slots)
        self._workers: list[Worker | None] = [None] * slots
        self._restarts = [0] * slots
        self._snapshot: Snapshot | None = None
        self._load: bytes | None = None
        """The current snapshot as a frame, made when a worker needs it."""
        self._tickets = _framed_tickets()
        """The current secret of session tickets, as a frame; nowhere else in this process."""
        self._draining = False
        self._ended = asyncio.Event()

    @property
    def statuses(self) -> tuple[WorkerStatus, ...]:
        """Every slot, running or not."""
        return tuple(
            WorkerStatus(slot, None, None, restarts)
            if worker is None or worker.process is None
            else WorkerStatus(slot, worker.process.pid, worker.version, restarts)
            for slot, (worker, restarts) in enumerate(
                zip(self._workers, self._restarts, strict=True)
            )
        )

    @property
    def served_version(self) -> SnapshotVersion | None:
        """The oldest version that a worker serves; None while none serves.

        A worker that was just started does not count: before it accepts anything, it gets the
        newest version.
        """
        versions = [each.version for each in self._workers if each is not None]
        return min((each for each in versions if each is not None), default=None)

    def publish(self, snapshot: Snapshot, delta: Delta | None) -> None:
        """Gives every worker the next version: as a delta where there is one."""
        self._snapshot = snapshot
        self._load = None
        framed = None if delta is None else self._framed(Change(delta))
        for worker in self._workers:
            if worker is not None:
                worker.publish(framed)

    async def run(self) -> None:
        """Keeps every slot filled until all workers have been drained."""
        async with asyncio.TaskGroup() as group:
            for slot in range(len(self._workers)):
                group.create_task(self._keep(slot), name=f"worker {slot}")
            group.create_task(self._rotate(), name="rotate session tickets")

    def drain(self, *, accept: float, timeout: float) -> None:
        """Tells every worker to end in good order; `run` returns when all have.

        Args:
            accept: seconds during which new connections are still accepted.
            timeout: seconds that running exchanges then have to end.
        """
        self._draining = True
        framed = frame(Drain(accept, timeout))
        deadline = accept + timeout + KILL_GRACE_SECONDS
        for worker in self._workers:
            if worker is not None:
                worker.send(framed)
        asyncio.get_running_loop().call_later(deadline, self.kill)
        self._ended.set()

    def kill(self) -> None:
        """Ends every worker at once, for a drain that takes too long or a second Ctrl-C."""
        self._draining = True
        self._ended.set()
        for worker in self._workers:
            if worker is not None:
                worker.kill()

    async def _rotate(self) -> None:
        """Gives every worker a new secret of session tickets from time to time."""
        while not await within(self._ended.wait(), self._setup.rotate_seconds):
            self._tickets = _framed_tickets()
            for worker in self._workers:
                # One that has not been started yet gets the current secret when it is.
                if worker is not None and worker.process is not None:
                    worker.send(self._tickets)
            self._log.debug("session tickets have a new secret")

    async def _keep(self, slot: int) -> None:
        """Runs one worker after another in a slot."""
        failures = 0
        while not self._draining:
            worker = Worker(
                slot, self._setup, self._current_load, self._current_tickets, self._hear
            )
            self._workers[slot] = worker
            ending = await self._live(worker)
            self._workers[slot] = None
            self.totals.gone(slot)
            self._on_progress()
            lived = time.monotonic() - worker.started
            if self._draining:
                break
            failures = 0 if lived > STABLE_SECONDS else failures + 1
            self._restarts[slot] += 1
            delay = restart_delay(failures)
            self._log.error(
                f"a worker ended: {ending}; its place is filled again, open connections of it "
                "are lost",
                worker=slot,
                lived=f"{lived:.1f} s",
                restart_in=f"{delay:g} s",
            )
            await within(self._ended.wait(), delay)

    async def _live(self, worker: Worker) -> str:
        """One worker's life; the answer says how it ended."""
        try:
            await worker.start()
        except OSError as error:
            worker.close()
            return f"it cannot be started ({error})"
        process = worker.process
        assert process is not None  # noqa: S101 # start() has returned
        try:
            if self._draining:
                return "it was not needed any more"
            while not await within(process.wait(), CHECK_SECONDS):
                complaint = worker.complaint(time.monotonic())
                if complaint and not self._draining:
                    self._log.error(f"a worker is killed: {complaint}", worker=worker.slot)
                    worker.kill()
        finally:
            worker.kill()
            worker.close()
            # Also when we are cancelled: who leaves now never hears of the end of what was killed.
            await within(process.wait(), KILL_GRACE_SECONDS)
        code = await process.wait()
        return (f"signal {-code}" if code < 0 else f"exit code {code}") + worker.trouble

    def _current_load(self) -> bytes | None:
        if self._load is None and self._snapshot is not None:
            self._load = self._framed(Load(self._snapshot))
        return self._load

    def _framed(self, message: Change | Load) -> bytes | None:
        """The frame of a message; None when it is too large for one."""
        try:
            return frame(message)
        except ValueError as error:
            self._log.error(
                f"the rules of all Ingresses are more than a worker can be sent ({error}); workers "
                "serve what they have; find the namespace with most of them, and limit it by a "
                "ResourceQuota (count/ingresses.networking.k8s.io)"
            )
            return None

    def _current_tickets(self) -> bytes:
        return self._tickets

    def _hear(self, worker: Worker, message: FromWorker) -> None:
        match message:
            case Acknowledged():
                self.totals.swapped(message.seconds)
                self._on_progress()
            case OutOfStep():
                self._log.warning(
                    "a worker was out of step and gets the whole snapshot",
                    worker=worker.slot,
                    version=message.version,
                )
            case Stats():
                self.totals.add(worker.slot, message)
            case LogLine():
                self._log.write(
                    message.level, message.event, {"worker": worker.slot, **message.fields}
                )
            case Ready():
                self._log.debug("a worker is ready", worker=worker.slot, pid=message.pid)


def _framed_tickets() -> bytes:
    return frame(Tickets(TicketSecret(secrets.token_bytes(SECRET_BYTES))))
