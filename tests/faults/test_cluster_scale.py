"""Many objects at once block neither the control process nor the workers (F-26)."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.harness.client import Address, fetch, request
from tests.harness.cluster import config_map
from tests.harness.load import steady_load
from tests.harness.replica import ADMIN_PORT, PUBLISHED, Cluster, Replica, route

MANY = 5_000
EVERY = 0.005
"""Seconds between two questions of a prober."""
LAG = 0.010
TRIES = 3
PROBER = Path(__file__).with_name("prober.py")


@asynccontextmanager
async def probed(address: Address, path: str, pid: int) -> AsyncIterator[list[tuple[float, float]]]:
    """Ask a process all the time; afterwards, when each answer was due and how late it came."""
    words = [address[0], str(address[1]), path, "none.test", str(EVERY), str(pid)]
    prober = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROBER), *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told: list[tuple[float, float]] = []
    try:
        yield told
    finally:
        output, _ = await prober.communicate(b"")
    told += json.loads(output)


def _p99(told: list[tuple[float, float]], start: float, end: float) -> float:
    seconds = sorted(late for due, late in told if start <= due < end)
    assert len(seconds) > 100, "too few answers to say anything"
    return seconds[int(len(seconds) * 0.99)]


@pytest.mark.parametrize("how", ["watch", "list"])
async def test_five_thousand_ingresses_at_once_keep_nobody_waiting(
    cluster: Cluster, how: str
) -> None:
    """The admin port answers from the loop that translates; workers answer 404 by themselves. A
    busy machine gets three tries."""
    async with cluster.replica() as replica, steady_load(replica.http, rate=50) as load:
        late = []
        for turn in range(TRIES):
            late.append(await _lateness(cluster, replica, how, f"{turn}.test"))
            if max(late[-1]) < LAG:
                break
        shown = (await replica.ask("/routes")).json()["hosts"]
        assert len(shown) == MANY + 1
    assert load.failures == []
    assert max(late[-1]) < LAG, late


async def test_an_option_that_changes_five_thousand_hosts_keeps_no_request_waiting(
    cluster: Cluster,
) -> None:
    """It comes to the workers as one update: they serve between its steps."""
    cluster.api.put(config_map("options", **{"force-ssl-redirect": "false"}))
    for number in range(MANY):
        cluster.api.put(route(f"many-{number}", f"many-{number}.test"))
    late = []
    async with cluster.replica("--config", "shop/options") as replica:
        [worker] = replica.program.worker_pids()
        for turn in range(TRIES):
            async with probed(replica.http, "/x", worker) as data:
                await asyncio.sleep(0.2)
                start = time.monotonic()
                for value, status in (("true", 308), ("false", 200)) * 2:
                    cluster.api.put(config_map("options", **{"force-ssl-redirect": value}))
                    await _until_all_answer(replica, status)
                end = time.monotonic()
            late.append(_p99(data, start, end))
            assert len(replica.program.events(PUBLISHED)) == 4 * (turn + 1), "one swap each"
            if late[-1] < LAG:
                break
    assert late[-1] < LAG, late


async def _until_all_answer(replica: Replica, status: int) -> None:
    for number in (0, MANY // 2, MANY - 1):
        name = f"many-{number}.test"
        end = time.monotonic() + 20.0
        while (await fetch(replica.http, request("/x", host=name))).status != status:
            assert time.monotonic() < end, f"{name} is not answered with {status}"
            await asyncio.sleep(0.01)


async def _lateness(
    cluster: Cluster, replica: Replica, how: str, domain: str
) -> tuple[float, float]:
    """The p99 of control process and worker, while each Ingress gets a host of this domain."""
    admin = (replica.http[0], ADMIN_PORT)
    control, [worker] = replica.program.process.pid, replica.program.worker_pids()
    async with (
        probed(admin, "/healthz", control) as lag,
        probed(replica.http, "/x", worker) as data,
    ):
        await asyncio.sleep(0.5)
        start = time.monotonic()
        await _change_all(cluster, how, domain)
        await replica.serves(f"many-{MANY - 1}.{domain}", within=20.0)
        end = time.monotonic() + 0.5
        await asyncio.sleep(0.5)
    return _p99(lag, start, end), _p99(data, start, end)


async def _change_all(cluster: Cluster, how: str, domain: str) -> None:
    """As so many events of a watch, or as a list after a watch that was not told."""
    [watch] = cluster.api.watches("/ingresses")
    watch.silent = how == "list"
    for number in range(MANY):
        cluster.api.put(route(f"many-{number}", f"many-{number}.{domain}"))
        if number % 20 == 0:
            await asyncio.sleep(0)
    if how == "list":
        cluster.api.forget_history()
        watch.cut()
