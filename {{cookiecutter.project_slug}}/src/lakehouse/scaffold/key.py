"""A key: the smallest column or pair that looks like an identifier and has no value twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import duckdb
import pyarrow as pa
from pyarrow import compute

from lakehouse.datasets.model import Column
from lakehouse.duckdb_config import duckdb_config
from lakehouse.errors import RefusedError, first_line
from lakehouse.settings import load_settings

# its stubs know no plain Python values
pc: Any = compute

MOST_COLUMNS = 6
_IDENTIFIER = re.compile(
    r"(.*_)?(id|ids|key|code|no|nr|num|number|nummer|uuid|guid|sku|ean|isbn|iban|ref|reference|position|pos|line|email|"
    r"e_mail|login|username|slug)|[a-z]+(id|nr|number|nummer|code|key)"
)
_TYPES = ("long", "string")


def candidates(columns: Iterable[Column]) -> list[tuple[str, ...]]:
    """Columns, and then pairs of them, that may be a key; the columns given have no empty value."""
    named = [c for c in columns if c.type in _TYPES and _IDENTIFIER.fullmatch(c.name)][:MOST_COLUMNS]
    names = [column.name for column in sorted(named, key=lambda column: column.type != "long")]
    return [*((name,) for name in names), *combinations(names, 2)]


def key_of(
    found: Sequence[tuple[str, ...]], batches: Callable[[], Iterator[list[pa.Array[Any]]]], names: Sequence[str]
) -> tuple[str, ...]:
    """The first candidate by which no two rows are the same; none if there is none.

    `batches` reads the rows again, as one array a name. Text is compared without blanks around it, as silver has it.

    Raises:
        RefusedError: the disk, or the memory, does not hold the keys.
    """
    left = [key for key in found if not _repeated(next(batches()), names, key)]
    for key in left:
        if not _stands_twice(batches(), names, key):
            return key
    return ()


def _table(arrays: list[pa.Array[Any]], names: Sequence[str], key: tuple[str, ...]) -> pa.Table:
    columns = [arrays[names.index(name)] for name in key]
    trimmed = [pc.utf8_trim_whitespace(c) if pa.types.is_string(c.type) else c for c in columns]
    return pa.table(trimmed, names=list(key))


def _repeated(arrays: list[pa.Array[Any]], names: Sequence[str], key: tuple[str, ...]) -> bool:
    table = _table(arrays, names, key)
    return table.group_by(list(key)).aggregate([]).num_rows < table.num_rows


def _stands_twice(batches: Iterator[list[pa.Array[Any]]], names: Sequence[str], key: tuple[str, ...]) -> bool:
    """Whether two of all rows have the same key; DuckDB counts, in bounded memory."""
    first = _table(next(batches), names, key)
    rows = (batch for table in _chained(first, batches, names, key) for batch in table.to_batches())
    reader = pa.RecordBatchReader.from_batches(first.schema, rows)
    columns = ", ".join(f'"{name}"' for name in key)
    asked = f"select 1 from (select {columns} from rows group by all having count(*) > 1) limit 1"
    settings = load_settings()
    try:
        with duckdb.connect(config=duckdb_config(settings)) as connection:
            connection.register("rows", reader)
            return connection.execute(asked).fetchone() is not None
    except duckdb.Error as error:
        raise RefusedError(
            f"Whether {' and '.join(key)} can be the key could not be found out: {first_line(error)}. Nothing "
            f"was written. See that DUCKDB_MEMORY_LIMIT is right and that the disk of {settings.home} has room, or "
            "give smaller samples. Then run the same command again."
        ) from error


def _chained(
    first: pa.Table, batches: Iterator[list[pa.Array[Any]]], names: Sequence[str], key: tuple[str, ...]
) -> Iterator[pa.Table]:
    yield first
    for arrays in batches:
        yield _table(arrays, names, key)
