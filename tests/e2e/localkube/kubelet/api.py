"""A bare JSON client for the API server, with LIST and WATCH that survive its absence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

import aiohttp

log = logging.getLogger("api")
Object = dict[str, Any]
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """The API server refused; `code` is its HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Api:
    def __init__(self, server: str, token: str, ca: str) -> None:
        self.server, self.token, self.ca = server, token, ca
        self.session: aiohttp.ClientSession

    async def __aenter__(self) -> Api:
        tls = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=self.ca), limit=0)
        self.session = aiohttp.ClientSession(
            connector=tls,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=aiohttp.ClientTimeout(total=30),
            read_bufsize=2**22,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.session.close()

    async def call(
        self, method: str, path: str, body: object = None, kind: str = "application/json"
    ) -> Object:
        data = None if body is None else json.dumps(body)
        async with self.session.request(
            method, self.server + path, data=data, headers={"Content-Type": kind}
        ) as r:
            text = await r.text()
            if r.status >= 400:
                with contextlib.suppress(ValueError, KeyError):
                    text = json.loads(text)["message"]
                raise ApiError(r.status, text)
            answer: Object = json.loads(text)
            return answer

    async def insist(
        self, method: str, path: str, body: object = None, kind: str = "application/json"
    ) -> Object:
        """Like call, but waits for an API server that is away; only a refusal of the request itself
        is an error.
        """
        while True:
            try:
                return await self.call(method, path, body, kind)
            except ApiError as e:
                if e.code < 500 and e.code != 429:
                    raise
                log.info("%s %s: %s", method, path, e)
            except (TimeoutError, aiohttp.ClientError) as e:
                log.info("%s %s: %r", method, path, e)
            await asyncio.sleep(0.3)

    async def follow(self, path: str, handle: Callable[[str, Object], None]) -> None:
        """Calls handle("MODIFIED" or "DELETED", object) for what there is and for every change, for
        ever.
        """
        known: dict[str, Object] = {}
        version = ""

        def tell(kind: str, o: Object) -> None:
            uid = o["metadata"]["uid"]
            if kind == "DELETED":
                known.pop(uid, None)
            else:
                known[uid] = {
                    "metadata": {k: o["metadata"].get(k) for k in ("name", "namespace", "uid")}
                }
                kind = "MODIFIED"
            handle(kind, o)

        while True:
            try:
                if not version:
                    everything = await self.call("GET", path)
                    seen = {o["metadata"]["uid"] for o in everything["items"]}
                    for uid in known.keys() - seen:  # deleted while nobody watched
                        tell("DELETED", known[uid])
                    for o in everything["items"]:
                        tell("MODIFIED", o)
                    version = everything["metadata"]["resourceVersion"]
                async for event in self._watch(path, version):
                    if event["type"] == "ERROR":
                        raise ApiError(
                            event["object"].get("code", 410),
                            event["object"].get("message", "watch error"),
                        )
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        tell(event["type"], event["object"])
            except ApiError as e:
                log.info("watch %s: %s", path, e)
                version = ""
                await asyncio.sleep(0.3)
            except (TimeoutError, aiohttp.ClientError) as e:
                log.info("watch %s: %r", path, e)
                await asyncio.sleep(0.3)

    async def _watch(self, path: str, version: str) -> AsyncIterator[Object]:
        query = f"watch=1&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion={version}"
        url = f"{self.server}{path}{'&' if '?' in path else '?'}{query}"
        async with self.session.get(
            url, timeout=aiohttp.ClientTimeout(sock_connect=5, sock_read=330)
        ) as r:
            if r.status != 200:
                raise ApiError(r.status, await r.text())
            rest = b""
            async for chunk in r.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield json.loads(line)
