"""Settings of the control process, by topic; nothing else reads flags or the environment.

Limits and options of a worker stand in `router.model`, because the workers get them as they are.
Each field has the docstring that users read in ``--help`` and in ``docs/reference.md``.
"""

import argparse
import itertools
import os
import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from ingress_controller.flags import PREFIX, UsageError, add_flags, flags_of, read
from ingress_controller.translate.annotations.settings import hsts_value
from ingress_controller.translate.options import Options as TranslationOptions
from router.model.limits import Limits
from router.model.wire import Options as WorkerOptions
from tls.certificate import CertificatePair
from tls.policy import Profile

Folder = Annotated[str, msgspec.Meta(extra={"kind": "folder"})]
Address = Annotated[str, msgspec.Meta(extra={"kind": "address"})]
Port = Annotated[int, msgspec.Meta(extra={"kind": "port"})]
PortOrOff = Annotated[int | None, msgspec.Meta(extra={"kind": "port-or-off"})]
ObjectName = Annotated[str, msgspec.Meta(extra={"kind": "object-name"})]
Namespace = Annotated[str, msgspec.Meta(extra={"kind": "namespace"})]
PublishedAddress = Annotated[str, msgspec.Meta(extra={"kind": "address-or-name"})]
KubeconfigPath = Annotated[str, msgspec.Meta(extra={"kind": "file"})]
Grace = Annotated[float, msgspec.Meta(ge=0, extra={"kind": "duration"})]
Workers = Annotated[int, msgspec.Meta(ge=1, le=256, extra={"kind": "count"})]


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What is served, and where."""

    manifests: tuple[Folder, ...] = ()
    """Folder of Kubernetes YAML or JSON, subfolders included, to be served instead of a cluster.
    May be repeated; in the environment, folders are separated by colons. A changed file is served
    within a second."""
    bind: tuple[Address, ...] = ()
    """Addresses that clients reach. None: all, of IPv4 and, where the system has it, of IPv6."""
    http_port: Port = 8080
    """Port for HTTP. Below 1024 a right is needed that containers often lack, hence 8080."""
    https_port: PortOrOff = 8443
    """Port for HTTPS; ``off`` serves none, 0 is any free port."""
    workers: Workers = 1
    """Worker processes; each uses one core."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Which cluster is watched, and how much of it. Not together with --manifests."""

    kubeconfig: KubeconfigPath | None = None
    """File that says how to reach the cluster. None: with --context, what kubectl would read
    ($KUBECONFIG or ~/.kube/config); else the pod's own service account."""
    context: str | None = None
    """Context of the kubeconfig. None: its current one."""
    watch_namespace: tuple[Namespace, ...] = ()
    """Namespaces to serve, 200 at most; Roles in them are enough then. May be repeated. None: all.
    """
    secrets: Literal["tls", "named"] = "tls"
    """``tls`` reads all Secrets of type kubernetes.io/tls, and others only when a rule names them;
    ``named`` reads no Secret that no rule names, so that RBAC can list them one by one."""


class Publishing(msgspec.Struct, frozen=True, kw_only=True):
    """What is written into the cluster: the status of Ingresses, Events, and who writes."""

    publish_status: bool = True
    """Write the published addresses into the status of the Ingresses that are served. Turn it off
    to run beside another controller of the same classes."""
    publish_service: ObjectName | None = None
    """Service of type LoadBalancer whose addresses are published."""
    publish_address: tuple[PublishedAddress, ...] = ()
    """Addresses or host names to publish instead. May be repeated."""
    publish_nodes: Literal["off", "internal", "external"] = "off"
    """Publish instead the addresses of the nodes that run a ready pod of --publish-service."""
    clear_status_on_shutdown: bool = False
    """Remove the published addresses when the replica that writes them ends. Off: a restart is no
    outage, and DNS records that were made from the status stay."""
    events: bool = True
    """Tell the owners of Ingresses by Events what is wrong with them."""
    leader_elect: bool = True
    """Let one replica alone write, elected by a Lease. Off: every replica writes."""
    lease: ObjectName | None = None
    """The Lease. None: python-ingress-leader in the pod's namespace."""


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """Which Ingress objects are ours, and what they may ask for."""

    ingress_class: tuple[str, ...] = ()
    """Names of classes to serve even where no IngressClass object of that name is known. May be
    repeated. None: ``python`` for folders of manifests; in a cluster the objects alone count."""
    controller: tuple[str, ...] = ("python-ingress.dev/controller",)
    """Values of spec.controller of the IngressClass objects to serve. May be repeated."""
    watch_ingress_without_class: bool = False
    """Serve Ingresses that name no class at all."""
    config: ObjectName | None = None
    """ConfigMap with options that may change while the program runs; see docs/configmap.md."""
    allow_external_name: bool = False
    """Serve Services of type ExternalName. Off: whoever may write a Service could reach any name
    that this process can reach."""
    allow_shared_hosts: bool = False
    """Serve a host from Ingresses of several namespaces. Off: it belongs to the namespace of its
    oldest Ingress, so that nobody can take paths of somebody else's host."""
    catch_all_namespace: tuple[Namespace, ...] = ()
    """Namespaces whose Ingresses may serve hosts that nobody names. May be repeated. None: all."""
    published_http_port: Port | None = None
    """The port that clients use, for X-Forwarded-Port, when a load balancer or Service maps it.
    None: the same as --http-port."""


class Https(msgspec.Struct, frozen=True, kw_only=True):
    """Certificates, and what hosts with TLS are told."""

    published_https_port: Port | None = None
    """The port that clients use for HTTPS, for redirects and X-Forwarded-Port, when a load balancer
    or Service maps it. None: the same as --https-port."""
    default_tls_secret: ObjectName | None = None
    """TLS Secret whose certificate answers for names that have none of their own. None, or while
    there is no such Secret: a self-signed certificate, made at each start."""
    certificate_grace: Grace = 300.0
    """After its Secret was deleted, a certificate serves on for so long: people delete a Secret to
    have it issued again."""
    ssl_redirect: bool = True
    """Answer plain requests for hosts with TLS by 308 to the https URL. An Ingress may say
    otherwise by annotation."""
    hsts: bool = False
    """Send Strict-Transport-Security on answers over HTTPS of hosts with TLS. Off: browsers
    remember it, so a mistake cannot be taken back."""
    hsts_max_age: Grace = 31536000.0
    """How long browsers shall remember it; 0 tells them to forget."""
    hsts_include_subdomains: bool = True
    """Say that it holds for all subdomains, too."""
    hsts_preload: bool = False
    """Say that browsers may have the host built in."""
    tls_profile: Profile = "intermediate"
    """Mozilla's profile for clients: TLS 1.2 and 1.3, or 1.3 alone. An Ingress may say otherwise by
    annotation."""


class Admin(msgspec.Struct, frozen=True, kw_only=True):
    """The port for probes, metrics and questions."""

    admin_bind: tuple[Address, ...] = ("127.0.0.1",)
    """Addresses of the admin port. It is read-only, but shows every route: do not publish it. In
    the environment, an empty value means all."""
    admin_port: Port = 10254
    """Port for /healthz, /readyz, /metrics, /routes and /explain; the same as ingress-nginx's."""


class Logging(msgspec.Struct, frozen=True, kw_only=True):
    """The log of the control process, on standard error."""

    log_format: Literal["json", "text", "off"] = "text"
    """One JSON object a line for machines, text for people, or nothing."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important level that is written."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `run` needs to know."""

    serving: Serving = Serving()
    cluster: Cluster = Cluster()
    publishing: Publishing = Publishing()
    translation: Translation = Translation()
    https: Https = Https()
    worker: WorkerOptions = WorkerOptions()
    limits: Limits = Limits()
    admin: Admin = Admin()
    logging: Logging = Logging()


MAX_NAMESPACES = 200
"""To be watched one by one: each takes four connections to the API server, of about a thousand."""
_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|(SERVICE_)?PORT(_.*)?)$")

FOLDER_CLASSES = ("python",)
"""Classes that folders of manifests may name without an IngressClass object."""

TOPICS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("serving", Serving),
    ("cluster", Cluster),
    ("what is written into the cluster", Publishing),
    ("which objects are served", Translation),
    ("certificates and HTTPS", Https),
    ("behaviour towards clients and backends", WorkerOptions),
    ("admin port", Admin),
    ("log", Logging),
    ("limits and time-outs", Limits),
)


def run_flags(parser: argparse.ArgumentParser) -> None:
    """Adds every flag."""
    for title, cls in TOPICS:
        add_flags(parser, title, cls)


def run_settings(
    arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ
) -> Settings:
    """All settings, from flags, then the environment, then defaults.

    Raises:
        UsageError: a value is wrong, or two values do not fit together.
    """
    settings = Settings(
        serving=read(Serving, arguments, environment),
        cluster=read(Cluster, arguments, environment),
        publishing=read(Publishing, arguments, environment),
        translation=read(Translation, arguments, environment),
        https=read(Https, arguments, environment),
        worker=read(WorkerOptions, arguments, environment),
        limits=read(Limits, arguments, environment),
        admin=read(Admin, arguments, environment),
        logging=read(Logging, arguments, environment),
    )
    ports = {
        "--http-port": settings.serving.http_port,
        "--https-port": settings.serving.https_port,
        "--admin-port": settings.admin.admin_port,
    }
    for (one, port), (other, same) in itertools.combinations(ports.items(), 2):
        if port == same and port:
            raise UsageError(f"{one} and {other} are both {port}; choose two different ports")
    _fit_together(settings)
    if settings.limits.max_header_line > settings.limits.max_header_size:
        raise UsageError(
            "--max-header-line is larger than --max-header-size; "
            "one line cannot be longer than the whole head: raise the second or lower the first"
        )
    return settings


def unknown_variables(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Variables that look like settings and are none, sorted: a misspelt one has no effect.

    Not among them are service links, which the kubelet makes for a Service named "ingress…".
    """
    known = {flag.variable for _, topic in TOPICS for flag in flags_of(topic)}
    return tuple(
        sorted(
            name
            for name in environment
            if name.startswith(PREFIX) and name not in known and not _SERVICE_LINK.search(name)
        )
    )


def _fit_together(settings: Settings) -> None:
    """Refuses flags of a cluster beside folders, and two answers to one question."""
    cluster, publishing = settings.cluster, settings.publishing
    if settings.serving.manifests and (cluster.kubeconfig or cluster.context):
        raise UsageError(
            "--manifests serves folders and --kubeconfig a cluster; leave one of both out"
        )
    if len(cluster.watch_namespace) > MAX_NAMESPACES:
        raise UsageError(
            f"--watch-namespace names {len(cluster.watch_namespace)} namespaces, and at most "
            f"{MAX_NAMESPACES} are watched one by one; leave it out to watch all of them"
        )
    if publishing.publish_nodes != "off" and publishing.publish_service is None:
        raise UsageError(
            "--publish-nodes needs --publish-service: the nodes are those that run its pods"
        )
    if publishing.publish_nodes != "off" and publishing.publish_address:
        raise UsageError("--publish-nodes and --publish-address are two answers; choose one")


def translation_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that `run`, `check` and `explain` share."""
    for title, cls in TOPICS:
        if cls in (Translation, Https):
            add_flags(parser, title, cls)


def translation_options(
    arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ
) -> TranslationOptions:
    """Options of the translation for `check` and `explain`: as if both ports were the usual ones.

    Raises:
        UsageError: a value is wrong.
    """
    return options_of(
        read(Translation, arguments, environment),
        read(Https, arguments, environment),
        http_port=80,
        https_port=443,
        default_certificate=None,
    )


def options_of(
    translation: Translation,
    https: Https,
    *,
    http_port: int,
    https_port: int | None,
    default_certificate: CertificatePair | None,
    local_endpoints: bool = True,
    denied_addresses: tuple[str, ...] = (),
) -> TranslationOptions:
    """What the translation needs to know.

    Args:
        local_endpoints: endpoints on loopback and the like are served; a folder of manifests on a
            laptop has nothing else, a cluster's API has them only by an attack.
        denied_addresses: addresses that are never endpoints.
        http_port: the bound port.
        https_port: the bound port; None when HTTPS is not served.
        default_certificate: the self-signed one, for names that have none of their own.
    """
    published = translation.published_http_port
    published_https = https.published_https_port
    classes = translation.ingress_class or (FOLDER_CLASSES if local_endpoints else ())
    return TranslationOptions(
        ingress_classes=classes,
        controllers=translation.controller,
        watch_ingress_without_class=translation.watch_ingress_without_class,
        allow_external_name=translation.allow_external_name,
        allow_local_endpoints=local_endpoints,
        denied_addresses=denied_addresses,
        allow_shared_hosts=translation.allow_shared_hosts,
        catch_all_namespaces=translation.catch_all_namespace,
        config=translation.config or "",
        http_port=http_port if published is None else published,
        https=https_port is not None,
        https_port=(https_port or 443) if published_https is None else published_https,
        ssl_redirect=https.ssl_redirect,
        hsts=hsts_value(
            on=https.hsts,
            max_age=int(https.hsts_max_age),
            include_subdomains=https.hsts_include_subdomains,
            preload=https.hsts_preload,
        )
        or "",
        tls_profile=https.tls_profile,
        default_tls_secret=https.default_tls_secret or "",
        default_certificate=default_certificate,
    )
