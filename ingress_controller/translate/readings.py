"""Which Ingresses are ours, and what each of them says: a memo.

Whoever takes a change in says so here, then has the Ingresses read that it concerns.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name, Store
from ingress_controller.translate.classes import Classes, Owner, Selection
from ingress_controller.translate.config import ClassSettings
from ingress_controller.translate.diagnostics import Diagnostic
from ingress_controller.translate.ingress import BackendReference, IngressReading, read_ingress
from ingress_controller.translate.options import Options
from ingress_controller.translate.wants import Wants, wants_of


class Read(NamedTuple):
    """What reading an Ingress changed."""

    before: Collection[BackendReference]
    """The Services that it referred to."""
    after: Collection[BackendReference]
    diagnostics: tuple[Diagnostic, ...]


class Readings:
    """All Ingresses of a store."""

    __slots__ = ("_options", "_selections", "_store", "_touched", "classes", "current", "wants")

    def __init__(self, store: Store, options: Options) -> None:
        self._store = store
        self._options = options
        self._selections: dict[Name, Selection] = {}
        self._touched: set[Name] = set()
        self.classes = Classes({}, {}, options)
        self.current: dict[Name, IngressReading] = {}
        """What those say that are ours."""
        self.wants = Wants()
        self._use_classes()

    def reselect(self) -> list[Name]:
        """Classes or their options are different: the Ingresses that must be read because of it."""
        self.classes = Classes(self._store.classes, self._store.config_maps, self._options)
        self._use_classes()
        return [
            name
            for name, ingress in self._store.ingresses.items()
            if self.classes.select(ingress) != self._selections.get(name)
        ]

    def read(self, name: Name) -> Read:
        """Reads an Ingress that is new, different, gone, or of another class than before."""
        self._touched.add(name)
        ingress = self._store.ingresses.get(name)
        before = self.current.pop(name, None)
        after = None
        said: tuple[Diagnostic, ...] = ()
        if ingress is None:
            self._selections.pop(name, None)
        else:
            selection = self._selections[name] = self.classes.select(ingress)
            said = selection.diagnostics
            if selection.owner == "ours":
                after = self.current[name] = read_ingress(ingress, https=self._options.https)
                said += after.diagnostics
        https = self._options.https
        self.wants.replace(
            name,
            wants_of(name.namespace, before, https=https),
            wants_of(name.namespace, after, https=https),
        )
        return Read(
            () if before is None else before.references,
            () if after is None else after.references,
            said,
        )

    def settings(self, name: Name) -> ClassSettings:
        """What holds for an Ingress where it says nothing itself."""
        return self._selections[name].settings

    def owner(self, name: Name) -> Owner:
        """Whose an Ingress is."""
        return self._selections[name].owner

    def why_not(self, name: Name) -> tuple[Diagnostic, ...]:
        """What was said about the class of an Ingress."""
        return self._selections[name].diagnostics

    def take_touched(self) -> frozenset[Name]:
        """The Ingresses that were read since the last call."""
        touched = frozenset(self._touched)
        self._touched.clear()
        return touched

    def touch(self, names: Iterable[Name]) -> None:
        """These count as read, too."""
        self._touched.update(names)

    def oldest_first(self, names: Iterable[Name]) -> tuple[ObjectKey, ...]:
        """Ingresses of ours as keys."""
        ordered = sorted(names, key=lambda name: self.current[name].age)
        return tuple(ObjectKey("Ingress", *name) for name in ordered)

    def _use_classes(self) -> None:
        namespace, slash, name = self._options.default_tls_secret.partition("/")
        default = [ObjectKey("Secret", namespace, name)] if slash else []
        self.wants.always([*self.classes.config_maps, *default])
