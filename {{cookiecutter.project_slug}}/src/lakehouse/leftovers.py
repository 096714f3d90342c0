"""What killed loads, builds and queries leave beside the tables: named, and removed once it is old enough.

Who is killed can't tidy up: half a download, a copy on its way into the landing zone, what DuckDB spilled, the folder
of a dbt run, an upload that the object store still waits for. No table refers to any of it. A file in use stays: by its
age, and by its lock where it has one. Lock files stay too; they are empty, and removing one helps nobody.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lakehouse.errors import LockedError
from lakehouse.landing import open_landing
from lakehouse.landing.folder import TEMPORARY, FolderLanding
from lakehouse.landing.land import LOCK_SUFFIX
from lakehouse.landing.store import LOCK
from lakehouse.locks import HOLDER_SUFFIX, Lock
from lakehouse.settings import Settings

# What a fetch has beside the file that it fetches, all under the lock of that file.
_FETCH_SUFFIXES = (".part.json", ".part", LOCK_SUFFIX + HOLDER_SUFFIX)


@dataclass(frozen=True)
class Leftover:
    """Something that was removed: its path or address, and its size in bytes (0 where the store doesn't say)."""

    path: str
    bytes: int


def remove_leftovers(settings: Settings, age: timedelta, landing_versions: int | None = None) -> list[Leftover]:
    """Remove what is older than `age`; give what was removed, by path.

    With `landing_versions`, 1 or more, earlier versions of landed files go too, but so many of each file.

    Raises:
        OSError: the disk does not let go of a file.
        ServiceError: the object store does not answer.
        LandingError: the object store refuses.
    """
    limit = time.time() - age.total_seconds()
    home, landing = settings.home, FolderLanding(settings.landing_dir)
    found = [*remove_staged(landing.staging, age), *remove_staged(home / "staging", age)]
    for folder in _children(settings.landing_dir):
        if not folder.name.startswith("."):
            found += _remove(folder.rglob(f"{TEMPORARY}*"), limit, folder / LOCK)
    found += _remove(_children(home / "tmp"), limit)  # DuckDB's spilled data
    found += _remove(_children(home / "dbt" / "runs"), limit)
    found += _remove((home / "dbt").glob("tmp????????"), limit)  # a parse that was killed
    aborted = open_landing(settings).store.abort_uploads(datetime.fromtimestamp(limit, UTC))
    found += [Leftover(uri, 0) for uri in aborted]
    if landing_versions is not None:
        found += [Leftover(old.uri, old.size) for old in open_landing(settings).prune(landing_versions)]
    return sorted(found, key=lambda one: one.path)


def remove_staged(staging: Path, age: timedelta, pattern: str = "*") -> list[Leftover]:
    """Remove from a staging folder what is older than `age` and in no process's use."""
    limit = time.time() - age.total_seconds()
    found: list[Leftover] = []
    for path in sorted(staging.glob(pattern)):
        if not path.name.endswith(LOCK_SUFFIX):
            found += _remove([path], limit, _lock_of(path))
    return found


def _lock_of(path: Path) -> Path:
    """The lock under which a process uses something in a staging folder."""
    if path.is_dir():
        return path / LOCK
    name = path.name
    for suffix in _FETCH_SUFFIXES:
        name = name.removesuffix(suffix)
    return path.with_name(name + LOCK_SUFFIX)


def _remove(paths: Iterable[Path], limit: float, lock: Path | None = None) -> list[Leftover]:
    """Remove those of `paths` that are older than `limit`, unless a process holds `lock`."""
    # Ages before the lock: holding a lock writes beside it.
    if not (old := [path for path in list(paths) if _is_old(path, limit)]):
        return []
    with _unless_in_use(lock) as free:
        return [one for path in old if (one := _removed(path))] if free else []


@contextmanager
def _unless_in_use(lock_file: Path | None) -> Iterator[bool]:
    """Whether nobody holds the lock; while the context lasts, nobody else gets it. No lock file: nobody holds it."""
    if lock_file is None or not lock_file.exists():
        yield True
        return
    lock = Lock(lock_file, str(lock_file))
    try:
        lock.acquire()
    except LockedError:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _is_old(path: Path, limit: float) -> bool:
    """Whether a file, or all that a folder holds, was written before `limit`."""
    try:
        return max(file.lstat().st_mtime for file in _tree(path)) <= limit
    except FileNotFoundError:  # somebody is at work there
        return False


def _removed(path: Path) -> Leftover | None:
    """Remove a file or a folder; None if its owner was faster."""
    try:
        size = sum(file.lstat().st_size for file in _tree(path) if not file.is_dir())
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return None
    return Leftover(str(path), size)


def _tree(path: Path) -> list[Path]:
    """The path and all below it. Links are not followed."""
    return [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
