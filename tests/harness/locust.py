"""Runs locust with the load test of `loadtest/`, as a process in its own environment."""

import csv
import os
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
LOCUST = Path(os.environ.get("LOAD_VENV", ROOT / ".venv-load")) / "bin" / "locust"
PATIENCE = 60.0
"""Seconds for one run and its reports."""

needs_locust = pytest.mark.skipif(
    not LOCUST.exists(),
    reason=f"locust has an environment of its own; `make .venv-load/.load` makes {LOCUST.parent}",
)


class Row(NamedTuple):
    """One line of locust's CSV report."""

    kind: str
    name: str
    requests: int
    failures: int


class Ended(NamedTuple):
    """A run that is over."""

    code: int
    output: str
    rows: tuple[Row, ...]

    def of(self, *kinds: str) -> list[Row]:
        """The rows of some kinds of requests."""
        return [row for row in self.rows if row.kind in kinds]


def rows(report: Path) -> tuple[Row, ...]:
    """What a run's CSV report says; nothing when there is none."""
    if not report.exists():
        return ()
    with report.open(newline="") as file:
        return tuple(
            Row(each["Type"], each["Name"], int(each["Request Count"]), int(each["Failure Count"]))
            for each in csv.DictReader(file)
            if each["Name"] != "Aggregated"
        )


def run(folder: Path, host: str, *flags: str, seconds: int = 2, users: int = 4) -> Ended:
    """One headless run; its reports go into the folder."""
    command = [str(LOCUST), "-f", str(ROOT / "loadtest" / "locustfile.py"), "--headless"]
    command += ["--only-summary", "--host", host, "--run-time", f"{seconds}s"]
    command += ["--users", str(users), "--spawn-rate", "100", "--csv", str(folder / "load")]
    command += ["--html", str(folder / "report.html"), *flags]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # its own workers, too
            raise
    return Ended(process.returncode, output, rows(folder / "load_stats.csv"))
