"""`lakehouse.read`: a table, or a part of it, as Arrow; at any of its versions. `scan` gives it to Polars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import BooleanExpression
from pyiceberg.io.pyarrow import ArrowScan, _read_all_delete_files
from pyiceberg.table import Table
from pyparsing import ParseBaseException

from lakehouse.errors import QueryError
from lakehouse.frames.columns import arrow_schema
from lakehouse.frames.names import refuse_no_name
from lakehouse.frames.partitions import Partition, cell_of, rows_of
from lakehouse.iceberg.catalog import file_errors, open_catalog, service_errors
from lakehouse.iceberg.publication import BRANCH, SCHEMA
from lakehouse.iceberg.refs import load_table, shown_at
from lakehouse.iceberg.versions import AsOf, parse_as_of
from lakehouse.settings import load_settings

if TYPE_CHECKING:
    import polars as pl

# What names a version: see `read`.
Version = str | int | datetime


def read(
    table: str,
    *,
    columns: Sequence[str] | None = None,
    where: str | BooleanExpression | None = None,
    as_of: Version | None = None,
    partition: Partition | None = None,
) -> pa.Table:
    """Rows of a table as Arrow. `.to_pandas()` makes them pandas', `polars.from_arrow(...)` Polars'.

    Args:
        table: `schema.table`, for example `gold.fct_daily_trips`. `published.NAME` is gold's, as last published.
        columns: which, in this order; all unless given.
        where: which rows, as PyIceberg writes it: `"trips > 100 and pickup_date >= '2024-01-01'"`.
        as_of: the id of a snapshot, a branch or tag, or a time (UTC unless it has an offset), as text or `datetime`.
        partition: the rows of this partition, as for `write`.

    Raises:
        QueryError: no such table, column or version, or a condition that can't be read.
        BoundaryError: a file of the table is missing or damaged.
        ServiceError: the catalog or store does not answer.
    """
    return Selection(
        open_catalog(load_settings()), table, columns=columns, where=where, as_of=as_of, partition=partition
    ).table()


def read_batches(
    table: str,
    *,
    columns: Sequence[str] | None = None,
    where: str | BooleanExpression | None = None,
    as_of: Version | None = None,
    partition: Partition | None = None,
) -> pa.RecordBatchReader:
    """As `read`, as a stream: the memory holds a few batches, however large the table is."""
    return Selection(
        open_catalog(load_settings()), table, columns=columns, where=where, as_of=as_of, partition=partition
    ).batches()


def scan(table: str, *, as_of: Version | None = None, partition: Partition | None = None) -> pl.LazyFrame:
    """A table as a LazyFrame of Polars: it reads the columns that a query needs, in a stream, when the query runs.

    The version is chosen now: a commit that is made before the query runs does not change its answer.

    Raises:
        QueryError: no such table or version.
    """
    return Selection(open_catalog(load_settings()), table, as_of=as_of, partition=partition).lazy()


class Selection:
    """What to read: columns and rows of a table at one snapshot. Files are planned when it is made."""

    def __init__(
        self,
        catalog: Catalog,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        where: str | BooleanExpression | None = None,
        as_of: Version | None = None,
        partition: Partition | BooleanExpression | None = None,
    ) -> None:
        refuse_no_name(name)
        name, as_of = _of_gold(name, as_of)
        self._catalog = catalog
        with service_errors(catalog):
            found = load_table(catalog, name)
            held = found if as_of is None else _at(found, as_of)
            known = [field.name for field in held.schema().fields]
            if unknown := [column for column in columns or () if column not in known]:
                raise QueryError(
                    f"{name} has no column {', '.join(map(repr, unknown))} in this version. It has: {', '.join(known)}."
                )
            try:
                scan = held.scan("true" if where is None else where)
                if isinstance(partition, BooleanExpression):
                    scan = scan.filter(partition)
                elif partition is not None:
                    scan = scan.filter(rows_of([cell_of(partition, held)]))
                with file_errors(held):
                    self._tasks = list(scan.plan_files())
            except (ValueError, TypeError, ParseBaseException) as error:
                raise QueryError(
                    f"{name} can't be read where {where or partition}: {error}. The table has: {', '.join(known)}. "
                    "Write a condition as in \"trips > 100 and day = '2024-01-05'\"."
                ) from error
        self._held, self._scan = held, scan
        self._choose(columns)

    def _choose(self, columns: Sequence[str] | None) -> None:
        projection = self._scan.projection()
        wanted = projection.select(*columns) if columns else projection
        schema = arrow_schema(wanted)
        self.schema = pa.schema([schema.field(name) for name in columns]) if columns else schema
        self._arrow = ArrowScan(self._held.metadata, self._held.io, wanted, self._scan.row_filter)

    def table(self) -> pa.Table:
        """All rows. Several files are read at once."""
        with service_errors(self._catalog), file_errors(self._held):
            rows = self._arrow.to_table(self._tasks)
        return rows.select(self.schema.names).cast(self.schema)

    def batches(self) -> pa.RecordBatchReader:
        """The rows as a stream: one file after another, a few batches of it at a time."""
        return pa.RecordBatchReader.from_batches(self.schema, self._stream())

    def _stream(self) -> Iterator[pa.RecordBatch]:
        with service_errors(self._catalog), file_errors(self._held):
            for task in self._tasks:
                # Not `to_record_batches`, which holds all batches of a file, and of as many files as there are threads.
                deletes = _read_all_delete_files(self._arrow._io, [task])  # noqa: SLF001
                for batch in self._arrow._record_batches_from_scan_tasks_and_deletes([task], deletes):  # noqa: SLF001
                    yield from pa.Table.from_batches([batch]).select(self.schema.names).cast(self.schema).to_batches()

    def _only(self, columns: list[str] | None) -> Selection:
        """The same rows with fewer columns."""
        if columns is None:
            return self
        fewer = copy(self)
        fewer._choose(columns)  # noqa: SLF001 - its own copy
        return fewer

    def lazy(self) -> pl.LazyFrame:
        """The rows as a LazyFrame, which asks for the columns that its query needs."""
        try:
            import polars as pl  # noqa: PLC0415 - the project itself does not need it
            from polars.io.plugins import register_io_source  # noqa: PLC0415
        except ImportError as error:
            raise QueryError(
                'Polars is not installed. Add "polars" to the dependencies in pyproject.toml, then run `make lock` and '
                "`make install`."
            ) from error

        def source(
            with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
        ) -> Iterator[pl.DataFrame]:
            del batch_size  # a hint
            left = n_rows
            for batch in self._only(with_columns).batches():
                frame = pl.DataFrame(pa.Table.from_batches([batch]))
                frame = frame if predicate is None else frame.filter(predicate)
                frame = frame if left is None else frame.head(left)
                left = None if left is None else left - frame.height
                yield frame
                if left == 0:
                    return

        empty = pl.DataFrame(self.schema.empty_table())
        return register_io_source(source, schema=empty.schema)


def _of_gold(name: str, as_of: Version | None) -> tuple[str, Version | None]:
    """What a name of schema `published` shows: a table of gold, as it was last published."""
    schema, _, table = name.partition(".")
    if schema != SCHEMA:
        return name, as_of
    if as_of not in (None, BRANCH):
        raise QueryError(
            f"{name} always shows the last publication, so it has no other versions. Read gold.{table} as of {as_of} "
            "instead; the tag of a publication shows what was published then."
        )
    return f"gold.{table}", BRANCH


def _at(table: Table, version: Version) -> Table:
    """The table as it was at a version, with the columns that it had then."""
    name = ".".join(table.name())
    wanted: AsOf | int
    if isinstance(version, int):
        wanted = version
    elif isinstance(version, datetime):
        wanted = AsOf("time", version.astimezone(UTC) if version.tzinfo else version.replace(tzinfo=UTC))
    else:
        wanted = parse_as_of(f"{name}@{version}" if version.strip().isdigit() else version)
        if wanted.table not in (None, name):
            raise QueryError(f"{version} is a version of {wanted.table}, not of {name}.")
    snapshot = table.snapshot_by_id(shown_at(table, wanted))
    assert snapshot is not None  # noqa: S101 - for the type checker: it was found
    then = {"current_snapshot_id": snapshot.snapshot_id, "current_schema_id": snapshot.schema_id}
    metadata = table.metadata.model_copy(update={key: value for key, value in then.items() if value is not None})
    return Table(table.name(), metadata, table.metadata_location, table.io, table.catalog)
