"""Further controllers beside the installed one, from the same manifests under other names."""

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.controller import NAME, ROOT, Controller, kubectl, overlay
from tests.e2e.kube import Object

COMPONENTS = ROOT / "manifests" / "components"


def environment(values: Mapping[str, str]) -> Object:
    """A patch of the Deployment's variables."""
    entries = [{"name": name, "value": value} for name, value in values.items()]
    containers = [{"name": "controller", "env": entries}]
    return {
        "target": {"kind": "Deployment", "name": NAME},
        "patch": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME},
            "spec": {"template": {"spec": {"containers": containers}}},
        },
    }


def hurried_end() -> Object:
    """A patch that ends Pods soon: nobody waits for their clients."""
    container = {"name": "controller", "lifecycle": {"preStop": None}}
    spec = {"terminationGracePeriodSeconds": 5, "containers": [container]}
    return {
        "target": {"kind": "Deployment", "name": NAME},
        "patch": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME},
            "spec": {"template": {"spec": spec}},
        },
    }


def ingress_class_patch(name: str, controller: str) -> Object:
    """A patch that gives the IngressClass another name and controller."""
    return {
        "target": {"kind": "IngressClass"},
        "patch": [
            {"op": "replace", "path": "/metadata/name", "value": name},
            {"op": "replace", "path": "/spec/controller", "value": controller},
        ],
    }


def without_class(name: str) -> Object:
    """A patch that takes the IngressClass out."""
    return {
        "target": {"kind": "IngressClass"},
        "patch": {
            "$patch": "delete",
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": name},
        },
    }


@asynccontextmanager
async def instance(
    name: str,
    ingress_class: str = "",
    controller: str = "",
    *,
    components: Sequence[str] = (),
    makes_class: bool = True,
    **variables: str,
) -> AsyncIterator[Controller]:
    """A controller in namespace e2e-NAME with its own class; uninstalled at the end.

    Args:
        ingress_class: name of its IngressClass; NAME when empty.
        controller: spec.controller of that class; e2e.test/NAME when empty.
        components: of the manifests, by their folders.
        makes_class: False where the IngressClass is there and somebody else's to delete.
        variables: environment of the Deployment, without the prefix INGRESS_.
    """
    namespace, prefixed = f"e2e-{name}", f"{name}-{NAME}"
    own_class, own_controller = ingress_class or name, controller or f"e2e.test/{name}"
    settings = {
        "PUBLISH_SERVICE": f"{namespace}/{prefixed}",
        "CONFIG": f"{namespace}/{prefixed}",
        "INGRESS_CLASS": own_class,
        "CONTROLLER": own_controller,
        "DRAIN_ACCEPT": "0s",
        **variables,
    }
    with tempfile.TemporaryDirectory() as folder:
        inner = overlay(
            Path(folder, "inner"),
            namespace=namespace,
            prefix=f"{name}-",
            components=[COMPONENTS / component for component in components],
            patches=[
                environment({f"INGRESS_{key}": value for key, value in settings.items()}),
                hurried_end(),
            ],
        )
        # The prefix reaches the class, too; it is renamed on top of that.
        outer = overlay(
            Path(folder, "outer"),
            resources=[inner],
            patches=[
                ingress_class_patch(own_class, own_controller)
                if makes_class
                else without_class(f"{name}-python")
            ],
        )
        try:
            yield Controller.install(outer, namespace, prefixed)
        finally:
            # Its rights go last: it gives its Lease back when it ends.
            pods = ("deployment", prefixed, "-n", namespace, "--cascade=foreground")
            kubectl("delete", *pods, "--ignore-not-found")
            kubectl("delete", "-k", str(outer), "--wait=false", "--ignore-not-found")
