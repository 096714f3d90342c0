"""Where an extract by a cursor begins. The table says it, so nothing is missed after a failure or a roll back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyarrow import compute
from pyiceberg.catalog import Catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.types import PrimitiveType

from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.sources import CursorValue, Since
from lakehouse.errors import RefusedError
from lakehouse.iceberg.catalog import service_errors
from lakehouse.iceberg.files import live_files
from lakehouse.iceberg.rows import batches_of
from lakehouse.landing import Landed
from lakehouse.loading.convert import arrow_type

# its stubs know no plain Python values
pc: Any = compute

# What lies further ahead than this is wrong: local times are ahead of UTC by 14 hours at most.
AHEAD_OF_UTC, CLOCKS_DIFFER = timedelta(hours=14), timedelta(minutes=5)


def has_cursor(dataset: Dataset) -> bool:
    """Whether its rows are extracted from where the table ends."""
    return dataset.source is not None and dataset.source.cursor != ""


def since(catalog: Catalog, dataset: Dataset) -> Since | None:
    """Where the next extract begins; None if it has all rows: without a cursor, or because the table has none.

    Raises:
        ServiceError: the catalog or store does not answer.
    """
    if not dataset.source or not has_cursor(dataset):
        return None
    with service_errors(catalog):
        try:
            table = catalog.load_table(dataset.table)
        except (NoSuchTableError, NoSuchNamespaceError):
            return None
        begin = _begin(table, dataset)
    return None if begin is None else Since(dataset.source.cursor, str(begin))


def check_no_gap(landed: Landed, dataset: Dataset, table: Table) -> None:
    """Refuse rows that begin where the table does not reach: rows between the two would never come.

    That happens after a roll back, or if the cursor was taken out of the declaration since the extract.

    Raises:
        RefusedError: names the file, and where it begins.
    """
    if landed.since is None:
        return
    if dataset.source and dataset.source.cursor == landed.since.column:
        begin: Any = _begin(table, dataset)
        if begin is not None and landed.since.read(_cursor(dataset).kind) <= begin:
            return
    raise RefusedError(
        f"{landed.file.name} has only the rows with {landed.since} on, and {dataset.table} does not have all rows "
        f"before them. Nothing of {dataset.name} was loaded. Run `lakehouse load {dataset.name} --refresh`, which "
        "extracts the rows that are missing."
    )


def _cursor(dataset: Dataset) -> Column:
    return next(column for column in dataset.columns if dataset.source and column.name == dataset.source.cursor)


def _begin(table: Table, dataset: Dataset) -> CursorValue | None:
    """The position of a table, less the overlap."""
    assert dataset.source  # noqa: S101 - for the type checker
    position = _position(table, _cursor(dataset))
    return None if position is None else dataset.source.begin(position)


def _position(table: Table, column: Column) -> CursorValue | None:
    """The greatest value in the table's current state; None if it has no value.

    Times in the future don't count: one wrong year would end all extracts. From the metrics of the data files; a file
    without them, or with a time in the future, is read, one column of it, batch by batch.
    """
    schema = schema_to_pyarrow(table.schema())
    if column.name not in schema.names or schema.field(column.name).type != arrow_type(column):
        return None  # declared since the last load; of another type, which the load refuses
    limit = _limit(column)
    found: list[Any] = []
    for file in live_files(table, AlwaysTrue()):
        greatest = _upper_bound(table, file, column.name, schema.field(column.name).type)
        if greatest is None or (limit is not None and greatest > limit):
            greatest = _greatest(table, file, column.name, limit)
        if greatest is not None:
            found.append(greatest)
    return max(found, default=None)


def _limit(column: Column) -> Any:
    """The greatest value that counts."""
    now = datetime.now(UTC)
    local = (now + AHEAD_OF_UTC).replace(tzinfo=None)
    return {"timestamptz": now + CLOCKS_DIFFER, "timestamp": local, "date": local.date()}.get(column.type)


def _upper_bound(table: Table, file: DataFile, name: str, kind: pa.DataType) -> Any:
    """The greatest value by the file's metrics, which are exact but for text; None if they don't say it."""
    field = table.schema().find_field(name)
    bound = (file.upper_bounds or {}).get(field.field_id)
    if bound is None or not isinstance(field.field_type, PrimitiveType):
        return None
    value = from_bytes(field.field_type, bound)
    if pa.types.is_date(kind):
        return pa.scalar(value, pa.int32()).cast(kind).as_py()
    return pa.scalar(value, pa.int64()).cast(kind).as_py() if pa.types.is_timestamp(kind) else value


def _greatest(table: Table, file: DataFile, name: str, limit: Any) -> Any:
    greatest = None
    for (values,) in batches_of(table, file, [name]):
        counted = values if limit is None else values.filter(pc.less_equal(values, pa.scalar(limit, values.type)))
        value = pc.max(counted).as_py()
        if value is not None and (greatest is None or value > greatest):
            greatest = value
    return greatest
