"""What the admin port shows of a snapshot: plain values for JSON, made from frozen ones. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from ingress_controller.translate.diagnostics import Diagnostic
from router.model.snapshot import Answer, Host, HostPattern, Route, Snapshot
from router.model.upstreams import EndpointSet, Upstream

Shown = dict[str, Any]  # JSON objects of many shapes

INDEX = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Ingress controller</title>
<h1>Ingress controller</h1>
<dl>
<dt><a href="/routes">/routes</a><dd>every host, route, upstream and endpoint that is served now
<dt><a href="/explain?url=http://localhost/">/explain?url=…</a>
<dd>what happens to a request, and why: url, method (GET), header ("Name: value", repeatable)
<dt><a href="/diagnostics">/diagnostics</a><dd>what is wrong with which object, and what to do
<dt><a href="/metrics">/metrics</a><dd>for Prometheus
<dt><a href="/readyz">/readyz</a>, <a href="/healthz">/healthz</a><dd>for probes
</dl>
"""


def routes_page(snapshot: Snapshot) -> Shown:
    """The whole routing table. The host ``*`` takes what no other host takes."""
    return {
        "version": snapshot.version,
        "hosts": {
            pattern or "*": _host(host)
            for name in sorted(snapshot.hosts)
            for pattern, host in _sorted(snapshot.hosts[name])
        },
        "upstreams": {
            key: _upstream(upstream, snapshot.endpoints.get(key, EndpointSet()))
            for key, upstream in sorted(snapshot.upstreams.items())
        },
    }


def diagnostics_page(diagnostics: Sequence[Diagnostic]) -> Shown:
    """All findings about objects and files."""
    return {"diagnostics": [_named(each) for each in diagnostics]}


def _sorted(hosts: Mapping[HostPattern, Host]) -> list[tuple[HostPattern, Host]]:
    return sorted(hosts.items())


def _host(host: Host) -> Shown:
    return {
        "routes": [_route(route) for route in host.routes],
        "default": None if host.default is None else _route(host.default),
    }


def _route(route: Route) -> Shown:
    origin = route.origin
    shown: Shown = {
        "path": route.written,
        "kind": route.path.kind,
        "origin": {
            "kind": origin.kind,
            "namespace": origin.namespace,
            "name": origin.name,
            "field": origin.field,
        },
    }
    if isinstance(route.action, Answer):
        return shown | {"answer": {"status": route.action.status, "reason": route.action.reason}}
    backends = [{"upstream": b.upstream, "weight": b.weight} for b in route.action.backends]
    return shown | {"backends": backends}


def _upstream(upstream: Upstream, endpoints: EndpointSet) -> Shown:
    return {
        "namespace": upstream.namespace,
        "service": upstream.service,
        "port": upstream.port,
        "protocol": upstream.protocol,
        "endpoints": [
            {
                "address": endpoint.address,
                "port": endpoint.port,
                "ready": endpoint.ready,
                "serving": endpoint.serving,
                "terminating": endpoint.terminating,
            }
            for endpoint in endpoints.endpoints
        ],
    }


def _named(diagnostic: Diagnostic) -> Shown:
    return {
        "code": diagnostic.code.value,
        "severity": diagnostic.severity,
        "object": dict(zip(("kind", "namespace", "name"), diagnostic.object, strict=True)),
        "field": diagnostic.field,
        "message": diagnostic.message,
        "consequence": diagnostic.consequence,
        "remedy": diagnostic.remedy,
        "file": diagnostic.file,
        "line": diagnostic.line,
    }
