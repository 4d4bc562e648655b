"""Mistakes are told to the owners of Ingresses, by Events that `kubectl describe` shows."""

import asyncio
import time
from urllib.parse import urlencode

from tests.e2e.controller import Controller, kubectl
from tests.e2e.kube import Kube
from tests.e2e.objects import ingress, path, paths_of, rule, secret, service, tls_entry
from tests.e2e.outside import Edge
from tests.e2e.space import Space


async def reasons(space: Space, name: str, *wanted: str, within: float = 10.0) -> set[str]:
    """Wait until all of these are among the reasons of Events about an Ingress."""
    end = time.monotonic() + within
    while not set(wanted) <= (seen := {str(event["reason"]) for event in await space.events(name)}):
        assert time.monotonic() < end, f"{name}: no Event {set(wanted) - seen}; there are {seen}"
        await asyncio.sleep(0.05)
    return seen


async def test_kubectl_describe_shows_the_events_of_mistakes(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", on=standing)
    await space.create(
        service("empty", selects=False),
        ingress(
            "mistaken",
            paths_of(
                "mistaken.test",
                path("/", "web"),
                path("/missing", "no-such-service"),
                path("/port", "web:8080"),
                path("/empty", "empty"),
            ),
            tls=[tls_entry("no-such-secret", "mistaken.test")],
            annotations={"nginx.ingress.kubernetes.io/ssl-redirect": "maybe"},
        ),
    )
    await reasons(
        space,
        "mistaken",
        "ServiceMissing",
        "ServicePortMissing",
        "CertificateMissing",
        "AnnotationInvalid",
    )

    shown = kubectl("describe", "ingress", "mistaken", "-n", space.name)
    events = shown[shown.index("Events:") :]
    assert "Warning" in events
    assert "ServiceMissing" in events
    assert "no-such-service" in events
    assert "no-such-secret" in events
    assert "spec.rules[0].http.paths[1]" in events


async def test_explain_tells_the_reason_from_the_running_controller(
    kube: Kube, controller: Controller, space: Space, edge: Edge, standing: list[str]
) -> None:
    """`explain --admin`, with the answer of the admin port by way of the API server."""
    await space.stand("web", on=standing)
    await space.create(
        ingress(
            "mistaken", paths_of("why.test", path("/", "web"), path("/missing", "no-such-service"))
        )
    )
    await edge.until_status(503, "why.test", "/missing")
    for pod in await controller.pods(kube):
        query = urlencode({"url": "http://why.test/missing"})
        name = pod["metadata"]["name"]
        told = await controller.ask(kube, name, f"/explain?{query}")

        assert "no-such-service" in told
        assert f"{space.name}/mistaken" in told or '"mistaken"' in told


async def test_the_rest_of_a_mistaken_ingress_is_served(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", on=standing)
    await space.create(
        ingress(
            "half",
            paths_of("half.test", path("/", "web"), path("/bad", "no-such-service")),
        )
    )

    await edge.until_served("half.test")
    assert (await edge.get("half.test", "/bad")).status == 503
    await space.until_published("half", [edge.host])


async def test_a_mistake_that_stays_is_told_once(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    """Neither changes of other objects nor of the Ingress itself repeat it."""
    await space.stand("web", on=standing)
    mistaken = ingress(
        "mistaken", paths_of("once.test", path("/", "web"), path("/bad", "no-such-service"))
    )
    await space.create(mistaken)
    await reasons(space, "mistaken", "ServiceMissing")

    for number in range(5):
        other = ingress(f"other-{number}", rule(f"other-{number}.once.test", root="web"))
        await space.create(other)
        await edge.until_served(f"other-{number}.once.test")
        changed = {"metadata": {"labels": {"round": str(number)}}}
        await kube.merge(space.own(mistaken), changed)
    await asyncio.sleep(1)

    told = [e for e in await space.events("mistaken") if e["reason"] == "ServiceMissing"]
    assert len(told) == 1
    assert told[0]["count"] == 1


async def test_a_secret_without_a_good_pair_is_told_to_the_ingress_that_names_it(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", on=standing)
    await space.create(
        secret("broken", b"no certificate", b"no key"),
        ingress(
            "web",
            rule("broken-pair.test", root="web"),
            tls=[tls_entry("broken", "broken-pair.test")],
        ),
    )

    await reasons(space, "web", "CertificateUnusable")
    assert (await edge.until_served("broken-pair.test", tls=True)).status == 200


async def test_who_loses_a_conflict_is_told_who_won(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", "late", on=standing)
    await space.create(ingress("a-first", rule("conflict.test", root="web")))
    await edge.until_served("conflict.test")
    await asyncio.sleep(1.1)  # ages have whole seconds
    await space.create(ingress("late", rule("conflict.test", root="late")))

    await reasons(space, "late", "RouteConflict")
    [event] = [e for e in await space.events("late") if e["reason"] == "RouteConflict"]
    assert f"{space.name}/a-first" in event["message"]
    assert (await edge.get("conflict.test")).seen["port"] == 3000


async def test_a_host_belongs_to_the_namespace_that_had_it_first(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", on=standing)
    await space.create(ingress("owner", rule("owned.test", root="web")))
    await edge.until_served("owned.test")
    await asyncio.sleep(1.1)  # ages have whole seconds
    async with Space(kube) as other:
        await other.stand("web", "thief", on=standing)
        await other.create(ingress("thief", rule("owned.test", taken="thief")))

        await reasons(other, "thief", "HostOwned")
        assert (await edge.get("owned.test", "/taken")).seen["port"] == 3000

        # When the owner gives it up, the next one has it.
        await space.delete(ingress("owner"))
        await edge.until("owned.test", "/taken", holds=lambda answer: answer.seen["port"] == 3001)


async def test_an_ingress_of_another_class_gets_no_events(
    space: Space, edge: Edge, controller: Controller
) -> None:
    await space.create(
        ingress("others", rule("no-events.test", root="missing"), ingress_class="somebody-elses"),
        ingress("ours", rule("events.test", root="missing")),
    )
    await reasons(space, "ours", "ServiceMissing")

    assert "ServiceMissing" not in await reasons(space, "others")


async def test_hundreds_of_mistakes_do_not_flood_the_api_server(
    kube: Kube, space: Space, edge: Edge
) -> None:
    """Bounded by the limit of its rate: more is dropped, and nobody waits."""
    count = 200
    await kube.many(
        [
            space.own(ingress(f"wrong-{n}", rule(f"wrong-{n}.test", root="missing")))
            for n in range(count)
        ]
    )
    await edge.until_status(503, f"wrong-{count - 1}.test")
    await asyncio.sleep(3)

    events = await kube.items("Event", space.name)
    assert 10 < len(events) < count
