"""DuckDB over the files that PyIceberg plans: the engine of `embedded`, in memory, one view per Iceberg table.

There is no database file: nothing to lock, and no view that outlives the files it lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from lakehouse.datasets.registry import DATASETS
from lakehouse.duckdb_config import duckdb_config
from lakehouse.engines.protocol import PartFiles, check_names, quoted
from lakehouse.errors import BoundaryError, QueryError
from lakehouse.iceberg.catalog import damaged, file_errors, open_catalog, service_errors, table_names
from lakehouse.iceberg.files import file_hash, first_day_of, local_path
from lakehouse.iceberg.identity import LAYERS
from lakehouse.iceberg.names import no_table
from lakehouse.iceberg.publication import SCHEMA, published_tables
from lakehouse.iceberg.refs import load_table, shown_at
from lakehouse.iceberg.timeline import timeline_of
from lakehouse.iceberg.versions import Timeline, parse_as_of

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import FileScanTask, Table

    from lakehouse.settings import Settings

# Trino's name of the catalog: `iceberg.gold.dim_zones` is the same table on both targets.
DATABASE = "iceberg"

FILE_ERRORS = (duckdb.IOException, duckdb.InvalidInputException)  # of a file that is gone or damaged

DUCKDB_TYPES: dict[type[IcebergType], str] = {
    BooleanType: "BOOLEAN",
    IntegerType: "INTEGER",
    LongType: "BIGINT",
    FloatType: "FLOAT",
    DoubleType: "DOUBLE",
    DateType: "DATE",
    TimeType: "TIME",
    TimestampType: "TIMESTAMP",
    TimestamptzType: "TIMESTAMP WITH TIME ZONE",
    StringType: "VARCHAR",
    UUIDType: "UUID",
    BinaryType: "BLOB",
}


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """A DuckDB of one's own, in memory: UTC, bounded memory, spilling into `LAKEHOUSE_HOME`, nothing downloaded."""
    connection = duckdb.connect(":memory:", config=duckdb_config(settings))
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(f"attach ':memory:' as {DATABASE}")
    connection.execute(f"use {DATABASE}")
    return connection


def register_tables(
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    *,
    versions: Mapping[str, int] | None = None,
    only: Sequence[str] | None = None,
) -> None:
    """Make one view per Iceberg table, `schema.table`, over the files of its current snapshot.

    Args:
        connection: where the views go; views of the same names are replaced.
        catalog: whose tables.
        versions: snapshot ids by table, for tables to be read as of an older version.
        only: the tables to register instead of all; those that do not exist are left out, for DuckDB to name.

    Where none are named, a table of another tool that can't be read is left out: it has delete files or nested columns,
    or is kept in another place.

    Raises:
        QueryError: a table that was named can't be read so, or has no such snapshot.
        BoundaryError: a file of a table is missing or damaged.
    """
    for name in table_names(catalog) if only is None else only:
        try:
            register_table(connection, name, catalog.load_table(name), (versions or {}).get(name))
        except (NoSuchTableError, NoSuchNamespaceError):
            continue
        except (QueryError, BoundaryError):
            # Of a table that another tool wrote it is an error of the statements that name the table. Of ours it is one
            # of all: what reads the table would say that there is none.
            if only is not None or _is_ours(name):
                raise


def _is_ours(name: str) -> bool:
    """Whether the project makes this table: it is that of a dataset, or dbt's."""
    return name.partition(".")[0] in LAYERS[1:] or name in {dataset.table for dataset in DATASETS.values()}


def register_table(
    connection: duckdb.DuckDBPyConnection, name: str, table: Table, snapshot_id: int | None = None
) -> None:
    """Make or replace one view; see `register_tables`."""
    with file_errors(table, *FILE_ERRORS):
        _create_view(connection, name, scan_sql(table, snapshot_id))


def _create_view(connection: duckdb.DuckDBPyConnection, name: str, select: str) -> None:
    schema, _, view = name.partition(".")
    connection.execute(f"create schema if not exists {quoted(schema)}")
    connection.execute(f"create or replace view {quoted(schema)}.{quoted(view)} as {select}")


def scan_sql(table: Table, snapshot_id: int | None = None) -> str:
    """A select over the table's files at a snapshot; columns are found by field id, so older schemas read right."""
    name = ".".join(table.name())
    if snapshot_id is not None and table.snapshot_by_id(snapshot_id) is None:
        raise QueryError(f"{name} has no snapshot {snapshot_id}. `lakehouse history {name}` lists those that exist.")
    scan = table.scan(snapshot_id=snapshot_id)
    tasks = list(scan.plan_files())
    _refuse_deletes(name, tasks)
    return files_sql(name, scan.projection(), [task.file.file_path for task in tasks])


def register_at(connection: duckdb.DuckDBPyConnection, catalog: Catalog, versions: Mapping[str, int | None]) -> None:
    """Make or replace one view per table as of a snapshot, with the columns of today; None stands for no rows.

    Raises:
        QueryError: as `register_tables`.
    """
    for name, snapshot_id in versions.items():
        table = load_table(catalog, name)
        tasks = [] if snapshot_id is None else list(table.scan(snapshot_id=snapshot_id).plan_files())
        _refuse_deletes(name, tasks)
        _create_view(connection, name, files_sql(name, table.schema(), [task.file.file_path for task in tasks]))


def _refuse_deletes(name: str, tasks: Sequence[FileScanTask]) -> None:
    """Refuse delete files.

    Raises:
        QueryError: says what to do.
    """
    if any(task.delete_files for task in tasks):
        raise QueryError(
            f"{name} has delete files, which DuckDB can't apply here. Nothing was read. Read it with `lakehouse.read`, "
            "or compact it with the tool that wrote it."
        )


def files_sql(name: str, schema: Schema, paths: Sequence[str]) -> str:
    """A select over data files; what a file has no column for is null."""
    if not paths:
        columns = ", ".join(f"cast(null as {_duckdb_type(name, f)}) as {quoted(f.name)}" for f in schema.fields)
        return f"select {columns} where false"
    files = ", ".join(literal(_glob_escaped(local_path(path))) for path in paths)
    return f"select * from read_parquet([{files}], hive_partitioning = false, schema = {_field_map(name, schema)})"


def _field_map(table: str, schema: Schema) -> str:
    fields = (
        f"{f.field_id}: {{name: {literal(f.name)}, type: {literal(_duckdb_type(table, f))}, default_value: NULL}}"
        for f in schema.fields
    )
    return "MAP {" + ", ".join(fields) + "}"


def _duckdb_type(table: str, field: NestedField) -> str:
    kind = field.field_type
    if isinstance(kind, DecimalType):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if isinstance(kind, ListType) and not isinstance(kind.element_type, ListType):
        return f"{_duckdb_type(table, kind.element_field)}[]"
    try:
        return DUCKDB_TYPES[type(kind)]
    except KeyError:
        raise QueryError(
            f"The column {field.name} of {table} has the type {kind}, which this engine can't read. Nothing was read. "
            "Make the table again without this column, or cast it."
        ) from None


def _glob_escaped(path: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


def literal(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


class DuckDBEngine:
    """SQL over the embedded lakehouse. Each query opens the catalog afresh, so it sees every commit made before it."""

    name = "duckdb"
    maintains = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def query(self, sql: str, parameters: Sequence[Any] = (), as_of: str | None = None) -> pa.Table:
        """Rows of one statement; see `Engine.query`."""
        catalog = open_catalog(self._settings)
        moved: dict[str, int] = {}
        if as_of is not None:
            from lakehouse.engines.as_of import versions  # noqa: PLC0415 - the parser of SQL is slow to import

            moved = {
                table: shown_at(load_table(catalog, table), version)
                for table, version in versions(sql, parse_as_of(as_of), "duckdb").items()
            }
        connection = connect(self._settings)
        try:
            read = self._read_by(sql)
            with service_errors(catalog):
                register_tables(connection, catalog, versions=moved, only=read)
                self._register_published(connection, catalog, read)
            try:
                return _run(connection, sql, parameters)
            except QueryError as error:
                if isinstance(error.__cause__, duckdb.CatalogException):
                    self._refuse_unknown(catalog, read or ())
                if isinstance(error.__cause__, FILE_ERRORS) and str(self._settings.warehouse_dir) in str(error):
                    raise damaged(self._settings, "A file of a table", error) from error
                raise
        finally:
            connection.close()

    def tables(self) -> list[str]:
        """Every Iceberg table, as `schema.table`, sorted."""
        return table_names(open_catalog(self._settings))

    def timeline(self, table: str) -> Timeline:
        """Its snapshots, branches and tags; see `Engine.timeline`."""
        return timeline_of(self._table(table))

    def part_files(self, table: str, column: str = "file_month") -> list[PartFiles]:  # noqa: ARG002 - it has one
        """Months or days that the table holds now, from its manifests; see `Engine.part_files`."""
        loaded = self._table(table)
        with service_errors(loaded.catalog):
            tasks = list(loaded.scan().plan_files())
        by_part: dict[date, list[DataFile]] = {}
        for task in tasks:
            by_part.setdefault(first_day_of(task.file), []).append(task.file)
        return [
            PartFiles(
                first_day=first_day,
                rows=sum(f.record_count for f in files),
                files=len(files),
                bytes=sum(f.file_size_in_bytes for f in files),
                source_sha256=next(iter(hashes)) if len(hashes := {file_hash(loaded, f) for f in files}) == 1 else None,
            )
            for first_day, files in sorted(by_part.items())
        ]

    def version_sql(self, table: Table, snapshot_id: int) -> str:
        """One version of a table, to stand after `from`."""
        return f"({scan_sql(table, snapshot_id)})"

    def close(self) -> None:
        """Nothing is held between queries."""

    def _table(self, name: str) -> Table:
        return load_table(open_catalog(self._settings), name)

    def _register_published(
        self, connection: duckdb.DuckDBPyConnection, catalog: Catalog, only: Sequence[str] | None
    ) -> None:
        """The views of schema `published`: gold as of the last publication, all tables of the same one.

        A view whose table or snapshot is gone is an error of the queries that name it, and of no others: a build that
        makes the table again asks too. So is a list of publications that is damaged.
        """
        if only is not None and not any(name.startswith(f"{SCHEMA}.") for name in only):
            return
        try:
            shown = published_tables(self._settings)
        except BoundaryError:
            if only is not None:
                raise
            return
        for view, (name, snapshot_id) in shown.items():
            if only is not None and view not in only:
                continue
            try:
                register_table(connection, view, load_table(catalog, name), snapshot_id)
            except (QueryError, BoundaryError):
                if only is not None:
                    raise

    def _refuse_unknown(self, catalog: Catalog, read: Sequence[str]) -> None:
        """Refuse a table that does not exist. DuckDB would say that its schema does not, as only what is read is here.

        Raises:
            QueryError: names the first such table, and those that are there.
        """
        known = table_names(catalog)
        with suppress(BoundaryError):  # a damaged list of what is published is an error of what reads that
            known = [*known, *published_tables(self._settings)]
        for name in read:
            if name not in known:
                raise no_table(name, known)

    @staticmethod
    def _read_by(sql: str) -> list[str] | None:
        """The tables to register for a statement; None, for all, if its FROM names none or it asks which there are.

        All too where DuckDB knows SQL that the parser does not.
        """
        from lakehouse.engines.as_of import reads_catalog, reads_nothing, referenced_tables  # noqa: PLC0415 - as above

        try:
            if reads_nothing(sql, "duckdb"):
                return []
            return None if reads_catalog(sql, "duckdb") else referenced_tables(sql, "duckdb") or None
        except QueryError:
            return None


def _run(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any]) -> pa.Table:
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryError(
                f"Exactly one statement is run at a time, and this SQL has {len(statements)}. Nothing was run."
            )
        relation: duckdb.DuckDBPyRelation | None = connection.sql(sql, params=list(parameters) or None)
        if relation is None:  # a statement without rows
            return pa.table({})
        check_names(relation.columns)
        table: pa.Table = relation.to_arrow_table()
    except duckdb.Error as error:
        raise QueryError(str(error).strip()) from error
    for i, kind in enumerate(relation.types):
        # Sums of bigint are hugeint, which Arrow has no type for; Trino gives bigint.
        if str(kind) == "HUGEINT":
            try:
                table = table.set_column(i, table.field(i).name, table.column(i).cast(pa.int64()))
            except pa.ArrowInvalid:
                continue  # a sum that a bigint can't hold stays what it is
    return table
