"""A cluster's API server as a source: which reflectors there are, and when everything is known.

Whole kinds are read by one reflector each, or one for each watched namespace. Secrets that are not
of the TLS type, and ConfigMaps, are read one by one, only while a rule or an option names them; so
nothing else that is secret ever gets here.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import groupby
from typing import Literal, NamedTuple

import msgspec

from ingress_controller.logs import Log
from ingress_controller.objects.ingress import IngressStatus
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.sources import findings
from ingress_controller.sources.mirror import Mirror
from ingress_controller.sources.reach import Reach
from ingress_controller.sources.reflector import Api, Reflector
from ingress_controller.sources.source import KindState, Location, Receiver
from ingress_controller.sources.target import Target, is_name
from ingress_controller.sources.watch_machine import Pace
from ingress_controller.store import Name, ObjectChange
from ingress_controller.translate.diagnostics import Diagnostic, order

MAX_WATCHES = 1_000
"""Of whole kinds and of single objects together; each holds a connection to the API server."""
MAX_UNREADABLE = 1_000
"""Objects that cannot be read, of which each has its diagnostic."""

_TLS_ONLY = "type=kubernetes.io/tls"


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What is read from the cluster."""

    namespaces: tuple[str, ...] = ()
    """Empty: all of them."""
    secrets: Literal["tls", "named"] = "tls"
    """tls: all Secrets of type ``kubernetes.io/tls``. named: each that a rule names, alone."""
    named: frozenset[ObjectKey] = frozenset()
    """Objects that options name: read in any case, alone where their kind is not read there."""


class _Alone(NamedTuple):
    reflector: Reflector
    task: asyncio.Task[None]


class ClusterSource:
    """The objects of a cluster; a `Source`."""

    def __init__(self, api: Api, scope: Scope, log: Log, *, pace: Pace | None = None) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = ()
        self.statuses: dict[Name, IngressStatus] = {}
        """Of every Ingress, as the API has it; only to be read."""
        self.on_status: Callable[[Name], None] = lambda name: None
        """Called when a status is new, different or gone."""
        self.on_answer: Callable[[], None] = lambda: None
        """Called when the API answers again after an outage, for others who wait for that."""
        self._api = api
        self._log = log
        self._pace = pace or Pace()
        self._named = frozenset(filter(_is_possible, scope.named))
        self._asked: frozenset[ObjectKey] = frozenset()
        """What `want` was told last."""
        self._wanted = set(self._named)
        self._reach = Reach(
            api.server,
            api.entry,
            self._pace,
            log,
            on_alarm=self._refresh,
            on_answer=lambda: self.on_answer(),
        )
        self._receiver: Receiver | None = None
        self._group: asyncio.TaskGroup | None = None
        self._whole: dict[tuple[str, str], Reflector] = {}
        """By kind and namespace."""
        self._alone: dict[ObjectKey, _Alone] = {}
        self._ended: dict[str, Counter[str]] = {}
        """By kind: lists, watches and errors of reflectors of single objects that ended."""
        self._unanswered: set[ObjectKey] = set()
        """Objects watched alone that have not been read yet."""
        self._beyond: set[ObjectKey] = set()
        """Objects that are not watched because there are too many."""
        self._owed = True
        """`Receiver.synced` is to be called when everything is known."""
        for target in _whole_kinds(scope):
            lenient = target.kind == "IngressClass" and bool(scope.namespaces)
            self._whole[target.kind, target.namespace] = self._reflector(target, lenient=lenient)

    @property
    def kinds(self) -> tuple[KindState, ...]:
        """What is read, and how well."""
        alone = sorted((item.reflector for item in self._alone.values()), key=_kind)
        groups = [[reflector] for reflector in self._whole.values()]
        groups += [list(group) for _, group in groupby(alone, _kind)]
        return tuple(self._state(group) for group in groups)

    @property
    def waiting(self) -> str:
        """What has not been read yet, as a sentence; empty when all has been."""
        missing = [item for item in self._whole.values() if not item.answered]
        missing += [self._alone[key].reflector for key in sorted(self._unanswered)]
        if not missing:
            return ""
        names = ", ".join(str(item.target) for item in missing[:10])
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        reason = next((item.last_error for item in missing if item.last_error), "")
        return f"the API server has not told us yet: {names}{more}" + (reason and f" ({reason})")

    def overheard(self) -> None:
        """The API server answers, whoever asked."""
        self._reach.overheard()

    async def run(self, receiver: Receiver) -> None:
        """Reads until it is cancelled."""
        self._receiver = receiver
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._reach.run(), name="look whether the API answers")
            for reflector in self._whole.values():
                group.create_task(reflector.run(), name=f"read {reflector.target}")
            self._settle(self._wanted)

    def want(self, objects: frozenset[ObjectKey]) -> bool:
        """See `Source.want`. Names that cannot exist, and what exceeds MAX_WATCHES, are absent."""
        if objects is not self._asked:  # it is asked at every build, and seldom for something else
            added, removed = objects - self._asked, self._asked - objects - self._named
            self._asked = objects
            self._wanted.difference_update(removed)
            self._wanted.update(filter(_is_possible, added))
            self._settle(added | removed)
        self._owed = not self._is_complete()
        return not self._owed

    def steady(self) -> AbstractAsyncContextManager[None]:
        """Nothing is read by another thread."""
        return contextlib.nullcontext()

    def location(self, key: ObjectKey) -> Location | None:
        """Objects of a cluster are in no file."""
        return None

    # What reflectors tell (`reflector.Sink`).

    def changed(self, reflector: Reflector, changes: Sequence[ObjectChange]) -> None:
        """Hands changes on; a Secret that came or went as a TLS Secret may be watched otherwise."""
        if self._receiver is None or (reflector.target.name and not self._runs(reflector)):
            return
        self._receiver.changed(changes)
        if reflector.target.kind != "Secret" or reflector.target.name:
            return
        self._settle(
            [
                key
                for key, item in changes
                if key in self._alone or (item is None and key in self._wanted)
            ]
        )

    def answered(self, reflector: Reflector) -> None:
        """A reflector knows what there is."""
        target = reflector.target
        if target.name:
            if not self._runs(reflector):
                return
            self._unanswered.discard(ObjectKey(target.kind, target.namespace, target.name))
        elif target.kind == "Secret":
            self._settle(self._wanted)
        if self._owed and self._receiver is not None and self._is_complete():
            self._owed = False
            self._receiver.synced()

    def reported(self, reflector: Reflector) -> None:
        """What cannot be read is different."""
        self._refresh()

    # Which objects are watched alone.

    def _settle(self, keys: Collection[ObjectKey]) -> None:
        """Starts and ends reflectors of these objects alone, as they are needed now."""
        if self._group is None or not keys:
            return
        is_reported = bool(self._beyond)
        for key in keys:
            if key not in self._wanted or not self._is_needed_alone(key):
                self._beyond.discard(key)
                if key in self._alone:
                    is_reported |= self._end(key)
            elif key not in self._alone:
                self._beyond.add(key)
        if self._beyond:
            watched = self._share(MAX_WATCHES - len(self._whole))
            for key in self._alone.keys() - watched:
                is_reported |= self._end(key)
                self._beyond.add(key)
            for key in sorted(self._beyond & watched):
                self._beyond.discard(key)
                self._begin(key, self._group)
        if is_reported or self._beyond:
            self._refresh()

    def _share(self, most: int) -> set[ObjectKey]:
        """So many of the objects that are to be watched alone: of each namespace equally many.

        Else one Ingress that names a thousand absent Secrets would keep others' from being read.
        Objects that options name come first, then those that are watched already.
        """
        candidates = self._beyond | self._alone.keys()
        if len(candidates) <= most:
            return candidates
        before: Counter[str] = Counter()
        ranked = []
        for key in sorted(candidates, key=lambda key: (key not in self._alone, key)):
            ranked.append((key not in self._named, before[key.namespace], key))
            before[key.namespace] += 1
        ranked.sort()
        return {key for _, _, key in ranked[: max(0, most)]}

    def _is_needed_alone(self, key: ObjectKey) -> bool:
        whole = self._whole_of(key)
        if whole is None:
            return True
        if key.kind != "Secret":
            return False
        # Of Secrets only those of the TLS type are read together; the type never changes.
        return whole.answered and not whole.mirror.holds(key)

    def _whole_of(self, key: ObjectKey) -> Reflector | None:
        """The reflector of the key's kind and namespace."""
        return self._whole.get((key.kind, "")) or self._whole.get((key.kind, key.namespace))

    def _begin(self, key: ObjectKey, group: asyncio.TaskGroup) -> None:
        reflector = self._reflector(Target(*key), lenient=True)
        self._alone[key] = _Alone(reflector, group.create_task(reflector.run(), name=f"read {key}"))
        self._unanswered.add(key)

    def _end(self, key: ObjectKey) -> bool:
        """Answers whether there was a diagnostic about it."""
        reflector, task = self._alone.pop(key)
        task.cancel()
        self._unanswered.discard(key)
        ended = self._ended.setdefault(key.kind, Counter())
        ended.update(lists=reflector.lists, watches=reflector.watches, errors=reflector.errors)
        # A Secret that is wanted, and not needed alone, was read with the others.
        taken_over = key in self._wanted and not self._is_needed_alone(key)
        if reflector.mirror.objects and not taken_over and self._receiver is not None:
            self._receiver.changed((ObjectChange(key, None),))
        return reflector.problem is not None or bool(reflector.mirror.unreadable)

    def _reflector(self, target: Target, *, lenient: bool) -> Reflector:
        statuses = self.statuses if target.kind == "Ingress" else {}
        mirror = Mirror(target.namespace, statuses, lambda name: self.on_status(name))
        return Reflector(
            self._api, self._reach, target, mirror, self, self._log, self._pace, lenient=lenient
        )

    def _runs(self, reflector: Reflector) -> bool:
        """The reflector of a single object has not been ended."""
        target = reflector.target
        item = self._alone.get(ObjectKey(target.kind, target.namespace, target.name))
        return item is not None and item.reflector is reflector

    def _is_complete(self) -> bool:
        return (
            self._group is not None
            and not self._unanswered
            and all(reflector.answered for reflector in self._whole.values())
        )

    def _state(self, reflectors: Sequence[Reflector]) -> KindState:
        """Of one whole kind, or of single objects of one kind."""
        target = reflectors[0].target
        now = time.monotonic()
        ended = self._ended.get(target.kind, Counter()) if target.name else Counter[str]()
        return KindState(
            kind=target.kind,
            namespace="" if target.name else target.namespace,
            alone=len(reflectors) if target.name else 0,
            synced=all(item.answered for item in reflectors),
            objects=sum(len(item.mirror.objects) for item in reflectors),
            staleness=max(now - item.heard_at for item in reflectors),
            lists=ended["lists"] + sum(item.lists for item in reflectors),
            watches=ended["watches"] + sum(item.watches for item in reflectors),
            errors=ended["errors"] + sum(item.errors for item in reflectors),
            last_error=next((item.last_error for item in reflectors if item.last_error), ""),
        )

    # Diagnostics.

    def _refresh(self) -> None:
        found = tuple(sorted(self._findings(), key=order))
        if found != self.diagnostics:
            self.diagnostics = found
            if self._receiver is not None:
                self._receiver.reported()

    def _findings(self) -> Iterator[Diagnostic]:
        if self._reach.alarm:
            yield findings.unavailable_api(
                self._api.server, self._reach.alarm, answered=self._is_complete()
            )
        if self._beyond:
            first, more = min(self._beyond), len(self._beyond) - 1
            yield findings.too_many_watches(first, more, MAX_WATCHES)
        room = MAX_UNREADABLE
        for reflector in (
            *self._whole.values(),
            *(item.reflector for item in self._alone.values()),
        ):
            mirror = reflector.mirror
            if reflector.problem is not None:
                yield findings.unreadable_target(
                    reflector.target,
                    reflector.problem,
                    answered=reflector.answered,
                    objects=len(mirror.objects),
                )
            for key in sorted(mirror.unreadable)[:room]:
                room -= 1
                known = key in mirror.objects
                yield findings.unreadable_object(mirror.unreadable[key], known=known)


def _is_possible(key: ObjectKey) -> bool:
    return is_name(key.namespace) and is_name(key.name)


def _whole_kinds(scope: Scope) -> Iterator[Target]:
    yield Target("IngressClass")
    for namespace in dict.fromkeys(scope.namespaces) or ("",):
        for kind in ("Ingress", "Service", "EndpointSlice"):
            yield Target(kind, namespace)
        if scope.secrets == "tls":
            yield Target("Secret", namespace, selector=_TLS_ONLY)


def _kind(reflector: Reflector) -> str:
    return reflector.target.kind
