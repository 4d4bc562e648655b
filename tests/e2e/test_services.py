"""Every kind of Service and of endpoints as a backend."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.e2e.controller import Controller
from tests.e2e.instance import instance
from tests.e2e.kube import Kube
from tests.e2e.objects import (
    ECHO_PORT,
    backend,
    endpoint_slice,
    ingress,
    path,
    paths_of,
    rule,
    service,
)
from tests.e2e.outside import Edge
from tests.e2e.space import Space

NAMED = [
    {"name": "web", "port": 80, "targetPort": "web"},
    {"name": "other", "port": 8080, "targetPort": ECHO_PORT + 1},
]


async def test_ports_go_by_number_and_by_name(space: Space, edge: Edge) -> None:
    """The Service's name and number lead to its target port, which has a name in the Pods."""
    await space.deploy("echo", make_service=False)
    await space.create(
        service("echo", ports=NAMED),
        ingress(
            "ports",
            paths_of(
                "ports.test",
                path("/number", "echo:80"),
                path("/name", "echo:web"),
                path("/other", "echo:other"),
                path("/other-number", "echo:8080"),
                path("/none", "echo:nothing"),
            ),
        ),
    )
    await edge.until_served("ports.test", "/number")

    seen = [
        (await edge.get("ports.test", target)).seen["port"]
        for target in ("/number", "/name", "/other", "/other-number")
    ]
    assert seen == [ECHO_PORT, ECHO_PORT, ECHO_PORT + 1, ECHO_PORT + 1]
    assert (await edge.get("ports.test", "/none")).status == 503


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        pytest.param("headless", {"clusterIP": "None"}, id="headless"),
        pytest.param("node-port", {"type": "NodePort"}, id="NodePort"),
        pytest.param("load-balancer", {"type": "LoadBalancer"}, id="LoadBalancer"),
        pytest.param(
            "local",
            {"type": "NodePort", "externalTrafficPolicy": "Local"},
            id="NodePort with local traffic only",
        ),
    ],
)
async def test_a_service_of_this_kind_is_served_by_its_pods(
    space: Space, edge: Edge, kind: str, more: dict[str, Any]
) -> None:
    host = f"{kind}.kinds.test"
    await space.deploy("echo", replicas=2, make_service=False)
    # A headless Service has no port translation: its port is the Pods'.
    ports = [{"name": "http", "port": ECHO_PORT}] if kind == "headless" else []
    number = ECHO_PORT if kind == "headless" else 80
    await space.create(
        service("echo", ports=ports, **more),
        ingress("web", rule(host, root=f"echo:{number}")),
    )
    await edge.until_served(host)

    end = time.monotonic() + 5
    while len(set(await edge.pods(host, count=10))) < 2:
        assert time.monotonic() < end, "one Pod answers everything"


async def test_a_service_without_selector_is_served_by_slices_made_by_hand(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    host = "by-hand.test"
    await space.create(
        service("web", selects=False),
        endpoint_slice("web", standing[0]),
        ingress("web", rule(host, root="web")),
    )

    await edge.until_served(host)


async def test_slices_are_joined_and_an_endpoint_in_two_of_them_counts_once(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    host = "slices.test"
    one, two, three = standing
    await space.create(
        service("web", selects=False),
        endpoint_slice("web", one, two, name="web-1"),
        endpoint_slice("web", two, three, name="web-2"),
        ingress("web", rule(host, root="web")),
    )
    await edge.until_served(host)
    end = time.monotonic() + 5
    while len(set(await edge.pods(host, count=9))) < 3:
        assert time.monotonic() < end, "not all endpoints of both slices answer"

    pods = await edge.pods(host, count=120)
    shares = sorted(pods.count(pod) for pod in set(pods))
    # Two replicas take turns on their own: equal shares up to their beginnings.
    assert shares[-1] <= 48, f"one endpoint is counted twice: {shares}"


async def test_unready_endpoints_get_nothing_while_ready_ones_are_there(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    host = "ready.test"
    ready, unready, _ = standing
    await space.create(
        service("web", selects=False),
        endpoint_slice("web", ready, name="web-1"),
        endpoint_slice("web", unready, name="web-2", conditions={"ready": False}),
        ingress("web", rule(host, root="web")),
    )
    await edge.until_served(host)

    assert len(set(await edge.pods(host))) == 1


async def test_terminating_endpoints_serve_only_when_nothing_else_does(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    """KEP-1669: serving and terminating is the fallback."""
    host = "terminating.test"
    living, ending, _ = standing
    end = {"ready": False, "serving": True, "terminating": True}
    await space.create(
        service("web", selects=False),
        endpoint_slice("web", ending, name="web-2", conditions=end),
        ingress("web", rule(host, root="web")),
    )
    last = (await edge.until_served(host)).seen["pod"]

    await space.create(endpoint_slice("web", living, name="web-1"))
    await edge.until(host, holds=lambda answer: answer.seen["pod"] != last)
    assert last not in await edge.pods(host)

    await space.delete(endpoint_slice("web", living, name="web-1"))
    await edge.until(host, holds=lambda answer: answer.seen["pod"] == last)


async def test_a_pod_that_ends_finishes_what_it_serves(space: Space, edge: Edge) -> None:
    """The real thing: deleted Pods, readiness and slices as Kubernetes makes them."""
    host = "ending.test"
    await space.deploy("echo", replicas=2, drain=4)
    await space.create(ingress("web", rule(host, root="echo")))
    await edge.until_served(host)
    slow = [asyncio.ensure_future(edge.get(host, "/delay/2.5")) for _ in range(4)]
    await asyncio.sleep(0.3)  # they are on their way
    pods = await space.kube.items("Pod", space.name, labelSelector="app=echo")
    gone = pods[0]
    await space.kube.delete({**gone, "kind": "Pod"})

    name = gone["metadata"]["name"]
    await edge.until(host, holds=lambda answer: answer.seen["pod"] != name)
    end = time.monotonic() + 5
    while name in await edge.pods(host, count=6):
        assert time.monotonic() < end, "a Pod that ends gets new requests"
    answers = await asyncio.gather(*slow)
    assert [answer.status for answer in answers] == [200] * 4
    assert name in {answer.seen["pod"] for answer in answers}, "no request was on the ending Pod"


async def test_a_service_without_ready_pods_answers_503_until_one_is_ready(
    space: Space, edge: Edge
) -> None:
    host = "none-ready.test"
    await space.deploy("echo")
    await space.create(ingress("web", rule(host, root="echo")))
    await edge.until_served(host)
    [address] = await space.addresses("echo")

    pod = Edge(address, http=ECHO_PORT)  # asked directly, past the controller
    await pod.get("pod.test", "/ready/no")
    answer = await edge.until_status(503, host)
    assert answer.reply.get("retry-after")
    start = time.perf_counter()
    assert (await edge.get(host)).status == 503
    assert time.perf_counter() - start < 0.1

    await pod.get("pod.test", "/ready/yes")
    await edge.until_served(host, within=3)


async def test_an_external_name_is_refused_by_default(space: Space, edge: Edge) -> None:
    host = "external.test"
    await space.create(
        service("outside", selects=False, type="ExternalName", externalName="echo.example"),
        ingress("web", rule(host, root="outside"), rule(f"also.{host}", root="missing")),
    )

    await edge.until_status(503, host)
    await space.until_event("web", "ExternalNameOff")
    await space.until_event("web", "ServiceMissing")


@pytest.fixture
async def external() -> AsyncIterator[Controller]:
    async with instance("external", ALLOW_EXTERNAL_NAME="true") as controller:
        yield controller


async def test_an_external_name_is_resolved_where_it_is_allowed(
    external: Controller, kube: Kube
) -> None:
    """By the cluster's DNS: a headless Service of another namespace has a name there."""
    async with Space(kube) as target, Space(kube) as space:
        await target.deploy("echo", make_service=False)
        headless = [{"name": "http", "port": ECHO_PORT}]
        await target.create(service("echo", ports=headless, clusterIP="None"))
        name = f"echo.{target.name}.svc.cluster.local"
        await space.create(
            service(
                "outside",
                selects=False,
                type="ExternalName",
                externalName=name,
                ports=[{"name": "http", "port": ECHO_PORT}],
            ),
            service("inside", selects=False, type="ExternalName", externalName="localhost"),
            ingress(
                "web",
                rule("external.test", root=f"outside:{ECHO_PORT}", local="inside"),
                ingress_class="external",
            ),
        )

        answer = await external.edge.until_served("external.test", by="echo")
        assert answer.seen["namespace"] == target.name
        assert (await external.edge.get("external.test", "/local")).status == 503


async def test_a_default_backend_takes_the_rest_of_its_own_hosts(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", "rest", on=standing)
    made = ingress("web", rule("with-default.test", only="web"))
    made["spec"]["defaultBackend"] = backend("rest:http")
    await space.create(made)
    await edge.until_served("with-default.test", "/only")

    answer = await edge.get("with-default.test", "/elsewhere")
    assert answer.seen["port"] == ECHO_PORT + 1
    assert (await edge.get("without-default.test", "/elsewhere")).status == 404
