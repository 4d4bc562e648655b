"""The control loop: what changed → wait → retain → translate → publish.

Reads the folders of manifests in a thread every SCAN_SECONDS and hands what changed to `Holdoff`;
when a build is due, `SecretRetention` keeps the last good certificates of Secrets that are gone or
broken, the translator makes the next snapshot and the supervisor sends it. A failure of ours in one
round is logged, and the last good state serves on.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence

import msgspec

from ingress_controller.explain.explanation import Explanation
from ingress_controller.explain.walk import explain
from ingress_controller.holdoff import Holdoff
from ingress_controller.logs import Log
from ingress_controller.retention import SecretRetention
from ingress_controller.sources.manifests import ManifestFolders
from ingress_controller.store import ObjectChange, ObjectKey
from ingress_controller.supervisor.workers import Supervisor, within
from ingress_controller.translate.diagnostics import Diagnostic, order
from ingress_controller.translate.translator import Translator
from router.model.limits import Limits

SCAN_SECONDS = 0.4
"""Between two looks at the folders: a changed file is served within a second."""
RETENTION_SECONDS = 30.0
"""Longest wait for the end of a kept certificate: it is a time of day, and clocks are set anew."""
REPORT_SECONDS = 1.0
"""Between two comparisons of all diagnostics; they must not be what a change costs."""
MAX_LOGGED = 50
"""Diagnostics logged in one round; `/diagnostics` has all."""


class ControlLoop:
    """Keeps the workers in step with the folders."""

    def __init__(
        self,
        folders: ManifestFolders,
        retention: SecretRetention,
        translator: Translator,
        supervisor: Supervisor,
        log: Log,
    ) -> None:
        self.translator = translator
        self.diagnostics: tuple[Diagnostic, ...] = ()
        """All current diagnostics, of the files and of the translation, in order."""
        self.published = False
        """The first complete snapshot is on its way to the workers."""
        self._folders = folders
        self._supervisor = supervisor
        self._log = log
        self._holdoff = Holdoff()
        self._retention = retention
        self._of_files: tuple[Diagnostic, ...] = ()
        self._found: frozenset[Diagnostic] = frozenset()
        self._added = asyncio.Event()
        self._reportable = asyncio.Event()
        self._scanning = asyncio.Lock()
        """Held while the thread reads; nobody else may ask the folders meanwhile."""

    async def explain(
        self, url: str, method: str, headers: Sequence[str], limits: Limits
    ) -> Explanation:
        """What would happen to a request now; see `explain.explain`.

        Raises:
            ValueError: the question is malformed; the sentence says what to write.
        """
        async with self._scanning:
            return explain(
                self.translator,
                url=url,
                method=method,
                headers=headers,
                limits=limits,
                diagnostics=(*self._of_files, *self.translator.diagnostics),
                locate=self._place,
            )

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await self._first()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="scan manifests")
            group.create_task(self._build(), name="build snapshots")
            group.create_task(self._report_changes(), name="report diagnostics")

    async def _first(self) -> None:
        """Serves everything there is at once: nothing can be emptied yet."""
        while not self.published:
            changes = await self._scan()
            if changes is not None:
                self._holdoff.add(changes, float("-inf"))
                self._translate(self._due())
            if not self.published:
                await asyncio.sleep(SCAN_SECONDS)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(SCAN_SECONDS)
            before = self._of_files
            changes = await self._scan()
            if changes:
                self._holdoff.add(changes, time.monotonic())
                self._added.set()
            if self._of_files != before:
                self._reportable.set()

    async def _build(self) -> None:
        while True:
            changes = self._due()
            if changes:
                self._translate(changes)
            else:
                self._added.clear()
                await within(self._added.wait(), self._patience())

    def _due(self) -> tuple[ObjectChange, ...]:
        """The changes whose time has come."""
        now = time.time()
        taken = self._retention.apply(self._holdoff.take(time.monotonic()), now)
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
        return max(0.001, min(waits))

    async def _scan(self) -> Sequence[ObjectChange] | None:
        """What changed in the folders; None when that could not be found out."""
        try:
            async with self._scanning:
                scan = await asyncio.to_thread(self._folders.scan)
        except Exception as error:
            self._log.defect("reading the manifests failed; the last good state serves on", error)
            return None
        self._of_files = scan.diagnostics
        return scan.changes

    def _translate(self, changes: Iterable[ObjectChange]) -> None:
        """Applies changes and publishes what comes of them."""
        started = time.perf_counter()
        try:
            delta = self.translator.update(changes)
        except Exception as error:
            self._log.defect("translation failed; the last good state serves on", error)
            return
        seconds = time.perf_counter() - started
        if not self.published:
            self._supervisor.publish(self.translator.snapshot, None)
            self.published = True
        elif delta is not None:
            self._supervisor.publish(self.translator.snapshot, delta)
            self._log.info(
                "a new snapshot is published",
                version=delta.version,
                hosts=sum(len(hosts) for hosts in delta.hosts.values()),
                upstreams=len(delta.upstreams),
                endpoint_sets=len(delta.endpoints),
                certificates=len(delta.certificates),
                milliseconds=f"{seconds * 1000:.1f}",
            )
        self._reportable.set()

    async def _report_changes(self) -> None:
        while True:
            await self._reportable.wait()
            self._reportable.clear()
            async with self._scanning:
                self._report()
            await asyncio.sleep(REPORT_SECONDS)

    def _report(self) -> None:
        """Logs diagnostics that are new, and those that are gone."""
        found = (*self._of_files, *self.translator.diagnostics)
        before, now = self._found, frozenset(found)
        # Compared without their places: a line above an object moves it, and changes nothing.
        self._found = now
        self.diagnostics = tuple(sorted(map(self._located, found), key=order))
        fresh = sorted(now - before, key=order)
        for diagnostic in fresh[:MAX_LOGGED]:
            level = diagnostic.severity if diagnostic.severity != "hint" else "info"
            self._log.write(level, diagnostic.message, described(self._located(diagnostic)))
        if len(fresh) > MAX_LOGGED:
            self._log.warning(
                "more diagnostics appeared than are logged; /diagnostics has all",
                more=len(fresh) - MAX_LOGGED,
            )
        for diagnostic in sorted(before - now, key=order)[:MAX_LOGGED]:
            self._log.info(f"no longer: {diagnostic.message}", object=diagnostic.object)

    def _place(self, key: ObjectKey) -> str:
        place = self._folders.location(key)
        return "" if place is None else f"{place.file}:{place.line}"

    def _located(self, diagnostic: Diagnostic) -> Diagnostic:
        """The translation knows objects, the folders know where they stand."""
        if diagnostic.file:
            return diagnostic
        place = self._folders.location(diagnostic.object)
        if place is None:
            return diagnostic
        return msgspec.structs.replace(diagnostic, file=place.file, line=place.line)


def described(diagnostic: Diagnostic) -> dict[str, object]:
    """A diagnostic as fields of a log line; the message is the event."""
    fields: dict[str, object] = {"code": diagnostic.code.value, "object": diagnostic.object}
    if diagnostic.field:
        fields["field"] = diagnostic.field
    if diagnostic.file:
        line = f":{diagnostic.line}" if diagnostic.line else ""
        fields["file"] = f"{diagnostic.file}{line}"
    return fields | {"consequence": diagnostic.consequence, "remedy": diagnostic.remedy}
