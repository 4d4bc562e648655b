"""The node: its object, the Pods that run on it, and logs for the API server."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import ssl
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from aiohttp import web

from .api import STRATEGIC, Api, ApiError, Object
from .containers import Container
from .images import Images
from .network import Network
from .pods import Pod
from .values import NODE, NODE_IP, Fetch, timestamp

log = logging.getLogger("node")
PORT = 10250
POD_NUMBERS = 60000
SAME_EVENT_AGAIN = 30.0  # seconds


class Node:
    def __init__(self, api: Api, images: Images, root: Path) -> None:
        self.api, self.images, self.root = api, images, root
        self.pods: dict[str, Pod] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: dict[tuple[str, str, str], float] = {}

    async def register(self) -> None:
        labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}
        try:
            await self.api.insist(
                "POST",
                "/api/v1/nodes",
                {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}},
            )
        except ApiError as e:
            if e.code != 409:
                raise
        now, amount = (
            timestamp(),
            {
                "cpu": str(os.cpu_count()),
                "memory": str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
                "pods": "500",
            },
        )
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "ready",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        info = "machineID systemUUID bootID kernelVersion osImage operatingSystem architecture"
        info += " containerRuntimeVersion kubeletVersion kubeProxyVersion"
        status = {
            "conditions": [ready],
            "capacity": amount,
            "allocatable": amount,
            "addresses": [
                {"type": "InternalIP", "address": NODE_IP},
                {"type": "Hostname", "address": NODE},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
            "nodeInfo": dict.fromkeys(info.split(), "local"),
        }
        await self.api.insist(
            "PATCH", f"/api/v1/nodes/{NODE}/status", {"status": status}, STRATEGIC
        )

    async def run(self) -> None:
        await self.register()
        await asyncio.gather(
            self.api.follow("/api/v1/pods", self._on_pod),
            self.api.follow("/api/v1/secrets", lambda _, o: self._on_source("secrets", o)),
            self.api.follow("/api/v1/configmaps", lambda _, o: self._on_source("configmaps", o)),
        )

    async def save_logs(self) -> None:
        for pod in self.pods.values():
            for c in (*pod.init, *pod.containers):
                c.log.save(pod.pids / f"{c.name}.log")

    # -- Pods ------------------------------------------------------------------
    def _on_pod(self, kind: str, obj: Object) -> None:
        meta = obj["metadata"]
        pod = self.pods.get(meta["uid"])
        if kind == "DELETED":
            if pod:
                del self.pods[meta["uid"]]
                self._spawn(pod.vanish())
            return
        # There is no scheduler: a Pod that is bound to no node comes here at once.
        if (
            obj["spec"].get("nodeName", NODE) != NODE
            or obj["spec"].get("schedulingGates")
            or obj["spec"].get("schedulerName", "") == "none"
        ):
            return
        ending = meta.get("deletionTimestamp")
        if pod is None:
            if (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed") and not ending:
                return
            pod = self.pods[meta["uid"]] = Pod(
                self.api,
                obj,
                self._network(),
                self.images,
                self._reader(meta["namespace"]),
                self.event,
                self.root,
            )
            if not ending:
                pod.begin()
        pod.update(obj)
        if ending:
            pod.terminate(meta.get("deletionGracePeriodSeconds") or 0)

    def _network(self) -> Network:
        used = {p.network.number for p in self.pods.values()}
        # An address comes back as late as possible: connections to its former owner may still be
        # tracked.
        while True:
            self._number = self._number % POD_NUMBERS + 1
            if self._number not in used:
                return Network(self._number)

    def _reader(self, namespace: str) -> Fetch:
        async def read(kind: str, name: str) -> Object | None:
            try:
                return await self.api.insist("GET", f"/api/v1/namespaces/{namespace}/{kind}/{name}")
            except ApiError as e:
                if e.code == 404:
                    return None
                raise

        return read

    def _on_source(self, kind: str, o: Object) -> None:
        for pod in self.pods.values():
            if (
                pod.namespace == o["metadata"]["namespace"]
                and (kind, o["metadata"]["name"]) in pod.volumes.sources
            ):
                pod.refresh()

    # -- Events ----------------------------------------------------------------
    def event(self, obj: Object, kind: str, reason: str, message: str) -> None:
        meta, now = obj["metadata"], time.monotonic()
        key = (meta["uid"], reason, message)
        if self._told.get(key, -SAME_EVENT_AGAIN) > now - SAME_EVENT_AGAIN:
            return
        self._told = {k: t for k, t in self._told.items() if t > now - SAME_EVENT_AGAIN} | {
            key: now
        }
        self._spawn(self._tell(obj, kind, reason, message))

    async def _tell(self, obj: Object, kind: str, reason: str, message: str) -> None:
        meta = obj["metadata"]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{meta['name']}.{time.time_ns():x}",
                "namespace": meta["namespace"],
            },
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": "kubelet", "host": NODE},
            "firstTimestamp": timestamp(),
            "lastTimestamp": timestamp(),
            "count": 1,
        }
        try:
            await self.api.insist("POST", f"/api/v1/namespaces/{meta['namespace']}/events", event)
        except ApiError as e:  # the namespace is going away
            log.debug("event %s: %s", reason, e)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- logs ------------------------------------------------------------------
    async def serve(self, cert: str, key: str) -> None:
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cert, key)
        await web.TCPSite(runner, NODE_IP, PORT, ssl_context=tls).start()

    def _container(self, namespace: str, pod: str, name: str) -> Container | None:
        found = [p for p in self.pods.values() if (p.namespace, p.name) == (namespace, pod)]
        return next((c for p in found for c in (*p.init, *p.containers) if c.name == name), None)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        container, ask = (
            self._container(*(request.match_info[k] for k in ("namespace", "pod", "container"))),
            request.query,
        )
        if container is None:
            return web.Response(status=404, text="no such container")
        source = container.previous_log if ask.get("previous") == "true" else container.log
        since = 0.0
        if "sinceTime" in ask:
            since = dt.datetime.fromisoformat(ask["sinceTime"].replace("Z", "+00:00")).timestamp()
        elif "sinceSeconds" in ask:
            since = time.time() - float(ask["sinceSeconds"])

        def text(lines: list[tuple[float, bytes]]) -> bytes:
            if ask.get("timestamps") != "true":
                return b"".join(line for _, line in lines)
            return b"".join(
                f"{dt.datetime.fromtimestamp(t, dt.UTC):%Y-%m-%dT%H:%M:%S.%fZ} ".encode() + line
                for t, line in lines
            )

        seen = source.count
        lines = [x for x in source.lines if x[0] >= since]
        if "tailLines" in ask:
            lines = lines[max(len(lines) - int(ask["tailLines"]), 0) :]
        body = text(lines)[: int(ask["limitBytes"]) if "limitBytes" in ask else None]
        if ask.get("follow") != "true":
            return web.Response(body=body, content_type="text/plain")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await response.write(body)
        while not source.closed or seen < source.count:
            if seen == source.count:
                await source.more.wait()
                continue
            fresh = list(source.lines)[-(source.count - seen) :]
            seen = source.count
            await response.write(text(fresh))
        return response
