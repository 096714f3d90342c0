"""What changed between two versions of a table: per month or day, rows added, removed and changed by key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from lakehouse.datasets.registry import DATASETS
from lakehouse.engines import Engine
from lakehouse.engines.protocol import quoted
from lakehouse.errors import QueryError
from lakehouse.history.model_keys import keys_of_models
from lakehouse.history.tree import tree
from lakehouse.iceberg.refs import load_table, version_of

FIRST_ROWS = 5
# The identity of a row without a key: its place in its file.
PART_COLUMNS = ("file_month", "file_date")
ROW = "file_row"
# Provenance, not content: a republished file changes it in every row.
NOT_COMPARED = frozenset({"source_sha256"})


@dataclass(frozen=True)
class PartDiff:
    """Rows of one month or day (both None where the table has no parts) that came, went and changed."""

    file_month: str | None
    added: int
    removed: int
    changed: int
    same: int
    file_date: str | None = None


@dataclass(frozen=True)
class TableDiff:
    """Two versions compared. `changed_rows` hold a pair, before and after, for each column that differs."""

    table: str
    from_snapshot: int
    to_snapshot: int
    key: tuple[str, ...]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    months: tuple[PartDiff, ...]
    added_rows: tuple[dict[str, Any], ...]
    removed_rows: tuple[dict[str, Any], ...]
    changed_rows: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        found: dict[str, Any] = _plain(asdict(self))
        return found

    def renderable(self) -> Group:
        """Tables for a terminal."""
        heading = Text(f"{self.table}: {self.from_snapshot} → {self.to_snapshot}", style="bold")
        part_heading = "file date" if any(part.file_date for part in self.months) else "file month"
        counts = RichTable(part_heading, "added", "removed", "changed", "same")
        for part in self.months:
            numbers = (part.added, part.removed, part.changed, part.same)
            counts.add_row(part.file_month or part.file_date or "", *(f"{n:,}" for n in numbers))
        parts: list[Any] = [heading]
        parts += [Text(f"columns {word}: {', '.join(names)}") for word, names in self._columns() if names]
        parts.append(counts if self.months else Text("The versions hold the same files: nothing differs."))
        for title, rows in (("added", self.added_rows), ("removed", self.removed_rows), ("changed", self.changed_rows)):
            if rows:
                parts += [
                    Text(f"\nFirst rows {title}", style="bold"),
                    *(Text(_words(row, changed=rows is self.changed_rows)) for row in rows),
                ]
        return Group(*parts)

    def _columns(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (("added", self.columns_added), ("removed", self.columns_removed))


def diff(engine: Engine, catalog: Catalog, table: str, from_version: str, to_version: str) -> TableDiff:
    """Compare two versions of a table. Months and days whose files are the same in both are not read.

    Args:
        engine: runs the comparison.
        catalog: knows versions and files.
        table: `schema.table`, one that has a known key.
        from_version: a snapshot id, a ref, a time, or `TABLE@SNAPSHOT`.
        to_version: the same.

    Raises:
        QueryError: no such table or version, or a table whose rows have no known key.
    """
    found = load_table(catalog, table)
    old, new = version_of(found, from_version), version_of(found, to_version)
    before, after = _columns_of(found, old), _columns_of(found, new)
    column = next((name for name in PART_COLUMNS if name in before), None)
    placed = (ROW,) if ROW in before and ROW in after else ()
    keys = {dataset.table: dataset.key or placed for dataset in DATASETS.values() if dataset.key or placed}
    key = (column, ROW) if column and ROW in before else keys.get(table)
    if key is None:
        keys |= keys_of_models()
        key = keys.get(table)
    if key is None:
        raise QueryError(
            f"The rows of {table} can't be compared: its key is not known. `lakehouse diff` compares tables that "
            f"datasets declare, and {', '.join(sorted(keys))}. For a table of dbt, name its key in its yml file, under "
            "`unique_together`."
        )
    compared = [name for name in before if name in after and name not in key and name not in NOT_COMPARED]
    parts = _parts_that_differ(catalog, table, old, new, column) if column else None
    question = _Question(
        old=engine.version_sql(found, old),
        new=engine.version_sql(found, new),
        key=tuple(map(quoted, key)),
        compared=tuple(map(quoted, compared)),
        column=column,
        parts=parts,
    )
    nothing: tuple[dict[str, Any], ...] = ()
    differs = parts is None or bool(parts)
    return TableDiff(
        table=table,
        from_snapshot=old,
        to_snapshot=new,
        key=key,
        columns_added=tuple(name for name in after if name not in before),
        columns_removed=tuple(name for name in before if name not in after),
        months=tuple(PartDiff(**_plain(row)) for row in _rows(engine, question.counts())) if differs else (),
        added_rows=tuple(_rows(engine, question.one_sided("n", "o"))) if differs else nothing,
        removed_rows=tuple(_rows(engine, question.one_sided("o", "n"))) if differs else nothing,
        changed_rows=tuple(_pairs(row, key, compared) for row in _rows(engine, question.changed()))
        if differs
        else nothing,
    )


@dataclass(frozen=True)
class _Question:
    """The statements. `old` and `new` stand after `from`; the `parts` of `column` limit both, None for all."""

    old: str
    new: str
    key: Sequence[str]
    compared: Sequence[str]
    column: str | None
    parts: Sequence[str] | None

    def counts(self) -> str:
        """One row per month or day."""
        both = ", ".join(
            f"{f'coalesce(o.{name}, n.{name})' if quoted(name) in self.key else 'cast(null as date)'} as {name}"
            for name in PART_COLUMNS
        )
        return f"""
            select {both},
                count(case when {self._missing("o")} then 1 end) as added,
                count(case when {self._missing("n")} then 1 end) as removed,
                count(case when {self._both()} and ({self._differs()}) then 1 end) as changed,
                count(case when {self._both()} and not ({self._differs()}) then 1 end) as same
            {self._joined()} group by 1, 2 order by 1, 2"""

    def one_sided(self, side: str, other: str) -> str:
        """The first rows that only one version has."""
        columns = ", ".join(f"{side}.{name}" for name in (*self.key, *self.compared))
        only = f"{self._joined()} where {self._missing(other)}"
        return f"select {columns} {only} order by {self._order(side)} limit {FIRST_ROWS}"

    def changed(self) -> str:
        """The first rows that differ, every compared column twice."""
        keys = ", ".join(f"o.{name}" for name in self.key)
        both = "".join(f", o.{name} as before_{i}, n.{name} as after_{i}" for i, name in enumerate(self.compared))
        return (
            f"select {keys}{both} {self._joined()} where {self._both()} and ({self._differs()}) "
            f"order by {self._order('o')} limit {FIRST_ROWS}"
        )

    def _joined(self) -> str:
        on = " and ".join(f"o.{name} = n.{name}" for name in self.key)
        return f"from ({self._side(self.old)}) o full outer join ({self._side(self.new)}) n on {on}"

    def _side(self, source: str) -> str:
        where = ""
        if self.parts is not None:
            where = f" where {self.column} in ({', '.join(f'date {part!r}' for part in self.parts)})"
        return f"select {', '.join((*self.key, *self.compared))} from {source}{where}"

    def _missing(self, side: str) -> str:
        return f"{side}.{self.key[0]} is null"

    def _both(self) -> str:
        return f"o.{self.key[0]} is not null and n.{self.key[0]} is not null"

    def _differs(self) -> str:
        return " or ".join(f"o.{name} is distinct from n.{name}" for name in self.compared) or "false"

    def _order(self, side: str) -> str:
        return ", ".join(f"{side}.{name}" for name in self.key)


def _columns_of(table: Table, snapshot_id: int) -> list[str]:
    snapshot = table.snapshot_by_id(snapshot_id)
    schema_id = snapshot.schema_id if snapshot else None
    schema = table.schema() if schema_id is None else table.schemas()[schema_id]
    return [field.name for field in schema.fields]


def _parts_that_differ(catalog: Catalog, table: str, old: int, new: int, column: str) -> list[str] | None:
    """Months or days whose files are not the same in both versions; None where the table is not partitioned by them."""
    files: list[dict[str, set[str]]] = []
    for snapshot_id in (old, new):
        by_part: dict[str, set[str]] = {}
        for manifest in tree(catalog, table, str(snapshot_id)).manifests:
            for file in manifest.files:
                if column not in file.partition:
                    return None
                by_part.setdefault(file.partition[column], set()).add(file.path)
        files.append(by_part)
    return sorted(part for part in files[0].keys() | files[1].keys() if files[0].get(part) != files[1].get(part))


def _rows(engine: Engine, sql: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = engine.query(sql).to_pylist()
    return rows


def _pairs(row: dict[str, Any], key: Sequence[str], compared: Sequence[str]) -> dict[str, Any]:
    """The key, and before and after of the columns that differ."""
    pairs = {name: [row[f"before_{i}"], row[f"after_{i}"]] for i, name in enumerate(compared)}
    return {name: row[name] for name in key} | {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _plain(value: Any) -> Any:
    """The value in JSON's types: decimals as text, so that no cent is lost; bytes as hexadecimal digits."""
    match value:
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case date() | datetime():
            return value.isoformat()
        case Decimal():
            return str(value)
        case bytes():
            return value.hex()
        case _:
            return value


def _words(row: dict[str, Any], *, changed: bool) -> str:
    """One row for a reader: what is null is left out. In a row that changed, a list is a value before and after."""
    said = []
    for name, value in row.items():
        if changed and isinstance(value, list):
            said.append(f"{name}: {_word(value[0])} → {_word(value[1])}")
        elif value is not None:
            said.append(f"{name}={_word(value)}")
    return "  " + ", ".join(said)


def _word(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
