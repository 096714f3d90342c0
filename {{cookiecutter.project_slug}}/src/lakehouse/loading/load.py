"""Loading one file: given the landed file, exactly one new snapshot, or none.

The steps: is it there already? · conform in bounded batches · write beside the table's data · audit · one commit.
A kill at any point leaves the table as it was, and the next run puts it right.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import date
from functools import partial
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
from pyiceberg.table import Table

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Part
from lakehouse.datasets.registry import dataset_named
from lakehouse.errors import CommitError, LakehouseError, LandingError, RefusedError
from lakehouse.filesystem import sha256_of
from lakehouse.formats.protocol import ContentError, Reader
from lakehouse.iceberg.catalog import service_errors, settings_of
from lakehouse.iceberg.commit import ATTEMPTS, commit, discarding
from lakehouse.iceberg.tables import ensure_raw_tables, raw_schema
from lakehouse.iceberg.timeline import skew
from lakehouse.iceberg.writer import audit, write_data_file
from lakehouse.landing import Landed, Landing
from lakehouse.landing.land import is_generated
from lakehouse.loading.acceptance import (
    Change,
    OtherParts,
    RowTimes,
    check_bytes,
    still_current,
    superseded,
)
from lakehouse.loading.bundle import open_landed
from lakehouse.loading.conform import Conformer, plan
from lakehouse.loading.cursor import check_no_gap, has_cursor
from lakehouse.loading.merge import FileRows, Merged, file_rows
from lakehouse.progress import Progress


@dataclass(frozen=True)
class LoadResult:
    """What a load did. `unchanged` means that the table already held these bytes: no snapshot was made.

    `merged` tells of the rows of a table with a key; None without a key, and where nothing was loaded.
    `clock` is a warning about clocks that disagree; None where they don't.
    """

    file: DatasetFile
    table: str
    action: Literal["loaded", "unchanged"]
    snapshot_id: int | None
    rows: int
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
    def made(self) -> str:
        """The snapshot that it made, as text."""
        return f"snapshot {self.snapshot_id}" if self.snapshot_id else "no new snapshot"

    @property
    def counts(self) -> str:
        """Its rows, as text: `266 rows (1 inserted, 2 updated, 263 unchanged, 0 removed)`."""
        if self.merged is None:
            return f"{self.rows:,} rows"
        words = ", ".join(f"{count:,} {word}" for word, count in asdict(self.merged).items() if count or word in _SAID)
        return f"{self.rows:,} rows ({words})"


_NESTED = ("file", "merged")
_SAID = ("inserted", "updated", "unchanged", "removed")  # also where there are none


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
        file: which file: a month or a day of a dataset, or all of it.
        again: load even if the table already holds these bytes, for a declaration that has changed; once for a
            `run_id`.
        allow_shrink: accept a file with no rows, or with fewer than half of the rows it replaces.
        allow_strays: most rows may be of another part, and the bytes may be loaded as another part already.
        run_id: recorded in the snapshot's summary; made up if absent.
        progress: called with rows done and rows in the file.

    Raises:
        LandingError: nothing is landed for the part, or the landed file is gone or has another length.
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
                f"No file of {file.label} is landed, so nothing was loaded. Run `lakehouse load {file.label}`, which "
                "lands it first."
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
    dataset, part = dataset_named(change.file.dataset), change.file.part
    if not dataset.parts.has(part):
        example = f"{dataset.name} {dataset.parts.example}".rstrip()
        raise RefusedError(
            f"The dataset {dataset.name} has no file {change.file.label}. Nothing was loaded. Write it as `lakehouse "
            f"load {example}`."
        )
    table = catalog.load_table(dataset.table)
    held = change.held_rows(table)
    if held is not None:
        return _result(change, dataset.table, None, held, clock=skew(table), started=started)
    check_no_gap(landed, dataset, table)
    name = landed.file.name
    with ExitStack() as stack:
        with landing.local(landed) as path, _opened(path, landed, dataset) as (reader, check):
            match = plan(dataset, part, reader.schema, name)
            if reader.rows is not None:  # as early as it can be known
                change.check_size(table, reader.rows, name)
            others = OtherParts(change, name, reader.rows)
            others.check(table)
            read = _Read(reader, Conformer(dataset, part, match, name, reader.place), check, progress)
            file = rows = None
            if dataset.key:
                rows = stack.enter_context(file_rows(settings_of(catalog), dataset, name, match.sources, reader.place))
                for batch in read.batches():
                    rows.add(batch)
                rows.check_keys()
                read.finish(change)
            else:
                file = _staged(
                    table,
                    _as_the_table_has_them(table, dataset, read.placed_batches()),
                    f"{part or dataset.name}-{change.sha256[:8]}",
                    _partition(table, part),
                    partial(read.finish, change),
                )
        still = still_current(landing, landed, change, read.rows)
        synthetic = reader.is_synthetic or is_generated(landed)

        def check_again(handle: Table) -> None:
            still(handle)
            others.check(handle)

        merged = None
        if rows is not None:
            snapshot_id, merged = _merge(catalog, landed, rows, change, synthetic=synthetic, check=check_again)
        else:
            replacement = change.replacement(read.rows, synthetic=synthetic)
            snapshot_id = commit(catalog, dataset.table, [file] if file else [], replacement, check=check_again)
    return _result(
        change,
        dataset.table,
        snapshot_id,
        read.rows,
        unknown=match.unknown,
        merged=merged,
        clock=skew(table),
        started=started,
    )


def _staged(
    table: Table,
    batches: Iterator[list[pa.Array[Any]]],
    name: str,
    partition: PartitionKey | None,
    check: Callable[[], None] = lambda: None,
) -> DataFile | None:
    """The rows as a data file that nothing refers to yet, read back and compared; None without rows.

    `check` is asked once all rows are written.

    Raises:
        RefusedError: by `check`, or the file is not what was written; the data file is removed.
    """
    first = next(batches, None)
    if first is None:
        check()
        return None
    file, written = write_data_file(table, chain([first], batches), name, partition)
    with discarding(table, [file]):
        check()
        audit(table, file, written)
    return file


class _MovedError(RefusedError):
    """The table is not in the state any more that rows were merged into."""


def _merge(
    catalog: Catalog,
    landed: Landed,
    rows: FileRows,
    change: Change,
    *,
    synthetic: bool,
    check: Callable[[Table], None],
) -> tuple[int | None, Merged | None]:
    """Merge the file's rows into the newest state of the table; again, where others have changed it meanwhile.

    Returns:
        The snapshot's id and what was merged; None for both if the table holds this file already, or if there is
        nothing new in an extract by a cursor.

    Raises:
        RefusedError: the file begins where the table does not reach.
    """
    dataset = dataset_named(change.file.dataset)
    for _ in range(ATTEMPTS):
        table = catalog.load_table(dataset.table)
        check_no_gap(landed, dataset, table)
        merge = rows.compare(table, again=change.again)
        if has_cursor(dataset) and merge.changes_nothing:
            return None, None  # such a file mostly has rows that the table has: a snapshot of them would say nothing

        def unmoved(handle: Table, base: int | None = merge.snapshot_id) -> None:
            check(handle)
            current = handle.current_snapshot()
            if (current.snapshot_id if current else None) != base:
                raise _MovedError(f"{dataset.table} was changed meanwhile")

        batches = rows.new_rows(table, merge, change.sha256)
        file = _staged(table, batches, f"{dataset.name}-{change.sha256[:8]}", None)
        replacement = change.replacement(rows.rows, synthetic=synthetic, merge=merge)
        try:
            snapshot_id = commit(catalog, dataset.table, [file] if file else [], replacement, check=unmoved)
        except _MovedError:
            continue
        return snapshot_id, merge.merged if snapshot_id else None
    raise CommitError(
        f"{dataset.table}: {change.file.label} could not be merged, because others changed the table at each of "
        f"{ATTEMPTS} attempts. The table is as they left it; run the same command again when they are done."
    )


def _result(
    change: Change,
    table: str,
    snapshot_id: int | None,
    rows: int,
    *,
    unknown: tuple[str, ...] = (),
    merged: Merged | None = None,
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
        merged=merged,
        clock=clock,
        seconds=time.monotonic() - started,
    )


@contextmanager
def _opened(path: Path, landed: Landed, dataset: Dataset) -> Iterator[tuple[Reader, _Check]]:
    """The landed file, open for reading, while a thread takes its SHA-256.

    What is refused while it is open may be damage that looks like a wrong value: changed bytes are reported first.
    """
    with _both(path, landed) as (file, source), ThreadPoolExecutor(1, thread_name_prefix="sha256") as pool:
        check = _Check(landed, dataset.format.title, pool.submit(sha256_of, file))
        try:
            with check.reading():
                reader = open_landed(landed, source)
            with closing(reader):
                yield reader, check
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
                f"Another version of {landed.file.name} was landed while this one was being opened. Nothing was "
                "loaded. Run the same command again."
            )
        yield file, source


@dataclass(frozen=True)
class _Check:
    """Whether the landed bytes are those that were recorded, and whether they can be read."""

    landed: Landed
    kind: str
    sha256: Future[str]

    def bytes(self) -> None:
        """Wait for the hash; refuse bytes that are not the recorded ones. TLC files carry no checksums of their own."""
        check_bytes(self.landed, self.sha256.result())

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A failure to read is a refusal."""
        try:
            yield
        except ContentError as error:
            raise RefusedError(
                f"{self.landed.file.name}: {error}. Nothing was loaded. Load it again with --refresh, which gets the "
                "published file again. If that file is wrong too, correct a copy of it, set TLC_SOURCE to the folder "
                "of the copy, and load that with --refresh."
            ) from error
        except (OSError, pa.ArrowException) as error:
            line = (str(error) or type(error).__name__).splitlines()[0][:200]
            raise RefusedError(
                f"The landed file {self.landed.file.name} can't be read: it is not a whole {self.kind} ({line}). "
                "Nothing was loaded. Load it again with --refresh, which gets the published file again."
            ) from error


class _Read:
    """Reads and conforms a file's rows, batch by batch, and counts what shows that the file is wrong."""

    def __init__(self, reader: Reader, conformer: Conformer, check: _Check, progress: Progress | None) -> None:
        self.reader = reader
        self.conformer = conformer
        self.check = check
        self.progress = progress
        self.rows = 0
        self.times = RowTimes(conformer.dataset, conformer.part)

    def batches(self) -> Iterator[list[pa.Array[Any]]]:
        """The rows, an array for each declared column."""
        total = self.reader.rows
        sources = self.conformer.match.sources
        incoming = self.reader.batches([source for source in sources.values() if source is not None])
        while True:
            with self.check.reading():
                batch = next(incoming, None)
            if batch is None:
                break
            if not len(batch):
                continue
            conformed = self.conformer.conform(batch)
            self.times.add(conformed)
            yield conformed
            self.rows += len(batch)
            if self.progress:
                self.progress(self.rows, total or self.rows)
        if total is not None and self.rows != total:
            raise RefusedError(
                f"{self.conformer.file}: only {self.rows:,} of its {total:,} rows could be read. Nothing was loaded. "
                "Load it again with --refresh, which gets the published file again."
            )

    def placed_batches(self) -> Iterator[list[pa.Array[Any]]]:
        """The rows of a table without a key, in the order of `raw_schema`: part, place in the file, hash, columns."""
        part, sha256 = self.conformer.part, pa.array([self.check.landed.sha256])
        first = 0
        for arrays in self.batches():
            rows = len(arrays[0])
            row = pa.array(np.arange(first, first + rows, dtype=np.int64))
            source = pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int32), sha256)
            yield [*([_days(part, rows)] if part else []), row, source, *arrays]
            first += rows

    def finish(self, change: Change) -> None:
        """The checks that need all rows.

        Raises:
            RefusedError: the file can't be loaded as it is, or its bytes are not those recorded at landing.
        """
        self.conformer.finish()
        if not change.allow_strays:
            self.times.check(self.conformer.file, self.conformer.match.sources)
        self.check.bytes()


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


def _days(part: Part, rows: int) -> pa.Array[Any]:
    """The part's first day, for each row."""
    days = (part.first_day - date(1970, 1, 1)).days
    return pa.array(np.full(rows, days, dtype=np.int32)).cast(pa.date32())


def _partition(table: Table, part: Part | None) -> PartitionKey | None:
    """The partition of a part's rows; None for a table without parts."""
    if part is None:
        return None
    spec, schema = table.spec(), table.schema()
    values = [PartitionFieldValue(spec.fields[0], part.first_day)]
    return PartitionKey(field_values=values, partition_spec=spec, schema=schema)
