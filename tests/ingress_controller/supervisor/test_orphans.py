"""A program that inherits processes, as the first one of a container does."""

import subprocess
import sys

import pytest

INHERITS = """
import asyncio, ctypes, pathlib, sys, time
from ingress_controller.supervisor.orphans import reap_orphans

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

def children():
    return pathlib.Path("/proc/thread-self/children").read_text().split()

async def main():
    reaping = asyncio.create_task(reap_orphans())
    # Each shell ends at once and leaves behind a process that ends soon.
    for _ in range(3):
        leaves = await asyncio.create_subprocess_exec("sh", "-c", "sleep 0.1 & exit 7")
        assert await leaves.wait() == 7
    assert len(children()) == 3
    deadline = time.monotonic() + 20
    codes = []
    while children():
        assert time.monotonic() < deadline, children()
        own = await asyncio.create_subprocess_exec("sh", "-c", "sleep 0.05; exit 3")
        codes.append(await own.wait())
    assert set(codes) == {3}, codes
    reaping.cancel()

if sys.argv[1] == "uvloop":
    import uvloop
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
else:
    runner = asyncio.Runner()
with runner:
    runner.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_orphans_are_reaped_and_the_ends_of_own_children_are_not_taken_away(loop: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INHERITS, loop], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
