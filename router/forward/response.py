"""The head that a client gets for an upstream's answer, and how its body is delimited."""

from router.http.answers import standard_reason, status_line
from router.http.head import RequestHead, ResponseHead

KEEP_ALIVE_1_0 = b"Connection: keep-alive\r\n"
CLOSE = b"Connection: close\r\n"


# How the client learns where a body ends (RFC 9112 6.3). Plain numbers: members of an enum cost
# several look-ups each time, and these are asked for every piece of a body.
NO_BODY = 0
BY_LENGTH = 1
BY_CHUNKS = 2
BY_CLOSE = 3


def delimit(request: RequestHead, head: ResponseHead) -> int:
    """How this answer's body is sent to the client that sent this request."""
    status = head.status
    if request.method == b"HEAD" or status == 204 or status == 304:
        return NO_BODY
    if head.content_length >= 0:
        return BY_LENGTH
    return BY_CHUNKS if request.minor else BY_CLOSE


def client_head(
    request: RequestHead,
    head: ResponseHead,
    *,
    delimited: int,
    keep_alive: bool,
    server: bytes,
    date: bytes,
    hsts: bytes = b"",
) -> bytes:
    """The whole head for the client.

    ``server``, ``date`` and ``hsts`` are complete lines that are added when the upstream sent none
    (RFC 9110 6.6.1 for Date; ``hsts`` is Strict-Transport-Security, empty over plain HTTP).
    """
    status = head.status
    lines = [status_line(status, head.reason or standard_reason(status)), *head.passed]
    if not head.has_server:
        lines.append(server)
    if not head.has_date:
        lines.append(date)
    if hsts and not head.has_hsts:
        lines.append(hsts)
    if delimited == BY_CHUNKS:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    elif head.content_length >= 0 and status != 204:
        lines.append(b"Content-Length: %d\r\n" % head.content_length)
    if not keep_alive:
        lines.append(CLOSE)
    elif request.minor == 0:
        lines.append(KEEP_ALIVE_1_0)
    lines.append(b"\r\n")
    return b"".join(lines)


def interim_head(head: ResponseHead) -> bytes:
    """An interim answer (1xx) as the client gets it."""
    return b"".join((status_line(head.status, head.reason), *head.passed, b"\r\n"))


def upgrade_head(head: ResponseHead, protocol: bytes) -> bytes:
    """The 101 that opens a tunnel."""
    return b"".join(
        (
            status_line(101, head.reason or b"Switching Protocols"),
            *head.passed,
            b"Connection: upgrade\r\nUpgrade: %b\r\n\r\n" % (head.upgrade or protocol),
        )
    )
