"""A log reader that stands still (F-34)."""

import asyncio
import json
import os

from router.model.wire import Options
from tests.harness.backend import Backend
from tests.harness.client import Connection, fetch, request
from tests.harness.load import steady_load
from tests.harness.waiting import until
from tests.harness.worker import Worker

MOST_REQUESTS = 100_000
"""Our queue must be full long before."""


class Pipe:
    """A pipe whose reader reads only when the test wants it."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)

    def __enter__(self) -> "Pipe":
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._reading)
        os.close(self.writing)

    def read(self) -> bytes:
        """What is in the pipe now."""
        data = b""
        try:
            while piece := os.read(self._reading, 65536):
                data += piece
        except BlockingIOError:
            pass
        return data


async def test_blocked_log_reader_loses_lines_and_delays_nothing() -> None:
    with (
        Pipe() as pipe,
        Backend() as backend,
        Worker(options=Options(access_log="-"), stdout=pipe.writing) as worker,
    ):
        worker.serve({"h.test": {"/": "web"}}, {"web": [backend.endpoint]})
        memory = 0
        for turn in range(MOST_REQUESTS // 1000):
            await _thousand(worker)
            backend.forget()
            memory = memory or worker.memory
            if worker.counted("access_log_lines_dropped") and turn > 5:
                break
        assert worker.counted("access_log_lines_dropped") > 0
        assert worker.memory < memory + 20 * 1024 * 1024

        async with steady_load(worker.address) as load:
            await asyncio.sleep(2)
        assert load.failures == []
        assert load.p99 < 0.05  # it is 2 ms on an idle machine, and would be for ever if we waited

        data = b""

        async def logged(target: bytes) -> None:
            nonlocal data
            await fetch(worker.address, request(target.decode()))

            def there() -> bool:
                nonlocal data
                data += pipe.read()
                return target in data and data.endswith(b"\n")

            await until(there, f"a line for {target!r}")

        await _emptied(pipe)
        await logged(b"/after-the-jam")
        for line in data.splitlines():
            assert json.loads(line)["status"] == 200
        worker.check()


async def _emptied(pipe: Pipe) -> None:
    """Read until nothing comes any more: then the queue is empty too."""
    quiet = 0

    def is_quiet() -> bool:
        nonlocal quiet
        quiet = 0 if pipe.read() else quiet + 1
        return quiet > 400  # of 2 ms each, three times the interval in which batches are written

    await until(is_quiet, "the jam dissolves")


async def _thousand(worker: Worker) -> None:
    async with await Connection.open(worker.address) as connection:
        for _ in range(50):
            connection.reader.methods.clear()
            await connection.send(request("/many") * 20)
            replies = await connection.receive(20)
            assert [reply.status for reply in replies] == [200] * 20
