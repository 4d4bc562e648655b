"""Whether a failed attempt may be made again (RFC 9110 9.2.2, RFC 9112 9.3.1)."""

from dataclasses import dataclass

from router.http.faults import (
    BAD_ANSWER,
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    POOL_FULL,
    UPSTREAM_CLOSED,
    UPSTREAM_TLS,
    UPSTREAM_UNTRUSTED,
    Fault,
)

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
"""Methods that may be sent twice. Safe or idempotent by RFC 9110 9.2; of the WebDAV methods none,
because servers disagree about them."""
MAX_REFUSED = 16
"""Refused connects of one request. They take no time and send nothing, so they do not use up the
tries: when many pods of a Service end at once, the ones that remain are found."""


@dataclass(slots=True)
class Attempts:
    """What one request has tried so far."""

    tries: int = 0
    """Attempts, the running one included."""
    refused: int = 0
    """Attempts of these that ended with a refused connect."""
    sent: bool = False
    """Bytes of the request may have reached an upstream."""
    resent: bool = False
    """They were sent a second time already."""
    reused: bool = False
    """The running attempt's connection had served another request before."""


def may_try_again(
    fault: Fault,
    attempts: Attempts,
    *,
    method: bytes,
    replayable: bool,
    others_left: bool,
    max_tries: int,
) -> bool:
    """Whether the request may go out once more after ``fault``.

    ``replayable``: all of the body that was taken from the client is still here. ``others_left``:
    there is an endpoint that was not tried.

    A failed connect sent nothing, so any method may go to another endpoint. A connection that
    ended before the first byte of an answer may have carried the request, so only what may be
    done twice is sent again, once. Malformed bytes on a reused connection may be left over from
    its previous answer (a body behind 304, say), so they count as such an end. A time-out is
    never tried again: the upstream may still be at work.
    """
    if not replayable:
        return False
    if fault is CONNECT_REFUSED:
        return others_left and attempts.refused < MAX_REFUSED
    if attempts.tries - attempts.refused >= max_tries:
        return False
    if fault in (CONNECT_TIMEOUT, POOL_FULL, UPSTREAM_TLS, UPSTREAM_UNTRUSTED):
        return others_left
    if fault is UPSTREAM_CLOSED or (fault is BAD_ANSWER and attempts.reused):
        return not attempts.sent or (not attempts.resent and method in IDEMPOTENT)
    return False
