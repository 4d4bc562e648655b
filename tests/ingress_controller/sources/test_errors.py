"""Codes, Status objects and Retry-After become errors that people and machines can read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.sources.errors import (
    MAX_MESSAGE,
    MAX_RETRY_AFTER,
    ApiError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    MalformedAnswerError,
    NotFoundError,
    Status,
    ThrottledError,
    UnauthorizedError,
    UnavailableError,
    error_of,
    read_status,
    retry_after_seconds,
)

NOON = 1_767_268_800.0
"""2026-01-01 12:00:00 UTC."""


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, InvalidError),
        (401, UnauthorizedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (405, InvalidError),
        (409, ConflictError),
        (410, GoneError),
        (415, InvalidError),
        (422, InvalidError),
        (429, ThrottledError),
        (500, UnavailableError),
        (503, UnavailableError),
        (504, UnavailableError),
        (302, MalformedAnswerError),
        (0, MalformedAnswerError),
    ],
)
def test_each_code_has_its_error(code: int, kind: type[ApiError]) -> None:
    error = error_of("GET /x", code, Status())
    assert type(error) is kind
    assert (str(error), error.status, error.retry_after) == (f"GET /x: answered {code}", code, None)


def test_a_503_that_says_when_to_come_back_throttles() -> None:
    error = error_of("GET /x", 503, Status(), 7.0)
    assert isinstance(error, ThrottledError)
    assert error.retry_after == 7.0


def test_a_status_object_gives_words_reasons_and_a_pause() -> None:
    body = b"""{"kind": "Status", "metadata": {}, "code": 504, "reason": "Timeout",
        "message": "Too large\\n  resource version: 9", "details": {"name": "x",
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "m"}, {"field": "f"}],
        "retryAfterSeconds": 1}}"""
    error = error_of("GET /x", 504, read_status(body))
    assert str(error) == "GET /x: answered 504: Too large resource version: 9"
    assert error.reasons == {"Timeout", "ResourceVersionTooLarge"}
    assert error.retry_after == 1.0


def test_the_header_counts_before_the_status_object() -> None:
    status = read_status(b'{"details": {"retryAfterSeconds": 1}}')
    assert error_of("GET /x", 429, status, 5.0).retry_after == 5.0


@pytest.mark.parametrize("seconds", [-1, 10**9])
def test_a_status_object_asks_for_no_absurd_pause(seconds: int) -> None:
    status = read_status(b'{"details": {"retryAfterSeconds": %d}}' % seconds)
    error = error_of("GET /x", 429, status)
    assert error.retry_after == min(max(seconds, 0), MAX_RETRY_AFTER)


def test_long_words_are_cut() -> None:
    error = error_of("GET /x", 422, Status(message="y" * 10_000))
    assert len(str(error)) < MAX_MESSAGE + 50


@given(st.binary(max_size=100))
def test_what_is_no_status_object_reads_as_an_empty_one(body: bytes) -> None:
    assert read_status(body) == Status()


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"code": "no number"}', b'{"message": "\xff"}', b"null"]
)
def test_pages_of_gateways_are_no_status_objects(body: bytes) -> None:
    assert read_status(body) == Status()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("30", 30.0),
        ("99999999999999999999", MAX_RETRY_AFTER),
        ("Thu, 01 Jan 2026 12:00:20 GMT", 20.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Fri, 02 Jan 2026 12:00:00 GMT", MAX_RETRY_AFTER),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("Thu, 99 Jan 2026 12:00:20 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOON) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_is_too_strange(value: str) -> None:
    found = retry_after_seconds(value, NOON)
    assert found is None or 0 <= found <= MAX_RETRY_AFTER
