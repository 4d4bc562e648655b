"""The newest version of every object, and what depends on what.

The store answers two questions: does this change matter (an equal object changes nothing), and
which slices belong to a Service.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from ingress_controller.index import Index
from ingress_controller.objects.config import ConfigMap, Secret
from ingress_controller.objects.decode import KubernetesObject
from ingress_controller.objects.ingress import Ingress, IngressClass
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.objects.service import Service
from ingress_controller.objects.slices import SERVICE_NAME_LABEL, Endpoints, EndpointSlice

__all__ = ["Applied", "KubernetesObject", "Name", "ObjectChange", "ObjectKey", "Store", "key_of"]


class Name(NamedTuple):
    """Namespace and name; with a kind it is an `ObjectKey`."""

    namespace: str
    name: str


class ObjectChange(NamedTuple):
    """The newest version of an object; None when it is gone."""

    key: ObjectKey
    object: KubernetesObject | None


class Applied(NamedTuple):
    """A change after which something is different."""

    key: ObjectKey
    name: Name
    """As the store has it: to be kept by others instead of a copy."""
    before: KubernetesObject | None
    object: KubernetesObject | None


def key_of(item: KubernetesObject) -> ObjectKey:
    """The identity of an object."""
    return ObjectKey(type(item).__name__, item.metadata.namespace, item.metadata.name)


class Store:
    """Objects by kind and name. Whoever holds it applies changes; everybody else only reads."""

    __slots__ = (
        "_kinds",
        "_namespaces_of_service",
        "_slices_of",
        "classes",
        "config_maps",
        "endpoints",
        "ingresses",
        "secrets",
        "services",
        "slices",
    )

    def __init__(self) -> None:
        self.ingresses: dict[Name, Ingress] = {}
        self.classes: dict[Name, IngressClass] = {}
        self.services: dict[Name, Service] = {}
        self.slices: dict[Name, EndpointSlice] = {}
        self.endpoints: dict[Name, Endpoints] = {}
        self.secrets: dict[Name, Secret] = {}
        self.config_maps: dict[Name, ConfigMap] = {}
        self._namespaces_of_service: Index[str, str] = Index()
        self._slices_of: Index[Name, Name] = Index()
        self._kinds: Mapping[str, dict[Name, KubernetesObject]] = {
            "Ingress": self.ingresses,  # type: ignore[dict-item]  # one kind a dictionary
            "IngressClass": self.classes,  # type: ignore[dict-item]  # the same
            "Service": self.services,  # type: ignore[dict-item]  # the same
            "EndpointSlice": self.slices,  # type: ignore[dict-item]  # the same
            "Endpoints": self.endpoints,  # type: ignore[dict-item]  # the same
            "Secret": self.secrets,  # type: ignore[dict-item]  # the same
            "ConfigMap": self.config_maps,  # type: ignore[dict-item]  # the same
        }

    def apply(self, changes: Iterable[ObjectChange]) -> list[Applied]:
        """Takes changes in; answers those after which something is different.

        Raises:
            ValueError: a key is of a kind that is not kept; nothing was taken in.
        """
        every = tuple(changes)
        for key, _ in every:
            if key.kind not in self._kinds:
                raise ValueError(f"objects of kind {key.kind} are not kept")
        found = []
        for key, item in every:
            objects = self._kinds[key.kind]
            name = Name(key.namespace, key.name)
            before = objects.get(name)
            if before == item:
                continue
            if item is None:
                del objects[name]
            else:
                objects[name] = item
            applied = Applied(key, name, before, item)
            self._index(applied)
            found.append(applied)
        return found

    def slices_of(self, service: Name) -> Iterator[tuple[Name, EndpointSlice]]:
        """The slices of a Service, in no particular order."""
        for name in self._slices_of.of(service):
            yield name, self.slices[name]

    def namespaces_of_service(self, name: str) -> Collection[str]:
        """Where a Service of this name exists: for advice when one is missing elsewhere."""
        return self._namespaces_of_service.of(name)

    def objects(self) -> Iterable[ObjectChange]:
        """Everything, as changes that would fill an empty store."""
        for kind, objects in self._kinds.items():
            for name, item in objects.items():
                yield ObjectChange(ObjectKey(kind, *name), item)

    def _index(self, applied: Applied) -> None:
        name, before, item = applied.name, applied.before, applied.object
        if isinstance(before, EndpointSlice):
            self._slices_of.discard(service_of(before), name)
        if isinstance(item, EndpointSlice):
            self._slices_of.add(service_of(item), name)
        elif applied.key.kind == "Service" and item is None:
            self._namespaces_of_service.discard(name.name, name.namespace)
        elif applied.key.kind == "Service":
            self._namespaces_of_service.add(name.name, name.namespace)


def service_of(item: EndpointSlice) -> Name:
    """The Service whose endpoints a slice holds: named by a label, in the same namespace."""
    return Name(item.metadata.namespace, item.metadata.labels.get(SERVICE_NAME_LABEL, ""))
