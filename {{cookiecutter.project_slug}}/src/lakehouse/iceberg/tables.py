"""The raw tables: made from the declarations, brought up to date when a declaration gains a column."""

from __future__ import annotations

import random
import time

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import PartitionField, PartitionFieldValue, PartitionKey, PartitionSpec
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import Table
from pyiceberg.table.update import AssertRefSnapshotId
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    ListType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
)

from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Part
from lakehouse.datasets.registry import DATASETS, declaration_of
from lakehouse.datasets.types import digits_of
from lakehouse.errors import CommitError, SettingsError
from lakehouse.iceberg.catalog import service_errors, settings_of
from lakehouse.iceberg.identity import LAYERS, check_pair, identify

SCHEMA_ATTEMPTS = 20
TYPES: dict[str, IcebergType] = {
    "long": LongType(),
    "double": DoubleType(),
    "string": StringType(),
    "boolean": BooleanType(),
    "date": DateType(),
    "timestamp": TimestampType(),
    "timestamptz": TimestamptzType(),
    "binary": BinaryType(),
}
# Each commit writes a metadata file: the last ones stay, older ones go with the commit.
METADATA_FILES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}
PROPERTIES = {
    **METADATA_FILES,
    "format-version": "2",
    # manifests then answer which month came from which bytes, without reading data
    "write.metadata.metrics.default": "full",
    "write.parquet.compression-codec": "zstd",
    # eight writers on one table; the default of 4 gives up too early
    "commit.retry.num-retries": "20",
    "commit.retry.min-wait-ms": "50",
    "commit.retry.max-wait-ms": "2000",
}
# Where a row came from. Rows without a key are known by their file's part and their place in it.
PARTS: dict[str, tuple[str, IcebergType, str]] = {
    "file_month": ("file_month", DateType(), "First day of the month whose file the row came in."),
    "file_date": ("file_date", DateType(), "Day whose file the row came in."),
}
FILE_ROW: tuple[str, IcebergType, str] = ("file_row", LongType(), "The row's position in that file, from 0.")
SOURCE: tuple[str, IcebergType, str] = ("source_sha256", StringType(), "SHA-256 of that file.")
# What the table of rejected rows has besides.
RUN: tuple[str, IcebergType, str] = ("run_id", StringType(), "The run whose load set the row aside.")
_WHY: tuple[tuple[str, IcebergType, str], ...] = (
    ("file_name", StringType(), "The file's name."),
    ("place", StringType(), "The row's line or number in the file, as messages name it."),
    ("reason", StringType(), "Why the row could not be loaded."),
    ("column_name", StringType(), "The file's columns with a bad value; null if the row as a whole is bad."),
    ("row_values", StringType(), "What the file has in this row, as text: a JSON object by column, or the line."),
)


def iceberg_type(column: Column) -> IcebergType:
    """The Iceberg type of a declared column. What a list holds has no number yet: see `_schema`."""
    if column.kind == "list":
        return ListType(element_id=0, element=iceberg_type(column.element), element_required=False)
    return DecimalType(*digits_of(column.type)) if column.kind == "decimal" else TYPES[column.type]


def raw_schema(dataset: Dataset) -> Schema:
    """The Iceberg schema of a dataset's raw table: what a row is known by comes first, and may not be null."""
    declared = [(c.name, iceberg_type(c), c.doc) for c in dataset.columns]
    if dataset.key:
        return _schema([*declared, SOURCE], required=dataset.key)
    column = dataset.parts.column
    known_by = [*([PARTS[column]] if column else []), FILE_ROW, SOURCE]
    return _schema([*known_by, *declared], required=tuple(name for name, *_ in known_by))


def rejected_schema(dataset: Dataset) -> Schema:
    """The Iceberg schema of the table of a dataset's rejected rows."""
    column = dataset.parts.column
    columns = [*([PARTS[column]] if column else []), FILE_ROW, SOURCE, RUN, *_WHY]
    return _schema(columns, required=tuple(name for name, *_ in columns if name not in ("column_name", "row_values")))


def partition_of(table: Table, part: Part | None) -> PartitionKey | None:
    """The partition of a part's rows; None for a table without parts."""
    if part is None:
        return None
    spec, schema = table.spec(), table.schema()
    values = [PartitionFieldValue(spec.fields[0], part.first_day)]
    return PartitionKey(field_values=values, partition_spec=spec, schema=schema)


def _schema(columns: list[tuple[str, IcebergType, str]], required: tuple[str, ...]) -> Schema:
    return assign_fresh_schema_ids(
        Schema(
            *(
                NestedField(i, name, kind, required=name in required, doc=doc or None)
                for i, (name, kind, doc) in enumerate(columns, start=1)
            )
        )
    )


def is_empty(catalog: Catalog, name: str) -> bool:
    """Whether a table has no rows, or does not exist.

    Raises:
        ServiceError: the catalog does not answer.
    """
    with service_errors(catalog):
        try:
            snapshot = catalog.load_table(name).current_snapshot()
        except NoSuchTableError:
            return True
    words = snapshot.summary.additional_properties if snapshot and snapshot.summary else {}
    return words.get("total-records", "0") == "0"


def ensure_raw_tables(catalog: Catalog) -> list[str]:
    """Make what is missing: namespaces, raw tables, columns that a declaration gained. Safe to run twice, or at once.

    A column whose type was corrected before the first load gets the new type. `check_declared_types` refuses one
    whose table has rows: only the dataset that is loaded, so that a wrong declaration does not stop the others.

    Returns:
        What was made or changed, as text; empty when all was there.

    Raises:
        BoundaryError: catalog and files are not of one lakehouse.
        CommitError: a column could not be added, because others changed the table at each attempt.
    """
    settings = settings_of(catalog)
    check_pair(settings, catalog)
    done = []
    for namespace in LAYERS:
        if (namespace,) not in catalog.list_namespaces():
            try:
                catalog.create_namespace(namespace)
                done.append(f"namespace {namespace}")
            except NamespaceAlreadyExistsError:
                pass  # another process was quicker
    for dataset in DATASETS.values():
        done += _ensure(catalog, dataset.table, raw_schema(dataset), dataset.parts.column)
        if dataset.rejected_table:
            done += _ensure(catalog, dataset.rejected_table, rejected_schema(dataset), dataset.parts.column)
    identify(settings, catalog)  # last: the tables that were there are inside this home or bucket
    return done


def _ensure(catalog: Catalog, name: str, schema: Schema, column: str | None) -> list[str]:
    """Make one table, or add the columns that it lacks. `column` is what it is partitioned by."""
    try:
        table = catalog.load_table(name)
    except NoSuchTableError:
        fields = [PartitionField(1, 1000, IdentityTransform(), column)] if column else []
        try:
            catalog.create_table(name, schema, partition_spec=PartitionSpec(*fields), properties=PROPERTIES)
        except TableAlreadyExistsError:
            return []  # another process was quicker
        return [f"table {name}"]
    return _evolve(table, schema)


def check_declared_types(table: Table, dataset: Dataset) -> None:
    """Refuse a declaration that gives a column of the table another type: the rows that are there have the old one.

    Raises:
        SettingsError: names the column and both types.
    """
    for old, new in _retyped(table, raw_schema(dataset)):
        raise SettingsError(
            f"{dataset.table}: the column {new.name} is {_spelled(old)} in the table and {_spelled(new)} in "
            f"{declaration_of(dataset)}. Nothing was loaded. Declare {_spelled(old)}, or declare the new type under "
            "another name."
        )


def _retyped(table: Table, schema: Schema) -> list[tuple[NestedField, NestedField]]:
    """The columns that have another type in a table than in a schema: as they are there, and here."""
    held = {field.name: field for field in table.schema().fields}
    pairs = [(held[field.name], field) for field in schema.fields if field.name in held]
    # as text: what a list holds has another number in the table
    return [(old, new) for old, new in pairs if str(old.field_type) != str(new.field_type)]


def _spelled(field: NestedField) -> str:
    """A column's type as a declaration writes it."""
    return str(field.field_type).replace("<", "(").replace(">", ")")


def _evolve(table: Table, schema: Schema) -> list[str]:
    """Schema evolution: declared columns that the table lacks are added at its end; rows of old read null there.

    A table without any snapshot has no rows of an old type: its columns take the declared types too.

    Raises:
        CommitError: others changed the table at each attempt.
    """
    name = ".".join(table.name())
    reason: CommitFailedException | None = None
    missing: list[NestedField] = []
    for attempt in range(SCHEMA_ATTEMPTS):
        if attempt:  # a load or another process changed the table meanwhile; it may have added the columns
            time.sleep(random.uniform(0.02, 0.1) * min(attempt, 10))  # noqa: S311 - writers out of step
            table.refresh()
        retyped = [] if table.metadata.snapshots else [new for _, new in _retyped(table, schema)]
        missing = [f for f in schema.fields if f.name not in table.schema().column_names] + retyped
        if not missing:
            return []
        try:
            with table.transaction() as transaction:
                if retyped:  # a first load meanwhile would lose its values: the catalog refuses the change then
                    empty = AssertRefSnapshotId(ref="main", snapshot_id=None)  # type: ignore[call-arg]
                    transaction._apply((), (empty,))  # noqa: SLF001 - PyIceberg has no call for it
                with transaction.update_schema() as update:
                    for field in retyped:
                        update.delete_column(field.name)
                    for field in missing:
                        update.add_column(field.name, field.field_type, doc=field.doc)
        except CommitFailedException as error:
            reason = error
            continue
        return [f"column {name}.{field.name}" for field in missing]
    raise CommitError(
        f"The columns {', '.join(field.name for field in missing)} could not be added to {name}: other processes "
        f"changed the table at each of {SCHEMA_ATTEMPTS} attempts. None of them was added. Run the same command again "
        "when they have ended."
    ) from reason
