"""Counts the system calls that a proxy makes for a request, with strace.

    python -m loadtest.syscalls [--peers nginx,haproxy,envoy] [--requests N]

A proxied keep-alive request needs two reads and two writes, and a wait for events on either side;
anything beyond is time that the kernel takes from every request.
"""

import argparse
import contextlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

if __package__ in (None, ""):  # started by file name: the repository is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from loadtest import backend, configurations, cpu, peers
from loadtest.lane import SMALL

READS = frozenset({"read", "readv", "recvfrom", "recvmsg"})
WRITES = frozenset({"write", "writev", "sendto", "sendmsg"})
WAITS = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2"})

ATTACH_SECONDS = 10.0
ANSWER_SECONDS = 10.0
MAX_REQUESTS = 100_000

_ROW = re.compile(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?([a-z_]\w*)$", re.MULTILINE)


class CannotTrace(Exception):
    """System calls cannot be counted here; the text says why."""


def parse(summary: str) -> dict[str, int]:
    """Calls by name, from what ``strace -c`` writes."""
    rows = _ROW.findall(summary)
    return {name: int(calls) for calls, name in rows if name != "total"}


@contextlib.contextmanager
def counted(pids: Sequence[int]) -> Iterator[dict[str, int]]:
    """Count the system calls of these processes and their threads while the block runs.

    The dictionary is empty inside the block and filled at its end.

    Raises:
        CannotTrace: there is no strace, or this machine does not let it attach.
    """
    program = shutil.which("strace")
    if program is None:
        raise CannotTrace("strace is not installed (Debian and Ubuntu: apt-get install strace)")
    calls: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="strace-") as folder:
        summary, messages = Path(folder, "summary"), Path(folder, "messages")
        targets = [part for pid in pids for part in ("-p", str(pid))]
        with messages.open("wb") as stderr:
            process = subprocess.Popen(
                [program, "-f", "-c", "-o", str(summary), *targets],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            _wait_until_attached(process, messages, len(pids))
            yield calls
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # it detaches and writes its summary
            try:
                process.wait(ATTACH_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        calls.update(parse(summary.read_text()))


def _wait_until_attached(process: subprocess.Popen[bytes], messages: Path, processes: int) -> None:
    deadline = time.monotonic() + ATTACH_SECONDS
    while True:
        said = messages.read_text(errors="replace")
        if said.count(" attached") >= processes:
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise CannotTrace(
                "strace may not attach to a process here (ptrace is forbidden in many "
                f"containers; it needs CAP_SYS_PTRACE): {said.strip() or 'it said nothing'}"
            )
        time.sleep(0.01)


def one_after_the_other(port: int, requests: int) -> None:
    """Send small requests over one kept-alive connection, each after the answer before.

    Raises:
        OSError: an answer was not 200, or did not come.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
        for _ in range(requests):
            connection.sendall(SMALL)
            data = connection.recv(65536)
            while b"\r\n\r\nx" not in data or not data.endswith(b"x" * 96):
                more = connection.recv(65536)
                if not more:
                    raise OSError(f"the connection ended inside an answer: {data[:200]!r}")
                data += more
            if not data.startswith(b"HTTP/1.1 200"):
                raise OSError(f"an answer was not the expected one: {data[:200]!r}")


def workers(proxy: peers.Proxy) -> list[int]:
    """The processes of a proxy that serve traffic: all but a parent that only supervises."""
    pids = proxy.pids()
    return pids[1:] or pids


def _report(name: str, calls: dict[str, int], requests: int) -> str:
    parts = [
        f"{sum(calls.get(call, 0) for call in kind) / requests:.2f} {what}"
        for what, kind in (("reads", READS), ("writes", WRITES), ("waits", WAITS))
    ]
    others = {call: count for call, count in calls.items() if call not in READS | WRITES | WAITS}
    text = ", ".join(f"{call} {count}" for call, count in sorted(others.items()))
    return f"{name}: {', '.join(parts)} a request; others in all {requests}: {text or 'none'}"


def main() -> int:
    """0 when everything that was asked for could be counted, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.syscalls",
        description="System calls of a small keep-alive request.",
        epilog="Example: python -m loadtest.syscalls --peers nginx,haproxy",
    )
    parser.add_argument("--peers", default="", help="count for these peers too")
    parser.add_argument("--requests", type=int, default=2000, help="default: 2000")
    arguments = parser.parse_args()
    if not 1 <= arguments.requests <= MAX_REQUESTS:
        parser.error(f"--requests is 1 to {MAX_REQUESTS}")
    names = [configurations.OURS, *(name for name in arguments.peers.split(",") if name)]
    if unknown := [name for name in names if name not in configurations.PROXIES]:
        parser.error(
            f"peers {', '.join(unknown)} not known; known are {', '.join(configurations.PROXIES)}"
        )
    proxy_core, load_core = cpu.two_cores()
    complete = True
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syscalls-")))
        port = stack.enter_context(backend.process(load_core, configurations.ADDRESSES))
        for name in names:
            try:
                proxy = peers.start(
                    name,
                    folder / name,
                    core=proxy_core,
                    backend_port=port,
                    pause=time.sleep,
                )
                stack.callback(proxy.stop)
                one_after_the_other(proxy.port, 100)
                with counted(workers(proxy)) as calls:
                    one_after_the_other(proxy.port, arguments.requests)
            except (configurations.Missing, CannotTrace) as reason:
                print(f"{name} is left out: {reason}")
                complete = False
                continue
            print(_report(name, calls, arguments.requests))
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
