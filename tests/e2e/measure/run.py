"""Measures the controller on a real API server: `make e2e-measure`; prints a table.

Sizes are variables: MEASURE_INGRESSES=1000,5000 MEASURE_CHANGES=500 MEASURE_SLICES=10000
MEASURE_SECRETS=2000 MEASURE_CHURN=20 (seconds) MEASURE_REST=30 (seconds) MEASURE_JSON=file;
MEASURE_FLAGS are further flags for the controller.
"""

import asyncio
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import uvloop

from tests.e2e.certificates import issue
from tests.e2e.controller import ROOT
from tests.e2e.kube import Kube, Object, path_of
from tests.e2e.measure import population
from tests.e2e.measure.prober import PAUSE, Prober, Seen, certificate, traffic
from tests.e2e.measure.program import FLAGS, HTTP, HTTPS, Cpu, Program, make_account

SIZES = [int(size) for size in os.environ.get("MEASURE_INGRESSES", "1000,5000").split(",")]
CHANGES = int(os.environ.get("MEASURE_CHANGES", "500"))
SLICES = int(os.environ.get("MEASURE_SLICES", "10000"))
SECRETS = int(os.environ.get("MEASURE_SECRETS", "2000"))
CHURN = float(os.environ.get("MEASURE_CHURN", "20"))
REST = float(os.environ.get("MEASURE_REST", "30"))
OTHER = "10.245.250"
"""Addresses that endpoints change to."""


class Table:
    """What was measured, as it comes."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    def add(self, what: str, value: str, aim: str = "", **details: object) -> None:
        self.rows.append({"what": what, "value": value, "aim": aim, **details})
        print(f"| {what} | {value} | {aim} |", flush=True)

    def times(self, what: str, seconds: list[float], aim: str) -> None:
        """Median, p99 and worst of so many."""
        ordered = sorted(seconds)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        median = statistics.median(ordered)
        text = (
            f"median {median * 1000:.1f}, p99 {p99 * 1000:.1f}, worst {ordered[-1] * 1000:.1f} ms"
        )
        self.add(f"{what}, {len(seconds)} changes", text, aim, median=median, p99=p99)


def is_status(status: int) -> Callable[[Seen], bool]:
    return lambda seen: seen.status == status


class Start(NamedTuple):
    """From the start of the process until all is served."""

    seconds: float
    used: Cpu

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s; {self.used}"


async def started(program: Program, hosts: list[str]) -> Start:
    """Wait until all of these hosts are served."""
    waiting = list(hosts)
    prober: Prober | None = None
    while waiting:
        assert program.alive(), program.log()[-2000:]
        assert time.perf_counter() - program.begun < 120, f"never served: {waiting[:3]}"
        try:
            if prober is None or not prober.open_:
                prober = await Prober.open(HTTP)
            if (await prober.ask(waiting[-1])).status == 200:
                waiting.pop()
                continue
        except OSError:
            prober = None
        await asyncio.sleep(PAUSE)
    start = Start(time.perf_counter() - program.begun, program.cpu())
    if prober is not None:
        prober.transport.abort()
    return start


async def check_all(count: int) -> None:
    """Every host is served. It leaves a connection to each backend, which is not measured."""
    prober = await Prober.open(HTTP)
    wrong = [n for n in range(count) if (await prober.ask(population.host(n))).status != 200]
    assert not wrong, f"{len(wrong)} hosts are not served: {wrong[:5]}"
    prober.transport.abort()


async def rules(kube: Kube, size: int, changes: int) -> list[float]:
    """Rules created, changed and deleted in turn; from the API server's answer to the first
    request that is served by the new rule."""
    prober = await Prober.open(HTTP)
    seconds = []
    for turn in range(changes // 5):
        number = size + 100_000 + turn
        new = population.ingress(number)
        old = turn * 37 % size
        steps: list[tuple[str, Object, str, str, int]] = [
            # Backends of the new one are there already: its rule is what is waited for.
            ("create", new, population.host(number), "/", 200),
            ("replace", _moved(new, f"moved{turn}.test"), f"moved{turn}.test", "/", 200),
            ("delete", new, f"moved{turn}.test", "/", 404),
            ("replace", _narrowed(old), population.host(old), "/", 404),
            ("replace", population.ingress(old), population.host(old), "/", 200),
        ]
        await kube.create(population.service(number))
        await kube.create(population.endpoint_slice(number))
        await asyncio.sleep(0.02)
        for verb, obj, host, target, status in steps:
            before = await prober.ask(host, target)
            assert before.status != status, f"{host}{target} is {status} before {verb}"
            await getattr(kube, verb)(obj)
            begun = time.perf_counter()
            seconds.append(await prober.until(host, target, is_status(status), begun))
        await kube.delete(population.service(number))
        await kube.delete(population.endpoint_slice(number))
    prober.transport.abort()
    return seconds


def _moved(obj: Object, host: str) -> Object:
    rule = {**obj["spec"]["rules"][0], "host": host}
    return {**obj, "spec": {**obj["spec"], "rules": [rule]}}


def _narrowed(number: int) -> Object:
    """The Ingress without its path "/"."""
    made = population.ingress(number)
    del made["spec"]["rules"][0]["http"]["paths"][0]
    return made


async def endpoints(kube: Kube, size: int, changes: int, pause: float) -> list[float]:
    """The only endpoint of a Service becomes another one; so long after the one before."""
    prober = await Prober.open(HTTP)
    seconds = []
    for turn in range(changes):
        number = turn * 31 % size
        host = population.host(number)
        before = (await prober.ask(host)).body
        at = f"{OTHER}.{turn % 250 + 1}"
        if before == f"{at}:{population.PORT}".encode():
            at = f"{OTHER}.254"
        wanted = f"{at}:{population.PORT}".encode()
        await asyncio.sleep(pause)
        await kube.replace(population.endpoint_slice(number, at))
        begun = time.perf_counter()
        seconds.append(await prober.until(host, "/", lambda s, w=wanted: s.body == w, begun))  # type: ignore[misc]
    prober.transport.abort()
    return seconds


async def certificates(kube: Kube, changes: int) -> tuple[list[float], list[float]]:
    """The Secret of a host gets another pair: newer ones, and ones that say that they are older."""
    number = 0
    host = population.host(number)
    await kube.create(population.secret(number, issue(host)))
    await kube.replace(population.ingress(number, secret=f"t{number}"))
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(changes):
        older = turn % 2
        age = dt.timedelta(days=2 + turn if older else 0, minutes=1)
        new = issue(host, age=age)
        await kube.replace(population.secret(number, new))
        begun = time.perf_counter()
        while await certificate(HTTPS, host) != new.der:
            assert time.perf_counter() - begun < 30, "the certificate is never served"
            await asyncio.sleep(PAUSE)
        found[older].append(time.perf_counter() - begun)
        # A later one may be watched for only when every worker has this one.
    await kube.replace(population.ingress(number))
    await kube.delete(population.secret(number, issue(host)))
    return found


async def at_rest(program: Program) -> str:
    """Share of a core while nothing happens."""
    await asyncio.sleep(3)
    before, begun = program.cpu(), time.perf_counter()
    await asyncio.sleep(REST)
    share = 1 / (time.perf_counter() - begun)
    used = program.cpu().since(before)
    parts = f"control {used.control * share:.2%}, worker {used.workers * share:.2%}"
    return f"{used.total * share:.2%} of a core ({parts})"


async def churn(program: Program, table: Table, size: int) -> None:
    """Fifty rule changes a second under traffic, and the same traffic alone."""
    hosts = [population.host(number) for number in range(0, size, max(1, size // 100))]
    results = []
    for busy in (False, True):
        command = [sys.executable, "-m", "tests.e2e.measure.churn", "50", str(CHURN), str(size)]
        async with traffic(HTTP, hosts) as met:
            await asyncio.sleep(1)
            met.seconds.clear()
            before = program.cpu()
            if busy:
                process = await asyncio.create_subprocess_exec(
                    *command, cwd=ROOT, stdout=subprocess.PIPE
                )
                output, _ = await process.communicate()
                made = int(output)
                assert made >= 50 * CHURN * 0.95, f"only {made} changes were made"
            else:
                await asyncio.sleep(CHURN)
            used = program.cpu().since(before)
        ordered = sorted(met.seconds)
        results.append((used, ordered[int(len(ordered) * 0.99)], len(ordered), met.failures))
    for (used, p99, count, failures), name in zip(
        results, ("traffic alone", "50 rule changes/s"), strict=True
    ):
        text = f"{used}, p99 {p99 * 1000:.2f} ms, {len(failures)} of {count} failed"
        aim = "CPU < 5 s, p99 < 5 ms, 0 failed" if "rule" in name else ""
        title = f"{size} Ingresses, {CHURN:g} s of 200 requests/s, {name}"
        table.add(
            title, text, aim, cpu=used.total, p99=p99, failed=len(failures), first=failures[:3]
        )


async def settled(program: Program, kube: Kube) -> None:
    """Wait until every status is written and the CPU rests: nothing of the start goes on."""
    end = time.monotonic() + 180
    while True:
        before = program.cpu()
        await asyncio.sleep(1)
        if program.cpu().since(before).total < 0.03 and await _published(kube):
            return
        assert time.monotonic() < end, "the controller never rests"


async def _published(kube: Kube) -> bool:
    if "--no-publish-status" in FLAGS:
        return True
    answer = await kube.call("GET", f"{path_of('Ingress')}?limit=50")
    return all(item["status"]["loadBalancer"].get("ingress") for item in answer["items"])


async def create(kube: Kube, objects: Iterable[Object], what: str) -> None:
    begun, every = time.perf_counter(), list(objects)
    await kube.many(every, at_once=24)
    took = time.perf_counter() - begun
    print(f"made {len(every)} objects in {took:.0f} s: {what}", file=sys.stderr, flush=True)


def sample(size: int) -> list[str]:
    return [population.host(number) for number in range(0, size, max(1, size // 50))]


async def measure(table: Table, folder: Path) -> None:
    kubeconfig = make_account(folder)
    async with Kube() as kube:
        for namespace in population.namespaces():
            await kube.create(namespace)
        with Program(kubeconfig) as program:
            await create(kube, population.everything(0, 1), "the first Ingress")
            await started(program, [population.host(0)])
            await settled(program, kube)
            empty = program.memory()
            table.add("memory with one Ingress", f"PSS {empty.pss:.0f}, RSS {empty.rss:.0f} MiB")
        made = 1
        for size in SIZES:
            await create(kube, population.everything(made, size), f"{size} Ingresses")
            made = size
            # The first start writes every status; the second one is what a restart costs.
            for name in ("start", "start again, nothing to write"):
                with Program(kubeconfig) as program:
                    start = await started(program, sample(size))
                    table.add(f"{size} Ingresses, {name}: all served", str(start), "< 2 s")
                    begun = time.perf_counter()
                    await settled(program, kube)
                    table.add(
                        f"{size} Ingresses, {name}: until it rests",
                        f"{time.perf_counter() - begun:.0f} s",
                    )
                    if name == "start":
                        await check_all(size)
                        continue
                    await one_size(program, kube, table, size, empty.pss)
        await large(kube, table, kubeconfig, made, empty.pss)


async def one_size(program: Program, kube: Kube, table: Table, size: int, empty: float) -> None:
    memory = program.memory()
    each = (memory.pss - empty) / (size / 1000)
    table.add(
        f"{size} Ingresses: memory",
        f"PSS {memory.pss:.0f}, RSS {memory.rss:.0f} MiB; {each:.1f} MiB for each 1,000",
        "< 40 MiB",
    )
    table.add(f"{size} Ingresses: CPU at rest", await at_rest(program), "< 0.5 %")
    aims = {"rules": "median < 50, p99 < 200 ms", "endpoints": "median < 8 ms (15 at 5,000)"}
    before, begun = program.cpu(), time.perf_counter()
    table.times(f"{size} Ingresses, rules", await rules(kube, size, CHANGES), aims["rules"])
    used, took = program.cpu().since(before), time.perf_counter() - begun
    table.add(f"{size} Ingresses, rules, with the prober's requests", f"{used} in {took:.0f} s")
    for pause, name in ((0.05, "endpoints"), (0.0, "endpoints, one change after the other")):
        seconds = await endpoints(kube, size, CHANGES, pause)
        table.times(f"{size} Ingresses, {name}", seconds, aims["endpoints"])
    newer, older = await certificates(kube, min(CHANGES, 200))
    table.times(f"{size} Ingresses, certificates", newer, "median < 50 ms")
    table.times(f"{size} Ingresses, certificates with older NotBefore", older, "median < 50 ms")
    await churn(program, table, size)
    after = program.memory()
    table.add(f"{size} Ingresses: memory after all changes", f"PSS {after.pss:.0f} MiB")


async def large(kube: Kube, table: Table, kubeconfig: Path, size: int, empty: float) -> None:
    """More slices, and hosts with TLS."""
    if size < SLICES:
        parts = (
            population.endpoint_slice(n % size, f"{OTHER}.{n % 250 + 1}", part=2 + n // size)
            for n in range(SLICES - size)
        )
        await create(kube, parts, f"{SLICES} EndpointSlices")
    secrets = min(SECRETS, size)
    certificates_ = [issue(population.host(number)) for number in range(secrets)]
    made = (population.secret(n, pair) for n, pair in enumerate(certificates_))
    await create(kube, made, f"{secrets} TLS Secrets")
    for number in range(secrets):
        await kube.replace(population.ingress(number, secret=f"t{number}"))
    name = f"{size} Ingresses, {max(SLICES, size)} slices, {secrets} TLS Secrets"
    with Program(kubeconfig) as program:
        start = await started(program, sample(size))
        table.add(f"{name}: all served", str(start), "< 2 s")
        for number in range(0, secrets, max(1, secrets // 20)):
            assert await certificate(HTTPS, population.host(number)) == certificates_[number].der
        await settled(program, kube)
        memory = program.memory()
        each = (memory.pss - empty) / (size / 1000)
        text = f"PSS {memory.pss:.0f}, RSS {memory.rss:.0f} MiB; {each:.1f} MiB for each 1,000"
        table.add(f"{name}: memory", text)
        table.add(f"{name}: CPU at rest", await at_rest(program), "< 0.5 %")


def main() -> None:
    table = Table()
    backend = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.measure.backend", str(population.PORT)], cwd=ROOT
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            uvloop.run(measure(table, Path(folder)))
    finally:
        backend.terminate()
        backend.wait()
        if file := os.environ.get("MEASURE_JSON"):
            Path(file).write_text(json.dumps(table.rows, indent=1))


if __name__ == "__main__":
    main()
