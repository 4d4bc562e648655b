"""Access-log lines: every exchange one, batched, bounded."""

import json
from base64 import b64encode

import pytest

from router.accesslog import BATCH, AccessLog, AccessRecord, remote_user

RECORD = AccessRecord(
    time="2026-09-21T14:13:20.250Z",
    remote_addr="192.0.2.7",
    request_method="GET",
    host="shop.example",
    request_uri='/a?q="é',
    server_protocol="HTTP/1.1",
    status=200,
    body_bytes_sent=96,
    request_length=200,
    request_time=0.012345,
    req_id="abc",
    remote_user="ann",
    http_user_agent="curl",
    namespace="shop",
    ingress_name="web",
    service_name="cart",
    route="/a",
    proxy_upstream_name="shop/cart:80",
    upstream_addr="192.0.2.8:80",
    upstream_status=200,
    upstream_response_time=0.01,
    upstream_response_length=96,
)


def test_a_line_says_who_asked_what_and_who_answered() -> None:
    batches: list[bytes] = []
    log = AccessLog(lambda lines: not batches.append(lines))
    log.add(RECORD)
    log.flush()
    line = json.loads(batches[0])
    assert line == {
        "time": "2026-09-21T14:13:20.250Z",
        "remote_addr": "192.0.2.7",
        "remote_user": "ann",
        "request_method": "GET",
        "host": "shop.example",
        "request_uri": '/a?q="é',
        "server_protocol": "HTTP/1.1",
        "status": 200,
        "body_bytes_sent": 96,
        "request_length": 200,
        "request_time": 0.012345,
        "req_id": "abc",
        "http_user_agent": "curl",
        "namespace": "shop",
        "ingress_name": "web",
        "service_name": "cart",
        "route": "/a",
        "proxy_upstream_name": "shop/cart:80",
        "upstream_addr": "192.0.2.8:80",
        "upstream_status": 200,
        "upstream_response_time": 0.01,
        "upstream_response_length": 96,
    }


def test_time_is_utc_with_milliseconds() -> None:
    log = AccessLog(lambda lines: True)
    assert log.time(1_790_000_000.25) == "2026-09-21T14:13:20.250Z"
    assert log.time(1_790_000_001.0) == "2026-09-21T14:13:21.000Z"


def test_a_full_batch_is_written_without_waiting() -> None:
    batches: list[bytes] = []
    log = AccessLog(lambda lines: not batches.append(lines))
    for _ in range(BATCH + 1):
        log.add(RECORD)
    assert [lines.count(b"\n") for lines in batches] == [BATCH]


def test_lines_without_room_are_counted() -> None:
    log = AccessLog(lambda lines: False)
    for _ in range(BATCH + 7):
        log.add(RECORD)
    log.flush()
    assert log.dropped == BATCH + 7


@pytest.mark.parametrize(
    ("authorization", "user"),
    [
        (b"Basic " + b64encode(b"ann:x"), "ann"),
        (b"basic " + b64encode(b"ann"), ""),
        (b"Basic !!!", ""),
        (b"Bearer abc", ""),
        (b"", ""),
    ],
)
def test_remote_user(authorization: bytes, user: str) -> None:
    assert remote_user(authorization) == user
