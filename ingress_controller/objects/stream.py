"""What an API server answers to LIST and WATCH, from bytes to objects.

Objects are decoded straight into their structs. What does not fit is read once more as a document
(`decode`): the API writes ``null`` for an empty list, which counts as absent, and what is wrong
beyond that gets its sentence there. One object that cannot be read harms itself alone.

`status` of an Ingress is not part of the object: see `IngressStatus`.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec

from ingress_controller.objects.config import ConfigMap, Secret
from ingress_controller.objects.decode import KubernetesObject, Undecodable, decode
from ingress_controller.objects.ingress import Ingress, IngressClass, IngressSpec, IngressStatus
from ingress_controller.objects.managed_fields import without_managed_fields
from ingress_controller.objects.meta import ObjectKey, ObjectMeta
from ingress_controller.objects.service import Service, ServiceStatus
from ingress_controller.objects.slices import EndpointSlice

API_VERSIONS = {
    "Ingress": "networking.k8s.io/v1",
    "IngressClass": "networking.k8s.io/v1",
    "Service": "v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "Secret": "v1",
    "ConfigMap": "v1",
}
"""The kinds that are read from a cluster."""

_UNREAD_ANNOTATIONS = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "endpoints.kubernetes.io/last-change-trigger-time",
)
"""Of no meaning for routes, and long or often written: the first repeats the whole object."""

T = TypeVar("T")


class StreamError(ValueError):
    """The bytes are not what the API promises; the message does not quote them."""


class Item(NamedTuple):
    """One object of a list or an event."""

    key: ObjectKey
    uid: str
    read: KubernetesObject | Undecodable
    status: IngressStatus | None
    """Of an Ingress; None for other kinds."""


class Page(NamedTuple):
    """One page of a list; the items are decoded by `ObjectReader.item`."""

    version: str
    """Resource version of the list, which is not that of any item."""
    token: str
    """Continues the list; empty on the last page."""
    items: list[msgspec.Raw]


class Event(NamedTuple):
    """One line of a watch."""

    type: str
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""
    object: msgspec.Raw
    version: str
    """Resource version; empty for ERROR alone."""
    key: ObjectKey
    uid: str


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None
    """Required, so that no other answer can pass for an empty list."""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _HeadMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""


class _Head(msgspec.Struct):
    metadata: _HeadMeta


class _IngressWithStatus(msgspec.Struct):
    metadata: ObjectMeta
    spec: IngressSpec = IngressSpec()
    status: ServiceStatus = ServiceStatus()


_read_list = msgspec.json.Decoder(_List).decode
_read_event = msgspec.json.Decoder(_Event).decode
_read_head = msgspec.json.Decoder(_Head).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ObjectReader:
    """Reads what the API answers about one kind."""

    __slots__ = ("_decode", "kind")

    def __init__(self, kind: str) -> None:
        """``kind`` is one of `API_VERSIONS`."""
        self.kind = kind
        self._decode = _DECODERS[kind]

    def page(self, body: bytes) -> Page:
        """The page of a list.

        Raises:
            StreamError: it is none.
        """
        try:
            found = _shallow(_read_list, body)
        except _UNREADABLE as problem:
            raise StreamError(f"the list cannot be read: {problem}") from None
        version = found.metadata.resource_version
        if not version:
            raise StreamError("the list has no resource version")
        return Page(version, found.metadata.continue_, found.items or [])

    def event(self, line: bytes) -> Event:
        """One line of a watch; its object is decoded by `item`, if that is needed.

        Raises:
            StreamError: it is no event.
        """
        try:
            found = _shallow(_read_event, line)
            if found.type == "ERROR":
                return Event("ERROR", found.object, "", ObjectKey(self.kind, "", ""), "")
            meta = _shallow(_read_head, found.object).metadata
        except _UNREADABLE as problem:
            raise StreamError(f"the event cannot be read: {problem}") from None
        if found.type not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
            raise StreamError("the event is of a type that is not known")
        if not meta.resource_version or not (meta.name or found.type == "BOOKMARK"):
            raise StreamError("the event's object has no name or no resource version")
        key = ObjectKey(self.kind, meta.namespace, meta.name)
        return Event(found.type, found.object, meta.resource_version, key, meta.uid)

    def item(self, raw: msgspec.Raw) -> Item:
        """The object, or why it cannot be read."""
        try:
            read, status = _shallow(self._decode, raw)
        except _UNREADABLE:
            return self._slowly(raw)
        return self._item(read, status)

    def _slowly(self, raw: msgspec.Raw) -> Item:
        """As `item`, by way of a document."""
        try:
            meta = _read_head(raw).metadata
        except _UNREADABLE:
            meta = _HeadMeta()
        key = ObjectKey(self.kind, meta.namespace, meta.name)
        read: KubernetesObject | Undecodable | None = None
        status: object = None
        try:
            document = without_nulls(msgspec.json.decode(raw))
        except _UNREADABLE as problem:
            reason = str(problem)
        else:
            reason = "it is no mapping"
            if isinstance(document, dict):
                status = document.pop("status", None) if self.kind == "Ingress" else None
                read = decode(document | {"apiVersion": API_VERSIONS[self.kind], "kind": self.kind})
        if read is None:
            message = f"the object cannot be read: {reason}"
            read = Undecodable(key, "", message, "see whether the API server is sound")
        if isinstance(read, Undecodable):
            key = key if meta.name else read.key
            return Item(key, meta.uid, read._replace(key=key), self._status(meta.uid, status))
        return self._item(read, self._status(read.metadata.uid, status))

    def _item(self, read: KubernetesObject, status: IngressStatus | None) -> Item:
        meta = read.metadata
        annotations = meta.annotations
        if annotations:
            for name in _UNREAD_ANNOTATIONS:
                annotations.pop(name, None)
            if not annotations:
                annotations.clear()  # gives back what the entries took
        return Item(ObjectKey(self.kind, meta.namespace, meta.name), meta.uid, read, status)

    def _status(self, uid: str, document: object) -> IngressStatus | None:
        if self.kind != "Ingress":
            return None
        try:
            status = msgspec.convert(document or {}, ServiceStatus)
        except msgspec.ValidationError:
            status = ServiceStatus()
        return IngressStatus(uid, _addresses(status))


def _shallow(read: Callable[[msgspec.Raw], T], text: bytes | msgspec.Raw) -> T:
    """What is read; without the one part that a tenant may nest too deeply, if he did."""
    try:
        return read(msgspec.Raw(text) if isinstance(text, bytes) else text)
    except RecursionError:
        return read(msgspec.Raw(without_managed_fields(bytes(text))))


def without_nulls(value: object) -> object:
    """A document without the entries whose value is null: they count as absent."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _addresses(status: ServiceStatus) -> tuple[str, ...]:
    return tuple(
        sorted(
            address
            for entry in status.load_balancer.ingress
            for address in (entry.ip, entry.hostname)
            if address
        )
    )


_Decoded = tuple[KubernetesObject, IngressStatus | None]


def _decoder(cls: type[KubernetesObject]) -> Callable[[msgspec.Raw], _Decoded]:
    decode_one = msgspec.json.Decoder(cls).decode
    return lambda raw: (decode_one(raw), None)


_decode_ingress = msgspec.json.Decoder(_IngressWithStatus).decode
_decode_secret = msgspec.json.Decoder(Secret).decode


def _ingress(raw: msgspec.Raw) -> _Decoded:
    found = _decode_ingress(raw)
    status = IngressStatus(found.metadata.uid, _addresses(found.status))
    return Ingress(found.metadata, found.spec), status


def _secret(raw: msgspec.Raw) -> _Decoded:
    secret = _decode_secret(raw)
    if secret.kept is not None:  # ours, and no field of any object of the API
        secret = msgspec.structs.replace(secret, kept=None)
    return secret, None


_DECODERS: dict[str, Callable[[msgspec.Raw], _Decoded]] = {
    "Ingress": _ingress,
    "IngressClass": _decoder(IngressClass),
    "Service": _decoder(Service),
    "EndpointSlice": _decoder(EndpointSlice),
    "Secret": _secret,
    "ConfigMap": _decoder(ConfigMap),
}
