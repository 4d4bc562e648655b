"""The bytes of one client connection → request heads, body pieces and ends.

A decoder has no transport and no clock. It calls the methods of a small interface (its sink)
instead of returning event objects, so that a body piece costs one call.
"""

from typing import Protocol

import httptools

from router.http.chunked import ChunkedDecoder
from router.http.faults import (
    BAD_REQUEST_LINE,
    BAD_SYNTAX,
    HEAD_TOO_LARGE,
    TARGET_TOO_LONG,
    TLS_ON_PLAIN_PORT,
    Fault,
)
from router.http.fields import Field, FieldReader
from router.http.head import RequestHead
from router.http.requests import (
    for_llhttp,
    judge_refused_head,
    read_request_head,
    repeat_request_head,
)

_NO_TRAILERS: list[Field] = []
_TLS_HANDSHAKE = 22
"""First byte of a TLS connection (RFC 8446 5.1); no request begins with it."""
_REPEATED = 4096
"""Bytes of fields that a connection keeps to compare the next request's with."""
_BLANK_LINES = 2
"""Empty lines skipped before a request line (RFC 9112 2.2 asks for at least one)."""
_HEAD, _LENGTH, _CHUNKED, _WAIT, _STOPPED = range(5)


class _Gate:
    """llhttp only judges: it has nobody to tell about fields."""


class RequestSink(Protocol):
    """Who hears what a client sends."""

    def request_head(self, head: RequestHead) -> None: ...
    def request_body(self, piece: bytes) -> None: ...
    def request_end(self, trailers: list[Field]) -> None: ...
    def request_fault(self, fault: Fault) -> None: ...


class RequestDecoder:
    """Requests of one client connection, one at a time.

    After a request's end, further bytes are held until `next` says that the exchange is over
    (RFC 9112 9.3.2: answers come in order). After a fault nothing more is read.
    """

    __slots__ = (
        "_before",
        "_blank_lines",
        "_block",
        "_body",
        "_fields",
        "_gated",
        "_held",
        "_left",
        "_max_fields",
        "_max_head",
        "_parser",
        "_refused",
        "_running",
        "_sink",
        "_state",
    )

    def __init__(
        self, sink: RequestSink, fields: FieldReader, max_head: int, max_fields: int
    ) -> None:
        self._sink = sink
        self._fields = fields
        self._max_head = max_head
        self._max_fields = max_fields
        self._state = _HEAD
        self._held = b""
        self._gated = 0
        self._refused = False
        self._parser: httptools.HttpRequestParser | None = None
        self._blank_lines = 0
        self._left = 0
        self._body: ChunkedDecoder | None = None
        self._running = False
        self._block = b""
        self._before: RequestHead | None = None

    @property
    def held(self) -> int:
        """Bytes that wait for the next request's turn, or for the rest of a head."""
        return len(self._held)

    @property
    def in_head(self) -> bool:
        """Whether some bytes of a head, but not all, have come."""
        return self._state == _HEAD and (bool(self._held) or self._blank_lines > 0)

    @property
    def in_body(self) -> bool:
        """Whether body bytes are still expected."""
        return self._state == _LENGTH or self._state == _CHUNKED

    def receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._state == _LENGTH and len(data) < self._left:
            self._left -= len(data)
            self._sink.request_body(data)
            return
        self._held = self._held + data if self._held else data
        if not self._running:
            self._run()

    def next(self) -> None:
        """The exchange is over: the next request's turn."""
        self._state = _HEAD
        if self._held and not self._running:
            self._run()

    def stop(self) -> bytes:
        """Read nothing more; the bytes that were held belong to the caller now."""
        held, self._held = self._held, b""
        self._state = _STOPPED
        return held

    def _run(self) -> None:
        # A loop, not recursion: a sink may answer at once and call `next` from within.
        self._running = True
        try:
            while self._held:
                state = self._state
                if state == _HEAD:
                    if not self._read_head():
                        break
                elif state == _LENGTH:
                    self._read_length()
                elif state == _CHUNKED:
                    self._read_chunked()
                elif state == _STOPPED:
                    self._held = b""
                else:
                    break
        finally:
            self._running = False

    def _read_head(self) -> bool:
        data = self._held
        if data[0] == 13:
            return self._skip_blank_line()
        if data[0] == _TLS_HANDSHAKE:
            self._fail(TLS_ON_PLAIN_PORT)
            return False
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return self._read_partial_head(data)
        end += 4
        if end == len(data):
            raw, self._held = data, b""
        else:
            raw, self._held = data[:end], data[end:]
        if end > self._max_head:
            self._fail(
                HEAD_TOO_LARGE if raw.find(b"\r\n") <= self._fields.max_line else TARGET_TOO_LONG
            )
            return False
        fault = self._judge(raw, complete=True)
        if fault is not None:
            self._fail(fault)
            return False
        head = self._read(raw)
        self._gated = 0
        self._blank_lines = 0
        self._refused = False
        if isinstance(head, Fault):
            self._fail(head)
            return False
        if head.chunked or head.content_length > 0:
            self._parser = None  # it waits for a body that is none of its business
            if head.chunked:
                self._body = ChunkedDecoder(self._fields, refuse_trailers=True)
                self._state = _CHUNKED
            else:
                self._left = head.content_length
                self._state = _LENGTH
            self._sink.request_head(head)
        else:
            self._state = _WAIT
            self._sink.request_head(head)
            self._sink.request_end(_NO_TRAILERS)
        return True

    def _read(self, raw: bytes) -> RequestHead | Fault:
        line_end = raw.find(b"\r\n")
        block = raw[line_end:]
        if block == self._block and self._before is not None:
            repeated = repeat_request_head(raw, line_end, self._before, self._fields.max_line)
            if repeated is not None:
                return repeated
        head = read_request_head(raw, self._fields, self._max_fields)
        if isinstance(head, RequestHead) and head.may_repeat() and len(block) <= _REPEATED:
            self._block, self._before = block, head
        return head

    def _read_partial_head(self, data: bytes) -> bool:
        """Refuse what can be refused before the head is complete; always False."""
        if len(data) > self._max_head:
            line_end = data.find(b"\r\n")
            too_long = line_end < 0 or line_end > self._fields.max_line
            self._fail(TARGET_TOO_LONG if too_long else HEAD_TOO_LARGE)
            return False
        fault = self._judge(data, complete=False)
        if fault is not None:
            self._fail(fault)
        return False

    def _skip_blank_line(self) -> bool:
        if self._held == b"\r":
            return False
        if not self._held.startswith(b"\r\n") or self._blank_lines >= _BLANK_LINES:
            self._fail(BAD_REQUEST_LINE)
            return False
        self._blank_lines += 1
        self._held = self._held[2:]
        return True

    def _judge(self, data: bytes, *, complete: bool) -> Fault | None:
        """Have llhttp look at the bytes of this head that it has not seen."""
        if self._refused:
            return self._judge_refused(data, complete=complete)
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(_Gate())
        try:
            parser.feed_data(data[self._gated :] if self._gated else data)
        except httptools.HttpParserUpgrade:
            self._parser = None
        except httptools.HttpParserError:
            self._parser = None
            self._refused = True
            return self._judge_refused(data, complete=complete)
        self._gated = len(data)
        return None

    def _judge_refused(self, data: bytes, *, complete: bool) -> Fault | None:
        """llhttp refused; wait for the whole request line, then say exactly why."""
        line, end, _ = data.partition(b"\r\n")
        if not end and b"\n" not in line and b"\r" not in line[:-1]:
            return None  # bounded by the size of a head and its deadline
        judged = for_llhttp(data)
        if judged is None:
            return judge_refused_head(data, self._fields.max_line)
        if not complete:
            return None
        try:
            httptools.HttpRequestParser(_Gate()).feed_data(judged)
        except httptools.HttpParserUpgrade:
            return None
        except httptools.HttpParserError:
            return BAD_SYNTAX
        return None

    def _read_length(self) -> None:
        data, left = self._held, self._left
        if len(data) < left:
            self._left -= len(data)
            self._held = b""
            self._sink.request_body(data)
            return
        self._held = data[left:]
        self._left = 0
        self._state = _WAIT
        self._sink.request_body(data[:left])
        if self._state == _WAIT:
            self._sink.request_end(_NO_TRAILERS)

    def _read_chunked(self) -> None:
        body = self._body
        assert body is not None  # noqa: S101 - the state says so
        data, self._held = self._held, b""
        pieces = body.feed(data)
        if isinstance(pieces, Fault):
            self._fail(pieces)
            return
        if body.done:
            self._held = body.rest
            self._body = None
            self._state = _WAIT
        if pieces:
            self._sink.request_body(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if body.done and self._state == _WAIT:
            self._sink.request_end(body.trailers)

    def _fail(self, fault: Fault) -> None:
        self._state = _STOPPED
        self._held = b""
        self._sink.request_fault(fault)
