"""What a fake API server stores: objects, versions, history, and the rules for writing them.

As in the real one there is one counter for all kinds, an object's version is the counter at its
last write, a write that changes nothing is none, and history can be forgotten up to a version.
"""

import copy
import json
from bisect import bisect_right
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

Json = dict[str, Any]


class Kind(NamedTuple):
    """A kind as the API serves it."""

    group: str
    kind: str
    plural: str
    namespaced: bool = True
    has_status: bool = False
    fields: tuple[str, ...] = ()
    """Further fields that its field selectors know, dotted."""
    needs_version: bool = False
    """An update must say which version it replaces."""
    bare: str = ""
    """JSON of what a bookmark holds besides its metadata: fields that are never left out."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def root(self) -> str:
        """The path that all its paths begin with."""
        return f"/apis/{self.group}/v1" if self.group else "/api/v1"

    @property
    def resource(self) -> str:
        """As messages name it."""
        return f"{self.plural}.{self.group}".rstrip(".")


KINDS = (
    Kind(
        "networking.k8s.io",
        "Ingress",
        "ingresses",
        has_status=True,
        bare='"spec":{},"status":{"loadBalancer":{}}',
    ),
    Kind("networking.k8s.io", "IngressClass", "ingressclasses", namespaced=False, bare='"spec":{}'),
    Kind(
        "",
        "Service",
        "services",
        has_status=True,
        fields=("spec.clusterIP", "spec.type"),
        bare='"spec":{},"status":{"loadBalancer":{}}',
    ),
    Kind(
        "discovery.k8s.io",
        "EndpointSlice",
        "endpointslices",
        bare='"addressType":"","endpoints":null,"ports":null',
    ),
    Kind("", "Secret", "secrets", fields=("type",)),
    Kind("", "ConfigMap", "configmaps"),
    Kind("", "Node", "nodes", namespaced=False, has_status=True),
    Kind(
        "",
        "Event",
        "events",
        fields=(
            "type",
            "reason",
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
        ),
    ),
    Kind("coordination.k8s.io", "Lease", "leases", needs_version=True, bare='"spec":{}'),
)
BY_KIND = {kind.kind: kind for kind in KINDS}

IMMUTABLE: dict[str, Any] = {"causes": [{"reason": "FieldValueInvalid"}]}

Key = tuple[str, str]
"""Namespace, or nothing, and name."""


class Refusal(Exception):
    """An answer that is no success, as the API words it."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        } | ({"details": details} if details else {})


class Stored(NamedTuple):
    """One version of an object. Never changed."""

    key: Key
    version: int
    content: Json
    item: bytes
    """JSON without kind and apiVersion, as lists hold it."""

    def full(self, kind: Kind) -> bytes:
        """JSON as everything but lists holds it."""
        head = f'{{"kind":"{kind.kind}","apiVersion":"{kind.api_version}",'
        return head.encode() + self.item[1:]


class Change(NamedTuple):
    """One write."""

    version: int
    before: Stored | None
    after: Stored | None
    last: Stored
    """What a watch tells: the new object, or the deleted one with the version of its deletion."""


class Collection:
    """All objects of one kind, and what happened to them."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.objects: dict[Key, Stored] = {}
        self.history: list[Change] = []

    def since(self, version: int) -> int:
        """Index of the first change after a version."""
        return bisect_right(self.history, version, key=lambda change: change.version)


class Backup(NamedTuple):
    """What `Store.restore` puts back."""

    version: int
    objects: dict[str, dict[Key, Stored]]


class Store:
    """All objects. Every write method gives the stored object, or raises `Refusal`."""

    def __init__(self, first_version: int = 1000) -> None:
        self.version = first_version
        self.forgotten = 0
        """Watches from before this version are refused."""
        self.collections = {kind.kind: Collection(kind) for kind in KINDS}
        self._made = 0

    def get(self, kind: Kind, key: Key) -> Stored:
        found = self.collections[kind.kind].objects.get(key)
        if found is None:
            raise Refusal(
                404,
                "NotFound",
                f'{kind.resource} "{key[1]}" not found',
                {"name": key[1], "group": kind.group, "kind": kind.plural},
            )
        return found

    def create(self, kind: Kind, namespace: str, content: Json) -> Stored:
        """POST: the name, or the beginning of one, is in the content."""
        content = _own(kind, content)
        meta = content["metadata"]
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = f"{meta['generateName']}{self._next():05x}"
        name = meta.get("name")
        if not name:
            raise Refusal(422, "Invalid", f"{kind.kind} is invalid: metadata.name: Required value")
        if meta.setdefault("namespace", namespace) != namespace:
            raise Refusal(400, "BadRequest", "the namespace of the object does not match")
        if meta.get("resourceVersion"):
            raise Refusal(400, "BadRequest", "resourceVersion should not be set on create")
        if (namespace, name) in self.collections[kind.kind].objects:
            raise Refusal(409, "AlreadyExists", f'{kind.resource} "{name}" already exists')
        meta.setdefault("uid", f"00000000-0000-4000-8000-{self._next():012x}")
        meta.setdefault("creationTimestamp", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        meta["generation"] = 1
        return self._write(kind, (namespace, name), content)

    def update(self, kind: Kind, key: Key, content: Json, *, part: str = "") -> Stored:
        """PUT; ``part`` is "status" for that subresource."""
        before = self.get(kind, key)
        content = _own(kind, content)
        meta, old = content["metadata"], before.content["metadata"]
        if meta.get("name", key[1]) != key[1] or meta.get("namespace", key[0]) != key[0]:
            raise Refusal(400, "BadRequest", "the name of the object does not match the URL")
        if meta.get("uid", old["uid"]) != old["uid"]:
            raise Refusal(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind.resource} "{key[1]}": Precondition '
                f"failed: UID in precondition: {meta['uid']}, UID in object meta: {old['uid']}",
            )
        if kind.needs_version and not meta.get("resourceVersion"):
            raise Refusal(
                422,
                "Invalid",
                f'{kind.resource} "{key[1]}" is invalid: metadata.resourceVersion: Invalid value: '
                "0: must be specified for an update",
                IMMUTABLE,
            )
        self._same_version(kind, before, meta)
        return self._replace(kind, before, content, part)

    def patch(self, kind: Kind, key: Key, patch: Json, *, part: str = "") -> Stored:
        """PATCH with a merge patch (RFC 7396)."""
        before = self.get(kind, key)
        content = _own(kind, _merged(before.content, patch))
        meta, old = content["metadata"], before.content["metadata"]
        self._same_version(kind, before, meta)
        for field in ("uid", "name", "namespace"):
            # An update's uid is a precondition, a patch's is a change of an immutable field.
            if meta.get(field, "") != old.get(field, ""):
                raise Refusal(
                    422,
                    "Invalid",
                    f'{kind.kind} "{key[1]}" is invalid: metadata.{field}: Invalid value: '
                    f'"{meta.get(field)}": field is immutable',
                    IMMUTABLE,
                )
        return self._replace(kind, before, content, part)

    def put(self, kind: Kind, content: Json) -> Stored:
        """Whatever is there: as ``kubectl apply`` and all controllers together. Status included."""
        meta = content["metadata"]
        namespace = meta.get("namespace", "default") if kind.namespaced else ""
        before = self.collections[kind.kind].objects.get((namespace, meta["name"]))
        if before is None:
            return self.create(kind, namespace, content)
        if kind.has_status and "status" not in content:
            return self._replace(kind, before, _own(kind, content), "")
        return self._replace(kind, before, _own(kind, content), "all")

    def delete(self, kind: Kind, key: Key) -> Stored:
        """Gives the object as it was last."""
        before = self.get(kind, key)
        del self.collections[kind.kind].objects[key]
        self.version += 1
        content = copy.deepcopy(before.content)
        content["metadata"]["resourceVersion"] = str(self.version)
        last = _stored(key, self.version, content)
        self.collections[kind.kind].history.append(Change(self.version, before, None, last))
        return last

    def forget(self) -> None:
        """Compaction: nothing can be watched from an older version any more."""
        self.forgotten = self.version

    def backup(self) -> Backup:
        return Backup(
            self.version, {name: dict(found.objects) for name, found in self.collections.items()}
        )

    def restore(self, backup: Backup) -> None:
        """Objects and counter as they were; whoever watches must be cut off by the caller."""
        self.version = self.forgotten = backup.version
        for name, collection in self.collections.items():
            collection.objects = dict(backup.objects[name])
            collection.history.clear()

    def _next(self) -> int:
        self._made += 1
        return self._made

    def _same_version(self, kind: Kind, before: Stored, meta: Json) -> None:
        if meta.get("resourceVersion", str(before.version)) != str(before.version):
            raise Refusal(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind.resource} "{before.key[1]}": the object '
                "has been modified; please apply your changes to the latest version and try again",
            )

    def _replace(self, kind: Kind, before: Stored, content: Json, part: str) -> Stored:
        """Store what may be changed through this part of the object."""
        old = before.content
        meta = content["metadata"]
        if part == "status":
            content = old | {"metadata": meta, "status": content.get("status", {})}
        elif part == "" and kind.has_status:
            content = content | {"status": old.get("status", {})}
        for field in ("uid", "creationTimestamp", "resourceVersion", "namespace", "generation"):
            if field in old["metadata"]:
                meta[field] = old["metadata"][field]
        if _spec(content) != _spec(old):
            meta["generation"] = old["metadata"]["generation"] + 1
        if content == old:
            return before
        return self._write(kind, before.key, content)

    def _write(self, kind: Kind, key: Key, content: Json) -> Stored:
        self.version += 1
        content["metadata"]["resourceVersion"] = str(self.version)
        if not kind.namespaced:
            content["metadata"].pop("namespace", None)
        collection = self.collections[kind.kind]
        before, after = collection.objects.get(key), _stored(key, self.version, content)
        collection.objects[key] = after
        collection.history.append(Change(self.version, before, after, after))
        return after


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _own(kind: Kind, content: Json) -> Json:
    """A copy of what was sent, in the API's form."""
    content = json.loads(json.dumps(content))
    if content.pop("kind", kind.kind) != kind.kind:
        raise Refusal(400, "BadRequest", f"the object in the data is no {kind.kind}")
    if content.pop("apiVersion", kind.api_version) != kind.api_version:
        raise Refusal(400, "BadRequest", f"the API version is not {kind.api_version}")
    content.setdefault("metadata", {})
    if kind.kind == "Secret":
        content.setdefault("type", "Opaque")
    if kind.kind == "EndpointSlice":  # the API writes null for lists that are empty
        content["endpoints"] = content.get("endpoints") or None
        content["ports"] = content.get("ports") or None
    if kind.kind in ("Ingress", "Service"):
        content["status"] = {"loadBalancer": {}} | (content.get("status") or {})
    return content


def _spec(content: Json) -> Json:
    return {name: value for name, value in content.items() if name not in ("metadata", "status")}


def _stored(key: Key, version: int, content: Json) -> Stored:
    content = {"metadata": content.pop("metadata"), **content}
    return Stored(key, version, content, msgspec.json.encode(content))
