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
from ingress_controller.translate.classes import Classes, Owner, Selection
from ingress_controller.translate.concerns import concerns
from ingress_controller.translate.conflicts import HostShare, merge
from ingress_controller.translate.diagnostics import Diagnostic, order
from ingress_controller.translate.endpoint_sets import EndpointSets
from ingress_controller.translate.expiry import NamedMaterial
from ingress_controller.translate.https import HostTls
from ingress_controller.translate.ingress import (
    Claim,
    IngressReading,
    backend_field,
    read_ingress,
)
from ingress_controller.translate.options import Options
from ingress_controller.translate.ownership import Ownership, about_refused
from ingress_controller.translate.secrets import Secrets
from ingress_controller.translate.server_names import ServerNames
from ingress_controller.translate.services import Problem
from ingress_controller.translate.verdicts import Claimant, is_challenge, secured
from ingress_controller.translate.wants import Wants, wants_of
from router.match.hosts import host_pattern
from router.model.origin import Origin
from router.model.snapshot import (
    Answer,
    Delta,
    Forward,
    Host,
    HostPattern,
    Listener,
    Route,
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
        self._classes = Classes({}, {}, options)
        self._selections: dict[Name, Selection] = {}
        self._readings: dict[Name, IngressReading] = {}
        self._secrets = Secrets(self._store)
        self._certificates = materials.certificates()
        self._authorities = materials.authorities()
        self._ownership = Ownership(options)
        self._server_names = ServerNames(
            self._secrets,
            self._ownership,
            options,
            self._classes.base.tls_profile,
            self._certificates,
            self._authorities,
        )
        guard = Guard(local_allowed=options.allow_local_endpoints, denied=options.denied_addresses)
        self._backends = Backends(self._store, self._secrets, guard, options)
        self._endpoint_sets = EndpointSets(self._store, self._backends, guard)
        self._shares: dict[HostPattern, dict[Name, HostShare]] = {}
        self._claimed: dict[Name, tuple[HostPattern, ...]] = {}
        self._hosts: dict[HostPattern, Host] = {}
        self._upstreams: dict[UpstreamKey, Upstream] = {}
        self._findings: dict[tuple[str, ...], tuple[Diagnostic, ...]] = {}
        """By what was looked at; replaced as a whole when it is looked at again."""
        self._sorted: tuple[Diagnostic, ...] | None = None
        self._snapshot: Snapshot | None = None
        self._version = version
        self._wants = Wants()
        self._touched: set[Name] = set()
        self._use_classes()

    def rebuilt(self, options: Options) -> "Translator":
        """A translator of the same objects under other options; its version is the next one.

        It is made of the objects alone: it may be asked for after an `update` that failed by a
        defect of ours, too.
        """
        made = Translator(options, self._version)
        made.update(self._store.objects())
        made._version = self._version + 1
        made._snapshot = None
        made._touched |= self._touched
        return made

    def update(self, changes: Iterable[ObjectChange]) -> Delta | None:
        """Takes changes in; answers what workers must change, or None when that is nothing.

        After any other exception than a ValueError the memos may contradict each other, while all
        changes are in: go on with `rebuilt`.

        Raises:
            ValueError: a change is of a kind that is not kept; nothing was taken in.
        """
        ingresses, services = self._take_in(changes)
        for name in ingresses:
            self._read(name)
        settled = self._backends.settle()
        hosts: set[HostPattern] = set()
        named: set[HostPattern] = set()
        for name in ingresses | settled.ingresses:
            hosts |= self._share(name)
            reading = self._readings.get(name)
            claims: dict[HostPattern, Claimant] = {}
            if reading is not None:
                defaults = self._selections[name].settings
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
            self._note(("tls", *about), self._server_names.diagnostics(about))
        changed_hosts: dict[HostPattern, Host | None] = {}
        hosts |= tls.judged
        for pattern in hosts | self._ownership.borrowers(hosts):
            self._merge(pattern, changed_hosts)
        endpoints: dict[UpstreamKey, EndpointSet | None] = {}
        for service in services | settled.services:
            found = self._endpoint_sets.refresh(service, endpoints)
            self._note(("endpoints", *service), found)
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
                hosts={HOST_SET: self._hosts.copy()},
                upstreams=self._upstreams.copy(),
                endpoints=self._endpoint_sets.current.copy(),
                server_names={HOST_SET: served.copy()} if served else {},
                certificates=self._certificates.current.copy(),
                authorities=self._authorities.current.copy(),
            )
        return self._snapshot

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Everything there is to say, by object; sorted when asked for, not at every change."""
        if self._sorted is None:
            found = [item for items in self._findings.values() for item in items]
            self._sorted = tuple(sorted(found, key=order))
        return self._sorted

    @property
    def wanted(self) -> frozenset[ObjectKey]:
        """The Secrets and ConfigMaps that must be known: all that Ingresses of ours, their classes
        and the options name. The same set, not an equal one, until it is different."""
        return self._wants.current

    def served(self, name: Name) -> bool:
        """Whether an Ingress is ours."""
        return name in self._readings

    def standing(self, name: Name) -> Standing | None:
        """Whose an Ingress is; None when there is none of that name."""
        ingress = self._store.ingresses.get(name)
        if ingress is None:
            return None
        return Standing(ingress.metadata.uid, self._selections[name].owner)

    def take_touched(self) -> frozenset[Name]:
        """The Ingresses that are new, different, gone or of another class since the last call."""
        touched = frozenset(self._touched)
        self._touched.clear()
        return touched

    def ingresses_about(self, key: ObjectKey) -> tuple[ObjectKey, ...]:
        """The Ingresses of ours whose owners must act on a diagnostic about an object: the oldest
        first.

        Those that name it, or the Service whose endpoints it holds. None for what concerns the
        admin of the cluster alone, such as an IngressClass or the default certificate's Secret.
        """
        name = Name(key.namespace, key.name)
        users: Collection[Name] = ()
        if key.kind == "Ingress":
            users = (name,) if name in self._readings else ()
        elif key.kind in ("Service", "Endpoints"):
            users = self._backends.users_of(name)
        elif key.kind == "EndpointSlice":
            item = self._store.slices.get(name)
            users = () if item is None else self._backends.users_of(service_of(item))
        elif key.kind in ("Secret", "ConfigMap"):
            users = self._wants.users(key)
        oldest_first = sorted(users, key=lambda user: self._readings[user].age)
        return tuple(ObjectKey("Ingress", *user) for user in oldest_first)

    @property
    def ingresses_served(self) -> int:
        """How many Ingresses are ours."""
        return len(self._readings)

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
        refused = self._findings.get(("refused", pattern), ())
        return refused + self._findings.get(("host", pattern), ())

    def passed_over(self, patterns: Collection[HostPattern]) -> tuple[Diagnostic, ...]:
        """Why Ingresses that name one of these hosts are not ours."""
        return tuple(
            finding
            for name, ingress in sorted(self._store.ingresses.items())
            if name not in self._readings
            and any(host_pattern(rule.host) in patterns for rule in ingress.spec.rules)
            for finding in self._selections[name].diagnostics
        )

    def class_objects(self, name: Name) -> tuple[ObjectKey, ...]:
        """The class of an Ingress, and the ConfigMaps whose options hold for it."""
        ingress = self._store.ingresses.get(name)
        return () if ingress is None else self._classes.objects_of(ingress)

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

    def _take_in(self, changes: Iterable[ObjectChange]) -> tuple[set[Name], set[Name]]:
        """Stores changes; answers the Ingresses to read, and the Services whose endpoints to."""
        ingresses: set[Name] = set()
        services: set[Name] = set()
        classes_changed = False
        # All are stored before one is looked at: then a defect loses none of them.
        for change, before in self._store.apply_all(changes):
            name = Name(change.key.namespace, change.key.name)
            if change.key.kind == "Ingress":
                ingresses.add(name)
            elif change.key.kind == "IngressClass":
                classes_changed = True
            elif change.key.kind == "Service":
                came_or_went = before is None or change.object is None
                self._backends.service_changed(name, came_or_went=came_or_went)
                services.add(name)
            elif change.key.kind == "EndpointSlice":
                self._endpoint_sets.forget_slice(name)
                for item in (before, change.object):
                    if isinstance(item, EndpointSlice):
                        services.add(service_of(item))
            elif change.key.kind == "Endpoints":
                self._endpoint_sets.forget_endpoints(name)
                services.add(name)
            elif change.key.kind in ("Secret", "ConfigMap"):
                if change.object is None:
                    self._secrets.forget(change.key)
                if change.key in self._classes.config_maps:
                    classes_changed = True
                if change.key.kind == "Secret":
                    self._backends.secret_changed(name)
                self._server_names.object_changed(change.key)
        if classes_changed:
            self._classes = Classes(self._store.classes, self._store.config_maps, self._options)
            self._use_classes()
            ingresses.update(self._reselected())
        return ingresses, services

    def _use_classes(self) -> None:
        """Tells what depends on classes, but for the Ingresses."""
        self._note(("classes",), self._classes.diagnostics)
        self._server_names.profile_changed(self._classes.base.tls_profile)
        default = self._server_names.default_key
        self._wants.always(self._classes.config_maps | ({default} if default else set()))

    def _reselected(self) -> Iterable[Name]:
        """The Ingresses about whose class there is something else to say than before."""
        for name, ingress in self._store.ingresses.items():
            if self._classes.select(ingress) != self._selections.get(name):
                yield name

    def _read(self, name: Name) -> None:
        """Reads an Ingress that is new, different, gone, or of another class than before."""
        ingress = self._store.ingresses.get(name)
        self._touched.add(name)
        before = self._readings.pop(name, None)
        after = None
        said: tuple[Diagnostic, ...] = ()
        if ingress is None:
            self._selections.pop(name, None)
        else:
            selection = self._selections[name] = self._classes.select(ingress)
            said = selection.diagnostics
            if selection.owner == "ours":
                after = self._readings[name] = read_ingress(ingress, https=self._options.https)
        self._backends.refer(
            name,
            before.references if before is not None else (),
            after.references if after is not None else (),
        )
        https = self._options.https
        self._wants.replace(
            name,
            wants_of(name.namespace, before, https=https),
            wants_of(name.namespace, after, https=https),
        )
        if after is not None:
            said += after.diagnostics
        self._note(("ingress", *name), said)

    def _share(self, name: Name) -> set[HostPattern]:
        """Replaces what an Ingress claims of each host; answers the hosts it claims or claimed."""
        before = self._claimed.pop(name, ())
        for pattern in before:
            shares = self._shares[pattern]
            del shares[name]
            if not shares:
                del self._shares[pattern]
        reading = self._readings.get(name)
        if reading is None:
            self._note(("backends", *name), ())
            return set(before)
        found: list[Diagnostic] = []
        closed = reading.settings.closed
        default = None
        if reading.default is not None:
            default = self._route(reading.default, closed, found)
        for pattern, claims in reading.claims.items():
            challenges = frozenset(
                claim.path
                for claim in claims
                if is_challenge(claim.path) and self._is_solver(reading, claim)
            )
            routes = tuple(
                [
                    self._route(claim, "" if claim.path in challenges else closed, found)
                    for claim in claims
                ]
            )
            share = HostShare(reading.age, routes, default, challenges)
            self._shares.setdefault(pattern, {})[name] = share
        self._claimed[name] = tuple(reading.claims)
        self._note(("backends", *name), tuple(found))
        return {*before, *reading.claims}

    def _route(self, claim: Claim, closed: str, found: list[Diagnostic]) -> Route:
        """A claim with its backend resolved; ``closed`` says why it must not be served."""
        action: Forward | Answer
        if isinstance(claim.backend, Answer):
            action = claim.backend
        else:
            resolution = self._backends.resolution(claim.backend)
            action = resolution.action
            if resolution.problem is not None:
                found.append(_about_backend(claim.origin, resolution.problem))
        if closed:
            action = Answer(503, closed)
        return Route(claim.path, claim.written, action, claim.origin)

    def _is_solver(self, reading: IngressReading, claim: Claim) -> bool:
        """Whether cert-manager made this path, in an Ingress of its own or in the user's."""
        if reading.solver or isinstance(claim.backend, Answer):
            return reading.solver
        return self._backends.resolution(claim.backend).solver

    def _use_materials(self, key: UpstreamKey) -> None:
        """Keeps what an upstream's profile names in the snapshot for as long as it is there."""
        target = self._backends.targets.get(key)
        client = None if target is None else target.client
        bundle = None if target is None else target.authorities
        self._certificates.use(("upstream", key), () if client is None else (client,))
        self._authorities.use(("upstream", key), () if bundle is None else (bundle,))

    def _merge(self, pattern: HostPattern, changed: dict[HostPattern, Host | None]) -> None:
        judged = self._ownership.judged(pattern)
        shares = self._shares.get(pattern, {})
        verdict = self._server_names.verdict
        served = []
        for one in judged.admitted:
            share = shares.get(one.name)
            if share is not None:
                served.append(secured(share, verdict(pattern, one.name)))
            elif judged.lender is not None and one.has_rules:
                share = self._shares[judged.lender][one.name]
                served.append(secured(share, verdict(judged.lender, one.name)))
        before = self._hosts.get(pattern)
        if not served:
            self._note(("host", pattern), ())
            if before is not None:
                del self._hosts[pattern]
                changed[pattern] = None
            return
        host, found = merge(pattern, served)
        self._note(("host", pattern), found)
        if host != before:
            self._hosts[pattern] = changed[pattern] = host

    def _judge(self, pattern: HostPattern) -> None:
        """Says who gets nothing of a host that they name."""
        found = [
            about_refused(self._store.ingresses[each.ingress], each)
            for each in self._ownership.judged(pattern).refused
        ]
        self._note(("refused", pattern), tuple(found))

    def _note(self, about: tuple[str, ...], found: tuple[Diagnostic, ...]) -> None:
        if self._findings.get(about, ()) == found:
            return
        if found:
            self._findings[about] = found
        else:
            del self._findings[about]
        self._sorted = None


def _listeners(options: Options) -> dict[str, Listener]:
    """The ports that clients reach, all with the same hosts."""
    names: tuple[Literal["http", "https"], ...] = ("http", "https") if options.https else ("http",)
    ports = {"http": options.http_port, "https": options.https_port}
    return {name: Listener(name, name, ports[name], HOST_SET, options.https_port) for name in names}


def _about_backend(origin: Origin, problem: Problem) -> Diagnostic:
    return Diagnostic(
        code=problem.code,
        severity=problem.severity,
        object=ObjectKey(origin.kind, origin.namespace, origin.name),
        field=problem.field
        if problem.field.startswith("metadata.")
        else backend_field(origin, problem.field),
        message=problem.message,
        consequence=problem.consequence,
        remedy=problem.remedy,
    )
