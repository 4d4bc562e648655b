"""Every object created, changed, deleted and re-created, and seen served each time."""

import asyncio
from collections.abc import Callable

from tests.e2e.certificates import issue
from tests.e2e.kube import Kube
from tests.e2e.objects import (
    ECHO_PORT,
    endpoint_slice,
    ingress,
    ingress_class,
    path,
    paths_of,
    rule,
    secret,
    service,
    tls_entry,
)
from tests.e2e.outside import Answer, Edge
from tests.e2e.space import Space
from tests.harness.client import Connection, request

CONTROLLER = "python-ingress.dev/controller"
SOON = 2.0
"""Seconds within which a change must be served here; what it really takes is measured elsewhere."""


def port_is(port: int) -> Callable[[Answer], bool]:
    """The Service that stands on this port of the echo Pods answers."""
    return lambda answer: answer.status == 200 and answer.seen["port"] == port


def pod_is_not(pod: object) -> Callable[[Answer], bool]:
    """Another echo Pod answers."""
    return lambda answer: answer.seen["pod"] != pod


async def test_an_ingress_lives(space: Space, edge: Edge, standing: list[str]) -> None:
    await space.stand("one", "two", on=standing)
    first = ingress("web", rule("life.test", root="one"))
    host = "life.test"

    for _ in range(2):  # and once more: re-created under its old name
        await space.create(first)
        await edge.until(host, holds=port_is(ECHO_PORT), within=SOON)

        await space.apply(ingress("web", rule(host, root="two")))
        await edge.until(host, holds=port_is(ECHO_PORT + 1), within=SOON)

        await space.apply(ingress("web", rule(host, only="two")))
        await edge.until_status(404, host, "/", within=SOON)
        assert (await edge.get(host, "/only")).seen["port"] == ECHO_PORT + 1

        await space.apply(ingress("web", rule("moved.test", only="two")))
        await edge.until_status(404, host, "/only", within=SOON)
        assert (await edge.get("moved.test", "/only")).seen["port"] == ECHO_PORT + 1

        await space.delete(first)
        await edge.until_status(404, "moved.test", "/only", within=SOON)


async def test_a_service_lives(space: Space, edge: Edge, standing: list[str]) -> None:
    host = "service-life.test"
    web = service("web", selects=False)
    await space.create(endpoint_slice("web", *standing), ingress("web", rule(host, root="web")))
    for _ in range(2):
        await edge.until_status(503, host, within=SOON)  # a rule, and nothing to serve it

        await space.create(web)
        await edge.until_served(host, within=SOON)

        # Its only port gets another number: the Ingress's 80 leads nowhere any more.
        changed = service("web", selects=False, ports=[{"name": "http", "port": 81}])
        await space.replace(changed)
        await edge.until_status(503, host, within=SOON)

        await space.delete(web)


async def test_endpoints_live(space: Space, edge: Edge, standing: list[str]) -> None:
    host = "endpoints-life.test"
    first, second, _ = standing
    await space.create(service("web", selects=False), ingress("web", rule(host, root="web")))
    for _ in range(2):
        await edge.until_status(503, host, within=SOON)

        await space.create(endpoint_slice("web", first))
        answer = await edge.until_served(host, within=SOON)
        pod = answer.seen["pod"]

        await space.replace(endpoint_slice("web", second))
        await edge.until(host, holds=pod_is_not(pod), within=SOON)

        await space.replace(endpoint_slice("web", second, port=ECHO_PORT + 5))
        await edge.until(host, holds=port_is(ECHO_PORT + 5), within=SOON)

        await space.replace(endpoint_slice("web"))
        await edge.until_status(503, host, within=SOON)

        await space.delete(endpoint_slice("web"))


async def test_a_certificate_lives(space: Space, edge: Edge, standing: list[str]) -> None:
    host = "secret-life.test"
    one, two = issue(host), issue(host)
    fallback = await edge.certificates("nobody-has-this.test")
    await space.stand("web", on=standing)
    await space.create(
        ingress("web", rule(host, root="web"), tls=[tls_entry("web-tls", host)]),
    )
    await edge.until_served(host, tls=True)
    assert await edge.certificate(host) in fallback

    await space.create(secret("web-tls", one.pem, one.private_key))
    await edge.until_certificate(host, one.der, within=SOON)

    await space.replace(secret("web-tls", two.pem, two.private_key))
    await edge.until_certificate(host, two.der, within=SOON)

    await space.delete(secret("web-tls", two.pem, two.private_key))
    await space.create(secret("web-tls", one.pem, one.private_key))
    await edge.until_certificate(host, one.der, within=SOON)
    assert (await edge.get(host, tls=True)).seen["port"] == ECHO_PORT


async def test_an_ingress_class_lives(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    name, host = f"class-{space.name}", "class-life.test"
    await space.stand("web", on=standing)
    await space.create(
        ingress("web", paths_of(host, path("/", "web")), ingress_class=name),
    )
    assert (await edge.get(host)).status == 404
    for _ in range(2):
        await kube.create(ingress_class(name, CONTROLLER))
        await edge.until_served(host, within=SOON)
        await space.until_published("web", [edge.host])

        await kube.delete(ingress_class(name, CONTROLLER))
        await edge.until_status(404, host, within=SOON)
        await space.until_published("web", [])


async def test_no_change_ends_a_connection(space: Space, edge: Edge, standing: list[str]) -> None:
    """An answer that takes three seconds, and a connection that is kept, live through many swaps,
    those of their own rule included."""
    host = "unharmed.test"
    await space.stand("web", "two", on=standing)
    await space.create(ingress("web", rule(host, root="web")))
    await edge.until_served(host)

    async with await Connection.open(edge.http) as kept:
        streaming = asyncio.ensure_future(edge.get(host, "/stream/3"))
        swaps = 0
        while not streaming.done():
            swaps += 1
            await space.apply(ingress("web", rule(host, root="two" if swaps % 2 else "web")))
            await space.create(ingress(f"other-{swaps}", rule(f"o{swaps}.{host}", root="web")))
            reply = await kept.exchange(request("/", host=host))
            assert reply.status == 200
        answer = await streaming
    assert answer.status == 200
    assert bytes(answer.reply.body) == b"tick\n" * 30
    assert swaps > 20


async def test_a_namespace_goes_with_all_it_had(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    host = "namespace-life.test"
    async with Space(kube) as other:
        await other.stand("web", on=standing)
        await other.create(ingress("web", rule(host, root="web")))
        await edge.until_served(host, within=SOON)

    await edge.until_status(404, host, within=20)
