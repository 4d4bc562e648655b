"""Replicas of the program in a cluster: started processes that read from a fake API server.

Use it in a network of the test's own (fixture ``own_network``): backends are where pods would be.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness import cluster
from tests.harness.backend import Backend
from tests.harness.client import Address, fetch, request
from tests.harness.kube_api import FakeKubeApi
from tests.harness.network import CONTROL_PLANE, PODS
from tests.harness.program import Answer, Program, ask
from tests.harness.strict import Reply
from tests.harness.waiting import until

Json = dict[str, Any]

SECONDS = float(os.environ.get("FAULT_SECONDS", "2"))
"""How long a fault lasts under load; 60 is the full length."""
PUBLISHED = "a new snapshot is published"
HTTP_PORT, HTTPS_PORT, ADMIN_PORT = 8080, 8443, 10254


class Replica:
    """One running program."""

    def __init__(self, program: Program, address: str) -> None:
        self.program = program
        self.http: Address = (address, HTTP_PORT)
        self.https: Address = (address, HTTPS_PORT)
        self._admin = f"{address}:{ADMIN_PORT}"
        self._marked = 0
        self._orphans: list[int] = []

    @property
    def is_killed(self) -> bool:
        return bool(self._orphans)

    def kill(self) -> None:
        """End the control process without a word; its workers drain."""
        self._orphans = self.program.worker_pids()
        self.program.process.kill()

    def end_orphans(self) -> None:
        """Let nobody wait for workers that drain."""
        for pid in self._orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def is_ready(self) -> bool:
        """It has said so."""
        return bool(self.program.events("ready"))

    @property
    def swaps(self) -> int:
        """Tables published after the first one, since the last `mark`."""
        return len(self.program.events(PUBLISHED)) - self._marked

    def mark(self) -> None:
        """Count `swaps` from now on."""
        self._marked = len(self.program.events(PUBLISHED))

    async def until(self, holds: Callable[[], object], what: str, within: float = 10.0) -> float:
        """`waiting.until`, which fails with the log, and at once when the program has ended."""
        ended = self.program.process.poll
        try:
            took = await until(lambda: holds() or ended() is not None, what, within)
            assert ended() is None, f"the program ended before: {what}"
        except AssertionError as error:
            error.add_note(f"log: {self.program.log}\n{self.program.errors}")
            raise
        return took

    async def ask(self, path: str) -> Answer:
        """Ask the admin port."""
        return await asyncio.to_thread(ask, self._admin, path)

    async def answers(self) -> None:
        """Wait until the admin port does; a replica need not be ready for that."""
        deadline = asyncio.get_running_loop().time() + 20
        while True:
            try:
                await self.ask("/healthz")
            except OSError:
                assert asyncio.get_running_loop().time() < deadline, self.program.log
                await asyncio.sleep(0.02)
            else:
                return

    async def get(self, host: str, path: str = "/x") -> Reply:
        """One request of a client."""
        return await fetch(self.http, request(path, host=host))

    async def serves(
        self, host: str, status: int = 200, *, within: float, path: str = "/x"
    ) -> float:
        """Wait until requests for the host get this status; gives the seconds that it took."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        while (seen := (await self.get(host, path)).status) != status:
            if loop.time() - start > within:
                log = self.program.log[-20:]
                raise AssertionError(f"{host} answers {seen} after {within} s; log: {log}")
            await asyncio.sleep(0.005)
        return loop.time() - start

    async def version(self) -> int:
        """Of the table."""
        return int((await self.ask("/routes")).json()["version"])

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of the metric's samples with these labels."""
        text = (await self.ask("/metrics")).body.decode()
        total = 0.0
        for found, value in re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE):
            known = dict(re.findall(r'(\w+)="([^"]*)"', found))
            if labels.items() <= known.items():
                total += float(value)
        return total

    async def diagnostics(self, kind: str = "") -> list[Json]:
        """Those about objects of a kind, or all."""
        found = (await self.ask("/diagnostics")).json()["diagnostics"]
        return [each for each in found if kind in ("", each["object"]["kind"])]

    async def diagnosed(
        self, code: str, *, saying: str = "", gone: bool = False, within: float = 5.0
    ) -> list[Json]:
        """Wait until there are diagnostics with this code and text, or none; gives them."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while True:
            found = await self.diagnostics()
            matching = [
                each for each in found if each["code"] == code and saying in each["message"]
            ]
            if bool(matching) is not gone:
                return matching
            assert loop.time() < deadline, f"{code}, gone {gone}: never; there are {found}"
            await asyncio.sleep(0.02)


class Cluster(NamedTuple):
    """What replicas run in."""

    api: FakeKubeApi
    backend: Backend
    folder: Path

    def put(self, *objects: Json) -> None:
        for each in objects:
            self.api.put(each)

    def lists(self, pattern: str = "", *, since: int = 0) -> int:
        """Whole lists of a kind that were begun since so many requests; looks for the version of a
        list are none."""
        return sum(
            seen.verb == "list"
            and pattern in seen.path
            and seen.query.get("limit") != "1"
            and "continue" not in seen.query
            for seen in self.api.requests[since:]
        )

    @contextlib.asynccontextmanager
    async def replica(
        self,
        *words: str,
        pace: float = 1.0,
        address: str = "127.0.0.1",
        user: Json | None = None,
        variables: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> AsyncIterator[Replica]:
        """Start one; its end is awaited.

        Args:
            words: further flags.
            pace: how many times faster it deals with the API than it really does.
            address: of all its ports; on loopback, another one for each replica.
            user: its entry in the kubeconfig.
            ready: wait until it is.
        """
        config = self.api.kubeconfig(self.folder, user=user)
        program = Program(
            *("run", "--kubeconfig", config, "--bind", address, "--admin-bind", address),
            *("--http-port", str(HTTP_PORT), "--admin-port", str(ADMIN_PORT), *words),
            module="ingress_controller" if pace == 1.0 else "tests.harness.paced_program",
            variables={
                "PACE_FACTOR": str(pace),
                "INGRESS_HTTPS_PORT": str(HTTPS_PORT),
                **(variables or {}),
            },
        )
        # It may want to tell the API something when it ends, so our loop must go on meanwhile.
        await asyncio.to_thread(program.__enter__)
        replica = Replica(program, address)
        try:
            await replica.until(lambda: program.events("the objects come from"), "started", 30)
            if ready:
                await replica.until(lambda: replica.is_ready, "ready", 30)
            yield replica
            ended = program.process.poll()
            assert ended is None or replica.is_killed, f"it ended: {ended} {program.errors}"
            defects = [each for each in program.log if "traceback" in each]
            assert not defects, defects
            assert not program.errors, program.errors
        finally:
            replica.end_orphans()
            await asyncio.to_thread(program.__exit__, *sys.exc_info())


@contextlib.asynccontextmanager
async def small_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """A class, a Service with one endpoint, and an Ingress for the host of the usual load."""
    with Backend(address=PODS[0]) as backend:
        async with FakeKubeApi(address=CONTROL_PLANE) as api:
            made = Cluster(api, backend, folder)
            made.put(cluster.ingress_class("python"), cluster.service("web"))
            made.put(slice_of("web", backend), route("base", "h.test"))
            yield made
            assert backend.violations == [], backend.violations


def route(name: str, host: str, service: str = "web", *, tls: str = "", **meta: Any) -> Json:
    """An Ingress of one host; ``tls`` is the name of a Secret, ``meta`` further metadata."""
    backend = {"service": {"name": service, "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    spec: Json = {"ingressClassName": "python", "rules": [{"host": host, "http": {"paths": paths}}]}
    if tls:
        spec["tls"] = [{"hosts": [host], "secretName": tls}]
    found = cluster.ingress(name, **spec)
    found["metadata"] |= meta
    return found


def slice_of(
    service: str, *backends: Backend, name: str = "", ready: bool = True, **more: Any
) -> Json:
    """An EndpointSlice with a backend's address each; all have the port of the first."""
    found = cluster.slices(service, *(each.address for each in backends))
    found["metadata"]["name"] = name or service
    found["ports"] = [{"port": each.port} for each in backends[:1]]
    for endpoint in found["endpoints"]:
        endpoint["conditions"] = {"ready": ready, "serving": ready} | more
    return found
