"""Processes of containers: started through launch.py, adopted, waited for and signalled here."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

LAUNCH = Path(__file__).with_name("launch.py")
PR_SET_CHILD_SUBREAPER = 36


class StartError(Exception):
    """The command could not be started."""


def adopt_orphans() -> None:
    """Makes this process the parent of every container process, once its launcher has ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Process:
    """A running process; `exit` becomes its exit code, or 128 and the signal that ended it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        loop = asyncio.get_running_loop()
        self.exit: asyncio.Future[int] = loop.create_future()
        self._fd = os.pidfd_open(pid)
        loop.add_reader(self._fd, self._ended)

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.exit.set_result(128 - code if code < 0 else code)

    def kill(self, sig: int = signal.SIGKILL) -> None:
        if not self.exit.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    async def wait(self, seconds: float | None = None) -> bool:
        """Whether it has ended, within the time given."""
        await asyncio.wait({self.exit}, timeout=seconds)
        return self.exit.done()

    def catches(self, sig: int) -> bool:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (sig - 1) & 1)
        return False


async def first(*work: asyncio.Future[Any], seconds: float | None = None) -> None:
    """Until one of them is done."""
    await asyncio.wait(work, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


class Pipe:
    """A pipe from a process to here; `write` is for the process and closed here once it has it."""

    @classmethod
    async def open(cls) -> Pipe:
        pipe = cls()
        read, pipe.write = os.pipe()
        pipe.reader = asyncio.StreamReader(limit=2**20)
        protocol = asyncio.StreamReaderProtocol(pipe.reader)
        pipe.transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: protocol, os.fdopen(read, "rb")
        )
        return pipe

    def __init__(self) -> None:
        self.write: int
        self.reader: asyncio.StreamReader
        self.transport: asyncio.ReadTransport

    def hand_over(self) -> None:
        if self.write >= 0:
            os.close(self.write)
            self.write = -1

    def close(self) -> None:
        self.hand_over()
        self.transport.close()


async def start(spec: dict[str, Any], output: int) -> Process:
    """Starts what the specification says (see launch.py), with its output to a file descriptor."""
    report = await Pipe.open()
    try:
        command = [sys.executable, "-I", "-S", str(LAUNCH), str(report.write)]
        launcher = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=(report.write,),
        )
        report.hand_over()
        await launcher.communicate(json.dumps(spec).encode())
        lines = (
            (await report.reader.read()).decode(errors="replace").splitlines()
        )  # ends when the new program runs, or failed
    finally:
        report.close()
    pid = next((int(x[4:]) for x in lines if x.startswith("pid ")), None)
    error = next((x[6:] for x in lines if x.startswith("error ")), None)
    if pid is None:
        raise StartError(error or "the launcher failed")
    process = Process(pid)
    if error is not None:
        await process.wait()
        raise StartError(error)
    return process


async def run(spec: dict[str, Any], seconds: float | None) -> tuple[int | None, str]:
    """Runs a short command to its end: exit code (None: it took too long and was killed) and
    output.
    """
    out = await Pipe.open()
    try:
        process = await start(spec, out.write)
        out.hand_over()
        text = asyncio.create_task(out.reader.read())
        if not await process.wait(seconds):
            process.kill()
            await process.wait()
        await asyncio.wait({text}, timeout=0.2)  # a child of the command may still hold the pipe
        out.close()
        output = (await text).decode(errors="replace").strip()
        code = process.exit.result()
        return (
            (None, f"timed out after {seconds:g}s")
            if code == 128 + signal.SIGKILL and seconds
            else (code, output)
        )
    finally:
        out.close()
