"""An edge that does wrong makes the run fail, and the report says what was wrong."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.locust import Ended, needs_locust, run
from tests.harness.serving import serving

pytestmark = [needs_locust, pytest.mark.slow]

TARGETS = """\
[[pages]]
url = "http://a.example/"
says = "from a"
[[uploads]]
url = "http://a.example/"
sizes = ["1K"]
says = "from a"
[[websockets]]
url = "ws://a.example/ws"
"""
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfrom a"
Answer = Callable[[int], bytes | None]
"""The bytes for the n-th request of a connection; None closes it, and so does `CUT` at the end."""
CUT = b"<cut>"


async def against(folder: Path, answer: Answer, *flags: str) -> Ended:
    """A run against an edge that answers so."""

    async def edge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"Content-Length: 1024" in head:
                    await reader.readexactly(1024)
                said = answer(number)
                number += 1
                if said is None:
                    return
                writer.write(said.removesuffix(CUT))
                await writer.drain()
                if said.endswith(CUT):
                    writer.close()
                    await writer.wait_closed()
                    return

    targets = folder / "targets.toml"
    targets.write_text(TARGETS)
    async with serving(edge) as port:
        host = f"http://127.0.0.1:{port}"
        words = (*flags, "--targets", str(targets))
        return await asyncio.to_thread(run, folder, host, *words, seconds=2, users=8)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(
            lambda _: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
            "status 502, expected 200",
            id="502",
        ),
        pytest.param(
            lambda _: GOOD.replace(b"from a", b"from b"),
            "wrong answer: it does not hold 'from a'",
            id="another backend",
        ),
        pytest.param(lambda _: GOOD[:-1] + CUT, "cut: ", id="a body that ends too early"),
        pytest.param(
            lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfrom a\r\n" + CUT,
            "cut: ",
            id="chunks without the last",
        ),
        pytest.param(lambda _: GOOD[:20] + CUT, "cut: ", id="half a head"),
        pytest.param(lambda _: None, "cut: ", id="no answer on a new connection"),
    ],
)
async def test_a_wrong_answer_fails_the_run(answer: Answer, said: str, tmp_path: Path) -> None:
    ended = await against(tmp_path, answer, "--tags", "pages", "uploads")
    assert ended.code == 1
    assert "FAILED: " in ended.output
    assert said in ended.output
    assert {row.kind for row in ended.rows} == {"GET", "POST"}
    assert all(row.failures == row.requests > 0 for row in ended.rows)


async def test_a_kept_alive_connection_that_is_closed_is_no_failure_for_what_may_be_repeated(
    tmp_path: Path,
) -> None:
    """RFC 9112 section 9.3.1: each second request of a connection meets its end."""
    closing: Answer = lambda number: None if number else GOOD  # noqa: E731 # as its siblings above
    ended = await against(tmp_path, closing, "--tags", "pages", "--rate-per-user", "50")
    assert ended.code == 0, ended.output
    (line,) = [line for line in ended.output.splitlines() if line.startswith("connections: ")]
    assert int(line.split()[3]) > 5
    ended = await against(tmp_path, closing, "--tags", "uploads", "--rate-per-user", "50")
    assert ended.code == 1, "a POST was repeated"


async def test_an_edge_that_knows_no_websocket_fails_them(tmp_path: Path) -> None:
    ended = await against(tmp_path, lambda _: GOOD, "--tags", "websocket")
    assert ended.code == 1
    assert "Handshake status 200" in ended.output


async def test_some_failures_may_be_allowed(tmp_path: Path) -> None:
    bad = GOOD.replace(b"200", b"500")
    ended = await against(tmp_path, lambda _: bad, "--tags", "pages", "--fail-ratio", "1")
    assert ended.code == 0
    assert "(100.000%)" in ended.output


def test_an_edge_that_is_not_there_fails_the_run(tmp_path: Path) -> None:
    ended = run(tmp_path, "http://127.0.0.1:9", "--tags", "pages")
    assert ended.code == 1
    assert "ConnectionRefusedError" in ended.output
