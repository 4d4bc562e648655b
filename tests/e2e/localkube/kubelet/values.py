"""Values that a Pod's specification only points to: $(NAME), fields, resources, and the environment
made of them.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

from .api import Object

NODE = "local-node"
NODE_IP = "10.244.0.1"
API_SERVICE = {
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "KUBERNETES_SERVICE_PORT_HTTPS": "443",
    "KUBERNETES_PORT": "tcp://10.96.0.1:443",
}

# Reads a Secret ("secrets", name) or a ConfigMap ("configmaps", name) of the Pod's namespace; None
# when there is none.
Fetch = Callable[[str, str], Awaitable[Object | None]]

_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")
_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_QUANTITY = re.compile(r"^([0-9.]+(?:[eE][-+]?[0-9]+)?)(|[numkMGTPE]|[KMGTPE]i)$")
_SCALE = {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)}
_SCALE |= {s: Decimal(1000) ** (i + 1) for i, s in enumerate("kMGTPE")}
_SCALE |= {f"{s}i": Decimal(1024) ** (i + 1) for i, s in enumerate("KMGTPE")}


class Unready(Exception):
    """Something that the Pod refers to is not there (yet)."""


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replaces $(NAME) by its value; an unknown name stays as it is, and $$ stands for $."""
    return _REFERENCE.sub(lambda m: "$" if m[0] == "$$" else env.get(m[1], m[0]), text)


def field(pod: Object, ip: str, path: str) -> str:
    meta, spec = pod["metadata"], pod["spec"]
    if m := _SUBSCRIPT.match(path):
        return str((meta.get(m[1]) or {}).get(m[2], ""))
    match path:
        case "metadata.labels" | "metadata.annotations":
            pairs = sorted((meta.get(path.partition(".")[2]) or {}).items())
            return "".join(f'{k}="{_escaped(v)}"\n' for k, v in pairs)
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(meta[path.partition(".")[2]])
        case "spec.nodeName":
            return NODE
        case "spec.serviceAccountName":
            return str(spec.get("serviceAccountName", "default"))
        case "status.podIP" | "status.podIPs":
            return ip
        case "status.hostIP" | "status.hostIPs":
            return NODE_IP
    raise Unready(f"field {path} is not known")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def quantity(text: str) -> Decimal:
    m = _QUANTITY.match(str(text))
    if not m:
        raise Unready(f"{text!r} is not a quantity")
    return Decimal(m[1]) * _SCALE[m[2]]


def resource(container: Object, reference: Object) -> str:
    """A request or limit in units of the divisor, rounded up; what is not limited is limited by the
    node.
    """
    section, _, name = reference["resource"].partition(".")
    given = (container.get("resources") or {}).get(section) or {}
    whole = {
        "cpu": str(os.cpu_count()),
        "memory": str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
    }
    amount = quantity(given.get(name) or (whole.get(name, "0") if section == "limits" else "0"))
    divisor = quantity(reference.get("divisor") or "1") or Decimal(1)
    return str(math.ceil(amount / divisor))


def data(kind: str, o: Object) -> dict[str, bytes]:
    """The keys and values of a Secret or ConfigMap."""
    if kind == "secrets":
        return {k: base64.b64decode(v) for k, v in (o.get("data") or {}).items()}
    text = {k: v.encode() for k, v in (o.get("data") or {}).items()}
    return text | {k: base64.b64decode(v) for k, v in (o.get("binaryData") or {}).items()}


async def environment(pod: Object, container: Object, ip: str, fetch: Fetch) -> dict[str, str]:
    """The variables of env and envFrom, in the order in which the kubelet lets one override the
    other.
    """
    env: dict[str, str] = dict(API_SERVICE)

    async def read(kind: str, reference: dict[str, Any]) -> dict[str, bytes] | None:
        o = await fetch(kind, reference["name"])
        if o is None and not reference.get("optional"):
            raise Unready(f'{kind[:-1]} "{reference["name"]}" not found')
        return None if o is None else data(kind, o)

    for source in container.get("envFrom") or []:
        for key, kind in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if reference := source.get(key):
                values = await read(kind, reference) or {}
                env |= {
                    source.get("prefix", "") + k: v.decode(errors="replace")
                    for k, v in values.items()
                }
    for e in container.get("env") or []:
        source = e.get("valueFrom") or {}
        if reference := source.get("fieldRef"):
            env[e["name"]] = field(pod, ip, reference["fieldPath"])
        elif reference := source.get("resourceFieldRef"):
            env[e["name"]] = resource(container, reference)
        elif reference := source.get("secretKeyRef") or source.get("configMapKeyRef"):
            kind = "secrets" if "secretKeyRef" in source else "configmaps"
            found = await read(kind, reference)
            if found is not None and reference["key"] in found:
                env[e["name"]] = found[reference["key"]].decode(errors="replace")
            elif not reference.get("optional"):
                where = f"{kind[:-1]} {pod['metadata']['namespace']}/{reference['name']}"
                raise Unready(f"couldn't find key {reference['key']} in {where}")
        else:
            env[e["name"]] = expand(e.get("value") or "", env)
    return env


def timestamp() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
