"""The real data plane process, started without a control process.

The fixture takes the place of the supervisor: it makes the listening socket and the socket pair,
starts ``python -m router.worker``, speaks `router.model.wire`, and ends the process by its id.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Self

from msgspec.structs import replace

from router.model import wire
from router.model.limits import Limits
from router.model.origin import Origin
from router.model.snapshot import (
    Answer,
    Backend,
    Delta,
    Forward,
    Host,
    Listener,
    PathCondition,
    Route,
    Snapshot,
)
from router.model.upstreams import Endpoint, EndpointSet, Upstream
from tests.harness.waiting import PATIENCE, wait_until
from tls.tickets import TicketSecret

ROOT = Path(__file__).parents[2]
QUIET = wire.Options(access_log="off")

Target = str | Answer | tuple[tuple[str, int], ...]
"""What a path leads to: a Service name, a fixed answer, or (Service name, weight) pairs."""


def key(service: str) -> str:
    """The key of a Service's only port."""
    return f"test/{service}:80"


def route(path: str, target: Target) -> Route:
    """A prefix route; a path that begins with ``=`` is exact."""
    if path.startswith("="):
        condition = PathCondition("exact", path[1:])
    else:
        condition = PathCondition("prefix", path.rstrip("/"))
    service = target if isinstance(target, str) else ""
    if isinstance(target, Answer):
        action: Forward | Answer = target
    else:
        shares = ((target, 1),) if isinstance(target, str) else target
        action = Forward(tuple(Backend(key(name), weight) for name, weight in shares))
    origin = Origin(kind="Ingress", namespace="test", name="web", rule=0, path=0, service=service)
    return Route(path=condition, written=path, action=action, origin=origin)


def hosts(table: Mapping[str, Mapping[str, Target]]) -> dict[str, Host]:
    """Host pattern → path → target, as the model's values."""
    return {
        pattern: Host(routes=tuple(route(path, target) for path, target in paths.items()))
        for pattern, paths in table.items()
    }


def snapshot(
    version: int,
    table: Mapping[str, Mapping[str, Target]],
    services: Mapping[str, Iterable[Endpoint]],
    published_port: int = 80,
) -> Snapshot:
    """A complete snapshot with one listener."""
    return Snapshot(
        version=version,
        listeners={"http": Listener("http", protocol="http", published_port=published_port)},
        hosts={"default": hosts(table)},
        upstreams={
            key(name): Upstream(key(name), namespace="test", service=name, port="80")
            for name in services
        },
        endpoints={key(name): EndpointSet(tuple(found)) for name, found in services.items()},
    )


class Worker:
    """See the module. A context manager; every start serves an empty table at first."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        options: wire.Options = QUIET,
        stdout: int | IO[bytes] | None = None,
        secret: TicketSecret | None = None,
        openssl_usable: bool = False,
    ) -> None:
        """With a ``secret`` for session tickets, the worker listens for TLS too."""
        self.messages: list[wire.FromWorker] = []
        """Everything that the worker said, Stats and LogLine too."""
        self.version = 0
        self._checked = 0
        self._checked_messages = 0
        self._changed = threading.Condition()
        self._limits = limits or Limits()
        self._options = options
        self._stdout = stdout
        self._secret = secret
        self._openssl_usable = openssl_usable
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._listening: list[socket.socket] = []
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        names = ("http",) if self._secret is None else ("http", "https")
        listening = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in names]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening, self._control = listening, ours
        self.address: tuple[str, int] = listening[0].getsockname()[:2]
        self.secure_address: tuple[str, int] = listening[-1].getsockname()[:2]
        command = [sys.executable, "-m", "router.worker", "--control-fd", str(theirs.fileno())]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            pass_fds=(*(sock.fileno() for sock in listening), theirs.fileno()),
            stdin=subprocess.DEVNULL,
            stdout=self._stdout if self._stdout is not None else self._output,
            stderr=self._errors,
        )
        theirs.close()
        self._thread = threading.Thread(target=self._listen, name="control channel", daemon=True)
        self._thread.start()
        self.send(
            wire.Configure(
                sockets=tuple(
                    wire.ListenerSocket(fd=sock.fileno(), listener=name)
                    for sock, name in zip(listening, names, strict=True)
                ),
                limits=self._limits,
                options=self._options,
                openssl_usable=self._openssl_usable,
            )
        )
        if self._secret is not None:
            self.send(wire.Tickets(self._secret))
        self.heard(lambda message: isinstance(message, wire.Ready), "Ready")
        return self

    def __exit__(self, *exception: object) -> None:
        process = self._process
        assert process is not None
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)
        assert self._control is not None
        assert self._thread is not None
        self._control.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._control.close()
        for sock in self._listening:
            sock.close()
        self._errors.close()
        self._output.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """The process runs."""
        assert self._process is not None
        return self._process.poll() is None

    def send(self, message: wire.ToWorker) -> None:
        """Send one control message."""
        assert self._control is not None
        self._control.sendall(wire.frame(message))

    def heard(
        self, wanted: Callable[[wire.FromWorker], bool], what: str, within: float = PATIENCE
    ) -> wire.FromWorker:
        """Wait for the first message of this kind, from the start of the process.

        Raises:
            AssertionError: it did not come, or the worker ended.
        """
        deadline = time.perf_counter() + within
        seen = 0
        with self._changed:
            while True:
                for message in self.messages[seen:]:
                    if wanted(message):
                        return message
                seen = len(self.messages)
                left = deadline - time.perf_counter()
                assert left > 0, f"no {what} within {within} s; stderr: {self.stderr()}"
                assert self.alive, f"worker ended before {what}; stderr: {self.stderr()}"
                self._changed.wait(min(left, 0.1))

    def acknowledged(self, version: int, within: float = PATIENCE) -> float:
        """Wait until the worker serves this version; gives the seconds that it took itself."""
        message = self.heard(
            lambda message: isinstance(message, wire.Acknowledged) and message.version == version,
            f"Acknowledged({version})",
            within,
        )
        assert isinstance(message, wire.Acknowledged)
        return message.seconds

    def serve(
        self,
        table: Mapping[str, Mapping[str, Target]],
        services: Mapping[str, Iterable[Endpoint]],
        published_port: int = 80,
    ) -> float:
        """Replace the whole table and wait until it is served."""
        return self.load(snapshot(0, table, services, published_port))

    def load(self, whole: Snapshot) -> float:
        """The same with a snapshot, whose version becomes the next one."""
        self.version += 1
        self.send(wire.Load(replace(whole, version=self.version)))
        return self.acknowledged(self.version)

    def apply(self, delta: Delta, *, wait: bool = True) -> float:
        """Send a delta, whose versions become the right ones."""
        base, self.version = self.version, self.version + 1
        self.send(wire.Change(replace(delta, base=base, version=self.version)))
        return self.acknowledged(self.version) if wait else 0.0

    def change(
        self,
        *,
        table: Mapping[str, Mapping[str, Target] | None] | None = None,
        services: Mapping[str, Iterable[Endpoint]] | None = None,
        wait: bool = True,
    ) -> float:
        """Change hosts (None removes one) and endpoint sets by a delta."""
        changed: dict[str, Host | None] = {}
        for pattern, paths in (table or {}).items():
            changed[pattern] = None if paths is None else hosts({pattern: paths})[pattern]
        delta = Delta(
            base=0,
            version=0,
            hosts={"default": changed} if changed else {},
            endpoints={
                key(name): EndpointSet(tuple(found)) for name, found in (services or {}).items()
            },
        )
        return self.apply(delta, wait=wait)

    def drain(self, *, accept: float, timeout: float) -> None:
        """Tell it to end in good order."""
        self.send(wire.Drain(accept=accept, timeout=timeout))

    def terminate(self) -> None:
        """Send SIGTERM to this one process."""
        os.kill(self.pid, signal.SIGTERM)

    def interrupt(self) -> None:
        """Send SIGINT to this one process, as a terminal does to all."""
        os.kill(self.pid, signal.SIGINT)

    def close_control(self) -> None:
        """Close the control channel: the control process is dead."""
        assert self._control is not None
        self._control.shutdown(socket.SHUT_RDWR)

    def exit_code(self, within: float = PATIENCE) -> int:
        """Wait for its end."""
        assert self._process is not None
        return self._process.wait(within)

    @property
    def stats(self) -> list[wire.Stats]:
        """All Stats so far."""
        return [message for message in list(self.messages) if isinstance(message, wire.Stats)]

    @property
    def log_lines(self) -> list[wire.LogLine]:
        """All LogLines so far."""
        return [message for message in list(self.messages) if isinstance(message, wire.LogLine)]

    def counted(self, counter: str) -> int:
        """Sum of a counter over all reports."""
        return sum(stats.counters.get(counter, 0) for stats in self.stats)

    @property
    def memory(self) -> int:
        """Resident bytes now."""
        return self._status("VmRSS") * 1024

    @property
    def peak_memory(self) -> int:
        """Most resident bytes so far."""
        return self._status("VmHWM") * 1024

    @property
    def descriptors(self) -> int:
        """Open file descriptors now."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors_return_to(self, base: int, within: float = PATIENCE) -> None:
        """Wait until no more than ``base`` descriptors are open."""
        wait_until(lambda: self.descriptors <= base, f"{base} descriptors or fewer", within)

    def stderr(self) -> str:
        """What it wrote to standard error."""
        return _content(self._errors)

    def stdout(self) -> str:
        """What it wrote to standard output, unless the test gave it another one."""
        return _content(self._output)

    def check(self) -> None:
        """Alive, and without a complaint since the last check: on standard error or as a message.

        Raises:
            AssertionError: it is not.
        """
        said = self.stderr()[self._checked :]
        self._checked += len(said)
        fresh = self.messages[self._checked_messages :]
        self._checked_messages += len(fresh)
        errors = [
            message
            for message in fresh
            if isinstance(message, wire.LogLine) and message.level == "error"
        ]
        assert self.alive, f"worker ended with {self.exit_code(0)}: {said}"
        assert said == "", said
        assert errors == [], errors

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise LookupError(name)

    def _listen(self) -> None:
        assert self._control is not None
        deframer = wire.Deframer()
        while True:
            try:
                data = self._control.recv(65536)
            except OSError:
                data = b""
            if not data:
                return
            for body in deframer.feed(data):
                message = wire.decode_from_worker(body)
                with self._changed:
                    self.messages.append(message)
                    self._changed.notify_all()


def _content(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), 1 << 20, 0).decode("utf-8", "replace")
