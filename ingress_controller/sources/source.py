"""What the control loop knows of a source of objects, and a source of its receiver.

There are two: folders of manifests (`polling`) and a cluster's API server (`cluster`). The loop
treats them alike; who of them is there is decided in `app`.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import ObjectChange
from ingress_controller.translate.diagnostics import Diagnostic


class Location(NamedTuple):
    """Where an object stands in a file."""

    file: str
    line: int
    """Counted from 1; 0 when unknown."""


class KindState(NamedTuple):
    """How far the reading of a kind is."""

    kind: str
    namespace: str
    """Empty: all."""
    alone: int
    """Objects that are watched one by one; 0 for a whole kind."""
    synced: bool
    objects: int
    staleness: float
    """Seconds since the API last said something about it; about 60 where nothing changes."""
    lists: int
    watches: int
    errors: int
    last_error: str
    """Empty while all is well."""


class Receiver(Protocol):
    """Whom a source tells. Every call returns at once and keeps what it was given."""

    def changed(self, changes: Sequence[ObjectChange]) -> None:
        """Objects that are different now, any number of times; of one object the last counts."""

    def synced(self) -> None:
        """All that is wanted now has been handed over, or is known to be absent."""

    def reported(self) -> None:
        """The source's diagnostics are different now."""


class Source(Protocol):
    """Where objects come from."""

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Everything that is wrong with the source itself, or with objects that cannot be read."""

    @property
    def waiting(self) -> str:
        """What is missing until everything has been handed over, as a sentence."""

    async def run(self, receiver: Receiver) -> None:
        """Tells the receiver of every object, then of every change, until it is cancelled."""

    def want(self, objects: frozenset[ObjectKey]) -> bool:
        """Says which Secrets and ConfigMaps rules name; the set replaces the one before.

        Returns:
            Whether all of them are known already; if not, `Receiver.synced` is called when they
            are.
        """

    def steady(self) -> AbstractAsyncContextManager[None]:
        """While it is held, `location` may be asked."""

    def location(self, key: ObjectKey) -> Location | None:
        """Where an object was read; None when it is in no file."""
