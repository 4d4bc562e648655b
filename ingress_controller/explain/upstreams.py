"""The Services behind a route, and which of their endpoints get requests."""

from collections.abc import Callable, Sequence
from typing import Final

from ingress_controller.explain.explanation import EndpointShown, UpstreamShown
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.translate.translator import Translator
from router.balance.endpoints import eligible
from router.model.snapshot import Answer, Forward
from router.model.upstreams import Endpoint, EndpointSet, Upstream

MAX_LISTED: Final = 5
"""Addresses or objects in one sentence."""

Locate = Callable[[ObjectKey], str]
"""The ``file:line`` of an object; empty when unknown."""
Action = Forward | Answer


def shown_upstreams(
    translator: Translator, action: Action | None, locate: Locate
) -> tuple[UpstreamShown, ...]:
    """The upstreams that an action leads to; none for an answer."""
    if action is None or isinstance(action, Answer):
        return ()
    total = sum(backend.weight for backend in action.backends)
    found = []
    for backend in action.backends:
        view = translator.upstream_view(backend.upstream)
        if view is None:
            continue
        spec, port = view.service.spec, view.port
        name = f"{view.upstream.namespace}/{view.upstream.service}"
        found.append(
            UpstreamShown(
                service=name,
                type="headless" if spec.cluster_ip == "None" else spec.type,
                port=port.port,
                port_name=port.name,
                target_port=str(port.target_port or ""),
                app_protocol=port.app_protocol,
                tls=_https(translator, view.upstream),
                weight=backend.weight,
                share=backend.weight / total if total else 0.0,
                location=locate(ObjectKey("Service", *name.split("/"))),
                sources=tuple(map(str, view.sources)),
                endpoints=_shown_endpoints(view.endpoints),
            )
        )
    return tuple(found)


def _https(translator: Translator, upstream: Upstream) -> str:
    """How https is spoken to an upstream; empty when it is not."""
    tls = upstream.tls
    if tls is None:
        return ""
    name = tls.server_name or "the address"
    shows = ", showing a certificate of ours" if tls.client_certificate else ""
    if not tls.verify:
        return f"https to {name}, not verified: any certificate of anybody is taken{shows}"
    whom = "the system's authorities"
    if tls.authorities is not None:
        whom = listed(translator.snapshot.authorities[tls.authorities].subjects)
    return f"https, verified to be {name} by {whom}{shows}"


def _shown_endpoints(endpoints: EndpointSet) -> tuple[EndpointShown, ...]:
    chosen = eligible(endpoints)
    return tuple(
        EndpointShown(
            address=_address(endpoint),
            ready=endpoint.ready,
            serving=endpoint.serving,
            terminating=endpoint.terminating,
            eligible=endpoint in chosen,
            reason=_why(endpoint, chosen),
        )
        for endpoint in endpoints.endpoints
    )


def _address(endpoint: Endpoint) -> str:
    address = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{address}:{endpoint.port}"


def _why(endpoint: Endpoint, chosen: Sequence[Endpoint]) -> str:
    if endpoint.ready:
        return "ready"
    if endpoint in chosen:
        return "terminating, but it still serves and no endpoint is ready"
    if endpoint.terminating and endpoint.serving:
        return "terminating, and others are ready"
    return "terminating" if endpoint.terminating else "not ready"


def listed(words: Sequence[str]) -> str:
    """The first few words of a list."""
    more = len(words) - MAX_LISTED
    shown = ", ".join(words[:MAX_LISTED])
    return f"{shown} and {more} more" if more > 0 else shown
