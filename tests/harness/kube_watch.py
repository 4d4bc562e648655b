"""A watch at a fake API server: what is sent of what happens, and what a test wants sent."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

import msgspec
from aiohttp import web

from tests.harness.kube_faults import Request
from tests.harness.kube_paths import Target, expired
from tests.harness.kube_selectors import selected
from tests.harness.kube_store import Json, Store, Stored


class Watch:
    """One watch that a client has open."""

    def __init__(self, request: Request, transport: asyncio.Transport) -> None:
        self.request = request
        self.silent = False
        """Nothing is sent any more, not even its end: as when the path between is cut."""
        self.cut_after: int | None = None
        """The connection is cut when so many bytes were sent."""
        self._transport = transport
        self._out: deque[bytes] = deque()
        self._ended = False
        self.woken = asyncio.Event()

    def send_line(self, line: bytes) -> None:
        """Send these bytes and a line feed."""
        self.send_bytes(line + b"\n")

    def send_bytes(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self._out.append(data)
        self.woken.set()

    def send_event(self, type_: str, content: Json) -> None:
        """Send one event; it need not have anything to do with what is stored."""
        self.send_line(msgspec.json.encode({"type": type_, "object": content}))

    def send_gone(self) -> None:
        """Send what ends watches whose version has been forgotten, and end."""
        self.send_event("ERROR", expired("too old resource version").status)
        self.end()

    def end(self) -> None:
        """End in good order."""
        self._ended = True
        self.woken.set()

    def cut(self) -> None:
        """End the connection in the middle of the answer."""
        self._transport.abort()

    def go_silent(self) -> None:
        """See `silent`."""
        self.silent = True
        self.woken.set()

    def take(self) -> tuple[list[bytes], bool]:
        """What is to be sent by order of the test, and whether to end afterwards."""
        out = list(self._out)
        self._out.clear()
        return out, self._ended


class Manners(msgspec.Struct):
    """How all watches of a server behave; tests change it."""

    bookmark_seconds: float = 60.0
    """Between bookmarks; the real one sends them about so often."""
    gone_as_status: bool = False
    """A watch from a forgotten version is answered by 410 instead of an ERROR event."""
    streaming_lists: bool = False
    """``sendInitialEvents`` is understood; else it is refused, as where the gate is off."""
    mangle: Callable[[list[bytes]], Iterable[bytes]] = list
    """What becomes of the events that a watch is about to send: doubled, turned round, ..."""


class WatchRun:
    """Sends one watch's events until it ends."""

    def __init__(
        self,
        store: Store,
        manners: Manners,
        watch: Watch,
        target: Target,
        response: web.StreamResponse,
    ) -> None:
        self._store, self._manners, self._watch = store, manners, watch
        self._target, self._response = target, response
        query = watch.request.query
        self._chosen = target.selector(query)
        self._loop = asyncio.get_running_loop()
        self._ends = self._loop.time() + float(query.get("timeoutSeconds", 1800))
        self._bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
        self._marked = self._loop.time()
        self._sent = 0

    async def run(self, version: str) -> None:
        """Events after the version; without one, all objects first, as they are."""
        from_now = version in ("", "0")
        seen = self._store.version if from_now else int(version)
        initial = self._everything() if from_now else []
        if from_now and self._watch.request.query.get("sendInitialEvents") == "true":
            initial.append(self._bookmark({"k8s.io/initial-events-end": "true"}))
        await self._send(initial)
        while True:
            self._watch.woken.clear()
            events = self._events(seen)
            # After a restore a client may be ahead of us; it hears nothing until we caught up.
            seen = max(seen, self._store.version)
            await self._send(self._manners.mangle(events))
            if self._bookmarks and self._loop.time() >= self._mark_at:
                self._marked = self._loop.time()
                await self._send([self._bookmark({})])
            ordered, ended = self._watch.take()
            await self._send(ordered)
            if not self._watch.silent and (ended or self._loop.time() >= self._ends):
                return
            await self._wait()

    @property
    def _mark_at(self) -> float:
        return self._marked + self._manners.bookmark_seconds

    async def _wait(self) -> None:
        moment = min(self._ends, self._mark_at) if self._bookmarks else self._ends
        try:
            async with asyncio.timeout_at(None if self._watch.silent else moment):
                await self._watch.woken.wait()
        except TimeoutError:
            pass

    async def _send(self, lines: Iterable[bytes]) -> None:
        data = b"".join(lines)
        cut_after = self._watch.cut_after
        if cut_after is not None and len(data) >= cut_after - self._sent:
            await self._response.write(data[: cut_after - self._sent])
            self._watch.cut()
        elif data and not self._watch.silent:
            self._sent += len(data)
            await self._response.write(data)

    def _everything(self) -> list[bytes]:
        found = self._target.collection(self._store).objects
        return [
            self._line("ADDED", found[key])
            for key in sorted(found)
            if self._target.covers(key) and selected(found[key], self._chosen)
        ]

    def _events(self, seen: int) -> list[bytes]:
        collection = self._target.collection(self._store)
        lines = []
        for change in collection.history[collection.since(seen) :]:
            if not self._target.covers(change.last.key):
                continue
            was = selected(change.before, self._chosen)
            matches = selected(change.after, self._chosen)
            if was or matches:
                type_ = "DELETED" if not matches else "MODIFIED" if was else "ADDED"
                lines.append(self._line(type_, change.last))
        return lines

    def _line(self, type_: str, stored: Stored) -> bytes:
        return b'{"type":"%b","object":%b}\n' % (type_.encode(), stored.full(self._target.kind))

    def _bookmark(self, annotations: Json) -> bytes:
        metadata: Json = {"resourceVersion": str(self._store.version)}
        if annotations:
            metadata["annotations"] = annotations
        kind = self._target.kind
        head = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        content = (
            msgspec.json.encode(head)[:-1] + (f",{kind.bare}}}" if kind.bare else "}").encode()
        )
        return b'{"type":"BOOKMARK","object":%b}\n' % content
