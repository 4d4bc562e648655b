"""Which Ingresses are served by whom: classes, the default class, several controllers."""

import asyncio

import pytest

from tests.e2e.controller import Controller
from tests.e2e.instance import instance
from tests.e2e.kube import Kube, RefusedError, path_of
from tests.e2e.objects import ingress, ingress_class, path, paths_of, rule
from tests.e2e.outside import Edge
from tests.e2e.space import Space

OURS = "python-ingress.dev/controller"
ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT = "ingressclass.kubernetes.io/is-default-class"


async def test_the_old_annotation_names_a_class(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", on=standing)
    await space.create(
        ingress(
            "old",
            rule("old.test", root="web"),
            ingress_class=None,
            annotations={ANNOTATION: "python"},
        ),
        ingress(
            "others",
            rule("others-old.test", root="web"),
            ingress_class=None,
            annotations={ANNOTATION: "nginx"},
        ),
        ingress("nobodys", rule("nobodys-old.test", root="web"), ingress_class=None),
    )
    await edge.until_served("old.test")
    await space.until_published("old", [edge.host])

    assert (await edge.get("others-old.test")).status == 404
    assert (await edge.get("nobodys-old.test")).status == 404
    assert await space.published("others") == await space.published("nobodys") == []


async def test_the_field_counts_when_an_update_adds_another_annotation(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    """The API server refuses such an Ingress when it is made, and lets it be updated so."""
    await space.stand("web", on=standing)
    both = ingress("both", rule("both.test", root="web"), annotations={ANNOTATION: "nginx"})
    with pytest.raises(RefusedError) as refusal:
        await space.create(both)
    assert refusal.value.status == 422
    await space.create(ingress("both", rule("both.test", root="web")))
    await edge.until_served("both.test")

    await space.apply(both)
    await space.until_event("both", "ClassContradictory")

    assert (await edge.get("both.test")).status == 200


async def test_the_default_class_takes_ingresses_without_one(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    """New ones get its name from the API server; those from before are adopted by us."""
    name = f"default-{space.name}"
    await space.stand("web", on=standing)
    await space.create(
        ingress("before", rule("before.test", root="web"), ingress_class=None),
    )
    assert (await edge.get("before.test")).status == 404
    ours = ingress_class(name, OURS, **{DEFAULT: "true"})
    await kube.create(ours)
    try:
        await edge.until_served("before.test")
        await space.create(
            ingress("after", rule("after.test", root="web"), ingress_class=None),
        )
        await edge.until_served("after.test")
        made = await space.get("Ingress", "after")
        assert made["spec"]["ingressClassName"] == name
        await space.until_published("before", [edge.host])
    finally:
        await kube.delete(ours)

    await edge.until_status(404, "before.test")
    await edge.until_status(404, "after.test")
    await space.until_published("before", [])
    await space.until_published("after", [])


async def test_two_default_classes_are_told_and_adopt_still(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    await space.stand("web", on=standing)
    await space.create(
        ingress("before", rule("two-defaults.test", root="web"), ingress_class=None),
    )
    classes = [
        ingress_class(f"{one}-{space.name}", OURS, **{DEFAULT: "true"}) for one in ("a", "b")
    ]
    for one in classes:
        await kube.create(one)
    try:
        await edge.until_served("two-defaults.test")
    finally:
        for one in classes:
            await kube.delete(one)


async def test_a_class_that_goes_to_another_controller_takes_its_ingresses_along(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    """spec.controller is immutable, so that means a class deleted and made anew."""
    name = f"moves-{space.name}"
    await space.stand("web", on=standing)
    await kube.create(ingress_class(name, OURS))
    await space.create(ingress("web", rule("moves.test", root="web"), ingress_class=name))
    await edge.until_served("moves.test")
    await space.until_published("web", [edge.host])

    await kube.delete(ingress_class(name, OURS))
    await kube.create(ingress_class(name, "example.com/other"))
    try:
        await edge.until_status(404, "moves.test")
        # What we wrote goes; from now on the other controller may write.
        await space.until_published("web", [])
    finally:
        await kube.delete(ingress_class(name, OURS))


async def test_three_classes_by_three_controllers_touch_nothing_of_each_others(
    kube: Kube, edge: Edge, controller: Controller, standing: list[str]
) -> None:
    async with (
        instance("blue") as blue,
        instance("green") as green,
        Space(kube) as space,
    ):
        instances = {"python": controller, "blue": blue, "green": green}
        await space.stand("web", on=standing)
        for name in instances:
            await space.create(
                ingress(name, rule(f"{name}.classes.test", root="web"), ingress_class=name)
            )
        for name, one in instances.items():
            await one.edge.until_served(f"{name}.classes.test")
            await space.until_published(name, [one.edge.host])

        # Everyone serves its own and nothing else, and no status is written by two.
        for name, one in instances.items():
            for other in instances:
                wanted = 200 if other == name else 404
                assert (await one.edge.get(f"{other}.classes.test")).status == wanted
        versions = [
            (await space.get("Ingress", name))["metadata"]["resourceVersion"] for name in instances
        ]
        await asyncio.sleep(2)
        for name, version in zip(instances, versions, strict=True):
            after = (await space.get("Ingress", name))["metadata"]
            assert after["resourceVersion"] == version, f"somebody writes the status of {name}"

        # From one to the next: the address follows.
        await space.apply(
            ingress("blue", rule("blue.classes.test", root="web"), ingress_class="green")
        )
        await green.edge.until_served("blue.classes.test")
        await blue.edge.until_status(404, "blue.classes.test")
        await space.until_published("blue", [green.edge.host])

        leases = [
            lease
            for one in instances.values()
            for lease in await kube.items("Lease", one.namespace)
        ]
        assert len(leases) == 3
        assert len({lease["spec"]["holderIdentity"] for lease in leases}) == 3


async def test_another_controllers_classes_are_taken_over_without_a_word_in_their_status(
    kube: Kube, standing: list[str]
) -> None:
    """Side by side with ingress-nginx: its classes are served, and its status stays its own."""
    nginx = "k8s.io/ingress-nginx"
    async with (
        instance("nginx", "nginx", nginx, PUBLISH_STATUS="false") as ours,
        Space(kube) as space,
    ):
        await space.stand("web", on=standing)
        made = await space.create(
            ingress("web", rule("taken.test", root="web"), ingress_class="nginx")
        )
        theirs = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}}
        patched = await kube.call(
            "PATCH",
            f"{path_of('Ingress', space.name, 'web')}/status",
            theirs,
            kind="application/merge-patch+json",
        )
        assert made["metadata"]["uid"] == patched["metadata"]["uid"]

        await ours.edge.until_served("taken.test")
        await asyncio.sleep(2)

        after = await space.get("Ingress", "web")
        assert after["metadata"]["resourceVersion"] == patched["metadata"]["resourceVersion"]


async def test_ingresses_without_class_are_adopted_where_the_switch_says_so(
    kube: Kube, edge: Edge, standing: list[str]
) -> None:
    async with (
        instance("adopt", WATCH_INGRESS_WITHOUT_CLASS="true") as adopter,
        Space(kube) as space,
    ):
        await space.stand("web", on=standing)
        await space.create(
            ingress("web", paths_of("adopted.test", path("/", "web")), ingress_class=None)
        )

        await adopter.edge.until_served("adopted.test")
        await space.until_published("web", [adopter.edge.host])
        assert (await edge.get("adopted.test")).status == 404
