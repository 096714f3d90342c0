"""A table's history: which snapshots, by which load, how many rows came and went; which part came from which bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Daily, Monthly, Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.engines import Engine, PartFiles, Snapshot, Timeline
from lakehouse.landing import Landed, Landing
from lakehouse.landing.record import is_generated


@dataclass(frozen=True)
class HistoryRow:
    """One snapshot. Counts are rows and data files; None where the writer did not say. Provenance is of loads only.

    `refs` are the branches and tags that name it. `current` marks the one that a plain query reads; `in_line` those
    that it came from, itself included, as far as they still exist. `rolled_back` marks those that were current once
    and that a rollback took back. `inserted`, `updated`, `unchanged` and `removed` are the rows of a merge by key,
    which writes rows again that did not change; None of other snapshots. `set_aside` are the rows of a load that went
    into the table of rejected rows; None where none can.
    """

    snapshot_id: int
    parent_id: int | None
    committed_at: datetime
    operation: str
    total_rows: int | None
    added_rows: int
    deleted_rows: int
    inserted: int | None
    updated: int | None
    unchanged: int | None
    removed: int | None
    set_aside: int | None
    added_files: int
    deleted_files: int
    total_files: int | None
    dataset: str | None
    file_month: str | None
    file_date: str | None
    source: str | None
    source_sha256: str | None
    run_id: str | None
    synthetic: bool
    refs: tuple[str, ...]
    current: bool
    in_line: bool
    rolled_back: bool

    @property
    def part(self) -> str | None:
        """The month or day that a load brought."""
        return self.file_month or self.file_date

    def as_dict(self) -> dict[str, Any]:
        """For JSON: times as ISO text in UTC."""
        return {**asdict(self), "committed_at": self.committed_at.isoformat(), "refs": list(self.refs)}


@dataclass(frozen=True)
class PartRow:
    """One loaded month or day, as the table's current snapshot holds it.

    `source_sha256` is read from the data files' metrics and survives expiry and compaction; `snapshot_id`, `loaded_at`
    and `source` come from the load's snapshot and are None once that has expired. `synthetic` then comes from what the
    landing zone noted of those bytes.
    """

    file: DatasetFile
    rows: int
    files: int
    bytes: int
    source_sha256: str | None
    snapshot_id: int | None
    loaded_at: datetime | None
    source: str | None
    synthetic: bool

    @property
    def dataset(self) -> str:
        """Whose month or day it is."""
        return self.file.dataset

    @property
    def part(self) -> str:
        """The month or day, as text."""
        return str(self.file.part)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: times as ISO text in UTC."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "file"}
        return {**self.file.as_dict(), **values, "loaded_at": self.loaded_at.isoformat() if self.loaded_at else None}


def history(engine: Engine, table: str) -> list[HistoryRow]:
    """Every snapshot of `table` that still exists, oldest first.

    Raises:
        QueryError: no such table.
    """
    found = engine.timeline(table)
    names: dict[int, list[str]] = {}
    for ref in found.refs:
        names.setdefault(ref.snapshot_id, []).append(ref.name)
    line, once = {s.snapshot_id for s in _line(found)}, set(found.made_current)
    return [
        _row(
            s,
            refs=tuple(names.get(s.snapshot_id, ())),
            current=s.snapshot_id == found.current,
            in_line=s.snapshot_id in line,
            rolled_back=s.snapshot_id in once and s.snapshot_id not in line,
        )
        for s in found.snapshots
    ]


def _row(snapshot: Snapshot, *, refs: tuple[str, ...], current: bool, in_line: bool, rolled_back: bool) -> HistoryRow:
    words = snapshot.summary
    return HistoryRow(
        snapshot_id=snapshot.snapshot_id,
        parent_id=snapshot.parent_id,
        committed_at=snapshot.committed_at,
        operation=snapshot.operation,
        total_rows=_count(words, "total-records"),
        added_rows=_count(words, "added-records") or 0,
        deleted_rows=_count(words, "deleted-records") or 0,
        inserted=_count(words, "lakehouse.rows-inserted"),
        updated=_count(words, "lakehouse.rows-updated"),
        unchanged=_count(words, "lakehouse.rows-unchanged"),
        removed=_count(words, "lakehouse.rows-removed"),
        set_aside=_count(words, "lakehouse.rows-set-aside"),
        added_files=_count(words, "added-data-files") or 0,
        deleted_files=_count(words, "deleted-data-files") or 0,
        total_files=_count(words, "total-data-files"),
        dataset=words.get("lakehouse.dataset"),
        file_month=words.get("lakehouse.file-month"),
        file_date=words.get("lakehouse.file-date"),
        source=words.get("lakehouse.source"),
        source_sha256=words.get("lakehouse.source-sha256"),
        run_id=words.get("lakehouse.run-id"),
        synthetic=words.get("lakehouse.synthetic") == "true",
        refs=refs,
        current=current,
        in_line=in_line,
        rolled_back=rolled_back,
    )


def _count(words: Mapping[str, str], key: str) -> int | None:
    return int(words[key]) if key in words else None


def _line(found: Timeline) -> list[Snapshot]:
    """The current snapshot and those it came from, newest first, as far as they still exist.

    A snapshot came from its parent. Where that is unknown (expiry took it, or Trino's `create or replace table`, which
    notes none), it came from the one that was current when it was made: the last before it in `made_current`. What
    stands there and was made later can't be that: a rollback put it before.
    """
    current = found.current
    by_id = {s.snapshot_id: s for s in found.snapshots}
    age = {s.snapshot_id: i for i, s in enumerate(found.snapshots)}
    before: dict[int, int] = {}
    for previous, snapshot_id in pairwise(i for i in found.made_current if i in by_id):
        if age[previous] < age[snapshot_id]:
            before.setdefault(snapshot_id, previous)
    line: dict[int, Snapshot] = {}
    while current in by_id and current not in line:  # two of one millisecond may stand in either order
        line[current] = by_id[current]
        parent = by_id[current].parent_id
        current = parent if parent in by_id else before.get(current)
    return list(line.values())


def loaded(engine: Engine, landing: Landing | None = None) -> list[PartRow]:
    """Every month and day that the raw tables hold now, by dataset and part. Empty before the first load.

    Args:
        engine: whose tables.
        landing: asked whether bytes were generated, where the snapshot that says so has expired.
    """
    known = set(engine.tables())
    return [
        row
        for dataset in DATASETS.values()
        if dataset.table in known and not isinstance(dataset.parts, Whole)
        for row in _parts_of(engine, landing, dataset, dataset.parts)
    ]


def generated_by(engine: Engine, table: str, snapshot_id: int) -> dict[str, bool]:
    """For each month or day of a snapshot whose load still exists, whether that load brought generated rows."""
    found: dict[str, bool] = {}
    for snapshot in _line(replace(engine.timeline(table), current=snapshot_id)):  # the newest first
        part = snapshot.summary.get("lakehouse.file-month") or snapshot.summary.get("lakehouse.file-date")
        if part:
            found.setdefault(part, _is_synthetic(snapshot))
    return found


def _parts_of(engine: Engine, landing: Landing | None, dataset: Dataset, parts: Monthly | Daily) -> list[PartRow]:
    found = engine.timeline(dataset.table)
    # what a plain query reads came from its line, if from one that still exists; both run from the newest
    newest = (*_line(found), *reversed(found.snapshots))
    loads = [s for s in newest if s.summary.get("lakehouse.dataset") == dataset.name]
    rows = []
    for held in engine.part_files(dataset.table, parts.column):
        file = DatasetFile(dataset.name, parts.kind.of(held.first_day))
        load = _load_of(file, held, loads)
        rows.append(
            PartRow(
                file=file,
                rows=held.rows,
                files=held.files,
                bytes=held.bytes,
                source_sha256=held.source_sha256,
                snapshot_id=load.snapshot_id if load else None,
                loaded_at=load.committed_at if load else None,
                source=load.summary.get("lakehouse.source") if load else None,
                synthetic=_is_synthetic(load)
                if load
                else any(is_generated(landed) for landed in _landed_of(file, held, landing)),
            )
        )
    return rows


def _load_of(file: DatasetFile, held: PartFiles, loads: list[Snapshot]) -> Snapshot | None:
    """The first of the loads that brought these bytes for this part; where bytes are mixed, the first for it."""
    wanted = file.summary
    if held.source_sha256:
        wanted["lakehouse.source-sha256"] = held.source_sha256
    return next((load for load in loads if wanted.items() <= load.summary.items()), None)


def _is_synthetic(load: Snapshot) -> bool:
    return load.summary.get("lakehouse.synthetic") == "true"


def _landed_of(file: DatasetFile, held: PartFiles, landing: Landing | None) -> list[Landed]:
    """The landed files with the bytes that are held, replaced ones too."""
    return [x for x in landing.versions(file) if x.sha256 == held.source_sha256] if landing else []
