"""Rolling update of a backend: three pods are replaced at once under load (F-18)."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from router.model.upstreams import Endpoint
from tests.harness.client import request
from tests.harness.load import steady_load
from tests.harness.waiting import until
from tests.harness.worker import Worker

PROGRAM = Path(__file__).with_name("pod.py")
LAG = 0.2
"""Seconds from a pod's SIGTERM until the endpoint change reaches the worker: others learn late."""


class Pod:
    """A running pod."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        self.endpoint = Endpoint(address="127.0.0.1", port=int(process.stdout.readline()))
        self.process = process


@contextmanager
def pod(name: str, grace: float) -> Iterator[Pod]:
    command = [sys.executable, str(PROGRAM), name, str(grace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield Pod(process)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("method", "grace"),
    [
        pytest.param("GET", 0.0, id="GET while pods end at once"),
        pytest.param("GET", 0.5, id="GET while pods drain"),
        pytest.param("POST", 0.5, id="POST while pods drain"),
    ],
)
async def test_replacing_all_pods_at_once_fails_no_request(method: str, grace: float) -> None:
    def make(nonce: str) -> bytes:
        return request("/x", method=method, nonce=nonce, body=b"x" if method == "POST" else b"")

    with ExitStack() as stack:
        old = [stack.enter_context(pod(f"old-{number}", grace)) for number in range(3)]
        new = [stack.enter_context(pod(f"new-{number}", grace)) for number in range(3)]
        worker = stack.enter_context(Worker())
        endpoints = [running.endpoint for running in old]
        worker.serve({"h.test": {"/": "web"}}, {"web": endpoints})
        async with steady_load(worker.address, make=make) as load:
            await asyncio.sleep(0.5)
            # As in a Deployment, the new pods were ready before the old ones are told to end.
            worker.change(services={"web": endpoints + [running.endpoint for running in new]})
            for running in old:
                running.process.terminate()
            await asyncio.sleep(LAG)
            worker.change(services={"web": [running.endpoint for running in new]})
            await until(
                lambda: all(running.process.poll() is not None for running in old), "old pods end"
            )
            await asyncio.sleep(0.3)
        assert load.failures == []
        assert len(load.seconds) > 100
        worker.check()
