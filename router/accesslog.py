"""The access log: one JSON object a line for each exchange, in batches, bounded.

The fields are those of ingress-nginx's default format under their names, and what it cannot say:
which Ingress and which of its paths took the request, and what failed.
"""

from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

BATCH = 256
"""Records after which a batch is written without waiting for the timer."""


class AccessRecord(msgspec.Struct, omit_defaults=True, gc=False):
    """The line as users see it; what is empty is left out. Times are seconds, sizes bytes."""

    time: str
    """End of the exchange (`AccessLog.time`)."""
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
        if not self._write(self._encoder.encode_lines(records)):
            self.dropped += len(records)

    def time(self, at: float) -> str:
        """Unix time as RFC 3339 in UTC, with milliseconds."""
        second = int(at)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._second_text}.{int((at - second) * 1000):03}Z"
