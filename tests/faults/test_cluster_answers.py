"""The API server refuses, asks to wait, or answers what is no answer (F-09, F-10).

A few seconds by default; ``FAULT_SECONDS=60`` runs the full length.
"""

import asyncio
from pathlib import Path

import pytest

from ingress_controller.sources.watch_machine import Pace
from tests.harness.kube_watch import Watch
from tests.harness.load import steady_load
from tests.harness.replica import SECONDS, Cluster, Json, route, slice_of

pytestmark = pytest.mark.timeout(5 * SECONDS + 120)

INGRESSES = "/ingresses$"
SERVICES = "/services$"
LONGEST_BACKOFF = 2 * Pace().longest_delay
PACE = 60.0
"""How much faster the backoff is where many failures follow each other."""


def _only(cluster: Cluster, pattern: str) -> Watch:
    [watch] = cluster.api.watches(pattern)
    return watch


async def test_it_stays_away_for_as_long_as_it_is_asked_to(cluster: Cluster) -> None:
    """F-09: Retry-After is honoured, and what changed meanwhile is served soon after."""
    wait = max(1, round(SECONDS / 5))
    cluster.api.manners.bookmark_seconds = 60 / PACE
    async with cluster.replica(pace=PACE) as replica, steady_load(replica.http) as load:
        version = await replica.version()
        for verb, status in (("list", 429), ("list", 503), ("watch", 429), ("watch", 503)):
            before = len(cluster.api.requests)
            asked = {"Retry-After": str(wait)}
            fault = cluster.api.fault(verb, INGRESSES, status=status, headers=asked)
            if verb == "list":
                cluster.api.forget_history()
                _only(cluster, "/ingresses").send_gone()
            else:
                _only(cluster, "/ingresses").end()
            await replica.until(lambda fault=fault: fault.hits, "it is refused")
            host = f"{verb}-{status}.test"
            cluster.put(route(f"{verb}-{status}", host))
            await replica.serves(host, within=wait + 2.0)
            seen = [each for each in cluster.api.requests[before:] if "/ingresses" in each.path]
            refused = next(number for number, each in enumerate(seen) if each.status == status)
            assert seen[refused + 1].at - seen[refused].at >= wait * 0.99
        assert await replica.version() == version + 4
        assert (await replica.ask("/readyz")).status == 200
    assert load.failures == []


async def test_a_list_that_is_none_changes_nothing(cluster: Cluster) -> None:
    """F-09: the table is kept until a whole list has come."""
    bad: dict[str, Json] = {
        "500": {"status": 500},
        "html": {"status": 200, "body": b"<html>welcome to the corporate proxy</html>"},
        "empty": {"status": 200, "body": b""},
        "versionless": {"status": 200, "body": {"kind": "IngressList", "items": None}},
        "numeric": {
            "status": 200,
            "body": {"kind": "IngressList", "metadata": {"resourceVersion": "9"}, "items": [7]},
        },
        "other": {"status": 200, "body": {"kind": "Status", "metadata": {"resourceVersion": "9"}}},
        "cut": {"cut_after": 100},
    }
    cluster.api.manners.bookmark_seconds = 60 / PACE
    async with cluster.replica(pace=PACE) as replica, steady_load(replica.http) as load:
        version = await replica.version()
        for name, what in bad.items():
            fault = cluster.api.fault("list", INGRESSES, **what)
            cluster.api.forget_history()
            _only(cluster, "/ingresses").send_gone()
            await replica.until(lambda fault=fault: fault.hits, f"{name} is the answer")
            cluster.put(route(name, f"{name}.test"))
            await replica.serves(f"{name}.test", within=5.0)
        assert await replica.version() == version + len(bad)
    assert load.failures == []


async def test_a_bad_line_of_a_watch_means_reading_on_anew(cluster: Cluster) -> None:
    """F-09: a reconnect; what changed meanwhile is served soon after."""
    bad = {
        "garbage": b"{garbage}\n",
        "binary": b"\xff\xfe\x00\n",
        "half": b'{"type":"ADDED","object":{"metadata":{"name":"half',
        "unknown": b'{"type":"SURPRISE","object":{"metadata":{"resourceVersion":"20000"}}}\n',
        "array": b'{"type":"MODIFIED","object":[]}\n',
        "nameless": b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"20000"}}}\n',
        "error": b'{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd"}}\n',
        "endless": b"x" * (17 << 20),
    }
    cluster.api.manners.bookmark_seconds = 60 / PACE
    async with cluster.replica(pace=PACE) as replica, steady_load(replica.http) as load:
        version = await replica.version()
        for name, data in bad.items():
            watch = _only(cluster, "/ingresses")
            before = len(cluster.api.requests)
            watch.send_bytes(data)
            if name == "half":
                watch.end()
            await replica.until(
                lambda watch=watch: watch not in cluster.api.watches(), f"{name} ended it"
            )
            cluster.put(route(name, f"{name}.test"))
            await replica.serves(f"{name}.test", within=2.0)
            assert len(cluster.api.watches("/ingresses")) == 1
            assert cluster.lists("/ingresses", since=before) <= 1
        assert await replica.version() == version + len(bad)
    assert load.failures == []


async def test_a_renewed_token_is_taken_up(cluster: Cluster, tmp_path: Path) -> None:
    """F-10: the old one is refused before the file has the new one, as when clocks differ."""
    token = tmp_path / "token"
    token.write_text("first")
    cluster.api.token = "first"
    user = {"tokenFile": str(token)}
    cluster.api.manners.bookmark_seconds = 1.0  # a refused watch is well when another one speaks
    async with cluster.replica(user=user) as replica, steady_load(replica.http) as load:
        version = await replica.version()
        cluster.api.token = "second"
        for watch in cluster.api.watches():
            watch.end()
        await replica.diagnosed("api-refused")
        await asyncio.sleep(SECONDS / 2)
        token.write_text("second")
        cluster.put(route("late", "late.test"))
        # Each kind is asked for when its backoff says so.
        await replica.serves("late.test", within=LONGEST_BACKOFF)
        await replica.diagnosed("api-refused", gone=True, within=LONGEST_BACKOFF)
        assert await replica.version() == version + 1
        assert (await replica.ask("/readyz")).status == 200
    assert load.failures == []


async def test_a_token_that_was_renewed_in_time_costs_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    """F-10: the file had the new one before the old one was refused."""
    token = tmp_path / "token"
    token.write_text("first")
    cluster.api.token = "first"
    user = {"tokenFile": str(token)}
    async with cluster.replica(user=user) as replica, steady_load(replica.http) as load:
        token.write_text("second")
        cluster.api.token = "second"
        for watch in cluster.api.watches():
            watch.end()
        cluster.put(route("late", "late.test"))
        await replica.serves("late.test", within=2.0)
        assert await replica.diagnostics() == []
    assert load.failures == []


async def test_a_withdrawn_right_keeps_what_was_read_and_alarms(cluster: Cluster) -> None:
    """F-10: 403 on Services; everything else goes on, Services too when the right is back."""
    cluster.api.manners.bookmark_seconds = 1.0
    async with cluster.replica() as replica, steady_load(replica.http) as load:
        version = await replica.version()
        fault = cluster.api.fault("*", SERVICES, status=403, times=None)
        _only(cluster, "/services").end()
        [alarm] = await replica.diagnosed("api-refused")
        assert alarm["object"]["kind"] == "Service"
        assert alarm["remedy"]
        assert await replica.metric("ingress_diagnostics", code="api-refused") == 1
        assert await replica.version() == version
        assert (await replica.ask("/readyz")).status == 200
        cluster.put(route("late", "late.test"))
        cluster.put(route("new", "new.test", "new"))
        await replica.serves("late.test", within=1.0)
        await replica.serves("new.test", 503, within=1.0)
        await asyncio.sleep(SECONDS / 2)
        asked = fault.hits
        assert asked <= 4 + SECONDS / 10, f"{asked} requests that were refused"
        service = {"kind": "Service", "metadata": {"name": "new", "namespace": "shop"}}
        cluster.put(service | {"spec": {"ports": [{"port": 80}]}}, slice_of("new", cluster.backend))
        fault.withdraw()
        await replica.serves("new.test", within=LONGEST_BACKOFF)
        await replica.diagnosed("api-refused", gone=True)
    assert load.failures == []
