"""Limits and time-outs of a worker: one field each, with unit, default and reason.

Flags, environment variables and the reference table are generated from this class: the field
``max_body_size`` is ``--max-body-size`` and ``INGRESS_MAX_BODY_SIZE``. The docstring below a field
is the text that users read.
"""

from typing import Annotated

import msgspec

Size = Annotated[int, msgspec.Meta(ge=1, extra={"kind": "size"})]
SizeOrUnlimited = Annotated[int, msgspec.Meta(ge=0, extra={"kind": "size"})]
Count = Annotated[int, msgspec.Meta(ge=1, extra={"kind": "count"})]
CountOrNone = Annotated[int, msgspec.Meta(ge=0, extra={"kind": "count"})]
Duration = Annotated[float, msgspec.Meta(gt=0, extra={"kind": "duration"})]
DurationOrNone = Annotated[float, msgspec.Meta(ge=0, extra={"kind": "duration"})]


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything is bounded. Sizes are bytes, times are seconds; 0 means unlimited where stated."""

    max_header_size: Size = 65536
    """Bytes of one message head, all lines together. Larger requests get 431."""
    max_header_line: Size = 16384
    """Bytes of one header line, and of the request target. Longer ones get 431 or 414."""
    max_header_fields: Count = 100
    """Header fields of one message. More get 431 (from an upstream: 502)."""
    max_body_size: SizeOrUnlimited = 0
    """Bytes of one request body; larger ones get 413. 0 is unlimited: bodies are streamed."""
    max_connections: CountOrNone = 0
    """Client connections of one worker. 0 is 45 % of the file descriptor limit."""
    max_requests_per_connection: Count = 10000
    """Requests on one client connection before it is closed between two requests."""
    max_connection_age: Duration = 3600.0
    """Age of a client connection after which it is closed between two requests."""
    max_upstream_connections: Count = 1024
    """Open connections of one worker to one endpoint; further requests wait for one."""
    max_upstream_waiting: CountOrNone = 1024
    """Requests of one worker that wait for a connection to one endpoint; further ones get 503."""
    max_upstream_idle: CountOrNone = 320
    """Idle connections that one worker keeps to one endpoint."""
    header_timeout: Duration = 10.0
    """From the first byte of a request to the end of its head (408)."""
    tls_handshake_timeout: Duration = 10.0
    """From the accepted connection to the end of the TLS handshake."""
    proxy_header_timeout: Duration = 5.0
    """From the accepted connection to the end of its PROXY protocol header."""
    body_timeout: Duration = 30.0
    """Without a byte of a request body that is still expected (408)."""
    min_body_rate: SizeOrUnlimited = 240
    """Bytes a second below which a request body, measured over body_timeout, is refused (408)."""
    send_timeout: Duration = 30.0
    """Without progress while a client does not read its answer; then the connection is cut."""
    keepalive_timeout: Duration = 75.0
    """A client connection may wait so long for its next request."""
    upstream_connect_timeout: Duration = 5.0
    """Until a connection to an endpoint stands; then another endpoint is tried (504 at last)."""
    upstream_read_timeout: Duration = 60.0
    """Between two reads from an upstream that owes an answer (504)."""
    upstream_keepalive_timeout: Duration = 55.0
    """Idle upstream connections are closed after it; most servers close theirs after 60 s."""
    upstream_tries: Count = 3
    """Endpoints tried for one request, the first included."""
    tunnel_timeout: Duration = 3600.0
    """A WebSocket or other upgraded connection without a byte in either direction."""
    drain_accept: DurationOrNone = 10.0
    """After SIGTERM, new connections are still accepted so long: load balancers learn late."""
    drain_timeout: DurationOrNone = 240.0
    """After that, running requests and tunnels have so long to end."""
