"""The controller as its manifests install it, and what can be asked of it."""

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.e2e.kube import Kube, Object, path_of
from tests.e2e.outside import Edge

ROOT = Path(__file__).parents[2]
BASE = ROOT / "manifests" / "base"
NAME = "python-ingress-controller"
NAMESPACE = "python-ingress"
LEASE = "python-ingress-leader"
ADMIN_PORT = 10254
PATIENCE = 60.0


def run(*words: str) -> str:
    """Run a program to its end; gives what it prints.

    Raises:
        AssertionError: it failed; with what it said.
    """
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE + 30)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip()}"
    return done.stdout


def kubectl(*words: str) -> str:
    return run("kubectl", *words)


def clusterctl(*words: str) -> str:
    """Act on the cluster of its own that the tests run in (localkube/clusterctl.py)."""
    return run("clusterctl", *words)


class Controller:
    """One installation: a Deployment and the Service in front of it."""

    def __init__(self, namespace: str = NAMESPACE, name: str = NAME) -> None:
        self.namespace = namespace
        self.name = name
        self.edge = Edge(os.environ.get("E2E_ADDRESS") or self._address())

    @classmethod
    def install(cls, folder: Path, namespace: str = NAMESPACE, name: str = NAME) -> "Controller":
        """Apply a folder by `kubectl apply -k` and wait until all its Pods are ready."""
        kubectl("apply", "-k", str(folder))
        rollout(namespace, name)
        return cls(namespace, name)

    def _address(self) -> str:
        end = time.monotonic() + PATIENCE
        while True:
            path = "-o=jsonpath={.status.loadBalancer.ingress[0].ip}"
            if address := kubectl("get", "service", self.name, "-n", self.namespace, path):
                return address
            assert time.monotonic() < end, "the Service gets no address; set E2E_ADDRESS"
            time.sleep(0.1)

    async def pods(self, kube: Kube) -> list[Object]:
        """Its Pods that do not end."""
        label = f"app.kubernetes.io/name={self.name}"
        found = await kube.items("Pod", self.namespace, labelSelector=label)
        if not found:  # an overlay with a prefix keeps the label of the base
            label = f"app.kubernetes.io/name={NAME}"
            found = await kube.items("Pod", self.namespace, labelSelector=label)
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    async def ask(self, kube: Kube, pod: str, path: str) -> str:
        """What the admin port of a Pod answers, by way of the API server."""
        proxy = f"{path_of('Pod', self.namespace, f'{pod}:{ADMIN_PORT}')}/proxy"
        return await kube.text(f"{proxy}{path}")

    async def metrics(self, kube: Kube, pod: str) -> dict[str, float]:
        """The metrics of a Pod, by name with labels."""
        found = {}
        for line in (await self.ask(kube, pod, "/metrics")).splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    async def leader(self, kube: Kube) -> str:
        """Who holds the Lease; empty when nobody does."""
        lease = await kube.get("Lease", self.namespace, LEASE)
        return str(lease["spec"].get("holderIdentity") or "")

    async def leading_pod(self, kube: Kube, within: float = 30.0) -> str:
        """The Pod that holds the Lease; waits for one that lives."""
        end = time.monotonic() + within
        while True:
            holder = await self.leader(kube)
            for pod in await self.pods(kube):
                if holder.startswith(pod["metadata"]["name"]):
                    return str(pod["metadata"]["name"])
            assert time.monotonic() < end, f"no Pod holds the Lease: {holder!r}"
            await asyncio.sleep(0.1)

    async def ready(self, kube: Kube, replicas: int, within: float = PATIENCE) -> None:
        """Wait until so many Pods are ready and no other is there that does not end."""
        end = time.monotonic() + within
        while True:
            pods = await self.pods(kube)
            if len(pods) == replicas and all(is_ready(pod) for pod in pods):
                return
            names = [(pod["metadata"]["name"], is_ready(pod)) for pod in pods]
            assert time.monotonic() < end, f"not {replicas} ready Pods within {within} s: {names}"
            await asyncio.sleep(0.1)

    def log(self, pod: str, *words: str) -> list[dict[str, Any]]:
        """The events that a Pod has logged so far."""
        lines = kubectl("logs", pod, "-n", self.namespace, *words).splitlines()
        events = []
        for line in lines:
            try:
                events.append(json.loads(line))
            except ValueError:
                events.append({"level": "unreadable", "message": line})
        return events


def is_ready(pod: Object) -> bool:
    """Whether the Pod's condition Ready is true."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def rollout(namespace: str, name: str) -> None:
    """Wait until a Deployment has rolled out.

    Raises:
        AssertionError: it does not; with the end of what its Pods have logged.
    """
    where = (f"deployment/{name}", "-n", namespace)
    try:
        kubectl("rollout", "status", *where, "--timeout=60s")
    except AssertionError as failure:
        try:
            log = kubectl("logs", *where, "--tail=10", "--all-pods=true")
        except AssertionError as nothing:
            log = str(nothing)
        raise AssertionError(f"{failure}\n{log}") from None


def overlay(
    folder: Path,
    *,
    resources: Sequence[Path] = (BASE,),
    components: Sequence[Path] = (),
    namespace: str = "",
    prefix: str = "",
    patches: Sequence[Object] = (),
) -> Path:
    """Write a kustomization into the folder; gives the folder.

    Args:
        patches: ``{"target": …, "patch": …}`` as kustomize wants them.
    """
    content: Object = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(path.resolve(), folder.resolve()) for path in resources],
        "components": [os.path.relpath(path.resolve(), folder.resolve()) for path in components],
        "patches": [{**entry, "patch": json.dumps(entry["patch"], indent=1)} for entry in patches],
    }
    if namespace:
        content["namespace"] = namespace
    if prefix:
        content["namePrefix"] = prefix
    if image := os.environ.get("E2E_IMAGE"):
        name, _, tag = re.sub(r"(:[^/:]+)?$", r"\1", image).rpartition(":")
        content["images"] = [
            {"name": "ghcr.io/python-ingress/controller", "newName": name, "newTag": tag}
        ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kustomization.yaml").write_text(json.dumps(content, indent=1))
    return folder
