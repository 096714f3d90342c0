"""Partitions of a table: as a caller names them, and as rows are split by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, EqualTo, In, Or
from pyiceberg.partitioning import PartitionField, PartitionFieldValue, PartitionKey, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DateType, IcebergType, LongType, NestedField, StringType, TimestampType

from lakehouse.datasets.days import Day
from lakehouse.datasets.months import Month
from lakehouse.errors import RefusedError, SettingsError
from lakehouse.frames.columns import arrow_schema

# its stubs know no plain Python values
pc: Any = compute

Value = date | datetime | str | int
# A month or day, or its text; or the value of each column that the table is partitioned by.
Partition = Month | Day | date | str | Mapping[str, Month | Day | Value]
# One partition: the value of each of its columns.
Cell = dict[str, Value]
FIRST_ID = 1000  # of partition fields, by Iceberg's specification
_TYPES: tuple[tuple[type, IcebergType], ...] = (
    (datetime, TimestampType()),
    (date, DateType()),
    (str, StringType()),
    (int, LongType()),
)


def cell_of(partition: Partition, table: Table | None) -> Cell:
    """One partition as values of columns.

    A bare month or day is one of the table's only partition column; of a table that is not there yet, of a column
    `month` or `day`.

    Raises:
        SettingsError: a text is no month and no day.
        RefusedError: the partition names no column, or what can't name a partition.
    """
    spec = partition_columns(table) if table else []
    given: Mapping[str, Any]
    if isinstance(partition, Mapping):
        given = partition
    else:
        part = _bare(partition, spec) if isinstance(partition, str) else partition
        given = {spec[0] if len(spec) == 1 else "month" if isinstance(part, Month) else "day": part}
    if not given:
        raise RefusedError(
            "The partition names no column. Nothing was read or written. Give a month, a day, or columns with values."
        )
    days = {f.name for f in table.schema().fields if isinstance(f.field_type, DateType)} if table else set()
    typed = {name: _part(v) if name in days and isinstance(v, str) else v for name, v in given.items()}
    return {name: _plain(value) for name, value in typed.items()}


def _bare(text: str, columns: Sequence[str]) -> Month | Day:
    """A month or day that stands alone; a text of another column needs the column's name."""
    try:
        return _part(text)
    except SettingsError as error:
        column = columns[0] if len(columns) == 1 else "region"
        raise SettingsError(
            f"{error} If it is the value of a column, name the column: partition={{{column!r}: {text!r}}}. Nothing was "
            "read or written."
        ) from None


def _part(text: str) -> Month | Day:
    return Day.parse(text) if text.count("-") > 1 else Month.parse(text)


def _plain(value: Any) -> Value:
    if isinstance(value, Month | Day):
        return value.first_day
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, date | str | int) and not isinstance(value, bool):
        return value
    raise RefusedError(
        f"{value!r} can't name a partition. Nothing was read or written. Give a month, a day, a time, a text or "
        "a whole number."
    )


def partition_columns(table: Table) -> list[str]:
    """The columns by whose values a table is partitioned; empty if it is not.

    Raises:
        RefusedError: it is partitioned by something else than values, or was once: one file holds rows of many then.
    """
    spec = table.spec()
    others = [field for field in spec.fields if not isinstance(field.transform, IdentityTransform)]
    if others or len(table.specs()) > 1:
        raise RefusedError(
            f"{'.'.join(table.name())} is partitioned by {spec}, or was partitioned otherwise before. Only a partition "
            "that is a value of a column can be read or replaced alone. To read rows, give a condition (`where`). To "
            "write them, name a new table."
        )
    return [table.schema().find_field(field.source_id).name for field in spec.fields]


def fields_for(cell: Cell) -> list[NestedField]:
    """The columns of a partition, for a table that is not there yet and data that has them not."""
    return [
        NestedField(i, name, next(kind for known, kind in _TYPES if isinstance(value, known)), required=False)
        for i, (name, value) in enumerate(cell.items(), start=1)
    ]


def refuse_unfit(cells: Iterable[Cell], schema: Schema, table: str) -> None:
    """Refuse a partition's value that its column can't hold.

    Raises:
        RefusedError: names the value, the column and its type.
    """
    types = {field.name: field.type for field in arrow_schema(schema)}
    for name, value in (item for cell in cells for item in cell.items()):
        try:
            fits = pa.scalar(value, types[name]).as_py() == value
        except (pa.ArrowException, TypeError, OverflowError):
            fits = False
        if not fits:
            raise RefusedError(
                f"{table} was not written: the column {name!r} is of type {schema.find_field(name).field_type}, which "
                f"the partition's value {value!r} does not fit. Nothing was changed. Give a value of this type."
            )


def spec_for(schema: Schema, columns: Iterable[str]) -> PartitionSpec:
    """A table's partitioning by the values of these columns."""
    return PartitionSpec(
        *(
            PartitionField(schema.find_field(name).field_id, FIRST_ID + i, IdentityTransform(), name)
            for i, name in enumerate(columns)
        )
    )


def rows_of(cells: Sequence[Cell]) -> BooleanExpression:
    """The rows of these partitions, of which there is at least one."""
    by_name: Any = EqualTo  # its stub knows bound terms only
    if len(cells[0]) == 1:
        ((name, _),) = cells[0].items()
        within: Any = In
        found: BooleanExpression = within(name, {_literal(cell[name]) for cell in cells})
        return found
    each = [And(AlwaysTrue(), *(by_name(name, _literal(value)) for name, value in cell.items())) for cell in cells]
    return each[0] if len(each) == 1 else Or(*each)


def _literal(value: Value) -> str | int:
    return value.isoformat() if isinstance(value, date) else value


def key_of(cell: Cell, table: Table) -> PartitionKey:
    """A partition as its data files name it."""
    spec, schema = table.spec(), table.schema()
    values = [PartitionFieldValue(f, cell[schema.find_field(f.source_id).name]) for f in spec.fields]
    return PartitionKey(field_values=values, partition_spec=spec, schema=schema)


def text_of(cell: Cell) -> str:
    """A partition as text: `month=2024-01-01`."""
    return ", ".join(f"{name}={value}" for name, value in cell.items())


def cells_in(batch: pa.RecordBatch, columns: Sequence[str], table: str) -> list[Cell]:
    """The partitions of which a batch has rows.

    Raises:
        RefusedError: a row has no value in a column of the partition.
    """
    keys = pa.table({name: batch.column(name) for name in columns})
    if empty := next((name for name in columns if keys[name].null_count), None):
        rows = keys[empty].null_count  # of this batch; others may have more
        raise RefusedError(
            f"{table} was not written: it is partitioned by the column {empty!r}, which has no value in at least "
            f"{rows:,} {'row' if rows == 1 else 'rows'}. Nothing was changed. Give these rows a value, or leave them "
            "out; then write it again."
        )
    return keys.group_by([*columns]).aggregate([]).to_pylist()


class Split:
    """Rows by their partition, each in a file of its own on disk until it is asked for: memory stays flat."""

    def __init__(self, columns: Sequence[str], folder: Path, table: str) -> None:
        self._columns = columns
        self._folder = folder
        self._table = table
        self._files: dict[tuple[Any, ...], Path] = {}

    @property
    def cells(self) -> list[Cell]:
        """The partitions that have rows, in the order of their values."""
        return [dict(zip(self._columns, values, strict=True)) for values in sorted(self._files)]

    def add(self, batch: pa.RecordBatch) -> None:
        """Put each row to its partition.

        Raises:
            RefusedError: a row has no value in a column of the partition.
        """
        for cell in cells_in(batch, self._columns, self._table):
            values = tuple(cell.values())
            mask: Any = None
            for name, value in cell.items():
                same = pc.equal(batch.column(name), pa.scalar(value, batch.column(name).type))
                mask = same if mask is None else pc.and_(mask, same)
            rows = batch.filter(mask)
            path = self._files.setdefault(values, self._folder / f"{len(self._files)}.arrow")
            with path.open("ab") as file, pa.ipc.new_stream(file, rows.schema) as stream:
                stream.write_batch(rows)

    def rows(self, cell: Cell) -> Iterator[pa.RecordBatch]:
        """The rows of one partition, in the order in which they came."""
        path = self._files[tuple(cell[name] for name in self._columns)]
        with path.open("rb") as file:
            size = path.stat().st_size
            while file.tell() < size:
                with pa.ipc.open_stream(file) as stream:
                    yield from stream


def refuse_others(wanted: Sequence[Cell], found: Iterable[Cell], table: str) -> None:
    """Refuse rows of partitions that the caller did not name.

    Raises:
        RefusedError: names the first of them.
    """
    other = next((cell for cell in found if cell not in wanted), None)
    if other is not None:
        named = "; ".join(map(text_of, wanted[:3])) + ("; …" if len(wanted) > 3 else "")
        raise RefusedError(
            f"{table} was not written: the data has rows of {text_of(other)}, and only {named} is to be replaced. "
            "Nothing was changed. Leave those rows out, or name their partition too."
        )
