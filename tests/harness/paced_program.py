"""The program, with a cluster source and an elector that are faster than the real ones by
PACE_FACTOR.

For faults that take minutes: what both wait for the API, and how often they may ask, are a part of
what they are. Nothing else is different.
"""

import os
import sys
from functools import partial

import msgspec

from ingress_controller import cluster
from ingress_controller.cli import main
from ingress_controller.leader.elector import Elector
from ingress_controller.leader.lease import Timing
from ingress_controller.sources import reach
from ingress_controller.sources.cluster import ClusterSource
from ingress_controller.sources.watch_machine import Pace


def faster(factor: float) -> Pace:
    """Every figure that is in seconds, divided; an answer may take two seconds in any case."""
    pace = Pace()
    seconds = {
        name: max(value / factor, 2.0 if name.endswith("_timeout") else 0.0)
        for name, value in msgspec.structs.asdict(pace).items()
        if isinstance(value, float)
    }
    return msgspec.structs.replace(
        pace,
        shortest_watch=max(1, round(pace.shortest_watch / factor)),
        longest_watch=max(2, round(pace.longest_watch / factor)),
        **seconds,
    )


def shorter(factor: float) -> Timing:
    """Likewise; a Lease lasts whole seconds."""
    timing = Timing()
    lease = max(1, round(timing.lease / factor))
    share = lease / timing.lease
    return Timing(
        lease=lease,
        renew_deadline=timing.renew_deadline * share,
        retry=timing.retry * share,
        request=timing.request * share,
    )


if __name__ == "__main__":
    FACTOR = float(os.environ["PACE_FACTOR"])
    cluster.ClusterSource = partial(ClusterSource, pace=faster(FACTOR))
    cluster.Elector = partial(Elector, timing=shorter(FACTOR))
    reach.ALARM_SECONDS /= FACTOR
    sys.exit(main())
