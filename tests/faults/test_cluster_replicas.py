"""Replicas and the Lease by which one of them leads (F-31). Clocks run five times faster.

A few seconds by default; ``FAULT_SECONDS=60`` runs the full length.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import pytest

from tests.harness.load import steady_load
from tests.harness.replica import SECONDS, Cluster, Json, Replica, route

pytestmark = pytest.mark.timeout(5 * SECONDS + 120)

PACE = 5.0
LEASE = 15.0 / PACE
"""Seconds after which others may take the Lease."""
DEADLINE = 10.0 / PACE
"""Seconds after which a leader that cannot renew it has stopped writing."""
SLACK = 1.0
"""For what is not faster than in reality: processes on a busy machine."""
ADDRESSES = ("192.0.2.1", "192.0.2.2")
"""What each replica publishes, so that it is seen who wrote."""


@contextlib.asynccontextmanager
async def pair_of(cluster: Cluster) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two replicas; the first one leads."""
    cluster.put(*(route(f"r{number}", f"r{number}.test") for number in range(10)))
    async with contextlib.AsyncExitStack() as stack:
        replicas = []
        for number, address in enumerate(ADDRESSES):
            made = cluster.replica(
                *("--publish-address", address),
                pace=PACE,
                address=f"127.0.0.{number + 1}",
                variables={"POD_NAME": f"replica-{number}"},
            )
            replicas.append(await stack.enter_async_context(made))
            if not number:
                await replicas[0].until(lambda: _leads(replicas[0]), "the first one leads")
        first, second = replicas
        await first.until(lambda: _all_have(cluster, ADDRESSES[0]), "all have its address")
        yield first, second


def _leads(replica: Replica) -> bool:
    begun = len(replica.program.events("this process leads"))
    return begun > len(replica.program.events("this process does not lead any more"))


def _status(ingress: Json) -> list[str]:
    return [each["ip"] for each in ingress["status"]["loadBalancer"].get("ingress", ())]


def _all_have(cluster: Cluster, address: str) -> bool:
    return all(_status(ingress) == [address] for ingress in cluster.api.objects("Ingress"))


def _writers(cluster: Cluster, since: int = 0) -> list[str]:
    """Who wrote a status, in the order of the requests."""
    return [
        seen.json["status"]["loadBalancer"]["ingress"][0]["ip"]
        for seen in cluster.api.requests[since:]
        if seen.verb == "patch" and seen.path.endswith("/status")
    ]


def _holder(cluster: Cluster) -> str:
    [lease] = cluster.api.objects("Lease")
    return str(lease["spec"]["holderIdentity"])


async def test_status_is_written_by_one(cluster: Cluster) -> None:
    async with pair_of(cluster) as (first, second), steady_load(second.http) as load:
        cluster.put(route("late", "late.test"))
        await second.serves("late.test", within=1.0)
        await first.until(lambda: _all_have(cluster, ADDRESSES[0]), "the new one has it, too")
        await asyncio.sleep(SECONDS)
        assert _writers(cluster) == [ADDRESSES[0]] * len(cluster.api.objects("Ingress"))
        assert not second.program.events("this process leads")
        assert _holder(cluster).startswith("replica-0")
    assert load.failures == []


@pytest.mark.parametrize("how", ["503", "hangs"] if SECONDS > 5 else ["hangs"])
async def test_without_the_lease_nobody_writes_and_everybody_serves(
    cluster: Cluster, how: str
) -> None:
    async with (
        pair_of(cluster) as (first, second),
        steady_load(first.http, rate=100) as load,
        steady_load(second.http, rate=100) as other,
    ):
        fault = cluster.api.fault(
            "*", "/leases", times=None, **({"status": 503} if how == "503" else {"hang": True})
        )
        await first.until(lambda: not _leads(first), "it stops", within=DEADLINE + SLACK)
        before = len(cluster.api.requests)
        cluster.put(route("late", "late.test"))
        for replica in (first, second):
            await replica.serves("late.test", within=1.0)
            assert (await replica.ask("/readyz")).status == 200
        await asyncio.sleep(SECONDS)
        assert _writers(cluster, before) == []
        asked = [seen for seen in cluster.api.requests[before:] if "/leases" in seen.path]
        assert len(asked) <= 2 * (2 + SECONDS * PACE / 2), "it is asked for in a hurry"
        fault.withdraw()
        # Who failed for long asks less often.
        patience = 3 * LEASE + SLACK + 1.5 * SECONDS
        await first.until(lambda: _leads(first) or _leads(second), "somebody leads", patience)
        leader = 0 if _leads(first) else 1
        await first.until(lambda: _all_have(cluster, ADDRESSES[leader]), "all have an address")
        assert set(_writers(cluster, before)) == {ADDRESSES[leader]}
    assert load.failures == []
    assert other.failures == []


async def test_a_leader_that_dies_is_followed_within_the_lease_time(cluster: Cluster) -> None:
    async with pair_of(cluster) as (first, second), steady_load(second.http) as load:
        first.kill()
        before = len(cluster.api.requests)
        cluster.put(route("late", "late.test"))
        await second.serves("late.test", within=1.0)
        await second.until(lambda: _leads(second), "it leads", within=1.3 * LEASE + SLACK)
        await second.until(lambda: _all_have(cluster, ADDRESSES[1]), "all have its address")
        assert set(_writers(cluster, before)) == {ADDRESSES[1]}
    assert load.failures == []


async def test_a_leader_that_was_paused_does_not_write_any_more(cluster: Cluster) -> None:
    """Its process stood still for longer than the Lease; its workers went on."""
    async with (
        pair_of(cluster) as (first, second),
        steady_load(first.http, rate=100) as load,
        steady_load(second.http, rate=100) as other,
    ):
        first.program.process.send_signal(signal.SIGSTOP)
        try:
            await second.until(lambda: _leads(second), "it leads", within=1.3 * LEASE + SLACK)
            before = len(cluster.api.requests)
            await second.until(lambda: _all_have(cluster, ADDRESSES[1]), "all have its address")
            cluster.put(route("late", "late.test"))
        finally:
            first.program.process.send_signal(signal.SIGCONT)
        await first.serves("late.test", within=5.0)
        await first.until(lambda: not _leads(first), "it knows")
        await second.until(lambda: _all_have(cluster, ADDRESSES[1]), "the new one has it, too")
        await asyncio.sleep(SECONDS / 2)
        assert set(_writers(cluster, before)) == {ADDRESSES[1]}
        assert _holder(cluster).startswith("replica-1")
    assert load.failures == []
    assert other.failures == []


async def test_a_lease_that_is_taken_or_deleted_by_hand_has_one_holder_again(
    cluster: Cluster,
) -> None:
    async with pair_of(cluster) as (first, second), steady_load(second.http) as load:
        [lease] = cluster.api.objects("Lease")
        taken = lease | {"kind": "Lease"}
        taken["spec"] = lease["spec"] | {"holderIdentity": "somebody"}
        cluster.api.put(taken)
        await first.until(lambda: not _leads(first), "it stops", within=DEADLINE + SLACK)
        await first.until(
            lambda: _leads(first) or _leads(second), "one leads", within=3 * LEASE + SLACK
        )
        cluster.api.delete("Lease", lease["metadata"]["namespace"], lease["metadata"]["name"])
        end = asyncio.get_running_loop().time() + max(SECONDS, LEASE)
        while asyncio.get_running_loop().time() < end:
            assert not (_leads(first) and _leads(second))
            await asyncio.sleep(0.05)
        leader = 0 if _leads(first) else 1
        assert _holder(cluster).startswith(f"replica-{leader}")
        await first.until(lambda: _all_have(cluster, ADDRESSES[leader]), "all have an address")
    assert load.failures == []
