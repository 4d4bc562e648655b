"""`ingress-controller run` as a process: reload, faults, the end."""

import contextlib
import http.client
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.program import (
    Answer,
    Program,
    ask,
    endpoint_slice,
    ingress,
    sample_backend,
    service,
)

FREE_PORTS = ("--bind", "127.0.0.1", "--http-port", "0", "--admin-port", "0")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a backend."""
    with sample_backend("one") as port:
        yield port


@pytest.fixture
def folder(tmp_path: Path, port: int) -> Path:
    """A folder with one Ingress for shop.test."""
    (tmp_path / "ingress.yaml").write_text(ingress("shop", "shop.test"))
    (tmp_path / "service.yaml").write_text(service("shop", port))
    return tmp_path


@contextlib.contextmanager
def running(folder: Path, *words: str) -> Iterator[Program]:
    with Program("run", "--manifests", str(folder), *FREE_PORTS, *words) as program:
        yield program.ready()


def statuses(program: Program, host: str = "shop.test") -> int:
    return ask(program.http, "/", host).status


def test_it_serves_and_tells_on_the_admin_port(folder: Path) -> None:
    with running(folder) as program:
        answer = ask(program.http, "/a", "shop.test")
        assert answer.status == 200
        told = answer.json()
        assert told["backend"] == "one"
        assert told["headers"]["X-Forwarded-Port"] == program.http.split(":")[1]
        assert ask(program.http, "/", "other.test").status == 404

        assert ask(program.admin, "/readyz").json() == {"ready": True, "reason": "ready"}
        assert ask(program.admin, "/healthz").status == 200
        routes = ask(program.admin, "/routes").json()
        assert list(routes["hosts"]) == ["shop.test"]
        assert routes["hosts"]["shop.test"]["routes"][0]["origin"]["name"] == "shop"
        assert [e["address"] for e in routes["upstreams"]["test/shop:80"]["endpoints"]] == [
            "127.0.0.1"
        ]
        counted = (
            'ingress_requests_total{code="2xx",ingress="shop",namespace="test",service="shop"} 1.0'
        )
        program.until(
            lambda: counted.encode() in ask(program.admin, "/metrics").body, "a counted request"
        )
        assert ask(program.admin, "/").status == 200
        missing = ask(program.admin, "/nothing")
        assert (missing.status, missing.json()["error"]) == (
            404,
            "there is no page /nothing; / lists all pages",
        )
        assert ask(program.admin, "/routes", method="POST").status == 405


def test_a_changed_file_is_served_within_a_second(folder: Path) -> None:
    """Measured three times: a busy machine may delay one, a slow program delays all."""
    taken = []
    with running(folder) as program:
        for number in range(3):
            host = f"new{number}.test"
            assert statuses(program, host) == 404
            written = time.monotonic()
            (folder / "ingress.yaml").write_text(ingress("shop", host))
            program.until(lambda host=host: statuses(program, host) == 200, f"{host} is served")
            taken.append(time.monotonic() - written)
    assert min(taken) < 1.0


def test_a_broken_file_leaves_the_last_good_state_serving_and_says_so(folder: Path) -> None:
    with running(folder) as program:
        (folder / "ingress.yaml").write_text("spec: [")
        program.until(
            lambda: any(each.get("code") == "file-malformed" for each in program.log),
            "the broken file is reported",
        )
        assert statuses(program) == 200
        found = ask(program.admin, "/diagnostics").json()["diagnostics"]
        assert [each["code"] for each in found] == ["file-malformed"]
        assert found[0]["file"].endswith("ingress.yaml")

        (folder / "ingress.yaml").write_text(ingress("shop", "repaired.test"))
        program.until(lambda: statuses(program, "repaired.test") == 200, "the repaired file")
        program.until(lambda: program.events("no longer: the file is not YAML"), "it is gone")


def test_a_killed_worker_is_replaced_within_a_second_and_no_connection_is_refused(
    folder: Path,
) -> None:
    """F-25: only what ran in that worker is lost; queued connections wait for the next one."""
    with running(folder) as program:
        (first,) = program.worker_pids()
        os.kill(first, signal.SIGKILL)
        killed = time.monotonic()
        assert statuses(program) == 200
        assert time.monotonic() - killed < 2.0
        assert first not in program.worker_pids()
        program.until(
            lambda: (
                b'ingress_worker_restarts_total{worker="0"} 1.0'
                in ask(program.admin, "/metrics").body
            ),
            "the restart is counted",
        )
        assert ask(program.admin, "/readyz").status == 200


def test_endpoints_that_become_unready_and_ready_again_act_within_a_second(
    folder: Path, port: int
) -> None:
    """F-14."""
    with running(folder) as program:
        (folder / "service.yaml").write_text(service("shop", port, ready=False))
        program.until(lambda: statuses(program) == 503, "no endpoint is ready")
        started = time.monotonic()
        refused = ask(program.http, "/", "shop.test")
        assert time.monotonic() - started < 0.5
        assert "Retry-After" in refused.headers
        written = time.monotonic()
        (folder / "service.yaml").write_text(service("shop", port))
        program.until(lambda: statuses(program) == 200, "the endpoint is ready again")
        assert time.monotonic() - written < 2.0


def test_a_slice_replaced_by_another_never_empties_the_service(folder: Path, port: int) -> None:
    """F-16: delete, then add; every request in between is answered."""
    (folder / "service.yaml").write_text(service("shop"))
    (folder / "old.yaml").write_text(endpoint_slice("old", "shop", port))
    seen: list[str] = []

    def answering() -> str:
        answer = ask(program.http, "/", "shop.test")
        seen.append(answer.json()["backend"] if answer.status == 200 else str(answer.status))
        return seen[-1]

    with sample_backend("two") as new_port, running(folder) as program:
        (folder / "old.yaml").unlink()
        gone = time.monotonic()
        # A second is longer than it takes until the deletion is seen, and shorter than its hold.
        while time.monotonic() < gone + 1.0:
            answering()
        (folder / "new.yaml").write_text(endpoint_slice("new", "shop", new_port))
        program.until(lambda: answering() == "two", "the new slice is served")
        while time.monotonic() < gone + 3.0:
            answering()
    assert set(seen) == {"one", "two"}
    assert seen == sorted(seen), "the old endpoint answered after the new one had taken over"


def test_two_workers_share_the_connections(folder: Path) -> None:
    with running(folder, "--workers", "2") as program:
        assert len(program.worker_pids()) == 2
        assert [statuses(program) for _ in range(20)] == [200] * 20
        shown = ask(program.admin, "/metrics").body
        assert b'ingress_workers{state="serving"} 2.0' in shown


def in_background(address: str, path: str) -> tuple[threading.Thread, list[Answer | Exception]]:
    """A request that runs while the test goes on, and where its answer will be."""
    result: list[Answer | Exception] = []

    def run() -> None:
        try:
            result.append(ask(address, path, "shop.test", timeout=20))
        except (OSError, http.client.HTTPException) as error:
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


def open_exchanges(program: Program) -> bool:
    body = ask(program.admin, "/metrics").body
    return b'ingress_worker_open_exchanges{worker="0"} 1.0' in body


def test_sigterm_finishes_what_runs_and_accepts_for_a_while(folder: Path) -> None:
    """F-22: readiness false at once, new connections still served, running requests finished."""
    with running(folder, "--drain-accept", "1s", "--drain-timeout", "10s") as program:
        thread, result = in_background(program.http, "/slow?seconds=3")
        program.until(lambda: open_exchanges(program), "the slow request runs")
        program.process.send_signal(signal.SIGTERM)
        program.until(lambda: ask(program.admin, "/readyz").status == 503, "not ready")
        assert "draining" in ask(program.admin, "/readyz").json()["reason"]
        late = ask(program.http, "/", "shop.test")
        assert late.status == 200
        assert late.headers["Connection"] == "close"
        thread.join()
        assert isinstance(result[0], Answer), result
        assert result[0].status == 200
        assert program.process.wait(10) == 0


def test_sigterm_cuts_what_does_not_end_in_time(folder: Path) -> None:
    with running(folder, "--drain-accept", "0", "--drain-timeout", "500ms") as program:
        thread, result = in_background(program.http, "/slow?seconds=15")
        program.until(lambda: open_exchanges(program), "the slow request runs")
        started = time.monotonic()
        assert program.end(signal.SIGTERM) == 0
        assert time.monotonic() - started < 5.0
        thread.join()
        assert isinstance(result[0], Exception) or result[0].status == 503


def test_after_the_accept_time_connections_are_refused_not_left_waiting(folder: Path) -> None:
    with running(folder, "--drain-accept", "0", "--drain-timeout", "10s") as program:
        thread, _ = in_background(program.http, "/slow?seconds=2")
        program.until(lambda: open_exchanges(program), "the slow request runs")
        program.process.send_signal(signal.SIGTERM)

        def refused() -> bool:
            try:
                ask(program.http, "/", "shop.test", timeout=1)
            except ConnectionRefusedError:
                return True
            except (OSError, http.client.HTTPException):
                return False
            return False

        program.until(refused, "connections are refused")
        thread.join()


def test_ctrl_c_ends_with_130_and_a_second_one_at_once(folder: Path) -> None:
    with running(folder) as program:
        assert program.end(signal.SIGINT) == 130
    with running(folder) as program:
        thread, _ = in_background(program.http, "/slow?seconds=15")
        program.until(lambda: open_exchanges(program), "the slow request runs")
        program.process.send_signal(signal.SIGINT)
        program.until(lambda: program.events("draining"), "draining")
        started = time.monotonic()
        assert program.end(signal.SIGINT) == 130
        assert time.monotonic() - started < 2.0
        thread.join()


def test_a_taken_port_is_one_sentence_and_exit_code_1(folder: Path) -> None:
    with (
        running(folder) as first,
        Program(
            "run", "--manifests", str(folder), "--bind", "127.0.0.1", "--admin-port", "0",
            "--http-port", first.http.split(":")[1],
        ) as second,
    ):  # fmt: skip
        assert second.process.wait(20) == 1
    assert second.errors == [
        f"ingress-controller run: cannot listen on {first.http}: another program listens there; "
        "stop it, or choose another port with --http-port"
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run",), "nothing to serve: this is no pod with a service account"),
        (("run", "--http-port", "x"), "--http-port: 'x' is not a port"),
        (("demo", "--drain-timeout", "soon"), "--drain-timeout: 'soon' is not a duration"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(words: tuple[str, ...], sentence: str) -> None:
    with Program(*words) as program:
        assert program.process.wait(20) == 2
    assert len(program.errors) == 1
    assert sentence in program.errors[0]
