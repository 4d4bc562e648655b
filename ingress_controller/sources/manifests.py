"""Folders of Kubernetes manifests as a source of objects, polled by `stat`.

What is there now is compared with what was there at the last scan, and only changed files are
read. The last good state lives on wherever the new one cannot be known:

=========================================  =====================================================
a file cannot be read or is malformed      its objects stay as they were
an object in it is malformed               that object stays as it was, if it was there before
a folder is missing or cannot be read      everything from it stays
a file is gone                             its objects go at the second scan that misses it:
                                           editors replace a file by removing it first
a file was written in the last 50 ms       it is read at the next scan: it may be half written
=========================================  =====================================================

An object that stands in several places is taken from the first: by folder as given, then by path,
then by place in the file.
"""

import hashlib
import os
import stat
import time
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ingress_controller.objects.decode import KubernetesObject, Undecodable, decode
from ingress_controller.objects.meta import ObjectKey, quoted
from ingress_controller.sources.documents import (
    Document,
    Documents,
    MalformedError,
    read_json,
    read_yaml,
)
from ingress_controller.sources.findings import unreadable_object
from ingress_controller.sources.folders import Place, Signature, list_files
from ingress_controller.sources.source import Location
from ingress_controller.store import ObjectChange, key_of
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode, order

MAX_FILE_SIZE = 32 << 20
"""Bytes of one file: about 80,000 objects. A cluster's API takes 1.5 MiB an object."""
_SETTLED_AFTER = 50_000_000
"""Nanoseconds without a write after which a file counts as whole."""
_SURE_AFTER = 2_000_000_000
"""Nanoseconds: two writes so close may leave one and the same mtime on coarse file systems, so a
file read sooner after its last write is read once more."""
_MAX_DEFERRALS = 3
"""Scans that a file may be put off for because it is being written."""


class Scan(NamedTuple):
    """What a scan found."""

    changes: tuple[ObjectChange, ...]
    """Objects that differ from the last scan, in no particular order."""
    diagnostics: tuple[Diagnostic, ...]
    """Everything that is wrong with the files now, whether new or not; sorted."""


class _Found(NamedTuple):
    item: KubernetesObject
    line: int


class _File:
    """What is known of one file."""

    __slots__ = (
        "deferrals",
        "diagnostics",
        "digest",
        "missed",
        "objects",
        "signature",
        "sure",
    )

    def __init__(self) -> None:
        self.signature: Signature | None = None
        self.digest = b""
        self.sure = True
        self.missed = False
        self.deferrals = 0
        self.objects: dict[ObjectKey, _Found] = {}
        self.diagnostics: tuple[Diagnostic, ...] = ()


class ManifestFolders:
    """The objects in some folders."""

    def __init__(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        self._folders = tuple(os.path.normpath(path) for path in paths)
        self._files: dict[Place, _File] = {}
        self._places: dict[ObjectKey, set[Place]] = {}
        self._current: dict[ObjectKey, KubernetesObject] = {}
        self._scanned = False

    def scan(self) -> Scan:
        """Reads what changed; the first scan reads, and reports, everything.

        Takes as long as the disk: a stat a file, and the reading of changed ones. Raises nothing
        for whatever stands in the folders.
        """
        listing = list_files(self._folders)
        touched: set[ObjectKey] = set()
        for place, signature in listing.files.items():
            known = self._files.get(place)
            if known is None:
                known = self._files[place] = _File()
            known.missed = False
            if (signature != known.signature or not known.sure) and not self._put_off(
                known, signature
            ):
                touched.update(self._read(place, known, signature))
        for place in [place for place in self._files if place not in listing.files]:
            if any(_is_below(place.path, folder) for folder in listing.unreadable):
                continue
            if self._files[place].missed:
                touched.update(self._replace(place, self._files[place], {}))
                del self._files[place]
            else:
                self._files[place].missed = True
        self._scanned = True
        found = [_unreadable_folder(path, why) for path, why in listing.unreadable.items()]
        for file in self._files.values():
            found += file.diagnostics
        changes = tuple(self._changes(touched))
        found += self._repeated()
        return Scan(changes, tuple(sorted(found, key=order)))

    def location(self, key: ObjectKey) -> Location | None:
        """The place that an object was taken from; None when it is in no file."""
        places = self._places.get(key)
        if not places:
            return None
        place = min(places)
        return Location(place.path, self._files[place].objects[key].line)

    def _put_off(self, file: _File, signature: Signature) -> bool:
        """Whether a changed file had better be read at the next scan."""
        if not self._scanned or file.deferrals >= _MAX_DEFERRALS:
            return False
        if not 0 <= time.time_ns() - signature.mtime < _SETTLED_AFTER:
            return False
        file.deferrals += 1
        return True

    def _read(self, place: Place, file: _File, signature: Signature) -> Iterable[ObjectKey]:
        """Reads a file anew; answers the keys of objects that may have changed."""
        file.signature = signature
        file.deferrals = 0
        file.sure = not 0 <= time.time_ns() - signature.mtime < _SURE_AFTER
        try:
            text = _content(place.path)
        except OSError as error:
            # A file that cannot be read now may become readable without a change of its stat.
            file.sure = False
            file.digest = b""
            file.diagnostics = (_unreadable_file(place, file, error.strerror or str(error)),)
            return ()
        digest = hashlib.blake2b(text, digest_size=16).digest()
        if digest == file.digest:
            return ()
        file.digest = digest
        try:
            read = read_json if place.path.endswith(".json") else read_yaml
            documents = read(text)
        except MalformedError as error:
            file.diagnostics = (_malformed_file(place, file, error),)
            return ()
        found: list[Diagnostic] = []
        objects = _decoded(place, file, documents, found)
        file.diagnostics = tuple(found)
        return self._replace(place, file, objects)

    def _replace(
        self, place: Place, file: _File, objects: dict[ObjectKey, _Found]
    ) -> Iterable[ObjectKey]:
        before, file.objects = file.objects, objects
        for key in before.keys() - objects.keys():
            places = self._places[key]
            places.discard(place)
            if not places:
                del self._places[key]
        for key in objects.keys() - before.keys():
            self._places.setdefault(key, set()).add(place)
        return before.keys() | objects.keys()

    def _changes(self, touched: set[ObjectKey]) -> Iterable[ObjectChange]:
        for key in touched:
            places = self._places.get(key)
            if not places:
                if self._current.pop(key, None) is not None:
                    yield ObjectChange(key, None)
                continue
            item = self._files[min(places)].objects[key].item
            if self._current.get(key) != item:
                self._current[key] = item
                yield ObjectChange(key, item)

    def _repeated(self) -> Iterable[Diagnostic]:
        """Objects that stand in several files."""
        for key, places in self._places.items():
            if len(places) == 1:
                continue
            first, *others = sorted(places)
            for place in others:
                yield _repeated_object(key, place, self._files[place].objects[key].line, first.path)


def _content(path: str) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: it cannot be read, or is too large.
    """
    # Without O_NONBLOCK, a file that has become a pipe since the stat would block for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no regular file")
        content = file.read(MAX_FILE_SIZE + 1)
    if len(content) > MAX_FILE_SIZE:
        raise OSError(0, f"it is larger than {MAX_FILE_SIZE >> 20} MiB; split it")
    return content


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)


def _decoded(
    place: Place, file: _File, documents: Documents, found: list[Diagnostic]
) -> dict[ObjectKey, _Found]:
    """The objects of a file; what is wrong with it goes into ``found``."""
    objects: dict[ObjectKey, _Found] = {}
    for name, line in documents.repeated:
        found.append(_repeated_key(place, name, line))
    for document in documents.documents:
        item = decode(document.value)
        if item is None:
            continue
        key = item.key if isinstance(item, Undecodable) else key_of(item)
        if key in objects:
            found.append(_repeated_object(key, place, document.line, place.path))
        elif isinstance(item, Undecodable):
            last = file.objects.get(key)
            found.append(_malformed_object(place, document, item, last is not None))
            if last is not None:
                objects[key] = last
        else:
            objects[key] = _Found(item, document.line)
    return objects


_LAST_GOOD = "its last good version is served on"
_NOTHING_YET = "nothing of it is served"


def _unreadable_folder(path: str, why: str) -> Diagnostic:
    return Diagnostic(
        code=DiagnosticCode.FOLDER_UNREADABLE,
        severity="error",
        object=ObjectKey("Folder", "", path),
        message=f"it cannot be read: {why}",
        consequence="what was read from it before is served on; changes in it are not seen",
        remedy="check the path and the permissions",
        file=path,
    )


def _unreadable_file(place: Place, file: _File, why: str) -> Diagnostic:
    return Diagnostic(
        code=DiagnosticCode.FILE_UNREADABLE,
        severity="error",
        object=ObjectKey("File", "", place.path),
        message=f"the file cannot be read: {why}",
        consequence=_LAST_GOOD if file.objects else _NOTHING_YET,
        remedy="check the file and its permissions",
        file=place.path,
    )


def _malformed_file(place: Place, file: _File, error: MalformedError) -> Diagnostic:
    kind = "JSON" if place.path.endswith(".json") else "YAML"
    return Diagnostic(
        code=DiagnosticCode.FILE_MALFORMED,
        severity="error",
        object=ObjectKey("File", "", place.path),
        message=f"the file is not {kind} that can be read: {error.reason}",
        consequence=_LAST_GOOD if file.objects else _NOTHING_YET,
        remedy="correct the line; render templates first (helm template, kustomize build)",
        file=place.path,
        line=error.line,
    )


def _malformed_object(
    place: Place, document: Document, problem: Undecodable, known: bool
) -> Diagnostic:
    found = unreadable_object(problem, known=known)
    return msgspec.structs.replace(found, file=place.path, line=document.line)


def _repeated_object(key: ObjectKey, place: Place, line: int, first: str) -> Diagnostic:
    return Diagnostic(
        code=DiagnosticCode.OBJECT_REPEATED,
        severity="warning",
        object=key,
        message=f"the object stands in {first} too",
        consequence=f"the one in {first} counts"
        if first != place.path
        else "the first one in the file counts",
        remedy="remove one of the two, or give it another name",
        file=place.path,
        line=line,
    )


def _repeated_key(place: Place, name: str, line: int) -> Diagnostic:
    return Diagnostic(
        code=DiagnosticCode.KEY_REPEATED,
        severity="warning",
        object=ObjectKey("File", "", place.path),
        message=f"the key {quoted(name)} stands twice in one mapping",
        consequence="the last one counts",
        remedy="remove one of the two",
        file=place.path,
        line=line,
    )
