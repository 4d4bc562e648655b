"""EndpointSlices become endpoint sets. The hot path: it reads slices and never touches a route.

Rules (`discovery.k8s.io/v1`):

* a slice's port has the *name* of the Service port and the number of the target;
* ``ready`` and ``serving`` unknown mean true, ``terminating`` unknown means false;
* addresses of one endpoint are equivalent: the first is taken, as kube-proxy does;
* an endpoint may stand in several slices for a while: the same address and port is one endpoint,
  and the copy that can serve more counts;
* a slice of type FQDN has no defined meaning: refused;
* an Endpoints object counts only for a Service without any slice, since a cluster mirrors it.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from ingress_controller.objects.meta import ObjectKey, quoted
from ingress_controller.objects.slices import Endpoints, EndpointSlice, SlicePort
from ingress_controller.store import Name, key_of
from ingress_controller.translate.addresses import Guard
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode
from router.model.upstreams import Endpoint, EndpointSet

MAX_ENDPOINTS = 5000
"""Endpoints of one upstream. A cluster of the largest supported size has 5,000 nodes; a Service
with more pods than that is served by the first of them in order of address."""

_IPV4 = re.compile(
    r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
)
# 127., 169.254., 0., multicast and above, and the metadata addresses: those ask the guard.
_SUSPECT = re.compile(r"(?:127|0|169\.254|100\.100\.100|168\.63|22[4-9]|2[345]\d)\..*")


class SliceReading(msgspec.Struct, frozen=True, gc=False):
    """What one slice (or Endpoints object) says, ready to be merged."""

    by_port: dict[str, tuple[Endpoint, ...]]
    """By port name, in no particular order; an endpoint set's form when it is the only reading."""
    diagnostics: tuple[Diagnostic, ...] = ()


class _Conditions(NamedTuple):
    ready: bool
    serving: bool
    terminating: bool


_READY = _Conditions(ready=True, serving=True, terminating=False)
_UNREADY = _Conditions(ready=False, serving=False, terminating=False)


def read_slice(item: EndpointSlice, guard: Guard) -> SliceReading:
    """The endpoints of a slice by port name."""
    key = key_of(item)
    if item.address_type not in ("IPv4", "IPv6"):
        return SliceReading({}, (_address_type_refused(key, item.address_type),))
    pairs = []
    for endpoint in item.endpoints:
        if endpoint.addresses:
            c = endpoint.conditions
            conditions = _Conditions(
                c.ready is not False, c.serving is not False, c.terminating is True
            )
            pairs.append((endpoint.addresses[0], conditions))
    return _reading(key, [(pairs, item.ports)], guard)


def read_endpoints(item: Endpoints, guard: Guard) -> SliceReading:
    """The endpoints of a legacy Endpoints object by port name."""
    subsets: list[tuple[list[tuple[str, _Conditions]], Sequence[SlicePort]]] = []
    for subset in item.subsets:
        pairs = [(address.ip, _READY) for address in subset.addresses]
        pairs += [(address.ip, _UNREADY) for address in subset.not_ready_addresses]
        subsets.append((pairs, subset.ports))
    return _reading(key_of(item), subsets, guard)


def collect(port_name: str, readings: Sequence[SliceReading]) -> EndpointSet:
    """The endpoints of a Service port from all of its slices, each address and port once."""
    if len(readings) == 1:
        return EndpointSet(_merged(readings[0].by_port.get(port_name, ())))
    return EndpointSet(
        _merged([e for reading in readings for e in reading.by_port.get(port_name, ())])
    )


def usable(endpoints: EndpointSet) -> bool:
    """Whether any request can be sent: a ready endpoint, or one that still serves while ending."""
    return any(e.ready or (e.serving and e.terminating) for e in endpoints.endpoints)


def _merged(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    if len(endpoints) < 2:
        return tuple(endpoints)
    best: dict[tuple[str, int], Endpoint] = {}
    for endpoint in endpoints:
        place = (endpoint.address, endpoint.port)
        other = best.get(place)
        if other is None or _preference(endpoint) > _preference(other):
            best[place] = endpoint
    return tuple([best[place] for place in sorted(best)[:MAX_ENDPOINTS]])


def _preference(endpoint: Endpoint) -> tuple[bool, bool, bool]:
    return (endpoint.ready, endpoint.serving, not endpoint.terminating)


def _reading(
    key: ObjectKey,
    subsets: Iterable[tuple[Sequence[tuple[str, _Conditions]], Sequence[SlicePort]]],
    guard: Guard,
) -> SliceReading:
    by_port: dict[str, list[Endpoint]] = {}
    refused: dict[str, str] = {}
    for pairs, ports in subsets:
        served: list[tuple[str, _Conditions]] = []
        for written, conditions in pairs:
            address = _checked(written, guard, refused)
            if address is not None:
                served.append((address, conditions))
        for port in ports:
            number = port.port
            if port.protocol == "TCP" and number is not None and 0 < number < 65536:
                by_port.setdefault(port.name, []).extend(
                    [Endpoint(address, number, *conditions) for address, conditions in served]
                )
    return SliceReading(
        {name: tuple(endpoints) for name, endpoints in by_port.items()},
        (_addresses_refused(key, refused),) if refused else (),
    )


def _checked(written: str, guard: Guard, refused: dict[str, str]) -> str | None:
    """The address in its one spelling, or None after noting why it is refused.

    Nearly every address passes the first test, without the cost of parsing it.
    """
    if (
        _IPV4.fullmatch(written) is not None
        and _SUSPECT.fullmatch(written) is None
        and not guard.may_deny(written)
    ):
        return written
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        refused[written] = "it is no IP address"
        return None
    why = guard.refused_address(address)
    if why is not None:
        refused[written] = why
        return None
    return str(address)


def _addresses_refused(key: ObjectKey, refused: dict[str, str]) -> Diagnostic:
    address, why = min(refused.items())
    more = f", and {len(refused) - 1} more like it" if len(refused) > 1 else ""
    return Diagnostic(
        code=DiagnosticCode.ENDPOINT_ADDRESS_REFUSED,
        severity="error",
        object=key,
        field="endpoints" if key.kind == "EndpointSlice" else "subsets",
        message=f"the endpoint address {quoted(address)} is refused: {why}{more}",
        consequence="no request is sent there; the other endpoints serve",
        remedy="find out who wrote the object: a cluster writes no such addresses",
    )


def _address_type_refused(key: ObjectKey, address_type: str) -> Diagnostic:
    return Diagnostic(
        code=DiagnosticCode.SLICE_ADDRESS_TYPE,
        severity="error",
        object=key,
        field="addressType",
        message=f"the address type is {address_type}, and only IPv4 and IPv6 have a meaning",
        consequence="the endpoints of this slice get no requests",
        remedy="list IP addresses, or use a Service of type ExternalName for a DNS name",
    )


def about_endpoints(
    service: Name, port_name: str, endpoints: EndpointSet, readings: Sequence[SliceReading]
) -> Diagnostic | None:
    """What to say about the endpoints of a Service port that routes lead to."""
    key = ObjectKey("Service", *service)
    total = len(endpoints.endpoints)
    port = f"port {quoted(port_name)}" if port_name else "the port"
    if total >= MAX_ENDPOINTS:
        return Diagnostic(
            code=DiagnosticCode.ENDPOINTS_TOO_MANY,
            severity="warning",
            object=key,
            field="spec.ports",
            message=f"{port} has {MAX_ENDPOINTS} endpoints or more",
            consequence=f"the first {MAX_ENDPOINTS} in order of address are served",
            remedy="split the Service",
        )
    if usable(endpoints):
        return None
    consequence = "requests that are routed to it get 503"
    if total:
        message = f"none of the {total} endpoints of {port} is ready"
        if total == 1:
            message = f"the only endpoint of {port} is not ready"
        remedy = "look at the readiness of the Pods"
    elif not readings:
        return Diagnostic(
            code=DiagnosticCode.SERVICE_WITHOUT_ENDPOINTS,
            severity="hint",
            object=key,
            message="there is no EndpointSlice for the Service",
            consequence=consequence,
            remedy="in a cluster they appear by themselves when Pods match the selector; in a "
            f"folder, add one with the label kubernetes.io/service-name: {service.name}",
        )
    else:
        names = sorted({name for reading in readings for name in reading.by_port})
        others = [name for name in names if name != port_name]
        message = f"no EndpointSlice has endpoints for {port}"
        remedy = "check that Pods match the selector of the Service"
        if others:
            shown = ", ".join(quoted(name) for name in others[:5])
            remedy = (
                f"the slices have endpoints for {shown}: the port of a slice must have the name "
                f"of the Service port, {quoted(port_name)}"
            )
    return Diagnostic(
        code=DiagnosticCode.SERVICE_WITHOUT_ENDPOINTS,
        severity="warning",
        object=key,
        field="spec.ports",
        message=message,
        consequence=consequence,
        remedy=remedy,
    )
