"""Metadata of every object, and how an object is called."""

from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec

Named = Annotated[str, msgspec.Meta(max_length=253)]
"""The name of something, at most as long as the API server accepts."""


MAX_QUOTED = 100
"""Characters of a user's text in a message."""


def quoted(text: str) -> str:
    """A user's text in quotes, cut where it is long: messages end in logs and Events."""
    return repr(text) if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]!r}…"


class ObjectKey(NamedTuple):
    """Identity of an object in a store; cluster-scoped kinds have an empty namespace."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        if self.namespace:
            return f"{self.kind} {self.namespace}/{self.name}"
        return f"{self.kind} {self.name}" if self.name else self.kind


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """`metadata` with what we read."""

    name: str
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """Absent in most manifest files; such objects count as older than any with a time."""
    uid: str = ""
    """Tells an object from another of its name that came later; absent in most manifest files."""


AgeKey = tuple[float, str, str]
"""Orders objects by age: seconds since 1970 (minus infinity without a time), namespace, name."""


def age_key(meta: ObjectMeta) -> AgeKey:
    """The one sort key by which conflicts are decided: oldest first, then namespace and name.

    An object without a creation time, as in a manifest file, is as old as can be: a folder of
    manifests is then decided by namespace and name alone, the same on every machine.
    """
    created = meta.creation_timestamp
    seconds = created.timestamp() if created is not None else float("-inf")
    return (seconds, meta.namespace, meta.name)
