"""A client of the API server for tests, as the administrator: JSON in, JSON out.

It shares no code with the program under test.
"""

import asyncio
import base64
import contextlib
import json
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
import yaml

Object = dict[str, Any]
PLURALS = {
    "Namespace": ("/api/v1", "namespaces"),
    "Node": ("/api/v1", "nodes"),
    "Pod": ("/api/v1", "pods"),
    "Service": ("/api/v1", "services"),
    "Secret": ("/api/v1", "secrets"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Event": ("/api/v1", "events"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices"),
    "Ingress": ("/apis/networking.k8s.io/v1", "ingresses"),
    "IngressClass": ("/apis/networking.k8s.io/v1", "ingressclasses"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
}
CLUSTER_WIDE = {"Namespace", "Node", "IngressClass", "ClusterRole", "ClusterRoleBinding"}


class RefusedError(Exception):
    """The API server's refusal."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Access(NamedTuple):
    """What the current context of a kubeconfig says."""

    server: str
    tls: ssl.SSLContext
    token: str


def read_kubeconfig(path: str) -> Access:
    """The current context; client certificates and tokens, no plug-ins."""
    config = yaml.safe_load(Path(path).read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    tls = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"),
        cadata=_decoded(cluster.get("certificate-authority-data")),
    )
    if "client-certificate-data" in user or "client-certificate" in user:
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for name in ("client-certificate", "client-key"):
                text = _decoded(user.get(f"{name}-data")) or Path(user[name]).read_text()
                file = Path(folder, name)
                file.touch(mode=0o600)
                file.write_text(text)
                files.append(str(file))
            tls.load_cert_chain(*files)
    return Access(cluster["server"], tls, user.get("token", ""))


def _named(entries: list[Object], name: str) -> Object:
    return next(entry for entry in entries if entry["name"] == name)


def _decoded(text: str | None) -> str | None:
    return None if text is None else base64.b64decode(text).decode()


def path_of(kind: str, namespace: str = "", name: str = "") -> str:
    """The path of an object or, without a name, of a collection; without a namespace, of all."""
    group, plural = PLURALS[kind]
    inside = f"/namespaces/{namespace}" if namespace and kind not in CLUSTER_WIDE else ""
    return f"{group}{inside}/{plural}" + (f"/{name}" if name else "")


def where(obj: Object) -> str:
    """The path of an object."""
    meta = obj["metadata"]
    return path_of(obj["kind"], meta.get("namespace", ""), meta["name"])


class Kube:
    """An asynchronous context manager."""

    def __init__(self, access: Access | None = None) -> None:
        self._access = access or read_kubeconfig(os.environ["KUBECONFIG"])

    async def __aenter__(self) -> Self:
        token = self._access.token
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._access.tls, limit=64),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=aiohttp.ClientTimeout(total=60),
            read_bufsize=1 << 22,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def answers(self, server: str) -> bool:
        """Whether the API server is ready at another of its addresses."""
        limits = aiohttp.ClientTimeout(total=1)
        try:
            async with self._session.get(f"{server}/readyz", timeout=limits) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def text(self, path: str) -> str:
        """What a path answers, as it is."""
        async with self._session.get(self._access.server + path) as answer:
            return await answer.text()

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        kind: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object:
        """One request; raises RefusedError when the API server refuses it."""
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            method,
            self._access.server + path,
            data=data,
            params=query,
            headers={"Content-Type": kind},
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                with contextlib.suppress(ValueError, KeyError):
                    text = json.loads(text)["message"]
                raise RefusedError(answer.status, text)
            result: Object = json.loads(text)
            return result

    async def create(self, obj: Object) -> Object:
        """Make an object that is not there yet."""
        meta = obj["metadata"]
        return await self.call("POST", path_of(obj["kind"], meta.get("namespace", "")), obj)

    async def apply(self, obj: Object) -> Object:
        """Server-side apply: what is said here wins."""
        query = {"fieldManager": "e2e", "force": "true"}
        kind = "application/apply-patch+yaml"
        return await self.call("PATCH", where(obj), obj, kind=kind, query=query)

    async def replace(self, obj: Object) -> Object:
        """PUT: the object is exactly this, whatever its version was."""
        return await self.call("PUT", where(obj), obj)

    async def merge(self, obj: Object, change: Object) -> Object:
        """A merge patch of the object."""
        return await self.call("PATCH", where(obj), change, kind="application/merge-patch+json")

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        return await self.call("GET", path_of(kind, namespace, name))

    async def items(self, kind: str, namespace: str = "", **query: str) -> list[Object]:
        answer = await self.call("GET", path_of(kind, namespace), query=query)
        items: list[Object] = answer["items"] or []
        return items

    async def delete(self, obj: Object, **options: object) -> None:
        await self.call("DELETE", where(obj), options or None)

    async def watch(self, path: str, version: str, **query: str) -> AsyncIterator[Object]:
        """Events behind a resource version, until the server ends the watch."""
        ask = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "300", **query}
        limits = aiohttp.ClientTimeout(sock_connect=5)
        async with self._session.get(
            self._access.server + path, params=ask, timeout=limits
        ) as answer:
            if answer.status != 200:
                raise RefusedError(answer.status, await answer.text())
            async for line in answer.content:
                yield json.loads(line)

    async def many(self, objects: list[Object], at_once: int = 32) -> None:
        """Create many objects, so many at once."""
        waiting = iter(objects)

        async def work() -> None:
            for obj in waiting:
                await self.create(obj)

        await asyncio.gather(*(work() for _ in range(at_once)))
