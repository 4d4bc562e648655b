"""A fake API server: lists, watches and writes as the real one does them, and faults on demand.

``async with FakeKubeApi() as fake`` serves on loopback. Objects are put and deleted by method calls
or over HTTP; `FakeKubeApi.fault`, `FakeKubeApi.manners` and the methods of watches make it
misbehave. Left out: admission, defaults, finalizers, deletion of collections, discovery, other
versions than v1.
"""

import asyncio
import itertools
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from tests.harness.kube_faults import Fault, Request
from tests.harness.kube_paths import Target, expired, too_large
from tests.harness.kube_selectors import selected
from tests.harness.kube_store import BY_KIND, Backup, Json, Refusal, Store, Stored
from tests.harness.kube_watch import Manners, Watch, WatchRun

TOKEN = "continue-"
LARGE = 128 * 1024
"""Answers from this size on are compressed for clients that ask for it."""


class FakeKubeApi:
    """The server. Everything on it is called on its event loop."""

    def __init__(
        self,
        *,
        context: ssl.SSLContext | None = None,
        token: str | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.store = Store()
        self.address = address
        self.context = context
        """TLS; taken by `start`."""
        self.token = token
        """Requests without this bearer token are refused (401). None: all are let in."""
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.manners = Manners()
        """How all watches behave."""
        self.peers: set[object] = set()
        """Addresses of clients' connections that asked for something so far."""
        self.port = 0
        self._watches: list[Watch] = []
        self._lists: dict[str, tuple[int, list[Stored]]] = {}
        self._tokens = itertools.count()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- the server ------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http{'s' if self.context else ''}://{self.address}:{self.port}"

    async def start(self) -> None:
        """Serve, on the former port if there was one."""
        app = web.Application(client_max_size=4 << 20)
        app.router.add_route("*", "/{path:.*}", self._serve)
        # Cancelled handlers notice clients that leave in the middle of a silent watch.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.05
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address, self.port, ssl_context=self.context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections and cut those that are open. What is stored stays."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            assert runner.server is not None
            for connection in runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()

    def kubeconfig(self, folder: Path, *, ca: Path | None = None, user: Json | None = None) -> str:
        """Write a kubeconfig that leads here; gives its path."""
        cluster: Json = {"server": self.url}
        if ca is not None:
            cluster["certificate-authority"] = str(ca)
        entry = user if user is not None else {"token": self.token} if self.token else {}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
            "clusters": [{"name": "fake", "cluster": cluster}],
            "users": [{"name": "me", "user": entry}],
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(document))
        return str(path)

    def service_account(self, folder: Path, ca: Path) -> dict[str, str]:
        """Write what the kubelet mounts into a Pod; gives the Pod's environment."""
        (folder / "token").write_text(self.token or "")
        (folder / "ca.crt").write_bytes(ca.read_bytes())
        (folder / "namespace").write_text("default")
        url = urlsplit(self.url)
        return {
            "KUBERNETES_SERVICE_HOST": str(url.hostname),
            "KUBERNETES_SERVICE_PORT": str(url.port),
        }

    # -- objects ---------------------------------------------------------------------------------

    def put(self, content: Mapping[str, Any]) -> Json:
        """Create or replace an object (``kind`` says which); gives it as it is stored."""
        stored = self.store.put(BY_KIND[content["kind"]], dict(content))
        self._changed()
        return stored.content

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object; the namespace of a cluster's objects is empty."""
        self.store.delete(BY_KIND[kind], (namespace, name))
        self._changed()

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """The object as it is stored, or None."""
        found = self.store.collections[kind].objects.get((namespace, name))
        return found.content if found is not None else None

    def objects(self, kind: str) -> list[Json]:
        """All objects of a kind, by namespace and name."""
        found = self.store.collections[kind].objects
        return [found[key].content for key in sorted(found)]

    # -- faults ----------------------------------------------------------------------------------

    def fault(self, method: str, pattern: str, **what: Any) -> Fault:
        """Something goes wrong from now on: see `Fault`. The newest one that fits happens."""
        fault = Fault(method, pattern, **what)
        self.faults.insert(0, fault)
        return fault

    def watches(self, pattern: str = "") -> list[Watch]:
        """Watches that are open, oldest first, and whose path holds the text."""
        return [watch for watch in self._watches if pattern in watch.request.path]

    def requested(self, verb: str, pattern: str = "") -> list[Request]:
        """Requests so far with this verb whose path holds the text."""
        return [seen for seen in self.requests if seen.verb == verb and pattern in seen.path]

    def forget_history(self) -> None:
        """Compaction: watches cannot be resumed from a version before now. Open ones live on."""
        self.store.forget()

    def expire_continue_tokens(self) -> None:
        """Lists that are being paged must begin again."""
        self._lists.clear()

    def restore(self, backup: Backup) -> None:
        """As etcd restored from a backup (`Store.backup`): the counter goes back too. All
        connections are cut, because the servers are started anew."""
        self.store.restore(backup)
        self._lists.clear()
        for watch in list(self._watches):
            watch.cut()

    # -- requests --------------------------------------------------------------------------------

    async def _serve(self, raw: web.Request) -> web.StreamResponse:
        request = Request(
            raw.method,
            "",
            raw.path,
            dict(raw.query),
            raw.headers.copy(),
            await raw.read(),
            asyncio.get_running_loop().time(),
        )
        self.requests.append(request)
        assert raw.transport is not None
        self.peers.add(raw.transport.get_extra_info("peername"))
        try:
            target = Target.of(request)
            request.verb = target.verb if target is not None else ""
            fault = next((fault for fault in self.faults if fault.takes(request)), None)
            if fault is not None and (answer := await self._misbehave(fault)) is not None:
                return await self._answered(raw, request, answer, fault.cut_after)
            if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
                raise Refusal(401, "Unauthorized", "Unauthorized")
            if target is None:
                return await self._answered(raw, request, self._other(request), None)
            if target.verb == "watch":
                return await self._watch(raw, request, target, fault)
            answer = self._do(request, target)
        except Refusal as refusal:
            answer = web.json_response(refusal.status, status=refusal.code)
            fault = None
        return await self._answered(raw, request, answer, fault.cut_after if fault else None)

    async def _misbehave(self, fault: Fault) -> web.Response | None:
        """The answer that a fault gives, if it gives one."""
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.hang:
            await asyncio.Event().wait()
        if not fault.status:
            return None
        body = fault.body
        if body is None:
            body = Refusal(fault.status, "Scripted", "a test wants it").status
        if not isinstance(body, bytes):
            body = msgspec.json.encode(body)
        return web.Response(
            status=fault.status,
            body=body,
            headers={"Content-Type": "application/json", **fault.headers},
        )

    async def _answered(
        self, raw: web.Request, request: Request, answer: web.Response, cut_after: int | None
    ) -> web.StreamResponse:
        request.status = answer.status
        if cut_after is None:
            if isinstance(answer.body, bytes) and len(answer.body) >= LARGE:
                answer.enable_compression()
            return answer
        assert isinstance(answer.body, bytes)
        assert raw.transport is not None
        part = web.StreamResponse(status=answer.status, headers=answer.headers)
        part.content_length = len(answer.body)
        await part.prepare(raw)
        await part.write(answer.body[:cut_after])
        raw.transport.close()
        return part

    def _other(self, request: Request) -> web.Response:
        if request.path in ("/readyz", "/livez", "/healthz"):
            return web.Response(text="ok")
        if request.path == "/version":
            return web.json_response({"major": "1", "minor": "36", "gitVersion": "v1.36.0-fake"})
        raise Refusal(404, "NotFound", "the server could not find the requested resource")

    def _do(self, request: Request, target: "Target") -> web.Response:
        kind, key = target.kind, (target.namespace, target.name)
        if target.verb == "list":
            return web.Response(body=self._list(request, target), content_type="application/json")
        if target.verb == "get":
            stored = self.store.get(kind, key)
        elif target.verb == "delete":
            self.store.delete(kind, key)
            self._changed()
            return web.json_response({"kind": "Status", "apiVersion": "v1", "status": "Success"})
        else:
            content = _content(request)
            if target.verb == "create":
                stored = self.store.create(kind, target.namespace, content)
            elif target.verb == "update":
                stored = self.store.update(kind, key, content, part=target.part)
            else:
                stored = self.store.patch(kind, key, content, part=target.part)
        self._changed()
        return web.Response(
            status=201 if target.verb == "create" else 200,
            body=stored.full(kind),
            content_type="application/json",
        )

    def _list(self, request: Request, target: "Target") -> bytes:
        query, limit = request.query, int(request.query.get("limit", 0))
        token = query.get("continue")
        version = query.get("resourceVersion", "")
        if token is not None:
            if token not in self._lists:
                if not token.startswith(TOKEN):
                    raise Refusal(400, "BadRequest", "invalid continue token")
                raise expired("The provided continue parameter is too old")
            at, remaining = self._lists[token]
        else:
            if version.isdecimal() and int(version) > self.store.version:
                raise too_large(version, self.store.version)
            found = target.collection(self.store).objects
            at = self.store.version
            chosen = target.selector(query)
            remaining = [
                found[key]
                for key in sorted(found)
                if target.covers(key) and selected(found[key], chosen)
            ]
        if version == "0" or not limit:  # the watch cache answers version 0, and whole
            limit = len(remaining)
        page, rest = remaining[:limit], remaining[limit:]
        metadata: Json = {"resourceVersion": str(at)}
        if rest:
            token = metadata["continue"] = f"{TOKEN}{at}-{next(self._tokens)}"
            self._lists[token] = (at, rest)
            metadata["remainingItemCount"] = len(rest)
        return msgspec.json.encode(
            {
                "kind": f"{target.kind.kind}List",
                "apiVersion": target.kind.api_version,
                "metadata": metadata,
                "items": [msgspec.Raw(stored.item) for stored in page],
            }
        )

    def _changed(self) -> None:
        for watch in self._watches:
            watch.woken.set()

    async def _watch(
        self, raw: web.Request, request: Request, target: Target, fault: Fault | None
    ) -> web.StreamResponse:
        if "sendInitialEvents" in request.query and not self.manners.streaming_lists:
            raise Refusal(422, "Invalid", "sendInitialEvents is forbidden: the gate is off")
        version = request.query.get("resourceVersion", "")
        if version and not version.isdecimal():
            raise Refusal(500, "", f"resourceVersion: Invalid value: {version}")
        too_old = version not in ("", "0") and int(version) < self.store.forgotten
        if too_old and self.manners.gone_as_status:
            raise expired(f"too old resource version: {version}")
        assert raw.transport is not None
        watch = Watch(request, raw.transport)
        watch.cut_after = fault.cut_after if fault is not None else None
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        run = WatchRun(self.store, self.manners, watch, target, response)
        await response.prepare(raw)
        request.status = response.status
        self._watches.append(watch)
        try:
            if too_old:
                watch.send_gone()
            await run.run(str(self.store.version) if too_old else version)
        finally:
            self._watches.remove(watch)
        return response


def _content(request: Request) -> Json:
    if request.verb == "patch" and request.headers.get("Content-Type") not in (
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ):
        raise Refusal(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    try:
        content = json.loads(request.body)
    except ValueError:
        raise Refusal(400, "BadRequest", "the body is no JSON") from None
    if not isinstance(content, dict):
        raise Refusal(400, "BadRequest", "the body is no object")
    return content
