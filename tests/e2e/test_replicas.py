"""Two replicas: one of them writes, both serve, and either may go."""

import asyncio
import time

from tests.e2e.controller import NAME, NAMESPACE, Controller, kubectl
from tests.e2e.kube import Kube, path_of
from tests.e2e.objects import ingress, rule
from tests.e2e.outside import Edge
from tests.e2e.space import Space
from tests.harness.client import request
from tests.harness.load import Load, steady_load

LEASE_SECONDS = 15.0
"""leaseDurationSeconds; a killed leader's Lease runs out after that."""


def loaded(host: str):  # type: ignore[no-untyped-def]  # a request maker for steady_load
    return lambda nonce: request("/load", host=host, nonce=nonce)


def check(load: Load, least: int = 0) -> None:
    assert load.failures == []
    assert len(load.seconds) >= least


async def test_the_writer_dies_and_another_takes_over_within_the_lease(
    controller: Controller, kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    """The Pod is killed without a word (grace period 0), so its Lease has to run out."""
    await controller.ready(kube, 2)
    await space.stand("web", on=standing)
    await space.create(ingress("before", rule("before.leader.test", root="web")))
    await space.until_published("before", [edge.host])
    leader = await controller.leading_pod(kube)
    lease = await kube.get("Lease", NAMESPACE, "python-ingress-leader")
    duration = lease["spec"]["leaseDurationSeconds"]
    transitions = lease["spec"].get("leaseTransitions", 0)
    assert duration <= LEASE_SECONDS

    await kube.delete(
        {"kind": "Pod", "metadata": {"name": leader, "namespace": NAMESPACE}},
        gracePeriodSeconds=0,
    )
    killed = time.monotonic()
    await space.create(ingress("after", rule("after.leader.test", root="web")))
    await edge.until_served("after.leader.test")  # serving needs no leader
    await space.until_published("after", [edge.host], within=duration + 10)
    took = time.monotonic() - killed

    assert took <= duration + 5, f"taken over after {took:.1f} s"
    lease = await kube.get("Lease", NAMESPACE, "python-ingress-leader")
    assert lease["spec"]["leaseTransitions"] == transitions + 1
    await controller.ready(kube, 2)


async def test_traffic_does_not_notice_that_the_leader_ends(
    controller: Controller, kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    """In order: the Lease is given back, so the other one leads at once."""
    await controller.ready(kube, 2)
    host = "unnoticed.leader.test"
    await space.stand("web", on=standing)
    await space.create(ingress("web", rule(host, root="web")))
    await edge.until_served(host)
    leader = await controller.leading_pod(kube)

    async with steady_load(edge.http, make=loaded(host), rate=100) as load:
        await kube.delete({"kind": "Pod", "metadata": {"name": leader, "namespace": NAMESPACE}})
        ended = time.monotonic()
        while await controller.leader(kube) in ("", leader) or (
            await controller.leading_pod(kube) == leader
        ):
            assert time.monotonic() - ended < 60, "nobody takes over"
            await asyncio.sleep(0.2)
        await space.create(ingress("after", rule("after.unnoticed.test", root="web")))
        await space.until_published("after", [edge.host], within=10)
    check(load, 500)
    await controller.ready(kube, 2)


async def test_one_at_a_time_writes(
    controller: Controller, kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    """While the leader is killed again and again, no status is ever written twice."""
    await controller.ready(kube, 2)
    await space.stand("web", on=standing)
    collection = path_of("Ingress", space.name)
    version = (await kube.call("GET", collection))["metadata"]["resourceVersion"]
    written: dict[str, list[object]] = {}

    async def watch() -> None:
        async for event in kube.watch(collection, version):
            obj = event["object"]
            shown = obj.get("status", {}).get("loadBalancer", {}).get("ingress")
            history = written.setdefault(obj["metadata"]["name"], [])
            history.append(shown)

    watching = asyncio.ensure_future(watch())
    for number in range(2):
        leader = await controller.leading_pod(kube)
        for one in range(10):
            name = f"w{number}-{one}"
            await space.create(ingress(name, rule(f"{name}.writes.test", root="web")))
        await kube.delete(
            {"kind": "Pod", "metadata": {"name": leader, "namespace": NAMESPACE}},
            gracePeriodSeconds=0 if number else 1,
        )
        for one in range(10):
            await space.until_published(f"w{number}-{one}", [edge.host], within=LEASE_SECONDS + 15)
        await controller.ready(kube, 2)
    watching.cancel()

    address = [{"ip": edge.host}]
    assert len(written) == 20
    for name, history in written.items():
        shown = [entry for entry in history if entry]
        assert len(shown) == 1, f"{name} was written {len(shown)} times"
        assert {**shown[0][0], "ipMode": None}.get("ip") == address[0]["ip"]  # type: ignore[index]


async def test_a_rolling_update_of_the_controller_fails_no_request(
    controller: Controller, kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    """F-23: kept and new connections, until the old Pods are gone."""
    await controller.ready(kube, 2)
    host = "rolling.self.test"
    await space.stand("web", on=standing)
    await space.create(ingress("web", rule(host, root="web")))
    await edge.until_served(host)
    old = {pod["metadata"]["name"] for pod in await controller.pods(kube)}

    async with steady_load(edge.http, make=loaded(host), rate=200) as load:
        await asyncio.to_thread(
            kubectl, "rollout", "restart", f"deployment/{NAME}", "-n", NAMESPACE
        )
        await asyncio.sleep(1)
        end = time.monotonic() + 90
        while old & {pod["metadata"]["name"] for pod in await kube.items("Pod", NAMESPACE)}:
            assert time.monotonic() < end, "the old Pods do not end"
            await asyncio.sleep(0.5)
    check(load, 3000)
    await controller.ready(kube, 2)


async def test_a_rolling_update_of_a_backend_fails_no_request(
    controller: Controller, kube: Kube, space: Space, edge: Edge
) -> None:
    """F-18: three Pods that end at once on SIGTERM are replaced one by one."""
    host = "rolling.backend.test"
    await space.deploy("echo", replicas=3)
    await space.create(ingress("web", rule(host, root="echo")))
    await edge.until_served(host)

    async with steady_load(edge.http, make=loaded(host), rate=200) as load:
        for _ in range(2):
            await asyncio.to_thread(
                kubectl, "rollout", "restart", "deployment/echo", "-n", space.name
            )
            await space.ready("echo", 3)
    check(load, 500)
