"""Applies a delta to a snapshot. The control process proves with it that deltas are complete."""

from typing import TypeVar

from router.model.snapshot import Delta, HostPattern, HostSetName, Snapshot

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
    return Snapshot(
        version=delta.version,
        listeners=snapshot.listeners,
        hosts=_changed_sets(snapshot.hosts, delta.hosts),
        upstreams=_changed(snapshot.upstreams, delta.upstreams),
        endpoints=_changed(snapshot.endpoints, delta.endpoints),
        server_names=_changed_sets(snapshot.server_names, delta.server_names),
        certificates=_changed(snapshot.certificates, delta.certificates),
        authorities=_changed(snapshot.authorities, delta.authorities),
    )


def _changed_sets(
    sets: dict[HostSetName, dict[HostPattern, V]],
    changes: dict[HostSetName, dict[HostPattern, V | None]],
) -> dict[HostSetName, dict[HostPattern, V]]:
    if not changes:
        return sets
    sets = sets.copy()
    for name, changed in changes.items():
        sets[name] = _changed(sets.get(name, {}), changed)
    return sets


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
