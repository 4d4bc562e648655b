"""Holds the memos of the translation, so that a change costs what it changes (DESIGN rule 11).

A change of an Ingress reads that Ingress, and merges the hosts that it claims or claimed. A change
of a Service asks anew about the references to it. A change of a slice reads that slice and merges
the endpoint sets of its Service; no route is looked at. A change of an IngressClass, which is
rare, asks anew about every Ingress's class, and reads only those that are ours now and were not.
A change of a Secret decides anew about the hosts and backends that look at it; routes are merged
again only where the decision says something else of them.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Literal, NamedTuple

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.objects.service import Service, ServicePort
from ingress_controller.objects.slices import EndpointSlice
from ingress_controller.store import (
    Applied,
    KubernetesObject,
    Name,
    ObjectChange,
    Store,
    key_of,
    service_of,
)
from ingress_controller.translate import materials
from ingress_controller.translate.addresses import Guard
from ingress_controller.translate.backends import Backends
from ingress_controller.translate.certificates import CertificateSource
from ingress_controller.translate.classes import Owner
from ingress_controller.translate.concerns import concerns
from ingress_controller.translate.diagnostics import Diagnostic
from ingress_controller.translate.endpoint_sets import EndpointSets
from ingress_controller.translate.expiry import NamedMaterial
from ingress_controller.translate.findings import Findings
from ingress_controller.translate.https import HostTls
from ingress_controller.translate.options import Options
from ingress_controller.translate.ownership import Ownership, about_refused
from ingress_controller.translate.readings import Readings
from ingress_controller.translate.routes import Routes
from ingress_controller.translate.secrets import Secrets
from ingress_controller.translate.server_names import ServerNames
from ingress_controller.translate.verdicts import Claimant
from router.match.hosts import host_pattern
from router.model.snapshot import (
    Delta,
    Host,
    HostPattern,
    Listener,
    Snapshot,
)
from router.model.upstreams import EndpointSet, Upstream, UpstreamKey

LISTENER, HTTPS_LISTENER = "http", "https"
HOST_SET = "default"


class Translation(NamedTuple):
    """All that a set of objects means."""

    snapshot: Snapshot
    diagnostics: tuple[Diagnostic, ...]


class UpstreamView(NamedTuple):
    """What stands behind an upstream, for `explain`."""

    upstream: Upstream
    service: Service
    port: ServicePort
    endpoints: EndpointSet
    sources: tuple[ObjectKey, ...]
    """The objects that the endpoints were read from."""


class Standing(NamedTuple):
    """What an Ingress is to us, for those who write about it."""

    uid: str
    owner: Owner


def translate(objects: Iterable[KubernetesObject], options: Options) -> Translation:
    """The snapshot and the diagnostics of these objects; their order does not matter."""
    translator = Translator(options)
    translator.update(ObjectChange(key_of(item), item) for item in objects)
    return Translation(translator.snapshot, translator.diagnostics)


class Translator:
    """Takes changes of objects in; answers what changes in the snapshot."""

    def __init__(self, options: Options, version: int = 0) -> None:
        """``version``: that of the empty snapshot which it begins with."""
        self._options = options
        self._store = Store()
        self._readings = Readings(self._store, options)
        self._secrets = Secrets(self._store)
        self._certificates = materials.certificates()
        self._authorities = materials.authorities()
        self._ownership = Ownership(options)
        self._server_names = ServerNames(
            self._secrets,
            self._ownership,
            options,
            self._readings.classes.base.tls_profile,
            self._certificates,
            self._authorities,
        )
        guard = Guard(local_allowed=options.allow_local_endpoints, denied=options.denied_addresses)
        self._backends = Backends(self._store, self._secrets, guard, options)
        self._endpoint_sets = EndpointSets(self._store, self._backends, guard)
        self._routes = Routes(self._backends, self._ownership, self._server_names)
        self._upstreams: dict[UpstreamKey, Upstream] = {}
        self._findings = Findings()
        self._snapshot: Snapshot | None = None
        self._version = version
        self._consistent = True
        self._findings.note(("classes",), self._readings.classes.diagnostics)

    def rebuilt(self, options: Options) -> "Translator":
        """A translator of the same objects under other options; its version is the next one.

        It is made of the objects alone: it may be asked for after an `update` that failed by a
        defect of ours, too.
        """
        made = Translator(options, self._version)
        made.update(self._store.objects())
        made._version = self._version + 1
        made._snapshot = None
        made._readings.touch(self._readings.take_touched())
        return made

    def update(self, changes: Iterable[ObjectChange]) -> Delta | None:
        """Takes changes in; answers what workers must change, or None when that is nothing.

        A defect of ours may raise anything. Then the objects are all in, but the memos may
        contradict each other: from then on only `rebuilt` gives something to go on with.

        Raises:
            ValueError: a change is of a kind that is not kept; nothing was taken in.
            RuntimeError: an update before this one failed; the changes are in all the same.
        """
        applied = self._store.apply(changes)
        if not self._consistent:
            raise RuntimeError("an update before this one failed, so only rebuilding helps")
        self._consistent = False
        delta = self._settle(*self._take_in(applied))
        self._consistent = True
        return delta

    def _settle(self, ingresses: set[Name], services: set[Name]) -> Delta | None:
        """Asks anew about what depends on these Ingresses, and on these Services' endpoints."""
        for name in ingresses:
            read = self._readings.read(name)
            self._backends.refer(name, read.before, read.after)
            self._findings.note(("ingress", *name), read.diagnostics)
        settled = self._backends.settle()
        hosts: set[HostPattern] = set()
        named: set[HostPattern] = set()
        for name in ingresses | settled.ingresses:
            reading = self._readings.current.get(name)
            shared = self._routes.share(name, reading)
            hosts |= shared.hosts
            self._findings.note(("backends", *name), shared.diagnostics)
            claims: dict[HostPattern, Claimant] = {}
            if reading is not None:
                defaults = self._readings.settings(name)
                claims = concerns(name, reading, defaults, self._backends)
            self._ownership.concern(name, claims)
            named.update(claims)
        claimed = self._ownership.settle()
        hosts |= claimed
        if self._ownership.refuses:
            for pattern in named | claimed:
                self._judge(pattern)
        tls = self._server_names.settle(claimed)
        for about in tls.objects:
            self._findings.note(("tls", *about), self._server_names.diagnostics(about))
        changed_hosts: dict[HostPattern, Host | None] = {}
        hosts |= tls.judged
        for pattern in hosts | self._ownership.borrowers(hosts):
            found = self._routes.merge(pattern, changed_hosts)
            self._findings.note(("host", pattern), found)
        endpoints: dict[UpstreamKey, EndpointSet | None] = {}
        for service in services | settled.services:
            found = self._endpoint_sets.refresh(service, endpoints)
            self._findings.note(("endpoints", *service), found)
        for key, upstream in settled.upstreams.items():
            if upstream is None:
                del self._upstreams[key]
                self._endpoint_sets.drop(key, endpoints)
            else:
                self._upstreams[key] = upstream
        for key in settled.targets:
            self._use_materials(key)
        delta = Delta(
            base=self._version,
            version=self._version + 1,
            hosts={HOST_SET: changed_hosts} if changed_hosts else {},
            upstreams=settled.upstreams,
            endpoints=endpoints,
            server_names={HOST_SET: tls.server_names} if tls.server_names else {},
            certificates=self._certificates.settle(),
            authorities=self._authorities.settle(),
        )
        if delta == Delta(self._version, self._version + 1):
            return None
        self._version = delta.version
        self._snapshot = None
        return delta

    @property
    def snapshot(self) -> Snapshot:
        """The complete snapshot of the current version; it shares all values with the memos."""
        if self._snapshot is None:
            served = self._server_names.current
            self._snapshot = Snapshot(
                version=self._version,
                listeners=_listeners(self._options),
                hosts={HOST_SET: self._routes.current.copy()},
                upstreams=self._upstreams.copy(),
                endpoints=self._endpoint_sets.current.copy(),
                server_names={HOST_SET: served.copy()} if served else {},
                certificates=self._certificates.current.copy(),
                authorities=self._authorities.current.copy(),
            )
        return self._snapshot

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Everything there is to say, by object."""
        return self._findings.sorted

    @property
    def wanted(self) -> frozenset[ObjectKey]:
        """The Secrets and ConfigMaps that must be known: all that Ingresses of ours, their classes
        and the options name. The same set, not an equal one, until it is different."""
        return self._readings.wants.current

    def served(self, name: Name) -> bool:
        """Whether an Ingress is ours."""
        return name in self._readings.current

    def standing(self, name: Name) -> Standing | None:
        """Whose an Ingress is; None when there is none of that name."""
        ingress = self._store.ingresses.get(name)
        if ingress is None:
            return None
        return Standing(ingress.metadata.uid, self._readings.owner(name))

    def take_touched(self) -> frozenset[Name]:
        """The Ingresses that are new, different, gone or of another class since the last call."""
        return self._readings.take_touched()

    def ingresses_about(self, key: ObjectKey) -> tuple[ObjectKey, ...]:
        """The Ingresses of ours whose owners must act on a diagnostic about an object, the oldest
        first: those that name it, or the Service whose endpoints it holds. None for what concerns
        the admin alone, such as an IngressClass or the Secret of the default certificate."""
        name = Name(key.namespace, key.name)
        users: Collection[Name] = ()
        if key.kind == "Ingress":
            users = (name,) if self.served(name) else ()
        elif key.kind in ("Service", "Endpoints"):
            users = self._backends.users_of(name)
        elif key.kind == "EndpointSlice":
            item = self._store.slices.get(name)
            users = () if item is None else self._backends.users_of(service_of(item))
        elif key.kind in ("Secret", "ConfigMap"):
            users = self._readings.wants.users(key)
        return self._readings.oldest_first(users)

    @property
    def ingresses_served(self) -> int:
        """How many Ingresses are ours."""
        return len(self._readings.current)

    @property
    def ingresses_seen(self) -> int:
        """How many Ingresses there are."""
        return len(self._store.ingresses)

    def claimants(self, pattern: HostPattern) -> tuple[ObjectKey, ...]:
        """The Ingresses that have rules for a host and may, oldest first."""
        admitted = self._ownership.judged(pattern).admitted
        return tuple(ObjectKey("Ingress", *one.name) for one in admitted if one.has_rules)

    def host_diagnostics(self, pattern: HostPattern) -> tuple[Diagnostic, ...]:
        """Which claims on a host lost, and to whom."""
        return self._findings.about("refused", pattern) + self._findings.about("host", pattern)

    def passed_over(self, patterns: Collection[HostPattern]) -> tuple[Diagnostic, ...]:
        """Why Ingresses that name one of these hosts are not ours."""
        return tuple(
            finding
            for name, ingress in sorted(self._store.ingresses.items())
            if not self.served(name)
            and any(host_pattern(rule.host) in patterns for rule in ingress.spec.rules)
            for finding in self._readings.why_not(name)
        )

    def class_objects(self, name: Name) -> tuple[ObjectKey, ...]:
        """The class of an Ingress, and the ConfigMaps whose options hold for it."""
        ingress = self._store.ingresses.get(name)
        return () if ingress is None else self._readings.classes.objects_of(ingress)

    def host_tls(self, pattern: HostPattern) -> HostTls | None:
        """What was decided about TLS for a host; None when no Ingress of ours names it."""
        return self._server_names.decided(pattern)

    @property
    def default_secret(self) -> Name | None:
        """Whose pair is the default certificate; None when it is the self-signed one."""
        return self._server_names.default_secret

    def presented_certificates(
        self, *, with_default: bool = False
    ) -> Iterator[tuple[HostPattern, CertificateSource]]:
        """Every host, with each Secret whose certificate answers for it; if asked, the empty
        pattern with the Secret of the default certificate."""
        yield from self._server_names.presented(with_default=with_default)

    def named_materials(self) -> Iterator[NamedMaterial]:
        """Authorities that somebody is verified against, and certificates shown to backends."""
        for key, bundle in self._secrets.read_authorities():
            used = bundle.authorities
            if used is not None and used.digest in self._authorities.current:
                yield NamedMaterial(key, bundle.field, used, self.ingresses_about(key))
        for key, shown in self._secrets.read_clients():
            pair = shown.pair
            if pair is not None and pair.digest in self._certificates.current:
                yield NamedMaterial(key, shown.field, pair, self.ingresses_about(key))

    def upstream_view(self, key: UpstreamKey) -> UpstreamView | None:
        """What stands behind an upstream; None when there is none of that key."""
        target = self._backends.targets.get(key)
        if target is None:
            return None
        name = Name(target.upstream.namespace, target.upstream.service)
        return UpstreamView(
            target.upstream,
            self._store.services[name],
            target.port,
            self._endpoint_sets.current[key],
            self._endpoint_sets.sources(name),
        )

    def _take_in(self, applied: Iterable[Applied]) -> tuple[set[Name], set[Name]]:
        """What changes concern that are stored: the Ingresses to read, and the Services whose
        endpoints to collect."""
        ingresses: set[Name] = set()
        services: set[Name] = set()
        classes_changed = False
        for change in applied:
            name = change.name
            if change.key.kind == "Ingress":
                ingresses.add(name)
            elif change.key.kind == "IngressClass":
                classes_changed = True
            elif change.key.kind == "Service":
                came_or_went = change.before is None or change.object is None
                self._backends.service_changed(name, came_or_went=came_or_went)
                services.add(name)
            elif change.key.kind == "EndpointSlice":
                self._endpoint_sets.forget_slice(name)
                for item in (change.before, change.object):
                    if isinstance(item, EndpointSlice):
                        services.add(service_of(item))
            elif change.key.kind == "Endpoints":
                services.add(name)
            elif change.key.kind in ("Secret", "ConfigMap"):
                if change.object is None:
                    self._secrets.forget(change.key)
                if change.key in self._readings.classes.config_maps:
                    classes_changed = True
                if change.key.kind == "Secret":
                    self._backends.secret_changed(name)
                self._server_names.object_changed(change.key)
        if classes_changed:
            ingresses.update(self._readings.reselect())
            classes = self._readings.classes
            self._findings.note(("classes",), classes.diagnostics)
            self._server_names.profile_changed(classes.base.tls_profile)
        return ingresses, services

    def _use_materials(self, key: UpstreamKey) -> None:
        """Keeps what an upstream's profile names in the snapshot for as long as it is there."""
        target = self._backends.targets.get(key)
        client = None if target is None else target.client
        bundle = None if target is None else target.authorities
        self._certificates.use(("upstream", key), () if client is None else (client,))
        self._authorities.use(("upstream", key), () if bundle is None else (bundle,))

    def _judge(self, pattern: HostPattern) -> None:
        """Says who gets nothing of a host that they name."""
        found = [
            about_refused(self._store.ingresses[each.ingress], each)
            for each in self._ownership.judged(pattern).refused
        ]
        self._findings.note(("refused", pattern), tuple(found))


def _listeners(options: Options) -> dict[str, Listener]:
    """The ports that clients reach, all with the same hosts."""
    names: tuple[Literal["http", "https"], ...] = ("http", "https") if options.https else ("http",)
    ports = {"http": options.http_port, "https": options.https_port}
    return {name: Listener(name, name, ports[name], HOST_SET, options.https_port) for name in names}
