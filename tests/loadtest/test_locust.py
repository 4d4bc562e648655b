"""locust against the real demo: every scenario asks, and nothing fails."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.harness.locust import LOCUST, ROOT, Ended, needs_locust, rows, run
from tests.harness.program import Program
from tests.processes.test_demo import authority_file

pytestmark = [needs_locust, pytest.mark.slow]

SMALL = """\
[[downloads]]
url = "http://shop.example/live/bytes?count={size}"
sizes = ["256K"]
[[uploads]]
url = "https://secure.example/orders"
says = ['"backend": "secure-1"', "\\"body_bytes\\": {size}\\n"]
sizes = ["1K"]
"""


class Demo(NamedTuple):
    """A running demo."""

    host: str
    https: str
    authority: Path
    rules: Path

    def run(self, folder: Path, *flags: str, seconds: int = 2, users: int = 4) -> Ended:
        """A run against it, with its authority."""
        secure = ("--https-address", self.https, "--ca", str(self.authority))
        return run(folder, self.host, *secure, *flags, seconds=seconds, users=users)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    rules = tmp_path_factory.mktemp("rules")
    flags = ("--manifests", str(rules), "--access-log", "off", "--header-timeout", "4s")
    with Program("demo", "--http-port", "0", "--admin-port", "0", *flags) as program:
        program.until(lambda: any(x.startswith("Ready") for x in program.output), "Ready")
        yield Demo(f"http://{program.http}", program.https, authority_file(program), rules)
        assert program.end(signal.SIGINT) == 130


def good(ended: Ended) -> Ended:
    """Nothing failed, and the run says so."""
    assert ended.code == 0, ended.output
    assert [row for row in ended.rows if row.failures] == [], ended.output
    assert "PASSED" in ended.output
    return ended


def test_pages_are_mixed_in_hosts_paths_and_schemes_over_few_connections(
    demo: Demo, tmp_path: Path
) -> None:
    ended = good(demo.run(tmp_path, "--tags", "pages", "--rate-per-user", "50"))
    assert {row.kind for row in ended.rows} == {"GET"}
    assert len(ended.rows) >= 7
    assert any(row.name.startswith("https://") for row in ended.rows)
    asked = sum(row.requests for row in ended.rows)
    assert asked > 100
    assert f"{asked} requests in " in ended.output
    (line,) = [line for line in ended.output.splitlines() if line.startswith("connections: ")]
    # each of four users: one for all hosts in clear, one for the host with TLS
    assert 4 <= int(line.split()[1]) <= 8
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_new_connections_are_one_a_request(demo: Demo, tmp_path: Path) -> None:
    ended = good(demo.run(tmp_path, "--tags", "connections", "--rate-per-user", "20"))
    asked = sum(row.requests for row in ended.rows)
    (line,) = [line for line in ended.output.splitlines() if line.startswith("connections: ")]
    # one that was being answered when the run ended may not be counted as asked
    assert asked <= int(line.split()[1]) <= asked + 4


def test_uploads_arrive_whole_in_all_sizes(demo: Demo, tmp_path: Path) -> None:
    ended = good(demo.run(tmp_path, "--tags", "uploads", "--rate-per-user", "30"))
    names = " ".join(row.name for row in ended.of("POST"))
    for size in (1024, 65536, 1 << 20, 4 << 20):
        assert f"({size} bytes)" in names


def test_websockets_echo_in_clear_and_over_tls(demo: Demo, tmp_path: Path) -> None:
    ended = good(demo.run(tmp_path, "--tags", "websocket", seconds=6, users=6))
    closed = 0
    for scheme in ("ws", "wss"):
        found = {
            row.name.partition(" ")[2]: row.requests
            for row in ended.rows
            if row.name.startswith(f"{scheme}:")
        }
        assert found["(handshake)"] >= 1
        assert found["(echo)"] >= 15
        closed += found.get("(close)", 0)
    assert closed >= 1  # conversations are long: in one scheme all may still run


def test_slow_clients_are_served_and_those_that_stop_are_ended(demo: Demo, tmp_path: Path) -> None:
    targets = tmp_path / "targets.toml"
    targets.write_text(SMALL)
    ended = good(
        demo.run(tmp_path, "--tags", "slow", "--targets", str(targets), seconds=8, users=6)
    )
    assert {row.kind for row in ended.rows} == {"SLOW"}
    names = " ".join(row.name for row in ended.rows)
    kinds = ("(sent slowly)", "(read slowly)", "(stopped in the head)")
    # Which of them a user begins is chance, and one takes ten seconds.
    assert sum(what in names for what in kinds) >= 2, names


def test_rules_change_and_every_answer_is_by_the_rule_of_its_moment(
    demo: Demo, tmp_path: Path
) -> None:
    flags = ("--tags", "rules", "--rules-folder", str(demo.rules), "--rule-users", "3")
    ended = good(demo.run(tmp_path, *flags, seconds=7, users=3))
    found = {row.name: row.requests for row in ended.rows}
    assert found["change written"] >= 9
    assert found["served after it was made"] >= 3
    assert found["served after it was changed"] >= 3
    assert found["a host whose rule changes"] > 100
    assert list(demo.rules.iterdir()) == [], "rules of an ended run were left"


def test_a_late_rule_fails_the_run(demo: Demo, tmp_path: Path) -> None:
    """Nobody serves this folder, so no change of it ever shows."""
    folder = tmp_path / "unwatched"
    folder.mkdir()
    flags = ("--tags", "rules", "--rules-folder", str(folder), "--rule-deadline", "0.3")
    ended = demo.run(tmp_path, *flags, users=1)
    assert ended.code == 1
    assert "the old rule answered more than 0.3 s after the change" in ended.output


def test_workers_share_the_work_and_the_master_judges(demo: Demo, tmp_path: Path) -> None:
    flags = ("--processes", "2", "--tags", "pages", "--rate-per-user", "20")
    ended = good(demo.run(tmp_path, *flags, seconds=4, users=4))
    assert "locust: 2 process(es)" in ended.output
    assert f"{sum(row.requests for row in ended.rows)} requests in " in ended.output


def test_a_shape_changes_the_number_of_users(demo: Demo, tmp_path: Path) -> None:
    flags = ("--shape", "steps", "--tags", "pages")
    ended = good(demo.run(tmp_path, *flags, seconds=6, users=5))
    steps = [f"updating to {users} users" in ended.output for users in range(1, 6)]
    assert steps.count(True) >= 4, ended.output  # it looks once a second, so one may be missed


def test_a_p99_limit_fails_the_run(demo: Demo, tmp_path: Path) -> None:
    ended = demo.run(tmp_path, "--tags", "pages", "--fail-p99", "0.001")
    assert ended.code == 1
    assert "FAILED: p99 is " in ended.output


def test_a_certificate_of_an_unknown_authority_is_a_failure_unless_it_shall_not_matter(
    demo: Demo, tmp_path: Path
) -> None:
    targets = tmp_path / "targets.toml"
    targets.write_text("[[pages]]\nurl = 'https://secure.example/'\nsays = 'secure-1'")
    flags = ("--https-address", demo.https, "--tags", "pages", "--targets", str(targets))
    ended = run(tmp_path, demo.host, *flags)
    assert ended.code == 1
    assert "CERTIFICATE_VERIFY_FAILED" in ended.output
    good(run(tmp_path, demo.host, *flags, "--insecure"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--tags", "rules"), "this scenario needs [rules] in --targets, and --rules-folder"),
        (("--tags", "rolling"), "this scenario needs --rolling-command or --rolling-deployment"),
        (("--tags", "page"), "there is no scenario 'page'; there are pages, connections"),
        (("--exclude-tags", "pages", "connections", "uploads", "websocket", "slow"), "no scenario"),
        (("--targets", "/nowhere"), "--targets /nowhere: No such file"),
        (("--ca", "/nowhere"), "--ca /nowhere: No such file"),
        (("--ca", "x", "--insecure"), "--ca and --insecure contradict each other"),
        (("--rules-folder", "/nowhere"), "--rules-folder /nowhere: this is no folder"),
        (("--rolling-deployment", "x"), "--rolling-deployment x: this is not NAMESPACE/NAME"),
        (("--host", "https://127.0.0.1"), "give that of HTTPS by --https-address"),
    ],
)
def test_flags_that_do_not_fit_are_told_in_a_sentence(
    flags: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    ended = run(tmp_path, "http://127.0.0.1:9", *flags)
    assert ended.code == 2
    assert "loadtest: " in ended.output
    assert said in ended.output


def laptop(folder: Path, *flags: str) -> "subprocess.Popen[str]":
    """Starts `make load`'s command; what it starts inherits a variable that names the folder."""
    command = [sys.executable, "-m", "loadtest.laptop", "--locust", str(LOCUST)]
    return subprocess.Popen(
        [*command, "--results", str(folder), *flags],
        cwd=ROOT,
        env={**os.environ, "LOADTEST_RUN": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_by(folder: Path) -> list[int]:
    """Processes of such a run that still live."""
    mark = f"LOADTEST_RUN={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def test_one_command_runs_every_scenario_beside_an_edge_that_is_replaced(tmp_path: Path) -> None:
    with laptop(tmp_path, "--run-time", "14", "--rolling-every", "4") as process:
        output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert "PASSED" in output
    assert "edge: " in output
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "edge-3.log").exists(), "two replacements make three edges"
    kinds = {row.kind for row in rows(tmp_path / "load_stats.csv")}
    assert kinds == {"GET", "POST", "WS", "SLOW", "RULE", "ROLL"}
    assert left_by(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    with laptop(tmp_path, "--run-time", "60") as process:
        assert process.stdout is not None
        while "All users spawned" not in (line := process.stdout.readline()):
            assert line, "it ended before"
        assert len(left_by(tmp_path)) > 8
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert left_by(tmp_path) == []
