"""Loading one month: given the landed file, exactly one new snapshot, or none.

The steps: is it there already? · conform in bounded batches · write beside the table's data · audit · one commit.
A kill at any point leaves the table as it was, and the next run puts it right.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import date
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
from pyiceberg.table import Table

from lakehouse.datasets.file import ZONES_FILE, DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import dataset_named
from lakehouse.errors import LakehouseError, LandingError, RefusedError
from lakehouse.iceberg.catalog import service_errors
from lakehouse.iceberg.commit import commit, discarding
from lakehouse.iceberg.tables import ZONES_TABLE, ensure_raw_tables, raw_schema
from lakehouse.iceberg.timeline import skew
from lakehouse.iceberg.writer import BATCH_ROWS, audit, write_data_file
from lakehouse.landing import Landed, Landing
from lakehouse.landing.folder import sha256_of
from lakehouse.loading.acceptance import Change, OtherMonths, PickupMonths, check_bytes, still_current, superseded
from lakehouse.loading.conform import Conformer, plan
from lakehouse.loading.zones import load_zones
from lakehouse.synthetic.generate import SYNTHETIC_KEY

READ_BYTES = 1 << 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LoadResult:
    """What a load did. `unchanged` means that the table already held these bytes: no snapshot was made.

    `clock` is a warning about clocks that disagree; None where they don't.
    """

    file: DatasetFile
    table: str
    action: Literal["loaded", "unchanged"]
    snapshot_id: int | None
    rows: int
    source_sha256: str
    unknown_columns: tuple[str, ...]
    clock: str | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "file"}
        return {**self.file.as_dict(), **values}

    @property
    def made(self) -> str:
        """The snapshot that it made, as text."""
        return f"snapshot {self.snapshot_id}" if self.snapshot_id else "no new snapshot"


def load(
    catalog: Catalog,
    landing: Landing,
    file: DatasetFile,
    *,
    again: bool = False,
    allow_shrink: bool = False,
    allow_strays: bool = False,
    run_id: str | None = None,
    progress: Progress | None = None,
) -> LoadResult:
    """Load a landed file in one snapshot, or in none if the table holds it.

    Args:
        catalog: where the tables are.
        landing: where the file is.
        file: which file: a dataset's month, or the zone lookup.
        again: load even if the table already holds these bytes, for a declaration that has changed.
        allow_shrink: accept a file with no rows, or with fewer than half of the rows it replaces.
        allow_strays: most rows may be of another month, and the bytes may be loaded as another month already.
        run_id: recorded in the snapshot's summary; made up if absent.
        progress: called with rows done and rows in the file.

    Raises:
        LandingError: nothing is landed for the month, or the landed file is gone or has another length.
        RefusedError: the file can't be loaded as it is, or its bytes are not those recorded at landing.
        CommitError: the catalog or store did not take it, or did not answer. If it did not answer, the table holds the
            old rows or the new ones, whole, and the message says so.
        ServiceError: the catalog or store does not answer. The table is as it was.
    """
    with service_errors(catalog):
        return _load(
            catalog,
            landing,
            file,
            again=again,
            allow_shrink=allow_shrink,
            allow_strays=allow_strays,
            run_id=run_id or str(uuid.uuid4()),
            progress=progress,
        )


def _load(
    catalog: Catalog,
    landing: Landing,
    file: DatasetFile,
    *,
    again: bool,
    allow_shrink: bool,
    allow_strays: bool,
    run_id: str,
    progress: Progress | None,
) -> LoadResult:
    started = time.monotonic()
    while True:
        landed = landing.find(file)
        if landed is None:
            raise LandingError(
                f"Nothing is landed for {file.label}. Run `lakehouse load {file.label}`, which lands it first."
            )
        change = Change(
            file=file,
            source=landed.origin,
            sha256=landed.sha256,
            run_id=run_id,
            again=again,
            allow_shrink=allow_shrink,
            allow_strays=allow_strays,
        )
        try:
            result = _load_landed(catalog, landing, landed, change, progress=progress, started=started)
        except (LandingError, RefusedError):
            if not superseded(landing, landed):
                raise
        else:
            # Also after a commit: who landed a version that the table held just then found nothing to commit.
            if not _overtaken(landing, landed):
                return result
        # Another version landed meanwhile, and this one is no longer what is to be loaded: start again.


def _overtaken(landing: Landing, landed: Landed) -> bool:
    """Whether another version has landed since this one was loaded.

    False if the landing zone does not answer: a load that is done must not be reported as failed.
    """
    try:
        return superseded(landing, landed)
    except LakehouseError:
        return False


def _load_landed(
    catalog: Catalog, landing: Landing, landed: Landed, change: Change, *, progress: Progress | None, started: float
) -> LoadResult:
    ensure_raw_tables(catalog)
    if change.file.month:
        return _load_month(
            catalog,
            landing,
            landed,
            change,
            dataset_named(change.file.dataset),
            month=change.file.month,
            progress=progress,
            started=started,
        )
    if change.file != ZONES_FILE:
        name = change.file.dataset
        raise RefusedError(f"{name} is loaded by the month: `lakehouse load {name} 2024-01`.")
    snapshot_id, rows = load_zones(catalog, landing, landed, change)
    return _result(change, ZONES_TABLE, snapshot_id, rows, started=started)


def _load_month(
    catalog: Catalog,
    landing: Landing,
    landed: Landed,
    change: Change,
    dataset: Dataset,
    *,
    month: Month,
    progress: Progress | None,
    started: float,
) -> LoadResult:
    table = catalog.load_table(dataset.table)
    held = change.held_rows(table)
    if held is not None:
        return _result(change, dataset.table, None, held, clock=skew(table), started=started)
    with landing.local(landed) as path, _opened(path, landed) as (parquet, check):
        rows = parquet.metadata.num_rows
        match = plan(dataset, month, parquet.schema_arrow, landed.file.name)
        change.check_size(table, rows, landed.file.name)
        others = OtherMonths(change, landed.file.name, rows)
        others.check(table)
        synthetic = SYNTHETIC_KEY.encode() in (parquet.schema_arrow.metadata or {})
        conformer = Conformer(dataset, month, match, landed.file.name)
        pickups = PickupMonths(dataset, month)
        file = None
        if rows:
            arrays = _as_the_table_has_them(table, dataset, _rows(parquet, conformer, pickups, check, progress))
            file, written = write_data_file(table, arrays, f"{month}-{landed.sha256[:8]}", _partition(table, month))
            with discarding(table, file):
                conformer.finish()
                if not change.allow_strays:
                    pickups.check(landed.file.name, match.sources[dataset.pickup])
                audit(table, file, written)
                check.bytes()
        else:
            check.bytes()
    still = still_current(landing, landed, change, rows)

    def check_again(handle: Table) -> None:
        still(handle)
        others.check(handle)

    snapshot_id = commit(catalog, dataset.table, file, change.replacement(rows, synthetic=synthetic), check=check_again)
    return _result(change, dataset.table, snapshot_id, rows, unknown=match.unknown, clock=skew(table), started=started)


def _result(
    change: Change,
    table: str,
    snapshot_id: int | None,
    rows: int,
    *,
    unknown: tuple[str, ...] = (),
    clock: str | None = None,
    started: float,
) -> LoadResult:
    return LoadResult(
        file=change.file,
        table=table,
        action="unchanged" if snapshot_id is None else "loaded",
        snapshot_id=snapshot_id,
        rows=rows,
        source_sha256=change.sha256,
        unknown_columns=unknown,
        clock=clock,
        seconds=time.monotonic() - started,
    )


@contextmanager
def _opened(path: Path, landed: Landed) -> Iterator[tuple[pq.ParquetFile, _Check]]:
    """The landed file, open for reading, while a thread takes its SHA-256.

    What is refused while it is open may be damage that looks like a wrong value: changed bytes are reported first.
    """
    with _both(path, landed) as (file, source), ThreadPoolExecutor(1, thread_name_prefix="sha256") as pool:
        check = _Check(landed, pool.submit(sha256_of, file))
        try:
            with check.reading():
                # A buffer, or each column of a row group is read whole: a published file can be one group.
                parquet = pq.ParquetFile(
                    source, pre_buffer=False, buffer_size=READ_BYTES, page_checksum_verification=True
                )
            with parquet:
                yield parquet, check
        except RefusedError:
            check.bytes()
            raise


@contextmanager
def _both(path: Path, landed: Landed) -> Iterator[tuple[BufferedReader, Any]]:
    """The same file opened twice, to be hashed and to be read: one that is landed meanwhile takes its name.

    Raises:
        LandingError: it was, between the two.
    """
    with path.open("rb") as file, pa.OSFile(str(path), "r") as source:
        if not os.path.sameopenfile(file.fileno(), source.fileno()):
            raise LandingError(
                f"{landed.file.name} was landed again while it was being opened. Run the same command again."
            )
        yield file, source


@dataclass(frozen=True)
class _Check:
    """Whether the landed bytes are those that were recorded, and whether they can be read."""

    landed: Landed
    sha256: Future[str]

    def bytes(self) -> None:
        """Wait for the hash; refuse bytes that are not the recorded ones. TLC files carry no checksums of their own."""
        check_bytes(self.landed, self.sha256.result())

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A failure to read is a refusal."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            line = (str(error) or type(error).__name__).splitlines()[0][:200]
            raise RefusedError(
                f"{self.landed.file.name}: this is not a whole parquet file ({line}). Nothing was loaded; get the "
                "published file again with --refresh."
            ) from error


def _rows(
    parquet: pq.ParquetFile, conformer: Conformer, pickups: PickupMonths, check: _Check, progress: Progress | None
) -> Iterator[list[pa.Array[Any]]]:
    """The file's rows as the raw table has them: key and provenance, then the conformed columns."""
    total = parquet.metadata.num_rows
    columns = [source for source in conformer.match.sources.values() if source is not None]
    # by batch, never by row group: a published file can be one row group of 12 million rows
    batches = parquet.iter_batches(BATCH_ROWS, columns=columns)
    done = 0
    while True:
        with check.reading():
            batch = next(batches, None)
        if batch is None:
            break
        conformed = conformer.conform(batch)
        pickups.add(conformed)
        yield [*_key(conformer.month, check.landed.sha256, done, len(batch)), *conformed]
        done += len(batch)
        if progress:
            progress(done, total)
    if done != total:
        raise RefusedError(
            f"{check.landed.file.name}: {done:,} of its {total:,} rows could be read. Nothing was loaded."
        )


def _as_the_table_has_them(
    table: Table, dataset: Dataset, batches: Iterator[list[pa.Array[Any]]]
) -> Iterator[list[pa.Array[Any]]]:
    """Batches in the order of the table's columns, which is not the declaration's once that has gained or lost one.

    A column that is added comes last in a table. One that is no longer declared stays, and is null from then on.
    """
    place = {column.name: i for i, column in enumerate(raw_schema(dataset).fields)}
    fields = list(schema_to_pyarrow(table.schema()))
    for arrays in batches:
        rows = len(arrays[0])
        yield [arrays[place[f.name]] if f.name in place else pa.nulls(rows, f.type) for f in fields]


def _key(month: Month, sha256: str, first_row: int, rows: int) -> list[pa.Array[Any]]:
    days = (month.first_day - date(1970, 1, 1)).days
    return [
        pa.array(np.full(rows, days, dtype=np.int32)).cast(pa.date32()),
        pa.array(np.arange(first_row, first_row + rows, dtype=np.int64)),
        pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int32), pa.array([sha256])),
    ]


def _partition(table: Table, month: Month) -> PartitionKey:
    spec, schema = table.spec(), table.schema()
    values = [PartitionFieldValue(spec.fields[0], month.first_day)]
    return PartitionKey(field_values=values, partition_spec=spec, schema=schema)
