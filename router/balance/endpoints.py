"""Which endpoints of a set may get new requests."""

from router.model.upstreams import Endpoint, EndpointSet


def eligible(endpoints: EndpointSet) -> tuple[Endpoint, ...]:
    """The endpoints that get new requests, in the order of the set.

    Ready endpoints; if there are none, those that terminate but still serve (the fall-back of
    KEP-1669, which kube-proxy follows too), so that the last pods of a Service answer until they
    are gone. An empty result means 503.
    """
    ready = tuple(endpoint for endpoint in endpoints.endpoints if endpoint.ready)
    if ready:
        return ready
    return tuple(
        endpoint for endpoint in endpoints.endpoints if endpoint.serving and endpoint.terminating
    )
