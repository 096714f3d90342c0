"""A table's history: which snapshots, by which load, how many rows came and went; which month came from which bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from lakehouse.engines import Engine, Snapshot
from lakehouse.tlc.datasets import DATASETS


@dataclass(frozen=True)
class HistoryRow:
    """One snapshot. Counts are rows and data files; None where the writer did not say. Provenance is of loads only.

    `refs` are the branches and tags that name it; `current` marks the one that a plain query reads, `in_line` those
    that it descends from (a rollback leaves others beside the line).
    """

    snapshot_id: int
    parent_id: int | None
    committed_at: datetime
    operation: str
    total_rows: int | None
    added_rows: int
    deleted_rows: int
    added_files: int
    deleted_files: int
    total_files: int | None
    dataset: str | None
    file_month: str | None
    source: str | None
    source_sha256: str | None
    run_id: str | None
    synthetic: bool
    refs: tuple[str, ...]
    current: bool
    in_line: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON: times as ISO text in UTC."""
        return {**asdict(self), "committed_at": self.committed_at.isoformat(), "refs": list(self.refs)}


@dataclass(frozen=True)
class MonthRow:
    """One loaded month, as the table's current snapshot holds it.

    `source_sha256` is read from the data files' metrics and survives expiry and compaction; `snapshot_id`, `loaded_at`
    and `source` come from the load's snapshot and are None once that has expired.
    """

    dataset: str
    month: str
    rows: int
    files: int
    bytes: int
    source_sha256: str | None
    snapshot_id: int | None
    loaded_at: datetime | None
    source: str | None
    synthetic: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON: times as ISO text in UTC."""
        return {**asdict(self), "loaded_at": self.loaded_at.isoformat() if self.loaded_at else None}


def history(engine: Engine, table: str) -> list[HistoryRow]:
    """Every snapshot of `table` that still exists, oldest first.

    Raises:
        QueryError: no such table.
    """
    snapshots = engine.snapshots(table)
    current = engine.current_snapshot(table)
    names: dict[int, list[str]] = {}
    for ref in engine.refs(table):
        names.setdefault(ref.snapshot_id, []).append(ref.name)
    line = {s.snapshot_id for s in _line(snapshots, current)}
    return [_row(s, tuple(names.get(s.snapshot_id, ())), current, line) for s in snapshots]


def _row(snapshot: Snapshot, refs: tuple[str, ...], current: int | None, line: set[int]) -> HistoryRow:
    words = snapshot.summary
    return HistoryRow(
        snapshot_id=snapshot.snapshot_id,
        parent_id=snapshot.parent_id,
        committed_at=snapshot.committed_at,
        operation=snapshot.operation,
        total_rows=_count(words, "total-records"),
        added_rows=_count(words, "added-records") or 0,
        deleted_rows=_count(words, "deleted-records") or 0,
        added_files=_count(words, "added-data-files") or 0,
        deleted_files=_count(words, "deleted-data-files") or 0,
        total_files=_count(words, "total-data-files"),
        dataset=words.get("lakehouse.dataset"),
        file_month=words.get("lakehouse.file-month"),
        source=words.get("lakehouse.source"),
        source_sha256=words.get("lakehouse.source-sha256"),
        run_id=words.get("lakehouse.run-id"),
        synthetic=words.get("lakehouse.synthetic") == "true",
        refs=refs,
        current=snapshot.snapshot_id == current,
        in_line=snapshot.snapshot_id in line,
    )


def _count(words: Mapping[str, str], key: str) -> int | None:
    return int(words[key]) if key in words else None


def _line(snapshots: list[Snapshot], current: int | None) -> list[Snapshot]:
    """The current snapshot and those it descends from, newest first, as far as they still exist."""
    by_id = {s.snapshot_id: s for s in snapshots}
    line = []
    while current is not None and current in by_id:
        line.append(by_id[current])
        current = by_id[current].parent_id
    return line


def months(engine: Engine) -> list[MonthRow]:
    """Every month that the raw tables hold now, by dataset and month. Empty before the first load."""
    known = set(engine.tables())
    return [row for dataset in DATASETS.values() if dataset.table in known for row in _months_of(engine, dataset.name)]


def _months_of(engine: Engine, dataset: str) -> list[MonthRow]:
    table = DATASETS[dataset].table
    loads: dict[str, Snapshot] = {}
    for snapshot in _line(engine.snapshots(table), engine.current_snapshot(table)):
        month = snapshot.summary.get("lakehouse.file-month")
        if month is not None and snapshot.summary.get("lakehouse.dataset") == dataset:
            loads.setdefault(month, snapshot)  # the line runs from the newest: the first one found made the month
    rows = []
    for held in engine.month_files(table):
        load = loads.get(f"{held.file_month:%Y-%m}")
        rows.append(
            MonthRow(
                dataset=dataset,
                month=f"{held.file_month:%Y-%m}",
                rows=held.rows,
                files=held.files,
                bytes=held.bytes,
                source_sha256=held.source_sha256,
                snapshot_id=load.snapshot_id if load else None,
                loaded_at=load.committed_at if load else None,
                source=load.summary.get("lakehouse.source") if load else None,
                synthetic=bool(load and load.summary.get("lakehouse.synthetic") == "true"),
            )
        )
    return rows
