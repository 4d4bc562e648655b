"""What the annotations of one Ingress come to. Values only."""

from typing import Literal

import msgspec

from router.model.upstreams import UpstreamProtocol
from tls.policy import ClientCertificates, Profile

PREFIX = "python-ingress.dev/"
NGINX_PREFIX = "nginx.ingress.kubernetes.io/"

AuthoritiesKind = Literal["Secret", "ConfigMap"]


class ClientDemand(msgspec.Struct, frozen=True, gc=False):
    """An Ingress wants clients of its hosts to show certificates."""

    mode: ClientCertificates
    kind: AuthoritiesKind = "Secret"
    """Kind of the object, in the Ingress's namespace, whose ``ca.crt`` holds the authorities."""
    name: str = ""
    verify_depth: int | None = None
    field: str = ""
    """Where the authorities are named."""
    problem: str = ""
    """Why the demand cannot be met, whatever other objects say: the hosts are closed then."""


class BackendWish(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How an Ingress wants its backends to be spoken to."""

    protocol: UpstreamProtocol | None = None
    """None: as the Service's appProtocol says."""
    secret: str = ""
    """Of the Ingress's namespace; its ``ca.crt`` and its pair are used, where they are there."""
    secret_field: str = ""
    verify: bool = True
    verify_depth: int | None = None
    server_name: str = ""
    """Empty: the name of the Service."""


class IngressSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Typed values of all annotations; a default each where there is none."""

    ssl_redirect: bool | None = None
    """None: as the class says, or the options."""
    force_ssl_redirect: bool | None = None
    """Redirect hosts without TLS, too: something in front of us ends it; None: as above."""
    passthrough: bool = False
    clients: ClientDemand | None = None
    pass_client_certificate: bool = False
    hsts: str | None = None
    """Value of the field; empty sends none; None: as above."""
    tls_profile: Profile | None = None
    backend: BackendWish = BackendWish()
    allow_hosts_from: tuple[str, ...] = ()
    """Namespaces that may claim hosts below the Ingress's wildcards; ``*`` stands for all."""
    canary: bool = False
    """Its rules belong to another Ingress, of whose traffic it wants a share: it claims nothing."""
    closed: str = ""
    """Why all routes of the Ingress answer 503; empty when they do not."""


def hsts_value(
    *,
    on: bool | None,
    max_age: int | None,
    include_subdomains: bool | None,
    preload: bool | None,
) -> str | None:
    """The value of Strict-Transport-Security that these make (RFC 6797 §6.1).

    Empty when none is sent; None when nothing is said. The defaults are ingress-nginx's.
    """
    if on is False:
        return ""
    if on is None and max_age is None and include_subdomains is None and preload is None:
        return None
    directives = [f"max-age={31_536_000 if max_age is None else max_age}"]
    if include_subdomains is not False:
        directives.append("includeSubDomains")
    if preload:
        directives.append("preload")
    return "; ".join(directives)


def field_of(name: str) -> str:
    """The field path of an annotation."""
    return f"metadata.annotations[{name}]"
