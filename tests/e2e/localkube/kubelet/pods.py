"""One Pod, from its binding to the node to its deletion, and its status in the API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from .api import STRATEGIC, Api, ApiError, Object
from .containers import Container, resolver
from .images import Images
from .network import Network
from .values import NODE, NODE_IP, Fetch, Unready, timestamp
from .volumes import Volumes

Event = Callable[[Object, str, str, str], None]  # object, type, reason, message


class Pod:
    log = logging.getLogger("pods")

    def __init__(
        self,
        api: Api,
        obj: Object,
        network: Network,
        images: Images,
        fetch: Fetch,
        event: Event,
        root: Path,
    ) -> None:
        self.api, self.obj, self.network, self.images, self.fetch, self._event = (
            api,
            obj,
            network,
            images,
            fetch,
            event,
        )
        meta, spec = obj["metadata"], obj["spec"]
        self.namespace, self.name, self.uid = meta["namespace"], meta["name"], meta["uid"]
        self.path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self.host_network = bool(spec.get("hostNetwork"))
        self.ip = NODE_IP if self.host_network else network.ip
        self.hostname = spec.get("hostname") or self.name[:63]
        self.grace = spec.get("terminationGracePeriodSeconds", 30)
        self.dir, self.pids = (
            root / "kubelet" / self.uid,
            root / "pods" / self.namespace / self.name,
        )
        self.volumes = Volumes(api, obj, self.ip, fetch, self.dir / "volumes")
        self.init = [Container(self, c) for c in spec.get("initContainers") or []]
        self.containers = [Container(self, c) for c in spec["containers"]]
        self.ending = False
        self._sandboxed = self._initialized = self._finished = False
        self._begun = timestamp()
        self._conditions: dict[str, Object] = {}
        self._sent: Object = {}
        self._changed, self._stale, self._end = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.log.error("%s: %r", self, error, exc_info=error)

    def event(self, kind: str, reason: str, message: str) -> None:
        self._event(self.obj, kind, reason, message)

    def changed(self) -> None:
        """Something that the status shows is different now."""
        self._changed.set()

    async def pause(self, seconds: float) -> None:
        """Sleeps, but not into the end of the Pod."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._end.wait(), seconds)

    # -- life ------------------------------------------------------------------
    def begin(self) -> None:
        self._main = self.spawn(self._live())
        self.spawn(self._report())

    def update(self, obj: Object) -> None:
        before, self.obj, self.volumes.pod = self.obj, obj, obj
        if any(
            before["metadata"].get(k) != obj["metadata"].get(k) for k in ("labels", "annotations")
        ):
            self.refresh()
        if "readinessGates" in obj["spec"]:
            self.changed()

    def refresh(self) -> None:
        """Something that the volumes show is different now."""
        self._stale.set()

    async def _live(self) -> None:
        if not self.obj["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
            binding = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": self.name, "namespace": self.namespace},
                "target": target,
            }
            try:
                await self.api.insist("POST", f"{self.path}/binding", binding)
            except ApiError as e:  # gone meanwhile, or bound by somebody else
                self.log.info("%s: %s", self, e)
            self.event("Normal", "Scheduled", f"Successfully assigned {self} to {NODE}")
        self.dir.mkdir(parents=True, exist_ok=True)
        if not self.host_network:
            await self.network.up()
        self._sandboxed = True
        self.changed()
        while not await self._write_volumes():
            await self.pause(0.5)
            if self.ending:
                return
        self.spawn(self._keep_volumes())
        policy = self.obj["spec"].get("restartPolicy", "Always")
        for c in self.init:
            if c.sidecar:
                self.spawn(c.supervise("Always"))
                while not c.started and not self.ending:
                    await self.pause(0.05)
            else:
                await c.supervise("Never" if policy == "Never" else "OnFailure")
                c.ready = c.exit_code == 0
                if c.exit_code:
                    self._finish()
                    return
        self._initialized = True
        self.changed()
        await asyncio.gather(*(c.supervise(policy) for c in self.containers))
        self._finish()

    def _finish(self) -> None:
        self._finished = True
        self.changed()

    async def _write_volumes(self) -> bool:
        try:
            await self.volumes.write()
            return True
        except Unready as e:
            self.event("Warning", "FailedMount", f"MountVolume.SetUp failed: {e}")
            return False

    async def _keep_volumes(self) -> None:
        while True:
            wait = self.volumes.next_token - time.time()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stale.wait(), max(wait, 0) if wait < 1e9 else None)
            self._stale.clear()
            if not await self._write_volumes():
                await self.pause(1)

    def terminate(self, grace: float) -> None:
        """Ends the Pod in the time given; a second call can only shorten it."""
        if self.ending:
            for c in (*self.init, *self.containers):
                if c.process:
                    asyncio.get_running_loop().call_later(grace, c.process.kill)
            return
        self.ending = True
        self._end.set()
        self.spawn(self._terminate(grace))

    async def _terminate(self, grace: float) -> None:
        deadline = time.monotonic() + grace
        self.event(
            "Normal", "Killing", "Stopping container " + ", ".join(c.name for c in self.containers)
        )
        await asyncio.gather(*(c.stop(grace) for c in self.containers))
        for c in reversed(self.init):  # side-cars outlive what they serve
            await c.stop(max(deadline - time.monotonic(), 0.1))
        if self._main:
            await asyncio.wait({self._main}, timeout=5)
            self._main.cancel()
        with contextlib.suppress(ApiError):
            await self._send()
            await self.api.insist(
                "DELETE", self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
            )

    async def vanish(self) -> None:
        """The object is gone: so is everything of it here."""
        self.ending = True
        self._end.set()
        for c in (*self.init, *self.containers):
            c.vanish()
        if self._main:
            await asyncio.wait({self._main}, timeout=5)
        for task in self._tasks:
            task.cancel()
        if not self.host_network:
            await self.network.down()
        shutil.rmtree(self.dir, ignore_errors=True)

    def etc_files(self) -> dict[str, str]:
        hosts = f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{self.ip}\t{self.hostname}\n"
        for alias in self.obj["spec"].get("hostAliases") or []:
            hosts += f"{alias['ip']}\t{' '.join(alias['hostnames'])}\n"
        return {
            "/etc/hosts": hosts,
            "/etc/hostname": f"{self.hostname}\n",
            "/etc/resolv.conf": resolver(self.namespace, self.obj["spec"]),
        }

    # -- status ----------------------------------------------------------------
    async def _report(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._send()
            except ApiError as e:  # the Pod is gone, or another one of that name is there
                self.log.info("status of %s: %s", self, e)

    async def _send(self) -> None:
        status = self._status()
        if status != self._sent:
            await self.api.insist(
                "PATCH",
                f"{self.path}/status",
                {"metadata": {"uid": self.uid}, "status": status},
                STRATEGIC,
            )
            self._sent = status

    def _phase(self) -> str:
        if self._finished:
            return (
                "Failed"
                if any(c.exit_code for c in (*self.init, *self.containers) if not c.sidecar)
                else "Succeeded"
            )
        return (
            "Running" if self._initialized and all(c.runs for c in self.containers) else "Pending"
        )

    def _status(self) -> Object:
        phase = self._phase()
        waiting = [c.name for c in self.containers if not c.ready]
        others = {
            c["type"]: c["status"] for c in (self.obj.get("status") or {}).get("conditions") or []
        }
        gates = [
            g["conditionType"]
            for g in self.obj["spec"].get("readinessGates") or []
            if others.get(g["conditionType"]) != "True"
        ]
        why = (
            f"containers with unready status: [{' '.join(waiting)}]"
            if waiting
            else f"condition {gates[0]} is not true"
            if gates
            else ""
        )
        conditions = [
            self._condition("PodScheduled", True),
            self._condition("PodReadyToStartContainers", self._sandboxed and not self._finished),
            self._condition("Initialized", self._initialized),
            self._condition(
                "ContainersReady",
                not waiting,
                "ContainersNotReady" if waiting else "",
                why if waiting else "",
            ),
            self._condition(
                "Ready",
                not why,
                ("ContainersNotReady" if waiting else "ReadinessGatesNotReady") if why else "",
                why,
            ),
        ]
        status: Object = {
            "observedGeneration": self.obj["metadata"].get("generation", 1),
            "phase": phase,
            "startTime": self._begun,
            "hostIP": NODE_IP,
            "hostIPs": [{"ip": NODE_IP}],
            "conditions": conditions,
            "containerStatuses": [c.status() for c in self.containers],
        }
        if self.init:
            status["initContainerStatuses"] = [c.status() for c in self.init]
        if self._sandboxed:
            status |= {"podIP": self.ip, "podIPs": [{"ip": self.ip}]}
        return status

    def _condition(self, kind: str, true: bool, reason: str = "", message: str = "") -> Object:
        status = "True" if true else "False"
        before = self._conditions.get(kind)
        since = (
            before["lastTransitionTime"] if before and before["status"] == status else timestamp()
        )
        # Always all keys: a strategic merge patch would leave the reason of an earlier state.
        self._conditions[kind] = {
            "type": kind,
            "status": status,
            "lastTransitionTime": since,
            "reason": reason,
            "message": message,
        }
        return self._conditions[kind]
