"""The control loop: what changed → wait → retain → translate → publish → say what is served.

Takes what a source says (folders of manifests or a cluster) into `Holdoff`; when a build is due,
`SecretRetention` keeps the last good certificates of Secrets that are gone or broken, the
translator makes the next snapshot and the supervisor sends it. A failure of ours in one round is
logged, and the last good state serves on.

Nothing is published before the source has handed over everything that exists, the objects that its
rules name included: no request ever meets a half-built table.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from ingress_controller.explain.explanation import Explanation
from ingress_controller.explain.walk import explain
from ingress_controller.holdoff import Holdoff
from ingress_controller.logs import Log
from ingress_controller.retention import SecretRetention
from ingress_controller.sources.source import Source
from ingress_controller.store import Name, ObjectChange, ObjectKey
from ingress_controller.supervisor.workers import Supervisor
from ingress_controller.translate.diagnostics import Diagnostic, order
from ingress_controller.translate.expiry import expiring
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Standing, Translator
from ingress_controller.waiting import within
from router.model.limits import Limits
from router.model.snapshot import Delta, SnapshotVersion

RETENTION_SECONDS = 30.0
"""Longest wait for the end of a kept certificate: it is a time of day, and clocks are set anew."""
REPORT_SECONDS = 1.0
"""Between two comparisons of all diagnostics; they must not be what a change costs."""
MAX_LOGGED = 50
"""Diagnostics logged in one round; `/diagnostics` has all."""
EXPIRY_SECONDS = 3600.0
"""Between two looks at the expiry of certificates while nothing changes."""
MAX_UNCONFIRMED = 1000
"""Versions remembered while a worker serves none of them; beyond, the newest are taken together."""


class _Outcome(NamedTuple):
    """What came of an update."""

    different: bool
    delta: Delta | None = None
    """None while it is different: everything may be."""


class Audience(Protocol):
    """Who is told what is served, and what is wrong: in a cluster, status and Events."""

    def changed(self, changes: Sequence[ObjectChange]) -> None:
        """What the source told, before it means anything."""

    def confirmed(self, standings: Mapping[Name, Standing | None]) -> None:
        """Every worker serves a version in which this was the standing of these Ingresses; None: it
        was not there."""

    def found(self, diagnostics: frozenset[Diagnostic]) -> None:
        """All current diagnostics; called when they are different from before."""


class ControlLoop:
    """Keeps the workers in step with a source. A `Receiver`.

    Args:
        audience: told what is served; None when nobody wants to know.
    """

    def __init__(
        self,
        source: Source,
        retention: SecretRetention,
        options: Options,
        supervisor: Supervisor,
        log: Log,
        *,
        audience: Audience | None = None,
    ) -> None:
        self.translator = Translator(options)
        self.diagnostics: tuple[Diagnostic, ...] = ()
        """All current diagnostics, of the source and of the translation, in order."""
        self.published = False
        """The first complete snapshot is on its way to the workers."""
        self._source = source
        self._supervisor = supervisor
        self._log = log
        self._options = options
        self._audience = audience
        self._unconfirmed: deque[tuple[SnapshotVersion, Mapping[Name, Standing | None]]] = deque()
        """Ingresses read for a version that some worker does not serve yet."""
        self._holdoff = Holdoff()
        self._retention = retention
        self._found: frozenset[Diagnostic] = frozenset()
        self._synced = asyncio.Event()
        self._added = asyncio.Event()
        self._reportable = asyncio.Event()

    def changed(self, changes: Sequence[ObjectChange]) -> None:
        """Takes changes from the source."""
        self._holdoff.add(changes, time.monotonic())
        self._added.set()
        if self._audience is not None:
            self._audience.changed(changes)

    def synced(self) -> None:
        """All that is wanted now has been handed over."""
        self._synced.set()

    def reported(self) -> None:
        """The source's diagnostics are different."""
        self._reportable.set()

    def acknowledged(self, version: SnapshotVersion) -> None:
        """Every worker serves this version, or a later one."""
        confirmed: dict[Name, Standing | None] = {}
        while self._unconfirmed and self._unconfirmed[0][0] <= version:
            confirmed |= self._unconfirmed.popleft()[1]
        if confirmed and self._audience is not None:
            self._audience.confirmed(confirmed)

    async def explain(
        self, url: str, method: str, headers: Sequence[str], limits: Limits
    ) -> Explanation:
        """What would happen to a request now; see `explain.explain`.

        Raises:
            ValueError: the question is malformed; the sentence says what to write.
        """
        async with self._source.steady():
            return explain(
                self.translator,
                url=url,
                method=method,
                headers=headers,
                limits=limits,
                diagnostics=self._all_diagnostics(),
                locate=self._place,
            )

    async def run(self) -> None:
        """Runs until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._source.run(self), name="watch the source")
            group.create_task(self._build(), name="build snapshots")
            group.create_task(self._report_changes(), name="report diagnostics")

    async def _build(self) -> None:
        await self._first()
        while True:
            changes = self._due()
            if changes:
                self._translate(changes)
                await asyncio.sleep(0)
            else:
                self._added.clear()
                await within(self._added.wait(), self._patience())

    async def _first(self) -> None:
        """Waits for everything there is; what rules name is asked for as soon as they are known."""
        while not self.published:
            await self._synced.wait()
            self._added.clear()
            # Whatever came counts at once: nothing is served yet that could come too early.
            if self._update(self._retained(self._holdoff.take_all())) is None:
                await self._added.wait()  # better no table than half of one; a change may help
                continue
            self._synced.clear()
            if self._source.want(self.translator.wanted):
                self._supervisor.publish(self.translator.snapshot, None)
                self.published = True
                self._translated()

    def _due(self) -> tuple[ObjectChange, ...]:
        """The changes whose time has come, or a portion of them."""
        return self._retained(self._holdoff.take(time.monotonic()))

    def _retained(self, taken: Sequence[ObjectChange]) -> tuple[ObjectChange, ...]:
        """The changes, with the last good certificates of Secrets that are gone or broken."""
        now = time.time()
        try:
            taken = self._retention.apply(taken, now)
        except Exception as error:
            self._log.defect("no certificates are kept; changes act as they came", error)
        return (*taken, *self._retention.due(now))

    def _patience(self) -> float:
        """Seconds until something may be due without another change."""
        waits = [3600.0]
        build = self._holdoff.next_build()
        if build is not None:
            waits.append(build - time.monotonic())
        deadline = self._retention.next_deadline()
        if deadline is not None:
            waits.append(min(deadline - time.time(), RETENTION_SECONDS))
        return max(0.0, min(waits))

    def _translate(self, changes: Sequence[ObjectChange]) -> None:
        """Applies changes and publishes what comes of them."""
        started = time.perf_counter()
        outcome = self._update(changes)
        seconds = time.perf_counter() - started
        self._holdoff.built(time.monotonic(), seconds)
        if outcome is None:
            self._reportable.set()
            return  # and nobody is told that anything of it is served
        self._source.want(self.translator.wanted)
        if outcome.different:
            self._supervisor.publish(self.translator.snapshot, outcome.delta)
            delta = outcome.delta
            self._log.info(
                "a new snapshot is published",
                version=self.translator.snapshot.version,
                hosts="all" if delta is None else sum(len(each) for each in delta.hosts.values()),
                upstreams="all" if delta is None else len(delta.upstreams),
                endpoint_sets="all" if delta is None else len(delta.endpoints),
                certificates="all" if delta is None else len(delta.certificates),
                milliseconds=round(seconds * 1000, 1),
            )
        self._translated()

    def _update(self, changes: Sequence[ObjectChange]) -> "_Outcome | None":
        """Lets the translator take changes in; None when it failed, and so did starting anew."""
        try:
            delta = self.translator.update(changes)
            return _Outcome(delta is not None, delta)
        except Exception as error:
            self._log.defect("translation failed; it is done again from scratch", error)
        try:
            self.translator = self.translator.rebuilt(self._options)
        except Exception as error:
            self._log.defect("translation failed; the last good state serves on", error)
            return None
        return _Outcome(True)

    def _translated(self) -> None:
        """Remembers whom to tell what when the workers are so far."""
        touched = self.translator.take_touched()
        if touched and self._audience is not None:
            standings = {name: self.translator.standing(name) for name in touched}
            self._unconfirmed.append((self.translator.snapshot.version, standings))
            if len(self._unconfirmed) > MAX_UNCONFIRMED:
                version, newest = self._unconfirmed.pop()
                self._unconfirmed[-1] = (version, {**self._unconfirmed[-1][1], **newest})
            served = self._supervisor.served_version
            if served is not None:
                self.acknowledged(served)
        self._reportable.set()

    async def _report_changes(self) -> None:
        while True:
            # Certificates come near their end without any change.
            await within(self._reportable.wait(), EXPIRY_SECONDS)
            self._reportable.clear()
            async with self._source.steady():
                try:
                    self._report()
                except Exception as error:
                    self._log.defect("comparing diagnostics failed; they stay as they were", error)
            await asyncio.sleep(REPORT_SECONDS)

    def _all_diagnostics(self) -> tuple[Diagnostic, ...]:
        return (
            *self._source.diagnostics,
            *self.translator.diagnostics,
            *expiring(
                self.translator.presented_certificates(with_default=True),
                time.time(),
                self.translator.named_materials(),
            ),
        )

    def _report(self) -> None:
        """Logs diagnostics that are new, and those that are gone; hints stand in `/diagnostics`
        alone: each Ingress of another controller's class is one."""
        found = self._all_diagnostics()
        before, now = self._found, frozenset(found)
        # Compared without their places: a line above an object moves it, and changes nothing.
        self._found = now
        self.diagnostics = tuple(sorted(map(self._located, found), key=order))
        if now == before:
            return
        if self._audience is not None:
            self._audience.found(now)
        fresh = sorted(filter(_is_logged, now - before), key=order)
        for diagnostic in fresh[:MAX_LOGGED]:
            fields = described(self._located(diagnostic))
            self._log.write(diagnostic.severity, diagnostic.message, fields)
        if len(fresh) > MAX_LOGGED:
            self._log.warning(
                "more diagnostics appeared than are logged; /diagnostics has all",
                more=len(fresh) - MAX_LOGGED,
            )
        for diagnostic in sorted(filter(_is_logged, before - now), key=order)[:MAX_LOGGED]:
            self._log.info(f"no longer: {diagnostic.message}", object=diagnostic.object)

    def _place(self, key: ObjectKey) -> str:
        place = self._source.location(key)
        return "" if place is None else f"{place.file}:{place.line}"

    def _located(self, diagnostic: Diagnostic) -> Diagnostic:
        """The translation knows objects, folders know where they stand."""
        if diagnostic.file:
            return diagnostic
        place = self._source.location(diagnostic.object)
        if place is None:
            return diagnostic
        return msgspec.structs.replace(diagnostic, file=place.file, line=place.line)


def _is_logged(diagnostic: Diagnostic) -> bool:
    return diagnostic.severity != "hint"


def described(diagnostic: Diagnostic) -> dict[str, object]:
    """A diagnostic as fields of a log line; the message is the event."""
    fields: dict[str, object] = {"code": diagnostic.code.value, "object": diagnostic.object}
    if diagnostic.field:
        fields["field"] = diagnostic.field
    if diagnostic.file:
        line = f":{diagnostic.line}" if diagnostic.line else ""
        fields["file"] = f"{diagnostic.file}{line}"
    return fields | {"consequence": diagnostic.consequence, "remedy": diagnostic.remedy}
