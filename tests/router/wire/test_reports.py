"""What a worker tells: the access log and the statistics say what happened to each request."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from router.model.limits import Limits
from router.model.upstreams import Endpoint
from router.model.wire import Options
from tests.faults.blackhole import Blackhole, closed_port
from tests.harness.backend import Backend, fixed, hang, message, raw
from tests.harness.client import Connection, fetch, request
from tests.harness.edge import Edge
from tests.harness.waiting import until
from tests.harness.worker import Worker

LIMITS = Limits(upstream_connect_timeout=0.5, upstream_read_timeout=0.5)


@pytest.fixture
def logging() -> Iterator[Edge]:
    """An edge that writes its access log to standard output."""
    with (
        Blackhole() as blackhole,
        Backend() as backend,
        Worker(limits=LIMITS, options=Options(access_log="-")) as worker,
    ):
        refusing = Endpoint(address="127.0.0.1", port=closed_port())
        worker.serve(
            {
                "h.test": {"/": "web"},
                "empty.test": {"/": "empty"},
                "refusing.test": {"/": "refusing"},
                "blackhole.test": {"/": "blackhole"},
            },
            {
                "web": [backend.endpoint],
                "empty": [],
                "refusing": [refusing],
                "blackhole": [blackhole.endpoint],
            },
        )
        pair = Edge(worker, backend)
        yield pair
        pair.check()


async def _line(pair: Edge, count: int = 1) -> dict[str, Any]:
    await until(lambda: pair.worker.stdout().count("\n") >= count, "a line of the access log")
    line = json.loads(pair.worker.stdout().splitlines()[count - 1])
    assert isinstance(line, dict)
    return line


async def test_each_way_to_fail_has_its_own_status_and_reason(logging: Edge) -> None:
    backend = logging.backend
    backend.on("/close", raw(then="close"))
    backend.on("/bad", fixed(b"nonsense\r\n\r\n"))
    backend.on("/hang", hang)
    reasons = {}
    for number, (target, host, status) in enumerate(
        (
            ("/x", "nobody.test", 404),
            ("/x", "empty.test", 503),
            ("/x", "refusing.test", 502),
            ("/x", "blackhole.test", 504),
            ("/close", "h.test", 502),
            ("/bad", "h.test", 502),
            ("/hang", "h.test", 504),
            ("/%00", "h.test", 400),
        ),
        1,
    ):
        reply = await fetch(logging.address, request(target, host=host))
        assert reply.status == status, (target, host)
        line = await _line(logging, number)
        assert (line["status"], line["host"]) == (status, host)
        assert line["fault"], line
        assert line["body_bytes_sent"] == len(reply.body) > 0
        assert "upstream_response_length" not in line
        reasons[line["fault"]] = number
    assert len(reasons) == 8, "each fault has a code of its own"


async def test_what_we_say_ourselves_is_counted_as_sent(logging: Edge) -> None:
    asked = [
        request(host="nobody.test"),
        request(host="nobody.test", method="HEAD"),
        b"GET /\x01 HTTP/1.1\r\nHost: h.test\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: h.test\r\n\r\n",
    ]
    sizes = []
    for number, data in enumerate(asked, 1):
        reply = await fetch(logging.address, data)
        line = await _line(logging, number)
        assert (line["status"], line["body_bytes_sent"]) == (reply.status, len(reply.body))
        sizes.append(len(reply.body))
    assert [size > 0 for size in sizes] == [True, False, True, False]

    def counted() -> int:
        return sum(each.bytes_sent for stats in logging.worker.stats for each in stats.routes)

    await until(lambda: counted() == sum(sizes), "statistics")


async def test_line_says_what_was_asked_and_what_happened_upstream(logging: Edge) -> None:
    logging.backend.on("/made", fixed(message("201 Created", b"12345")))
    await fetch(
        logging.address,
        request(
            "/made?q=1",
            ("User-Agent", 'curl "8"'),
            ("Referer", "http://r.test/"),
            method="POST",
            body=b"hello",
        ),
    )
    line = await _line(logging)
    expected = {
        "remote_addr": "127.0.0.1",
        "request_method": "POST",
        "request_uri": "/made?q=1",
        "server_protocol": "HTTP/1.1",
        "host": "h.test",
        "status": 201,
        "body_bytes_sent": 5,
        "http_referer": "http://r.test/",
        "http_user_agent": 'curl "8"',
        "namespace": "test",
        "ingress_name": "web",
        "service_name": "web",
        "proxy_upstream_name": "test/web:80",
        "upstream_addr": f"127.0.0.1:{logging.backend.port}",
        "upstream_status": 201,
        "upstream_response_length": 5,
        "req_id": logging.backend.requests[0].get("x-request-id"),
    }
    assert {name: line.get(name) for name in expected} == expected
    assert line["request_time"] >= line["upstream_response_time"] >= 0


async def test_statistics_count_every_request_once(logging: Edge) -> None:
    worker = logging.worker
    async with await Connection.open(worker.address) as connection:
        for _ in range(30):
            await connection.exchange(request())
        for _ in range(20):
            await connection.exchange(request(host="nobody.test"))

    def counted(ingress: str, code: int) -> int:
        return sum(
            route.codes[code - 1]
            for stats in worker.stats
            for route in stats.routes
            if route.ingress == ingress
        )

    await until(lambda: counted("web", 2) >= 30 and counted("", 4) >= 20, "statistics")
    assert (counted("web", 2), counted("", 4)) == (30, 20)
    buckets = [sum(route.buckets) for stats in worker.stats for route in stats.routes]
    assert sum(buckets) == 50
    assert worker.stats[-1].gauges["snapshot_version"] == 1
