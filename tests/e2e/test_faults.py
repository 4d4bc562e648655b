"""What goes away and comes back: the API server and etcd, stopped, paused, restarted."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.controller import BASE, NAME, NAMESPACE, Controller, clusterctl, kubectl
from tests.e2e.instance import instance
from tests.e2e.kube import Kube
from tests.e2e.objects import ECHO_PORT, endpoint_slice, ingress, rule, service
from tests.e2e.outside import Answer, Edge
from tests.e2e.space import Space
from tests.harness.client import request
from tests.harness.load import steady_load

SERVICE = "https://10.96.0.1"
"""Where Pods of the cluster of its own reach the API server."""
FRESH = 5.0
"""Seconds within which what changed is served when Pods can reach the API server again. Two are
wanted, and enough where its port opens when it can answer; where it opens before, as that of a
killed one that starts does, one more try is needed (3.4 s were seen)."""
ACCOUNT = {
    "kind": "ServiceAccount",
    "metadata": {"name": NAME, "namespace": NAMESPACE},
}
pytestmark = pytest.mark.usefixtures("local_cluster")


@pytest.fixture
def _healed() -> Iterator[None]:
    """Whatever a test stopped or paused runs again afterwards."""
    yield
    for component in ("etcd", "apiserver"):
        clusterctl(f"resume-{component}")
    for component in ("etcd", "apiserver"):
        clusterctl(f"start-{component}")


async def serving(space: Space, edge: Edge, host: str, standing: list[str]) -> None:
    await space.stand("web", on=standing)
    await space.create(ingress("web", rule(host, root="web")))
    await edge.until_served(host)


async def change(space: Space, edge: Edge, host: str, standing: list[str], within: float) -> float:
    """A new Service, its endpoints and a host that leads there are served by every replica; gives
    the seconds from the API server's last answer on."""
    port, changed = ECHO_PORT + 1, f"changed.{host}"
    await _insist(space, service("fresh", selects=False))
    await _insist(space, endpoint_slice("fresh", *standing, port=port))
    await _insist(space, ingress("fresh", rule(changed, root="fresh")))
    start = time.monotonic()
    await edge.until(changed, holds=lambda answer: answer.seen["port"] == port, within=within)
    return time.monotonic() - start


async def until_back(kube: Kube, within: float = 90.0) -> None:
    """Wait until Pods can reach the API server: when it stops in good order it leaves the Service
    that they know it by, and kube-proxy, which waits longer from one try to the next, has to hear
    of its return."""
    end = time.monotonic() + within
    while not await kube.answers(SERVICE):
        assert time.monotonic() < end, f"{SERVICE} does not answer within {within} s"
        await asyncio.sleep(0.05)


async def _insist(space: Space, obj: dict[str, object]) -> None:
    """Apply, however long the API server takes to be itself again."""
    end = time.monotonic() + 30
    while True:
        try:
            await space.apply(obj)
            return
        except Exception:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


@pytest.mark.usefixtures("_healed")
async def test_a_controller_that_starts_without_the_api_server_becomes_ready_after_it(
    kube: Kube, standing: list[str]
) -> None:
    """F-02: alive and not ready meanwhile; ready soon after the API server.

    First, because it needs the control plane's own controllers, which wait longer from one try to
    the next after each outage.
    """
    async with instance("orphan") as orphan, Space(kube) as space:
        await space.stand("web", on=standing)
        await space.create(ingress("web", rule("orphan.test", root="web"), ingress_class="orphan"))
        await orphan.edge.until_served("orphan.test")
        [pod] = await orphan.pods(kube)
        address = Edge(pod["status"]["podIP"], http=8080)
        admin = Edge(pod["status"]["podIP"], http=10254)
        await asyncio.to_thread(clusterctl, "stop-apiserver")
        try:
            # The process ends and its kubelet starts it again, with nobody to ask. The shell that
            # ends it ends with it, so its status says nothing.
            where = ("-n", orphan.namespace, pod["metadata"]["name"])
            with contextlib.suppress(AssertionError):
                await asyncio.to_thread(
                    clusterctl, "exec", *where, "--", "sh", "-c", "kill -INT 1; kill -INT 1"
                )
            await admin.until_status(503, "admin", "/readyz", within=20)
            await asyncio.sleep(2.0)  # the one that ends says so, too
            await admin.until_status(200, "admin", "/healthz", within=20)
            assert (await admin.get("admin", "/readyz")).status == 503
        finally:
            await asyncio.to_thread(clusterctl, "start-apiserver")
            await until_back(kube)
        back = time.monotonic()
        await admin.until_status(200, "admin", "/readyz", within=40)
        took = time.monotonic() - back
        assert (await address.get("orphan.test")).status == 200
    assert took <= FRESH, f"ready {took:.1f} s after the API server"


@pytest.mark.usefixtures("_healed")
@pytest.mark.parametrize(
    ("end", "seconds"),
    [
        pytest.param("kill", 15, id="killed"),
        pytest.param("stop", 8, id="in good order, so that its Service says so"),
        pytest.param("kill", 3, id="killed again, back soon"),
    ],
)
async def test_traffic_does_not_need_the_api_server(
    space: Space, edge: Edge, standing: list[str], end: str, seconds: float
) -> None:
    """F-01, shortened to what a test can wait; a change is served soon after its return."""
    host = f"without-api-{end}-{seconds}.test"
    await serving(space, edge, host, standing)

    async with steady_load(
        edge.http, make=lambda nonce: request("/x", host=host, nonce=nonce), rate=100
    ) as load:
        await asyncio.to_thread(clusterctl, f"{end}-apiserver")
        await asyncio.sleep(seconds)
        await asyncio.to_thread(clusterctl, "start-apiserver")
        await until_back(space.kube)
        took = await change(space, edge, host, standing, within=70)
    assert load.failures == []
    assert len(load.seconds) > 40 * seconds
    assert took <= FRESH, f"the first change after it was served after {took:.1f} s"


@pytest.mark.usefixtures("_healed")
async def test_a_paused_api_server_is_left_and_found_again(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    """F-05 by pausing: connections stay open, and nothing comes."""
    host = "paused-api.test"
    await serving(space, edge, host, standing)

    async with steady_load(
        edge.http, make=lambda nonce: request("/x", host=host, nonce=nonce), rate=50
    ) as load:
        await asyncio.to_thread(clusterctl, "pause-apiserver")
        await asyncio.sleep(12)
        await asyncio.to_thread(clusterctl, "resume-apiserver")
        took = await change(space, edge, host, standing, within=30)
    assert load.failures == []
    assert took <= FRESH, f"the first change after it was served after {took:.1f} s"


@pytest.mark.usefixtures("_healed")
async def test_etcd_stopped_and_restarted_loses_nothing(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    host = "without-etcd.test"
    await serving(space, edge, host, standing)

    async with steady_load(
        edge.http, make=lambda nonce: request("/x", host=host, nonce=nonce), rate=50
    ) as load:
        await asyncio.to_thread(clusterctl, "stop-etcd")
        await asyncio.sleep(6)
        await asyncio.to_thread(clusterctl, "start-etcd")
        await change(space, edge, host, standing, within=40)
    assert load.failures == []


@pytest.mark.usefixtures("_healed")
async def test_what_changed_while_the_api_server_restarted_is_found(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    """Restarted at once, several times, with changes right after each."""
    host = "restarted-api.test"
    await serving(space, edge, host, standing)
    for round_ in range(3):
        await asyncio.to_thread(clusterctl, "restart-apiserver")
        address = standing[round_]
        await _insist(space, endpoint_slice("web", address))
        await until_back(space.kube)
        pods = await _pods_by_address(space, address)
        await edge.until(
            host,
            holds=_pod_is_one_of(pods),
            what=f"{host} by the Pod at {address}",
            within=FRESH,
        )


@pytest.mark.usefixtures("_healed")
async def test_an_account_made_anew_is_refused_until_its_new_token_is_there(
    kube: Kube, controller: Controller, space: Space, edge: Edge, standing: list[str]
) -> None:
    """F-10, 401: the tokens of the old account are worth nothing; the kubelet brings others."""
    host = "unauthorized.test"
    await serving(space, edge, host, standing)
    restarts = await _restarts(controller, kube)

    async with steady_load(
        edge.http, make=lambda nonce: request("/x", host=host, nonce=nonce), rate=50
    ) as load:
        await kube.delete(ACCOUNT)
        await asyncio.to_thread(kubectl, "apply", "-f", str(BASE / "service-account.yaml"))
        # Watches that are open live on with their old token; new ones are refused.
        await asyncio.to_thread(clusterctl, "kill-apiserver")
        await asyncio.to_thread(clusterctl, "start-apiserver")
        await change(space, edge, host, standing, within=60)
    assert load.failures == []
    assert await _restarts(controller, kube) == restarts


@pytest.mark.usefixtures("_healed")
async def test_rights_that_are_withdrawn_leave_the_last_table(
    kube: Kube, controller: Controller, space: Space, edge: Edge, standing: list[str]
) -> None:
    """F-10, 403: what was read serves on, and all is well again when the rights return."""
    host = "forbidden.test"
    await serving(space, edge, host, standing)
    restarts = await _restarts(controller, kube)
    role = BASE / "cluster-role.yaml"

    async with steady_load(
        edge.http, make=lambda nonce: request("/x", host=host, nonce=nonce), rate=50
    ) as load:
        await asyncio.to_thread(kubectl, "delete", "-f", str(role))
        await asyncio.to_thread(clusterctl, "kill-apiserver")
        await asyncio.to_thread(clusterctl, "start-apiserver")
        await asyncio.sleep(5)
        for pod in await controller.pods(kube):
            ready = await controller.ask(kube, pod["metadata"]["name"], "/readyz")
            assert '"ready":true' in ready.replace(" ", "").replace("\n", "")
        await asyncio.to_thread(kubectl, "apply", "-f", str(role))
        await change(space, edge, host, standing, within=60)
    assert load.failures == []
    assert await _restarts(controller, kube) == restarts


async def _restarts(controller: Controller, kube: Kube) -> list[int]:
    return [
        pod["status"]["containerStatuses"][0]["restartCount"] for pod in await controller.pods(kube)
    ]


def _pod_is_one_of(pods: list[str]) -> Callable[[Answer], bool]:
    return lambda answer: answer.status == 200 and answer.seen["pod"] in pods


async def _pods_by_address(space: Space, address: str) -> list[str]:
    pods = await space.kube.items("Pod", "e2e-standing")
    return [p["metadata"]["name"] for p in pods if p["status"].get("podIP") == address]
