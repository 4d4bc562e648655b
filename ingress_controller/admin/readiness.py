"""Whether traffic may come, and why not: a verdict from values.

Ready begins when every worker has acknowledged the first complete snapshot. Later it lasts as long
as one worker serves: the sockets of a dead one stay open and are taken over within a second, and
the last good snapshot is good enough, however old.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ingress_controller.supervisor.totals import WorkerStatus


class Readiness(NamedTuple):
    """The verdict, and a sentence for people."""

    ready: bool
    reason: str


def verdict(
    *, waiting: str, was_ready: bool, draining: bool, workers: Sequence[WorkerStatus]
) -> Readiness:
    """Whether traffic may come.

    Args:
        waiting: what the first complete snapshot waits for; empty when it was made.
        was_ready: an earlier verdict was "ready".
        draining: the end has begun.
        workers: every worker slot.
    """
    if draining:
        return Readiness(False, "draining: running requests are finished, new ones go elsewhere")
    if waiting:
        return Readiness(False, waiting)
    serving = sum(worker.version is not None for worker in workers)
    if serving < (1 if was_ready else len(workers)):
        return Readiness(False, f"{serving} of {len(workers)} workers serve the snapshot")
    return Readiness(True, "ready")
