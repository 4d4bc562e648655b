"""Ingress and IngressClass of `networking.k8s.io/v1`."""

from typing import Literal

import msgspec

from ingress_controller.objects.meta import Named, ObjectMeta


class ServiceBackendPort(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Port of a Service, by name or by number: exactly one of both in a valid object."""

    name: Named = ""
    number: int = 0


class ServiceBackend(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """`backend.service`."""

    name: Named
    port: ServiceBackendPort = ServiceBackendPort()


class ResourceBackend(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """`backend.resource`: an object of the same namespace that is no Service."""

    kind: Named
    name: Named
    api_group: str = ""


class Backend(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Exactly one of both in a valid object."""

    service: ServiceBackend | None = None
    resource: ResourceBackend | None = None


class HTTPPath(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """One of `spec.rules[].http.paths[]`.

    ``path_type`` is any text: a path with a type that we do not know harms only itself.
    """

    backend: Backend = Backend()
    path: str = ""
    path_type: Named = ""


class HTTPRule(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """`spec.rules[].http`."""

    paths: tuple[HTTPPath, ...] = ()


class Rule(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """One of `spec.rules[]`."""

    host: str = ""
    http: HTTPRule | None = None


class IngressTLS(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """One of `spec.tls[]`."""

    hosts: tuple[str, ...] = ()
    secret_name: str = ""


class IngressSpec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """`spec`."""

    ingress_class_name: Named = ""
    default_backend: Backend | None = None
    rules: tuple[Rule, ...] = ()
    tls: tuple[IngressTLS, ...] = ()


class Ingress(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Rules that send HTTP requests to Services."""

    metadata: ObjectMeta
    spec: IngressSpec = IngressSpec()


class IngressStatus(msgspec.Struct, frozen=True, gc=False):
    """What the API has of an Ingress beside what it asks for; never part of an `Ingress`.

    So a status that is written changes no object.
    """

    uid: str
    addresses: tuple[str, ...]
    """Addresses and names of `status.loadBalancer.ingress`, sorted."""


class ClassParameters(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """`IngressClass.spec.parameters`."""

    kind: str = ""
    name: str = ""
    api_group: str = ""
    scope: Literal["Cluster", "Namespace"] = "Cluster"
    namespace: Named = ""
    """Set exactly when the scope is ``Namespace``."""


class IngressClassSpec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """`IngressClass.spec`."""

    controller: Named = ""
    parameters: ClassParameters | None = None


class IngressClass(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Says which controller serves the Ingresses of a class. Cluster-scoped."""

    metadata: ObjectMeta
    spec: IngressClassSpec = IngressClassSpec()
