"""What the translation needs to know beside the objects."""

import msgspec

from tls.certificate import CertificatePair
from tls.policy import Profile


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
    denied_addresses: tuple[str, ...] = ()
    """Addresses, networks and DNS names that are never endpoints, whatever the port: those of the
    API server and our own."""
    allow_shared_hosts: bool = True
    """Ingresses of several namespaces may share a host. Off, a host belongs to the namespace of the
    oldest Ingress that claims it."""
    catch_all_namespaces: tuple[str, ...] = ()
    """Namespaces whose Ingresses may claim the hosts that nobody names; empty: all may."""
    http_port: int = 80
    """The port that clients use for HTTP."""
    https: bool = False
    """HTTPS is served. Without it, what objects say about clients' TLS has no effect, and what asks
    for client certificates is closed."""
    https_port: int = 443
    """The port that clients use for HTTPS."""
    ssl_redirect: bool = True
    """Plain requests for hosts with TLS are redirected, where their Ingress does not say."""
    hsts: str = ""
    """Value of Strict-Transport-Security for hosts with TLS, where their Ingress does not say."""
    force_ssl_redirect: bool = False
    """Plain requests for hosts without TLS are redirected, too, where their Ingress does not say:
    something in front of us ends TLS."""
    tls_profile: Profile = "intermediate"
    """For all hosts whose Ingress does not say."""
    config: str = ""
    """``namespace/name`` of the ConfigMap that replaces some of these options (`config`)."""
    default_tls_secret: str = ""
    """``namespace/name`` of the Secret whose pair is the default certificate, while it is good."""
    default_certificate: CertificatePair | None = None
    """The default certificate without such a Secret: self-signed. None only where nobody shakes
    hands, as in `check`."""
