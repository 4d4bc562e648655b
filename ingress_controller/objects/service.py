"""Service of `v1`."""

from typing import Annotated

import msgspec

from ingress_controller.objects.meta import Named, ObjectMeta


class ServicePort(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """One of `spec.ports[]`; the name is empty only when it is the single port."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    name: Named = ""
    protocol: Named = "TCP"
    app_protocol: Named = ""
    target_port: int | str = 0
    """Read for advice only: EndpointSlices carry the resolved port."""


class ServiceSpec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """`spec`."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    """``None`` for a headless Service; routing is the same for both, `explain` shows it."""
    ports: tuple[ServicePort, ...] = ()
    external_name: str = ""
    external_ips: tuple[str, ...] = msgspec.field(default=(), name="externalIPs")
    """Read for the status of Ingresses; routing is the same with and without."""
    selector: dict[str, str] = {}


class LoadBalancerIngress(
    msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False
):
    """One of `status.loadBalancer.ingress[]`: an address, a name, or both."""

    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """`status.loadBalancer`."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """`status`, which an Ingress has in the same form."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """A named set of ports; its endpoints come in EndpointSlices."""

    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()
