"""How many users at which moment: plain functions of time."""

import math
from typing import Final

SHAPES: Final = ("constant", "steps", "spike", "soak")
STEPS: Final = 5
SPIKE_FROM, SPIKE_TO = 0.4, 0.6
"""The part of the run in which the spike lasts."""
SPIKE_REST: Final = 0.1
"""Users outside of the spike, as a part of those in it."""
SOAK_RAMP, SOAK_RAMP_SECONDS = 0.1, 60.0
"""A soak's users come in the first tenth of the run, and within a minute."""


def users_at(shape: str, elapsed: float, *, users: int, run_time: float) -> int | None:
    """The number of users, at least 1; None when the run is over.

    Args:
        shape: one of `SHAPES`. ``steps``: a fifth of the users more in each fifth of the run.
            ``spike``: all users in the middle fifth, a tenth of them before and after. ``soak``:
            all users soon, and until the end. ``constant``: all users at once.
        elapsed: seconds since the beginning.
        users: the most users.
        run_time: seconds that the run lasts.

    Raises:
        ValueError: there is no such shape.
    """
    if elapsed >= run_time:
        return None
    done = elapsed / run_time
    match shape:
        case "constant":
            part = 1.0
        case "steps":
            part = (math.floor(done * STEPS) + 1) / STEPS
        case "spike":
            part = 1.0 if SPIKE_FROM <= done < SPIKE_TO else SPIKE_REST
        case "soak":
            ramp = min(run_time * SOAK_RAMP, SOAK_RAMP_SECONDS)
            part = min(1.0, elapsed / ramp)
        case _:
            raise ValueError(f"no shape {shape!r}; there are {', '.join(SHAPES)}")
    return max(1, min(users, math.ceil(users * part)))
