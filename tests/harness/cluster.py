"""A cluster source that reads from a fake API server, and what it handed over."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from ingress_controller.logs import Log
from ingress_controller.objects.decode import KubernetesObject
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.sources.cluster import ClusterSource, Scope
from ingress_controller.sources.kube_api import Access, KubeApi
from ingress_controller.sources.source import KindState
from ingress_controller.sources.watch_machine import Pace
from ingress_controller.store import Name, ObjectChange
from tests.harness.kube_api import FakeKubeApi
from tests.harness.waiting import until

HASTY = Pace(
    first_delay=0.02,
    longest_delay=0.1,
    healthy_after=5.0,
    silence=0.4,
    brief=0.05,
    probe_every=0.02,
    page_timeout=1.0,
    check_timeout=1.0,
    attempts=1000,
)
"""Everything that takes seconds takes milliseconds."""


class Reading:
    """A `Receiver` that keeps everything."""

    def __init__(self, source: ClusterSource, api: KubeApi) -> None:
        self.source = source
        self.api = api
        self.objects: dict[ObjectKey, KubernetesObject] = {}
        self.calls: list[Sequence[ObjectChange]] = []
        self.changes: list[ObjectChange] = []
        self.idle: list[ObjectChange] = []
        """Changes that changed nothing: there should be none."""
        self.times_synced = 0
        self.reports = 0
        self.statuses: Counter[Name] = Counter()
        """How often `on_status` was called."""
        source.on_status = lambda name: self.statuses.update([name])

    def changed(self, changes: Sequence[ObjectChange]) -> None:
        self.calls.append(changes)
        for change in changes:
            self.changes.append(change)
            if self.objects.get(change.key) == change.object:
                self.idle.append(change)
            if change.object is None:
                self.objects.pop(change.key, None)
            else:
                self.objects[change.key] = change.object

    def synced(self) -> None:
        self.times_synced += 1

    def reported(self) -> None:
        self.reports += 1

    def names(self, kind: str) -> list[str]:
        return sorted(key.name for key in self.objects if key.kind == kind)

    def state(self, kind: str, namespace: str = "", *, alone: bool = False) -> KindState:
        [found] = [
            state
            for state in self.source.kinds
            if (state.kind, state.namespace, bool(state.alone)) == (kind, namespace, alone)
        ]
        return found

    def codes(self) -> list[str]:
        return [diagnostic.code.value for diagnostic in self.source.diagnostics]

    async def until_synced(self, times: int = 1) -> None:
        await until(lambda: self.times_synced >= times, f"synced {times} times")


@contextlib.asynccontextmanager
async def reading(
    fake: FakeKubeApi,
    folder: Path,
    scope: Scope | None = None,
    *,
    pace: Pace = HASTY,
    log: Log | None = None,
) -> AsyncIterator[Reading]:
    """Read from the server while the block lasts."""
    api = await KubeApi.connect(Access(kubeconfig=fake.kubeconfig(folder)))
    source = ClusterSource(api, scope or Scope(), log or Log("off", "error"), pace=pace)
    read = Reading(source, api)
    task = asyncio.create_task(source.run(read))
    try:
        yield read
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=5)
        await api.close()
        assert task.cancelled() or task.exception() is None, task.exception()


def ingress(name: str, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return _object("Ingress", "networking.k8s.io/v1", name, namespace) | {"spec": spec}


def service(name: str, namespace: str = "shop", port: int = 80) -> dict[str, Any]:
    spec = {"ports": [{"port": port}]}
    return _object("Service", "v1", name, namespace) | {"spec": spec}


def slices(name: str, *addresses: str, namespace: str = "shop") -> dict[str, Any]:
    item = _object("EndpointSlice", "discovery.k8s.io/v1", name, namespace)
    item["metadata"]["labels"] = {"kubernetes.io/service-name": name}
    endpoints = [{"addresses": [address], "nodeName": "n1"} for address in addresses]
    return item | {"addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 8080}]}


def secret(
    name: str, namespace: str = "shop", type_: str = "kubernetes.io/tls", value: str = "eA=="
) -> dict[str, Any]:
    item = _object("Secret", "v1", name, namespace)
    return item | {"type": type_, "data": {"tls.crt": value}}


def config_map(name: str, namespace: str = "shop", **data: str) -> dict[str, Any]:
    return _object("ConfigMap", "v1", name, namespace) | {"data": data}


def ingress_class(name: str) -> dict[str, Any]:
    item = _object("IngressClass", "networking.k8s.io/v1", name, "")
    return item | {"spec": {"controller": "python-ingress.dev/controller"}}


def _object(kind: str, version: str, name: str, namespace: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"kind": kind, "apiVersion": version, "metadata": metadata}
