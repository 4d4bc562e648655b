"""Whether a failed attempt may be made again (RFC 9110 9.2.2, RFC 9112 9.3.1)."""

from router.http.faults import (
    BAD_ANSWER,
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    POOL_FULL,
    UPSTREAM_CLOSED,
    Fault,
)

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
"""Methods that may be sent twice. Safe or idempotent by RFC 9110 9.2; of the WebDAV methods none,
because servers disagree about them."""


def may_try_again(
    fault: Fault,
    *,
    method: bytes,
    sent: bool,
    reused: bool,
    resent: bool,
    replayable: bool,
    tries: int,
    max_tries: int,
) -> bool:
    """Whether the request may go out once more.

    ``sent``: bytes of the request may have reached the upstream. ``reused``: the connection
    had served another request before. ``resent``: they were
    sent a second time already. ``replayable``: all of the body that was taken from the client is
    still here. ``tries`` were made, this one included.

    A failed connect sent nothing, so any method may go elsewhere. A connection that ended before
    the first byte of an answer may have carried the request, so only what may be done twice is
    sent again, once. Malformed bytes on a reused
    connection may be left over from its previous answer (a body behind 304, say), so they count
    as such an end. A time-out is never tried again: the upstream may still be at work.
    """
    if tries >= max_tries or not replayable:
        return False
    if fault is CONNECT_REFUSED or fault is CONNECT_TIMEOUT or fault is POOL_FULL:
        return True
    if fault is UPSTREAM_CLOSED or (fault is BAD_ANSWER and reused):
        return not sent or (not resent and method in IDEMPOTENT)
    return False
