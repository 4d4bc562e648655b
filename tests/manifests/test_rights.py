"""The program, set as an installation sets it, needs all that its roles allow, and no more."""

import asyncio
import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.kube_api import FakeKubeApi
from tests.harness.kube_faults import Request
from tests.harness.program import Program
from tests.manifests.kustomize import Object, read_yaml, render
from tests.manifests.rights import Right, given, needed
from tests.manifests.scenarios import INSTALLATIONS, MANIFESTS, name_of
from tests.manifests.test_pods import container_of, environment_of
from tests.tls.certificates import authority, pair

ACCOUNT = "python-ingress/python-ingress-controller"
OWN, NAME = ACCOUNT.split("/")
PATIENCE = 45.0
READ = ("ingresses", "ingressclasses", "services", "endpointslices", "secrets", "configmaps")
ASKED = frozenset(
    {
        *((resource, verb) for resource in READ for verb in ("list", "watch")),
        *(("leases", verb) for verb in ("create", "get", "update")),
        *(("events", verb) for verb in ("create", "patch")),
        ("ingresses/status", "patch"),
    }
)
"""What every installation asks for; waiting for it, whether it is allowed or not."""
NODES = ("nodes", "get")
AGAIN = ("events", "patch")
"""Asked for when what is written is there already: by a second run."""
HERE = {
    "INGRESS_HTTP_PORT": "0",
    "INGRESS_HTTPS_PORT": "0",
    "INGRESS_ADMIN_PORT": "0",
    "INGRESS_DRAIN_ACCEPT": "0",
}
"""Several run on this machine at once."""


def metadata(name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, **({"namespace": namespace} if namespace else {}), **more}


def content(namespace: str) -> list[Object]:
    """An Ingress that needs all kinds of objects, and one with a mistake."""
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    missing = {"service": {"name": "missing", "port": {"number": 80}}}
    host = f"shop.{namespace}.example"

    def ingress(name: str, host: str, backend: Any, **spec: Any) -> Object:
        paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": metadata(name, namespace, uid=f"{namespace}-{name}"),
            "spec": {
                "ingressClassName": "python",
                "rules": [{"host": host, "http": {"paths": paths}}],
                **spec,
            },
        }

    good = ingress("good", host, backend, tls=[{"hosts": [host], "secretName": "shop-tls"}])
    good["metadata"]["annotations"] = {
        "nginx.ingress.kubernetes.io/auth-tls-secret": f"{namespace}/shop-clients-ca"
    }
    issued = pair(host)
    return [
        good,
        ingress("bad", f"bad.{namespace}.example", missing),
        service("web", namespace),
        endpoint_slice("web", namespace),
        secret("shop-tls", namespace, "kubernetes.io/tls", issued.chain, issued.key.pem),
        secret("shop-clients-ca", namespace, "Opaque", authority().certificate_pem),
    ]


def service(name: str, namespace: str, **more: Any) -> Object:
    spec = {"type": "ClusterIP", "clusterIP": "10.96.0.9", "ports": [{"port": 80}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name, namespace),
        "spec": spec,
        **more,
    }


def endpoint_slice(service: str, namespace: str) -> Object:
    labels = {"kubernetes.io/service-name": service}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata(f"{service}-1", namespace, labels=labels),
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["10.244.0.7"], "nodeName": "node-1"}],
    }


def secret(name: str, namespace: str, kind: str, certificate: bytes, key: bytes = b"") -> Object:
    values = {"tls.crt": certificate, "tls.key": key} if key else {"ca.crt": certificate}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(name, namespace),
        "type": kind,
        "data": {field: base64.b64encode(value).decode() for field, value in values.items()},
    }


def installed(objects: list[Object]) -> list[Object]:
    """What of an installation the program reads, with what the cluster adds."""
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    addresses = [{"type": "InternalIP", "address": "192.0.2.2"}]
    parameters = {"kind": "ConfigMap", "scope": "Namespace", "namespace": OWN, "name": "options"}
    (found,) = [o for o in objects if o["kind"] == "IngressClass"]
    return [
        {**found, "spec": {**found["spec"], "parameters": parameters}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("options", OWN)},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(NAME, OWN)},
        service(NAME, OWN, status=status),
        endpoint_slice(NAME, OWN),
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": metadata("node-1"),
            "status": {"addresses": addresses},
        },
    ]


def secret_roles(namespace: str) -> list[Object]:
    """What somebody who installs components/narrow-secrets adds for each namespace."""
    objects = read_yaml(MANIFESTS / "components" / "narrow-secrets" / "example.yaml")
    for obj in objects:
        obj["metadata"]["namespace"] = namespace
    return objects


def distinct() -> list[Path]:
    """Installations, of those that give the same rights only one."""
    seen: dict[frozenset[Right], Path] = {}
    for folder in INSTALLATIONS:
        seen.setdefault(frozenset(given(render(folder), ACCOUNT)), folder)
    return list(seen.values())


@pytest.mark.parametrize("folder", distinct(), ids=name_of)
async def test_every_right_is_used_and_none_is_missing(folder: Path, tmp_path: Path) -> None:
    objects = render(folder)
    environment = environment_of(container_of(folder))
    served = environment.get("INGRESS_WATCH_NAMESPACE", "shop").split(",")
    if environment.get("INGRESS_SECRETS") == "named":
        objects += [role for namespace in served for role in secret_roles(namespace)]
    rights = set(given(objects, ACCOUNT))
    asked = set(ASKED) | ({NODES} if "INGRESS_PUBLISH_NODES" in environment else set())
    async with FakeKubeApi() as fake:
        for obj in [*installed(objects), *(o for name in served for o in content(name))]:
            fake.put(obj)
        kubeconfig = fake.kubeconfig(tmp_path)

        def unused() -> set[Right]:
            needs = needs_of(fake.requests)
            return {right for right in rights if not any(right.allows(need) for need in needs)}

        def awaited() -> set[tuple[str, str]]:
            seen = {(need.resource, need.verb) for need in needs_of(fake.requests)}
            return (asked - seen) | {(right.resource, right.verb) for right in unused()}

        def run(done: Callable[[], bool]) -> None:
            variables = {**environment, **HERE}
            with Program("run", "--kubeconfig", kubeconfig, variables=variables) as program:
                program.ready()
                deadline = time.monotonic() + PATIENCE
                while not done() and time.monotonic() < deadline:
                    time.sleep(0.05)
                program.end()

        await asyncio.to_thread(run, lambda: awaited() <= {AGAIN})
        await asyncio.to_thread(run, lambda: not awaited())
        assert not asked - {(need.resource, need.verb) for need in needs_of(fake.requests)}
        missing = {
            need for need in needs_of(fake.requests) if not any(r.allows(need) for r in rights)
        }
    assert not missing, f"asked for without a right: {sorted(missing)}"
    assert not unused(), f"allowed and never asked for: {sorted(unused())}"


def needs_of(requests: list[Request]) -> set[Right]:
    found = {needed(request) for request in list(requests)}
    return {need for need in found if need is not None}
