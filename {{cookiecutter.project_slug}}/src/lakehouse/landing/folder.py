"""The landing zone as a folder: `{root}/green_trips/green_tripdata_2024-01.parquet`, its record beside it.

A file counts as landed once its record is there; both arrive by rename, the record last. Bytes that a later version
replaces move to `versions/{sha256}/` first. So whatever a killed `put` leaves behind, `find` tells the state before it
or the state after it:

- a data file without a record, or a temporary file: not landed; the next `put` writes over it, or clears it away;
- new data beside the old record: the old bytes are read from `versions/`, which `local` looks at first.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from uuid import uuid4

from lakehouse.datasets.months import Month
from lakehouse.errors import LandingError
from lakehouse.filesystem import sync, sync_folder
from lakehouse.landing.record import SUFFIX, VERSIONS, again, file_name, folder_name, from_json, to_json
from lakehouse.landing.zone import Landed
from lakehouse.locks import held

CHUNK = 1 << 20
TEMPORARY = ".landing-"
LOCK = ".lock"
LOCK_SECONDS = 300.0  # copying and hashing one file takes seconds


class FolderLanding:
    """Landed files under `root`. Any number of processes may use one folder at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def staging(self) -> Path:
        """On the same disk as the files themselves."""
        return self.root / ".staging"

    def find(self, dataset: str, month: Month | None) -> Landed | None:
        """What is landed, by its record; None where file or record is missing.

        Raises:
            LandingError: the record can't be read.
        """
        return _read(self._path(dataset, month))

    def put(
        self,
        dataset: str,
        month: Month | None,
        file: Path,
        origin: str,
        *,
        etag: str = "",
        last_modified: str = "",
    ) -> Landed:
        """Land `file`; see `Landing.put`.

        Raises:
            LandingError: the disk did not take it; what was landed before is as it was.
            LockedError: another process still lands a file in this folder after five minutes.
        """
        path = self._path(dataset, month)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with held(path.parent / LOCK, f"The landing folder {path.parent}", wait=LOCK_SECONDS):
                # Who holds the lock is the only writer: any temporary file is what a killed one left.
                for leftover in path.parent.rglob(TEMPORARY + "*"):
                    leftover.unlink(missing_ok=True)
                temporary = path.parent / f"{TEMPORARY}{uuid4().hex}"
                try:
                    size, sha256 = _copy(file, temporary)
                    landed = Landed(
                        dataset=dataset,
                        month=month,
                        name=path.name,
                        uri=path.absolute().as_uri(),
                        size=size,
                        sha256=sha256,
                        origin=origin,
                        landed_at=datetime.now(UTC),
                        etag=etag,
                        last_modified=last_modified,
                    )
                    return self._take(landed, temporary, path)
                finally:
                    temporary.unlink(missing_ok=True)
        except OSError as error:
            raise LandingError(
                f"{path.name} can't be landed in {path.parent}: {error.strerror or error}. "
                "What was landed before is as it was; free or repair the disk and load again."
            ) from error

    @contextmanager
    def local(self, landed: Landed) -> Iterator[Path]:
        """The landed file itself, its length compared with the record; see `Landing.local`."""
        path = self._path(landed.dataset, landed.month)
        kept = path.parent / VERSIONS / landed.sha256 / path.name
        where = kept if kept.exists() else path
        try:
            size = where.stat().st_size
        except FileNotFoundError:
            raise LandingError(f"The landed file {where} is gone. Land it again: `{again(landed)}`.") from None
        if size != landed.size:
            raise LandingError(
                f"The landed file {where} has {size:,} bytes, {landed.size:,} were landed: it was changed or cut short "
                f"after landing. Nothing was loaded from it. Land it again: `{again(landed)}`."
            )
        yield where

    def listing(self, *, skip_broken: bool = False) -> list[Landed]:
        """All that is landed, by dataset and month; files without a record are not. See `Landing.listing`.

        Raises:
            LandingError: a record can't be read.
        """
        records = sorted(self.root.glob(f"[!.]*/*{SUFFIX}"))
        found = (_read(Path(str(r).removesuffix(SUFFIX)), broken_is_none=skip_broken) for r in records)
        return sorted((f for f in found if f), key=lambda f: (f.dataset, str(f.month or "")))

    def versions(self, dataset: str, month: Month | None) -> list[Landed]:
        """Every version kept of one file, oldest first, the current one last."""
        path = self._path(dataset, month)
        current = _read(path)
        kept = (_read(data) for data in path.parent.glob(f"{VERSIONS}/*/{path.name}"))
        earlier = [k for k in kept if k and (current is None or k.sha256 != current.sha256)]
        return sorted(earlier, key=lambda k: k.landed_at) + ([current] if current else [])

    def _path(self, dataset: str, month: Month | None) -> Path:
        return self.root / folder_name(dataset) / file_name(dataset, month)

    def _take(self, new: Landed, temporary: Path, path: Path) -> Landed:
        """Make `temporary`, whose bytes `new` describes, the current version."""
        old = _read(path, broken_is_none=True)
        old_is_whole = old is not None and _holds(path, old)
        earlier = path.parent / VERSIONS / new.sha256 / path.name
        if old is not None and old_is_whole and old.sha256 == new.sha256:
            earlier.unlink(missing_ok=True)
            if (old.etag, old.last_modified) == (new.etag, new.last_modified):
                return old
            kept = replace(old, etag=new.etag, last_modified=new.last_modified)
            _write(to_json(kept), path)
            return kept
        if old is not None and old_is_whole:
            _keep(old, path)
        temporary.replace(path)
        sync_folder(path.parent)
        _write(to_json(new), path)
        earlier.unlink(missing_ok=True)  # a version that came back is the current one, and lies in one place
        return new


def sha256_of(file: Path | BufferedReader) -> str:
    """SHA-256 of a file's bytes, in hex."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return sha256_of(opened)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, *, broken_is_none: bool = False) -> Landed | None:
    record = Path(f"{path}{SUFFIX}")
    try:
        data = record.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LandingError(f"The landing zone {path.parent} can't be read: {error.strerror or error}.") from error
    if not path.exists():
        return None
    try:
        return from_json(data, path.absolute().as_uri())
    except LandingError:
        if broken_is_none:
            return None
        raise


def _holds(path: Path, landed: Landed) -> bool:
    return path.stat().st_size == landed.size and sha256_of(path) == landed.sha256


def _keep(old: Landed, path: Path) -> None:
    """Keep the current bytes under their hash. The data last: a version without its record is none."""
    folder = path.parent / VERSIONS / old.sha256
    if (folder / path.name).exists() and _holds(folder / path.name, old):
        return
    folder.mkdir(parents=True, exist_ok=True)
    _write(to_json(old), folder / path.name)
    temporary = path.parent / f"{TEMPORARY}{uuid4().hex}"
    try:
        os.link(path, temporary)
    except OSError:  # a file system without hard links
        _copy(path, temporary)
    temporary.replace(folder / path.name)
    sync_folder(folder)


def _copy(source: Path, target: Path) -> tuple[int, str]:
    """Copy to the disk itself; length and SHA-256 of what was copied."""
    size, digest = 0, hashlib.sha256()
    with source.open("rb") as incoming, target.open("xb") as outgoing:
        while chunk := incoming.read(CHUNK):
            outgoing.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        outgoing.flush()
        sync(outgoing.fileno())
    return size, digest.hexdigest()


def _write(record: bytes, path: Path) -> None:
    """Put the record beside `path`, by rename."""
    temporary = path.parent / f"{TEMPORARY}{uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(record)
            file.flush()
            sync(file.fileno())
        temporary.replace(f"{path}{SUFFIX}")
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
