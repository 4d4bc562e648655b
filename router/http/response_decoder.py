"""The bytes of one upstream connection → heads, body pieces and ends of answers.

Like the request decoder it knows neither transport nor clock, and tells a sink, which changes with
each exchange.
"""

from typing import Protocol

from router.http.chunked import ChunkedDecoder
from router.http.faults import BAD_ANSWER, CUT_ANSWER, TOO_MANY_INTERIM, UPSTREAM_CLOSED, Fault
from router.http.fields import Field, FieldReader
from router.http.head import ResponseHead
from router.http.responses import HEAD_END, read_response_head

MAX_INTERIM = 16
"""Interim answers (1xx) before the answer; more are an attack on our memory or patience."""

_NO_TRAILERS: list[Field] = []
_HEAD, _LENGTH, _CHUNKED, _END, _WAIT, _STOPPED, _RAW = range(7)


class ResponseSink(Protocol):
    """Who hears what an upstream answers."""

    def response_head(self, head: ResponseHead) -> None: ...
    def response_body(self, piece: bytes) -> None: ...
    def response_end(self, trailers: list[Field]) -> None: ...
    def response_fault(self, fault: Fault) -> None: ...


class ResponseDecoder:
    """Answers of one upstream connection, each announced by `expect`."""

    __slots__ = (
        "_body",
        "_fields",
        "_held",
        "_interim",
        "_left",
        "_max_fields",
        "_max_head",
        "_no_body",
        "_state",
        "began",
        "clean",
        "sink",
    )

    def __init__(
        self, sink: ResponseSink, fields: FieldReader, max_head: int, max_fields: int
    ) -> None:
        self.sink = sink
        """Who hears of the answer; changes with each exchange."""
        self._fields = fields
        self._max_head = max_head
        self._max_fields = max_fields
        self._state = _STOPPED
        self._held = b""
        self._no_body = False
        self._interim = 0
        self._left = 0
        self._body: ChunkedDecoder | None = None
        self.began = False
        """Whether any byte of the expected answer has come."""
        self.clean = True
        """Whether every byte so far belonged to an answer that was asked for."""

    def expect(self, method: bytes) -> None:
        """A request with this method was sent; its answer comes next."""
        self._no_body = method == b"HEAD"
        self._interim = 0
        self._state = _HEAD
        self._held = b""
        self.began = False

    def receive(self, data: bytes) -> None:
        """Take bytes from the upstream."""
        self.began = True
        if self._state == _LENGTH and len(data) < self._left:
            self._left -= len(data)
            self.sink.response_body(data)
            return
        if self._state == _HEAD:
            data = self._held + data if self._held else data
            rest = self._read_heads(data)
        else:
            rest = data
        if rest:
            self._read_body(rest)

    def end_of_stream(self) -> None:
        """The upstream closed its side: the end of some bodies, else a fault."""
        state = self._state
        if state == _END:
            self._state = _STOPPED
            self.sink.response_end(_NO_TRAILERS)
        elif state == _HEAD:
            self._fail(CUT_ANSWER if self._held else UPSTREAM_CLOSED)
        elif state in (_LENGTH, _CHUNKED):
            self._fail(CUT_ANSWER)

    def stop(self) -> None:
        """No answer is expected any more; whatever comes makes the connection unclean."""
        self._state = _STOPPED

    def _read_heads(self, data: bytes) -> bytes:
        """Read interim and final heads; what follows the final one is returned."""
        while True:
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                end += 4
            else:
                match = HEAD_END.search(data)
                end = match.end() if match else -1
            if end < 0 or end > self._max_head:
                if end > self._max_head or len(data) > self._max_head:
                    self._fail(BAD_ANSWER)
                else:
                    self._held = data
                return b""
            head = read_response_head(data[:end], self._fields, self._max_fields)
            if isinstance(head, Fault):
                # Bare line feeds may have ended the head earlier.
                match = HEAD_END.search(data, 0, end)
                if match is not None and match.end() < end:
                    end = match.end()
                    head = read_response_head(data[:end], self._fields, self._max_fields)
                if isinstance(head, Fault):
                    self._fail(head)
                    return b""
            self._held = b""
            data = data[end:]
            if head.status >= 200 or head.status == 101:
                self._begin_body(head, data)
                return data if self._state != _RAW else b""
            self._interim += 1
            if self._interim > MAX_INTERIM:
                self._fail(TOO_MANY_INTERIM)
                return b""
            self.sink.response_head(head)
            if self._state != _HEAD:
                return b""

    def _begin_body(self, head: ResponseHead, rest: bytes) -> None:
        """RFC 9112 6.3: how long the body is."""
        status = head.status
        if status == 101:
            self._state = _RAW
            self._held = rest
            self.sink.response_head(head)
            return
        if self._no_body or status == 204 or status == 304:
            if status == 204 and (head.content_length > 0 or head.chunked):
                self.clean = False
            self._state = _WAIT
        elif head.chunked:
            self._body = ChunkedDecoder(self._fields, refuse_trailers=False)
            self._state = _CHUNKED
        elif head.content_length >= 0:
            self._left = head.content_length
            self._state = _LENGTH if head.content_length else _WAIT
        else:
            self._state = _END
            head.keep_alive = False  # its end is the connection's end
        if self._state == _WAIT and rest:
            self.clean = False
        self.sink.response_head(head)
        if self._state == _WAIT:
            self._state = _STOPPED
            self.sink.response_end(_NO_TRAILERS)

    def take_raw(self) -> bytes:
        """After 101: the bytes that came behind the head."""
        held, self._held = self._held, b""
        return held

    def _read_body(self, data: bytes) -> None:
        state = self._state
        if state == _LENGTH:
            left = self._left
            if len(data) < left:
                self._left = left - len(data)
                self.sink.response_body(data)
                return
            if len(data) > left:
                self.clean = False
                data = data[:left]
            self._left = 0
            self._state = _STOPPED
            self.sink.response_body(data)
            self.sink.response_end(_NO_TRAILERS)
        elif state == _CHUNKED:
            self._read_chunked(data)
        elif state == _END:
            self.sink.response_body(data)
        else:
            self.clean = False

    def _read_chunked(self, data: bytes) -> None:
        body = self._body
        assert body is not None  # noqa: S101 - the state says so
        pieces = body.feed(data)
        if isinstance(pieces, Fault):
            self._fail(BAD_ANSWER)
            return
        if body.done:
            self._state = _STOPPED
            self._body = None
            if body.rest:
                self.clean = False
        if pieces:
            self.sink.response_body(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if body.done:
            self.sink.response_end(body.trailers)

    def _fail(self, fault: Fault) -> None:
        self._state = _STOPPED
        self._held = b""
        self.clean = False
        self.sink.response_fault(fault)
