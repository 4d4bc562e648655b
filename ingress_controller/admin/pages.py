"""What the admin port shows of a snapshot: plain values for JSON, made from frozen ones. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ingress_controller.translate.diagnostics import Diagnostic
from router.model.origin import Origin
from router.model.snapshot import (
    Answer,
    Host,
    HostPattern,
    Passthrough,
    Route,
    ServerName,
    Snapshot,
)
from router.model.upstreams import EndpointSet, Upstream
from tls.certificate import CertificatePair
from tls.policy import UpstreamTls

Shown = dict[str, Any]  # JSON objects of many shapes

INDEX = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Ingress controller</title>
<h1>Ingress controller</h1>
<dl>
<dt><a href="/routes">/routes</a>
<dd>every host, route, certificate, upstream and endpoint that is served now
<dt><a href="/explain?url=http://localhost/">/explain?url=…</a>
<dd>what happens to a request, and why: url, method (GET), header ("Name: value", repeatable)
<dt><a href="/diagnostics">/diagnostics</a><dd>what is wrong with which object, and what to do
<dt><a href="/metrics">/metrics</a><dd>for Prometheus
<dt><a href="/readyz">/readyz</a>, <a href="/healthz">/healthz</a><dd>for probes
</dl>
"""


def routes_page(snapshot: Snapshot) -> Shown:
    """The whole routing table. The host ``*`` takes what no other host takes.

    Of certificates it has what everybody may know: never a key.
    """
    return {
        "version": snapshot.version,
        "hosts": {
            pattern or "*": _host(host)
            for name in sorted(snapshot.hosts)
            for pattern, host in _sorted(snapshot.hosts[name])
        },
        "server_names": {
            pattern or "*": _server_name(answer)
            for name in sorted(snapshot.server_names)
            for pattern, answer in sorted(snapshot.server_names[name].items())
        },
        "certificates": {
            digest: _certificate(pair) for digest, pair in sorted(snapshot.certificates.items())
        },
        "authorities": {
            digest: {"subjects": bundle.subjects, "not_after": _moment(bundle.not_after)}
            for digest, bundle in sorted(snapshot.authorities.items())
        },
        "upstreams": {
            key: _upstream(upstream, snapshot.endpoints.get(key, EndpointSet()))
            for key, upstream in sorted(snapshot.upstreams.items())
        },
    }


def _server_name(answer: ServerName) -> Shown:
    if isinstance(answer, Passthrough):
        return {"passthrough": answer.upstream, "origin": _origin(answer.origin)}
    policy = answer.policy
    return {
        "certificates": answer.certificates,
        "profile": policy.profile,
        "alpn": policy.alpn,
        "client_certificates": policy.client_certificates,
        "authorities": policy.authorities,
        "verify_depth": policy.verify_depth,
    }


def _certificate(pair: CertificatePair) -> Shown:
    """Field by field, so that a field added to the pair is not shown by itself."""
    return {
        "names": pair.names,
        "subject": pair.subject,
        "issuer": pair.issuer,
        "algorithm": pair.algorithm,
        "not_before": _moment(pair.not_before),
        "not_after": _moment(pair.not_after),
        "chain_length": pair.chain_length,
    }


def _moment(unix_seconds: int) -> str:
    """A time for people and programs; certificates may be valid for longer than a datetime is."""
    try:
        return datetime.fromtimestamp(unix_seconds, UTC).isoformat()
    except (ValueError, OverflowError):
        return str(unix_seconds)


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
    shown: Shown = {
        "path": route.written,
        "kind": route.path.kind,
        "origin": _origin(route.origin),
    }
    if route.https is not None:
        shown["https"] = {"redirect": route.https.redirect, "hsts": route.https.hsts}
    if isinstance(route.action, Answer):
        return shown | {"answer": {"status": route.action.status, "reason": route.action.reason}}
    backends = [{"upstream": b.upstream, "weight": b.weight} for b in route.action.backends]
    return shown | {"backends": backends}


def _origin(origin: Origin) -> Shown:
    return {
        "kind": origin.kind,
        "namespace": origin.namespace,
        "name": origin.name,
        "field": origin.field,
    }


def _upstream(upstream: Upstream, endpoints: EndpointSet) -> Shown:
    return {
        "namespace": upstream.namespace,
        "service": upstream.service,
        "port": upstream.port,
        "protocol": upstream.protocol,
        "tls": None if upstream.tls is None else _upstream_tls(upstream.tls),
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


def _upstream_tls(profile: UpstreamTls) -> Shown:
    return {
        "server_name": profile.server_name,
        "verify": profile.verify,
        "authorities": profile.authorities or "of the system",
        "client_certificate": profile.client_certificate,
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
