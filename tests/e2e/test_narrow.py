"""Less rights than the usual ones: some namespaces, Secrets one by one, and node addresses."""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.certificates import issue
from tests.e2e.controller import NAME, ROOT, Controller
from tests.e2e.instance import instance
from tests.e2e.kube import Kube, Object
from tests.e2e.objects import ingress, rule, secret, tls_entry
from tests.e2e.space import Space

TENANT = ROOT / "manifests" / "tenant" / "role.yaml"
NARROW = ROOT / "manifests" / "components" / "narrow-secrets" / "example.yaml"


def roles(file: Path, instance_name: str, namespace: str) -> list[Object]:
    """Roles of the manifests in a namespace, for the account of an instance."""
    account = {"name": f"{instance_name}-{NAME}", "namespace": f"e2e-{instance_name}"}
    made: list[Object] = []
    for obj in yaml.safe_load_all(file.read_text()):
        obj["metadata"]["namespace"] = namespace
        for subject in obj.get("subjects", []):
            subject |= account
        made.append(obj)
    return made


async def test_roles_in_some_namespaces_are_enough(kube: Kube, standing: list[str]) -> None:
    """No ClusterRole but the one to read classes; other namespaces are not even seen."""
    async with Space(kube) as one, Space(kube) as two, Space(kube) as other:
        watched = f"{one.name},{two.name}"
        for space in (one, two):  # before it starts: it waits for what it may not read
            for obj in roles(TENANT, "tenant", space.name):
                await kube.create(obj)
        async with instance(
            "tenant", components=["namespaced"], WATCH_NAMESPACE=watched
        ) as controller:
            edge = controller.edge
            for number, space in enumerate((one, two, other)):
                certificate = issue(f"t{number}.tenant.test")
                await space.stand("web", on=standing)
                await space.create(
                    secret("web-tls", certificate.pem, certificate.private_key),
                    ingress(
                        "web",
                        rule(f"t{number}.tenant.test", root="web"),
                        ingress_class="tenant",
                        tls=[tls_entry("web-tls", f"t{number}.tenant.test")],
                        annotations={"nginx.ingress.kubernetes.io/ssl-redirect": "false"},
                    ),
                )
            for number, space in enumerate((one, two)):
                await edge.until_served(f"t{number}.tenant.test", tls=True, within=30)
                await space.until_published("web", [edge.host])
            assert (await edge.get("t2.tenant.test")).status == 404
            assert await other.published("web") == []
            assert allowed(controller, "list", "ingresses", other.name) == "no"
            assert allowed(controller, "list", "secrets", one.name) == "yes"


async def test_secrets_can_be_allowed_one_by_one(kube: Kube, standing: list[str]) -> None:
    """RBAC by name: each Secret that a rule names is asked for alone."""
    async with instance("narrow", components=["narrow-secrets"]) as controller:
        edge = controller.edge
        async with Space(kube) as space:
            await space.stand("web", on=standing)
            given, kept = issue("given.narrow.test"), issue("kept.narrow.test")
            await space.create(
                secret("shop-tls", given.pem, given.private_key),
                secret("private-tls", kept.pem, kept.private_key),
                ingress(
                    "web",
                    rule("given.narrow.test", root="web"),
                    rule("kept.narrow.test", root="web"),
                    ingress_class="narrow",
                    tls=[
                        tls_entry("shop-tls", "given.narrow.test"),
                        tls_entry("private-tls", "kept.narrow.test"),
                    ],
                ),
            )
            await edge.until_served("given.narrow.test", tls=True)
            assert await edge.certificate("given.narrow.test") != given.der
            for obj in roles(NARROW, "narrow", space.name):
                await kube.create(obj)

            # It asks again by itself; how soon is bounded by its patience with refusals.
            await edge.until_certificate("given.narrow.test", given.der, within=90)
            assert await edge.certificate("kept.narrow.test") != kept.der
            assert allowed(controller, "list", "secrets", space.name) == "no"


async def test_addresses_of_nodes_are_published(kube: Kube, standing: list[str]) -> None:
    """Of those nodes that run a ready replica."""
    async with (
        instance("nodes", components=["publish-nodes"]) as controller,
        Space(kube) as space,
    ):
        [pod] = await controller.pods(kube)
        node = await kube.get("Node", "", pod["spec"]["nodeName"])
        wanted = [
            entry["address"]
            for entry in node["status"]["addresses"]
            if entry["type"] == "InternalIP"
        ]
        await space.stand("web", on=standing)
        await space.create(ingress("web", rule("nodes.test", root="web"), ingress_class="nodes"))

        await space.until_published("web", wanted, within=20)


def allowed(controller: Controller, verb: str, resource: str, namespace: str) -> str:
    """What the API server says of a controller's account."""
    account = f"system:serviceaccount:{controller.namespace}:{controller.name}"
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": account,
            "resourceAttributes": {
                "namespace": namespace,
                "verb": verb,
                "resource": resource,
                "group": "" if resource == "secrets" else "networking.k8s.io",
            },
        },
    }
    done = subprocess.run(
        ["kubectl", "create", "-f", "-", "-o", "json"],
        input=json.dumps(review),
        capture_output=True,
        text=True,
    )
    answer = json.loads(done.stdout)
    return "yes" if answer["status"].get("allowed") else "no"
