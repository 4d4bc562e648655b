"""cert-manager's HTTP-01 flow, with the objects that it makes (pkg/issuer/acme/http)."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.certificates import issue
from tests.e2e.kube import Object
from tests.e2e.objects import (
    ECHO_PORT,
    ingress,
    path,
    paths_of,
    rule,
    secret,
    service,
    tls_entry,
)
from tests.e2e.outside import Edge
from tests.e2e.space import Space

TOKEN = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0.dot-_9"
CHALLENGE = f"/.well-known/acme-challenge/{TOKEN}"
SOON = 1.0
LABELS = {
    "acme.cert-manager.io/http-domain": "1147523614",
    "acme.cert-manager.io/http-token": "985312452",
    "acme.cert-manager.io/http01-solver": "true",
}


def solver_service(name: str) -> Object:
    """Type NodePort, port 8089 named http, as cert-manager makes it by default."""
    ports = [{"name": "http", "port": 8089, "targetPort": 8089, "protocol": "TCP"}]
    made = service(name, ports=ports, type="NodePort", selector=LABELS)
    made["metadata"] |= {
        "labels": LABELS,
        "annotations": {"auth.istio.io/8089": "NONE"},
    }
    return made


def solver_ingress(
    name: str,
    host: str,
    solver: str,
    *,
    ingress_class: str | None = "python",
    kind: str = "Exact",
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """One rule, one path, no tls, backend by port number."""
    always = {"nginx.ingress.kubernetes.io/whitelist-source-range": "0.0.0.0/0,::/0"}
    return ingress(
        name,
        paths_of(host, path(CHALLENGE, f"{solver}:8089", kind)),
        ingress_class=ingress_class,
        labels=LABELS,
        annotations={**always, **(annotations or {})},
    )


def solver_pod(name: str, image: str) -> Object:
    """A Pod with the solver's labels and port; the echo program stands for the solver."""
    container = {
        "name": "acmesolver",
        "image": image,
        "command": ["python", "-S", "-E", "/echo/echo.py", "8089"],
        "env": [{"name": "SERVICE", "value": "solver"}],
        "ports": [{"name": "http", "containerPort": 8089}],
        "volumeMounts": [{"name": "echo", "mountPath": "/echo"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": LABELS},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "echo", "configMap": {"name": "echo"}}],
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": 1,
        },
    }


async def users_ingress(space: Space, host: str) -> None:
    """A host with TLS whose Secret is not there yet, a redirect, and a second Ingress."""
    await space.deploy("shop")
    await space.create(
        ingress(
            "shop",
            paths_of(host, path("/", "shop", "Prefix")),
            tls=[tls_entry("shop-tls", host)],
            annotations={
                "cert-manager.io/cluster-issuer": "letsencrypt",
                "nginx.ingress.kubernetes.io/force-ssl-redirect": "true",
            },
        ),
        ingress(
            "shop-more",
            paths_of(host, path("/.well-known", "shop", "ImplementationSpecific")),
        ),
    )


@pytest.mark.parametrize(
    "named",
    [
        pytest.param({"ingress_class": "python"}, id="by class"),
        pytest.param(
            {"ingress_class": None, "annotations": {"kubernetes.io/ingress.class": "python"}},
            id="by the old annotation",
        ),
        pytest.param({"kind": "ImplementationSpecific"}, id="before 1.18"),
    ],
)
async def test_a_challenge_is_answered_and_the_certificate_served(
    space: Space, edge: Edge, named: Mapping[str, Any]
) -> None:
    host = f"acme-{space.name}.test"
    await users_ingress(space, host)
    await edge.until(host, holds=lambda answer: answer.status == 308)
    fallback = await edge.certificates(host)

    # cert-manager: the Pod and the Service first, then the Ingress; the Pod takes a while.
    name = f"cm-acme-http-solver-{space.name[-5:]}"
    await space.create(solver_pod(name, space.image), solver_service(name))
    await _until_endpoints(space, name)
    await space.create(solver_ingress(name, host, name, **named))
    begun = time.perf_counter()
    answer = await edge.until_served(host, CHALLENGE, within=SOON)
    assert answer.seen["service"] == "solver"
    assert answer.seen["host"] == host
    assert answer.seen["path"] == CHALLENGE
    assert time.perf_counter() - begun < SOON
    # The self check: five in a row, and at every replica.
    for _ in range(10):
        assert (await edge.get(host, CHALLENGE)).seen["service"] == "solver"
    # Whoever comes over https gets it, too, by the default certificate.
    over_tls = await edge.get(host, CHALLENGE, tls=True)
    assert over_tls.seen["service"] == "solver"
    assert over_tls.certificate in fallback
    # The rest of the host is as it was.
    assert (await edge.get(host, "/")).status == 308
    assert (await edge.get(host, "/.well-known/other")).status == 308
    await space.until_published(name, [edge.host])

    issued = issue(host)
    await space.create(secret("shop-tls", issued.pem, issued.private_key))
    took = await edge.until_certificate(host, issued.der, within=SOON)
    assert took < SOON

    await space.delete(solver_ingress(name, host, name))
    await space.delete(solver_service(name))
    await edge.until_status(308, host, CHALLENGE, within=2 * SOON)
    assert (await edge.get(host, tls=True)).seen["service"] == "shop"


async def test_objects_may_come_in_any_order(space: Space, edge: Edge) -> None:
    """The Ingress first, its endpoints last: served within a second of these."""
    host, name = "acme-order.test", "cm-acme-http-solver-order"
    await users_ingress(space, host)
    await space.create(solver_ingress(name, host, name))
    await edge.until_status(503, host, CHALLENGE)
    await space.create(solver_service(name), solver_pod(name, space.image))
    await _until_endpoints(space, name)

    await edge.until_served(host, CHALLENGE, by="solver", within=SOON)


async def test_editing_the_ingress_in_place_is_exempt_from_its_redirect(
    space: Space, edge: Edge
) -> None:
    """acme.cert-manager.io/http01-edit-in-place: the path is put first into the user's own rule."""
    host, name = "acme-in-place.test", "cm-acme-http-solver-place"
    await users_ingress(space, host)
    temporary = issue(host)
    await space.create(
        solver_pod(name, space.image),
        solver_service(name),
        secret("shop-tls", temporary.pem, temporary.private_key),
    )
    await _until_endpoints(space, name)
    shop = await space.get("Ingress", "shop")
    shop["metadata"]["annotations"] |= {
        "acme.cert-manager.io/http01-edit-in-place": "true",
        "cert-manager.io/issue-temporary-certificate": "true",
    }
    shop["spec"]["rules"][0]["http"]["paths"].insert(0, path(CHALLENGE, f"{name}:8089", "Exact"))
    await space.kube.replace({**shop, "kind": "Ingress"})

    await edge.until_served(host, CHALLENGE, by="solver", within=SOON)
    await edge.until_certificate(host, temporary.der, within=SOON)
    real = issue(host)
    await space.replace(secret("shop-tls", real.pem, real.private_key))
    await edge.until_certificate(host, real.der, within=SOON)


async def test_a_solver_ingress_of_another_namespace_is_refused(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    """A host belongs to a namespace; cert-manager's objects are in the Certificate's, which is the
    Ingress's own."""
    host = "acme-foreign.test"
    await users_ingress(space, host)
    await edge.until(host, holds=lambda answer: answer.status == 308)
    await asyncio.sleep(1.1)  # ages have whole seconds
    async with Space(space.kube) as other:
        await other.stand("solver", on=standing)
        stolen = ingress(
            "solver", paths_of(host, path(CHALLENGE, "solver", "Exact")), labels=LABELS
        )
        await other.create(stolen, ingress("probe", rule("acme-probe.test", root="solver")))
        await edge.until("acme-probe.test", holds=lambda answer: answer.seen["port"] == ECHO_PORT)

        assert (await edge.get(host, CHALLENGE)).status == 308


async def _until_endpoints(space: Space, name: str, within: float = 20.0) -> None:
    """Wait until a slice of the Service has a ready endpoint."""
    end = time.monotonic() + within
    label = f"kubernetes.io/service-name={name}"
    while not any(
        endpoint["conditions"].get("ready")
        for found in await space.kube.items("EndpointSlice", space.name, labelSelector=label)
        for endpoint in found["endpoints"] or []
    ):
        assert time.monotonic() < end, f"{name} gets no endpoint"
        await asyncio.sleep(0.02)
