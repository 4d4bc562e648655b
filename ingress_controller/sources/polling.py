"""Folders of manifests as a source: read in a thread, every SCAN_SECONDS."""

import asyncio
from contextlib import AbstractAsyncContextManager

from ingress_controller.logs import Log
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.sources.manifests import ManifestFolders
from ingress_controller.sources.source import Location, Receiver
from ingress_controller.translate.diagnostics import Diagnostic

SCAN_SECONDS = 0.4
"""Between two looks at the folders: a changed file is served within a second."""


class PolledFolders:
    """A `Source` that reads folders until it is cancelled."""

    def __init__(self, folders: ManifestFolders, log: Log) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = ()
        self._folders = folders
        self._log = log
        self._scanning = asyncio.Lock()
        """Held while the thread reads; nobody else may ask the folders meanwhile."""

    @property
    def waiting(self) -> str:
        """What the first scan is waited for."""
        return "the manifests have not been read yet"

    async def run(self, receiver: Receiver) -> None:
        """Reads until it is cancelled; a failure of ours leaves what was read before."""
        complete = False
        while True:
            before = self.diagnostics
            if await self._scan(receiver) and not complete:
                complete = True
                receiver.synced()
            if self.diagnostics != before:
                receiver.reported()
            await asyncio.sleep(SCAN_SECONDS)

    def want(self, objects: frozenset[ObjectKey]) -> bool:
        """Every object of the folders is read anyway."""
        return True

    def steady(self) -> AbstractAsyncContextManager[None]:
        """Waits for the end of a scan, and lets none begin."""
        return self._scanning

    def location(self, key: ObjectKey) -> Location | None:
        """The file and line that an object was taken from."""
        return self._folders.location(key)

    async def _scan(self, receiver: Receiver) -> bool:
        """Hands over what changed; False when that could not be found out."""
        try:
            async with self._scanning:
                scan = await asyncio.to_thread(self._folders.scan)
        except Exception as error:
            self._log.defect("reading the manifests failed; the last good state serves on", error)
            return False
        self.diagnostics = scan.diagnostics
        if scan.changes:
            receiver.changed(scan.changes)
        return True
