"""The program, with a cluster source that is faster than the real one by PACE_FACTOR.

For faults that take minutes: what the source waits for the API, and how often it may ask, are a
part of what they are. Nothing else is different.
"""

import os
import sys
from functools import partial

import msgspec

from ingress_controller import cluster
from ingress_controller.cli import main
from ingress_controller.sources import reach
from ingress_controller.sources.cluster import ClusterSource
from ingress_controller.sources.watch_machine import Pace


def faster(factor: float) -> Pace:
    """Every figure that is in seconds, divided; an answer may take two seconds in any case."""
    pace = Pace()
    return msgspec.structs.replace(
        pace,
        page_timeout=max(pace.page_timeout / factor, 2.0),
        shortest_watch=max(1, round(pace.shortest_watch / factor)),
        longest_watch=max(2, round(pace.longest_watch / factor)),
        silence=pace.silence / factor,
        first_delay=pace.first_delay / factor,
        longest_delay=pace.longest_delay / factor,
        healthy_after=pace.healthy_after / factor,
        brief=pace.brief / factor,
        probe_every=pace.probe_every / factor,
        attempts_within=pace.attempts_within / factor,
    )


if __name__ == "__main__":
    FACTOR = float(os.environ["PACE_FACTOR"])
    cluster.ClusterSource = partial(ClusterSource, pace=faster(FACTOR))
    reach.ALARM_SECONDS /= FACTOR
    sys.exit(main())
