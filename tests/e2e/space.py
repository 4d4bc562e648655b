"""A namespace of its own for each test, and echo backends in it."""

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e import objects
from tests.e2e.kube import Kube, Object, RefusedError, path_of

ECHO = Path(__file__).with_name("echo.py")
IMAGE = os.environ.get("E2E_IMAGE", "ghcr.io/python-ingress/controller:e2e")
"""Any image with Python; this one is there anyway."""
START = 60.0
"""Seconds within which Pods have to be ready."""


class Space:
    """An asynchronous context manager; the namespace is deleted at the end."""

    def __init__(self, kube: Kube, *, name: str = "", image: str = IMAGE) -> None:
        self.kube = kube
        self.image = image
        self.name = name or f"e2e-{secrets.token_hex(3)}"
        self._object: Object = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self.name},
        }

    async def __aenter__(self) -> Self:
        await self.kube.create(self._object)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            await self.kube.delete(self._object)
        except RefusedError as refusal:
            if refusal.status not in (404, 409):
                raise

    def own(self, obj: Object) -> Object:
        """The object, in this namespace."""
        return {**obj, "metadata": {**obj["metadata"], "namespace": self.name}}

    async def create(self, *all_of_them: Object) -> Object:
        """Create in this order; gives the last one as the API has it."""
        made: Object = {}
        for obj in all_of_them:
            made = await self.kube.create(self.own(obj))
        return made

    async def apply(self, obj: Object) -> Object:
        return await self.kube.apply(self.own(obj))

    async def replace(self, obj: Object) -> Object:
        return await self.kube.replace(self.own(obj))

    async def delete(self, obj: Object) -> None:
        await self.kube.delete(self.own(obj))

    async def get(self, kind: str, name: str) -> Object:
        return await self.kube.get(kind, self.name, name)

    # Backends

    async def stand(self, *services: str, on: list[str]) -> None:
        """Services without selector whose endpoints are these Pods' addresses; the answers tell
        them apart by port: the first has 3000, and so on."""
        for port, name in zip(objects.ECHO_PORTS, services, strict=False):
            await self.create(
                objects.service(name, selects=False),
                objects.endpoint_slice(name, *on, port=port),
            )

    async def deploy(
        self, *names: str, replicas: int = 1, drain: float = 0, make_service: bool = True
    ) -> None:
        """Echo Deployments, each with a Service of its name unless told otherwise; waits until
        all their Pods are ready."""
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "echo"},
            "data": {"echo.py": ECHO.read_text()},
        }
        await self.apply(config)
        for name in names:
            await self.apply(
                objects.echo_deployment(name, self.image, replicas=replicas, drain=drain)
            )
            if make_service:
                await self.create(objects.service(name))
        for name in names:
            await self.ready(name, replicas)

    async def ready(self, name: str, replicas: int, within: float = START) -> None:
        """Wait until so many Pods of a Deployment are ready, and all are of its newest version."""
        end = time.monotonic() + within
        while True:
            deployment = await self.get("Deployment", name)
            status = deployment.get("status", {})
            if (
                status.get("observedGeneration") == deployment["metadata"]["generation"]
                and status.get("readyReplicas", 0) == replicas
                and status.get("updatedReplicas", 0) == replicas
                and status.get("replicas", 0) == replicas
            ):
                return
            assert time.monotonic() < end, f"{name} not ready within {within} s: {status}"
            await asyncio.sleep(0.05)

    async def addresses(self, app: str) -> list[str]:
        """Addresses of the Pods of this name, in order of the Pods' names."""
        pods = await self.kube.items("Pod", self.name, labelSelector=f"app={app}")
        return [
            pod["status"]["podIP"]
            for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))
            if not pod["metadata"].get("deletionTimestamp")
        ]

    async def scale(self, name: str, replicas: int) -> None:
        path = path_of("Deployment", self.name, name)
        await self.kube.call(
            "PATCH", path, {"spec": {"replicas": replicas}}, kind="application/merge-patch+json"
        )
        await self.ready(name, replicas)

    # What the controller says

    async def published(self, name: str) -> list[str]:
        """The addresses in the status of an Ingress."""
        shown = (await self.get("Ingress", name)).get("status", {}).get("loadBalancer", {})
        return [entry.get("ip") or entry["hostname"] for entry in shown.get("ingress") or []]

    async def until_published(self, name: str, wanted: list[str], within: float = 10.0) -> None:
        """Wait until the status shows exactly these addresses."""
        end = time.monotonic() + within
        while (shown := await self.published(name)) != wanted:
            assert time.monotonic() < end, f"{name} shows {shown}, not {wanted}, after {within} s"
            await asyncio.sleep(0.02)

    async def events(self, name: str) -> list[Object]:
        """Events about an Ingress."""
        chosen = f"involvedObject.kind=Ingress,involvedObject.name={name}"
        return await self.kube.items("Event", self.name, fieldSelector=chosen)

    async def until_event(self, name: str, *reasons: str, within: float = 15.0) -> None:
        """Wait for an Event about an Ingress with one of these reasons."""
        end = time.monotonic() + within
        while not (seen := {str(e["reason"]) for e in await self.events(name)}) & set(reasons):
            assert time.monotonic() < end, f"no Event {reasons} about {name}, but {seen}"
            await asyncio.sleep(0.05)


@contextmanager
def prepared(setup: Callable[[Space], Awaitable[None]]) -> Iterator[str]:
    """A namespace for all tests of a module, filled by ``setup``; gives its name."""

    async def begin() -> str:
        async with Kube() as kube:
            space = await Space(kube).__aenter__()
            await setup(space)
            return space.name

    async def end() -> None:
        async with Kube() as kube:
            await Space(kube, name=name).__aexit__(None, None, None)

    name = asyncio.run(begin())
    try:
        yield name
    finally:
        asyncio.run(end())
