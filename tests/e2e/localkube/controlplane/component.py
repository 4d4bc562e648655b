"""One process of the control plane."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cluster import Cluster

HERE = Path(__file__).resolve().parent


class ClusterError(Exception):
    """Says in plain words why there is no cluster (any more)."""


async def first(*work: asyncio.Future[Any]) -> None:
    """Until one of them is done."""
    await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)


class Component:
    """A process of the control plane, with its log and its pid in files of the run directory."""

    def __init__(self, cluster: Cluster, name: str, command: list[str], ready: str = "") -> None:
        self.cluster, self.name, self.command = cluster, name, command
        self.ready_url = ready
        self.log, self.pidfile = cluster.dir / f"{name}.log", cluster.dir / f"{name}.pid"
        self.process: asyncio.subprocess.Process | None = None
        self.wanted = False

    async def start(self) -> None:
        if self.wanted:
            return
        with open(self.log, "ab") as log:  # noqa: ASYNC230 # a local file, opened at once
            out = None if self.cluster.options.verbose else log
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=HERE.parent,
            )
        self.pidfile.write_text(f"{self.process.pid}\n")
        self.wanted = True
        self.cluster.spawn(self._watch(self.process))

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if self.wanted and process is self.process:
            what = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
            self.cluster.fail(f"{self.name} {what}.{self.tail()}")

    async def ready(self, seconds: float = 60) -> None:
        """Until the health URL answers."""
        if not self.ready_url:
            return
        error = await asyncio.to_thread(
            self.cluster.get,
            self.ready_url,
            seconds,
            lambda: not self.wanted or self.cluster.failed.done(),
        )
        if error and not self.cluster.failed.done():
            raise ClusterError(
                f"{self.name} was not ready within {seconds:g} s ({error}).{self.tail()}"
            )

    async def stop(self, sig: int = signal.SIGTERM) -> None:
        if not self.wanted or self.process is None:
            return
        self.wanted = False
        self.signal(signal.SIGCONT)
        self.signal(sig)
        try:
            await asyncio.wait_for(self.process.wait(), 10)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.process.wait()
        self.pidfile.unlink(missing_ok=True)

    def signal(self, sig: int) -> None:
        if self.process and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(sig)

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-15:] if self.log.exists() else []
        return " The end of its log:\n  " + "\n  ".join(lines) if lines else ""
