"""Starts the demo's samples behind an edge, and locust beside it, for one bounded run.

    python -m loadtest.laptop [--run-time 30] [--users 20] [locust's flags …]

One command for a laptop (`make load`): sample backends, the edge on free ports of loopback, HTTPS
with an authority of its own, all scenarios. When the scenario `rolling` asks for it, another edge
is started, told to new connections, and the old one drains; both watch the folder in which the
scenario `rules` changes rules. Reports go into `loadtest/results/`. Ends with locust's exit code;
every process that it started is ended by its id.
"""

import argparse
import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

if __package__ in (None, ""):  # started by file name: the repository is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from ingress_controller.demo.certificates import write_certificates
from ingress_controller.demo.processes import MANIFESTS, SampleBackends, write_slices
from loadtest import cpu

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "loadtest" / "results"
LOCUST: Final = ROOT / ".venv-load" / "bin" / "locust"
START_SECONDS: Final = 30.0
DRAIN_ACCEPT, DRAIN_SECONDS = 2.0, 20.0
"""An edge that is replaced accepts for so long, and then finishes what runs for so long."""
END_SECONDS: Final = 60.0
"""After its run time, locust may take so long to end and write its reports."""
RULE_SECONDS: Final = 2.0
"""A changed file is served within a second; a laptop that is busy gets another one."""
SAMPLE_SECONDS: Final = 0.25


class StartError(RuntimeError):
    """Something did not start; the message says what."""


class Edge:
    """One edge: control process and worker."""

    def __init__(self, manifests: Sequence[Path], log: Path) -> None:
        command = [sys.executable, "-m", "ingress_controller", "run", "--bind", "127.0.0.1"]
        for folder in manifests:
            command += ["--manifests", str(folder)]
        command += ["--http-port", "0", "--https-port", "0", "--admin-port", "0"]
        command += ["--access-log", "off", "--log-format", "json"]
        command += [f"--drain-accept={DRAIN_ACCEPT:g}s", f"--drain-timeout={DRAIN_SECONDS:g}s"]
        self._log = log
        with log.open("wb") as written:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=written, stderr=written
            )

    def addresses(self) -> tuple[str, str]:
        """Where it serves HTTP and HTTPS, once it does.

        Raises:
            StartError: it does not.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in self._log.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    said: dict[str, Any] = json.loads(line)
                    if said.get("event", "").startswith("ready"):
                        return said["http"].split(",")[0], said["https"].split(",")[0]
            time.sleep(0.05)
        raise StartError(f"the edge did not start; its log is {self._log}")

    def leave(self) -> None:
        """Begins to drain."""
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Ends it now."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                for pid in cpu.tree(self.process.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Edges:
    """The edge that serves now, and those that drain; and the processor time of all."""

    def __init__(self, manifests: Sequence[Path], results: Path, addresses: Path) -> None:
        self._manifests = manifests
        self._results = results
        self._addresses = addresses
        self._made: list[Edge] = []
        self._cpu: dict[int, int] = {}
        """Nanoseconds of each process, as of the last sample."""

    def replace(self) -> tuple[str, str]:
        """Starts another one, sends new connections there, and has the former one drain."""
        edge = Edge(self._manifests, self._results / f"edge-{len(self._made) + 1}.log")
        former = self._made[-1] if self._made else None
        self._made.append(edge)
        http, https = edge.addresses()
        made = self._addresses.with_suffix(".new")
        made.write_text(f"{http}\n{https}\n")
        made.replace(self._addresses)
        if former is not None:
            former.leave()
        return http, https

    def sample(self) -> None:
        """Reads the processor time of those that live; the last reading of a dead one stays."""
        for edge in self._made:
            if edge.process.poll() is None:
                for pid in cpu.tree(edge.process.pid):
                    if used := cpu.consumed([pid]):
                        self._cpu[pid] = used

    @property
    def cpu_seconds(self) -> float:
        """Of all edges so far."""
        return sum(self._cpu.values()) / 1e9

    def failed(self) -> bool:
        """Whether the newest has ended by itself."""
        return self._made[-1].process.poll() is not None

    def end(self) -> None:
        for edge in self._made:
            edge.end()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it all; locust's exit code, or 1 when something does not start."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.laptop", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run-time", type=int, default=30, help="seconds (default: 30)")
    parser.add_argument("--users", type=int, default=20, help="simulated users (default: 20)")
    parser.add_argument("--rolling-every", type=float, default=8.0, help="seconds (default: 8)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for reports")
    parser.add_argument("--locust", type=Path, default=LOCUST, help="locust's program")
    options, more = parser.parse_known_args(arguments)
    options.results.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ends all, as Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with (
            tempfile.TemporaryDirectory(prefix="python-ingress-load-") as made,
            SampleBackends() as backends,
        ):
            return _run(options, more, Path(made), backends)
    except (StartError, RuntimeError, OSError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 1


def _run(
    options: argparse.Namespace, more: Sequence[str], made: Path, backends: SampleBackends
) -> int:
    manifests, rules = made / "manifests", made / "rules"
    manifests.mkdir()
    rules.mkdir()
    write_slices(manifests, backends.ports())
    files = write_certificates(manifests, made, time.time())
    addresses = made / "addresses"
    edges = Edges((MANIFESTS, manifests, rules), options.results, addresses)
    wanted = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: wanted.set())
    locust: subprocess.Popen[bytes] | None = None
    try:
        http, https = edges.replace()
        print(f"The edge serves http://{http} and https://{https}.", flush=True)
        command = [str(options.locust), "-f", str(ROOT / "loadtest" / "locustfile.py")]
        command += ["--headless", "--only-summary", "--host", f"http://{http}"]
        command += ["--users", str(options.users), "--spawn-rate", str(options.users)]
        command += ["--run-time", f"{options.run_time}s", "--https-address", https]
        command += ["--ca", str(files.authority), "--edge-file", str(addresses)]
        command += ["--rule-deadline", str(RULE_SECONDS)]
        command += ["--rules-folder", str(rules), "--rolling-every", str(options.rolling_every)]
        command += ["--rolling-command", f"{shutil.which('kill')} -USR1 {os.getpid()}"]
        command += ["--csv", str(options.results / "load")]
        command += ["--html", str(options.results / "report.html"), *more]
        locust = subprocess.Popen(command, cwd=ROOT)
        return _watch(locust, edges, wanted, options)
    finally:
        if locust is not None and locust.poll() is None:
            locust.terminate()
            try:
                locust.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                locust.kill()
                locust.wait()
        edges.end()


def _watch(
    locust: "subprocess.Popen[bytes]",
    edges: Edges,
    wanted: threading.Event,
    options: argparse.Namespace,
) -> int:
    edges.sample()
    began, before = time.monotonic(), edges.cpu_seconds
    while (ended := locust.poll()) is None:
        if time.monotonic() - began > options.run_time + END_SECONDS:
            raise StartError(f"locust did not end within {END_SECONDS:g} s after its run time")
        if edges.failed():
            raise StartError(f"the edge ended by itself; its logs are in {options.results}")
        edges.sample()
        if wanted.wait(SAMPLE_SECONDS):
            wanted.clear()
            edges.replace()
    seconds = time.monotonic() - began
    used = edges.cpu_seconds - before
    asked = _requests(options.results / "load_stats.csv")
    print(
        f"edge: {used:.2f} s of processor time in {seconds:.1f} s "
        f"({used / seconds:.0%} of a core), "
        f"{used / max(1, asked) * 1e6:.0f} µs a request"
    )
    print(f"Reports: {options.results / 'report.html'} and load_*.csv beside it.")
    return ended


def _requests(report: Path) -> int:
    """How many requests a CSV report counts; none when there is no report."""
    with contextlib.suppress(OSError), report.open(newline="") as file:
        return sum(
            int(row["Request Count"]) for row in csv.DictReader(file) if row["Name"] == "Aggregated"
        )
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
