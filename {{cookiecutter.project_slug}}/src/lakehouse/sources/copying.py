"""Copies of files of a folder or bucket: whole, or refused. Several files of one part are copied into one bundle."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lakehouse.datasets.file import DatasetFile
from lakehouse.errors import ChangedError, SourceError
from lakehouse.formats.bundle import entry
from lakehouse.progress import Progress
from lakehouse.sources.search import find_all, named

if TYPE_CHECKING:
    from lakehouse.sources.search import AnyPath

CHUNK = 1 << 20

_State = tuple[int, int]


def copy(found: AnyPath, target: Path, progress: Progress | None) -> None:
    """Copy one file.

    Raises:
        SourceError: it can't be read, or it changed meanwhile.
        OSError: the disk did not take it.
    """
    state = _state(found)
    with target.open("wb") as outgoing:
        _copy(found, outgoing, state, _Done(state[0], progress))


def copy_all(folder: AnyPath, wanted: DatasetFile, target: Path, progress: Progress | None) -> str | None:
    """Copy all files of a part into one bundle, in the order of their names.

    Returns:
        How many files these are, where from, and the first names; None if the folder has the bundle itself.

    Raises:
        NotPublishedError: there is none.
        SourceError: one can't be read, or they changed meanwhile.
        OSError: the disk did not take them.
    """
    states = _states(folder, wanted)
    if not states:
        return None
    done = _Done(sum(size for size, _ in states.values()), progress)
    with zipfile.ZipFile(target, "w") as bundle:
        for path, state in states.items():
            with bundle.open(_entry(path, state[0]), "w") as outgoing:
                _copy(path, outgoing, state, done)
    # A file that came, went or changed while others were copied: the bundle would be of no one moment.
    if changed := sorted((path for path, _ in states.items() ^ _states(folder, wanted).items()), key=str):
        raise _changed(changed[0])
    count = "1 file" if len(states) == 1 else f"{len(states):,} files"
    return f"{count} of {folder.absolute().as_uri()}: {named([path.name for path in states])}"


@contextmanager
def reading(path: AnyPath) -> Iterator[None]:
    """The source's own faults, apart from those of the disk that a copy goes to."""
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"{error.filename or path} can't be read: {error.strerror or error}. Nothing of it was landed. See that it "
            "exists, that it is no broken link, and that you may read it; or set TLC_SOURCE to another folder."
        ) from error


@dataclass
class _Done:
    """How many bytes of `total` are copied."""

    total: int
    progress: Progress | None
    count: int = 0

    def add(self, count: int) -> None:
        """So many more."""
        self.count += count
        if self.progress:
            self.progress(self.count, self.total)


def _copy(found: AnyPath, outgoing: IO[bytes], state: _State, done: _Done) -> None:
    with reading(found):
        incoming = found.open("rb")
    copied = 0
    with incoming:
        while chunk := _chunk(incoming, found):
            copied += len(chunk)
            if copied > state[0]:
                raise _changed(found)
            outgoing.write(chunk)
            done.add(len(chunk))
    if copied != state[0] or _state(found) != state:
        raise _changed(found)


def _states(folder: AnyPath, wanted: DatasetFile) -> dict[AnyPath, _State]:
    """The files of a part, by name, and what their state is."""
    with reading(folder):
        return {path: _state(path) for path in find_all(folder, wanted)}


def _entry(path: AnyPath, size: int) -> zipfile.ZipInfo:
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"The file {str(path)!a} has a name that is no text in UTF-8. Nothing of it was landed. Rename it."
        ) from error
    return entry(path.name, size)


def _state(path: AnyPath) -> _State:
    """Its length in bytes, and when it was written."""
    with reading(path):
        facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def _changed(path: AnyPath) -> ChangedError:
    return ChangedError(
        f"{path} changed while it was copied. Nothing of it was landed. Wait until it is written completely, then run "
        "the same command again."
    )


def _chunk(incoming: IO[bytes], found: AnyPath) -> bytes:
    with reading(found):
        return incoming.read(CHUNK)
