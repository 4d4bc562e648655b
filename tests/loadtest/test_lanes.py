"""Generator and backend speak with each other; a proxy between them has nothing to add."""

import contextlib
from collections.abc import Iterator

import pytest

from loadtest.backend import Backend, listen
from loadtest.lanes import LANES, KeepAlive, forty_field_requests

# the backend leaves TLS and "Connection: close" to the proxies
ALONE = [name for name, lane in LANES.items() if not lane.secure and name != "connections"]


@pytest.fixture
def backend() -> Iterator[Backend]:
    with contextlib.closing(Backend(listen(["127.0.0.1"]))) as opened:
        yield opened


@pytest.mark.parametrize("name", ALONE)
def test_every_answer_is_counted_and_none_is_wrong(name: str, backend: Backend) -> None:
    lane = LANES[name](backend.port)
    with contextlib.closing(lane):
        lane.open()
        count = lane.run(0.3, backend.step)

    assert count.units > 0
    assert count.failures == 0
    assert count.reconnects == 0


def test_an_answer_of_another_status_is_a_failure(backend: Backend) -> None:
    lane = KeepAlive(backend.port, [b"GET /nowhere HTTP/1.1\r\nHost: bench.example\r\n\r\n"])
    with contextlib.closing(lane):
        lane.open()
        count = lane.run(0.1, backend.step)

    assert count.units == 0
    assert count.failures > 0


def test_the_large_heads_have_forty_fields_and_differ() -> None:
    heads = forty_field_requests()

    assert {head.count(b"\r\n") for head in heads} == {1 + 40 + 1}
    assert len(set(heads)) == len(heads)
