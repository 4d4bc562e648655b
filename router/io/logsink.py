"""Writes batches of the access log in a thread of its own.

A blocked reader of standard output, or a slow disk, blocks that thread alone; the queue before
it is bounded, and what has no room is dropped and counted by the caller.
"""

import os
import queue
import threading

MAX_BATCHES = 64
"""Batches that wait to be written (about 64 x 256 lines)."""


class LogSink:
    """A file descriptor that is written by a thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._queue: queue.Queue[bytes | None] = queue.Queue(MAX_BATCHES)
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> bool:
        """Hand over a batch; False when the queue is full. Never blocks."""
        try:
            self._queue.put_nowait(lines)
        except queue.Full:
            return False
        return True

    def close(self, timeout: float) -> None:
        """Write what is queued, within so many seconds."""
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _run(self) -> None:
        while (lines := self._queue.get()) is not None:
            view = memoryview(lines)
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError:
                continue  # the reader is gone or the disk is full: these lines are lost
