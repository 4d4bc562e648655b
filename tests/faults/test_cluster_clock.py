"""Clocks that are set anew (F-30).

A few seconds by default; ``FAULT_SECONDS=60`` runs the full length.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.harness.cluster import service
from tests.harness.load import steady_load
from tests.harness.replica import SECONDS, Cluster, Replica, route, slice_of

pytestmark = pytest.mark.timeout(5 * SECONDS + 120)

HOURS = 2 * 3600.0


def _libraries() -> Iterator[Path]:
    """libfaketime, where Debian, Fedora and people put it."""
    if "LIBFAKETIME" in os.environ:
        yield Path(os.environ["LIBFAKETIME"])
    for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        yield from Path(folder).glob("**/faketime/libfaketime.so.1")


async def test_a_clock_that_is_set_anew_stops_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """F-30: two hours forward, then four back; every interval is measured by another clock."""
    library = next(_libraries(), None)
    if library is None:
        pytest.skip("libfaketime is not there (Debian: apt-get install faketime)")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    cluster.put(service("two"), slice_of("two", cluster.backend))
    async with cluster.replica(variables=faked) as replica, steady_load(replica.http) as load:
        for turn, (offset, hours) in enumerate((("+2h", HOURS), ("-2h", -HOURS), ("+0", 0.0))):
            clock.write_text(offset)
            host = f"turn-{turn}.test"
            cluster.put(route(f"turn-{turn}", host, "two"))
            await replica.serves(host, within=1.0)
            await replica.until(
                lambda hours=hours: abs(_said_at(replica) - (time.time() + hours)) < 60,
                "its clock is set",
            )
            cluster.put(slice_of("two", cluster.backend, ready=False))
            await replica.serves(host, 503, within=1.0)
            cluster.put(slice_of("two", cluster.backend))
            await replica.serves(host, within=1.0)
            await asyncio.sleep(SECONDS / 3)
            assert (await replica.ask("/readyz")).status == 200
            assert await replica.metric("ingress_watch_stale_seconds") < 600
            assert await replica.metric("ingress_leader") == 1
        assert await replica.diagnostics() == []
        assert await replica.metric("ingress_watch_failures_total") == 0
    assert load.failures == []


def _said_at(replica: Replica) -> float:
    """Unix time of its last line in the log, by its own clock."""
    said = datetime.fromisoformat(replica.program.log[-1]["time"])
    return said.astimezone(UTC).timestamp()
