"""Answers that we make ourselves."""

from http import HTTPStatus

from router.http.faults import Fault

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

RETRY_AFTER = 1
"""Seconds after which a client may ask again when a service has no endpoint (503)."""

_ALLOW = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"


def status_line(status: int, reason: bytes) -> bytes:
    """The status line with CRLF."""
    return b"HTTP/1.1 %d %b\r\n" % (status, reason)


def standard_reason(status: int) -> bytes:
    """The registered reason phrase; empty for a status that has none."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


def body_size(answer: bytes) -> int:
    """Bytes of the body of a complete answer."""
    return len(answer) - answer.index(b"\r\n\r\n") - 4


def fault_answer(
    fault: Fault, *, request_id: str, fixed: bytes, keep_alive: bytes, with_body: bool
) -> bytes:
    """A complete answer with a short text for people.

    ``fixed`` are the Server and Date lines, ``keep_alive`` the Connection line or nothing;
    ``with_body`` is False when the request was HEAD.
    """
    status = fault.status
    reason = standard_reason(status)
    text = f"{status} {reason.decode('ascii')}\n{fault.sentence}\n"
    if request_id:
        text += f"Request ID: {request_id}\n"
    body = text.encode()
    lines = [
        status_line(status, reason),
        fixed,
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n" % len(body),
        b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
    ]
    if status == 503:
        lines.append(b"Retry-After: %d\r\n" % RETRY_AFTER)
    elif status == 405:
        lines.append(_ALLOW)
    elif status == 426:
        lines.append(b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
    lines.append(keep_alive)
    lines.append(b"\r\n")
    if with_body:
        lines.append(body)
    return b"".join(lines)


def redirect_answer(location: bytes, *, fixed: bytes, keep_alive: bytes, with_body: bool) -> bytes:
    """308 to ``location`` (RFC 9110 15.4.9: method and body stay the same)."""
    body = b"308 Permanent Redirect\n" if with_body else b""
    return b"".join(
        (
            status_line(308, b"Permanent Redirect"),
            fixed,
            b"Location: %b\r\nContent-Type: text/plain; charset=utf-8\r\n" % location,
            b"Content-Length: 23\r\n",
            keep_alive,
            b"\r\n",
            body,
        )
    )


def options_answer(*, fixed: bytes, keep_alive: bytes) -> bytes:
    """``OPTIONS *`` (RFC 9110 9.3.7): what this server as a whole can do."""
    return b"".join((status_line(204, b"No Content"), fixed, _ALLOW, keep_alive, b"\r\n"))
