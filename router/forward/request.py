"""The head that an upstream gets: written anew from parsed parts (RFC 9110 7.6).

Fields that end here (hop-by-hop, nominated, forwarding fields of untrusted peers) were set aside
when the head was read; here ours are added.
"""

from router.forward.identity import TrustedProxies, client_address, forwarded_for
from router.http.fields import Field
from router.http.head import RequestHead

_REPLACED = frozenset(
    (
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"x-request-id",
    )
)


class Forwarding:
    """What all requests of one client connection tell upstreams about the client."""

    __slots__ = (
        "_certificate",
        "_fixed",
        "_port",
        "_proto",
        "_proxies",
        "_trusted",
        "_with_forwarded",
        "peer",
    )

    def __init__(
        self,
        *,
        peer: str,
        proto: str,
        port: int,
        proxies: TrustedProxies,
        with_forwarded: bool,
        certificate: bytes = b"",
    ) -> None:
        """``certificate``: complete lines about the client's verified certificate."""
        self.peer = peer
        self._proto = proto
        self._port = port
        self._proxies = proxies
        self._trusted = proxies.trust(peer)
        self._with_forwarded = with_forwarded
        self._fixed = (
            f"X-Forwarded-For: {peer}\r\nX-Real-IP: {peer}\r\n"
            f"X-Forwarded-Proto: {proto}\r\nX-Forwarded-Port: {port}\r\n"
        ).encode() + certificate
        self._certificate = certificate

    def client(self, head: RequestHead) -> str:
        """The client's address for logs and policies."""
        if self._trusted and head.forwarding is not None:
            return client_address(self.peer, head.forwarding, self._proxies)
        return self.peer

    def is_secure(self, head: RequestHead) -> bool:
        """Whether the client's own connection is https, as far as a trusted peer says so."""
        if self._trusted and head.forwarding is not None:
            proto = _first(head.forwarding, b"x-forwarded-proto")
            if proto is not None:
                return proto.lower() == b"https"
        return self._proto == "https"

    def request_id(self, head: RequestHead) -> bytes | None:
        """The request id that a trusted peer sent; None when we have to make one."""
        if not self._trusted or head.forwarding is None:
            return None
        return _first(head.forwarding, b"x-request-id")

    def lines(self, head: RequestHead, host: bytes, request_id: bytes) -> bytes:
        """The forwarding fields, each with CRLF."""
        if self._trusted and head.forwarding is not None:
            lines = self._lines_of_trusted(head.forwarding, host)
        else:
            lines = b"%bX-Forwarded-Host: %b\r\n" % (self._fixed, host)
        if self._with_forwarded:
            lines += self._forwarded(head, host)
        return b"%bX-Request-ID: %b\r\n" % (lines, request_id)

    def _lines_of_trusted(self, fields: list[Field], host: bytes) -> bytes:
        chain = [*forwarded_for(fields), self.peer]
        client = client_address(self.peer, fields, self._proxies)
        lines = [
            b"X-Forwarded-For: %b\r\n" % ", ".join(chain).encode("latin-1"),
            b"X-Real-IP: %b\r\n" % client.encode(),
        ]
        for name, ours in (
            (b"X-Forwarded-Proto", self._proto.encode()),
            (b"X-Forwarded-Port", b"%d" % self._port),
            (b"X-Forwarded-Host", host),
        ):
            lines.append(b"%b: %b\r\n" % (name, _first(fields, name.lower()) or ours))
        lines += [field.wire for field in fields if field.name not in _REPLACED]
        lines.append(self._certificate)
        return b"".join(lines)

    def _forwarded(self, head: RequestHead, host: bytes) -> bytes:
        """RFC 7239 4: one element; IPv6 addresses in brackets and quotes."""
        node = f'"[{self.peer}]"' if ":" in self.peer else self.peer
        quoted = host.replace(b"\\", b"").replace(b'"', b"")
        return f"Forwarded: for={node};proto={self._proto};host=".encode() + b'"%b"\r\n' % quoted


def _first(fields: list[Field], name: bytes) -> bytes | None:
    for field in fields:
        if field.name == name and field.value:
            return field.value
    return None


def upstream_head(head: RequestHead, *, path: bytes, host: bytes, forwarding: bytes) -> bytes:
    """The whole head for an upstream, from request line to empty line.

    ``path`` is the canonical path without query, ``host`` the value of the Host field,
    ``forwarding`` the lines of `Forwarding.lines`. Framing fields are made from what the rules
    found: a canonical Content-Length, or chunked.
    """
    query = head.query
    if query is None:
        start = b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (head.method, path, host)
    else:
        start = b"%b %b?%b HTTP/1.1\r\nHost: %b\r\n" % (head.method, path, query, host)
    lines = [start, *head.passed, forwarding]
    if head.content_length >= 0:
        lines.append(b"Content-Length: %d\r\n" % head.content_length)
    elif head.chunked:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    if head.upgrade is not None:
        lines.append(b"Connection: upgrade\r\nUpgrade: %b\r\n" % head.upgrade)
    elif head.grpc and head.takes_trailers:
        lines.append(b"Connection: te\r\nTE: trailers\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)
