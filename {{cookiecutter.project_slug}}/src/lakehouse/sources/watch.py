"""What a source folder has of each month, day or table, and in which version: for who waits for new files."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.registry import dataset_named
from lakehouse.errors import SourceError
from lakehouse.progress import Progress
from lakehouse.sources.copying import CHUNK, reading
from lakehouse.sources.search import listing
from lakehouse.sources.site import FolderSource, open_source

if TYPE_CHECKING:
    from lakehouse.sources.search import AnyPath

DIGITS = 16


class _OverdueError(Exception):
    """The time for a comparison is over."""


@dataclass(frozen=True)
class Sighting:
    """The files of one month, day or table, as they lie in the folder or bucket.

    `version` is another one as soon as a file is added, removed, renamed, written or replaced. It is made of names,
    sizes, times, and inodes or ETags; no file is read for it. `changed_at` is the time of the last write, in seconds
    since 1970; 0 for one object of a bucket, which appears whole.
    """

    file: DatasetFile
    paths: tuple[AnyPath, ...]
    size: int
    changed_at: float
    version: str

    def has_same_etag(self, origin: str, etag: str) -> bool:
        """Whether this is the object of a bucket that was landed from `origin` with this ETag."""
        path = self.paths[0]
        if len(self.paths) > 1 or isinstance(path, Path):
            return False
        return bool(etag) and (str(path), path.stat().etag) == (origin, etag)

    def sha256(self, folder: AnyPath, until: float) -> str | None:
        """The SHA-256 that these files have once they are landed. Reads them whole.

        Args:
            folder: where they are.
            until: when to give up, as `time.monotonic` has it.

        Returns:
            None if it took longer. Then nothing is known.

        Raises:
            SourceError: they can't be landed, such as two different files of one name.
            OSError: a file can't be read.
        """

        def go_on(*_: int) -> None:
            if time.monotonic() > until:
                raise _OverdueError

        try:
            if len(self.paths) == 1 and not dataset_named(self.file.dataset).bundled:
                return _sha256(self.paths[0], go_on)
            with TemporaryDirectory(prefix="lakehouse-") as scratch:
                target = Path(scratch, self.file.name)
                FolderSource(folder).fetch(self.file, target, progress=go_on)
                return _sha256(target, go_on)
        except _OverdueError:
            return None


@dataclass(frozen=True)
class Look:
    """What is in a folder or bucket: the files of all datasets, and the errors of what could not be read."""

    folder: AnyPath
    sightings: tuple[Sighting, ...]
    unread: tuple[OSError, ...]


def look(source: str) -> Look:
    """See what the folder or bucket of `TLC_SOURCE` and the folders in it have. One walk; no file is read.

    Raises:
        SourceError: it is the address of a site, does not exist, or can't be read.
        SettingsError: the settings of the bucket's store can't be used.
    """
    opened = open_source(source)
    if not isinstance(opened, FolderSource):
        raise SourceError(
            f"The setting TLC_SOURCE is the address {source}, and only a folder or bucket can be watched. No run was "
            "requested. Turn on the sensor new_versions instead, or set TLC_SOURCE to a folder or "
            "a bucket."
        )
    folder = opened.folder
    if isinstance(folder, Path):
        _can_be_read(folder)
    found, unread = listing(folder)
    sightings = [_sighting(file, paths, unread) for file, paths in found.items()]
    return Look(folder, tuple(one for one in sightings if one), tuple(unread))


def _can_be_read(folder: Path) -> None:
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise SourceError(
            f"The folder {folder.absolute()} of TLC_SOURCE can't be read: {error.strerror or error}. Nothing was "
            "looked for in it. Let the user that runs Dagster read it, or set TLC_SOURCE to another folder."
        ) from error


def _sighting(file: DatasetFile, paths: list[AnyPath], unread: list[OSError]) -> Sighting | None:
    """The files as they are now; None where none of them is a file, or one went away just now."""
    marks, size, changed_at = [], 0, 0
    files = []
    for path in sorted(paths, key=str):
        try:
            facts = _facts(path)
        except FileNotFoundError:
            continue  # removed just now, or a link to nowhere
        except OSError as error:
            unread.append(error)
            continue
        if facts:
            files.append(path)
            marks.append((path.name, *facts))
            size += facts[0]
            changed_at = max(changed_at, facts[1])
    if not files:
        return None
    digest = hashlib.sha256(json.dumps([file.label, sorted(marks)]).encode()).hexdigest()
    # Where several objects make one part, more of them may be on their way.
    is_whole = not isinstance(files[0], Path) and not dataset_named(file.dataset).bundled
    return Sighting(file, tuple(files), size, 0 if is_whole else changed_at / 1e9, digest[:DIGITS])


def _facts(path: AnyPath) -> tuple[int, int, int | str] | None:
    """Size in bytes, when it was written in nanoseconds since 1970, and inode or ETag; None if it is no file."""
    if isinstance(path, Path):
        found = path.stat()
        return (found.st_size, found.st_mtime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else None
    if not path.is_file():
        return None
    listed = path.stat()
    return listed.st_size, listed.st_mtime_ns, listed.etag


def _sha256(path: AnyPath, go_on: Progress) -> str:
    digest = hashlib.sha256()
    with reading(path), path.open("rb") as content:
        while chunk := content.read(CHUNK):
            go_on(0, 0)
            digest.update(chunk)
    return digest.hexdigest()
