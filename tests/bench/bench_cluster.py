"""What reading a cluster costs: first lists, events, rest. Prints, asserts nothing.

    .venv/bin/python -m tests.bench.bench_cluster [SCALE]

The fake API server runs in a process of its own. SCALE 1 (the default) stands for 5,000 Ingresses,
5,000 Services, 10,000 EndpointSlices and 2,000 TLS Secrets.
"""

import asyncio
import gc
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from ingress_controller.logs import Log
from ingress_controller.sources.cluster import ClusterSource, Scope
from ingress_controller.sources.kube_api import Access, KubeApi
from ingress_controller.store import ObjectChange
from tests.harness.kube_api import FakeKubeApi
from tests.harness.waiting import until

EVENTS = 5_000
REST_SECONDS = 20.0
MANAGED = [
    {
        "manager": "kubectl-client-side-apply",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {f"f:{name}": {f"f:{inner}": {} for inner in "abcdef"} for name in "ghijkl"},
    }
]


def objects(scale: float) -> list[dict[str, object]]:
    """As a cluster has them: with what we do not read, too."""
    found: list[dict[str, object]] = []
    for number in range(int(5_000 * scale)):
        name, namespace = f"shop-{number}", f"team-{number % 50}"
        path = {"service": {"name": name, "port": {"number": 80}}}
        paths = [{"path": text, "pathType": "Prefix", "backend": path} for text in ("/", "/api/v1")]
        host = f"{name}.example.com"
        spec = {
            "ingressClassName": "python",
            "rules": [{"host": host, "http": {"paths": paths}}],
            "tls": [{"hosts": [host], "secretName": f"tls-{number % 2000}"}],
        }
        found.append(_object("Ingress", namespace, name, spec=spec))
        ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
        spec = {"type": "ClusterIP", "clusterIP": "10.96.0.1", "ports": ports}
        found.append(_object("Service", namespace, name, spec=spec))
    for number in range(int(10_000 * scale)):
        service, namespace = f"shop-{number // 2}", f"team-{number // 2 % 50}"
        endpoints = [
            {
                "addresses": [f"10.{number >> 8}.{number & 255}.{last}"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"node-{last}",
                "targetRef": {"kind": "Pod", "name": f"{service}-{last}", "uid": "u" * 36},
            }
            for last in (1, 2)
        ]
        item = _object("EndpointSlice", namespace, f"{service}-{number % 2}", endpoints=endpoints)
        labels = {
            "kubernetes.io/service-name": service,
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }
        item["metadata"]["labels"] = labels  # type: ignore[index]  # a mapping
        found.append(item | {"addressType": "IPv4", "ports": [{"name": "http", "port": 8080}]})
    for number in range(int(2_000 * scale)):
        data = {"tls.crt": "QUJD" * 600, "tls.key": "QUJD" * 430}
        item = _object("Secret", f"team-{number % 50}", f"tls-{number}", data=data)
        found.append(item | {"type": "kubernetes.io/tls"})
    return found


def _object(kind: str, namespace: str, name: str, **fields: object) -> dict[str, object]:
    metadata = {
        "name": name,
        "namespace": namespace,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": MANAGED,
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}" * 200},
    }
    return {"kind": kind, "metadata": metadata} | fields


def serve(scale: float, pipe: Connection) -> None:
    """The server's process: tells its port, then writes when it is told to."""

    async def run() -> None:
        async with FakeKubeApi() as fake:
            for item in objects(scale):
                fake.put(item)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(fake.kubeconfig(Path(folder)))
                pipe.send(path.read_text())  # noqa: ASYNC240  # nobody else waits
            while True:
                rate = await asyncio.to_thread(pipe.recv)
                if rate is None:
                    return
                for number in range(EVENTS):
                    item = fake.get("EndpointSlice", "team-0", "shop-0-0")
                    assert item is not None
                    address = f"10.1.{number >> 8}.{number & 255}"
                    fake.put(
                        {"kind": "EndpointSlice", **item, "endpoints": [{"addresses": [address]}]}
                    )
                    if rate and number % 10 == 9:
                        await asyncio.sleep(10 / rate)

    asyncio.run(run())


class Counting:
    """A receiver that counts; keeps the objects, as the store does."""

    def __init__(self) -> None:
        self.objects: dict[object, object] = {}
        self.changes = 0
        self.synced_at = 0.0

    def changed(self, changes: Sequence[ObjectChange]) -> None:
        self.changes += len(changes)
        for change in changes:
            self.objects[change.key] = change.object

    def synced(self) -> None:
        self.synced_at = time.perf_counter()

    def reported(self) -> None:
        pass


def memory() -> float:
    """MiB of this process that are in use."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise LookupError


async def gaps(found: list[float]) -> None:
    """How long the loop kept others waiting, in seconds of its own CPU time."""
    while True:
        before = time.thread_time()
        await asyncio.sleep(0)
        found.append(time.thread_time() - before)
        await asyncio.sleep(0.001)


async def measure(kubeconfig: str, pipe: Connection) -> None:
    api = await KubeApi.connect(Access(kubeconfig=kubeconfig))
    source = ClusterSource(api, Scope(), Log("off", "error"))
    receiver = Counting()
    waits: list[float] = []
    ticker = asyncio.create_task(gaps(waits))
    gc.collect()
    held, begin, cpu = memory(), time.perf_counter(), time.process_time()
    task = asyncio.create_task(source.run(receiver))
    await until(lambda: receiver.synced_at, "all is listed", within=60)
    print(f"{receiver.changes} objects listed")
    print(f"  wall {receiver.synced_at - begin:.2f} s (the server included)")
    print(f"  CPU {time.process_time() - cpu:.2f} s")
    waits.sort()
    worst, p99 = waits[-1] * 1000, waits[-1 - len(waits) // 100] * 1000
    print(f"  the loop kept others waiting {worst:.1f} ms at most, p99 {p99:.1f} ms")
    ticker.cancel()
    gc.collect()
    print(f"  memory {memory() - held:.1f} MiB; peak of the process {_peak():.1f} MiB")
    for rate in (0, 500):
        await asyncio.sleep(0.5)
        changes, cpu = receiver.changes, time.process_time()
        pipe.send(rate)
        while receiver.changes < changes + EVENTS:  # noqa: ASYNC110  # looking costs next to nothing
            await asyncio.sleep(0.1)
        spent = (time.process_time() - cpu) / EVENTS
        print(f"events, {f'{rate} a second' if rate else 'at once'}: {spent * 1e6:.0f} µs each")
    await asyncio.sleep(1.0)
    cpu = time.process_time()
    await asyncio.sleep(REST_SECONDS)
    share = (time.process_time() - cpu) / REST_SECONDS
    print(f"at rest with {len(source.kinds)} watches: {share * 100:.3f} % of a core")
    task.cancel()
    await asyncio.wait([task])
    await api.close()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(scale, theirs), daemon=True)
    server.start()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        path.write_text(ours.recv())
        asyncio.run(measure(str(path), ours))
    ours.send(None)
    server.join(5)


if __name__ == "__main__":
    main()
