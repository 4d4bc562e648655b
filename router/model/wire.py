"""Messages between the control process and a worker: frames of a length and msgpack.

A frame is four bytes of length (big-endian, of the body alone) and a msgpack body. The channel is
a socket pair that only these two processes hold, so a frame that cannot be decoded is a defect of
ours and ends the channel.
"""

from typing import Annotated, Literal

import msgspec

from router.model.limits import Limits
from router.model.snapshot import Delta, ListenerName, Snapshot, SnapshotVersion
from tls.tickets import TicketSecret

MAX_FRAME = 1 << 28
"""256 MiB: 5,000 Ingresses take about 6 MB; a longer frame is a defect, not data."""

LATENCY_BUCKETS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""Upper bounds in seconds of the request duration histogram; the last bucket is unbounded."""


Network = Annotated[str, msgspec.Meta(extra={"kind": "network"})]
FieldValue = Annotated[str, msgspec.Meta(extra={"kind": "field-value"})]
LogTarget = Annotated[str, msgspec.Meta(extra={"kind": "log-target"})]


class ListenerSocket(msgspec.Struct, frozen=True):
    """An inherited listening socket and the listener whose connections arrive there."""

    fd: int
    listener: ListenerName


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """Behaviour of a worker beside its limits."""

    trusted_proxies: tuple[Network, ...] = ()
    """CIDRs of peers whose X-Forwarded-* fields are believed; of all others they are dropped."""
    server_header: FieldValue = "python-ingress"
    """Server field of answers whose upstream sends none; empty adds none."""
    forwarded_header: bool = False
    """Send the Forwarded field (RFC 7239) too."""
    access_log: LogTarget = "-"
    """``-`` for standard output, ``off``, or the path of a file to append to."""
    proxy_protocol_from: tuple[Network, ...] = ()
    """CIDRs of load balancers that begin each connection with a PROXY protocol header (version 1
    or 2) on all ports; connections from them without one are refused."""
    denied_endpoints: tuple[Network, ...] = ()
    """CIDRs that are never endpoints, whatever an EndpointSlice or the name of an ExternalName
    Service says. In a cluster, the API server and this controller itself are denied anyway, and so
    are loopback, link-local and clouds' metadata addresses."""


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """First message to a worker."""

    sockets: tuple[ListenerSocket, ...]
    limits: Limits
    options: Options
    openssl_usable: bool = False
    """What `tls.openssl.probe` found out in the control process."""


class Tickets(msgspec.Struct, frozen=True, tag="tickets"):
    """Session tickets are made with this secret from now on."""

    secret: TicketSecret


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Replace everything: sent to a new worker, or to one that is out of step."""

    snapshot: Snapshot


class Change(msgspec.Struct, frozen=True, tag="change"):
    """Apply a delta to the snapshot that the worker has."""

    delta: Delta


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Stop in good order: accept for a while, finish what runs, exit."""

    accept: float
    timeout: float


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker has its configuration and waits for a snapshot."""

    pid: int


class Acknowledged(msgspec.Struct, frozen=True, tag="acknowledged"):
    """The worker serves this version."""

    version: SnapshotVersion
    seconds: float
    """Wall time of the update, requests that were served in between included."""


class OutOfStep(msgspec.Struct, frozen=True, tag="out-of-step"):
    """A delta did not fit the worker's version; it needs the whole snapshot."""

    version: SnapshotVersion


class RouteStats(msgspec.Struct, frozen=True, array_like=True):
    """Growth since the last report for one (ingress, service)."""

    namespace: str
    ingress: str
    service: str
    codes: tuple[int, int, int, int, int]
    """Answers with status 1xx, 2xx, 3xx, 4xx, 5xx."""
    buckets: tuple[int, ...]
    """Requests by duration, one count a bucket, not cumulative; one more than LATENCY_BUCKETS."""
    seconds: float
    bytes_received: int
    bytes_sent: int


class UpstreamGauges(msgspec.Struct, frozen=True, array_like=True):
    """State of one upstream's pool now; left out of a report while nothing about it changes."""

    upstream: str
    eligible: int
    active: int
    idle: int
    ejected: int
    waiting: int


class Stats(msgspec.Struct, frozen=True, tag="stats"):
    """Sent every second when something changed. Counters are growth, gauges are values."""

    routes: tuple[RouteStats, ...] = ()
    upstreams: tuple[UpstreamGauges, ...] = ()
    counters: dict[str, int] = {}
    gauges: dict[str, float] = {}


class LogLine(msgspec.Struct, frozen=True, tag="log"):
    """Something a person may want to read; the control process writes it in its own format."""

    level: Literal["debug", "info", "warning", "error"]
    event: str
    fields: dict[str, str] = {}


ToWorker = Configure | Tickets | Load | Change | Drain
FromWorker = Ready | Acknowledged | OutOfStep | Stats | LogLine

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def frame(message: ToWorker | FromWorker) -> bytes:
    """One message as the bytes of one frame.

    Raises:
        ValueError: the message is longer than MAX_FRAME.
    """
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME:
        raise ValueError(f"message of {len(body)} bytes is longer than {MAX_FRAME}")
    return len(body).to_bytes(4, "big") + body


def decode_to_worker(body: bytes) -> ToWorker:
    """The message in one frame's body.

    Raises:
        msgspec.DecodeError: the body is not such a message.
    """
    return _to_worker.decode(body)


def decode_from_worker(body: bytes) -> FromWorker:
    """The message in one frame's body.

    Raises:
        msgspec.DecodeError: the body is not such a message.
    """
    return _from_worker.decode(body)


class Deframer:
    """Cuts a stream of bytes into frame bodies."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """All frame bodies that are complete with ``data``.

        Raises:
            ValueError: a frame announces more than MAX_FRAME bytes.
        """
        buffer = self._buffer
        buffer += data
        bodies = []
        start = 0
        while len(buffer) - start >= 4:
            length = int.from_bytes(buffer[start : start + 4], "big")
            if length > MAX_FRAME:
                raise ValueError(f"frame of {length} bytes is longer than {MAX_FRAME}")
            if len(buffer) - start - 4 < length:
                break
            bodies.append(bytes(buffer[start + 4 : start + 4 + length]))
            start += 4 + length
        if start:
            del buffer[:start]
        return bodies
