"""Proving a publication: gold is computed again from the raw tables of that time, and compared cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from lakehouse.datasets.registry import DATASETS
from lakehouse.engines import Engine, open_engine
from lakehouse.engines.protocol import quoted
from lakehouse.errors import OvertakenError, QueryError, TransformError
from lakehouse.iceberg.catalog import open_catalog, service_errors, table_names
from lakehouse.iceberg.identity import LAYERS
from lakehouse.iceberg.publication import TAG, version_property
from lakehouse.iceberg.refs import load_table
from lakehouse.iceberg.scratch import drop, new_prefix
from lakehouse.settings import Settings
from lakehouse.transform import Tell, build_beside

FIRST_ROWS = 5
SURPLUS = "lakehouse_surplus"
SAME_MODELS = (
    "its models are as they were then. So the cause is another version of dbt or of the engine, a select that may give "
    "another result each time, or a model merged by key: it keeps rows that raw no longer has"
)


@dataclass(frozen=True)
class Compared:
    """A table of gold as it was published, beside what the present models make of the same raw tables.

    `published_rows` and `reproduced_rows` count the rows that only one of the two has; `first_rows` are the first of
    them. `columns` names columns that only one has, or that have another type. `reason` says why they may differ.
    """

    table: str
    rows: int
    published_rows: int = 0
    reproduced_rows: int = 0
    columns: tuple[str, ...] = ()
    first_rows: tuple[dict[str, Any], ...] = ()
    reason: str = ""

    @property
    def equal(self) -> bool:
        """Whether all cells are the same."""
        return not (self.published_rows or self.reproduced_rows or self.columns or self.reason)


@dataclass(frozen=True)
class Reproduction:
    """A publication, and what came of each table of gold."""

    publication: str
    tables: tuple[Compared, ...]

    @property
    def equal(self) -> bool:
        """Whether all tables are the same."""
        return all(table.equal for table in self.tables)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        tables = [{**asdict(table), "equal": table.equal} for table in self.tables]
        return {"publication": self.publication, "equal": self.equal, "tables": tables}


def reproduce(settings: Settings, publication: str, *, progress: Tell | None = None) -> Reproduction:
    """Compute gold again from the raw tables that a publication names, and compare it with the gold that it names.

    The result goes into schemas of its own, which are dropped at the end. Nothing else is written.

    Args:
        settings: of the target.
        publication: its name, `publication-20240101T120000Z`.
        progress: called with a line for each model that is done.

    Raises:
        QueryError: there is no such publication; names those that there are.
        TransformError: the present models can't be built from the raw tables of that time.
        ServiceError: the catalog or Trino does not answer.
    """
    catalog = open_catalog(settings)
    with service_errors(catalog), closing(open_engine(settings)) as engine:
        engine.query("select 1")  # where no engine answers, dbt would say it with each model, and at length
        tables = [load_table(catalog, name) for name in table_names(catalog) if name.partition(".")[0] in LAYERS]
        tagged = {
            ".".join(t.name()): t for t in tables if publication in t.metadata.refs and TAG.fullmatch(publication)
        }
        gold = {name: table for name, table in tagged.items() if name.startswith("gold.")}
        if not gold:
            known = sorted({ref for table in tables for ref in table.metadata.refs if TAG.fullmatch(ref)})
            raise QueryError(
                f"There is no publication {publication!r}. Nothing was built. The publications are: "
                f"{', '.join(known) or 'none yet; `lakehouse publish` makes one'}."
            )
        raw = {
            name: tagged[name].metadata.refs[publication].snapshot_id if name in tagged else None
            for name in (dataset.table for dataset in DATASETS.values())
            if name in {".".join(table.name()) for table in tables}
        }
        with _scratch(catalog) as prefix:
            select = " ".join(f"+{name.removeprefix('gold.')}" for name in sorted(gold))
            try:
                versions = build_beside(settings, prefix, raw, select, progress)
            except (TransformError, OvertakenError) as error:
                raise TransformError(
                    f"{publication} could not be built again. Nothing was compared, and your tables are as they "
                    "were. If the models as they are now don't fit its raw tables, check out the commit of that time "
                    "in a folder of its own (`git worktree add`). Run the command there, with the same settings. "
                    f"{error}"
                ) from error
            made = {".".join(name) for name in catalog.list_tables(f"{prefix}gold")}
            return Reproduction(
                publication,
                tuple(
                    _compare(engine, table, publication, versions.get(name), load_table(catalog, prefix + name))
                    if prefix + name in made
                    else Compared(name, 0, reason="no model makes it any more")
                    for name, table in sorted(gold.items())
                ),
            )


@contextmanager
def _scratch(catalog: Catalog) -> Iterator[str]:
    prefix = new_prefix()
    try:
        yield prefix
    finally:
        drop(catalog, prefix)


def _compare(engine: Engine, table: Table, publication: str, version: str | None, made: Table) -> Compared:
    """Both sides as multisets of rows: what is left after each row of one was taken from the other."""
    snapshot_id = table.metadata.refs[publication].snapshot_id
    before, after = _types(_schema_at(table, snapshot_id)), _types(made.schema())
    common = [name for name, kind in before.items() if after.get(name) == kind]
    columns = tuple(sorted({*before, *after} - set(common)))
    names = ", ".join(map(quoted, common))
    current = made.metadata.current_snapshot_id
    then = f"select {names} from {engine.version_sql(table, snapshot_id)}"
    now = f"select {names} from {engine.version_sql(made, current)}" if current else f"{then} where false"
    surplus = f"""
        select {names}, sum(lakehouse_side) as {SURPLUS}
        from (
            select {names}, 1 as lakehouse_side from ({then}) published_rows
            union all
            select {names}, -1 as lakehouse_side from ({now}) reproduced_rows
        ) both_sides
        group by {names} having sum(lakehouse_side) <> 0"""
    [counts] = engine.query(
        f"""select (select count(*) from ({then}) c) as row_count,
            coalesce(sum(case when {SURPLUS} > 0 then {SURPLUS} end), 0) as published,
            coalesce(sum(case when {SURPLUS} < 0 then -{SURPLUS} end), 0) as reproduced
        from ({surplus}) differences"""
    ).to_pylist()
    rows, published, reproduced = (int(counts[name]) for name in ("row_count", "published", "reproduced"))
    name = ".".join(table.name())
    if not (published or reproduced or columns):
        return Compared(name, rows)
    first = engine.query(f"{surplus} order by {names} limit {FIRST_ROWS}").to_pylist()
    recorded = table.properties.get(version_property(publication))
    return Compared(
        name, rows, published, reproduced, columns, tuple(map(_with_side, first)), _reason(recorded, version)
    )


def _with_side(row: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(row)
    return {"only": "published" if values.pop(SURPLUS) > 0 else "reproduced", **values}


def _reason(recorded: str | None, version: str | None) -> str:
    if recorded is None:
        return "the publication does not say by which version of its model it was made"
    if recorded != version:
        return "its model, or one that it reads, has changed since: SQL, macros, vars or seeds"
    return SAME_MODELS


def _schema_at(table: Table, snapshot_id: int) -> Schema:
    snapshot = table.snapshot_by_id(snapshot_id)
    schema_id = snapshot.schema_id if snapshot else None
    return table.schema() if schema_id is None else table.schemas()[schema_id]


def _types(schema: Schema) -> dict[str, str]:
    return {field.name: str(field.field_type) for field in schema.fields}


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rows for a reader, one line each; what is null is left out."""
    return [", ".join(f"{name}={value}" for name, value in row.items() if value is not None) for row in rows]
