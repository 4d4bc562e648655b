"""Heads of messages, read and judged; what forwarding and logging need, and no more."""

from router.http.fields import Field, StatusLine


class RequestHead:
    """A request head that all message rules accepted."""

    __slots__ = (
        "authorization",
        "chunked",
        "closes",
        "content_length",
        "expects_continue",
        "forwarding",
        "grpc",
        "has_body",
        "host_field",
        "keep_alive",
        "method",
        "minor",
        "nominated",
        "passed",
        "path",
        "query",
        "referer",
        "size",
        "takes_trailers",
        "target",
        "upgrade",
        "upgrade_nominated",
        "user_agent",
        "websocket_key",
        "websocket_version",
    )

    def __init__(self, method: bytes, target: bytes, minor: int, size: int) -> None:
        self.method = method
        self.target = target
        """As received."""
        self.path = b""
        """Path of the target as received, without query; ``*`` for ``OPTIONS *``."""
        self.query: bytes | None = None
        """Query of the target in forwarded form, without the question mark."""
        self.minor = minor
        """1 for HTTP/1.1, 0 for HTTP/1.0."""
        self.size = size
        """Bytes of the head."""
        self.host_field: bytes | None = None
        """Value of the Host field; None only in HTTP/1.0."""
        self.content_length = -1
        """Bytes of the body; -1 when there is no Content-Length."""
        self.chunked = False
        self.has_body = False
        """Whether body bytes follow the head (RFC 9112 6)."""
        self.keep_alive = minor == 1
        """What the client wants (RFC 9112 9.3)."""
        self.closes = False
        self.upgrade_nominated = False
        self.nominated: list[bytes] | None = None
        """Lower-case names that Connection wants removed, beside the ones we always remove."""
        self.upgrade: bytes | None = None
        """The protocol asked for, in lower case; None when nothing is asked or it is not passed."""
        self.expects_continue = False
        self.takes_trailers = False
        """The client said ``TE: trailers``."""
        self.grpc = False
        self.passed: list[bytes] = []
        """Lines to forward, each with CRLF."""
        self.forwarding: list[Field] | None = None
        """Fields that count only from trusted peers."""
        self.user_agent = b""
        self.referer = b""
        self.authorization = b""
        self.websocket_key = b""
        self.websocket_version = b""

    def may_repeat(self) -> bool:
        """Whether a later head with the same fields means the same, whatever its target."""
        plain = not (self.has_body or self.upgrade or self.expects_continue or self.nominated)
        return plain and self.minor == 1  # in HTTP/1.0 the host may come from the target

    def again(self, method: bytes, target: bytes, size: int) -> "RequestHead":
        """The head of a request with exactly the fields of this one, target not read yet."""
        head = RequestHead(method, target, self.minor, size)
        head.host_field = self.host_field
        head.keep_alive = self.keep_alive
        head.closes = self.closes
        head.takes_trailers = self.takes_trailers
        head.grpc = self.grpc
        head.content_length = self.content_length
        head.passed = self.passed
        head.forwarding = self.forwarding
        head.user_agent = self.user_agent
        head.referer = self.referer
        head.authorization = self.authorization
        return head


class ResponseHead:
    """The head of an upstream's answer."""

    __slots__ = (
        "chunked",
        "closes",
        "content_length",
        "has_date",
        "has_hsts",
        "has_server",
        "keep_alive",
        "minor",
        "nominated",
        "passed",
        "reason",
        "size",
        "status",
        "upgrade",
    )

    def __init__(self, start: StatusLine, size: int) -> None:
        self.minor, self.status, self.reason = start
        self.size = size
        self.content_length = -1
        self.chunked = False
        self.keep_alive = start.minor == 1
        self.closes = False
        self.nominated: list[bytes] | None = None
        self.upgrade: bytes | None = None
        self.has_server = False
        self.has_date = False
        self.has_hsts = False
        self.passed: list[bytes] = []
