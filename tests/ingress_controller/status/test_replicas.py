"""Two replicas on one API server: status and Events are written by one at a time (fault F-31)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from ingress_controller.leader.elector import Elector
from ingress_controller.leader.lease import Timing
from ingress_controller.sources.kube_api import Access, KubeApi
from ingress_controller.status.writer import StatusWriter
from ingress_controller.store import Name
from tests.harness.waiting import until
from tests.ingress_controller.status.cluster import Cluster, cluster, running

TIMING = Timing(lease=2.0, renew_deadline=1.2, retry=0.1, request=0.4)
OURS = ("192.0.2.1",)


class Replica:
    """What writes, in one of them; both see the same cluster."""

    def __init__(self, it: Cluster, api: KubeApi, name: str) -> None:
        self.it = it
        self.api = api
        self.elector = Elector(api, Name("n", "lease"), name, it.log, timing=TIMING)
        self.writer = StatusWriter(api, it.source.statuses, self.elector, it.log)
        self.writer.publish(OURS)

    @classmethod
    @asynccontextmanager
    async def runs(cls, it: Cluster, folder: Path, name: str) -> "AsyncIterator[Replica]":
        api = await KubeApi.connect(Access(kubeconfig=it.fake.kubeconfig(folder)))
        replica = cls(it, api, name)
        async with running(replica.elector.run()), running(replica.writer.run()):
            yield replica
        await api.close()


class Replicas:
    def __init__(self, it: Cluster, *replicas: Replica) -> None:
        self.it = it
        self.all = replicas
        it.source.on_status = self._seen

    def _seen(self, name: Name) -> None:
        for replica in self.all:
            replica.writer.seen(name)

    async def serve(self, *names: Name) -> None:
        """The workers of both serve them."""
        await self.it.knows(names[-1])
        for replica in self.all:
            replica.writer.confirm({name: self.it.standing(name) for name in names})

    @property
    def leaders(self) -> list[Replica]:
        return [replica for replica in self.all if replica.elector.leading]

    async def written(self, *names: Name) -> None:
        wanted = {"ingress": [{"ip": "192.0.2.1"}]}
        await until(lambda: all(self.it.status(name) == wanted for name in names), "written")


@pytest.fixture
async def replicas(tmp_path: Path) -> AsyncIterator[Replicas]:
    async with cluster(tmp_path) as it, AsyncExitStack() as stack:
        a = await stack.enter_async_context(Replica.runs(it, tmp_path, "a"))
        await until(lambda: a.elector.leading, "a leads")
        b = await stack.enter_async_context(Replica.runs(it, tmp_path, "b"))
        yield Replicas(it, a, b)


async def test_one_writes_until_it_is_killed_and_then_the_other(replicas: Replicas) -> None:
    it, (a, b) = replicas.it, replicas.all
    before = [it.ingress(f"before-{number}") for number in range(30)]
    await replicas.serve(*before)
    await replicas.written(*before)
    await until(lambda: a.writer.counts.written == 30, "a knows it")
    assert b.writer.counts.written == 0

    await a.api.close()
    killed = time.monotonic()
    meanwhile = [it.ingress(f"meanwhile-{number}") for number in range(30)]
    await replicas.serve(*meanwhile)
    while not b.elector.leading:
        assert len(replicas.leaders) <= 1
        assert time.monotonic() - killed < 10
        await asyncio.sleep(0.002)
    await replicas.written(*meanwhile)
    await until(lambda: b.writer.counts.written == 30, "b knows it")
    assert a.writer.counts.written == 30
    assert len(it.fake.requested("patch", "/status")) == 60


async def test_without_the_api_nobody_writes_and_its_return_makes_no_storm(
    replicas: Replicas,
) -> None:
    """Fault F-01, and the return."""
    it, (a, _) = replicas.it, replicas.all
    shop = it.ingress("shop")
    await replicas.serve(shop)
    await replicas.written(shop)
    down = it.fake.fault("*", "leases|status", status=500, times=None)
    await until(lambda: not a.elector.leading, "nobody leads")
    late = [it.ingress(f"late-{number}") for number in range(20)]
    await replicas.serve(*late)
    await asyncio.sleep(0.5)
    assert not replicas.leaders
    assert not any("late" in seen.path for seen in it.fake.requests), "who does not lead is quiet"
    down.withdraw()
    for replica in replicas.all:
        replica.elector.hurry()
    await replicas.written(*late)
    assert len(it.fake.requested("patch", "late")) == 20
