"""A backend's Service and port become an upstream, or an answer that says why not.

Every type of Service is a backend (ClusterIP, NodePort, LoadBalancer, headless, without selector):
requests go straight to its endpoints. ExternalName has none: its name is the endpoint, and since
whoever may write a Service could so reach whatever the workers can reach, it is off by default and
never leads to the local machine, a link-local address or a cloud's metadata service.

A port is spoken to over https when its appProtocol says so, or an annotation of the Ingress. Then
certificates are verified, against the system's authorities where no Secret names others, and must
cover ``service.namespace.svc``: what cert-manager and OpenShift's service CA put into certificates
of Services, and what the Service is called in every pod of the cluster. An ExternalName is verified
under its external name.
"""

import hashlib
from collections.abc import Collection
from typing import NamedTuple

import msgspec

from ingress_controller.objects.meta import ObjectKey, quoted
from ingress_controller.objects.service import Service, ServicePort
from ingress_controller.store import Name
from ingress_controller.translate.addresses import Guard, external_address
from ingress_controller.translate.annotations.unused import SOLVER_LABEL
from ingress_controller.translate.diagnostics import DiagnosticCode, Severity
from ingress_controller.translate.ingress import DEAD_PATH, BackendReference
from ingress_controller.translate.options import Options
from ingress_controller.translate.secrets import SecretFault, Secrets
from router.model.snapshot import Answer, Backend, Forward
from router.model.upstreams import Upstream, UpstreamKey, UpstreamProtocol
from tls.certificate import CertificatePair
from tls.names import normalise
from tls.policy import Authorities, UpstreamTls

EXTERNAL_NAME = "ExternalName"
API_SERVER = ("default", "kubernetes")
"""The Service that every cluster has for its API server."""


class Problem(msgspec.Struct, frozen=True, gc=False):
    """A finding about a backend; whoever names the backend becomes the object of a diagnostic."""

    code: DiagnosticCode
    severity: Severity
    field: str
    """Field inside the backend; one that begins with ``metadata.`` is of the object itself."""
    message: str
    consequence: str
    remedy: str


class Resolution(msgspec.Struct, frozen=True, gc=False):
    """Where a backend leads."""

    action: Forward | Answer
    upstream: Upstream | None = None
    port: ServicePort | None = None
    problem: Problem | None = None
    authorities: Authorities | None = None
    """What the upstream's profile names, and the next."""
    client: CertificatePair | None = None
    solver: bool = False
    """cert-manager made the Service for an ACME challenge."""


class _Protocol(NamedTuple):
    """How we serve an appProtocol: spoken as which protocol of ours."""

    spoken: UpstreamProtocol
    problem: str = ""
    consequence: str = ""


_AS_HTTP1 = "requests are sent to it as HTTP/1.1, which it may refuse"
_PROTOCOLS: dict[str, _Protocol] = {
    "": _Protocol("http"),
    "http": _Protocol("http"),
    "kubernetes.io/ws": _Protocol("http"),
    "kubernetes.io/h2c": _Protocol("http", "cleartext HTTP/2 is not spoken yet", _AS_HTTP1),
    "grpc": _Protocol("http", "gRPC needs HTTP/2, which is not spoken yet", _AS_HTTP1),
    "h2c": _Protocol("http", "cleartext HTTP/2 is not spoken yet", _AS_HTTP1),
    "https": _Protocol("https"),
    "kubernetes.io/wss": _Protocol("https"),
    "wss": _Protocol("https"),
}
"""By appProtocol in lower case: the standard values of the API, and the common IANA names."""
_OTHER_PROTOCOL = _Protocol("http", "this protocol is unknown here", _AS_HTTP1)


def resolve(
    reference: BackendReference,
    service: Service | None,
    elsewhere: Collection[str],
    secrets: Secrets,
    guard: Guard,
    options: Options,
) -> Resolution:
    """Where a backend leads.

    ``service`` is None when there is none; ``elsewhere`` names the namespaces that have a Service
    of that name.
    """
    if service is None:
        return _dead(_missing(reference, elsewhere))
    if (reference.namespace, reference.service) == API_SERVER:
        return _dead(_api_server(reference))
    external = service.spec.type == EXTERNAL_NAME
    if external:
        problem = _external_problem(reference, service.spec.external_name, guard, options)
        if problem is not None:
            return _dead(problem)
    port = _port(reference, service)
    if isinstance(port, Problem):
        return _dead(port)
    wish = reference.wish
    protocol = _PROTOCOLS.get(port.app_protocol.lower(), _OTHER_PROTOCOL)
    if wish.protocol is not None:
        protocol = _Protocol(wish.protocol)
    problem = _protocol_problem(reference, port, protocol) if protocol.problem else None
    profile: _Profile | Problem = _IN_CLEAR
    if protocol.spoken == "https":
        profile = _profile(reference, service, secrets)
    if isinstance(profile, Problem):
        return _dead(profile)
    upstream = Upstream(
        key=_key_with(profile.tls, upstream_key(reference.namespace, reference.service, port.port)),
        namespace=reference.namespace,
        service=reference.service,
        port=port.name or str(port.port),
        protocol=protocol.spoken,
        tls=profile.tls,
    )
    return Resolution(
        Forward((Backend(upstream.key),)),
        upstream,
        port,
        problem,
        profile.authorities,
        profile.client,
        SOLVER_LABEL in service.metadata.labels,
    )


def upstream_key(namespace: str, service: str, port: int) -> UpstreamKey:
    """The name of an upstream in snapshots, spoken to in clear."""
    return f"{namespace}/{service}:{port}"


def _key_with(tls: UpstreamTls | None, key: UpstreamKey) -> UpstreamKey:
    """The key says how the upstream is spoken to: what one Ingress wants of a Service never holds
    for another, and a connection never outlives the settings that it was opened under."""
    if tls is None:
        return key
    digest = hashlib.sha256(msgspec.msgpack.encode(tls)).hexdigest()
    return f"{key}+https-{digest[:12]}"


class _Profile(NamedTuple):
    """How an upstream is spoken to, and what that names."""

    tls: UpstreamTls | None = None
    authorities: Authorities | None = None
    client: CertificatePair | None = None


_IN_CLEAR = _Profile()


def _profile(reference: BackendReference, service: Service, secrets: Secrets) -> _Profile | Problem:
    """How an https upstream is spoken to: never unverified without an explicit wish."""
    wish = reference.wish
    name = f"{reference.service}.{reference.namespace}.svc"
    if service.spec.type == EXTERNAL_NAME:
        external = external_address(service.spec.external_name)
        name = normalise(external) or ""  # an address is verified as the one that is dialled
    bundle = client = None
    if wish.secret:
        secret = Name(reference.namespace, wish.secret)
        key = ObjectKey("Secret", *secret)
        known, read = secrets.holds_authorities(secret), secrets.authorities(key)
        if read is None:
            return _secret_problem(reference, "it does not exist", "create it")
        pair = secrets.pair(secret, "client") if secrets.holds_pair(secret) else None
        for fault in (read.fault if known else None, None if pair is None else pair.fault):
            if fault is not None:
                return _faulty_secret(reference, fault)
        if not known and pair is None:
            return _secret_problem(
                reference, "it holds neither authorities nor a pair", "add ca.crt, or remove it"
            )
        bundle, client = read.authorities, None if pair is None else pair.pair
    tls = UpstreamTls(
        server_name=wish.server_name or name,
        verify=wish.verify,
        authorities=None if bundle is None else bundle.digest,
        client_certificate=None if client is None else client.digest,
        verify_depth=wish.verify_depth,
    )
    return _Profile(tls, bundle, client)


def _faulty_secret(reference: BackendReference, fault: SecretFault) -> Problem:
    return _secret_problem(reference, f"{fault.field}: {fault.message}", fault.remedy)


def _secret_problem(reference: BackendReference, what: str, remedy: str) -> Problem:
    wish = reference.wish
    return Problem(
        DiagnosticCode.BACKEND_SECRET_UNUSABLE,
        "error",
        wish.secret_field,
        f"Secret {reference.namespace}/{wish.secret} for https backends cannot be used: {what}",
        f"{DEAD_PATH}: nothing is sent unverified",
        remedy,
    )


def _dead(problem: Problem) -> Resolution:
    return Resolution(Answer(503, problem.message), problem=problem)


def _port(reference: BackendReference, service: Service) -> ServicePort | Problem:
    """The port that a reference means, by number or by name; only TCP carries HTTP/1.1."""
    ports = service.spec.ports
    number, name = reference.port_number, reference.port_name
    candidates = [p for p in ports if (p.port == number if number else p.name == name)]
    for port in candidates:
        if port.protocol == "TCP":
            return port
    if service.spec.type == EXTERNAL_NAME and not ports and 0 < number < 65536:
        return ServicePort(port=number)  # such a Service needs no ports; the number says it all
    wanted = f"port {number}" if number else f"port {quoted(name)}"
    if candidates:
        message = f"{wanted} of Service {reference.service} is {candidates[0].protocol}, not TCP"
    else:
        message = f"Service {reference.service} has no {wanted}"
    return Problem(
        DiagnosticCode.SERVICE_PORT_MISSING,
        "error",
        "service.port",
        message,
        DEAD_PATH,
        _port_remedy(reference, ports),
    )


def _port_remedy(reference: BackendReference, ports: Collection[ServicePort]) -> str:
    tcp = [port for port in ports if port.protocol == "TCP"]
    for port in tcp:
        if reference.port_name and port.name.lower() == reference.port_name.lower():
            return f"write {quoted(port.name)}: port names have no capitals"
        wanted = reference.port_name or reference.port_number
        if port.target_port == wanted:
            shown = f"{port.port} ({port.name})" if port.name else str(port.port)
            return f"{wanted} is a target port; write the Service's own port, {shown}"
    if reference.port_name.isdigit() and any(p.port == int(reference.port_name) for p in tcp):
        return f"write port.number: {reference.port_name}, not port.name"
    shown = ", ".join(f"{p.port} ({p.name})" if p.name else str(p.port) for p in tcp[:10])
    return f"use one of its TCP ports: {shown}" if shown else "add the port to the Service"


def _missing(reference: BackendReference, elsewhere: Collection[str]) -> Problem:
    remedy = "create the Service, or correct the name"
    if elsewhere:
        where = " and ".join(sorted(elsewhere)[:3])
        remedy = (
            f"a Service of this name exists in namespace {where}, but a backend must be in the "
            "Ingress's own namespace: move one of them"
        )
    return Problem(
        DiagnosticCode.SERVICE_MISSING,
        "error",
        "service.name",
        f"there is no Service {reference.service} in namespace {reference.namespace}",
        DEAD_PATH,
        remedy,
    )


def _protocol_problem(
    reference: BackendReference, port: ServicePort, protocol: _Protocol
) -> Problem:
    return Problem(
        DiagnosticCode.PROTOCOL_DEGRADED,
        "warning",
        "service.port",
        f"port {port.name or port.port} of Service {reference.service} has appProtocol "
        f"{quoted(port.app_protocol)}: {protocol.problem}",
        protocol.consequence,
        "serve HTTP/1.1 on the port and remove appProtocol",
    )


def _api_server(reference: BackendReference) -> Problem:
    return Problem(
        DiagnosticCode.SERVICE_REFUSED,
        "error",
        "service.name",
        f"Service {reference.service} is the API server of the cluster",
        f"{DEAD_PATH}: it is never served",
        "name another Service",
    )


def _external_problem(
    reference: BackendReference, name: str, guard: Guard, options: Options
) -> Problem | None:
    if not options.allow_external_name:
        return Problem(
            DiagnosticCode.EXTERNAL_NAME_OFF,
            "error",
            "service.name",
            f"Service {reference.service} is of type ExternalName, which is not served",
            DEAD_PATH,
            "start with --allow-external-name, if everyone who may write Services may reach "
            "whatever this controller can reach",
        )
    why = guard.refused_name(name)
    if why is None:
        return None
    return Problem(
        DiagnosticCode.EXTERNAL_NAME_REFUSED,
        "error",
        "service.name",
        f"Service {reference.service} has externalName {quoted(name)}: {why}",
        DEAD_PATH,
        "set externalName to a DNS name outside of this machine",
    )
