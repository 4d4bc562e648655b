"""Changes rules at a rate: `python -m tests.e2e.measure.churn RATE SECONDS INGRESSES`.

A process of its own, so that its work does not disturb the clocks of who measures. Prints how many
changes it made.
"""

import asyncio
import sys
import time

from tests.e2e.kube import Kube
from tests.e2e.measure import population


async def main(rate: float, seconds: float, ingresses: int) -> int:
    """Gives the number of changes; each Ingress gets another second path."""
    done = 0
    async with Kube() as kube:
        begun = time.perf_counter()
        running: set[asyncio.Task[object]] = set()
        while (now := time.perf_counter() - begun) < seconds:
            if done / rate > now:
                await asyncio.sleep(done / rate - now)
            number = done * 7919 % ingresses  # spread over all of them
            changed = population.ingress(number, api=f"/api{done}")
            task = asyncio.ensure_future(kube.replace(changed))
            running.add(task)
            task.add_done_callback(running.discard)
            done += 1
        await asyncio.gather(*running)
    return done


if __name__ == "__main__":
    print(asyncio.run(main(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
