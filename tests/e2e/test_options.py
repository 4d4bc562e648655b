"""Options from ConfigMaps and flags: of all Ingresses, of a class, and what guards namespaces."""

from collections.abc import AsyncIterator

import pytest

from tests.e2e.certificates import issue
from tests.e2e.controller import NAME, NAMESPACE, Controller, kubectl
from tests.e2e.instance import instance
from tests.e2e.kube import Kube, Object
from tests.e2e.objects import ingress, ingress_class, rule, secret, tls_entry
from tests.e2e.outside import Edge
from tests.e2e.space import Space

OURS = "python-ingress.dev/controller"


def options(name: str, **data: str) -> Object:
    """A ConfigMap of options in the controller's namespace; names have - for _."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {key.replace("_", "-"): value for key, value in data.items()},
    }


async def secured(space: Space, host: str, standing: list[str], class_name: str) -> None:
    certificate = issue(host)
    await space.stand("web", on=standing)
    await space.create(
        secret("web-tls", certificate.pem, certificate.private_key),
        ingress(
            "web",
            rule(host, root="web"),
            ingress_class=class_name,
            tls=[tls_entry("web-tls", host)],
        ),
    )


async def test_the_configmap_of_the_controller_changes_options_while_it_runs(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    host = "configured.test"
    await secured(space, host, standing, "python")
    await edge.until_status(308, host)
    before = await kube.get("ConfigMap", NAMESPACE, NAME)
    try:
        await kube.merge(options(NAME), {"data": {"ssl-redirect": "false"}})
        await edge.until_status(200, host, within=2)
    finally:
        await kube.merge(options(NAME), {"data": {"ssl-redirect": None}})
    await edge.until_status(308, host, within=2)

    assert before.get("data") is None, "the installed ConfigMap says nothing"


async def test_the_configmap_of_a_class_counts_for_its_ingresses_alone(
    kube: Kube, space: Space, edge: Edge, standing: list[str]
) -> None:
    name, host = f"parameters-{space.name}", "parameters.test"
    made = ingress_class(name, OURS)
    made["spec"]["parameters"] = {
        "kind": "ConfigMap",
        "name": name,
        "scope": "Namespace",
        "namespace": NAMESPACE,
    }
    await kube.create(made)
    try:
        await secured(space, host, standing, name)
        await space.create(
            ingress(
                "other",
                rule(f"other.{host}", root="web"),
                tls=[tls_entry("web-tls", f"other.{host}")],
            )
        )
        await edge.until_status(308, host)
        await kube.create(options(name, ssl_redirect="false"))
        await edge.until_status(200, host, within=2)
        assert (await edge.get(f"other.{host}")).status == 308

        await kube.delete(options(name))
        await edge.until_status(308, host, within=2)
    finally:
        await kube.delete(made)


@pytest.fixture
async def open_house() -> AsyncIterator[Controller]:
    """Shared hosts, one namespace for hosts that nobody names, and a default certificate."""
    async with instance(
        "open",
        ALLOW_SHARED_HOSTS="true",
        CATCH_ALL_NAMESPACE="e2e-open",
        DEFAULT_TLS_SECRET="e2e-open/default-tls",
        CLEAR_STATUS_ON_SHUTDOWN="true",
    ) as controller:
        yield controller


async def test_flags_open_what_is_closed_by_default(
    open_house: Controller, kube: Kube, standing: list[str]
) -> None:
    edge = open_house.edge
    async with Space(kube) as one, Space(kube) as two:
        await one.stand("web", on=standing)
        await two.stand("none", "web", on=standing)
        await one.create(ingress("web", rule("shared.test", root="web"), ingress_class="open"))
        await two.create(
            ingress("web", rule("shared.test", two="web"), ingress_class="open"),
            ingress("catch", default="web", ingress_class="open"),
        )
        await edge.until("shared.test", holds=lambda answer: answer.seen["port"] == 3000)
        await edge.until("shared.test", "/two", holds=lambda answer: answer.seen["port"] == 3001)
        # Hosts that nobody names belong to another namespace.
        assert (await edge.get("nobodys.test")).status == 404

        default = issue("default.test")
        await kube.create(
            {
                **secret("default-tls", default.pem, default.private_key),
                "metadata": {"name": "default-tls", "namespace": open_house.namespace},
            }
        )
        await edge.until_certificate("whoever.test", default.der)

        # Whoever is told to clears up behind itself.
        await one.until_published("web", [edge.host])
        kubectl("scale", f"deployment/{open_house.name}", "-n", "e2e-open", "--replicas=0")
        await one.until_published("web", [], within=20)
