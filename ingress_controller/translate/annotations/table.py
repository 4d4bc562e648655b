"""Every annotation that has an effect here, and the few that are known to have none and matter."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from ingress_controller.translate.annotations import parsers

OnBad = Literal["ignored", "on", "closes"]
"""What a value that cannot be read means. ``on``: as if it were true, because that is the safe
side. ``closes``: the routes of the Ingress answer 503."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One annotation."""

    name: str
    """Without prefix."""
    parse: Callable[[str], Any]
    """As in `parsers`."""
    values: str
    """For the docs."""
    default: str
    nginx: bool
    """ingress-nginx has one of this name with this meaning, so its prefix is read, too."""
    on_bad: OnBad
    text: str


def _row(
    name: str,
    parse: Callable[[str], Any],
    values: str,
    default: str,
    on_bad: OnBad,
    text: str,
    *,
    nginx: bool = True,
) -> Row:
    return Row(
        name=name,
        parse=parse,
        values=values,
        default=default,
        nginx=nginx,
        on_bad=on_bad,
        text=text,
    )


ROWS: tuple[Row, ...] = (
    _row(
        "ssl-redirect",
        parsers.boolean,
        "true, false",
        "that of the class, or `--ssl-redirect`",
        "on",
        "Answer plain requests for hosts with TLS by 308 to the https URL. Paths under "
        "`/.well-known/acme-challenge/` are never redirected. Hosts that demand client "
        "certificates, and hosts that are passed through, always redirect.",
    ),
    _row(
        "force-ssl-redirect",
        parsers.boolean,
        "true, false",
        "that of the class, or false",
        "on",
        "Redirect hosts without TLS, too: for a load balancer in front that ends TLS and sends "
        "X-Forwarded-Proto from an address in `--trusted-proxies`.",
    ),
    _row(
        "ssl-passthrough",
        parsers.boolean,
        "true, false",
        "false",
        "closes",
        "Do not end TLS for the hosts of the Ingress: connections go, by the server name that "
        "the client asks for, to the backend of path `/`, or to the default backend. Other paths "
        "have no effect, as nobody can see them. The oldest Ingress of a host decides.",
    ),
    _row(
        "auth-tls-secret",
        parsers.reference,
        "Secret",
        "",
        "closes",
        "Clients must show a certificate that an authority in `ca.crt` of this Secret issued. The "
        "Secret is in the namespace of the Ingress; `namespace/name` is read, but another "
        "namespace is refused. It holds for the whole host, during the handshake.",
    ),
    _row(
        "auth-tls-configmap",
        parsers.reference,
        "ConfigMap",
        "",
        "closes",
        "The same with the authorities in `ca.crt` of a ConfigMap: they are no secret.",
        nginx=False,
    ),
    _row(
        "auth-tls-verify-client",
        parsers.verify_client,
        "on, optional, off",
        "on",
        "closes",
        "`on`: no certificate, no handshake. `optional`: a client without certificate is let in, "
        "one with a bad certificate is not. `optional_no_ca` is read as `optional`, which is "
        "stricter: no unverified certificate gets in.",
    ),
    _row(
        "auth-tls-verify-depth",
        parsers.depth,
        "0 to 100",
        "no bound of ours",
        "closes",
        "Intermediate authorities allowed between a client's certificate and one in `ca.crt`. "
        "(ingress-nginx allows one by default.)",
    ),
    _row(
        "auth-tls-pass-certificate-to-upstream",
        parsers.boolean,
        "true, false",
        "false",
        "ignored",
        "Send the whole client certificate to the backend (PEM, percent-encoded), beside what is "
        "always sent about a verified one.",
    ),
    _row(
        "auth-tls-error-page",
        parsers.anything,
        "",
        "",
        "ignored",
        "Not supported: a handshake that fails cannot be answered by a page.",
    ),
    _row(
        "auth-tls-match-cn",
        parsers.anything,
        "",
        "",
        "closes",
        "Not supported, and as it is meant to keep clients out, the host is closed (503) while "
        "it is there. Compare the subject, which the backend gets in a header, in the backend.",
    ),
    _row(
        "backend-protocol",
        parsers.protocol,
        "HTTP, HTTPS",
        "the Service's `appProtocol`",
        "closes",
        "How backends are spoken to. It wins over `appProtocol`. GRPC and GRPCS are sent as "
        "HTTP/1.1 without and with TLS (with a warning), AUTO_HTTP has no effect, FCGI is not "
        "served.",
    ),
    _row(
        "proxy-ssl-secret",
        parsers.reference,
        "Secret",
        "",
        "closes",
        "For https backends: `ca.crt` of the Secret holds the authorities that their "
        "certificates must come from, `tls.crt` and `tls.key` the certificate that we show them; "
        "one of the two may be missing. Same namespace only.",
    ),
    _row(
        "proxy-ssl-verify",
        parsers.switch,
        "on, off",
        "on",
        "on",
        "Verify the certificates of https backends. **ingress-nginx does not by default; we do**, "
        "against the system's authorities or those of `proxy-ssl-secret`. `off` takes any "
        "certificate of anybody, and is warned of.",
    ),
    _row(
        "proxy-ssl-verify-depth",
        parsers.depth,
        "0 to 100",
        "no bound of ours",
        "closes",
        "Intermediate authorities allowed in the chain of an https backend. (ingress-nginx allows "
        "one by default.)",
    ),
    _row(
        "proxy-ssl-name",
        parsers.server_name,
        "DNS name",
        "`service.namespace.svc`",
        "closes",
        "Name that is sent to https backends (SNI) and that their certificates must cover. "
        "Without it, the name of the Service in the cluster, or the external name of an "
        "ExternalName Service.",
    ),
    _row(
        "proxy-ssl-server-name",
        parsers.switch,
        "on",
        "on",
        "ignored",
        "`off` has no effect: a name that is verified is sent, too (SNI).",
    ),
    _row(
        "hsts",
        parsers.boolean,
        "true, false",
        "that of the class, or `--hsts`",
        "ignored",
        "Send Strict-Transport-Security on answers over https of hosts with TLS.",
        nginx=False,
    ),
    _row(
        "hsts-max-age",
        parsers.seconds,
        "seconds",
        "31536000",
        "ignored",
        "How long browsers shall remember it; 0 tells them to forget. It means `hsts: true`, as "
        "the next two do.",
        nginx=False,
    ),
    _row(
        "hsts-include-subdomains",
        parsers.boolean,
        "true, false",
        "true",
        "ignored",
        "Say that it holds for all subdomains, too.",
        nginx=False,
    ),
    _row(
        "hsts-preload",
        parsers.boolean,
        "true, false",
        "false",
        "ignored",
        "Say that browsers may have the host built in.",
        nginx=False,
    ),
    _row(
        "tls-profile",
        parsers.profile,
        "intermediate, modern",
        "that of the class, or `--tls-profile`",
        "closes",
        "Mozilla's profile for clients of the hosts: TLS 1.2 and 1.3, or 1.3 alone. Where "
        "Ingresses of a host differ, `modern` wins.",
        nginx=False,
    ),
    _row(
        "canary",
        parsers.boolean,
        "true, false",
        "false",
        "on",
        "Traffic is not split by this version. So that a canary never takes what belongs to its "
        "main Ingress, however old it is, an Ingress that says `true` claims nothing: all requests "
        "go to the main one.",
    ),
    _row(
        "allow-hosts-from",
        parsers.namespaces,
        "namespaces",
        "none",
        "ignored",
        "Namespaces whose Ingresses may claim precise hosts below the wildcard hosts of this "
        "Ingress, separated by commas, or `*` for all. It has a meaning where namespaces do not "
        "share hosts (`--no-allow-shared-hosts`).",
        nginx=False,
    ),
)

BY_NAME = {row.name: row for row in ROWS}
