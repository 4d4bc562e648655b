"""A worker with one recording backend behind it: what most tests on the wire need."""

import asyncio
import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from router.model import wire
from router.model.limits import Limits
from router.model.snapshot import Answer
from tests.harness.backend import Backend
from tests.harness.client import Address, Connection, request
from tests.harness.strict import Reply
from tests.harness.worker import QUIET, Worker

CLEAN = "/clean"
"""The path of requests that prove that all is well; no script of a test answers it."""

PROMPT = 0.1
"""Seconds in which a clean request on a fresh connection is answered, whatever happened before."""

HURRIED = Limits(
    header_timeout=1.0,
    body_timeout=1.0,
    send_timeout=1.0,
    upstream_connect_timeout=1.0,
    upstream_read_timeout=1.0,
)
"""Short time-outs, for what is about time."""


class Edge:
    """The pair, and the checks that hold after every case."""

    def __init__(self, worker: Worker, backend: Backend) -> None:
        self.worker = worker
        self.backend = backend
        self._nonces = itertools.count(1)

    @property
    def address(self) -> Address:
        """Where clients connect."""
        return self.worker.address

    async def open(
        self, methods: Iterable[str] = (), *, http10: bool = False, receive_buffer: int = 0
    ) -> Connection:
        """A new client connection."""
        return await Connection.open(
            self.address, methods, http10=http10, receive_buffer=receive_buffer
        )

    async def clean(self) -> Reply:
        """A clean request on a fresh connection gets its own answer.

        Raises:
            AssertionError: it does not.
        """
        async with await self.open() as connection:
            return await self.clean_on(connection)

    async def clean_promptly(self) -> None:
        """A clean request is answered within 100 ms; a busy machine gets three tries."""
        times = []
        for _ in range(3):
            start = time.perf_counter()
            await self.clean()
            times.append(time.perf_counter() - start)
            if times[-1] < PROMPT:
                return
        raise AssertionError(f"clean requests took {times}")

    async def clean_on(self, connection: Connection) -> Reply:
        """A clean request on this connection gets its own answer, so the connection lives."""
        nonce = str(next(self._nonces))
        reply = await connection.exchange(request(CLEAN, nonce=nonce))
        assert (reply.status, reply.get("x-nonce")) == (200, nonce), bytes(connection.raw)
        return reply

    async def clean_everywhere(self) -> None:
        """No upstream connection is poisoned: clean requests on all of them at once."""
        count = max(1, min(64, self.backend.open_connections))
        await asyncio.gather(*(self.clean() for _ in range(count)))

    def check(self) -> None:
        """Nothing malformed reached the backend; the worker lives and has not complained.

        Raises:
            AssertionError: it is not so, since the last check.
        """
        violations, self.backend.violations = self.backend.violations, []
        assert violations == [], violations
        self.worker.check()


class Probe:
    """Proves that the worker has read what was sent to it before.

    Its answers come from the worker itself, out of one event loop and after what was ready before.
    """

    TURNS = 3
    """Accepting, reading and answering may each take a turn of the loop."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: Connection | None = None

    async def __aenter__(self) -> "Probe":
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._connection is not None:
            self._connection.close()

    async def pass_through(self, turns: int = TURNS) -> None:
        """Wait until the worker has gone through its loop at least ``turns`` times."""
        for _ in range(turns):
            if self._connection is None:
                self._connection = await Connection.open(self._address)
            reply = await self._connection.exchange(request("/probe", host="nobody.test"))
            assert reply.status == 404
            if reply.get("connection") == "close":
                self._connection.close()
                self._connection = None


@contextmanager
def edge(limits: Limits | None = None, options: wire.Options = QUIET) -> Iterator[Edge]:
    """A worker that serves ``h.test`` from one backend.

    At the end: nothing malformed reached the backend, the worker lives and has not complained, and
    when all connections are closed it has no more descriptors than at the start.
    """
    with Backend() as backend, Worker(limits=limits, options=options) as worker:
        base = worker.descriptors
        worker.serve(
            {
                "h.test": {"/": "web", "=/blocked": Answer(403, "not for the public")},
                "empty.test": {"/": "empty"},
            },
            {"web": [backend.endpoint], "empty": []},
        )
        pair = Edge(worker, backend)
        yield pair
        pair.check()
        backend.close_all()
        worker.descriptors_return_to(base)
