"""The files of a table: which a reader sees, which it needs, and which bytes a data file came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, EqualTo
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import StringType

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.registry import dataset_named
from lakehouse.errors import QueryError
from lakehouse.landing import SHA256_LENGTH

EPOCH = date(1970, 1, 1)
REMOVE_SECONDS = 5.0


def referenced(table: Table, snapshots: Iterable[Snapshot] | None = None) -> Iterator[str]:
    """The address of every file that these snapshots (all unless given) need, and of the table's metadata.

    Reads each manifest once, however many snapshots share it.
    """
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    yield from (statistics.statistics_path for statistics in table.metadata.statistics)
    read: set[str] = set()
    for snapshot in table.snapshots() if snapshots is None else snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in read:
                continue
            read.add(manifest.manifest_path)
            yield manifest.manifest_path
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                yield entry.data_file.file_path


def local_path(location: str) -> str:
    """The path that PyIceberg itself opens for a location (it does not decode percent signs)."""
    found = urlsplit(location)
    if found.scheme not in ("file", ""):
        raise QueryError(
            f"DuckDB can't read {location}: it reads only the tables of the target `embedded`, which are local files. "
            "Use LAKEHOUSE_TARGET=trino for tables in an object store."
        )
    return f"{found.netloc}{found.path}"


def rows_of_file(file: DatasetFile) -> BooleanExpression:
    """The rows of a table that a file has: those of its part, or all."""
    column, part = dataset_named(file.dataset).parts.column, file.part
    if column is None or part is None:
        return AlwaysTrue()
    by_name: Any = EqualTo  # its stub knows bound terms only
    predicate: BooleanExpression = by_name(column, part.first_day.isoformat())
    return predicate


def live_files(table: Table, predicate: BooleanExpression) -> list[DataFile]:
    """The data files that a reader of these rows sees now. Reads manifests, no data."""
    scan = table.scan(row_filter=predicate)
    return [task.file for task in scan.plan_files()]


def first_day_of(file: DataFile) -> date:
    """The first day of the month or day that a file belongs to, of a table that is partitioned by it."""
    value: Any = file.partition[0]
    return value if isinstance(value, date) else EPOCH + timedelta(days=value)


def file_hash(table: Table, file: DataFile) -> str | None:
    """The one `source_sha256` of a data file; None if the file mixes sources.

    From its metrics; where a compaction by Trino has cut these to 16 characters, from the column itself.
    """
    low, high = _hash_bounds(table, file)
    if low is None or high is None:
        return None
    if min(len(low), len(high)) < SHA256_LENGTH:
        from lakehouse.iceberg.rows import hash_in  # noqa: PLC0415 - reads parquet, which is seldom needed

        return hash_in(table, file.file_path)
    return str(from_bytes(StringType(), low)) if low == high else None


def rows_by_file(
    table: Table,
    snapshot_id: int | None = None,
    hash_of: Callable[[Table, DataFile], str | None] = file_hash,
) -> dict[date, dict[str | None, int]]:
    """Of each month or day, the rows by the hash of the bytes that they came from; None where it is not known.

    Reads manifests. `snapshot_id` is that of an older state, `hash_of` what tells a file's hash.
    """
    found: dict[date, dict[str | None, int]] = {}
    for task in table.scan(snapshot_id=snapshot_id).plan_files():
        rows = found.setdefault(first_day_of(task.file), {})
        source = hash_of(table, task.file)
        rows[source] = rows.get(source, 0) + task.file.record_count
    return found


def prefix_of_hash(table: Table, file: DataFile) -> str | None:
    """What a data file's metrics alone say of its `source_sha256`: all of it, or where they are cut, its beginning.

    None if the file mixes sources, as far as the metrics show.
    """
    low, high = _hash_bounds(table, file)
    if low is None or high is None:
        return None
    least, greatest = (str(from_bytes(StringType(), bound)) for bound in (low, high))
    if min(len(low), len(high)) < SHA256_LENGTH:
        # An upper bound that is cut has its last character raised, so that no value is above it.
        least, greatest = least[: len(low) - 1], greatest[: len(low) - 1]
    return least if least == greatest else None


def _hash_bounds(table: Table, file: DataFile) -> tuple[bytes | None, bytes | None]:
    """The least and the greatest `source_sha256` in a data file's metrics."""
    field_id = table.schema().find_field("source_sha256").field_id
    return (file.lower_bounds or {}).get(field_id), (file.upper_bounds or {}).get(field_id)


def remove(io: FileIO, path: str) -> None:
    """Remove a staged file that nothing refers to; one that is out of reach is left to maintenance.

    A store that hangs is not waited for: what failed before has taken its time already.
    """

    def attempt() -> None:
        with suppress(OSError):
            io.delete(path)

    removing = Thread(target=attempt, name="remove-staged-file", daemon=True)
    removing.start()
    removing.join(REMOVE_SECONDS)
