"""Which manifest files stand in the folders, and what `stat` says about each."""

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILES = 100_000
"""Files of all folders together; at one stat each they cost half a second a scan."""
MAX_FOLDER_DEPTH = 32
"""Folders inside each other: an end even where links make a circle."""


class Place(NamedTuple):
    """Where a file stands; places sort by folder as given, then by path."""

    folder: int
    path: str
    """As it would be opened."""


class Signature(NamedTuple):
    """What changes whenever a file does. ``mtime`` is in nanoseconds."""

    device: int
    inode: int
    size: int
    mtime: int


class Listing(NamedTuple):
    """All manifest files that stand in the folders now."""

    files: dict[Place, Signature]
    unreadable: dict[str, str]
    """Folders that could not be read, and why; whatever is below them is unknown, not gone."""


def list_files(folders: tuple[str, ...]) -> Listing:
    """The regular files with a manifest's suffix in the folders and their subfolders.

    Names that begin with a dot are passed over: in a mounted ConfigMap those are the versions
    behind its links. A file that stands in two places is listed at the first. A folder may also be
    a single file, whatever its suffix.
    """
    listing = Listing({}, {})
    seen: set[tuple[int, int]] = set()
    for number, folder in enumerate(folders):
        for path in _walk(folder, 0, set(), listing):
            try:
                status = os.stat(path)
            except FileNotFoundError:
                continue  # a link to nowhere, or gone since the folder was read
            except OSError as error:
                listing.unreadable[path] = error.strerror or str(error)
                continue
            identity = (status.st_dev, status.st_ino)
            if not stat.S_ISREG(status.st_mode) or (identity in seen and status.st_ino):
                continue
            if len(listing.files) >= MAX_FILES:
                listing.unreadable[folder] = f"more than {MAX_FILES} files"
                return listing
            seen.add(identity)
            signature = Signature(*identity, status.st_size, status.st_mtime_ns)
            listing.files[Place(number, path)] = signature
    return listing


def _walk(folder: str, depth: int, above: set[tuple[int, int]], listing: Listing) -> Iterator[str]:
    """Paths of what may be a manifest file; links are followed, but in no circle."""
    try:
        status = os.stat(folder)
        if depth == 0 and stat.S_ISREG(status.st_mode):
            yield folder
            return
        identity = (status.st_dev, status.st_ino)
        if identity in above or depth > MAX_FOLDER_DEPTH:
            return
        with os.scandir(folder) as found:
            entries = sorted((entry.name, _is_folder(entry)) for entry in found)
    except FileNotFoundError as error:
        if depth == 0:
            listing.unreadable[folder] = error.strerror or str(error)
        return
    except OSError as error:
        listing.unreadable[folder] = error.strerror or str(error)
        return
    for name, is_folder in entries:
        path = os.path.join(folder, name)
        if name.startswith("."):
            continue
        if is_folder:
            yield from _walk(path, depth + 1, above | {identity}, listing)
        elif name.endswith(SUFFIXES):
            yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
