"""The log of the control process."""

import io
import json
import logging
import os
import threading
from datetime import UTC, datetime

from ingress_controller.logs import (
    MAX_QUEUED_LINES,
    LibraryHandler,
    Log,
    as_json,
    as_text,
)

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def test_a_line_of_json_has_time_level_event_and_fields() -> None:
    line = as_json(NOON, "info", "ready", {"worker": 1})
    assert json.loads(line) == {
        "time": "2026-01-02T12:00:00.000Z",
        "level": "info",
        "event": "ready",
        "worker": 1,
    }
    assert line.count("\n") == 1


def test_user_text_cannot_break_a_line_of_text() -> None:
    """An object's name or field may hold anything; a log line stays one line."""
    line = as_text(NOON, "info", "ready", {"path": "/a\n12:00:00 error forged", "plain": "x"})
    assert line.count("\n") == 1
    assert r'path="/a\n12:00:00 error forged" plain=x' in line


def test_lower_levels_and_the_format_off_write_nothing() -> None:
    stream = io.StringIO()
    log = Log("text", "warning", stream)
    log.info("quiet")
    log.warning("loud")
    log.close()
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()

    silent = io.StringIO()
    log = Log("off", "debug", silent)
    log.error("anything")
    log.close()
    assert silent.getvalue() == ""


def test_a_log_that_nobody_reads_drops_lines_and_never_blocks() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w") as stream:
        log = Log("text", "info", stream)
        for _ in range(3 * MAX_QUEUED_LINES):
            log.info("x" * 100)
        assert log.dropped > 0
        late = threading.Thread(target=reader.read)
        late.start()
        log.close()
        stream.close()
        late.join()


def test_a_race_inside_the_event_loop_is_no_error() -> None:
    stream = io.StringIO()
    log = Log("text", "warning", stream)
    record = logging.LogRecord(
        "asyncio", logging.ERROR, "", 0, "Fatal error on SSL protocol\nprotocol: x", None, None
    )
    LibraryHandler(log).emit(record)
    LibraryHandler(log).emit(
        logging.LogRecord("asyncio", logging.ERROR, "", 0, "another one", None, None)
    )
    log.close()
    assert "SSL" not in stream.getvalue()
    assert "another one" in stream.getvalue()
