"""Applies a delta to a snapshot. The control process proves with it that deltas are complete."""

from typing import TypeVar

from router.model.snapshot import Delta, Snapshot

K = TypeVar("K")
V = TypeVar("V")


class OutOfStepError(ValueError):
    """A delta was made for another version than the one at hand."""


def apply_delta(snapshot: Snapshot, delta: Delta) -> Snapshot:
    """The snapshot of version ``delta.version``; what the delta does not name is shared.

    Costs one copy of each dictionary that changes.

    Raises:
        OutOfStepError: ``delta.base`` is not the snapshot's version.
    """
    if delta.base != snapshot.version:
        raise OutOfStepError(
            f"delta from version {delta.base} does not apply to version {snapshot.version}"
        )
    hosts = snapshot.hosts
    if delta.hosts:
        hosts = hosts.copy()
        for name, changes in delta.hosts.items():
            hosts[name] = _changed(hosts.get(name, {}), changes)
    return Snapshot(
        version=delta.version,
        listeners=snapshot.listeners,
        hosts=hosts,
        upstreams=_changed(snapshot.upstreams, delta.upstreams),
        endpoints=_changed(snapshot.endpoints, delta.endpoints),
    )


def _changed(values: dict[K, V], changes: dict[K, V | None]) -> dict[K, V]:
    if not changes:
        return values
    values = values.copy()
    for key, value in changes.items():
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
    return values
