"""Endpoints that come, go and flap, under load: F-15 and F-16 on a real API server."""

import asyncio
import time

from tests.e2e.kube import Kube
from tests.e2e.objects import endpoint_slice, ingress, rule, service
from tests.e2e.outside import Edge
from tests.e2e.space import Space
from tests.harness.client import request
from tests.harness.load import Maker, steady_load


def maker(host: str) -> Maker:
    return lambda nonce: request("/load", host=host, nonce=nonce)


async def test_an_endpoint_that_flaps_fails_nothing(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    """Ready and not ready ten times a second, beside one that stays."""
    host = "flaps.test"
    stays, flaps, _ = standing
    await space.create(
        service("web", selects=False),
        endpoint_slice("web", stays, name="web-1"),
        endpoint_slice("web", flaps, name="web-2"),
        ingress("web", rule(host, root="web")),
    )
    await edge.until_served(host)

    async with steady_load(edge.http, make=maker(host), rate=200) as load:
        begun = time.monotonic()
        turn = 0
        while time.monotonic() - begun < 4:
            turn += 1
            ready = {"ready": turn % 2 == 0}
            await space.replace(endpoint_slice("web", flaps, name="web-2", conditions=ready))
            await asyncio.sleep(0.1)

    assert load.failures == []
    assert len(load.seconds) > 400
    assert turn > 20


async def test_the_gap_between_two_slices_is_not_seen(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    """F-16: the slice of a Service is deleted, and its successor comes half a second later."""
    host = "gap.test"
    await space.create(
        service("web", selects=False),
        endpoint_slice("web", standing[0], name="web-0"),
        ingress("web", rule(host, root="web")),
    )
    await edge.until_served(host)

    async with steady_load(edge.http, make=maker(host), rate=100) as load:
        for turn in range(4):
            await space.delete(endpoint_slice("web", name=f"web-{turn}"))
            await asyncio.sleep(0.4)
            following = endpoint_slice("web", standing[turn % 3], name=f"web-{turn + 1}")
            await space.create(following)
            await asyncio.sleep(0.4)
    assert load.failures == []


async def test_endpoints_that_are_really_gone_are_told_within_two_seconds(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    host = "gone.test"
    await space.create(
        service("web", selects=False),
        endpoint_slice("web", standing[0]),
        ingress("web", rule(host, root="web")),
    )
    await edge.until_served(host)

    await space.delete(endpoint_slice("web"))

    await edge.until_status(503, host, within=2.5)


async def test_scaling_to_nothing_and_back_again(kube: Kube, space: Space, edge: Edge) -> None:
    host = "scaled.test"
    await space.deploy("echo")
    await space.create(ingress("web", rule(host, root="echo")))
    await edge.until_served(host)
    await space.scale("echo", 0)
    await edge.until_status(503, host)

    await space.scale("echo", 2)
    await edge.until_served(host, within=3)
