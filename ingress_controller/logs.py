"""The log of the control process: few fields, one line an event, on standard error.

The access log is the workers' own and goes elsewhere. A log that nobody reads must not stop the
control loop: lines wait in a bounded queue for a thread that writes them, and are dropped and
counted when it is full.
"""

import logging
import queue
import sys
import textwrap
import threading
import traceback
from datetime import UTC, datetime
from typing import Literal, TextIO

import msgspec

Level = Literal["debug", "info", "warning", "error"]
RANKS: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
MAX_QUEUED_LINES = 4096
CLOSE_SECONDS = 1.0
"""At the end, queued lines have so long to be written."""


class Log:
    """Writes events as JSON objects, as text, or not at all. Safe to use from any thread."""

    def __init__(
        self, form: Literal["json", "text", "off"], level: Level, stream: TextIO = sys.stderr
    ) -> None:
        self._form = form
        self._least = RANKS[level]
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_QUEUED_LINES)
        self.dropped = 0
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def debug(self, event: str, **fields: object) -> None:
        self.write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        self.write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self.write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self.write("error", event, fields)

    def defect(self, event: str, error: BaseException) -> None:
        """A failure of ours: with the traceback, for the people who will repair it."""
        self.write("error", event, {"traceback": "".join(traceback.format_exception(error))})

    def write(self, level: str, event: str, fields: dict[str, object]) -> None:
        """One line, unless the level is too low or nobody reads."""
        if self._form == "off" or RANKS[level] < self._least:
            return
        now = datetime.now(UTC)
        line = as_json(now, level, event, fields)
        if self._form == "text":
            line = as_text(now, level, event, fields)
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Writes what is queued, for a second at most."""
        try:
            self._lines.put(None, timeout=CLOSE_SECONDS)
        except queue.Full:
            return
        self._thread.join(CLOSE_SECONDS)

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line)
                self._stream.flush()
            except (OSError, ValueError):
                self.dropped += 1


def as_json(now: datetime, level: str, event: str, fields: dict[str, object]) -> str:
    """One event as a line of JSON."""
    record: dict[str, object] = {
        "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),  # as in access logs
        "level": level,
        "event": event,
    }
    record |= {
        name: value if isinstance(value, int | float) else str(value)
        for name, value in fields.items()
    }
    return msgspec.json.encode(record).decode() + "\n"


def as_text(now: datetime, level: str, event: str, fields: dict[str, object]) -> str:
    """One event as a line of text; fields stand behind the sentence, a traceback below it."""
    fields = dict(fields)
    below = textwrap.indent(str(fields.pop("traceback", "")), "    ")
    pairs = "".join(f" {name}={_quoted(str(value))}" for name, value in fields.items())
    sentence = " ".join(event.split())
    return f"{now.astimezone():%H:%M:%S} {level:<7} {sentence}{pairs}\n{below}"


def _quoted(value: str) -> str:
    if value.isprintable() and value and not set(value) & {" ", '"', "="}:
        return value
    return msgspec.json.encode(value).decode()


CLOSED_MEANWHILE = "Fatal error on SSL protocol"
"""uvloop reads once more from a TLS connection that was closed a moment before, and takes the
refusal for an error. Nothing is lost: the connection is closed."""


class LibraryHandler(logging.Handler):
    """Brings what libraries log (asyncio, aiohttp) into the same log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        level = "error" if record.levelno >= logging.ERROR else "warning"
        if record.name == "asyncio" and message.startswith(CLOSED_MEANWHILE):
            self._log.write("debug", message.partition("\n")[0], {"logger": record.name})
            return
        fields: dict[str, object] = {"logger": record.name}
        if record.exc_info is not None and record.exc_info[1] is not None:
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        self._log.write(level, message, fields)

    def install(self) -> None:
        """Makes it the only place where libraries log to."""
        logging.basicConfig(handlers=[self], level=logging.WARNING, force=True)
