"""Arrow's types as Iceberg has them, and values made to fit the columns of a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import compute
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
    TimeType,
)

from lakehouse.errors import RefusedError

# its stubs know no plain Python values
pc: Any = compute
is_kind: Any = pa.types

Test = Callable[[Any], bool]
_KINDS: tuple[tuple[Test, IcebergType], ...] = (
    (is_kind.is_boolean, BooleanType()),
    (lambda kind: is_kind.is_integer(kind) and (kind.bit_width < 32 or kind == pa.int32()), IntegerType()),
    (is_kind.is_integer, LongType()),
    (lambda kind: is_kind.is_float16(kind) or is_kind.is_float32(kind), FloatType()),
    (is_kind.is_float64, DoubleType()),
    (is_kind.is_date, DateType()),
    (is_kind.is_time, TimeType()),
    (lambda kind: is_kind.is_timestamp(kind) and kind.tz is None, TimestampType()),
    (is_kind.is_timestamp, TimestamptzType()),
    (lambda k: is_kind.is_string(k) or is_kind.is_large_string(k) or is_kind.is_string_view(k), StringType()),
    (lambda k: is_kind.is_binary(k) or is_kind.is_large_binary(k) or is_kind.is_binary_view(k), BinaryType()),
    (is_kind.is_fixed_size_binary, BinaryType()),
)
_WHOLE, _BROKEN = (IntegerType, LongType), (FloatType, DoubleType)
_FIXES = (
    (is_kind.is_null, "it has no value, so nothing says its type: cast it to one"),
    (is_kind.is_duration, "write it as a number of seconds"),
    (is_kind.is_decimal, "Iceberg's decimals have at most 38 digits: cast it"),
    (is_kind.is_nested, "the SQL of this project reads no nested columns: give each part a column of its own"),
)


def fields_of(schema: pa.Schema, table: str, known: Schema | None = None) -> list[NestedField]:
    """The columns of Arrow as Iceberg's; ids are given by the table. A column without any type takes that of `known`.

    Raises:
        RefusedError: a name stands twice or is empty, or Iceberg can't hold a type.
    """
    names = [name.lower() for name in schema.names]
    if not names:
        raise RefusedError(f"{table} was not written: the data has no columns. Nothing was changed.")
    if "" in names:
        raise RefusedError(
            f"{table} was not written: column {names.index('')} (from 0) has no name. Nothing was changed. Name it."
        )
    if twice := next((name for name in schema.names if names.count(name.lower()) > 1), None):
        raise RefusedError(
            f"{table} was not written: the data has the column {twice!r} twice (for SQL, capital and small letters are "
            "the same). Nothing was changed. Rename one."
        )
    types = {field.name: field.field_type for field in known.fields} if known else {}
    return [
        NestedField(
            i,
            field.name,
            types[field.name] if is_kind.is_null(field.type) and field.name in types else _iceberg_type(table, field),
            required=False,
        )
        for i, field in enumerate(schema, start=1)
    ]


def _iceberg_type(table: str, field: pa.Field[Any]) -> IcebergType:
    kind = _plain(field.type)
    if is_kind.is_decimal(kind) and kind.precision <= 38 and kind.scale >= 0:
        return DecimalType(kind.precision, kind.scale)
    for test, found in _KINDS:
        if test(kind):
            return found
    fix = next((fix for test, fix in _FIXES if test(kind)), "cast it")
    raise RefusedError(
        f"{table} was not written: Iceberg can't hold the column {field.name!r} of type {kind}; {fix}. Nothing was "
        "changed."
    )


def _plain(kind: Any) -> Any:
    """The type of the values: of what a dictionary holds, for categories."""
    return kind.value_type if is_kind.is_dictionary(kind) else kind


def fits(given: IcebergType, column: IcebergType) -> bool:
    """Whether values of a type may be written to a column of another: each of them is checked then."""
    if given == column:
        return True
    if isinstance(column, _BROKEN) and isinstance(given, _WHOLE):
        return True
    if isinstance(column, LongType | IntegerType) and isinstance(given, (*_WHOLE, *_BROKEN)):
        return True  # pandas makes whole numbers with a gap into broken ones
    if isinstance(column, DoubleType) and isinstance(given, FloatType):
        return True
    if isinstance(column, DecimalType) and isinstance(given, (*_WHOLE, DecimalType)):
        return True
    return isinstance(column, DateType) and isinstance(given, TimestampType)  # pandas has no dates


def conform(array: Any, name: str, target: pa.DataType, table: str) -> pa.Array[Any]:
    """A column's values in the type of the table.

    Raises:
        RefusedError: a value does not fit; names the column and says which.
    """
    if array.type == target:
        return array  # type: ignore[no-any-return]
    try:
        if is_kind.is_dictionary(array.type):
            array = array.dictionary_decode()
        fitting = array.cast(target)
        if is_kind.is_date(target) and is_kind.is_timestamp(array.type):
            _refuse_times(array, fitting)
    except (pa.ArrowException, ValueError) as error:
        raise RefusedError(
            f"{table} was not written: the column {name!r} holds a value that does not fit {target}: {error}. "
            "Nothing was changed. Round or cast the column."
        ) from error
    return fitting  # type: ignore[no-any-return]


def _refuse_times(array: Any, days: Any) -> None:
    again = days.cast(array.type)
    wrong = pc.fill_null(pc.not_equal(array, again), False)
    if pc.any(wrong).as_py():
        raise ValueError(f"{array.filter(wrong)[0].as_py()} is a time, not a day")


def arrow_schema(schema: Schema) -> pa.Schema:
    """A table's columns as Arrow has them."""
    return schema_to_pyarrow(schema, include_field_ids=False)
