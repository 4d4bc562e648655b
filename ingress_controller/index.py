"""An index with several values a key, made for many keys that have one."""

from collections.abc import Collection, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


class Index(Generic[K, V]):
    """Values by key. One value costs no set of its own, which would take 216 bytes; most of what
    is indexed here (the Ingresses of a host, the slices of a Service) is alone. No value is None.
    """

    __slots__ = ("_many", "_one")

    def __init__(self) -> None:
        self._one: dict[K, V] = {}
        self._many: dict[K, set[V]] = {}
        """Keys with two values or more; a key is in one of both dictionaries."""

    def add(self, key: K, value: V) -> None:
        """Does nothing when the value is there already."""
        one = self._one.get(key)
        if one is None:
            many = self._many.get(key)
            if many is None:
                self._one[key] = value
            else:
                many.add(value)
        elif one != value:
            del self._one[key]
            self._many[key] = {one, value}

    def discard(self, key: K, value: V) -> None:
        """Does nothing when the value is not there."""
        one = self._one.get(key)
        if one is not None:
            if one == value:
                del self._one[key]
            return
        many = self._many.get(key)
        if many is not None:
            many.discard(value)
            if len(many) == 1:
                self._one[key] = many.pop()
                del self._many[key]

    def of(self, key: K) -> Collection[V]:
        """The values of a key, in no particular order; not to be kept over a change."""
        one = self._one.get(key)
        return (one,) if one is not None else self._many.get(key, ())

    def __contains__(self, key: object) -> bool:
        """Whether the key has a value."""
        return key in self._one or key in self._many

    def __iter__(self) -> Iterator[K]:
        """The keys."""
        yield from self._one
        yield from self._many
