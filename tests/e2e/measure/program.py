"""The controller as a plain process under its ServiceAccount, and what it uses of the machine."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.e2e.controller import NAME, NAMESPACE, ROOT, kubectl

HTTP, HTTPS, ADMIN = 18080, 18443, 10254
TICK = os.sysconf("SC_CLK_TCK")
ADDRESS = "192.0.2.80"
"""What it publishes; nobody goes there."""
FLAGS = os.environ.get("MEASURE_FLAGS", "").split()


class Cpu(NamedTuple):
    """Seconds."""

    control: float
    workers: float

    @property
    def total(self) -> float:
        return self.control + self.workers

    def since(self, before: "Cpu") -> "Cpu":
        return Cpu(self.control - before.control, self.workers - before.workers)

    def __str__(self) -> str:
        return f"{self.total:.2f} s CPU (control {self.control:.2f}, worker {self.workers:.2f})"


class Memory(NamedTuple):
    """MiB of all its processes."""

    pss: float
    rss: float


def make_account(folder: Path) -> Path:
    """Installs the ServiceAccount with the manifests' rights; gives a kubeconfig with its token."""
    base = ROOT / "manifests" / "base"
    for name in (
        "namespace",
        "service-account",
        "cluster-role",
        "cluster-role-classes",
        "role",
        "ingress-class",
    ):
        kubectl("apply", "-f", str(base / f"{name}.yaml"))
    token = kubectl("create", "token", NAME, "-n", NAMESPACE, "--duration=12h").strip()
    config = json.loads(Path(os.environ["KUBECONFIG"]).read_text())
    config["users"][0]["user"] = {"token": token}
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return file


class Program:
    """One run; a context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        self._command = [
            *(sys.executable, "-m", "ingress_controller", "run"),
            *("--kubeconfig", str(kubeconfig), "--lease", f"{NAMESPACE}/python-ingress-leader"),
            *("--http-port", str(HTTP), "--https-port", str(HTTPS), "--admin-port", str(ADMIN)),
            *("--publish-address", ADDRESS, "--log-format", "json", "--access-log", "off"),
            *FLAGS,
        ]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 # closed at the end of the run
        self.begun = 0.0

    def __enter__(self) -> Self:
        self.begun = time.perf_counter()
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self.log()[-4000:], file=sys.stderr)
        for _ in range(2):  # the second one ends it at once
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def log(self) -> str:
        """Everything that it has written."""
        self._log.seek(0)
        return self._log.read().decode()

    def alive(self) -> bool:
        return self._process.poll() is None

    def processes(self) -> list[int]:
        """The control process and its workers."""
        found = [self._process.pid]
        for known in found:
            children = Path(f"/proc/{known}/task/{known}/children").read_text().split()
            found += map(int, children)
        return found

    def cpu(self) -> Cpu:
        """Seconds of CPU that its processes have used so far."""
        control, *workers = (_ticks(pid) / TICK for pid in self.processes())
        return Cpu(control, sum(workers))

    def memory(self) -> Memory:
        totals = {"Pss": 0, "Rss": 0}
        for pid in self.processes():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name in totals:
                    totals[name] += int(rest.split()[0])
        return Memory(totals["Pss"] / 1024, totals["Rss"] / 1024)


def _ticks(pid: int) -> int:
    """User and system time of a process (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
