"""The admin port over real sockets, with a running program made of values."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from io import StringIO

import pytest

from ingress_controller.admin import server as server_module
from ingress_controller.admin.pages import Shown
from ingress_controller.admin.readiness import Readiness
from ingress_controller.admin.server import AdminServer
from ingress_controller.admin.state import State
from ingress_controller.logs import Log
from ingress_controller.supervisor.sockets import bind_listener
from ingress_controller.translate.diagnostics import Diagnostic
from router.model.snapshot import Snapshot
from tests.harness.program import Answer, ask


class Running:
    """A program that is not ready; its metrics have a defect."""

    readiness = Readiness(False, "0 of 1 workers serve the snapshot")
    snapshot = Snapshot(version=3)
    diagnostics: Sequence[Diagnostic] = ()

    def state(self) -> State:
        raise RuntimeError("a defect")

    async def explain(self, url: str, method: str, headers: Sequence[str]) -> Shown:
        if not url:
            raise ValueError("url is missing")
        return {"url": url, "method": method, "headers": list(headers)}


@asynccontextmanager
async def serving(log: StringIO | None = None) -> AsyncIterator[str]:
    listener = bind_listener(["127.0.0.1"], 0, slots=1, port_flag="--admin-port")
    written = Log("text", "info", log or StringIO())
    address = listener.addresses[0]
    server = AdminServer(Running(), listener, written)
    await server.start()
    try:
        yield address
    finally:
        await server.stop()
        written.close()


async def get(address: str, path: str, method: str = "GET") -> Answer:
    return await asyncio.to_thread(ask, address, path, "", method)


async def test_not_ready_is_503_with_the_reason() -> None:
    async with serving() as address:
        answer = await get(address, "/readyz")
        assert answer.status == 503
        assert answer.json() == {"ready": False, "reason": "0 of 1 workers serve the snapshot"}


async def test_explain_hands_on_the_question_and_refuses_a_malformed_one() -> None:
    async with serving() as address:
        asked = await get(address, "/explain?url=http://a/b&method=PUT&header=A:%20b&header=C:d")
        assert asked.json() == {"url": "http://a/b", "method": "PUT", "headers": ["A: b", "C:d"]}
        refused = await get(address, "/explain")
        assert (refused.status, refused.json()) == (400, {"error": "url is missing"})


async def test_a_defect_of_ours_is_500_in_json_and_in_the_log() -> None:
    log = StringIO()
    async with serving(log) as address:
        answer = await get(address, "/metrics")
        assert answer.status == 500
        assert answer.json() == {"error": "this page failed; the log says why"}
    assert "RuntimeError: a defect" in log.getvalue()


async def test_connections_beyond_the_limit_are_closed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 2)
    async with serving() as address:
        host, port = address.split(":")
        kept = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        for reader, writer in kept:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        reader, writer = await asyncio.open_connection(host, int(port))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        for _, each in (*kept, (reader, writer)):
            each.close()
            await each.wait_closed()
