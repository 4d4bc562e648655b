"""The supervisor against workers with one fault each (fault table F-25)."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path

import pytest

from ingress_controller.logs import Log
from ingress_controller.supervisor.sockets import bind_listener
from ingress_controller.supervisor.workers import (
    LONGEST_DELAY,
    Supervisor,
    WorkerSetup,
    restart_delay,
)
from router.model import wire
from router.model.limits import Limits
from router.model.snapshot import Delta, Snapshot
from router.model.wire import Options

FAKE = Path(__file__).parents[2] / "fakes" / "worker.py"
ROOT = str(Path(__file__).parents[3])


class Supervised:
    """A supervisor, what it logged, and a way to wait for a state."""

    def __init__(self, supervisor: Supervisor, log: StringIO, progress: asyncio.Event) -> None:
        self.supervisor = supervisor
        self.log = log
        self._progress = progress

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not holds():
                self._progress.clear()
                try:
                    await asyncio.wait_for(self._progress.wait(), 0.05)
                except TimeoutError:
                    continue

    def versions(self) -> list[int | None]:
        return [status.version for status in self.supervisor.statuses]


@asynccontextmanager
async def supervised(
    mode: str, *, slots: int = 1, acknowledge: float = 10.0, rotate: float = 3600.0
) -> AsyncIterator[Supervised]:
    listener = bind_listener(["127.0.0.1"], 0, slots=slots, port_flag="--http-port")
    stream = StringIO()
    log = Log("text", "debug", stream)
    progress = asyncio.Event()
    setup = WorkerSetup(
        listeners={"http": listener},
        limits=Limits(),
        options=Options(),
        program=(sys.executable, str(FAKE), mode),
        acknowledge_seconds=acknowledge,
        rotate_seconds=rotate,
    )
    supervisor = Supervisor(setup, log, progress.set)
    running = asyncio.create_task(supervisor.run())
    try:
        yield Supervised(supervisor, stream, progress)
    finally:
        supervisor.kill()
        await asyncio.wait_for(running, 10)
        log.close()
        listener.close()


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake is a script; it finds the packages where the tests find them."""
    monkeypatch.setenv("PYTHONPATH", ROOT)


async def test_every_worker_gets_the_snapshot_and_then_deltas() -> None:
    async with supervised("good", slots=2) as it:
        it.supervisor.publish(Snapshot(version=1), None)
        await it.until(lambda: it.versions() == [1, 1])
        it.supervisor.publish(Snapshot(version=2), Delta(base=1, version=2))
        await it.until(lambda: it.versions() == [2, 2])
        assert it.supervisor.totals.swaps == 4
        assert it.supervisor.totals.counters["loads"] == 2


async def test_a_killed_worker_is_replaced_and_gets_the_current_snapshot() -> None:
    async with supervised("good") as it:
        it.supervisor.publish(Snapshot(version=1), None)
        it.supervisor.publish(Snapshot(version=2), Delta(base=1, version=2))
        await it.until(lambda: it.versions() == [2])
        first = it.supervisor.statuses[0].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await it.until(lambda: it.supervisor.statuses[0].pid not in (first, None))
        await it.until(lambda: it.versions() == [2])
        assert it.supervisor.statuses[0].restarts == 1
        assert it.supervisor.totals.counters["loads"] == 2


def secrets_told(it: Supervised) -> dict[str, int]:
    """How many workers got each secret, by its digest."""
    counters = it.supervisor.totals.counters
    return {name: count for name, count in counters.items() if name.startswith("tickets.")}


async def test_all_workers_share_a_ticket_secret_and_a_new_worker_gets_it_too() -> None:
    async with supervised("good", slots=2) as it:
        await it.until(lambda: list(secrets_told(it).values()) == [2])
        pid = it.supervisor.statuses[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await it.until(lambda: list(secrets_told(it).values()) == [3])
        ((name, _),) = secrets_told(it).items()
        assert name.startswith("tickets.32.")


async def test_ticket_secrets_are_random_and_rotate_for_every_worker() -> None:
    async with supervised("good", slots=2, rotate=0.2) as it:
        await it.until(lambda: sum(count >= 2 for count in secrets_told(it).values()) >= 3)
        assert "session tickets have a new secret" in it.log.getvalue()


async def test_a_worker_out_of_step_gets_the_whole_snapshot() -> None:
    async with supervised("lost") as it:
        it.supervisor.publish(Snapshot(version=1), None)
        await it.until(lambda: it.versions() == [1])
        it.supervisor.publish(Snapshot(version=2), Delta(base=1, version=2))
        await it.until(lambda: it.versions() == [2])
        assert it.supervisor.statuses[0].restarts == 0


async def test_a_worker_that_does_not_acknowledge_is_killed_and_replaced() -> None:
    async with supervised("mute", acknowledge=0.2) as it:
        it.supervisor.publish(Snapshot(version=1), None)
        await it.until(lambda: it.supervisor.statuses[0].restarts >= 1)
    assert "a worker is killed: it did not acknowledge a snapshot within 0.2 s" in it.log.getvalue()


async def test_deltas_beyond_a_bound_are_left_out_and_replaced_by_one_snapshot() -> None:
    """A worker that reads late costs a bounded queue, not one message a change."""
    async with supervised("good") as it:
        it.supervisor.publish(Snapshot(version=1), None)
        await it.until(lambda: it.versions() == [1])
        for version in range(2, 202):
            it.supervisor.publish(
                Snapshot(version=version), Delta(base=version - 1, version=version)
            )
        await it.until(lambda: it.versions() == [201])
        assert it.supervisor.totals.swaps < 100
        assert it.supervisor.statuses[0].restarts == 0


async def test_rules_that_are_too_large_leave_workers_with_what_they_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with supervised("good") as it:
        it.supervisor.publish(Snapshot(version=1), None)
        await it.until(lambda: it.versions() == [1])
        with monkeypatch.context() as patch:
            patch.setattr(wire, "MAX_FRAME", 1)
            it.supervisor.publish(Snapshot(version=2), Delta(base=1, version=2))
        await it.until(lambda: "more than a worker can be sent" in it.log.getvalue())
        assert it.versions() == [1]
        it.supervisor.publish(Snapshot(version=3), Delta(base=2, version=3))
        await it.until(lambda: it.versions() == [3])
        assert it.supervisor.statuses[0].restarts == 0


async def test_a_worker_that_sends_garbage_is_killed_and_replaced() -> None:
    async with supervised("garbage") as it:
        await it.until(lambda: it.supervisor.statuses[0].restarts >= 1)
    assert "(it sent what is no message of ours" in it.log.getvalue()


async def test_a_worker_that_keeps_dying_is_started_again_with_growing_delays() -> None:
    async with supervised("dying") as it:
        await it.until(lambda: it.supervisor.statuses[0].restarts >= 3)
    assert "exit code 3" in it.log.getvalue()
    assert 'restart_in="0.25 s"' in it.log.getvalue()


async def test_drained_workers_end_the_run() -> None:
    async with supervised("good", slots=2) as it:
        it.supervisor.publish(Snapshot(version=1), None)
        await it.until(lambda: it.versions() == [1, 1])
        it.supervisor.drain(accept=0.0, timeout=0.0)
        await it.until(lambda: all(s.pid is None for s in it.supervisor.statuses))
        assert [s.restarts for s in it.supervisor.statuses] == [0, 0]


async def test_a_worker_that_does_not_end_is_killed_after_its_time() -> None:
    async with supervised("stubborn") as it:
        it.supervisor.publish(Snapshot(version=1), None)
        await it.until(lambda: it.versions() == [1])
        it.supervisor.drain(accept=0.0, timeout=0.0)
        await it.until(lambda: it.supervisor.statuses[0].pid is None)


def test_the_first_restart_waits_for_nothing_and_later_ones_for_a_bounded_time() -> None:
    delays = [restart_delay(failures) for failures in range(2000)]
    assert delays[:2] == [0.0, 0.0]
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_DELAY
