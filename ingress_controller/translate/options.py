"""What the translation needs to know beside the objects."""

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Part of the input of `translate`: equal objects and equal options give equal snapshots."""

    ingress_classes: tuple[str, ...] = ("python",)
    """Class names that are ours where no IngressClass object of that name says otherwise."""
    controllers: tuple[str, ...] = ("python-ingress.dev/controller",)
    """Values of ``IngressClass.spec.controller`` that mean us."""
    watch_ingress_without_class: bool = False
    """Serve Ingresses that name no class, even if no class of ours is the default one."""
    allow_external_name: bool = False
    """Serve Services of type ExternalName. Off, because whoever may write a Service could then
    reach any name that the workers can reach."""
    allow_local_endpoints: bool = False
    """Serve endpoints on loopback, link-local and unspecified addresses. An API server never has
    them except by an attack; a folder of manifests on a laptop has nothing else."""
    http_port: int = 80
    """The port that clients use for HTTP."""
