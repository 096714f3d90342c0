"""Maintenance: old snapshots expire, files that nothing refers to go, small files and delete files are compacted.

On `trino` these are Trino's own procedures; on `embedded` PyIceberg expires, and files are removed here. What a branch
or tag names is kept, with its data. Both ages are there for others: a reader of an old snapshot, and a load that has
written its file and not committed yet. What needs no room comes first: a full disk is when maintenance is called for.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import AssertTableUUID, RemoveSnapshotsUpdate, ValidatableTableRequirement
from sqlalchemy.exc import DBAPIError

from lakehouse.engines import Engine, open_engine
from lakehouse.engines.as_of import CATALOG
from lakehouse.errors import DONE_STAYS, CommitError, QueryError, ServiceError
from lakehouse.history.tree import size as readable_size
from lakehouse.iceberg.catalog import is_full, open_catalog, service_errors
from lakehouse.iceberg.files import local_path, referenced
from lakehouse.iceberg.identity import LAYERS, check_pair, check_table, check_writable
from lakehouse.iceberg.refs import load_table
from lakehouse.iceberg.scratch import drop_old
from lakehouse.iceberg.tables import METADATA_FILES
from lakehouse.settings import Settings

KEEP = timedelta(days=7)
UNREFERENCED = timedelta(days=3)
ATTEMPTS = 5


@dataclass(frozen=True)
class Maintained:
    """What was done to one table.

    `freed_bytes` is the size of the removed files, `waiting_bytes` that of files which nothing refers to and which are
    too young to go; None where the engine does not say.
    """

    table: str
    expired_snapshots: int
    compacted_files: int
    removed_files: int
    freed_bytes: int | None
    waiting_bytes: int | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def check_own(settings: Settings) -> Catalog:
    """Open the catalog, and refuse a home or bucket that is not this lakehouse's: nothing in it may be removed.

    Raises:
        BoundaryError: says what is there instead, and what to do.
        ServiceError: catalog or store can't be used.
    """
    catalog = open_catalog(settings)
    with service_errors(catalog):
        check_pair(settings, catalog)
        check_writable(settings)
    return catalog


@dataclass
class _Removed:
    """Files that are gone from a table's folder, and those that wait for their age."""

    files: int = 0
    freed_bytes: int = 0
    waiting_bytes: int = 0


def maintain(
    settings: Settings,
    tables: list[str] | None = None,
    *,
    keep: timedelta = KEEP,
    unreferenced: timedelta = UNREFERENCED,
) -> list[Maintained]:
    """Remove unreferenced files, expire, and compact, table by table. Queries answer the same before and after.

    Args:
        settings: which lakehouse.
        tables: `schema.table`; all of raw, silver and gold unless given. One of another schema has to be named.
        keep: snapshots younger than this stay, as do the current one and those with a branch or tag. The files of the
            expired ones go with them.
        unreferenced: files that no snapshot ever named stay while they are younger than this: a load that is running
            has such files. So do scratch schemas, which a killed command left.

    Raises:
        QueryError: no such table.
        BoundaryError: the tables' files are not this lakehouse's own.
        CommitError: a table was changed by someone else meanwhile; those before it are done.
        ServiceError: Trino, the catalog or the object store does not answer, or the disk is full; what was removed
            until then is named.
    """
    engine, catalog = open_engine(settings), check_own(settings)
    try:
        with service_errors(catalog):
            drop_old(catalog, unreferenced)
        every = engine.tables()
        known = [t for t in every if t.partition(".")[0] in LAYERS]
        if unknown := sorted(set(tables or ()) - set(every)):
            raise QueryError(
                f"There is no table {', '.join(unknown)}. No table was changed. The tables are: "
                f"{', '.join(every) or 'none yet'}."
            )
        with service_errors(catalog):
            for table in tables or known:  # before the first is changed: one that is refused stops all
                check_table(settings, load_table(catalog, table))
        done: list[Maintained] = []
        for table in tables or known:
            started = time.monotonic()
            with service_errors(catalog):
                loaded = load_table(catalog, table)
                check_table(settings, loaded)
            empty = loaded.metadata.current_snapshot_id is None
            before = {snapshot.snapshot_id for snapshot in loaded.snapshots()}
            compacted, removed, after = 0, _Removed(), loaded
            if not engine.maintains:
                freed = partial(_freed, removed, done)
                with service_errors(catalog), _full_disk(settings, loaded, keep, freed):
                    after = _by_pyiceberg(catalog, loaded, keep, unreferenced, removed)
            elif not empty:  # for a table without snapshots Trino's procedures do nothing
                compacted, removed.files = _by_trino(engine, table, keep, unreferenced)
                with service_errors(catalog):
                    after = load_table(catalog, table)
                    _limit_metadata_files(after)
            if empty and not (tables or removed.files or removed.waiting_bytes):
                continue  # nothing to tell of
            expired = before - {snapshot.snapshot_id for snapshot in after.snapshots()}
            done.append(
                Maintained(
                    table,
                    len(expired),
                    compacted,
                    removed.files,
                    None if engine.maintains else removed.freed_bytes,
                    None if engine.maintains else removed.waiting_bytes,
                    time.monotonic() - started,
                )
            )
        return done
    finally:
        engine.close()


def _freed(removed: _Removed, done: Sequence[Maintained]) -> int:
    return removed.freed_bytes + sum(one.freed_bytes or 0 for one in done)


def _by_pyiceberg(catalog: Catalog, table: Table, keep: timedelta, unreferenced: timedelta, removed: _Removed) -> Table:
    """Remove, expire, and remove what the expired snapshots alone needed. Gives the table as it is then."""
    files = _files_below(Path(local_path(table.location())))
    used = _paths(referenced(table))
    _remove_unreferenced(files, used, unreferenced, removed)
    name = ".".join(table.name())
    _limit_metadata_files(table)
    if not _expire(catalog, name, keep):
        return table
    table = load_table(catalog, name)
    # of the table's own folder only: a snapshot may name files that are not the lakehouse's
    for path in (used - _paths(referenced(table))) & files.keys():
        _remove(path, removed)
    return table


def _by_trino(engine: Engine, table: str, keep: timedelta, unreferenced: timedelta) -> tuple[int, int]:
    """Trino's procedures; those that need no room first."""
    schema, _, name = table.partition(".")
    target = f'alter table {CATALOG}."{schema}"."{name}" execute'
    # Trino refuses ages below its floor of 7 days unless the session allows a shorter one.
    engine.query(f"set session {CATALOG}.expire_snapshots_min_retention = '{_trino(min(keep, KEEP))}'")
    engine.query(f"set session {CATALOG}.remove_orphan_files_min_retention = '{_trino(min(unreferenced, KEEP))}'")
    removed = _metric(
        engine, f"{target} remove_orphan_files(retention_threshold => '{_trino(unreferenced)}')", "deleted_files_count"
    )
    engine.query(f"{target} expire_snapshots(retention_threshold => '{_trino(keep)}')")
    compacted = _metric(engine, f"{target} optimize", "rewritten_data_files_count")
    return compacted, removed


def _metric(engine: Engine, statement: str, name: str) -> int:
    rows = engine.query(statement).to_pylist()
    return next((int(row["metric_value"]) for row in rows if row.get("metric_name") == name), 0)


def _trino(age: timedelta) -> str:
    return f"{int(age.total_seconds())}s"


class _AssertRefs(ValidatableTableRequirement):
    """Every branch and tag is as it was: a tag that somebody gave meanwhile keeps its snapshot.

    PyIceberg has no such requirement, and removes the refs of what it expires. Its catalog on SQLite asks it.
    """

    type: Literal["assert-refs"] = "assert-refs"
    refs: dict[str, int]

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]
        """Compare with the table as the catalog has it now."""
        if base_metadata is None or _refs(base_metadata) != self.refs:
            raise CommitFailedException("a branch or tag moved")


def _refs(metadata: TableMetadata) -> dict[str, int]:
    return {name: ref.snapshot_id for name, ref in metadata.refs.items()}


def _old_snapshots(table: Table, keep: timedelta) -> list[int]:
    """The snapshots that are older than `keep`, and that no branch or tag names.

    Ages are by this machine's clock. Without an age, all of them: a stamp may be ahead of the clock.
    """
    named = _refs(table.metadata).values()
    limit = (datetime.now(UTC) - keep).timestamp() * 1000 if keep else math.inf
    return [s.snapshot_id for s in table.snapshots() if s.timestamp_ms < limit and s.snapshot_id not in named]


def _expire(catalog: Catalog, name: str, keep: timedelta) -> bool:
    """Expire what is older than `keep` and has no name, in one commit. False if there is nothing.

    Not by PyIceberg's builder: it copies the whole metadata for each snapshot, so its cost grows with the square.
    """
    for _ in range(ATTEMPTS):
        table = load_table(catalog, name)
        old = _old_snapshots(table, keep)
        if not old:
            return False
        requirements: Any = (AssertTableUUID(uuid=table.metadata.table_uuid), _AssertRefs(refs=_refs(table.metadata)))
        try:
            catalog.commit_table(table, requirements, (RemoveSnapshotsUpdate(snapshot_ids=old),))  # type: ignore[call-arg]
        except CommitFailedException:
            continue  # a load, tag or rollback was quicker
        return True
    raise CommitError(
        f"Other processes changed {name} at each of {ATTEMPTS} attempts, so none of its snapshots expired. "
        f"{DONE_STAYS} Run `lakehouse maintain` again when no load is running."
    )


def _limit_metadata_files(table: Table) -> None:
    """Give a table of an older version of this project the rule that old metadata files go."""
    if missing := {key: value for key, value in METADATA_FILES.items() if table.properties.get(key) != value}:
        with table.transaction() as transaction:
            transaction.set_properties(missing)


def _files_below(folder: Path) -> dict[Path, os.stat_result]:
    """Each file below a folder, with its size and time."""
    found = {}
    for place, _, names in os.walk(folder):
        here = Path(place).resolve()
        for name in names:
            with suppress(FileNotFoundError):  # removed meanwhile
                found[here / name] = (here / name).stat()
    return found


def _paths(addresses: Iterable[str]) -> set[Path]:
    """Addresses as paths that can be compared: folders without symbolic links."""
    folders: dict[str, Path] = {}
    found = set()
    for address in addresses:
        folder, name = os.path.split(local_path(address))
        if folder not in folders:
            folders[folder] = Path(folder).resolve()
        found.add(folders[folder] / name)
    return found


def _remove_unreferenced(
    files: Mapping[Path, os.stat_result], used: AbstractSet[Path], age: timedelta, removed: _Removed
) -> None:
    """Remove the files of a table's folder that nothing refers to and that are older than `age`."""
    limit = time.time() - age.total_seconds()
    for path, facts in files.items():
        if path in used:
            continue
        if facts.st_mtime <= limit:
            _remove(path, removed)
        else:
            removed.waiting_bytes += facts.st_size


def _remove(path: Path, removed: _Removed) -> None:
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return  # another maintenance was quicker
    removed.files += 1
    removed.freed_bytes += size


@contextmanager
def _full_disk(settings: Settings, table: Table, keep: timedelta, freed: Callable[[], int]) -> Iterator[None]:
    """Report a full disk with what was freed, what expiry would free, and what else lies there: expiry needs some room.

    Raises:
        ServiceError: instead of the system's error.
    """
    try:
        yield
    except (OSError, DBAPIError) as error:
        if not is_full(error):
            raise
        old = set(_old_snapshots(table, keep))
        kept = [snapshot for snapshot in table.snapshots() if snapshot.snapshot_id not in old]
        waits = _paths(referenced(table)) - _paths(referenced(table, kept))
        would_free = sum(path.stat().st_size for path in waits if path.exists())
        others = {
            folder: sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            for pattern in ("dbt/logs", "landing/*/versions", "landing/.staging")
            for folder in settings.home.glob(pattern)
        }
        found = ", ".join(f"{folder} ({readable_size(size)})" for folder, size in others.items() if size)
        raise ServiceError(
            f"The disk is full: {readable_size(freed())} were freed, but then about 100 kB were missing to write the "
            f"metadata of {'.'.join(table.name())}. First remove something else from this "
            f"disk{f', for example below {found}' if found else ''}. Then run `lakehouse maintain --now` again: the "
            f"expiry of {len(old)} of its {len(table.snapshots())} snapshots frees {readable_size(would_free)}."
        ) from error
