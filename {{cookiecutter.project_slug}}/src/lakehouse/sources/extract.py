"""Rows of a SELECT as a parquet file, batch by batch: the memory does not grow with the rows.

The bytes depend on the rows and their order only. So the same rows give the same SHA-256, and are not loaded twice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from io import BufferedReader, BufferedWriter, FileIO
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from pyarrow import csv

from lakehouse.formats.encoding import encodings
from lakehouse.progress import Progress

GROUP_ROWS = 131_072  # rows of a row group
FETCH_ROWS = 16_384
BLOCK_BYTES = 16 << 20  # one row of text is no longer
PIPE_BYTES = 1 << 20


class UnfitError(Exception):
    """A value that can't be written exactly; `column` is its name, and None where nothing tells it.

    `fix` says what to write in the declaration, where that is known.
    """

    def __init__(self, said: str, column: str | None, fix: str = "") -> None:
        super().__init__(said)
        self.column, self.fix = column, fix


@dataclass(frozen=True)
class Field:
    """A column of a result, as the driver describes it."""

    name: str
    code: Any
    precision: int | None
    scale: int | None


def extract(
    connection: sa.Connection,
    statement: str,
    fields: Sequence[Field],
    target: Path,
    progress: Progress | None,
    *,
    binary: Collection[str] = (),
) -> None:
    """Write the rows of `statement` to `target`. `binary` are names of columns that have bytes, also where none show.

    Raises:
        UnfitError: a value can't be written exactly.
        SQLAlchemyError: the database failed; so does the error of its driver.
        OSError: the disk did not take it.
    """
    if connection.dialect.name == "postgresql" and connection.dialect.driver == "psycopg2":
        schema = pa.schema([(field.name, _postgres_type(field)) for field in fields])
        _write(target, schema, _copied(connection, statement, schema), progress)
        return
    names = [field.name for field in fields]
    batches = _fetched(connection, statement, names, binary)
    first = next(batches, None)
    schema = first.schema if first else pa.schema([(name, _kind(name in binary)) for name in names])
    _write(target, schema, chain([first] if first else [], batches), progress)


def _write(target: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], progress: Progress | None) -> None:
    groups = _groups(batches)
    first = next(groups, None)
    columns: dict[str, Any] = {name: first[name].chunk(0) for name in schema.names} if first else {}
    with pq.ParquetWriter(target, schema, compression="zstd", **encodings(columns)) as writer:
        for group in chain([first] if first else [], groups):
            writer.write_table(group, row_group_size=GROUP_ROWS)
            if progress:
                progress(target.stat().st_size, 0)


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in groups of one size: how they came in batches must not show in the bytes."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        rest = batch
        while rows + len(rest) >= GROUP_ROWS:
            taken = GROUP_ROWS - rows
            yield pa.Table.from_batches([*waiting, rest.slice(0, taken)]).combine_chunks()
            rest, waiting, rows = rest.slice(taken), [], 0
        waiting.append(rest)
        rows += len(rest)
    if rows:
        yield pa.Table.from_batches(waiting).combine_chunks()


# PostgreSQL: COPY, which is several times as fast as rows in Python

# By the numbers that PostgreSQL gives its types; every other type is text, in PostgreSQL's own form.
_POSTGRES_TYPES: dict[int, pa.DataType] = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", tz="UTC"),
    17: pa.binary(),
}
_NUMERIC = 1700
# Those by which a cursor can be compared.
POSTGRES_NUMBERS = {20, 21, 23, 700, 701, _NUMERIC}
POSTGRES_TIMES = {1082, 1114, 1184}


def _postgres_type(field: Field) -> pa.DataType:
    precision, scale = field.precision, field.scale
    if field.code == _NUMERIC and precision and scale is not None and 0 <= scale <= precision <= 38:
        return pa.decimal128(precision, scale)
    return _POSTGRES_TYPES.get(field.code, pa.string())


def _copied(connection: sa.Connection, statement: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows as PostgreSQL writes them as CSV, through a pipe: it writes while Arrow reads.

    What the database says comes before what Arrow says of rows that were cut short. All rows are yielded before that
    is known, so they count only once this has ended.
    """
    raw: Any = connection.connection
    end, begin = os.pipe()

    def copy() -> None:
        with BufferedWriter(FileIO(begin, "w"), PIPE_BYTES) as text, raw.cursor() as cursor:
            cursor.copy_expert(f"copy ({statement}\n) to stdout with (format csv, encoding 'UTF8')", text)

    with ThreadPoolExecutor(1, thread_name_prefix="copy") as pool:
        copying = pool.submit(copy)
        try:
            with BufferedReader(FileIO(end), PIPE_BYTES) as text:  # closing it ends a copy that nobody reads
                if text.peek(1):
                    yield from _parsed(text, schema)
        except UnfitError:
            with suppress(BrokenPipeError):
                copying.result()
            raise
        copying.result()


def _parsed(source: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    hexadecimal = [i for i, kind in enumerate(schema.types) if pa.types.is_binary(kind)]
    types = {field.name: pa.string() if pa.types.is_binary(field.type) else field.type for field in schema}
    try:
        with csv.open_csv(
            source,
            read_options=csv.ReadOptions(column_names=schema.names, block_size=BLOCK_BYTES),
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(schema) > 1),
            convert_options=csv.ConvertOptions(
                column_types=types,
                # An empty value is null, and "" is empty text.
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        ) as reader:
            for batch in reader:
                columns = list(batch.columns)
                for i in hexadecimal:
                    values = columns[i].to_pylist()
                    columns[i] = pa.array([None if v is None else bytes.fromhex(v[2:]) for v in values], pa.binary())
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
    except pa.ArrowInvalid as error:
        raise _unfit(str(error).splitlines()[0], schema) from None


def _unfit(said: str, schema: pa.Schema) -> UnfitError:
    """Arrow's message, with the name of the column in place of its number."""
    if "straddling" in said:
        return UnfitError(
            f"a row is longer than {BLOCK_BYTES:,} bytes",
            None,
            "write `sql` without the long column, or with a part of it: left(NAME, 1000000)",
        )
    found = re.search(r"In CSV column #(\d+): (?:Row #(\d+): )?(?:CSV conversion error to )?(.*)", said)
    if not found:
        return UnfitError(said, None)
    field = schema.field(int(found[1]))
    return UnfitError(f"the column {field.name!r} has a value that is no {field.type} ({found[3]})", field.name)


# Every other database: rows in Python. Their drivers don't agree on what a type is, so a column is text or bytes.

_AS_TEXT: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "true" if value else "false",
    int: str,
    float: repr,
    str: str,
    Decimal: lambda value: format(value, "f"),
    date: date.isoformat,
    datetime: lambda value: value.isoformat(" "),
    time: time.isoformat,
    UUID: str,
}


def _kind(binary: bool) -> pa.DataType:
    return pa.binary() if binary else pa.string()


def _fetched(
    connection: sa.Connection, statement: str, names: Sequence[str], binary: Collection[str]
) -> Iterator[pa.RecordBatch]:
    """The rows in batches. A column that has bytes among the first of them is one of bytes."""
    kinds: list[pa.DataType] = []
    start = 0
    with connection.exec_driver_sql(statement, execution_options={"stream_results": True}) as result:
        for rows in result.partitions(FETCH_ROWS):
            columns = list(zip(*rows, strict=True))
            kinds = kinds or [
                _kind(name in binary or bytes in set(map(type, values)))
                for name, values in zip(names, columns, strict=True)
            ]
            arrays = [
                _array(name, values, kind, start) for name, values, kind in zip(names, columns, kinds, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=list(names))
            start += len(rows)


def _array(name: str, values: Sequence[Any], kind: pa.DataType, start: int) -> pa.Array[Any]:
    """Values of one column, each exactly; `start` is the number of rows before them."""
    types = set(map(type, values)) - {type(None)}
    fit = {bytes} if pa.types.is_binary(kind) else _AS_TEXT.keys()
    if unfit := types - fit:
        position = next(i for i, value in enumerate(values) if type(value) in unfit)
        raise UnfitError(
            f"the column {name!r} has a value of Python's type {type(values[position]).__name__} in row "
            f"{start + position} (counted from 0), which has no exact form as {kind}",
            name,
        )
    if types <= {str} or pa.types.is_binary(kind):
        return pa.array(values, kind)
    if types == {int}:
        return pa.array([None if value is None else str(value) for value in values], kind)
    return pa.array([None if value is None else _AS_TEXT[type(value)](value) for value in values], kind)
