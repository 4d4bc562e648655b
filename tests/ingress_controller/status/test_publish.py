"""Which addresses are published."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ingress_controller.status import publish as room
from ingress_controller.status.publish import Publisher
from ingress_controller.store import Name
from tests.harness.waiting import until
from tests.ingress_controller.status.cluster import Cluster, cluster, running

EDGE = Name("python-ingress", "edge")


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path) as one:
        yield one


class Scene:
    """A publisher that hears what the source tells."""

    def __init__(self, it: Cluster, **options: Any) -> None:
        self.it = it
        self.told: list[tuple[str, ...]] = []
        given = {"service": EDGE, "on_change": self.told.append, **options}
        self.publisher = Publisher(it.api, it.lead, it.log, **given)
        it.changed = self.publisher.changed  # type: ignore[method-assign] # from now on

    def service(self, *addresses: str, **spec: Any) -> None:
        ingress = [{"ip": each} for each in addresses]
        self.it.fake.put(
            {
                "kind": "Service",
                "metadata": {"namespace": EDGE.namespace, "name": EDGE.name},
                "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
                "status": {"loadBalancer": {"ingress": ingress}},
            }
        )

    def slice(self, *nodes: str, name: str = "edge-1", service: str = EDGE.name) -> None:
        self.it.fake.put(
            {
                "kind": "EndpointSlice",
                "metadata": {
                    "namespace": EDGE.namespace,
                    "name": name,
                    "labels": {"kubernetes.io/service-name": service},
                },
                "addressType": "IPv4",
                "endpoints": [
                    {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "nodeName": node}
                    for node in nodes
                ],
                "ports": [],
            }
        )

    def node(self, name: str, address: str) -> None:
        addresses = [{"type": "InternalIP", "address": address}]
        self.it.fake.put(
            {"kind": "Node", "metadata": {"name": name}, "status": {"addresses": addresses}}
        )

    async def publishes(self, *addresses: str) -> None:
        await until(lambda: self.publisher.addresses == addresses, f"{addresses} are published")
        assert not self.told or self.told[-1] == addresses


async def test_the_addresses_of_the_service_are_followed(it: Cluster) -> None:
    scene = Scene(it)
    assert "does not exist" in scene.publisher.lack
    scene.service()
    await until(lambda: "is pending" in scene.publisher.lack, "pending")
    assert scene.told == []
    scene.service("192.0.2.2", "192.0.2.1")
    await scene.publishes("192.0.2.1", "192.0.2.2")
    assert scene.publisher.lack == ""
    scene.service("192.0.2.1")
    await scene.publishes("192.0.2.1")
    it.fake.delete("Service", *EDGE)
    await scene.publishes()


async def test_other_services_do_not_matter(it: Cluster) -> None:
    scene = Scene(it, service=Name("python-ingress", "other"))
    scene.service("192.0.2.1")
    scene.it.fake.put(
        {
            "kind": "Service",
            "metadata": {"namespace": "python-ingress", "name": "other"},
            "spec": {"externalIPs": ["192.0.2.9"]},
        }
    )
    await scene.publishes("192.0.2.9")
    assert scene.told == [("192.0.2.9",)]


async def test_fixed_addresses_are_published_whatever_the_service_has(it: Cluster) -> None:
    scene = Scene(it, fixed=["localhost", "127.0.0.1"])
    assert scene.told == [("127.0.0.1", "localhost")]
    scene.service("192.0.2.1")
    async with running(scene.publisher.run()):
        await asyncio.sleep(0.05)
    assert scene.told == [("127.0.0.1", "localhost")]


async def test_nodes_that_run_us_are_read_one_by_one(
    it: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "DISTANCE_SECONDS", 0.01)
    scene = Scene(it, nodes="internal")
    scene.node("a", "10.1.0.1")
    scene.node("b", "10.1.0.2")
    scene.slice("b", "a", "a")
    scene.slice("c", name="foreign", service="other")
    async with running(scene.publisher.run()):
        await scene.publishes("10.1.0.1", "10.1.0.2")
        assert sorted(seen.path for seen in it.fake.requested("get")) == [
            "/api/v1/nodes/a",
            "/api/v1/nodes/b",
        ]
        scene.slice("a")
        await scene.publishes("10.1.0.1")
        assert len(it.fake.requested("get")) == 2, "what is known is not asked for again"
        scene.slice("a", "gone")
        await until(lambda: it.fake.requested("get", "gone"), "asked for")
        scene.slice("a", "../../secrets")
        await asyncio.sleep(0.05)
    assert scene.publisher.addresses == ("10.1.0.1",)
    assert not it.fake.requested("", "secrets")


async def test_the_first_address_is_there_soon_after_our_own_pod_is_ready(it: Cluster) -> None:
    """With the real distances: nodes were looked at before one ran us."""
    scene = Scene(it, nodes="internal")
    scene.node("a", "10.1.0.1")
    async with running(scene.publisher.run()):
        await asyncio.sleep(0.1)
        scene.slice("a")
        await scene.publishes("10.1.0.1")


async def test_a_node_that_cannot_be_read_changes_nothing_and_is_named(
    it: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "DISTANCE_SECONDS", 0.01)
    scene = Scene(it, nodes="external")
    scene.node("a", "10.1.0.1")
    scene.slice("a")
    async with running(scene.publisher.run()):
        await scene.publishes("10.1.0.1")
        scene.node("b", "10.1.0.2")
        fault = it.fake.fault("get", "nodes/b", status=403, times=2)
        scene.slice("a", "b")
        await until(lambda: fault.hits == 1, "refused")
        assert scene.publisher.addresses == ("10.1.0.1",)
        await until(lambda: "--publish-nodes needs a ClusterRole" in it.logged, "said")
        await scene.publishes("10.1.0.1", "10.1.0.2")
    assert it.logged.count("needs a ClusterRole") == 1


async def test_only_the_leader_reads_nodes(it: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "DISTANCE_SECONDS", 0.01)
    it.lead.turn(on=False)
    scene = Scene(it, nodes="internal")
    scene.node("a", "10.1.0.1")
    scene.slice("a")
    async with running(scene.publisher.run()):
        await asyncio.sleep(0.1)
        assert not it.fake.requested("get")
        it.lead.turn(on=True)
        await scene.publishes("10.1.0.1")


async def test_what_is_missing_is_said_by_the_leader(
    it: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LACK_SECONDS", 0.01)
    it.lead.turn(on=False)
    scene = Scene(it)
    async with running(scene.publisher.run()):
        await asyncio.sleep(0.05)
        assert "no address is published" not in it.logged
        it.lead.turn(on=True)
        await until(lambda: "which --publish-service names, does not exist" in it.logged, "said")
        scene.service()
        await until(lambda: "is pending; give it an address" in it.logged, "said")
        scene.service("192.0.2.1")
        await scene.publishes("192.0.2.1")
        await asyncio.sleep(0.03)
    assert it.logged.count("no address is published") == 2
    assert Scene(it, service=None).publisher.lack.endswith(
        "start with --publish-service or --publish-address"
    )
