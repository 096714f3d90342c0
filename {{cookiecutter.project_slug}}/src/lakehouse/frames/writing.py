"""`lakehouse.write`: a data frame in place of a table, or of partitions of it, in one commit."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io import load_file_io
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.types import NestedField

from lakehouse.errors import RefusedError
from lakehouse.frames.columns import arrow_schema, conform, fields_of, fits
from lakehouse.frames.incoming import CallersError, Incoming, incoming
from lakehouse.frames.names import refuse_owned
from lakehouse.frames.partitions import (
    Cell,
    Partition,
    Split,
    cell_of,
    cells_in,
    fields_for,
    key_of,
    partition_columns,
    refuse_others,
    refuse_unfit,
    rows_of,
    spec_for,
    text_of,
)
from lakehouse.iceberg.catalog import open_catalog, service_errors, settings_of
from lakehouse.iceberg.columns import changes, evolve
from lakehouse.iceberg.commit import Replacement, commit, discarding
from lakehouse.iceberg.identity import LAYERS, check_pair, check_table, identify
from lakehouse.iceberg.staging import staged
from lakehouse.iceberg.tables import PROPERTIES
from lakehouse.settings import load_settings


@dataclass(frozen=True)
class Written:
    """What a write made: one snapshot of the table, with this many new rows in these partitions."""

    table: str
    snapshot_id: int
    rows: int
    partitions: tuple[str, ...]


def write(
    table: str,
    data: Any,
    *,
    partition: Partition | None = None,
    summary: Mapping[str, str] | None = None,
) -> Written:
    """Replace a table, or one partition of it, by a data frame: in one snapshot, or not at all.

    The table is made if it does not exist. A table that is replaced whole has the columns of the data from then on. A
    partition that is replaced alone may bring new columns, which are null in the other partitions. It must have all
    columns that the table has, with values that fit them.

    Args:
        table: `schema.table`, in a schema of your own. Tables of raw, silver, gold and published have other owners.
        data: a pyarrow Table or RecordBatchReader, a pandas DataFrame, a Polars DataFrame or LazyFrame. A reader and a
            LazyFrame may be larger than the memory.
        partition: replace this partition alone: a `Month`, a `Day`, their text (`2024-01`, `2024-01-05`), or columns
            and values, `{"day": Day(2024, 1, 5), "region": "north"}`. A bare month or day is one of the column that
            the table is partitioned by, which in a new table is `month` or `day`: a date, the partition's first day.
            Data without the column gets it. All rows of data that has the column must be of the partition.
        summary: words for the snapshot's summary. A key without a dot gets the prefix `lakehouse.`.

    Raises:
        RefusedError: the table has another owner, or the data does not fit; the table is as it was.
        BoundaryError: the table's files are not inside this lakehouse.
        CommitError: the catalog or store did not take it, or did not answer; says what the table holds.
        ServiceError: the catalog or store does not answer.
    """
    catalog = open_catalog(load_settings())

    def cells(found: Table | None) -> list[Cell] | None:
        return None if partition is None else [cell_of(partition, found)]

    return write_partitions(catalog, table, data, cells, summary or {})


def write_partitions(
    catalog: Catalog,
    name: str,
    data: Any,
    partitions: Callable[[Table | None], list[Cell] | None],
    summary: Mapping[str, str],
) -> Written:
    """As `write`, with several partitions in one commit. `partitions` gives them for the table, or for a new one."""
    refuse_owned(name)
    settings = settings_of(catalog)
    spill = settings.home / "tmp"
    with service_errors(catalog):  # not around the data: its errors are the caller's
        spill.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix="write-", dir=spill)
    try:
        with (
            scratch as folder,
            incoming(data, Path(folder)) as source,
            service_errors(catalog),
        ):
            check_pair(settings, catalog)
            found = _existing(catalog, name)
            if found:
                check_table(settings, found)
            return _Write(catalog, name, found=found, source=source, cells=partitions(found), folder=Path(folder)).run(
                summary
            )
    except CallersError as error:
        raise error.error from None


def _existing(catalog: Catalog, name: str) -> Table | None:
    try:
        return catalog.load_table(name)
    except (NoSuchTableError, NoSuchNamespaceError):
        return None


def _is_never_held(_table: Table) -> bool:
    """A data frame is written even where the table holds the same rows: nothing but all of them would tell."""
    return False


class _Write:
    """One write: what the table's columns will be, the staged files, the commit."""

    def __init__(
        self,
        catalog: Catalog,
        name: str,
        *,
        found: Table | None,
        source: Incoming,
        cells: list[Cell] | None,
        folder: Path,
    ) -> None:
        self.catalog, self.name, self.found = catalog, name, found
        self.source, self.cells, self.folder = source, cells, folder
        self.columns = partition_columns(found) if found else list(cells[0]) if cells else []
        if cells and set(self.columns) != set(cells[0]):
            raise RefusedError(
                f"{name} was not written. {self._partitions()} The given partition names {', '.join(cells[0])}. "
                f"Nothing was changed. {self._other_partition()}"
            )
        self.wanted = self._wanted()

    def run(self, summary: Mapping[str, str]) -> Written:
        """Stage, audit, commit."""
        view = self._as_it_will_be() if self.found else self._new()
        files = self._staged(view)
        with discarding(view, files):
            if self.found is None:
                self._make(view)
        before = self.found or view

        def check(handle: Table) -> None:
            if handle.schema() != before.schema() or handle.spec() != before.spec():
                raise RefusedError(
                    f"{self.name} was not written: somebody else changed its columns meanwhile. It is as they left it; "
                    "run the same again."
                )

        rows = sum(file.record_count for file in files)
        parts = tuple(text_of(cell) for cell in self.cells or ())
        snapshot_id = commit(self.catalog, self.name, files, self._replacement(rows, parts, summary), check=check)
        assert snapshot_id is not None  # noqa: S101 - for the type checker: no state holds these rows already
        return Written(self.name, snapshot_id, rows, parts)

    def _replacement(self, rows: int, parts: Sequence[str], summary: Mapping[str, str]) -> Replacement:
        words = {
            "lakehouse.source": "data frame",
            "lakehouse.source-rows": str(rows),
            "lakehouse.run-id": str(uuid.uuid4()),
        }
        if parts:
            words["lakehouse.partition"] = parts[0] if len(parts) == 1 else f"{parts[0]} … {parts[-1]} ({len(parts)})"
        words |= {key if "." in key else f"lakehouse.{key}": value for key, value in summary.items()}
        return Replacement(
            what=parts[0] if len(parts) == 1 else f"{len(parts)} partitions" if parts else "the table",
            predicate=rows_of(self.cells) if self.cells else AlwaysTrue(),
            summary=words,
            is_held=_is_never_held,
            if_unconfirmed=(
                f"Look at `lakehouse history {self.name}` before you write again: a repeat replaces what others have "
                "written since."
            ),
            prepare=self._change_columns if self.found else None,
        )

    def _partitions(self) -> str:
        """Which partitions the table has."""
        if not self.columns:
            return "The table has no partitions."
        return f"The table is partitioned by {', '.join(self.columns)}."

    def _other_partition(self) -> str:
        """What to do about a partition that is none of the table's."""
        if not self.columns:
            return "Write all its rows without a partition, or write to a new table."
        return (
            "Name exactly the table's columns; in Dagster, correct `partition_expr`. Without a partition, ALL rows of "
            "the table are replaced."
        )

    def _wanted(self) -> list[NestedField]:
        """The columns that the data wants the table to have; ids are given by the table."""
        schema = self.found.schema() if self.found else None
        held = {field.name: field for field in schema.fields} if schema else {}
        given = {field.name: field for field in fields_of(self.source.schema, self.name, schema)}
        own = {field.name: held.get(field.name, field) for field in fields_for(self.cells[0])} if self.cells else {}
        own = own or {name: held[name] for name in self.columns}
        missing = [name for name in own if name not in given]
        if missing and (self.cells is None or len(self.cells) > 1):
            raise RefusedError(
                f"{self.name} was not written: it is partitioned by {missing[0]!r}, and the data has no such column: "
                "nothing says to which partition a row belongs. Nothing was changed. Add the column."
            )
        found = [own[name] for name in missing] + [own.get(name, field) for name, field in given.items()]
        strict = {**own, **held} if self.cells else own
        for field in found:
            column = strict.get(field.name)
            kind = given[field.name].field_type if field.name in given else field.field_type
            if column and not fits(kind, column.field_type):
                where = "in the table" if field.name in held else "by the partition's value"
                raise RefusedError(
                    f"{self.name} was not written: the column {field.name!r} is of type {column.field_type} {where}, "
                    f"and {kind} in the data. Nothing was changed. Cast the column of the data to {column.field_type}."
                )
        if self.cells:
            refuse_unfit(self.cells, Schema(*own.values()), self.name)
            self._refuse_gaps(held, found)
        return found

    def _refuse_gaps(self, held: Mapping[str, NestedField], found: Sequence[NestedField]) -> None:
        """Refuse data for a partition that lacks a column of the table, or spells one otherwise."""
        names = {field.name for field in found}
        small = {name.lower(): name for name in held}
        if other := next((n for n in names - held.keys() if n.lower() in small), None):
            raise RefusedError(
                f"{self.name} was not written: its column is called {small[other.lower()]!r}, and {other!r} in the "
                f"data. Nothing was changed. Rename the column of the data to {small[other.lower()]!r}."
            )
        if lacking := [name for name in held if name not in names]:
            raise RefusedError(
                f"{self.name} was not written: the data lacks {', '.join(map(repr, lacking))}, which the table has. "
                "Nothing was changed. Add each of these columns, filled or with nulls."
            )

    def _change_columns(self, transaction: Transaction) -> None:
        """Make the table's columns those of the data; for a partition alone, add what is new."""
        schema = transaction.table_metadata.schema()
        if self.cells:
            new = [field for field in self.wanted if field.name not in schema.column_names]
            if new:
                with transaction.update_schema() as update:
                    for field in new:
                        update.add_column(field.name, field.field_type)
        elif changes(schema, self.wanted):
            evolve(transaction, self.wanted)

    def _as_it_will_be(self) -> Table:
        """The table with the columns that the commit gives it: staged files need their ids."""
        assert self.found is not None  # noqa: S101 - for the type checker
        transaction = self.found.transaction()
        self._change_columns(transaction)
        return Table(
            self.found.name(), transaction.table_metadata, self.found.metadata_location, self.found.io, self.catalog
        )

    def _new(self) -> Table:
        """The table that does not exist yet: it is made when its first files are there."""
        schema = Schema(*(field.model_copy(update={"field_id": i}) for i, field in enumerate(self.wanted, start=1)))
        namespace, _, table = self.name.partition(".")
        self.catalog.create_namespace_if_not_exists(namespace)
        staged = self.catalog.create_table_transaction(
            self.name, schema, partition_spec=spec_for(schema, self.columns), properties=PROPERTIES
        )
        metadata = staged.table_metadata
        io = load_file_io(self.catalog.properties, metadata.location)
        return Table((namespace, table), metadata, "", io, self.catalog)

    def _make(self, view: Table) -> None:
        """Make the table, without a snapshot, and say whose lakehouse this is if nothing did."""
        self.catalog.create_namespace_if_not_exists(LAYERS[0])
        identify(settings_of(self.catalog), self.catalog)
        with suppress(TableAlreadyExistsError):  # by somebody quicker: the commit's check compares the columns
            self.catalog.create_table(self.name, view.schema(), partition_spec=view.spec(), properties=PROPERTIES)

    def _staged(self, view: Table) -> list[DataFile]:
        """Write and audit a data file for each partition with rows, or one for a table without partitions."""
        batches = self._conformed(arrow_schema(view.schema()))
        if not self.columns:
            return self._file(view, batches, None)
        if self.cells and len(self.cells) == 1:
            return self._file(view, self._of_one_partition(batches, self.cells[0]), self.cells[0])
        split = Split(self.columns, self.folder, self.name)
        for batch in batches:
            split.add(batch)
        if self.cells:
            refuse_others(self.cells, split.cells, self.name)
        files: list[DataFile] = []
        for cell in split.cells:
            with discarding(view, files):
                files += self._file(view, split.rows(cell), cell)
        return files

    def _conformed(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The data as the table has it: its columns, their order, their types."""
        given = set(self.source.schema.names)
        cell = self.cells[0] if self.cells else {}
        for batch in self.source.batches():
            arrays = [
                conform(batch.column(field.name), field.name, field.type, self.name)
                if field.name in given
                else pa.repeat(pa.scalar(cell[field.name], field.type), len(batch))
                for field in schema
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _of_one_partition(self, batches: Iterator[pa.RecordBatch], cell: Cell) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            refuse_others([cell], cells_in(batch, self.columns, self.name), self.name)
            yield batch

    def _file(self, view: Table, batches: Iterator[pa.RecordBatch], cell: Cell | None) -> list[DataFile]:
        """One data file, read back; none where there are no rows."""
        file = staged(view, (batch.columns for batch in batches), "frame", key_of(cell, view) if cell else None)
        return [file] if file else []
