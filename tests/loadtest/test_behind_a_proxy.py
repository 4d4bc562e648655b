"""The lanes that need a proxy before the backend, with this controller as that proxy."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from loadtest import configurations, peers
from loadtest.backend import Backend, listen
from loadtest.lanes import LANES, FullHandshake, ResumedHandshake

SECURE = [name for name, lane in LANES.items() if lane.secure]


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with contextlib.closing(Backend(listen(configurations.ADDRESSES))) as opened:
        yield opened


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, backend: Backend) -> Iterator[peers.Proxy]:
    started = peers.start(
        configurations.OURS,
        tmp_path_factory.mktemp("proxies") / "ours",
        core=max(os.sched_getaffinity(0)),
        backend_port=backend.port,
        pause=backend.step,
    )
    yield started
    started.stop()


@pytest.mark.parametrize("name", ["connections", *SECURE])
def test_every_answer_is_counted_and_none_is_wrong(
    name: str, proxy: peers.Proxy, backend: Backend
) -> None:
    lane = LANES[name](proxy.https_port if LANES[name].secure else proxy.port)
    with contextlib.closing(lane):
        lane.open()
        count = lane.run(0.5, backend.step)

    assert count.units > 0
    assert count.failures == 0
    assert count.reconnects == 0


def test_a_full_handshake_where_a_resumed_one_is_due_is_a_failure(
    proxy: peers.Proxy, backend: Backend
) -> None:
    class Forgetful(ResumedHandshake):
        def _connect(self) -> None:
            super()._connect()
            for fd, (connection, _) in self._shaking.items():
                self._shaking[fd] = connection, True

    lane = Forgetful(proxy.https_port)
    with contextlib.closing(lane):
        lane.open()
        count = lane.run(0.2, backend.step)

    assert count.failures > 0


def test_what_is_not_tls_is_a_failure_and_no_end(proxy: peers.Proxy, backend: Backend) -> None:
    lane = FullHandshake(proxy.port)
    with contextlib.closing(lane):
        lane.open()
        count = lane.run(0.2, backend.step)

    assert count.units == 0
    assert count.failures > 0


def test_the_proxy_speaks_tls_1_3(proxy: peers.Proxy) -> None:
    assert proxy.negotiated.startswith("TLSv1.3 TLS_AES_")
