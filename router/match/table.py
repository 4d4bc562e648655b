"""The compiled form of a snapshot's hosts: which route takes (host, path), in a few look-ups.

Tables are immutable. A change makes a new table that shares everything but the changed hosts, so
that a request keeps the table that was current when its head was complete.

A table is generic over what a route is bound to: the worker binds counters and live endpoints,
`explain` binds the route itself, and both run the same code.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from router.model.snapshot import (
    Delta,
    Host,
    HostPattern,
    HostSetName,
    Route,
    Snapshot,
    SnapshotVersion,
)
from router.steps import Steps, at_once

T = TypeVar("T")

Bind = Callable[[HostPattern, Route], T]
"""Makes what the table hands out for a route of a host; called once for each when it is built."""


class _Element(Generic[T]):
    """A path element in the tree of a host's prefixes.

    ``taken`` is what the longest prefix that ends here or above is bound to.
    """

    __slots__ = ("children", "taken")

    def __init__(self, taken: T | None) -> None:
        self.taken = taken
        self.children: dict[bytes, _Element[T]] = {}


class HostRoutes(Generic[T]):
    """All routes of one host pattern."""

    __slots__ = ("_depth", "_exact", "_root", "pattern")

    def __init__(self, pattern: HostPattern, host: Host, bind: Bind[T]) -> None:
        self.pattern = pattern
        default = None if host.default is None else bind(pattern, host.default)
        self._exact: dict[bytes, T] = {}
        self._root: _Element[T] = _Element(default)
        prefixes = []
        for route in host.routes:
            if route.path.kind == "exact":
                self._exact[route.path.value.encode()] = bind(pattern, route)
            else:
                prefixes.append((route.path.value.encode().split(b"/")[1:], bind(pattern, route)))
        # Short prefixes first: then whatever a new element inherits is already in place.
        prefixes.sort(key=lambda prefix: len(prefix[0]))
        for elements, bound in prefixes:
            self._insert(elements, bound)
        self._depth = len(prefixes[-1][0]) if prefixes else 0
        """Elements of the longest prefix: no more of a path are ever looked at."""

    def _insert(self, elements: Iterable[bytes], bound: T) -> None:
        node = self._root
        for element in elements:
            child = node.children.get(element)
            if child is None:
                child = node.children[element] = _Element(node.taken)
            node = child
        node.taken = bound

    def find(self, match_path: bytes) -> T | None:
        """What takes this path (in match form): the equal exact path, else the longest prefix,
        else the host's default; None when nothing does.

        The cost does not grow with the number of routes, and only as deep as this host's own
        prefixes go with the number of elements in the path.
        """
        exact = self._exact.get(match_path)
        if exact is not None:
            return exact
        node = self._root
        children = node.children
        if children:
            # One split is quicker than a search for each slash.
            for element in match_path[1:].split(b"/", self._depth):
                child = children.get(element)
                if child is None:
                    break
                node = child
                children = node.children
                if not children:
                    break
        return node.taken


class HostTable(Generic[T]):
    """The hosts of one host set."""

    __slots__ = ("any", "precise", "wildcards")

    def __init__(
        self,
        precise: dict[bytes, HostRoutes[T]],
        wildcards: dict[bytes, HostRoutes[T]],
        every: HostRoutes[T] | None,
    ) -> None:
        self.precise = precise
        """By name. A name is in normal form, so a hit with the raw bytes of a Host field is right,
        and saves normalising it; a miss with raw bytes says nothing."""
        self.wildcards = wildcards
        """By what follows the star: ``*.shop.example`` stands under ``.shop.example``."""
        self.any = every
        """Takes the hosts that no other pattern claims."""

    def find_host(self, host: bytes) -> HostRoutes[T] | None:
        """The routes of a host in normal form (`router.match.hosts.normalise_host`): by its
        name, else by the wildcard for its first label, else those for any host.

        There is no way back: a host whose routes take no path does not try another pattern.
        """
        routes = self.precise.get(host)
        if routes is not None:
            return routes
        if self.wildcards:
            dot = host.find(b".")
            if dot > 0:
                routes = self.wildcards.get(host[dot:])
                if routes is not None:
                    return routes
        return self.any

    def changing(
        self, changes: Mapping[HostPattern, Host | None], bind: Bind[T]
    ) -> Steps["HostTable[T]"]:
        """A table with these hosts replaced, and those marked None removed; the rest is shared.
        One step a host."""
        precise, wildcards, every = self.precise.copy(), self.wildcards, self.any
        for pattern, host in changes.items():
            yield
            routes = None if host is None else HostRoutes(pattern, host, bind)
            if not pattern:
                every = routes
                continue
            if pattern.startswith("*"):
                if wildcards is self.wildcards:
                    wildcards = wildcards.copy()
                hosts, name = wildcards, pattern[1:].encode()
            else:
                hosts, name = precise, pattern.encode()
            if routes is None:
                hosts.pop(name, None)
            else:
                hosts[name] = routes
        return HostTable(precise, wildcards, every)


def _nothing() -> HostTable[T]:
    return HostTable({}, {}, None)


def build(hosts: Mapping[HostPattern, Host], bind: Bind[T]) -> HostTable[T]:
    """The table of these hosts."""
    empty: HostTable[T] = _nothing()
    return at_once(empty.changing(hosts, bind))


class Table(Generic[T]):
    """Everything a worker matches against, of one version."""

    __slots__ = ("_sets", "version")

    def __init__(self, version: SnapshotVersion, sets: dict[HostSetName, HostTable[T]]) -> None:
        self.version = version
        self._sets = sets

    @classmethod
    def of(cls, snapshot: Snapshot, bind: Bind[T]) -> "Table[T]":
        """The table of a snapshot."""
        return at_once(cls.building(snapshot, bind))

    @classmethod
    def building(cls, snapshot: Snapshot, bind: Bind[T]) -> Steps["Table[T]"]:
        """The table of a snapshot; one step a host."""
        sets: dict[HostSetName, HostTable[T]] = {}
        for name, hosts in snapshot.hosts.items():
            empty: HostTable[T] = _nothing()
            sets[name] = yield from empty.changing(hosts, bind)
        return cls(snapshot.version, sets)

    def hosts_for(self, name: HostSetName) -> HostTable[T]:
        """The hosts of a set; a set that the snapshot does not name has none."""
        found = self._sets.get(name)
        return _nothing() if found is None else found

    def changing(self, delta: Delta, bind: Bind[T]) -> Steps["Table[T]"]:
        """The table after a delta; without changed hosts it shares all of this one. One step a
        host.

        The caller has checked that ``delta.base`` is this table's version.
        """
        sets = self._sets
        if delta.hosts:
            sets = sets.copy()
            for name, changes in delta.hosts.items():
                sets[name] = yield from self.hosts_for(name).changing(changes, bind)
        return Table(delta.version, sets)
