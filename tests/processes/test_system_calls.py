"""A keep-alive request costs the kernel two reads, two writes and two waits, and nothing else."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest import backend, configurations, cpu, peers, syscalls

REQUESTS = 2000

PER_SECOND = 60
"""Calls of timers: four ticks a second, each with a batch of log lines for the writing thread."""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[peers.Proxy]:
    """The started program before a running backend, access log and metrics on."""
    proxy_core, load_core = (cpu.two_cores() * 2)[:2]
    with contextlib.ExitStack() as stack:
        backend_port = stack.enter_context(backend.process(load_core, configurations.ADDRESSES))
        proxy = peers.start(
            configurations.OURS,
            tmp_path / "ours",
            core=proxy_core,
            backend_port=backend_port,
            pause=time.sleep,
        )
        stack.callback(proxy.stop)
        yield proxy


def test_a_keep_alive_request_takes_two_reads_and_two_writes(worker: peers.Proxy) -> None:
    """A closed upstream connection, a log line of its own or a timer would show here first."""
    syscalls.one_after_the_other(worker.port, 100)
    try:
        with syscalls.counted(syscalls.workers(worker)) as calls:
            began = time.monotonic()
            syscalls.one_after_the_other(worker.port, REQUESTS)
            seconds = time.monotonic() - began
    except syscalls.CannotTrace as reason:
        pytest.skip(str(reason))

    def total(kind: frozenset[str]) -> int:
        return sum(calls.get(name, 0) for name in kind)

    known = syscalls.READS | syscalls.WRITES | syscalls.WAITS
    others = {name: count for name, count in calls.items() if name not in known}
    # a call in twenty requests is far below the one call a request that this test is for
    slack = REQUESTS // 20 + PER_SECOND * seconds
    assert 2 * REQUESTS <= total(syscalls.READS) <= 2 * REQUESTS + slack, calls
    assert 2 * REQUESTS <= total(syscalls.WRITES) <= 2 * REQUESTS + slack, calls
    assert total(syscalls.WAITS) <= 2 * REQUESTS + slack, calls
    assert sum(others.values()) <= slack, others
