"""What a load did, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.registry import dataset_named
from lakehouse.iceberg.merge import Merged
from lakehouse.loading.cursor import has_cursor


@dataclass(frozen=True)
class LoadResult:
    """What a load did. `unchanged` means that the table already held these bytes: no snapshot was made.

    `merged` tells of the rows of a table with a key; None without a key, and where nothing was loaded.
    `rows` are those that went into the table, `set_aside` those that went into the table of rejected rows.
    `clock` is a warning about clocks that disagree; None where they don't.
    """

    file: DatasetFile
    table: str
    action: Literal["loaded", "unchanged"]
    snapshot_id: int | None
    rows: int
    set_aside: int
    source_sha256: str
    unknown_columns: tuple[str, ...]
    merged: Merged | None
    clock: str | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _NESTED}
        counts = {field.name: getattr(self.merged, field.name, None) for field in fields(Merged)}
        return {**self.file.as_dict(), **values, **counts}

    @property
    def line(self) -> str:
        """What the load did, in one line."""
        return f"{self.file.label}  {self.action}  {self.counts}  {self.made}  {self.seconds:.1f} s"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the load, one sentence or two each."""
        unknown = (
            f"The file of {self.file.label} has a column {column!r} that the dataset does not declare. The file was "
            "loaded without this column; the landed file keeps it."
            for column in self.unknown_columns
        )
        return (*unknown, *([f"{self.clock}."] if self.clock else ()))

    @property
    def made(self) -> str:
        """The snapshot that it made, as text."""
        return f"snapshot {self.snapshot_id}" if self.snapshot_id else "no new snapshot"

    @property
    def counts(self) -> str:
        """Its rows, as text: `266 rows (1 inserted, 2 updated, 263 unchanged, 0 removed)`."""
        aside = f", {self.set_aside:,} set aside" if self.set_aside else ""
        if self.action == "unchanged" and has_cursor(dataset_named(self.file.dataset)):
            return f"{self.rows:,} rows of the extract, all there already{aside}"
        if self.merged is None:
            return f"{self.rows:,} rows{aside}"
        words = ", ".join(f"{count:,} {word}" for word, count in asdict(self.merged).items() if count or word in _SAID)
        return f"{self.rows:,} rows ({words}){aside}"


_NESTED = ("file", "merged")
_SAID = ("inserted", "updated", "unchanged", "removed")  # also where there are none
