"""Trino's types as Arrow types, from the words in which Trino names them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from lakehouse.engines.protocol import check_names
from lakehouse.errors import QueryError

_PLAIN: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "varbinary": pa.binary(),
    "unknown": pa.null(),
}
_ARGUMENTS = re.compile(r"(?P<name>[a-z]+)\((?P<arguments>.*)\)(?P<rest>.*)", re.DOTALL)
_FIELD = re.compile(r'(?:"((?:[^"]|"")*)"|(\w+)) (.+)', re.DOTALL)


def arrow_type(name: str) -> pa.DataType:
    """`arrow_type("decimal(12,2)") == pa.decimal128(12, 2)`; timestamps have microseconds.

    Raises:
        QueryError: a type that Arrow has no like of (intervals, sketches); cast it in the query.
    """
    if name in _PLAIN:
        return _PLAIN[name]
    match = _ARGUMENTS.fullmatch(name)
    base, arguments, rest = (match["name"], _split(match["arguments"]), match["rest"]) if match else (name, [], "")
    word = base + rest
    if word in _MADE:
        return _MADE[word](arguments)
    raise QueryError(
        f"The result has a value of Trino's type {name!r}, in a column or within one, which can't be shown here. Make "
        "another type of it in the query: `cast(c as varchar)`, or for an array `cast(c as array(varchar))`."
    )


def arrow_table(names: Sequence[str], types: Sequence[str], batches: Iterable[list[Sequence[Any]]]) -> pa.Table:
    """Rows, some at a time, as one Arrow table.

    Raises:
        QueryError: a column's type, or a name given twice.
    """
    check_names(names)
    schema = pa.schema([pa.field(name, arrow_type(kind)) for name, kind in zip(names, types, strict=True)])
    return pa.Table.from_batches([_batch(schema, rows) for rows in batches if rows], schema)


def _batch(schema: pa.Schema, rows: list[Sequence[Any]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [
        pa.array([_value(v, field.type) for v in column], field.type)
        for field, column in zip(schema, columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _value(value: Any, kind: pa.DataType) -> Any:
    result = value
    if value is None:
        result = None
    elif pa.types.is_string(kind):
        result = str(value)
    elif pa.types.is_decimal(kind):
        result = value if isinstance(value, Decimal) else Decimal(str(value))
    elif pa.types.is_map(kind):
        result = list(value.items())
    elif pa.types.is_struct(kind):
        result = {kind.field(i).name: _value(v, kind.field(i).type) for i, v in enumerate(value)}
    elif pa.types.is_list(kind):
        result = [_value(v, kind.value_type) for v in value]
    return result


def _field(position: int, text: str) -> pa.Field[Any]:
    match = _FIELD.fullmatch(text)
    if match and (match[1] is not None or not _is_type(text)):
        name = match[1].replace('""', '"') if match[1] is not None else match[2]
        return pa.field(name, arrow_type(match[3]))
    return pa.field(f"field{position}", arrow_type(text))


def _is_type(text: str) -> bool:
    return bool(re.fullmatch(r"time(stamp)?(\(\d+\))? with time zone", text))


def _split(text: str) -> list[str]:
    """Parts between commas that are inside neither parentheses nor quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for position, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif not quoted and letter == "(":
            depth += 1
        elif not quoted and letter == ")":
            depth -= 1
        elif not quoted and letter == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]


_TEXT = dict.fromkeys(("varchar", "char", "json", "uuid", "ipaddress"), lambda _: pa.string())
_MADE: dict[str, Callable[[list[str]], pa.DataType]] = {
    **_TEXT,
    "decimal": lambda a: pa.decimal128(int(a[0]), int(a[1])),
    "timestamp": lambda _: pa.timestamp("us"),
    "timestamp with time zone": lambda _: pa.timestamp("us", tz="UTC"),
    "time": lambda _: pa.time64("us"),
    "array": lambda a: pa.list_(arrow_type(a[0])),
    "map": lambda a: pa.map_(arrow_type(a[0]), arrow_type(a[1])),
    "row": lambda a: pa.struct([_field(position, text) for position, text in enumerate(a)]),
}
