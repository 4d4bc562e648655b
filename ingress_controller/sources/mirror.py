"""What the API has of one kind, as it last said: kept to tell what is different.

Objects are the ones that were handed over, so that holding them costs a dictionary. An object that
cannot be read stays as it was when it still could be, unless it is another one of the same name.

Pure: items and deletions in, changes out.
"""

from collections.abc import Callable, MutableMapping

from ingress_controller.objects.decode import KubernetesObject, Undecodable
from ingress_controller.objects.ingress import IngressStatus
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.objects.stream import Item
from ingress_controller.store import Name, ObjectChange


class Mirror:
    """The objects of one kind, of all namespaces or of one, or a single object."""

    __slots__ = (
        "_listed",
        "_listed_statuses",
        "_listed_unreadable",
        "_namespace",
        "_on_status",
        "_statuses",
        "objects",
        "unreadable",
    )

    def __init__(
        self,
        namespace: str,
        statuses: MutableMapping[Name, IngressStatus],
        on_status: Callable[[Name], None],
    ) -> None:
        """``namespace`` is empty for all. ``statuses`` takes those of Ingresses, and may be shared
        by the mirrors of several namespaces; ``on_status`` is told which are different."""
        self.objects: dict[ObjectKey, KubernetesObject] = {}
        self.unreadable: dict[ObjectKey, Undecodable] = {}
        """What the API has and we cannot read; an older version may be among the objects."""
        self._namespace = namespace
        self._statuses = statuses
        self._on_status = on_status
        self._listed: dict[ObjectKey, KubernetesObject] = {}
        self._listed_unreadable: dict[ObjectKey, Undecodable] = {}
        self._listed_statuses: dict[Name, IngressStatus] = {}

    def uid(self, key: ObjectKey) -> str:
        """Of the object that is held; empty without one."""
        held = self.objects.get(key)
        return "" if held is None else held.metadata.uid

    def holds(self, key: ObjectKey) -> bool:
        """The API has the object, whether it can be read or not."""
        return key in self.objects or key in self.unreadable

    def begin(self) -> None:
        """A list begins; what came of one before it that did not end is forgotten."""
        self._listed = {}
        self._listed_unreadable = {}
        self._listed_statuses = {}

    def add(self, item: Item) -> None:
        """An item of the list."""
        key = item.key
        if item.status is not None:
            self._listed_statuses[Name(key.namespace, key.name)] = item.status
        held = self.objects.get(key)
        if isinstance(item.read, Undecodable):
            self._listed_unreadable[key] = item.read
            if held is not None and held.metadata.uid == item.uid:
                self._listed[key] = held
        else:
            self._listed_unreadable.pop(key, None)
            # Of two equal objects the one that others hold already is kept.
            self._listed[key] = held if held is not None and held == item.read else item.read

    def complete(self) -> list[ObjectChange]:
        """The list is whole: it is the state. Answers what is different, deletions last."""
        before, self.objects, self._listed = self.objects, self._listed, {}
        self.unreadable, self._listed_unreadable = self._listed_unreadable, {}
        statuses, self._listed_statuses = self._listed_statuses, {}
        for name, status in statuses.items():
            self._set_status(name, status)
        if len(self._statuses) != len(statuses):
            for name in [name for name in self._statuses if name not in statuses]:
                if self._namespace in ("", name.namespace):
                    self._set_status(name, None)
        changes = [
            ObjectChange(key, item)
            for key, item in self.objects.items()
            if before.get(key) is not item
        ]
        changes += [ObjectChange(key, None) for key in before if key not in self.objects]
        return changes

    def put(self, item: Item) -> ObjectChange | None:
        """A new version of an object; answers what is different by it."""
        key = item.key
        if item.status is not None:
            self._set_status(Name(key.namespace, key.name), item.status)
        held = self.objects.get(key)
        if isinstance(item.read, Undecodable):
            self.unreadable[key] = item.read
            if held is None or held.metadata.uid == item.uid:
                return None
            del self.objects[key]
            return ObjectChange(key, None)
        self.unreadable.pop(key, None)
        if held == item.read:
            return None
        self.objects[key] = item.read
        return ObjectChange(key, item.read)

    def remove(self, key: ObjectKey) -> ObjectChange | None:
        """An object is gone; answers what is different by it."""
        self._set_status(Name(key.namespace, key.name), None)
        self.unreadable.pop(key, None)
        return ObjectChange(key, None) if self.objects.pop(key, None) is not None else None

    def _set_status(self, name: Name, status: IngressStatus | None) -> None:
        if self._statuses.get(name) == status:
            return
        if status is None:
            del self._statuses[name]
        else:
            self._statuses[name] = status
        self._on_status(name)
