"""The proxies that are measured: started, found to answer, ended."""

import contextlib
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadtest import cpu
from loadtest.configurations import PROXIES, Certificate, Missing, Setting, certificate
from loadtest.lane import HOST, SMALL, client_context

START_SECONDS = 20.0
STOP_SECONDS = 5.0


@dataclass(slots=True, kw_only=True)
class Proxy:
    """A proxy that answers."""

    name: str
    version: str
    port: int
    https_port: int
    log: Path
    process: subprocess.Popen[bytes]
    negotiated: str = ""
    """Version and cipher that it and the generator agree on."""

    def pids(self) -> list[int]:
        """Its processes: master or control process, and workers."""
        return cpu.tree(self.process.pid)

    def stop(self) -> None:
        """End it, politely first."""
        pids = self.pids()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
            return
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.process.wait(STOP_SECONDS)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            probe = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            found.append(probe.getsockname()[1])
        return found


def _answers(connection: socket.socket, pause: Callable[[float], None]) -> bool:
    """Whether a request through this connection reaches the backend."""
    connection.sendall(SMALL)
    connection.setblocking(False)
    for _ in range(50):
        pause(0.02)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            return connection.recv(4096).startswith(b"HTTP/1.1 200")
    return False


def _serves(proxy: Proxy, pause: Callable[[float], None]) -> bool:
    """Whether it serves on both ports; notes what TLS it speaks."""
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=1) as plain:
            if not _answers(plain, pause):
                return False
        with (
            socket.create_connection(("127.0.0.1", proxy.https_port), timeout=1) as plain,
            client_context().wrap_socket(plain, server_hostname=HOST) as secured,
        ):
            proxy.negotiated = f"{secured.version()} {(secured.cipher() or ('no cipher',))[0]}"
            return _answers(secured, pause)
    except OSError:
        return False


def _wait_until_it_answers(proxy: Proxy, messages: Path, pause: Callable[[float], None]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _serves(proxy, pause):
        if proxy.process.poll() is not None or time.monotonic() > deadline:
            proxy.stop()
            said = messages.read_text(errors="replace").strip()[-800:]
            raise Missing(f"it was started but does not answer; it said: {said or 'nothing'}")
        pause(0.05)


def start(
    name: str,
    folder: Path,
    *,
    core: int,
    backend_port: int,
    pause: Callable[[float], None],
    shown: Certificate | None = None,
    large_buffers: bool = False,
) -> Proxy:
    """Start the proxy ``name`` on ``core`` and wait until it answers.

    ``pause`` waits for so many seconds, and lets the backend work if it is in this process.
    ``shown`` is its certificate; None has one made.

    Raises:
        Missing: it cannot be had or does not come up; the text says why.
    """
    folder.mkdir()
    port, https_port, admin_port = free_ports(3)
    setting = Setting(
        folder=folder,
        port=port,
        https_port=https_port,
        certificate=shown or certificate(),
        admin_port=admin_port,
        backend_port=backend_port,
        large_buffers=large_buffers,
    )
    command = PROXIES[name](setting)
    messages = folder / "messages.txt"
    output = setting.log if command.log_is_output else messages
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # inherited by all that it starts
    try:
        with output.open("ab") as stdout, messages.open("ab") as stderr:
            process = subprocess.Popen(
                command.argv,
                env=os.environ | command.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
            )
    finally:
        os.sched_setaffinity(0, before)
    proxy = Proxy(
        name=name,
        version=command.version,
        port=port,
        https_port=https_port,
        log=setting.log,
        process=process,
    )
    _wait_until_it_answers(proxy, messages, pause)
    return proxy
