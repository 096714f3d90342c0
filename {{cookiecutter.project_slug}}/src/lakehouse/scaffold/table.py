"""Guess a dataset from a table of a database: that declares its types and its key. Its first rows are the proof."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import types

from lakehouse.datasets.declaration import NO_KEY, problem
from lakehouse.datasets.formats import Parquet
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.sources import CURSOR_TYPES, Query
from lakehouse.datasets.types import MOST_DIGITS, kind_of
from lakehouse.errors import RefusedError
from lakehouse.scaffold.columns import Typed
from lakehouse.scaffold.guess import Guess, Sample, Seen, Steps
from lakehouse.scaffold.names import column_names
from lakehouse.scaffold.series import Series
from lakehouse.settings import load_settings
from lakehouse.sources.query import QuerySource, TableOfDatabase

ROWS = 10_000  # that are read; the database says the rest
_CHANGED = re.compile(
    r"(last_?)?(updated?|modified|changed)(_?(at|on|date|time|timestamp))?|(update|change)_?(date|time)"
)
# The first that fits, counts. What has no other form lands as text.
_TYPES: tuple[tuple[type[types.TypeEngine[Any]], str], ...] = (
    (types.Boolean, "boolean"),
    (types.Integer, "long"),
    (types.Float, "double"),
    (types.Date, "date"),
    (types.LargeBinary, "binary"),
)


def guess_table(name: str, database: str, table: str) -> Guess:
    """Look at a table of the database that the variable `database` names, and declare the dataset `name` that loads it.

    Raises:
        RefusedError: no declaration loads the first rows.
        SettingsError: the variable is not set or is no address, or its driver is not installed.
        UnreachableError: the database does not answer.
        SourceError: it does not have the table.
    """
    query = Query(database=database, table=table)
    file = f"{name}.parquet"
    empty = Dataset(name, name, f"raw.{name}", file, Whole(), columns=(), source=query)
    if wrong := problem(empty):  # before it is asked: a value that is no name may be an address with a password
        raise RefusedError(f"No dataset was made: {wrong}")
    folder = load_settings().home / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sample-", dir=folder, ignore_cleanup_errors=True) as scratch:
        sample = Path(scratch) / file
        found = QuerySource(empty, query, nothing="No dataset was made.").sample(sample, ROWS)
        try:
            return _Table(name, sample, query, found).guess(())
        except RefusedError as error:
            raise RefusedError(f"{error} No dataset was made.") from error


class _Table(Steps):
    """The steps, where the database says types, key and which columns are never empty."""

    def __init__(self, name: str, sample: Path, query: Query, found: TableOfDatabase) -> None:
        super().__init__(name, (Sample(sample, None),), Series(sample.name, Whole(), (None,)), Parquet())
        self.source = query
        self._table = found

    def _of_names(self, _: Sample) -> tuple[str, str]:
        assert self.source  # noqa: S101 - for the type checker
        return (
            f"The table {self.source.table} in the database of {self.source.database}",
            "Make a view in the database that names one otherwise, and give that.",
        )

    def _looked_at(self) -> str:
        assert self.source  # noqa: S101 - for the type checker
        return f"{self.source.what} in the database of {self.source.database} ({self.rows:,} rows of it)"

    def _types(self) -> tuple[dict[str, Typed], tuple[str, ...]]:
        self.rows = self._table.rows
        found = {
            column.name: Typed(_type(column.type), f"the database's type is {column.type}")
            for column in self._table.columns
        }
        return found, tuple(self._cursor(found))

    def _cursor(self, found: dict[str, Typed]) -> list[str]:
        """What to tell of a column that looks like the time of a row's last change."""
        if not self._table.key:
            return []
        return [
            f"{name!r} looks like the time of a row's last change. Of a large table, only new and changed rows need be "
            f'extracted: declare cursor="{name}" in the Query with an overlap, and parts=Whole(complete=False). See '
            '"New and changed rows only" in docs/your-own-dataset.md.'
            for column, name in column_names(found).items()
            if kind_of(found[column].type) in CURSOR_TYPES and _CHANGED.fullmatch(name)
        ][:1]

    def _filled(self, seen: Seen) -> frozenset[str]:
        required = {column.name for column in self._table.columns if not column.nullable} | set(self._table.key)
        return frozenset(self._called(seen.dataset, required))

    def _called(self, dataset: Dataset, names: set[str] | tuple[str, ...]) -> list[str]:
        """What columns of the database are called in the raw table."""
        called = {column.published_name(None): column.name for column in dataset.columns}
        return [called[name] for name in names if name in called]

    def _keyed(self, dataset: Dataset, seen: Seen) -> tuple[Dataset, str]:
        del seen
        key = tuple(self._called(dataset, self._table.key))
        if not self._table.key:
            return dataset, "none: the table has no primary key, so each load with changed rows replaces all of it"
        if len(key) < len(self._table.key) or any(c.kind in NO_KEY for c in dataset.columns if c.name in key):
            return dataset, f"none: a column of the primary key ({', '.join(self._table.key)}) has no type for a key"
        return replace(dataset, key=key), "the primary key of the table"

    def _with_duties(self, dataset: Dataset, seen: Seen) -> Dataset:
        """An extract has every declared column, or it is refused."""
        del seen
        return dataset


def _type(kind: types.TypeEngine[Any]) -> str:
    """The type of a column here."""
    if isinstance(kind, types.DateTime):
        return "timestamptz" if kind.timezone else "timestamp"
    if isinstance(kind, types.Numeric) and not isinstance(kind, types.Float):
        digits, behind = kind.precision, kind.scale
        if digits is None or behind is None or not 0 <= behind <= digits <= MOST_DIGITS:
            digits, behind = MOST_DIGITS, 10  # the database sets no limit; what does not fit is refused, not rounded
        return f"decimal({digits},{behind})"
    return next((name for known, name in _TYPES if isinstance(kind, known)), "string")
