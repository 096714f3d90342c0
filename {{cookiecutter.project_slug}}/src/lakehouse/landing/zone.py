"""A landed file, and what every landing zone does with it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from lakehouse.datasets.months import Month

SHA256_LENGTH = 64  # in hex


@dataclass(frozen=True)
class Landed:
    """One landed file. `month` is None for the zone lookup; `sha256` is of the bytes as they arrived.

    `etag` and `last_modified` are the publisher's own words for this version, empty where it gave none.
    """

    dataset: str
    month: Month | None
    name: str
    uri: str
    size: int
    sha256: str
    origin: str
    landed_at: datetime
    etag: str = ""
    last_modified: str = ""


class Landing(Protocol):
    """Where landed files live: a folder or a bucket."""

    @property
    def staging(self) -> Path:
        """A local folder for files on their way in; it outlives the process: a download can be taken up again."""
        ...

    def find(self, dataset: str, month: Month | None) -> Landed | None:
        """What is landed for this month, or None."""
        ...

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
        """Land `file`: whole or not at all. The same bytes again change nothing (but the publisher's ETag is kept).

        Other bytes take the place of what was landed; the earlier version is kept, by its hash.

        Raises:
            LandingError: the file can't be stored; what was landed before is as it was.
        """
        ...

    def local(self, landed: Landed) -> AbstractContextManager[Path]:
        """The landed bytes as a local file, for as long as the context lasts.

        `landed` may be an earlier version of a republished month. Who reads the bytes compares their SHA-256 while
        reading; only the length is looked at here where the file is local already.

        Raises:
            LandingError: gone, or length or SHA-256 differ from what was recorded at landing.
        """
        ...

    def listing(self, *, skip_broken: bool = False) -> list[Landed]:
        """All that is landed, by dataset and month; with `skip_broken`, all whose record can be read.

        Raises:
            LandingError: a record can't be read.
        """
        ...

    def versions(self, dataset: str, month: Month | None) -> list[Landed]:
        """Every version kept of one file, oldest first, the current one last."""
        ...
