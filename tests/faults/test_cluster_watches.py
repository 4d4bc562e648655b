"""Watches that end, begin anew or tell nonsense, and an API server whose past changes (F-03, F-04,
F-06, F-07, F-08).

A few seconds by default; ``FAULT_SECONDS=60`` runs the full length.
"""

import asyncio
import itertools
import random
from collections.abc import Iterable

import pytest

from tests.harness.client import request
from tests.harness.cluster import service
from tests.harness.load import steady_load
from tests.harness.replica import SECONDS, Cluster, Replica, route, slice_of

pytestmark = pytest.mark.timeout(5 * SECONDS + 120)

HOSTS = 1_200
"""More than two pages of a list."""


async def _watched(cluster: Cluster, replica: Replica) -> None:
    """Every kind is watched."""
    await replica.until(lambda: len(cluster.api.watches()) == 5, "all kinds are watched")


@pytest.mark.parametrize("as_status", [False, True], ids=["event", "status"])
async def test_410_means_one_list_and_one_swap(cluster: Cluster, *, as_status: bool) -> None:
    """F-03: what happened behind our back is one difference; what did not happen is none."""
    cluster.put(*(route(f"old-{number}", f"old-{number}.test") for number in range(20)))
    async with cluster.replica() as replica, steady_load(replica.http) as load:
        version = await replica.version()
        before = len(cluster.api.requests)
        cluster.api.manners.gone_as_status = as_status
        for watch in cluster.api.watches():
            watch.silent = True
        cluster.put(*(route(f"new-{number}", f"new-{number}.test") for number in range(20)))
        for number in range(10):
            cluster.api.delete("Ingress", "shop", f"old-{number}")
        cluster.put(route("old-19", "moved.test"))
        cluster.api.forget_history()
        for watch in cluster.api.watches():
            watch.cut()
        await replica.serves("moved.test", within=5.0)
        for host, status in (("new-0", 200), ("new-19", 200), ("old-9", 404), ("old-19", 404)):
            assert (await replica.get(f"{host}.test")).status == status
        await _watched(cluster, replica)
        assert await replica.version() == version + 1
        assert cluster.lists(since=before) == 5  # nothing is left of any kind's history

        for watch in cluster.api.watches():
            watch.send_gone()
        await replica.until(lambda: cluster.lists(since=before) == 10, "everything is listed anew")
        await _watched(cluster, replica)
        await asyncio.sleep(0.2)  # nothing shall follow
        assert await replica.version() == version + 1
    assert load.failures == []


async def test_a_list_whose_token_expires_is_never_used_in_part(cluster: Cluster) -> None:
    """F-04: the table never shrinks while a list is read again and again."""
    hosts = itertools.cycle(["h.test", *(f"host-{number}.test" for number in range(HOSTS))])

    def any_host(nonce: str) -> bytes:
        return request("/load", host=next(hosts), nonce=nonce)

    cluster.put(*(route(f"r{number:04}", f"host-{number}.test") for number in range(HOSTS)))
    cluster.api.manners.bookmark_seconds = 3.0
    async with (
        cluster.replica(pace=20.0) as replica,
        steady_load(replica.http, make=any_host) as load,
    ):
        version = await replica.version()
        before = len(cluster.api.requests)
        slow = cluster.api.fault("list", "/ingresses$", delay=0.3, times=None)
        [watch] = cluster.api.watches("/ingresses")
        cluster.api.forget_history()
        watch.send_gone()
        for turn in (1, 2):
            await replica.until(lambda turn=turn: slow.hits > 2 * turn - 1, "the second page")
            cluster.api.expire_continue_tokens()
        cluster.put(route("late", "late.test"))
        await replica.serves("late.test", within=10.0)
        assert await replica.version() == version + 1
        expired = [seen for seen in cluster.api.requests[before:] if seen.status == 410]
        assert len(expired) == 2
    assert load.failures == []
    assert len(load.seconds) > 100


async def test_disordered_events_end_in_the_table_of_a_fresh_list(cluster: Cluster) -> None:
    """F-06: doubled events, those of long ago, of unknown objects, deletions twice."""
    rng = random.Random(7)
    past: list[bytes] = []

    def mangled(events: list[bytes]) -> Iterable[bytes]:
        past.extend(events)
        told = [event for event in events for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.3:
            told = [event.replace(b'"ADDED"', b'"MODIFIED"', 1) for event in told]
        if rng.random() < 0.3:
            told.reverse()
        if past and rng.random() < 0.3:
            told.append(rng.choice(past))
        return told

    async with cluster.replica(pace=60.0) as replica, steady_load(replica.http) as load:
        cluster.api.manners.mangle = mangled
        cluster.api.manners.bookmark_seconds = 1.0
        end = asyncio.get_running_loop().time() + SECONDS
        while asyncio.get_running_loop().time() < end:
            _churn(cluster, rng)
            await asyncio.sleep(0.01)
        cluster.api.manners.mangle = list
        cluster.put(route("last", "last.test"), service("last"))
        await replica.serves("last.test", within=5.0)
        async with cluster.replica(address="127.0.0.2") as fresh:
            expected = await _table(fresh)
            deadline = asyncio.get_running_loop().time() + 5
            while (seen := await _table(replica)) != expected:
                assert asyncio.get_running_loop().time() < deadline, (seen, expected)
                await asyncio.sleep(0.05)
    assert load.failures == []


async def _table(replica: Replica) -> tuple[object, object]:
    """What is served, without the version."""
    shown = (await replica.ask("/routes")).json()
    return shown["hosts"], shown["upstreams"]


def _churn(cluster: Cluster, rng: random.Random) -> None:
    """One of a few objects comes, changes or goes."""
    number = rng.randrange(6)
    name = f"c{number}"
    kind = rng.choice(["Ingress", "Service", "EndpointSlice"])
    if cluster.api.get(kind, "shop", name) is not None and rng.random() < 0.5:
        cluster.api.delete(kind, "shop", name)
    elif kind == "Ingress":
        cluster.put(route(name, f"{name}-{rng.randrange(3)}.test", f"c{rng.randrange(6)}"))
    elif kind == "Service":
        cluster.put(service(name, port=rng.choice([80, 81])))
    else:
        cluster.put(slice_of(name, cluster.backend, ready=rng.random() < 0.5))


async def test_watches_that_end_all_the_time_cost_no_list(cluster: Cluster) -> None:
    """F-07: one list of each kind at the start, and never again; every change is served."""
    async with cluster.replica() as replica, steady_load(replica.http) as load:
        version = await replica.version()
        turns = 0
        end = asyncio.get_running_loop().time() + SECONDS
        while asyncio.get_running_loop().time() < end:
            turns += 1
            for watch in cluster.api.watches():
                watch.end()
            cluster.put(route(f"turn-{turns}", f"turn-{turns}.test"))
            # Watches that end at once are not opened again within a second.
            await replica.serves(f"turn-{turns}.test", within=2.5)
        assert await replica.version() == version + turns
        assert cluster.lists() == 5
        assert await replica.metric("ingress_watch_requests_total", request="list") == 5
        assert await replica.metric("ingress_watch_failures_total") == 0
    assert load.failures == []


async def test_a_restored_backup_is_what_there_is(cluster: Cluster) -> None:
    """F-08: versions run backwards; objects are gone, back, or others of the same name."""
    cluster.put(route("stays", "stays.test"), route("deleted", "deleted.test"))
    cluster.put(route("moves", "before.test"))
    async with cluster.replica() as replica, steady_load(replica.http) as load:
        backup = cluster.api.store.backup()
        cluster.api.delete("Ingress", "shop", "deleted")
        cluster.api.delete("Ingress", "shop", "stays")
        cluster.put(route("stays", "stays.test"), route("moves", "after.test"))
        cluster.put(*(route(f"new-{number}", f"new-{number}.test") for number in range(20)))
        await replica.serves("new-19.test", within=2.0)
        await replica.serves("deleted.test", 404, within=2.0)
        version = await replica.version()
        cluster.api.restore(backup)
        await replica.serves("deleted.test", within=5.0)
        for host, status in (("stays", 200), ("before", 200), ("after", 404), ("new-19", 404)):
            assert (await replica.get(f"{host}.test")).status == status
        assert await replica.version() == version + 1
        cluster.put(route("later", "later.test"))
        await replica.serves("later.test", within=2.0)
    assert load.failures == []
