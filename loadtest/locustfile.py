"""Load on an edge: `locust -f loadtest/locustfile.py --host http://ADDRESS --headless …`.

Each file of `scenarios/` is a kind of client; `--tags` and `--exclude-tags` choose among pages,
connections, uploads, websocket, slow, rules and rolling. See README.md.
"""

import atexit
import csv
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

if (root := str(Path(__file__).resolve().parent.parent)) not in sys.path:
    sys.path.append(root)  # locust puts the file's own folder there, not the repository

import gevent
from locust import LoadTestShape, events
from locust.runners import MasterRunner, WorkerRunner
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV

from loadtest.cluster import ApiError
from loadtest.edge import EdgeError
from loadtest.flags import FlagError, add_flags, described
from loadtest.meters import KEY, heard
from loadtest.scenarios.connections import Connections
from loadtest.scenarios.pages import Pages
from loadtest.scenarios.rolling import RollingUpdates
from loadtest.scenarios.rules import RuleChanges
from loadtest.scenarios.slow import SlowClients
from loadtest.scenarios.uploads import Uploads
from loadtest.scenarios.websocket import WebSockets
from loadtest.shapes import users_at
from loadtest.users import Run
from loadtest.verdict import PACED, Limits, Totals, judge, merged

__all__ = [
    "Connections",
    "Pages",
    "RollingUpdates",
    "RuleChanges",
    "SlowClients",
    "Uploads",
    "WebSockets",
]

events.init_command_line_parser.add_listener(add_flags)


class Shape(LoadTestShape):
    """The chosen one of `shapes.py`."""

    abstract = True  # else locust takes it for every run

    def __init__(self, shape: str, users: int, spawn_rate: float, run_time: float) -> None:
        super().__init__()
        self._shape, self._users = shape, users
        self._spawn_rate, self._run_time = spawn_rate, run_time

    def tick(self) -> tuple[int, float] | None:
        users = users_at(
            self._shape, self.get_run_time(), users=self._users, run_time=self._run_time
        )
        return None if users is None else (users, self._spawn_rate)


@events.init.add_listener
def prepare(environment: Any, runner: Any, **_: Any) -> None:
    """Reads the flags, and leaves out the scenarios that are not wanted or not possible."""
    options = environment.parsed_options
    files = Path(tempfile.mkdtemp(prefix="python-ingress-loadtest-"))
    atexit.register(shutil.rmtree, files, ignore_errors=True)
    try:
        run = described(options, files)
        if options.shape:
            if not options.run_time:
                raise FlagError("--shape needs --run-time: it says when the load changes")
            environment.shape_class = Shape(
                options.shape,
                options.num_users or 1,
                options.spawn_rate or options.num_users or 1,
                options.run_time,
            )
            environment.shape_class.runner = runner
        environment.loadtest = run
        environment.user_classes[:] = possible(environment.user_classes, run, options)
    except (FlagError, EdgeError, ApiError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        sys.exit(2)
    if run.place is not None:
        atexit.register(run.place.close)
    counts: dict[str, dict[str, float]] = {}

    gevent.spawn(run.meter.watch)

    def test_started(**_: Any) -> None:
        counts.clear()
        run.meter.restart()

    def reporting(client_id: str, data: dict[str, Any]) -> None:
        data[KEY] = run.meter.report()

    def reported(client_id: str, data: dict[str, Any]) -> None:
        counts[client_id] = data[KEY]

    def finished(**_: Any) -> None:
        finish(environment, run, counts)

    environment.events.test_start.add_listener(test_started)
    environment.events.report_to_master.add_listener(reporting)
    environment.events.worker_report.add_listener(reported)
    environment.events.quitting.add_listener(finished)


def possible(classes: Iterable[Any], run: Run, options: Any) -> list[Any]:
    """The user classes whose scenario is wanted by its tag and has what it needs.

    locust itself takes tasks away by their tags, but then fails on users that have none left.

    Raises:
        FlagError: a scenario that was asked for lacks something, or none is left.
    """
    targets = run.targets
    needs = {
        "pages": (targets.pages, "[[pages]] in --targets"),
        "connections": (targets.pages, "[[pages]] in --targets"),
        "uploads": (targets.uploads, "[[uploads]] in --targets"),
        "websocket": (targets.websockets, "[[websockets]] in --targets"),
        "slow": (targets.uploads, "[[uploads]] in --targets"),
        "rules": (
            targets.rules is not None and (options.rules_folder or options.rules_in_cluster),
            "[rules] in --targets, and --rules-folder or --rules-in-cluster",
        ),
        "rolling": (run.roll or run.deployment, "--rolling-command or --rolling-deployment"),
    }
    wanted, unwanted = set(options.tags or ()), set(options.exclude_tags or ())
    if unknown := sorted((wanted | unwanted) - needs.keys()):
        raise FlagError(f"there is no scenario {unknown[0]!r}; there are {', '.join(needs)}")
    left = []
    for each in classes:
        (scenario,) = {name for method in each.tasks for name in method.locust_tag_set}
        has, need = needs[scenario]
        if scenario in unwanted or (wanted and scenario not in wanted):
            continue
        if has:
            left.append(each)
        elif wanted:
            raise FlagError(f"--tags {scenario}: this scenario needs {need}")
        else:
            logging.info("Scenario %s is left out: it needs %s", scenario, need)
        if scenario == "rules":
            each.fixed_count = options.rule_users
    if not left:
        raise FlagError("no scenario is left to run")
    return left


def finish(environment: Any, run: Run, counts: dict[str, dict[str, float]]) -> None:
    """Judges the run, prints the verdict and sets the exit code; the master does it for workers."""
    runner, options = environment.runner, environment.parsed_options
    if isinstance(runner, WorkerRunner):
        environment.process_exit_code = 0
        return
    if isinstance(runner, MasterRunner):
        nodes = [heard(name, report) for name, report in counts.items()]
        missing = max(0, options.expect_workers - len(nodes)) + len(runner.clients.missing)
    else:
        nodes, missing = [run.meter.node("locust")], 0
    total = environment.stats.total
    latencies = (
        entry.response_times
        for (_, kind), entry in environment.stats.entries.items()
        if kind not in PACED
    )
    verdict = judge(
        Totals(
            requests=total.num_requests,
            failures=total.num_failures,
            seconds=(total.last_request_timestamp or 0) - (total.start_time or 0),
            times=merged(latencies),
            exceptions=sum(each["count"] for each in runner.exceptions.values()),
            missing=missing,
        ),
        nodes,
        Limits(fail_ratio=options.fail_ratio, p99=options.fail_p99),
    )
    for line in verdict.lines:
        print(line)
    for reason in verdict.reasons:
        print(f"FAILED: {reason}")
    if not verdict.reasons:
        print("PASSED")
    sys.stdout.flush()
    environment.process_exit_code = 1 if verdict.reasons else 0
    if options.csv_prefix:
        write_last(environment, options.csv_prefix)


def write_last(environment: Any, prefix: str) -> None:
    """Writes the tables of the whole run: locust writes them each second, but not at the end."""
    tables = StatsCSV(environment, PERCENTILES_TO_REPORT)
    for name, write in (
        ("stats", tables.requests_csv),
        ("failures", tables.failures_csv),
        ("exceptions", tables.exceptions_csv),
    ):
        with Path(f"{prefix}_{name}.csv").open("w", newline="") as file:
            write(csv.writer(file))
