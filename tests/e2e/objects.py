"""Kubernetes objects for tests, as short as they can be said."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from tests.e2e.kube import Object

ECHO_PORT = 3000
ECHO_PORTS = tuple(range(ECHO_PORT, ECHO_PORT + 10))
"""Every echo Pod listens on these, so that one Pod can stand for several Services."""


def ingress(
    name: str,
    *rules: Object,
    ingress_class: str | None = "python",
    default: str = "",
    tls: Iterable[Object] = (),
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Object:
    """An Ingress; ``default`` names the Service of the default backend."""
    spec: Object = {}
    if ingress_class is not None:
        spec["ingressClassName"] = ingress_class
    if rules:
        spec["rules"] = list(rules)
    if default:
        spec["defaultBackend"] = backend(default)
    if entries := list(tls):
        spec["tls"] = entries
    meta = {"name": name, "annotations": dict(annotations or {}), "labels": dict(labels or {})}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": meta,
        "spec": spec,
    }


def rule(host: str, **paths: str) -> Object:
    """A rule whose paths are Prefix; see `path` for more. ``rule("a.test", root="web")`` is "/"."""
    return paths_of(host, *(path(f"/{'' if p == 'root' else p}", s) for p, s in paths.items()))


def paths_of(host: str, *paths: Object) -> Object:
    """A rule with these paths; an empty host means any."""
    return {**({"host": host} if host else {}), "http": {"paths": list(paths)}}


def path(text: str, service: str, kind: str = "Prefix") -> Object:
    return {"path": text, "pathType": kind, "backend": backend(service)}


def backend(service: str) -> Object:
    """``name`` is port 80 of it, ``name:8080`` and ``name:http`` are others."""
    name, _, port = service.partition(":")
    number: Object = {"number": int(port or 80)} if not port or port.isdigit() else {"name": port}
    return {"service": {"name": name, "port": number}}


def tls_entry(secret: str, *hosts: str) -> Object:
    return {"hosts": list(hosts), "secretName": secret}


def service(
    name: str, *, ports: Iterable[Object] = (), selects: bool = True, **spec: Any
) -> Object:
    """A Service of port 80, of the Pods of the same name."""
    chosen = list(ports) or [{"name": "http", "port": 80, "targetPort": ECHO_PORT}]
    spec = {"ports": chosen, **({"selector": {"app": name}} if selects else {}), **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def endpoint_slice(
    service_name: str,
    *addresses: str,
    name: str = "",
    port: int = ECHO_PORT,
    port_name: str = "http",
    conditions: Mapping[str, bool] | None = None,
) -> Object:
    """Endpoints of a Service that selects nothing."""
    about = {"conditions": dict(conditions)} if conditions else {}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name or f"{service_name}-1",
            "labels": {"kubernetes.io/service-name": service_name},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], **about} for address in addresses],
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
    }


def secret(name: str, certificate: bytes, private_key: bytes) -> Object:
    """A TLS Secret."""
    data = {"tls.crt": certificate, "tls.key": private_key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def ingress_class(name: str, controller: str, **annotations: str) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"controller": controller},
    }


def echo_deployment(
    name: str,
    image: str,
    *,
    replicas: int = 1,
    drain: float = 0,
    version: str = "1",
    labels: Mapping[str, str] | None = None,
) -> Object:
    """Pods that run echo.py from the ConfigMap ``echo`` of their namespace."""
    fields = {"POD": "metadata.name", "NAMESPACE": "metadata.namespace"}
    env: list[Object] = [
        {"name": key, "valueFrom": {"fieldRef": {"fieldPath": field}}}
        for key, field in fields.items()
    ]
    env += [{"name": "SERVICE", "value": name}, {"name": "DRAIN", "value": str(drain)}]
    env += [{"name": "VERSION", "value": version}]
    container = {
        "name": "echo",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-S", "-E", "/echo/echo.py", *map(str, ECHO_PORTS)],
        "env": env,
        "ports": [{"name": "web", "containerPort": ECHO_PORT}],
        "readinessProbe": {
            "httpGet": {"path": "/healthz", "port": "web"},
            "periodSeconds": 1,
            "failureThreshold": 1,
        },
        "volumeMounts": [{"name": "echo", "mountPath": "/echo"}],
    }
    chosen = {"app": name, **(labels or {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": chosen},
                "spec": {
                    "containers": [container],
                    "volumes": [{"name": "echo", "configMap": {"name": "echo"}}],
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": max(2, int(drain) + 2),
                },
            },
        },
    }
