"""What a source folder has of each month, day or table, and in which version: for who waits for new files."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.registry import dataset_named
from lakehouse.errors import SourceError
from lakehouse.filesystem import sha256_of
from lakehouse.sources.search import listing
from lakehouse.sources.site import FolderSource, open_source

DIGITS = 16


@dataclass(frozen=True)
class Sighting:
    """The files of one month, day or table, as they lie in the folder.

    `version` is another one as soon as a file is added, removed, renamed, written or replaced. It is made of names,
    sizes, times and inodes; no file is read for it. `changed_at` is the time of the last write, in seconds since 1970.
    """

    file: DatasetFile
    paths: tuple[Path, ...]
    size: int
    changed_at: float
    version: str

    def sha256(self, folder: Path) -> str:
        """The SHA-256 that these files have once they are landed. Reads them whole.

        Raises:
            SourceError: they can't be landed, such as two different files of one name.
            OSError: a file can't be read.
        """
        if len(self.paths) == 1 and not dataset_named(self.file.dataset).bundled:
            return sha256_of(self.paths[0])
        with TemporaryDirectory(prefix="lakehouse-") as scratch:
            target = Path(scratch, self.file.name)
            FolderSource(folder).fetch(self.file, target)
            return sha256_of(target)


@dataclass(frozen=True)
class Look:
    """What is in a folder: the files of all datasets, and the errors of what could not be read."""

    folder: Path
    sightings: tuple[Sighting, ...]
    unread: tuple[OSError, ...]


def look(source: str) -> Look:
    """See what the folder of `TLC_SOURCE` and the folders in it have. One walk; no file is read.

    Raises:
        SourceError: it is the address of a site, does not exist, or can't be read.
    """
    opened = open_source(source)
    if not isinstance(opened, FolderSource):
        raise SourceError(
            f"The setting TLC_SOURCE is the address {source}, and only a folder can be watched. No run was requested. "
            "Turn on the schedules newest_months and newest_days instead, or set TLC_SOURCE to a folder."
        )
    folder = opened.folder
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise SourceError(
            f"The folder {folder.absolute()} of TLC_SOURCE can't be read: {error.strerror or error}. No run was "
            "requested. Give yourself the right to read it, or set TLC_SOURCE to another folder."
        ) from error
    found, unread = listing(folder)
    sightings = [_sighting(file, paths, unread) for file, paths in found.items()]
    return Look(folder, tuple(one for one in sightings if one), tuple(unread))


def _sighting(file: DatasetFile, paths: list[Path], unread: list[OSError]) -> Sighting | None:
    """The files as they are now; None where none of them is a file, or one went away just now."""
    marks, size, changed_at = [], 0, 0
    files = []
    for path in sorted(paths):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue  # removed just now, or a link to nowhere
        except OSError as error:
            unread.append(error)
            continue
        if stat.S_ISREG(found.st_mode):
            files.append(path)
            marks.append((path.name, found.st_size, found.st_mtime_ns, found.st_ino))
            size += found.st_size
            changed_at = max(changed_at, found.st_mtime_ns)
    if not files:
        return None
    digest = hashlib.sha256(json.dumps([file.label, sorted(marks)]).encode()).hexdigest()
    return Sighting(file, tuple(files), size, changed_at / 1e9, digest[:DIGITS])
