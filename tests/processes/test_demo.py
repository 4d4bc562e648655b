"""`ingress-controller demo`: everything it prints works, and nothing is left behind."""

import itertools
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.harness.program import Program


@pytest.fixture(scope="module")
def demo() -> Iterator[Program]:
    with Program("demo", "--http-port", "0", "--admin-port", "0") as program:
        program.until(lambda: any(x.startswith("Ready") for x in program.output), "Ready")
        yield program
        processes = program.worker_pids()
        made = authority_file(program).parent
        assert made.stat().st_mode & 0o077 == 0, "others can read the keys"
        assert program.end(signal.SIGINT) == 130
        assert not made.exists()
        assert [pid for pid in processes if Path(f"/proc/{pid}").exists()] == []


def curl_lines(demo: Program) -> dict[str, str]:
    """Each printed curl line by the sentence above it."""
    lines = demo.output
    return {
        above.removeprefix("# "): line
        for above, line in itertools.pairwise(lines)
        if line.startswith("curl")
    }


def authority_file(demo: Program) -> Path:
    (line,) = [line for text, line in curl_lines(demo).items() if "curl verifies" in text]
    words = shlex.split(line)
    return Path(words[words.index("--cacert") + 1])


def run(line: str) -> str:
    done = subprocess.run(
        shlex.split(line), capture_output=True, timeout=30, check=False, env={**os.environ}
    )
    assert done.returncode == 0, (line, done.stderr)
    return done.stdout.decode(errors="replace")


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("a Prefix path", '"backend": "shop-'),
        ("an Exact path", '"backend": "cart-1"'),
        ("one element more", '"backend": "shop-'),
        ("a wildcard host", '"backend": "tenants-1"'),
        ("a host that nobody claims", '"backend": "welcome-1"'),
        ("a Service without endpoints", "Retry-After"),
        ("a slow answer", '"backend": "live-1"'),
        ("an upload", '"body_bytes": 9'),
        ("server-sent events", "data: event 3 from live-1"),
        ("a chunked answer", "3 line 3 from live-1"),
        ("a WebSocket", "hello from live-1"),
        ("a certificate that curl verifies", '"backend": "secure-1"'),
        ("a plain request is redirected", "HTTP/1.1 308 Permanent Redirect"),
        ("the same, followed", '"X-Forwarded-Proto": "https"'),
        ("a client certificate", '"ssl-client-subject-dn": "CN=alice"'),
        ("which certificate answers", "secure-tls"),
        ("why a request goes", "shop.example"),
        ("everything that is served", "shop.example"),
        ("for Prometheus", "ingress_requests_total"),
    ],
)
def test_a_curl_line_works_and_shows_what_it_says(
    demo: Program, sentence: str, expected: str
) -> None:
    (line,) = [line for text, line in curl_lines(demo).items() if text.startswith(sentence)]
    assert expected in run(line)


def test_every_curl_line_succeeds(demo: Program) -> None:
    lines = curl_lines(demo).values()
    assert len(lines) >= 19
    for line in lines:
        assert run(line)


def test_a_host_that_demands_a_client_certificate_is_closed_without_one(demo: Program) -> None:
    (line,) = [line for text, line in curl_lines(demo).items() if text.startswith("a client cert")]
    words = shlex.split(line)
    at = words.index("--cert")
    done = subprocess.run(
        words[:at] + words[at + 2 :], capture_output=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert done.stdout == b""


def test_without_an_https_port_nothing_of_https_is_shown() -> None:
    ports = ("--http-port", "0", "--https-port", "off", "--admin-port", "0")
    with Program("demo", *ports) as program:
        program.until(lambda: any(x.startswith("Ready") for x in program.output), "Ready")
        assert not any("--cacert" in line for line in program.output)
        assert program.end(signal.SIGINT) == 130


def test_several_endpoints_answer_in_turn(demo: Program) -> None:
    (line,) = [line for text, line in curl_lines(demo).items() if "answer in turn" in text]
    answers = [run(line) for _ in range(4)]
    assert sum('"shop-1"' in answer for answer in answers) == 2
    assert sum('"shop-2"' in answer for answer in answers) == 2


@pytest.mark.parametrize("size", [1, 200, 70_000])
def test_a_websocket_echoes_through_the_proxy(demo: Program, size: int) -> None:
    """Each of the three forms of a frame's length (RFC 6455 section 5.2)."""
    where, _, port = demo.http.rpartition(":")
    with (
        socket.create_connection((where, int(port)), timeout=10) as connection,
        connect("ws://shop.example/live/ws", sock=connection, compression=None) as talk,
    ):
        assert talk.recv(timeout=10) == "hello from live-1\n"
        talk.send("x" * size)
        assert talk.recv(timeout=10) == "x" * size
        talk.send(b"y" * size)
        assert talk.recv(timeout=10) == b"y" * size
        assert talk.ping().wait(timeout=10)


def test_a_taken_port_is_one_sentence_and_leaves_nothing_behind(demo: Program) -> None:
    port = demo.http.rpartition(":")[2]
    with Program("demo", "--http-port", port, "--admin-port", "0") as second:
        assert second.process.wait(20) == 1
    assert second.errors == [
        f"ingress-controller demo: cannot listen on {demo.http}: another program listens there; "
        "stop it, or choose another port with --http-port"
    ]
    assert second.output == []
