"""Maintenance: old snapshots expire, files that nothing refers to go, small files and delete files are compacted.

On `trino` these are Trino's own procedures; on `embedded` PyIceberg expires, and files are removed here. What a branch
or tag names is kept, with its data. Both ages are there for others: a reader of an old snapshot, and a load that has
written its file and not committed yet.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from lakehouse.engines import Engine, open_engine
from lakehouse.engines.as_of import CATALOG
from lakehouse.errors import CommitError, QueryError
from lakehouse.iceberg.catalog import open_catalog, service_errors
from lakehouse.iceberg.refs import load_table
from lakehouse.settings import Settings

KEEP = timedelta(days=7)
UNREFERENCED = timedelta(days=3)
LAYERS = ("raw", "silver", "gold")


@dataclass(frozen=True)
class Maintained:
    """What was done to one table."""

    table: str
    expired_snapshots: int
    compacted_files: int
    removed_files: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def maintain(
    settings: Settings,
    tables: list[str] | None = None,
    *,
    keep: timedelta = KEEP,
    unreferenced: timedelta = UNREFERENCED,
) -> list[Maintained]:
    """Compact, expire, and remove unreferenced files, table by table. Queries answer the same before and after.

    Args:
        settings: which lakehouse.
        tables: `schema.table`; all of raw, silver and gold unless given.
        keep: snapshots younger than this stay, as do the current one and those with a branch or tag.
        unreferenced: files younger than this stay: a load that is running has such files.

    Raises:
        QueryError: no such table.
        CommitError: a table was changed by someone else meanwhile; those before it are done.
        ServiceError: Trino, the catalog or the object store does not answer.
    """
    engine = open_engine(settings)
    try:
        known = [t for t in engine.tables() if t.partition(".")[0] in LAYERS]
        if unknown := sorted(set(tables or ()) - set(known)):
            raise QueryError(f"There is no table {', '.join(unknown)}. There are: {', '.join(known) or 'none yet'}.")
        done = []
        for table in tables or known:
            started = time.monotonic()
            if engine.current_snapshot(table) is None:
                continue
            before = {snapshot.snapshot_id for snapshot in engine.snapshots(table)}
            if settings.target == "trino":
                compacted, removed = _by_trino(engine, table, keep, unreferenced)
            else:
                catalog = open_catalog(settings)
                with service_errors(catalog):
                    _expire(catalog, table, keep)
                    compacted, removed = 0, _remove_unreferenced(load_table(catalog, table), unreferenced)
            expired = before - {snapshot.snapshot_id for snapshot in engine.snapshots(table)}
            done.append(Maintained(table, len(expired), compacted, removed, time.monotonic() - started))
        return done
    finally:
        engine.close()


def _by_trino(engine: Engine, table: str, keep: timedelta, unreferenced: timedelta) -> tuple[int, int]:
    """Trino's procedures. Compacted first, so that what compaction replaces is old enough the next time."""
    schema, _, name = table.partition(".")
    target = f'alter table {CATALOG}."{schema}"."{name}" execute'
    # Trino refuses ages below its floor of 7 days unless the session says that a shorter one is meant.
    engine.query(f"set session {CATALOG}.expire_snapshots_min_retention = '{_trino(min(keep, KEEP))}'")
    engine.query(f"set session {CATALOG}.remove_orphan_files_min_retention = '{_trino(min(unreferenced, KEEP))}'")
    compacted = _metric(engine, f"{target} optimize", "rewritten_data_files_count")
    engine.query(f"{target} expire_snapshots(retention_threshold => '{_trino(keep)}')")
    removed = _metric(
        engine, f"{target} remove_orphan_files(retention_threshold => '{_trino(unreferenced)}')", "deleted_files_count"
    )
    return compacted, removed


def _metric(engine: Engine, statement: str, name: str) -> int:
    rows = engine.query(statement).to_pylist()
    return next((int(row["metric_value"]) for row in rows if row.get("metric_name") == name), 0)


def _trino(age: timedelta) -> str:
    return f"{int(age.total_seconds())}s"


def _expire(catalog: Catalog, name: str, keep: timedelta) -> None:
    table = load_table(catalog, name)
    refs = {ref.snapshot_id for ref in table.metadata.refs.values()}
    limit = datetime.now(UTC) - keep
    old = [s for s in table.snapshots() if s.timestamp_ms < limit.timestamp() * 1000 and s.snapshot_id not in refs]
    if not old:
        return
    try:
        table.maintenance.expire_snapshots().by_ids([s.snapshot_id for s in old]).commit()
    except CommitFailedException as error:
        raise CommitError(f"{name} was changed by someone else meanwhile. Nothing of it expired; try again.") from error


def _remove_unreferenced(table: Table, age: timedelta) -> int:
    """Delete files below the table's folder that nothing refers to and that are older than `age`."""
    folder = _local(table.location())
    used = {_local(path).resolve() for path in _referenced(table)}
    limit = time.time() - age.total_seconds()
    removed = 0
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        if path.resolve() not in used and path.stat().st_mtime <= limit:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _referenced(table: Table) -> Iterator[str]:
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    yield from (statistics.statistics_path for statistics in table.metadata.statistics)
    for snapshot in table.snapshots():
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            yield manifest.manifest_path
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                yield entry.data_file.file_path


def _local(location: str) -> Path:
    return Path(unquote(urlsplit(location).path)) if location.startswith("file:") else Path(location)
