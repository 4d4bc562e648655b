"""Which Secrets and ConfigMaps Ingresses name, and who names which: an index.

Whoever watches objects one by one is told by it which to watch, and a diagnostic about one of them
finds the Ingresses whose owners must hear of it.
"""

from collections.abc import Collection, Iterable

from ingress_controller.index import Index
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name
from ingress_controller.translate.ingress import IngressReading


class Wants:
    """Objects by key, with the Ingresses that name them."""

    __slots__ = ("_always", "_current", "_users")

    def __init__(self) -> None:
        self._always: frozenset[ObjectKey] = frozenset()
        self._users: Index[ObjectKey, Name] = Index()
        self._current: frozenset[ObjectKey] | None = None

    def always(self, keys: Iterable[ObjectKey]) -> None:
        """What is wanted from now on whatever Ingresses say."""
        always = frozenset(keys)
        if always != self._always:
            self._always = always
            self._current = None

    def replace(self, ingress: Name, before: set[ObjectKey], after: set[ObjectKey]) -> None:
        """An Ingress named ``before`` and now names ``after``."""
        for key in before - after:
            self._users.discard(key, ingress)
            if key not in self._users:
                self._current = None
        for key in after - before:
            if key not in self._users:
                self._current = None
            self._users.add(key, ingress)

    @property
    def current(self) -> frozenset[ObjectKey]:
        """Everything that is wanted; the same set, not an equal one, until it is different."""
        if self._current is None:
            self._current = self._always.union(self._users)
        return self._current

    def users(self, key: ObjectKey) -> Collection[Name]:
        """The Ingresses that name an object."""
        return self._users.of(key)


def wants_of(namespace: str, reading: IngressReading | None, *, https: bool) -> set[ObjectKey]:
    """The Secrets and ConfigMaps that an Ingress names; ``https``: we serve HTTPS."""
    if reading is None:
        return set()
    found = {
        ObjectKey("Secret", namespace, entry.secret)
        for entries in reading.tls.values()
        for entry in entries
        if entry.secret
    }
    clients = reading.settings.clients
    if https and clients is not None and not clients.problem:
        found.add(ObjectKey(clients.kind, namespace, clients.name))
    if reading.settings.backend.secret:
        found.add(ObjectKey("Secret", namespace, reading.settings.backend.secret))
    return found
