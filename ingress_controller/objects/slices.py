"""EndpointSlice of `discovery.k8s.io/v1`, and its ancestor, Endpoints of `v1`."""

import msgspec

from ingress_controller.objects.meta import Named, ObjectMeta

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
"""Label of an EndpointSlice that names its Service."""


class EndpointConditions(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """None is "unknown"; `translate.endpoints` says what each unknown means."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """One of `endpoints[]`. The addresses are equivalent; consumers may use the first alone."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    node_name: Named = ""
    """The node that it runs on, where there is one."""


class SlicePort(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """One of `ports[]`; the name is that of the Service port, the number the target's."""

    name: Named = ""
    port: int | None = None
    protocol: Named = "TCP"


class EndpointSlice(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """A part of the endpoints of one Service."""

    metadata: ObjectMeta
    address_type: Named = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()


class EndpointAddress(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """One address of an Endpoints object."""

    ip: str


class EndpointSubset(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Every address of the subset serves every port of it."""

    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[SlicePort, ...] = ()


class Endpoints(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """All endpoints of the Service of the same name."""

    metadata: ObjectMeta
    subsets: tuple[EndpointSubset, ...] = ()
