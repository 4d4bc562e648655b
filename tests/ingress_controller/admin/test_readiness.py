"""When traffic may come."""

import pytest

from ingress_controller.admin.readiness import verdict
from ingress_controller.supervisor.totals import WorkerStatus

SERVING = WorkerStatus(slot=0, pid=10, version=1, restarts=0)
STARTING = WorkerStatus(slot=1, pid=11, version=None, restarts=0)


@pytest.mark.parametrize(
    ("waiting", "was_ready", "draining", "workers", "reason"),
    [
        pytest.param("no list yet", False, False, [SERVING], "no list yet", id="before the lists"),
        pytest.param("", False, False, [STARTING], "0 of 1 workers", id="before the first ack"),
        pytest.param("", False, False, [SERVING, STARTING], "1 of 2", id="before every ack"),
        pytest.param("", False, False, [SERVING], "", id="once all serve"),
        pytest.param("", True, False, [SERVING, STARTING], "", id="while one is restarted"),
        pytest.param("", True, False, [STARTING], "0 of 1", id="while none serves"),
        pytest.param("", True, True, [SERVING], "draining", id="while draining"),
    ],
)
def test_readiness(
    waiting: str, was_ready: bool, draining: bool, workers: list[WorkerStatus], reason: str
) -> None:
    readiness = verdict(waiting=waiting, was_ready=was_ready, draining=draining, workers=workers)
    assert readiness.ready is (reason == "")
    assert reason in readiness.reason
