"""Rows of a select into an Iceberg table in one commit: DuckDB writes the files, PyIceberg commits them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, ValidationException
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, In
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionField, PartitionFieldValue, PartitionKey, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DecimalType, IcebergType, NestedField

from lakehouse.engines.duckdb import DUCKDB_TYPES, literal, register_table
from lakehouse.engines.protocol import quoted
from lakehouse.errors import CommitError, TransformError
from lakehouse.iceberg.columns import changes, evolve
from lakehouse.iceberg.data_file import described
from lakehouse.iceberg.files import live_files, local_path, remove, rows_by_file
from lakehouse.iceberg.merge import Incoming, Merged
from lakehouse.iceberg.staging import staged as staged_file
from lakehouse.iceberg.tables import PROPERTIES
from lakehouse.iceberg.transaction import begin, overwrite

ICEBERG_TYPES: dict[str, IcebergType] = {text: kind() for kind, text in DUCKDB_TYPES.items()}
# Other spellings that a yml may use; Trino's `timestamp(6)` among them.
SPELLINGS = {
    "TIMESTAMP(6)": "TIMESTAMP",
    "TIMESTAMP(6) WITH TIME ZONE": "TIMESTAMP WITH TIME ZONE",
    "VARBINARY": "BLOB",
    "TEXT": "VARCHAR",
    "STRING": "VARCHAR",
    "INT": "INTEGER",
    "BOOL": "BOOLEAN",
}

# A value of the partition column; None stands for the whole of a table without partitions.
PartitionValue = date | None
# Of each part the rows by the hash of the file that they came from.
Files = dict[PartitionValue, dict[str | None, int]]

# Trino's `comment on table` is this property too: one place for both targets.
COMMENT = "comment"


@dataclass(frozen=True)
class Model:
    """What dbt wants made: `schema.table` from a select, with the columns that its yml declares.

    `partition_by` is the column (a date) that says which part a row belongs to; without it the table is one part.
    `model_version` tells one version of the select, and of the seeds that it reads, from another; the table keeps it.
    `read` are the tables, `schema.table`, that it takes rows of files from. If these are models, they are `made_of`
    too: a new version of theirs is one of this model. `row_count` says for how many of their rows its rows stand.
    `unique_key` are the columns that tell one row from another where rows are merged; `append_new_columns` says that a
    merge may add columns to the table.
    """

    name: str
    select: str
    declared: Mapping[str, Mapping[str, Any]]
    full_refresh: bool = False
    partition_by: str | None = None
    model_version: str | None = None
    read: tuple[str, ...] = ()
    made_of: tuple[str, ...] = ()
    row_count: str = "count(*)"
    unique_key: tuple[str, ...] = ()
    append_new_columns: bool = False


def replace_all(cursor: duckdb.DuckDBPyConnection, catalog: Catalog, model: Model) -> int:
    """Replace all rows, in one snapshot on top of the older ones; refs stay. Columns follow the select.

    Returns:
        How many rows the table has now.
    """
    wanted = _columns(cursor, model)
    table = _table(catalog, model, wanted)
    return _commit(cursor, table, model, wanted, out=[None], make=[None])


def replace_if_different(cursor: duckdb.DuckDBPyConnection, catalog: Catalog, model: Model) -> int | None:
    """Replace all rows, unless the table holds the same rows already. Returns None then."""
    wanted = _columns(cursor, model)
    table = _table(catalog, model, wanted)
    if table.current_snapshot() is not None and not changes(table.schema(), wanted):
        held, new = f"select * from {_view(model.name)}", f"select * from ({model.select})"
        difference = f"(({held} except all {new}) union all ({new} except all {held}))"
        if not _rows(cursor, f"select 1 from {difference} limit 1"):
            return None
    return _commit(cursor, table, model, wanted, out=[None], make=[None])


def replace_changed_files(
    cursor: duckdb.DuckDBPyConnection, catalog: Catalog, model: Model, raw_at: Mapping[str, int | None]
) -> int | None:
    """Rebuild the parts whose `source_sha256` or number of rows differs between table and what is read, in one commit.

    All parts are rebuilt if the table was made by another select, from other seeds, or has other columns. What the
    select reads has `source_sha256` and the partition column too. `raw_at` are the snapshots of raw tables read
    as they were; None stands for no rows.

    Returns:
        How many rows were written; None if nothing differed.
    """
    wanted = _columns(cursor, model)
    table = _table(catalog, model, wanted)
    parts = _parts(cursor, catalog, model, table, raw_at)
    model = replace(model, model_version=_version(catalog, model))
    remade = table.properties.get(COMMENT) != model.model_version or bool(changes(table.schema(), wanted))
    if model.full_refresh or remade:
        return _commit(cursor, table, model, wanted, out=[None], make=[p for p, _, new, _ in parts if new])
    changed = [(part, new) for part, old, new, same in parts if not same]
    if not changed and table.current_snapshot() is not None:
        return None
    return _commit(cursor, table, model, wanted, out=[p for p, _ in changed], make=[p for p, new in changed if new])


def merge_by_key(cursor: duckdb.DuckDBPyConnection, catalog: Catalog, model: Model) -> Merged | int:
    """Merge the select's rows into the table by `unique_key`, in one snapshot. A full refresh replaces all rows.

    Rows of the table stay whose key the select does not have. Data files without a changed row are not written again.
    If all rows are as they were, there is no snapshot.

    Returns:
        What was merged; after a full refresh how many rows the table has.

    Raises:
        TransformError: a row of the select has no key, or two have the same one; the table has a key twice, or other
            columns than the select.
        CommitError: another process wrote the table meanwhile.
    """
    wanted = _columns(cursor, model)
    names = [column.name for column in wanted]
    if missing := [name for name in model.unique_key if name not in names]:
        raise TransformError(
            f"its select has no column {missing[0]}, which is in its unique_key. Its table is as it was"
        )
    incoming = Incoming(cursor, names, model.unique_key)
    columns = ", ".join(incoming.columns)
    cursor.execute(
        f"create temp table incoming as "
        f"select row_number() over () - 1 as row, * from ({model.select}) as model_rows ({columns})"
    )
    _check_keys(incoming, model)
    if model.full_refresh:
        named = ", ".join(f"{c} as {quoted(n)}" for c, n in zip(incoming.columns, names, strict=True))
        return replace_all(cursor, catalog, replace(model, select=f"select {named} from incoming"))
    table = _table(catalog, model, wanted)
    staged: list[DataFile] = []
    with _all_or_nothing(table, staged):
        _append_columns(table, model, wanted)
        [(incoming.rows,)] = _rows(cursor, "select count(*) from incoming")
        merge = incoming.compare(table, live_files(table, AlwaysTrue()), complete=False, again=False)
        if merge.repeated:
            raise TransformError(
                f"its table has two rows with the same {' and '.join(model.unique_key)}, so rows can't be merged by "
                f"it. No row was changed. {_rebuild(model)}"
            )
        if merge.changes_nothing and table.current_snapshot() is not None:
            return merge.merged
        file = staged_file(table, incoming.new_rows(table, merge, {}), "merge", None)
        staged += [file] if file else []
        transaction = begin(table)
        _overwrite(transaction, AlwaysTrue(), merge.files, staged, merge.merged.summary)
    register_table(cursor, model.name, table)
    return merge.merged


def _check_keys(incoming: Incoming, model: Model) -> None:
    """Refuse rows without a key, and two rows with the same one."""
    for name, column in zip(model.unique_key, incoming.key, strict=True):
        if _rows(incoming.connection, f"select 1 from incoming where {column} is null limit 1"):
            raise TransformError(
                f"a row of its select has no {name}, which is in its unique_key, so every row must have one. Its table "
                "is as it was. Leave such rows out of the select, or give them a value"
            )
    if found := incoming.repeated_key():
        values = " and ".join(f"{n} = {value}" for n, value in zip(model.unique_key, found, strict=True))
        raise TransformError(
            f"two rows of its select have {values}, which is its unique_key, so only one may have it. Its table is as "
            "it was. Let the select choose one of them"
        )


def _append_columns(table: Table, model: Model, wanted: Sequence[NestedField]) -> None:
    """Add the select's new columns to the table, if the model says so. That is a change without a snapshot.

    Raises:
        TransformError: the columns differ in another way, or the model does not say so.
    """
    held = {column.name: column.field_type for column in table.schema().fields}
    new = [column for column in wanted if column.name not in held]
    kept = {column.name: column.field_type for column in wanted if column.name in held}
    if lacking := held.keys() - kept.keys():
        raise TransformError(
            f"its table has columns that its select lacks: {', '.join(sorted(lacking))}. The table is as it was. "
            f"Select them again, or rebuild it without them. {_rebuild(model)}"
        )
    if kept != held or (new and not model.append_new_columns):
        raise TransformError(
            f"its select has other columns than its table: {changes(table.schema(), wanted)}. The table is as it was. "
            f"on_schema_change='append_new_columns' adds columns. {_rebuild(model)}"
        )
    if new:
        with table.update_schema() as update:
            for column in new:
                update.add_column(column.name, column.field_type, doc=column.doc)


def _rebuild(model: Model) -> str:
    return f"To rebuild it: lakehouse build --full-refresh --select {model.name.partition('.')[2]}"


def _version(catalog: Catalog, model: Model) -> str | None:
    """The version of the model, and of the models that it is made of."""
    versions = [catalog.load_table(name).properties.get(COMMENT, "") for name in model.made_of]
    if not versions:
        return model.model_version
    digest = hashlib.md5("\n".join([str(model.model_version), *versions]).encode(), usedforsecurity=False).hexdigest()
    return f"dbt model {model.name.partition('.')[2]}, version {digest}"


def _parts(
    cursor: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    model: Model,
    table: Table,
    raw_at: Mapping[str, int | None],
) -> list[tuple[PartitionValue, int, int, bool]]:
    """Each part: its files in the table, its files in what is read, whether hashes and row counts are the same."""
    held: Files = {}
    if table.current_snapshot() is not None:
        held = _files(cursor, model, table, model.row_count, table.metadata.current_snapshot_id)
    wanted: Files = {}
    for name in model.read:
        read = catalog.load_table(name)
        shown = raw_at.get(name, read.metadata.current_snapshot_id)
        for part, files in _files(cursor, model, read, "count(*)", shown).items():
            rows = wanted.setdefault(part, {})
            for source, count in files.items():
                rows[source] = rows.get(source, 0) + count
    return [
        (part, len(held.get(part, {})), len(wanted.get(part, {})), held.get(part) == wanted.get(part))
        for part in sorted(held.keys() | wanted.keys(), key=str)
    ]


def _files(cursor: duckdb.DuckDBPyConnection, model: Model, table: Table, count: str, snapshot_id: int | None) -> Files:
    """Of each part the rows by the hash of their file: from manifests where these know it, else from the rows."""
    if model.partition_by and count == "count(*)" and _is_parted(table, model.partition_by):
        known = rows_by_file(table, snapshot_id) if snapshot_id is not None else {}
        if not any(None in files for files in known.values()):
            return {part: dict(files) for part, files in known.items()}
    key = quoted(model.partition_by) if model.partition_by else "null::date"
    view = _view(".".join(table.name()))
    found: Files = {}
    for part, source, rows in _rows(cursor, f"select {key}, source_sha256, {count} from {view} group by all"):
        found.setdefault(part, {})[source] = rows
    return found


def _is_parted(table: Table, column: str) -> bool:
    """Whether each data file of a table is of one value of the column."""
    fields = [(table.schema().find_column_name(field.source_id), str(field.transform)) for field in table.spec().fields]
    return fields == [(column, "identity")] and len(table.specs()) == 1


def _columns(cursor: duckdb.DuckDBPyConnection, model: Model) -> list[NestedField]:
    """The select's columns, held against the yml. Ids are given by the table.

    Raises:
        TransformError: a type that is not written to Iceberg, other columns than declared, or no partition column.
    """
    found = [(name, kind) for name, kind, *_ in _rows(cursor, f"describe {model.select}")]
    declared = [(name, _spelled(column.get("data_type") or "?")) for name, column in model.declared.items()]
    if declared and found != declared:
        differ = [f"{n} {k}" for n, k in found if (n, k) not in declared] + [
            f"{n} {'without a data_type' if k == '?' else k} (declared)" for n, k in declared if (n, k) not in found
        ]
        raise TransformError(
            f"its select and its yml differ: {', '.join(differ) or 'in the order of columns'}. Its table is as it was. "
            "Correct the select, or name and data_type of the columns in the yml"
        )
    if model.partition_by and model.partition_by not in dict(found):
        raise TransformError(
            f"its partition_by names {model.partition_by}, which is no column of its select. Its table is as it was. "
            f"The select has the columns {', '.join(name for name, _ in found)}. Name one of them"
        )
    return [
        NestedField(i, name, _iceberg_type(name, kind), required=False, doc=_doc(model.declared.get(name)))
        for i, (name, kind) in enumerate(found, start=1)
    ]


def _doc(column: Mapping[str, Any] | None) -> str | None:
    return " ".join(str(column.get("description") or "").split()) or None if column else None


def _spelled(data_type: str) -> str:
    text = data_type.upper().replace(", ", ",")
    return SPELLINGS.get(text, text)


def _iceberg_type(column: str, kind: str) -> IcebergType:
    if kind.startswith("DECIMAL(") and kind.endswith(")"):
        precision, scale = kind.removeprefix("DECIMAL(").removesuffix(")").split(",")
        return DecimalType(int(precision), int(scale))
    try:
        return ICEBERG_TYPES[kind]
    except KeyError:
        fix = "make rows of it with unnest," if kind.endswith("]") else "cast it, for example to bigint or varchar,"
        raise TransformError(
            f"its column {column} has the type {kind}, which dbt does not write to Iceberg here. Its table is as it "
            f"was. In the select {fix} and correct its data_type in the yml"
        ) from None


def _table(catalog: Catalog, model: Model, wanted: Sequence[NestedField]) -> Table:
    """The table; made, without a snapshot, where it does not exist."""
    try:
        return catalog.load_table(model.name)
    except NoSuchTableError:
        spec = PartitionSpec()
        if model.partition_by:
            [source_id] = [f.field_id for f in wanted if f.name == model.partition_by]
            spec = PartitionSpec(PartitionField(source_id, 1000, IdentityTransform(), model.partition_by))
        catalog.create_namespace_if_not_exists(model.name.partition(".")[0])
        return catalog.create_table(model.name, Schema(*wanted), partition_spec=spec, properties=PROPERTIES)


def _commit(
    cursor: duckdb.DuckDBPyConnection,
    table: Table,
    model: Model,
    wanted: Sequence[NestedField],
    *,
    out: Sequence[PartitionValue],
    make: Sequence[PartitionValue],
) -> int:
    """Write a file for each part to make, then one snapshot: old files of the parts out, new ones in."""
    transaction = begin(table)
    if changes(table.schema(), wanted):
        evolve(transaction, wanted)
    if model.model_version and table.properties.get(COMMENT) != model.model_version:
        transaction.set_properties({COMMENT: model.model_version})
    predicate: BooleanExpression = AlwaysTrue()
    if model.partition_by and None not in out:
        predicate = In(model.partition_by, {part.isoformat() for part in out if part})  # type: ignore[misc, call-arg, arg-type]
    staged: list[DataFile] = []
    with _all_or_nothing(table, staged):
        for part in make:
            staged += _written(cursor, table, transaction.table_metadata, model, part)
        _overwrite(transaction, predicate, live_files(table, predicate), staged, {})
    register_table(cursor, model.name, table)
    return sum(file.record_count for file in staged)


def _overwrite(
    transaction: Transaction,
    predicate: BooleanExpression,
    old: Sequence[DataFile],
    new: Sequence[DataFile],
    summary: dict[str, str],
) -> None:
    """Commit one snapshot: old files out, new ones in. A commit of others to rows of the predicate is a conflict."""
    with overwrite(transaction, summary) as snapshot:
        snapshot.delete_by_predicate(predicate)
        for file in old:
            snapshot.delete_data_file(file)
        for file in new:
            snapshot.append_data_file(file)
    transaction.commit_transaction()


@contextmanager
def _all_or_nothing(table: Table, staged: list[DataFile]) -> Iterator[None]:
    """Remove what is staged by the time that something fails.

    Raises:
        CommitError: another process wrote the table meanwhile.
    """
    try:
        yield
    except BaseException as error:
        for file in staged:
            remove(table.io, file.file_path)
        if isinstance(error, CommitFailedException | ValidationException):
            raise CommitError(
                f"another process wrote the table while the model was built. The model changed no row. Run the build "
                f"again ({error})."
            ) from error
        raise


def _written(
    cursor: duckdb.DuckDBPyConnection, table: Table, metadata: TableMetadata, model: Model, part: PartitionValue
) -> list[DataFile]:
    """One parquet file next to the table's data, columns with the table's field ids; none where there are no rows."""
    schema, key, select = metadata.schema(), None, model.select
    if model.partition_by:
        select = f"select * from ({select}) where {quoted(model.partition_by)} = date {literal(str(part))}"
        values = [PartitionFieldValue(metadata.spec().fields[0], part)]
        key = PartitionKey(field_values=values, partition_spec=metadata.spec(), schema=schema)
    location = table.location_provider().new_data_location(f"{part or 'all'}-{uuid.uuid4()}.parquet", key)
    path = Path(local_path(location))
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = ", ".join(f"{quoted(f.name)}: {f.field_id}" for f in schema.fields)
    options = f"format parquet, compression zstd, compression_level 1, field_ids {{{ids}}}"
    try:
        [(rows,)] = _rows(cursor, f"copy ({select}) to {literal(str(path))} ({options})")
        if rows:
            return [described(metadata, location, pq.read_metadata(path), path.stat().st_size, key)]
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    path.unlink()
    return []


def _view(name: str) -> str:
    return ".".join(quoted(part) for part in name.split("."))


def _rows(cursor: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    return cursor.execute(sql).fetchall()
