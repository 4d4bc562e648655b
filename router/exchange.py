"""One request and its answer: matches, picks an endpoint, forwards, retries, ends once.

An exchange knows two interfaces, the client's side and the upstream's side, and no transport.
Both sides call it; it never waits.
"""

from router.accesslog import AccessLog, AccessRecord, remote_user
from router.forward.request import upstream_head
from router.forward.response import (
    BY_CHUNKS,
    BY_CLOSE,
    NO_BODY,
    client_head,
    delimit,
    interim_head,
    upgrade_head,
)
from router.forward.retry import Attempts, may_try_again
from router.http.answers import (
    CONTINUE,
    body_size,
    fault_answer,
    options_answer,
    redirect_answer,
)
from router.http.chunked import LAST_CHUNK, chunk, last_chunk
from router.http.faults import (
    BAD_ANSWER,
    BODY_TOO_LARGE,
    CLIENT_GONE,
    CONNECT_REFUSED,
    INTERNAL,
    NO_ENDPOINT,
    POOL_FULL,
    Fault,
    Side,
)
from router.http.fields import Field
from router.http.head import RequestHead, ResponseHead
from router.pool import PooledConnection, Target, UpstreamPool
from router.routing import find_route, https_location, must_redirect
from router.runtime import BoundRoute, Runtime
from router.sides import ClientSide, Dialler, UpstreamSide

KEPT_BODY = 65536
"""Bytes of a request body kept until the answer begins, so that the request can be sent again;
also what is taken from the client while a connection is being opened."""


class Exchange:
    """One request and its answer."""

    __slots__ = (
        "_attempts",
        "_body",
        "_body_size",
        "_client",
        "_delimited",
        "_dialler",
        "_fault",
        "_head",
        "_keep_alive",
        "_out",
        "_over",
        "_path",
        "_pool",
        "_reason",
        "_request_id",
        "_response",
        "_rt",
        "_sent",
        "_started",
        "_status",
        "_target",
        "_trailers",
        "_tried",
        "_upstream",
        "_upstream_seconds",
        "_upstream_started",
        "bytes_received",
        "request_done",
        "route",
        "wait_until",
    )

    def __init__(
        self, client: ClientSide, dialler: Dialler, runtime: Runtime, head: RequestHead
    ) -> None:
        self._client = client
        self._dialler = dialler
        self._rt = runtime
        self._head = head
        self.route: BoundRoute | None = None
        self._started = runtime.clock()
        self._path = b""
        self._pool: UpstreamPool | None = None
        self._target: Target | None = None
        self._tried: list[Target] = []
        self._attempts = Attempts()
        self._upstream: UpstreamSide | None = None
        self._upstream_started = 0.0
        self._upstream_seconds = -1.0
        self._request_id = b""
        self._body: list[bytes] | None = []
        self._body_size = 0
        self.bytes_received = 0
        self.request_done = False
        self._trailers: list[Field] = []
        self._response: ResponseHead | None = None
        self._delimited = NO_BODY
        self._keep_alive = False
        self._out: bytes | None = None
        self._sent = 0
        self._status = 0
        self._fault: Fault | None = None
        self._reason = ""
        self._over = False
        self.wait_until = 0.0

    # -- the request ---------------------------------------------------------------------------

    def start(self) -> None:
        """The head is complete: decide, and send it on or answer."""
        head = self._head
        rt = self._rt
        request_id = self._client.forwarding.request_id(head)
        self._request_id = request_id or b"%032x" % rt.random_bits(128)
        if head.path == b"*":
            self._answer_options()
            return
        client = self._client
        route, self._path, fault, self._reason = find_route(rt, client.hosts, client.policy, head)
        self.route = route
        if route is not None and must_redirect(route, client.forwarding, head):
            self._redirect()
            return
        if fault is None and route is not None:
            self._pool = route.pool()
        if fault is not None or self._pool is None:
            self.fail(fault or NO_ENDPOINT)
            return
        limit = rt.limits.max_body_size
        if limit and head.content_length > limit:
            self.fail(BODY_TOO_LARGE)
            return
        self._attempt()

    def _redirect(self) -> None:
        """RFC 9110 15.4.9, to the same host and path over https."""
        head = self._head
        rt = self._rt
        location = https_location(rt, head, self._path, self._client.https_port)
        keep_alive = self._may_live_on()
        self._status = 308
        self._say(
            redirect_answer(
                location,
                fixed=rt.server_line + rt.date_line,
                keep_alive=self._connection_line(keep_alive=keep_alive),
                with_body=head.method != b"HEAD",
            )
        )
        self._finish()
        self._client.exchange_over(keep_alive=keep_alive)

    def _attempt(self) -> None:
        """Pick an endpoint and send the request, or have a connection opened first."""
        pool = self._pool
        assert pool is not None  # noqa: S101 - a route without pool was answered
        rt = self._rt
        tried = self._tried
        target = pool.pick(rt.now, tried.__contains__ if tried else None)
        if target is None and tried:
            target = pool.pick(rt.now)
        if target is None:
            self.fail(NO_ENDPOINT)
            return
        self._target = target
        self._attempts.tries += 1
        connection = None if target in tried else target.take()
        if connection is not None:
            self.connected(connection, reused=True)
        elif target.may_open():
            self._dialler.dial(target, self)
        elif len(target.waiting) < rt.limits.max_upstream_waiting:
            self.wait_until = rt.now + rt.limits.upstream_connect_timeout
            target.waiting.append(self)
        else:
            self._retry_or_fail(POOL_FULL)

    def must_dial(self) -> None:
        """A place for one more connection became free (it is counted already)."""
        target = self._target
        assert target is not None  # noqa: S101 - we waited for one
        if self._over:
            target.forget(None)
        else:
            self._dialler.dial(target, self)

    def must_go_elsewhere(self) -> None:
        """The endpoint whose connection we waited for is gone; nothing was sent."""
        if not self._over:
            self._attempt()

    def waited_too_long(self) -> None:
        """No connection became free in time."""
        if not self._over:
            self.fail(POOL_FULL)

    def connected(self, connection: PooledConnection, *, reused: bool) -> None:
        """A connection is there: send what we have of the request."""
        upstream: UpstreamSide = connection  # type: ignore[assignment]  # pools hold only these
        if self._over:
            upstream.target.give_back(upstream)
            return
        head = self._head
        rt = self._rt
        host = head.host_field
        if host is None:
            host = upstream.target.name.encode()
        forwarding = self._client.forwarding.lines(head, host, self._request_id)
        route = self.route
        if route is not None and route.passes_certificate:
            forwarding += self._client.whole_certificate()
        message = upstream_head(head, path=self._path, host=host, forwarding=forwarding)
        if head.expects_continue and head.has_body:
            # RFC 9110 10.1.1: asked for only now that somebody is there to take the body.
            head.expects_continue = False
            self._client.write(CONTINUE)
        self._upstream = upstream
        attempts = self._attempts
        attempts.sent = True
        attempts.reused = reused
        self._upstream_started = self._started if reused and attempts.tries == 1 else rt.clock()
        upstream.begin(self)
        upstream.decoder.expect(head.method)
        body = self._body
        if body:
            upstream.write_parts([message, *map(self._encode, body)])
            self._client.resume_reading()
        else:
            upstream.write(message)
        if self.request_done and head.chunked:
            upstream.write(self._end_of_body())

    def connect_failed(self, fault: Fault) -> None:
        """No connection could be opened: nothing was sent."""
        target = self._target
        if target is not None:
            if fault is CONNECT_REFUSED:
                target.health.refused(self._rt.now)
            else:
                target.health.failed(self._rt.now)
        if not self._over:
            self._retry_or_fail(fault)

    def _encode(self, piece: bytes) -> bytes:
        return chunk(piece) if self._head.chunked else piece

    def _end_of_body(self) -> bytes:
        if self._trailers and self._head.takes_trailers:
            return last_chunk(self._trailers)
        return LAST_CHUNK

    def request_body(self, piece: bytes) -> None:
        """A piece of the request's body came from the client."""
        if self._over:
            return
        self.bytes_received += len(piece)
        limit = self._rt.limits.max_body_size
        if limit and self.bytes_received > limit:
            self.fail(BODY_TOO_LARGE)
            return
        if self._body is not None:
            self._body_size += len(piece)
            if self._body_size <= KEPT_BODY or self._upstream is None:
                self._body.append(piece)
            else:
                self._body = None
        upstream = self._upstream
        if upstream is None:
            if self._body_size > KEPT_BODY:
                self._client.pause_reading()
            return
        if self._head.chunked:
            upstream.write_parts([b"%x\r\n" % len(piece), piece, b"\r\n"])
        else:
            upstream.write(piece)
        if upstream.is_paused():
            self._client.pause_reading()
        if self._response is None:
            upstream.expect_soon()

    def request_end(self, trailers: list[Field]) -> None:
        """The request is complete."""
        self.request_done = True
        if self._over or not self._head.chunked:
            return
        self._trailers = trailers
        if self._upstream is not None:
            self._upstream.write(self._end_of_body())

    # -- the answer ----------------------------------------------------------------------------

    def response_head(self, head: ResponseHead) -> None:
        """A head, interim or final, came from the upstream."""
        if self._over:
            return
        status = head.status
        if status < 200:
            self._interim(head)
            return
        self._upstream_seconds = self._rt.clock() - self._upstream_started
        self._body = None
        self._response = head
        self._status = status
        request = self._head
        self._delimited = delimit(request, head)
        self._keep_alive = (
            request.keep_alive
            and self.request_done
            and request.upgrade is None  # early bytes of the refused protocol may follow
            and self._delimited != BY_CLOSE
            and self._client.may_keep_alive()
        )
        rt = self._rt
        self._out = client_head(
            request,
            head,
            delimited=self._delimited,
            keep_alive=self._keep_alive,
            server=rt.server_line,
            date=rt.date_line,
            hsts=self._hsts(),
        )

    def _hsts(self) -> bytes:
        """RFC 6797 7.2: never over plain HTTP."""
        route = self.route
        if route is None or not route.hsts_line:
            return b""
        return route.hsts_line if self._client.forwarding.is_secure(self._head) else b""

    def _interim(self, head: ResponseHead) -> None:
        if head.status == 101:
            self._switch(head)
        elif head.status != 100 and self._head.minor:
            # RFC 9110 15.2: interim answers pass to HTTP/1.1 clients; 100 was ours to send.
            self._client.write(interim_head(head))

    def _switch(self, head: ResponseHead) -> None:
        """RFC 9110 7.8: bytes stop being HTTP here, and only here, and only if we asked."""
        upstream = self._upstream
        wanted = self._head.upgrade
        if upstream is None or wanted is None or (head.upgrade or wanted) != wanted:
            self.response_fault(BAD_ANSWER)
            return
        self._upstream_seconds = self._rt.clock() - self._upstream_started
        self._response = head
        self._status = 101
        self._rt.counters.upgrades += 1
        self._client.write(upgrade_head(head, wanted))
        self._client.open_tunnel(upstream, upstream.decoder.take_raw())

    def response_body(self, piece: bytes) -> None:
        """A piece of the answer's body came from the upstream."""
        if self._over:
            return
        delimited = self._delimited
        if delimited == NO_BODY:
            return
        self._sent += len(piece)
        client = self._client
        out = self._out
        if delimited == BY_CHUNKS:
            size = b"%x\r\n" % len(piece)
            parts = [size if out is None else out + size, piece, b"\r\n"]
            self._out = None
            client.write_parts(parts)
        elif out is None:
            client.write(piece)
        else:
            self._out = None
            client.write_parts([out, piece])
        if client.is_paused() and self._upstream is not None:
            self._upstream.pause_reading()

    def flush(self) -> None:
        """All bytes that came at once were handled: do not keep the head waiting."""
        out = self._out
        if out is not None:
            self._out = None
            self._client.write(out)

    def response_end(self, trailers: list[Field]) -> None:
        """The answer is complete."""
        if self._over:
            return
        out = self._out or b""
        self._out = None
        if self._delimited == BY_CHUNKS:
            if trailers and self._head.takes_trailers:
                out += last_chunk(trailers)
            else:
                out += LAST_CHUNK
        if out:
            self._client.write(out)
        response = self._response
        upstream = self._upstream
        assert response is not None  # noqa: S101 - a body never ends before its head
        if upstream is not None:
            upstream.target.health.succeeded()
            self._release(
                upstream,
                reusable=self.request_done and response.keep_alive and upstream.decoder.clean,
            )
        self._finish()
        self._client.exchange_over(keep_alive=self._keep_alive)

    def _release(self, upstream: UpstreamSide, *, reusable: bool) -> None:
        self._upstream = None
        upstream.exchange = None
        if reusable and upstream.is_usable():
            upstream.resume_reading()
            response = self._response
            if self._delimited == NO_BODY and response is not None and response.content_length > 0:
                upstream.wait_for_stray_bytes()
            else:
                upstream.target.give_back(upstream)
        else:
            upstream.close()

    # -- what goes wrong -----------------------------------------------------------------------

    def response_fault(self, fault: Fault) -> None:
        """The upstream's side failed: closed, timed out, or sent what is no answer."""
        if self._over:
            return
        upstream = self._upstream
        if upstream is None:
            return
        upstream.target.health.failed(self._rt.now)
        self._release(upstream, reusable=False)
        if self._response is not None:
            self._cut(fault)
        else:
            self._retry_or_fail(fault)

    def _retry_or_fail(self, fault: Fault) -> None:
        target, pool, attempts = self._target, self._pool, self._attempts
        if target is not None and target not in self._tried:
            self._tried.append(target)
        if fault is CONNECT_REFUSED:
            attempts.refused += 1
        if may_try_again(
            fault,
            attempts,
            method=self._head.method,
            replayable=self._body is not None and self._body_size <= KEPT_BODY,
            others_left=pool is not None and pool.has_other_than(self._tried),
            max_tries=self._rt.limits.upstream_tries,
        ):
            attempts.resent = attempts.sent
            self._rt.counters.retries += 1
            self._attempt()
        else:
            self.fail(fault)

    def fail(self, fault: Fault) -> None:
        """Answer with a fault, or cut an answer that has begun."""
        if self._over:
            return
        if self._response is not None:
            self._cut(fault)
            return
        self._drop_upstream()
        self._fault = fault
        self._status = fault.status
        keep_alive = not fault.closes and self._may_live_on()
        self._write_answer(fault, keep_alive=keep_alive)
        self._finish()
        self._client.exchange_over(keep_alive=keep_alive)

    def _may_live_on(self) -> bool:
        """Whether the client's connection may serve another request after an answer of ours."""
        head = self._head
        return (
            head.keep_alive
            and head.upgrade is None
            and self._request_ends_soon()
            and self._client.may_keep_alive()
        )

    def _request_ends_soon(self) -> bool:
        """Whether the connection can live on: what is still to come of the request is little,
        and sure to come (a client that waits for 100 may never send it)."""
        head = self._head
        if self.request_done or not head.has_body:
            return True
        return 0 < head.content_length <= KEPT_BODY and not head.expects_continue

    def _write_answer(self, fault: Fault, *, keep_alive: bool) -> None:
        rt = self._rt
        head = self._head
        fixed = rt.server_line + rt.date_line
        line = self._connection_line(keep_alive=keep_alive)
        with_body = head.method != b"HEAD"
        request_id = self._request_id.decode("latin-1")
        self._say(
            fault_answer(
                fault,
                request_id=request_id,
                fixed=fixed,
                keep_alive=line,
                with_body=with_body,
            )
        )

    def _say(self, answer: bytes) -> None:
        """Give the client a complete answer of our own."""
        self._sent = body_size(answer)
        self._client.write(answer)

    def _connection_line(self, *, keep_alive: bool) -> bytes:
        if not keep_alive:
            return b"Connection: close\r\n"
        return b"" if self._head.minor else b"Connection: keep-alive\r\n"

    def _answer_options(self) -> None:
        keep_alive = self._may_live_on()
        rt = self._rt
        self._status = 204
        self._say(
            options_answer(
                fixed=rt.server_line + rt.date_line,
                keep_alive=self._connection_line(keep_alive=keep_alive),
            )
        )
        self._finish()
        self._client.exchange_over(keep_alive=keep_alive)

    def _cut(self, fault: Fault) -> None:
        """An answer has begun and cannot be completed: the client must see that it was cut."""
        self._drop_upstream()
        self._fault = fault
        if self._out is not None:
            # Nothing was written yet, so an honest answer is still possible.
            self._out = None
            self._response = None
            self._status = fault.status
            self._write_answer(fault, keep_alive=False)
            self._finish()
            self._client.exchange_over(keep_alive=False)
            return
        self._finish()
        self._client.exchange_cut(reset=self._delimited == BY_CLOSE)

    def _drop_upstream(self) -> None:
        upstream = self._upstream
        if upstream is not None:
            self._release(upstream, reusable=False)

    def client_lost(self, fault: Fault = CLIENT_GONE) -> None:
        """The client's connection ended: end the upstream's work too."""
        if self._over:
            return
        self._drop_upstream()
        if self._fault is None:
            self._fault = fault
        if self._response is None:
            self._status = fault.status
        self._finish()

    def broke(self) -> None:
        """A defect of ours: end this exchange, and nothing else."""
        self._out = None
        self.fail(INTERNAL)

    # -- flow control --------------------------------------------------------------------------

    def client_reads_again(self) -> None:
        """The client took what was buffered: let the upstream send more."""
        if self._upstream is not None:
            self._upstream.resume_reading()

    def upstream_reads_again(self) -> None:
        """The upstream took what was buffered: let the client send more."""
        self._client.resume_reading()

    # -- the end -------------------------------------------------------------------------------

    def tunnel_ended(self, *, received: int, sent: int, fault: Fault | None) -> None:
        """The upgraded connection ended after so many bytes from and to the client."""
        self._upstream = None
        self.bytes_received += received
        self._sent += sent
        self._fault = fault
        self._finish()

    def _finish(self) -> None:
        """Count and log, once."""
        self._over = True
        rt = self._rt
        now = rt.clock()
        route = self.route
        counters = rt.no_route if route is None else route.counters
        seconds = now - self._started
        counters.count(self._status, seconds, self.bytes_received, self._sent)
        fault = self._fault
        if fault is not None:
            rt.counters.fault(fault.code)
        log = rt.access_log
        if log is not None:
            log.add(self._record(log, seconds))

    def _record(self, log: AccessLog, seconds: float) -> AccessRecord:
        head = self._head
        route = self.route
        pool = self._pool
        target = self._target
        fault = self._fault
        response = self._response
        reason = self._reason
        if fault is not None and not reason and fault.side is not Side.CLIENT:
            reason = fault.sentence
        label = self._rt.no_route.label if route is None else route.counters.label
        return AccessRecord(
            log.time(self._rt.wall_clock()),
            self._client.forwarding.client(head),
            head.method.decode("latin-1"),
            (head.host_field or b"").decode("latin-1"),
            head.target.decode("latin-1"),
            "HTTP/1.1" if head.minor else "HTTP/1.0",
            self._status,
            self._sent,
            head.size + self.bytes_received,
            int(seconds * 1e6) / 1e6,
            self._request_id.decode("latin-1"),
            remote_user(head.authorization) if head.authorization else "",
            head.referer.decode("latin-1"),
            head.user_agent.decode("latin-1"),
            label.namespace,
            label.ingress,
            label.service,
            "" if route is None else route.route.written,
            "" if pool is None else pool.upstream.key,
            "" if target is None else target.name,
            0 if response is None else response.status,
            None if response is None else int(self._upstream_seconds * 1e6) / 1e6,
            None if response is None else self._sent,
            self._attempts.tries,
            "" if fault is None else fault.code,
            reason,
        )
