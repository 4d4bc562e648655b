"""A fake API server, what a source knows of it, and leading that a test decides."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from ingress_controller.leader.elector import Listener
from ingress_controller.logs import Log
from ingress_controller.sources.cluster import ClusterSource, Scope
from ingress_controller.sources.kube_api import Access, KubeApi
from ingress_controller.store import Name, ObjectChange
from ingress_controller.translate.translator import Standing
from tests.harness.kube_api import FakeKubeApi
from tests.harness.waiting import until


class Lead:
    """A `Leadership` that a test turns on and off."""

    def __init__(self, *, leading: bool) -> None:
        self.leading = leading
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)
        if self.leading:
            listener(True)

    def turn(self, *, on: bool) -> None:
        self.leading = on
        for listener in self._listeners:
            listener(on)


class Cluster:
    """What a test has in hand."""

    def __init__(self, fake: FakeKubeApi, api: KubeApi, log: Log, stream: StringIO) -> None:
        self.fake = fake
        self.api = api
        self.log = log
        self.stream = stream
        self.lead = Lead(leading=True)
        self.source = ClusterSource(api, Scope(), log)
        self.changes: list[ObjectChange] = []
        """All that the source told."""
        self.is_synced = asyncio.Event()

    @property
    def logged(self) -> str:
        return self.stream.getvalue()

    # A `Receiver`.

    def changed(self, changes: Sequence[ObjectChange]) -> None:
        self.changes += changes

    def synced(self) -> None:
        self.is_synced.set()

    def reported(self) -> None:
        """Of no interest here."""

    # Objects.

    def ingress(self, name: str, *addresses: str, namespace: str = "shop") -> Name:
        """Put one, with this status."""
        self.fake.put(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"rules": [{"host": f"{name}.test"}]},
                "status": {"loadBalancer": {"ingress": [{"ip": each} for each in addresses]}},
            }
        )
        return Name(namespace, name)

    def write_status(self, name: Name, *addresses: str) -> None:
        """As another controller does it."""
        stored = self.fake.get("Ingress", *name)
        assert stored is not None
        status = {"loadBalancer": {"ingress": [{"ip": each} for each in addresses]}}
        self.fake.put({**stored, "kind": "Ingress", "status": status})

    def status(self, name: Name) -> Any:
        """`status.loadBalancer` as the API has it."""
        stored = self.fake.get("Ingress", *name)
        assert stored is not None
        return stored["status"]["loadBalancer"]

    def standing(self, name: Name, owner: Any = "ours") -> Standing:
        stored = self.fake.get("Ingress", *name)
        assert stored is not None
        return Standing(stored["metadata"]["uid"], owner)

    async def knows(self, name: Name, *addresses: str) -> None:
        """Wait until the source knows this status."""
        await until(
            lambda: (
                name in self.source.statuses
                and self.source.statuses[name].addresses == tuple(sorted(addresses))
            ),
            f"the source knows {addresses}",
        )


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    """One, whose source runs."""
    stream = StringIO()
    log = Log("text", "debug", stream)
    async with FakeKubeApi() as fake:
        api = await KubeApi.connect(Access(kubeconfig=fake.kubeconfig(folder)))
        it = Cluster(fake, api, log, stream)
        async with running(it.source.run(it)):
            await asyncio.wait_for(it.is_synced.wait(), 10)
            yield it
        await api.close()
    log.close()


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[asyncio.Task[None]]:
    """A coroutine that runs until the block ends."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
