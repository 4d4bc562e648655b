"""Measures this controller beside nginx, HAProxy and Envoy, in one run.

    python -m loadtest.compare [--lanes a,b] [--peers x,y] [--rounds N] [--seconds S] [--json FILE]

One core is the proxies', another the load generator's and the backend's. Rounds are short and the
proxies take turns inside each, so that what else the machine does hits all of them alike; the
medians over the rounds are printed. README.md in this folder says what is measured and how.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

if __package__ in (None, ""):  # started by file name: the repository is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from loadtest import configurations, cpu, peers
from loadtest.backend import Backend, listen
from loadtest.lane import Lane
from loadtest.lanes import LANES

MEMORY = Path("/dev/shm")  # noqa: S108 -- only as the parent of a fresh directory
"""Access logs are written to memory where possible, so that no disk is measured."""

WARM_UP_SECONDS = 0.3
MAX_SECONDS = 30.0
MAX_ROUNDS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all rounds of a run share."""

    backend: Backend
    cores: tuple[int, int]
    rounds: int
    seconds: float
    """Length of a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One round of one lane against one proxy."""

    units: float
    failures: int
    reconnects: int
    seconds: float
    cpu_seconds: float
    others: float
    """The share of both cores that went to programs that do not belong to the measurement."""

    @property
    def microseconds(self) -> float:
        """CPU time of the proxy's process tree per answer."""
        return 1e6 * self.cpu_seconds / self.units if self.units else float("nan")

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.units / self.seconds

    @property
    def busy(self) -> float:
        """The share of its core that the proxy used."""
        return self.cpu_seconds / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One lane and one proxy, as `summarise` says."""

    microseconds: float
    lowest: float
    highest: float
    rate: float
    busy: float
    others: float
    failures: int
    reconnects: int


def summarise(windows: list[Window]) -> Result:
    """The medians over the less disturbed half of the rounds, and the sums of what went wrong.

    On a machine that others use too, a proxy that is interrupted costs more (its caches are cold
    when it comes back), so the rounds that others left in peace say most.
    """
    quiet = sorted(windows, key=lambda window: window.others)[: (len(windows) + 1) // 2]
    costs = sorted(window.microseconds for window in quiet)
    return Result(
        microseconds=statistics.median(costs),
        lowest=costs[0],
        highest=costs[-1],
        rate=statistics.median(window.rate for window in quiet),
        busy=statistics.median(window.busy for window in quiet),
        others=statistics.median(window.others for window in quiet),
        failures=sum(window.failures for window in windows),
        reconnects=sum(window.reconnects for window in windows),
    )


def measure(lane: Lane, proxy: peers.Proxy, bench: Bench) -> Window:
    """One round: connect, warm up, measure, close."""
    lane.open()
    try:
        lane.run(WARM_UP_SECONDS, bench.backend.step)
        pids = proxy.pids()
        cores = cpu.busy(bench.cores)
        own = time.process_time()
        started = time.perf_counter()
        before = cpu.consumed(pids)
        count = lane.run(bench.seconds, bench.backend.step)
        used = (cpu.consumed(pids) - before) / 1e9
        elapsed = time.perf_counter() - started
        others = cpu.busy(bench.cores) - cores - used - (time.process_time() - own)
    finally:
        lane.close()
    return Window(
        units=count.units,
        failures=count.failures,
        reconnects=count.reconnects,
        seconds=elapsed,
        cpu_seconds=used,
        others=max(0.0, others) / (elapsed * len(bench.cores)),
    )


def run_lane(
    name: str, proxies: list[peers.Proxy], bench: Bench, logging: set[str]
) -> dict[str, Result]:
    """All rounds of one lane; every round begins with another proxy.

    ``logging`` takes the names of those whose access log grew.
    """
    windows: dict[str, list[Window]] = {proxy.name: [] for proxy in proxies}
    for number in range(bench.rounds):
        first = number % len(proxies)
        for proxy in proxies[first:] + proxies[:first]:
            port = proxy.https_port if LANES[name].secure else proxy.port
            windows[proxy.name].append(measure(LANES[name](port), proxy, bench))
            if proxy.log.exists() and proxy.log.stat().st_size:
                logging.add(proxy.name)
                os.truncate(proxy.log, 0)  # all append, so the file begins anew
    return {name: summarise(found) for name, found in windows.items()}


def table(results: dict[str, dict[str, Result]], names: list[str]) -> str:
    """The comparison as text: a block a lane, a line a proxy."""
    lines = []
    for lane_name, found in results.items():
        lane = LANES[lane_name]
        lines.append(f"{lane.title}")
        lines.append(
            f"  {'':18}  {'CPU us per ' + lane.unit:>18}  {'lowest-highest':>17}"
            f"  {lane.unit + 's/s':>12}  {'core busy':>9}  ours / this"
        )
        mine = found.get(configurations.OURS)
        for name in names:
            result = found[name]
            ratio = ""
            if mine is not None and name != configurations.OURS:
                ratio = f"{mine.microseconds / result.microseconds:11.2f}"
            span = f"{result.lowest:.1f}-{result.highest:.1f}"
            lines.append(
                f"  {name:18}  {result.microseconds:18.1f}  {span:>17}"
                f"  {result.rate:12,.0f}  {result.busy:9.0%}  {ratio}".rstrip()
            )
            answered = result.rate > 0
            if not answered:
                lines.append("    no answer came: the numbers of this line mean nothing")
            elif result.failures:
                lines.append(f"    {result.failures} wrong answers: do not trust this line")
    return "\n".join(lines)


def _names(text: str, known: Collection[str], what: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"{what} {', '.join(unknown) or '(none)'} not known; known are {', '.join(known)}"
        )
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.compare",
        description="CPU time per request of this controller, nginx, HAProxy and Envoy.",
        epilog="Example: python -m loadtest.compare --lanes small,fields --peers nginx --rounds 3",
    )
    parser.add_argument(
        "--lanes",
        type=lambda text: _names(text, LANES, "lanes"),
        default=list(LANES),
        help=f"which kinds of load, separated by commas (default: {','.join(LANES)})",
    )
    others = [name for name in configurations.PROXIES if name != configurations.OURS]
    parser.add_argument(
        "--peers",
        type=lambda text: _names(text, others, "peers"),
        default=others,
        help=f"beside whom, separated by commas (default: {','.join(others)})",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each lane (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round (default: 2)")
    parser.add_argument(
        "--large-buffers",
        action="store_true",
        help="give nginx and HAProxy buffers of 128 kB instead of their defaults",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    arguments = parser.parse_args()
    if not 1 <= arguments.rounds <= MAX_ROUNDS or not 0.1 <= arguments.seconds <= MAX_SECONDS:
        parser.error(f"--rounds is 1 to {MAX_ROUNDS}, --seconds 0.1 to {MAX_SECONDS:.0f}")
    return arguments


def main() -> int:
    """0 when this controller was measured beside at least one peer, else 1."""
    arguments = _arguments()
    try:
        proxy_core, load_core = cpu.two_cores()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    os.sched_setaffinity(0, {load_core})
    with contextlib.ExitStack() as stack:
        memory = MEMORY if os.access(MEMORY, os.W_OK) else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=memory)))
        backend = Backend(listen(configurations.ADDRESSES))
        stack.callback(backend.close)
        certificate = configurations.certificate()
        proxies = []
        for name in [configurations.OURS, *arguments.peers]:
            try:
                proxy = peers.start(
                    name,
                    folder / name,
                    core=proxy_core,
                    backend_port=backend.port,
                    pause=backend.step,
                    shown=certificate,
                    large_buffers=arguments.large_buffers,
                )
            except configurations.Missing as reason:
                print(f"{name} is left out: {reason}")
                continue
            stack.callback(proxy.stop)
            proxies.append(proxy)
            print(f"{name} {proxy.version}, {proxy.negotiated}")
        if not proxies:
            return 1
        work = len(arguments.lanes) * arguments.rounds * len(proxies)
        seconds = work * (arguments.seconds + WARM_UP_SECONDS + 0.05)
        print(
            f"proxies on core {proxy_core}, load and backend on core {load_core}; "
            f"{arguments.rounds} rounds of {arguments.seconds:g} s; about {seconds:.0f} s\n",
            flush=True,
        )
        bench = Bench(
            backend=backend,
            cores=(proxy_core, load_core),
            rounds=arguments.rounds,
            seconds=arguments.seconds,
        )
        results = {}
        logging: set[str] = set()
        for lane in arguments.lanes:
            results[lane] = run_lane(lane, proxies, bench, logging)
            print(table({lane: results[lane]}, [proxy.name for proxy in proxies]))
            others = max(result.others for result in results[lane].values())
            print(f"  (other programs had up to {others:.0%} of the two cores)\n", flush=True)
        for proxy in proxies:
            if proxy.name not in logging:
                print(f"warning: {proxy.name} wrote no access log: compared unfairly")
        if arguments.json:
            report = {
                "versions": {proxy.name: proxy.version for proxy in proxies},
                "rounds": arguments.rounds,
                "seconds": arguments.seconds,
                "lanes": {
                    lane: {name: asdict(result) for name, result in found.items()}
                    for lane, found in results.items()
                },
            }
            arguments.json.write_text(json.dumps(report, indent=1) + "\n")
        measured = {proxy.name for proxy in proxies}
    return 0 if configurations.OURS in measured and len(measured) > 1 else 1


if __name__ == "__main__":
    sys.exit(main())
