"""What a landing zone needs of the place that holds its files: a folder or a bucket.

A key is a file's path in the landing zone: `green_trips/green_tripdata_2024-01.parquet`. A write of one key is whole or
not at all, and a reader sees it at once. All rules are in zone.py.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

LOCK = ".lock"  # the name of a lock's file, or its ending


@dataclass(frozen=True)
class Incoming:
    """A file that is about to be landed: where it lies, its length in bytes, and its SHA-256 in hex."""

    path: Path
    size: int
    sha256: str


class Store(Protocol):
    """Holds bytes by key. Every error of a method is a `LakehouseError`, within `errors` or `incoming`."""

    @property
    def staging(self) -> Path:
        """A local folder for files on their way in; it outlives the process, so a download can be resumed."""
        ...

    def errors(self) -> AbstractContextManager[None]:
        """Report what fails while reading as errors of ours."""
        ...

    def incoming(self, key: str, file: Path) -> AbstractContextManager[Incoming]:
        """Prepare to land `file` at `key`, and report what fails while writing as errors of ours.

        A store that can lock lets no other process write beside `key` meanwhile.
        """
        ...

    def take(self, key: str, incoming: Incoming) -> None:
        """Make the incoming bytes the ones at `key`."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Write a small file."""
        ...

    def copy(self, key: str, target: str) -> None:
        """Put the bytes at `key` at `target` too."""
        ...

    def delete(self, key: str) -> None:
        """Remove what is at `key`, if anything is."""
        ...

    def read(self, key: str) -> bytes | None:
        """Read a small file; None if there is none."""
        ...

    def size(self, key: str) -> int | None:
        """Length in bytes; None if there is no such file."""
        ...

    def sha256(self, key: str) -> str | None:
        """SHA-256 of the bytes at `key`, in hex; None if there is no such file."""
        ...

    def listed(self, prefix: str = "") -> list[str]:
        """List all keys that begin with `prefix`."""
        ...

    def abort_uploads(self, before: datetime) -> list[str]:
        """Give up uploads that began before that time and never ended; their addresses."""
        ...

    def uri(self, key: str) -> str:
        """The address of `key`, as a record keeps it."""
        ...

    def place(self, key: str) -> str:
        """Where `key` is, as a message says it."""
        ...

    def local(self, key: str) -> AbstractContextManager[tuple[Path, str | None]]:
        """Give the bytes as a local file; if they had to be copied, with the SHA-256 of the copy."""
        ...
