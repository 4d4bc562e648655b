"""What can go wrong with the Kubernetes API. The HTTP client's own errors stop at this tree.

Nothing here does I/O: `kube_api` raises these for answers, the reflector for ERROR events of a
watch, and both read the API's Status object the same way. No message ever holds a credential.
"""

from email.utils import parsedate_to_datetime

import msgspec

MAX_MESSAGE = 500
"""Characters of the API's own words that are quoted; admission webhooks may say a lot."""
MAX_RETRY_AFTER = 300.0
"""Seconds; no answer can send us away for longer, by mistake or on purpose."""


class AccessError(Exception):
    """The API cannot be reached as we were told: the message says what is wrong and what to do."""


class ApiError(Exception):
    """A request or a watch failed; the message is a sentence for people.

    ``status`` is the HTTP status, None when there was no answer. ``retry_after`` are the seconds
    that the server asked us to wait. ``reasons`` are the machine-readable words of the Status
    object and of its causes, such as ``Expired``, ``AlreadyExists``, ``ResourceVersionTooLarge``.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        reasons: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.reasons = reasons


class GoneError(ApiError):
    """410: the resource version, or the token that continues a list, is too old."""


class UnauthorizedError(ApiError):
    """401, also with credentials that were read again."""


class ForbiddenError(ApiError):
    """403: a role is missing."""


class NotFoundError(ApiError):
    """404: no such object, or no such kind in this cluster."""


class ConflictError(ApiError):
    """409: the object exists already, or it changed since it was read."""


class InvalidError(ApiError):
    """Another 4xx: the request itself is wrong, and stays wrong when it is repeated."""


class ThrottledError(ApiError):
    """429, or 503 that says when to come back."""


class UnavailableError(ApiError):
    """Another 5xx, or no answer: refused, reset, silent, not trusted."""


class MalformedAnswerError(ApiError):
    """Not what the API promises: no JSON, a line that is cut or without end, a redirect."""


class Cause(msgspec.Struct, frozen=True):
    """One entry of a Status object's causes."""

    reason: str | None = None


class Details(msgspec.Struct, frozen=True, rename="camel"):
    """What a Status object says beyond its reason."""

    causes: list[Cause] | None = None
    retry_after_seconds: int | None = None


class Status(msgspec.Struct, frozen=True):
    """The API's own account of a failure (Kubernetes API reference, meta/v1 Status)."""

    code: int | None = None
    reason: str | None = None
    message: str | None = None
    details: Details | None = None


def read_status(body: bytes) -> Status:
    """The Status object that an answer or an ERROR event holds; an empty one if it is none."""
    try:
        return msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Status()


def error_of(what: str, code: int, status: Status, retry_after: float | None = None) -> ApiError:
    """The error that a failure's code stands for.

    ``what`` was being done, such as ``GET /api/v1/services``. ``retry_after`` is the header's
    value in seconds; without it, that of the Status object counts.
    """
    details = status.details or Details()
    if retry_after is None and details.retry_after_seconds is not None:
        retry_after = min(max(float(details.retry_after_seconds), 0.0), MAX_RETRY_AFTER)
    said = " ".join((status.message or status.reason or "").split())[:MAX_MESSAGE]
    found = [status.reason, *(cause.reason for cause in details.causes or ())]
    return _kind(code, retry_after)(
        f"{what}: answered {code}" + (f": {said}" if said else ""),
        status=code,
        retry_after=retry_after,
        reasons=frozenset(reason for reason in found if reason),
    )


def _kind(code: int, retry_after: float | None) -> type[ApiError]:
    known = {
        401: UnauthorizedError,
        403: ForbiddenError,
        404: NotFoundError,
        409: ConflictError,
        410: GoneError,
        429: ThrottledError,
    }
    if code in known:
        return known[code]
    if code == 503 and retry_after is not None:
        return ThrottledError
    if code >= 500:
        return UnavailableError
    return InvalidError if code >= 400 else MalformedAnswerError


def retry_after_seconds(value: str, now: float) -> float | None:
    """How long the field Retry-After asks to wait: seconds or a date (RFC 9110 section 10.2.3).

    ``now`` is the time of day in seconds since 1970. None for what is neither.
    """
    if value.isdecimal() and value.isascii():
        return min(float(value), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):  # it differs between versions
        return None
    return min(max(moment - now, 0.0), MAX_RETRY_AFTER)
