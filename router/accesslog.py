"""The access log: one JSON object a line for each exchange, in batches, bounded.

The fields are those of ingress-nginx's default format under their names, and what it cannot say:
which Ingress and which of its paths took the request, and what failed.
"""

from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

BATCH = 256
"""Records after which a batch is written without waiting for the timer."""


class AccessRecord(NamedTuple):
    """What is known when an exchange ends; bytes as received, times in seconds."""

    at: float
    """Wall clock (Unix time) of the end."""
    remote_addr: str
    authorization: bytes
    method: bytes
    host: bytes
    target: bytes
    minor: int
    status: int
    body_bytes_sent: int
    request_length: int
    request_time: float
    referer: bytes
    user_agent: bytes
    request_id: bytes
    namespace: str
    ingress: str
    service: str
    route: str
    upstream: str
    upstream_addr: str
    upstream_status: int
    upstream_response_time: float
    upstream_response_length: int
    tries: int
    fault: str
    reason: str


class _Line(msgspec.Struct, omit_defaults=True):
    """The line as users see it; what is empty is left out."""

    time: str
    remote_addr: str
    request_method: str
    host: str
    request_uri: str
    server_protocol: str
    status: int
    body_bytes_sent: int
    request_length: int
    request_time: float
    req_id: str
    remote_user: str = ""
    http_referer: str = ""
    http_user_agent: str = ""
    namespace: str = ""
    ingress_name: str = ""
    service_name: str = ""
    route: str = ""
    proxy_upstream_name: str = ""
    upstream_addr: str = ""
    upstream_status: int = 0
    upstream_response_time: float | None = None
    upstream_response_length: int | None = None
    upstream_tries: int = 1
    fault: str = ""
    reason: str = ""


def remote_user(authorization: bytes) -> str:
    """The user name of Basic credentials (RFC 7617); empty for anything else."""
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        user, colon, _ = b64decode(credentials.strip(), validate=True).partition(b":")
    except ValueError:
        return ""
    return user.decode("latin-1") if colon else ""


class AccessLog:
    """Collects records and hands full batches of lines to ``write``.

    ``write`` takes the encoded lines and their number, and returns False when it has no room: then
    they are dropped and counted. It must not block.
    """

    __slots__ = ("_encoder", "_pending", "_second", "_second_text", "_write", "dropped")

    def __init__(self, write: Callable[[bytes], bool]) -> None:
        self._write = write
        self._encoder = msgspec.json.Encoder()
        self._pending: list[AccessRecord] = []
        self._second = -1
        self._second_text = ""
        self.dropped = 0
        """Lines dropped since the last report."""

    def add(self, record: AccessRecord) -> None:
        """Note one exchange."""
        pending = self._pending
        pending.append(record)
        if len(pending) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Encode and write what is pending."""
        records, self._pending = self._pending, []
        if not records:
            return
        lines = self._encoder.encode_lines([self._line(record) for record in records])
        if not self._write(lines):
            self.dropped += len(records)

    def _line(self, record: AccessRecord) -> _Line:
        second = int(record.at)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        (
            at,
            remote_addr,
            authorization,
            method,
            host,
            target,
            minor,
            status,
            body_bytes_sent,
            request_length,
            request_time,
            referer,
            user_agent,
            request_id,
            namespace,
            ingress,
            service,
            route,
            upstream,
            upstream_addr,
            upstream_status,
            upstream_response_time,
            upstream_response_length,
            tries,
            fault,
            reason,
        ) = record
        return _Line(
            f"{self._second_text}.{int((at - second) * 1000):03}Z",
            remote_addr,
            method.decode("latin-1"),
            host.decode("latin-1"),
            target.decode("latin-1"),
            "HTTP/1.1" if minor else "HTTP/1.0",
            status,
            body_bytes_sent,
            request_length,
            int(request_time * 1e6) / 1e6,
            request_id.decode("latin-1"),
            remote_user(authorization) if authorization else "",
            referer.decode("latin-1"),
            user_agent.decode("latin-1"),
            namespace,
            ingress,
            service,
            route,
            upstream,
            upstream_addr,
            upstream_status,
            None if upstream_response_time < 0 else int(upstream_response_time * 1e6) / 1e6,
            None if upstream_response_length < 0 else upstream_response_length,
            tries,
            fault,
            reason,
        )
