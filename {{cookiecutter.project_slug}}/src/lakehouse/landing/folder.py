"""The landing zone as a folder: `{root}/green_trips/green_tripdata_2024-01.parquet`, its record beside it.

A file arrives by rename, from a temporary file beside it. A killed `put` may leave one; the next `put` removes it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from lakehouse.errors import DONE_STAYS, LandingError
from lakehouse.filesystem import sha256_of, sync, sync_folder, write_fix
from lakehouse.landing.store import LOCK, Incoming
from lakehouse.landing.zone import Landing
from lakehouse.locks import held

CHUNK = 1 << 20
TEMPORARY = ".landing-"
LOCK_SECONDS = 300.0  # copying and hashing one file takes seconds


class FolderStore:
    """Files under `root`; see `Store`. One process at a time writes into a dataset's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def staging(self) -> Path:
        """On the same disk as the files themselves."""
        return self.root / ".staging"

    @contextmanager
    def errors(self) -> Iterator[None]:
        """See `Store.errors`."""
        try:
            yield
        except OSError as error:
            raise LandingError(
                f"The landing zone can't be read: {error.filename or self.root}: {error.strerror or error}. "
                f"{DONE_STAYS} See that you may read it and that its disk works, then "
                "run the same command again."
            ) from error

    @contextmanager
    def incoming(self, key: str, file: Path) -> Iterator[Incoming]:
        """Copy `file` beside its place; see `Store.incoming`."""
        path = self.root / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with held(path.parent / LOCK, f"The landing folder {path.parent}", wait=LOCK_SECONDS):
                # The lock's holder is the only writer: a killed process left any temporary file.
                for leftover in path.parent.rglob(TEMPORARY + "*"):
                    leftover.unlink(missing_ok=True)
                temporary = _temporary(path)
                try:
                    yield Incoming(temporary, *_copy(file, temporary))
                finally:
                    temporary.unlink(missing_ok=True)
        except OSError as error:
            raise LandingError(
                f"{path.name} can't be landed in {path.parent}: {error.strerror or error}. "
                f"Files that were landed before are unchanged. {write_fix(error)}, then run the same command again."
            ) from error

    def take(self, key: str, incoming: Incoming) -> None:
        """See `Store.take`."""
        incoming.path.replace(self.root / key)
        sync_folder((self.root / key).parent)

    def write(self, key: str, content: bytes) -> None:
        """See `Store.write`."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                sync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)

    def copy(self, key: str, target: str) -> None:
        """See `Store.copy`."""
        path, new = self.root / key, self.root / target
        new.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            os.link(path, temporary)
        except OSError:  # a file system without hard links
            _copy(path, temporary)
        temporary.replace(new)
        sync_folder(new.parent)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        (self.root / key).unlink(missing_ok=True)

    def read(self, key: str) -> bytes | None:
        """See `Store.read`."""
        try:
            return (self.root / key).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, key: str) -> int | None:
        """See `Store.size`."""
        try:
            return (self.root / key).stat().st_size
        except FileNotFoundError:
            return None

    def sha256(self, key: str) -> str | None:
        """See `Store.sha256`."""
        try:
            return sha256_of(self.root / key)
        except FileNotFoundError:
            return None

    def listed(self, prefix: str = "") -> list[str]:
        """See `Store.listed`. Folders whose names begin with a dot are ours."""
        folder = self.root / prefix
        found = folder.rglob("*") if prefix else (file for part in self.root.glob("[!.]*") for file in part.rglob("*"))
        return [path.relative_to(self.root).as_posix() for path in found if path.is_file()]

    def abort_uploads(self, before: datetime) -> list[str]:  # noqa: ARG002 - a bucket's needs it
        """A folder has no uploads."""
        return []

    def uri(self, key: str) -> str:
        """See `Store.uri`."""
        return (self.root / key).absolute().as_uri()

    def place(self, key: str) -> str:
        """See `Store.place`."""
        return str(self.root / key)

    @contextmanager
    def local(self, key: str) -> Iterator[tuple[Path, None]]:
        """The file itself; see `Store.local`."""
        yield self.root / key, None


class FolderLanding(Landing):
    """Landed files under `root`."""

    store: FolderStore

    def __init__(self, root: Path) -> None:
        super().__init__(FolderStore(root))


def _temporary(path: Path) -> Path:
    return path.parent / f"{TEMPORARY}{uuid4().hex}"


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
