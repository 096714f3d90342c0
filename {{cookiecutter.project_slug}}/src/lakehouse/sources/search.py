"""Published files in a folder, found as a person would find them: in subfolders, behind links, whatever their spelling.

The folder is on a disk or in a bucket.

A file has the published name, or nearly: `.PARQUET`, or the mark of a second download, `… (1).parquet`. A folder of
that name holds part files, as Spark writes them; one part file is the file, several are not.

Where `files` of a dataset has a `*`, all files whose names match are found. Case and the mark make no difference then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from lakehouse.datasets.file import DatasetFile, file_called
from lakehouse.datasets.model import STAR
from lakehouse.datasets.parts import Part
from lakehouse.datasets.registry import dataset_named
from lakehouse.errors import NotPublishedError, SourceError

if TYPE_CHECKING:
    from lakehouse.sources.objects import ObjectPath  # boto3 is slow to import

    AnyPath: TypeAlias = Path | ObjectPath

CHUNK = 1 << 20
SKIPPED_FOLDERS = frozenset({"versions", "__pycache__"})
NAMES_SHOWN = 5

_COPY_MARK = re.compile(r" ?\(\d+\)(?=\.[^.]*$)")


@dataclass
class _Seen:
    """What a search came across."""

    exact: list[AnyPath] = field(default_factory=list)
    near: list[AnyPath] = field(default_factory=list)
    folders: list[AnyPath] = field(default_factory=list)
    members: list[AnyPath] = field(default_factory=list)
    similar: list[AnyPath] = field(default_factory=list)
    unread: list[OSError] = field(default_factory=list)


def find(folder: AnyPath, wanted: DatasetFile) -> AnyPath:
    """The file in `folder` or below it. The published name wins over one that is nearly it, a file over a folder.

    Raises:
        NotPublishedError: it is not there; the message names files of a similar name.
        SourceError: two different files have this name, or a subfolder or the bucket can't be read.
        UnreachableError: the bucket's store does not answer.
    """
    seen = _look(folder, wanted)
    for candidates in (seen.exact, seen.near):
        # A link to nowhere is reported as such only where nothing else is; a pipe or a socket is no file at all.
        if found := [p for p in candidates if p.is_file()] or [p for p in candidates if not p.exists()]:
            return _one_of(found, wanted)
    if seen.folders:
        return _one_of([_only_part(found, wanted) for found in seen.folders], wanted)
    if seen.unread:
        raise SourceError(_unread(f"{wanted.label} was not found", folder, seen.unread, wanted.label))
    raise NotPublishedError(
        f"{wanted.label} is not in the source folder {folder.absolute()}: no file {wanted.name} is there or in a "
        f"subfolder. Nothing of {wanted.label} was landed.{_instead(seen.similar, wanted.name)} Put the file there, or "
        "set TLC_SOURCE to another folder or to the publisher's address."
    )


def find_all(folder: AnyPath, wanted: DatasetFile) -> list[AnyPath]:
    """The files of a part in `folder` or below it, by name; none if their bundle itself is there, as in a landing zone.

    Hidden files are left out. Of two downloads of one file that are equal, one is taken.

    Raises:
        NotPublishedError: there is none; the message names files of a similar name.
        SourceError: two different files have one name, a folder has such a name, or a subfolder or the bucket can't
            be read.
        UnreachableError: the bucket's store does not answer.
    """
    pattern = dataset_named(wanted.dataset).pattern(wanted.part)
    seen = _look(folder, wanted)
    if seen.unread:
        what = f"{pattern} may be in more folders than were read"
        raise SourceError(_unread(what, folder, seen.unread, wanted.label))
    for path in seen.folders:
        raise SourceError(
            f"{path} is a folder, but its name matches {pattern}, which is for files. Nothing of {wanted.label} was "
            f"landed. Rename the folder. Files in it are taken only if their own names match {pattern}."
        )
    for path in seen.members:
        if path.exists() and not path.is_file():
            raise SourceError(
                f"{path} is no regular file. Nothing of {wanted.label} was landed. Move it out of the source folder."
            )
    bundles = [*seen.exact, *seen.near]
    if bundles and seen.members:
        raise SourceError(
            f"{folder.absolute()} may have rows of {wanted.label} twice: in {bundles[0]}, which has all its files in "
            f"one, and in {named(seen.members)}. Nothing of {wanted.label} was landed. Move the single files "
            "out of the source folder. Or move the file with all of them, if no single file is missing. Then run the "
            "same command again."
        )
    if not seen.members and not bundles:
        raise NotPublishedError(
            f"{wanted.label} is not in the source folder {folder.absolute()}: no file {pattern} is there or in a "
            f"subfolder. Nothing of {wanted.label} was landed.{_instead(seen.similar, pattern)} Put the files there, "
            "or set TLC_SOURCE to another folder."
        )
    downloads: dict[str, list[AnyPath]] = {}
    for path in sorted(seen.members, key=lambda path: (len(path.name), str(path))):
        downloads.setdefault(_plain(path.name), []).append(path)
    return sorted((_one_of(paths, wanted) for paths in downloads.values()), key=lambda path: path.name)


def contents(folder: AnyPath) -> dict[str, list[Part]]:
    """The months or days that `find` would look at in a folder, by dataset; none for one whose file is the table.

    Raises:
        SourceError: the bucket can't be read.
    """
    found: dict[str, set[Part]] = {}
    for file in listing(folder)[0]:
        found.setdefault(file.dataset, set()).update([file.part] if file.part else [])
    return {dataset: sorted(parts, key=lambda part: part.first_day) for dataset, parts in found.items()}


def listing(folder: AnyPath) -> tuple[dict[DatasetFile, list[AnyPath]], list[OSError]]:
    """All files of all datasets in `folder` or below it, in one walk, and the errors of folders that can't be read.

    A folder of a published name gives the files in it. Links to nowhere are among the files.

    Raises:
        SourceError: the bucket can't be read.
    """
    found: dict[DatasetFile, list[AnyPath]] = {}
    unread: list[OSError] = []
    for where, folders, files in _walk(folder, unread):
        for name in (*folders, *files):
            file = None if name.startswith((".", "~$")) else file_called(name) or file_called(_plain(name))
            if file is None:
                continue
            paths = found.setdefault(file, [])
            try:
                paths.extend((where / name).iterdir() if name in folders else [where / name])
            except OSError as error:
                unread.append(error)
    return found, unread


def _unread(what: str, folder: AnyPath, unread: list[OSError], label: str) -> str:
    where = ", ".join(f"{error.filename} ({error.strerror})" for error in unread[:NAMES_SHOWN])
    return (
        f"{what} in {folder.absolute()}: these folders in it can't be read: {where}. Nothing of {label} was "
        "landed. Let the user that runs this command read them, or set TLC_SOURCE to another folder."
    )


def _instead(similar: list[AnyPath], name: str) -> str:
    if not similar:
        return ""
    rename = f"If one of them is the file, rename it to {name}."
    if STAR in name:
        rename = f"If they are the files, give them names such as {name}."
    return f" Files with a similar name are there: {named(similar)}. {rename}"


def _look(folder: AnyPath, wanted: DatasetFile) -> _Seen:
    seen = _Seen()
    dataset = dataset_named(wanted.dataset)
    letters = _letters(Path(dataset.pattern(wanted.part)).stem)
    # Beside the file itself, in a landing zone or not, nothing that belongs to it is one of a part's files.
    own = {wanted.name.lower(), f"{wanted.name}.json".lower()}

    def is_member(name: str) -> bool:
        hidden = name.startswith((".", "~$"))  # also what macOS and Excel put beside a file
        return dataset.bundled and not hidden and name.lower() not in own and dataset.has(_plain(name), wanted.part)

    for where, folders, files in _walk(folder, seen.unread):
        for name in folders:
            if _plain(name) == wanted.name or is_member(name):
                seen.folders.append(where / name)
        for name in files:
            if name == wanted.name:
                seen.exact.append(where / name)
            elif _plain(name) == wanted.name:
                seen.near.append(where / name)
            elif is_member(name):
                seen.members.append(where / name)
            elif letters in _letters(name) and not name.endswith(".json"):
                seen.similar.append(where / name)
    return seen


def _walk(folder: AnyPath, unread: list[OSError]) -> Iterator[tuple[AnyPath, list[str], list[str]]]:
    """As `os.walk`, links followed, each folder once, so that links in a circle come to an end."""
    visited = {_real(folder)}
    for where, folders, files in _walk_disk(folder, unread) if isinstance(folder, Path) else folder.walk():
        here = []
        for name in sorted(folders):
            real = _real(where / name)
            if name in SKIPPED_FOLDERS or name.startswith(".") or real in visited:
                continue
            visited.add(real)
            here.append(name)
        folders[:] = here
        yield where, folders, sorted(files)


def _walk_disk(folder: Path, unread: list[OSError]) -> Iterator[tuple[Path, list[str], list[str]]]:
    for where, folders, files in os.walk(folder, onerror=unread.append, followlinks=True):
        yield Path(where), folders, files


def _real(path: AnyPath) -> str:
    return os.path.realpath(path) if isinstance(path, Path) else str(path)


def _plain(name: str) -> str:
    """The name without a second download's mark and in small letters: published names have no others."""
    return _COPY_MARK.sub("", name).lower()


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _only_part(folder: AnyPath, wanted: DatasetFile) -> AnyPath:
    """The one part file of a folder that Spark wrote.

    Raises:
        SourceError: none or several.
    """
    suffix = Path(wanted.name).suffix
    found = (
        p for p in folder.iterdir() if p.suffix.lower() == suffix.lower() and p.name[0] not in "_." and p.is_file()
    )
    parts = sorted(found, key=str)
    if len(parts) == 1:
        return parts[0]
    what = f"{len(parts)} part files ({named(parts)})" if parts else f"no {suffix} file"
    raise SourceError(
        f"{folder} is a folder with {what}, and {wanted.label} must be one file. Nothing of {wanted.label} was landed. "
        f"Write it as one file (in Spark: `coalesce(1)`), or put the file {wanted.name} in the folder's place."
    )


def _one_of(found: list[AnyPath], wanted: DatasetFile) -> AnyPath:
    """The file, which may lie there several times.

    Raises:
        SourceError: two of them differ.
    """
    dataset = dataset_named(wanted.dataset)
    for other in found[1:]:
        if _same_bytes(found[0], other):
            continue
        if dataset.bundled:
            raise SourceError(
                f"Two files of {wanted.label} have one name, and they differ: {found[0]}, {other}. Nothing of "
                f"{wanted.label} was landed. If one is outdated, move it out of the source folder. If both are needed, "
                f"rename one; the name must still match {dataset.pattern(wanted.part)}."
            )
        raise SourceError(
            f"{wanted.label} is in the source folder twice, and the two files differ: {found[0]}, {other}. Nothing of "
            f"{wanted.label} was landed. Move the wrong one out of the source folder, then run the same command again."
        )
    return found[0]


def named(paths: Sequence[AnyPath | str]) -> str:
    """The first of some paths, and how many more there are."""
    more = f" and {len(paths) - NAMES_SHOWN} more" if len(paths) > NAMES_SHOWN else ""
    return ", ".join(map(str, paths[:NAMES_SHOWN])) + more


def _same_bytes(one: AnyPath, other: AnyPath) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as a, other.open("rb") as b:
        while chunk := a.read(CHUNK):
            if chunk != b.read(CHUNK):
                return False
    return True
