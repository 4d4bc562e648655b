"""The addresses in the status of Ingresses: which, whose, when, and how often they are written."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.e2e.certificates import issue
from tests.e2e.controller import Controller, kubectl
from tests.e2e.instance import instance
from tests.e2e.kube import Kube, path_of
from tests.e2e.objects import ingress, path, paths_of, rule, secret, tls_entry
from tests.e2e.outside import TROUBLE, Edge
from tests.e2e.space import Space

STATUS_SOON = 5.0


async def test_who_watches_the_status_never_meets_a_404(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    """Each Ingress is requested at the moment in which its address appears in the watch, as
    external-dns or a person would, at any replica."""
    count = 60
    await space.stand("web", on=standing)
    collection = path_of("Ingress", space.name)
    version = (await kube.call("GET", collection))["metadata"]["resourceVersion"]
    answers: dict[str, list[int | str]] = {}
    asked: set[asyncio.Task[None]] = set()

    async def ask(host: str) -> None:
        for _ in range(4):  # the Service spreads connections over replicas
            try:
                answers[host].append((await edge.get(host)).status)
            except TROUBLE as error:
                answers[host].append(repr(error))

    async def watch() -> None:
        async for event in kube.watch(collection, version):
            obj = event["object"]
            shown = obj.get("status", {}).get("loadBalancer", {}).get("ingress")
            host = obj["spec"]["rules"][0]["host"]
            if shown and host not in answers:
                answers[host] = []
                asked.add(asyncio.ensure_future(ask(host)))

    watching = asyncio.ensure_future(watch())
    hosts = [f"watched-{number}.test" for number in range(count)]
    for number, host in enumerate(hosts):
        await space.create(ingress(f"watched-{number}", rule(host, root="web")))
    end = time.monotonic() + 30
    while len(answers) < count or not all(task.done() for task in asked):
        assert not watching.done(), watching.exception()
        assert time.monotonic() < end, f"only {len(answers)} of {count} got an address"
        await asyncio.sleep(0.02)
    watching.cancel()

    assert {host: seen for host, seen in answers.items() if seen != [200] * 4} == {}


async def test_the_published_address_is_that_of_the_service(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", on=standing)
    await space.create(ingress("web", rule("published.test", root="web")))

    await space.until_published("web", [edge.host], STATUS_SOON)


async def test_nothing_is_written_without_a_change(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    """Neither time nor changes of other things write a status once more."""
    await space.stand("web", on=standing)
    await space.create(ingress("quiet", rule("quiet.test", root="web")))
    await space.until_published("quiet", [edge.host], STATUS_SOON)
    before = (await space.get("Ingress", "quiet"))["metadata"]

    for number in range(5):
        other = ingress(f"noise-{number}", rule(f"noise-{number}.test", root="web"))
        await space.create(other)
        await space.until_published(f"noise-{number}", [edge.host], STATUS_SOON)
        await space.delete(other)
    after = (await space.get("Ingress", "quiet"))["metadata"]

    assert after["resourceVersion"] == before["resourceVersion"]


async def test_a_change_of_rules_leaves_the_status_alone(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", "two", on=standing)
    await space.create(ingress("web", rule("changed.test", root="web")))
    await space.until_published("web", [edge.host], STATUS_SOON)

    changed = await space.apply(ingress("web", rule("changed.test", root="two")))
    await edge.until("changed.test", holds=lambda answer: answer.seen["port"] == 3001)
    await asyncio.sleep(1)
    after = await space.get("Ingress", "web")

    assert await space.published("web") == [edge.host]
    assert after["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


async def test_an_ingress_that_leaves_us_loses_its_address(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", on=standing)
    await space.create(ingress("web", rule("leaves.test", root="web")))
    await space.until_published("web", [edge.host], STATUS_SOON)

    await space.apply(
        ingress("web", rule("leaves.test", root="web"), ingress_class="somebody-elses")
    )

    await edge.until_status(404, "leaves.test")
    await space.until_published("web", [], STATUS_SOON)


async def test_a_status_that_others_wrote_is_left_to_them(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", on=standing)
    made = await space.create(
        ingress("web", rule("others.test", root="web"), ingress_class="somebody-elses")
    )
    theirs = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}
    await kube.call(
        "PATCH",
        f"{path_of('Ingress', space.name, 'web')}/status",
        {"metadata": {"uid": made["metadata"]["uid"]}, "status": theirs},
        kind="application/merge-patch+json",
    )
    await space.create(ingress("ours", rule("ours-too.test", root="web")))
    await space.until_published("ours", [edge.host], STATUS_SOON)

    assert await space.published("web") == ["192.0.2.7"]


async def test_a_wrong_address_is_put_right(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", on=standing)
    await space.create(ingress("web", rule("wrong.test", root="web")))
    await space.until_published("web", [edge.host], STATUS_SOON)

    await kube.call(
        "PATCH",
        f"{path_of('Ingress', space.name, 'web')}/status",
        {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}]}}},
        kind="application/merge-patch+json",
    )

    await space.until_published("web", [edge.host], STATUS_SOON)


async def test_an_ingress_re_created_under_its_name_gets_its_own_status(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", on=standing)
    web = ingress("web", rule("again.test", root="web"))
    for _ in range(5):
        await space.create(web)
        await space.until_published("web", [edge.host], STATUS_SOON)
        assert (await edge.get("again.test")).status == 200
        await space.delete(web)


async def test_hundreds_of_ingresses_get_their_address_without_delaying_a_rule(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    """At least fifty writes a second, and what is served does not wait for them."""
    count = 400
    await space.stand("web", on=standing)
    many = [
        space.own(ingress(f"many-{number}", rule(f"many-{number}.test", root="web")))
        for number in range(count)
    ]
    start = time.perf_counter()
    await kube.many(many)
    made = time.perf_counter() - start
    await space.create(ingress("rule", rule("not-delayed.test", root="web")))
    _, served = await edge.until("not-delayed.test")

    end = time.monotonic() + 30
    while True:
        items = await kube.items("Ingress", space.name)
        shown = [item for item in items if item["status"]["loadBalancer"].get("ingress")]
        if len(shown) == count + 1:
            break
        assert time.monotonic() < end, f"{len(shown)} of {count + 1} have an address"
        await asyncio.sleep(0.05)
    took = time.perf_counter() - start

    assert served < 1.0, f"a rule waited {served:.2f} s"
    assert took - made < count / 50, f"{count} writes took {took:.1f} s, creating {made:.1f} s"


async def test_kubectl_shows_the_address(space: Space, edge: Edge, standing: list[str]) -> None:
    await space.stand("web", on=standing)
    certificate = issue("shown.test")
    await space.create(
        secret("shown-tls", certificate.pem, certificate.private_key),
        ingress(
            "shown",
            paths_of("shown.test", path("/", "web")),
            tls=[tls_entry("shown-tls", "shown.test")],
        ),
    )
    await space.until_published("shown", [edge.host], STATUS_SOON)

    row = kubectl("get", "ingress", "shown", "-n", space.name, "--no-headers").split()
    assert row[:5] == ["shown", "python", "shown.test", edge.host, "80,443"] or row[:6] == [
        "shown",
        "python",
        "shown.test",
        edge.host,
        "80,",
        "443",
    ]


@pytest.fixture
async def addressed() -> AsyncIterator[Controller]:
    """With addresses given by flag, out of order."""
    addresses = "203.0.113.9,lb.example,203.0.113.10"
    async with instance("addressed", PUBLISH_ADDRESS=addresses) as controller:
        yield controller


async def test_given_addresses_are_published_sorted(
    addressed: Controller, kube: Kube, standing: list[str]
) -> None:
    async with Space(kube) as space:
        await space.stand("web", on=standing)
        await space.create(
            ingress("web", rule("addressed.test", root="web"), ingress_class="addressed")
        )
        await addressed.edge.until_served("addressed.test")

        await space.until_published("web", ["203.0.113.10", "203.0.113.9", "lb.example"])
        shown = (await space.get("Ingress", "web"))["status"]["loadBalancer"]["ingress"]
        assert shown[-1] == {"hostname": "lb.example"}
