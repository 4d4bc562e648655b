"""Which Services the Ingresses refer to, and where each reference leads: a memo with its indices.

A change of a Service asks anew only about the references to it. Only what leads elsewhere than
before is reported on, so that a label on a Service costs its routes nothing.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec

from ingress_controller.index import Index
from ingress_controller.objects.service import ServicePort
from ingress_controller.store import Name, Store
from ingress_controller.translate.addresses import Guard
from ingress_controller.translate.ingress import BackendReference
from ingress_controller.translate.options import Options
from ingress_controller.translate.secrets import Secrets
from ingress_controller.translate.services import Resolution, resolve
from router.model.upstreams import Upstream, UpstreamKey
from tls.certificate import CertificatePair
from tls.policy import Authorities


class Target(msgspec.Struct, frozen=True, gc=False):
    """An upstream in use, with the Service port behind it."""

    upstream: Upstream
    port: ServicePort
    authorities: Authorities | None = None
    """What the upstream's profile names, and the next."""
    client: CertificatePair | None = None


class BackendChanges(NamedTuple):
    """What led elsewhere than before."""

    ingresses: set[Name]
    """Ingresses that name such a backend."""
    upstreams: dict[UpstreamKey, Upstream | None]
    """Upstreams that are new, different, or (None) no longer in use."""
    services: set[Name]
    """Services whose upstreams are among them."""
    targets: set[UpstreamKey]
    """Upstreams whose target is another, or none."""


class Backends:
    """All references to Services, and the upstreams that they need."""

    __slots__ = (
        "_asked",
        "_guard",
        "_namesakes",
        "_of_secret",
        "_of_service",
        "_of_upstream",
        "_options",
        "_resolutions",
        "_secrets",
        "_store",
        "_users",
        "targets",
        "targets_of",
    )

    def __init__(self, store: Store, secrets: Secrets, guard: Guard, options: Options) -> None:
        self._store = store
        self._secrets = secrets
        self._guard = guard
        self._options = options
        self._resolutions: dict[BackendReference, Resolution] = {}
        self._users: Index[BackendReference, Name] = Index()
        self._of_service: Index[Name, BackendReference] = Index()
        self._of_secret: Index[Name, BackendReference] = Index()
        self._of_upstream: Index[UpstreamKey, BackendReference] = Index()
        self._namesakes: Index[str, Name] = Index()
        """Services that are referred to, by their name alone."""
        self._asked: set[BackendReference] = set()
        """References to resolve (anew)."""
        self.targets: dict[UpstreamKey, Target] = {}
        self.targets_of: Index[Name, UpstreamKey] = Index()

    def resolution(self, reference: BackendReference) -> Resolution:
        """Where a reference leads, as of the last `settle`."""
        return self._resolutions[reference]

    def users_of(self, service: Name) -> set[Name]:
        """The Ingresses that refer to a Service."""
        references = self._of_service.of(service)
        return {name for reference in references for name in self._users.of(reference)}

    def refer(
        self, ingress: Name, before: Iterable[BackendReference], after: Iterable[BackendReference]
    ) -> None:
        """An Ingress referred to ``before`` and now refers to ``after``."""
        for reference in before:
            self._users.discard(reference, ingress)
            self._asked.add(reference)
        for reference in after:
            if reference not in self._users:
                service = Name(reference.namespace, reference.service)
                self._of_service.add(service, reference)
                self._namesakes.add(reference.service, service)
                if reference.wish.secret:
                    secret = Name(reference.namespace, reference.wish.secret)
                    self._of_secret.add(secret, reference)
                self._asked.add(reference)
            self._users.add(reference, ingress)

    def service_changed(self, service: Name, *, came_or_went: bool) -> None:
        """A Service is different; when it came or went, advice elsewhere may be."""
        self._asked.update(self._of_service.of(service))
        if came_or_went:
            for namesake in self._namesakes.of(service.name):
                if namesake not in self._store.services:
                    self._asked.update(self._of_service.of(namesake))

    def secret_changed(self, secret: Name) -> None:
        """A Secret is new, different or gone."""
        self._asked.update(self._of_secret.of(secret))

    def settle(self) -> BackendChanges:
        """Resolves what was asked about; answers what leads elsewhere than before."""
        changes = BackendChanges(set(), {}, set(), set())
        touched: set[UpstreamKey] = set()
        for reference in self._asked:
            before = self._resolutions.get(reference)
            after = self._resolve(reference)
            if before == after:
                continue
            if before is not None and before.upstream is not None:
                self._of_upstream.discard(before.upstream.key, reference)
                touched.add(before.upstream.key)
            if after is None:
                self._resolutions.pop(reference, None)
                continue
            self._resolutions[reference] = after
            if after.upstream is not None:
                self._of_upstream.add(after.upstream.key, reference)
                touched.add(after.upstream.key)
            changes.ingresses.update(self._users.of(reference))
        self._asked.clear()
        for key in touched:
            self._retarget(key, changes)
        return changes

    def _resolve(self, reference: BackendReference) -> Resolution | None:
        """Where a reference leads now; None when nobody refers any more."""
        service = Name(reference.namespace, reference.service)
        if reference not in self._users:
            self._of_service.discard(service, reference)
            if service not in self._of_service:
                self._namesakes.discard(service.name, service)
            if reference.wish.secret:
                secret = Name(reference.namespace, reference.wish.secret)
                self._of_secret.discard(secret, reference)
            return None
        found = self._store.services.get(service)
        elsewhere: Collection[str] = ()
        if found is None:
            elsewhere = self._store.namespaces_of_service(service.name)
        return resolve(reference, found, elsewhere, self._secrets, self._guard, self._options)

    def _retarget(self, key: UpstreamKey, changes: BackendChanges) -> None:
        before = self.targets.get(key)
        references = self._of_upstream.of(key)
        if references:
            # All of them resolve to one port, spoken to in one way: any says which.
            found = self._resolutions[min(references, key=_secret_of)]
            upstream, port = found.upstream, found.port
            if upstream is None or port is None:
                return
            target = Target(upstream, port, found.authorities, found.client)
            if before == target:
                return
            self.targets[key] = target
            service = Name(upstream.namespace, upstream.service)
            self.targets_of.add(service, key)
            if before is None or before.upstream != upstream:
                changes.upstreams[key] = upstream
        elif before is not None:
            del self.targets[key]
            service = Name(before.upstream.namespace, before.upstream.service)
            self.targets_of.discard(service, key)
            changes.upstreams[key] = None
        else:
            return
        changes.services.add(service)
        changes.targets.add(key)


def _secret_of(reference: BackendReference) -> str:
    return reference.wish.secret
