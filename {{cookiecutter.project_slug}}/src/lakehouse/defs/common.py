"""What assets of all systems say of themselves in the same way."""

from __future__ import annotations

from itertools import islice
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import Table

from lakehouse import landing
from lakehouse.datasets.model import OWNER, Dataset
from lakehouse.settings import load_settings

OWNERS = [OWNER]  # of what belongs to no dataset
PUBLISHED = dg.AssetKey(["published", "gold"])  # the asset that publishes
PREVIEW_ROWS, PREVIEW_COLUMNS, CELL_BYTES = 5, 12, 16
READ_BUFFER = 1 << 20


def store_kind() -> str:
    """The badge of where the target keeps files."""
    return landing.store_kind(load_settings())


def source_key(dataset: Dataset) -> dg.AssetKey:
    """The key of the asset that stands for the dataset's files as their publisher has them."""
    return dg.AssetKey(["source", dataset.landing_key])


def asset_keys(dataset: Dataset) -> tuple[dg.AssetKey, dg.AssetKey]:
    """The keys of the two assets of a dataset that a run makes: its landed files, and its raw table."""
    return dg.AssetKey(["landing", dataset.landing_key]), dg.AssetKey(dataset.table.split("."))


def table_metadata(table: Table) -> dict[str, Any]:
    """An Iceberg table after a write: its snapshot, size, schema and first rows."""
    snapshot = table.current_snapshot()
    summary = snapshot.summary if snapshot else None
    said: dict[str, str] = dict(summary.additional_properties) if summary else {}
    facts: dict[str, Any] = {
        "dagster/table_name": f"iceberg.{'.'.join(table.name())}",
        "dagster/column_schema": column_schema(table),
        "metadata_file": dg.MetadataValue.path(table.metadata_location),
        "preview": dg.MetadataValue.md(markdown_table(preview(table))),
    }
    if snapshot:
        facts["snapshot_id"] = str(snapshot.snapshot_id)  # longer than a number in a browser may be
    for name, key in (
        ("dagster/row_count", "total-records"),
        ("total_bytes", "total-files-size"),
        ("total_files", "total-data-files"),
    ):
        if key in said:
            facts[name] = int(said[key])
    return facts


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns for Dagster's own table view."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                field.name,
                str(field.field_type),
                description=field.doc,
                constraints=dg.TableColumnConstraints(nullable=not field.required),
            )
            for field in table.schema().fields
        ]
    )


def preview(table: Table, row_filter: str | BooleanExpression | None = None) -> pa.Table:
    """A few rows of one file of the table, or of the part that `row_filter` names.

    Not the scan's own `to_arrow`: with a limit, too, that reads as many files at once as there are threads, each whole.
    """
    scan = table.scan(AlwaysTrue() if row_filter is None else row_filter)
    for task in scan.plan_files():
        if task.delete_files or task.residual != AlwaysTrue():  # rows must be chosen: that one file is read whole
            wanted = ArrowScan(table.metadata, table.io, scan.projection(), scan.row_filter, limit=PREVIEW_ROWS)
            rows = wanted.to_table([task])
        else:
            rows = _first_rows(table, task.file.file_path)
        if rows.num_rows:
            return rows
    return scan.projection().as_arrow().empty_table()


def _first_rows(table: Table, path: str) -> pa.Table:
    """A data file's first rows under the table's own names: a file keeps the names of its day, and the fields' ids."""
    source: Any = table.io.new_input(path)  # PyIceberg's type of a stream is none that pyarrow's stubs take
    with source.open() as stream:
        file = pq.ParquetFile(stream, buffer_size=READ_BUFFER, pre_buffer=False)
        rows = pa.Table.from_batches([*islice(file.iter_batches(PREVIEW_ROWS), 1)], file.schema_arrow)
    held = {(field.metadata or {}).get(b"PARQUET:field_id"): field.name for field in rows.schema}
    found = {field.name: held.get(str(field.field_id).encode()) for field in table.schema().fields}
    return pa.table({name: rows[own] if own else pa.nulls(len(rows)) for name, own in found.items()})


def markdown_table(rows: pa.Table) -> str:
    """Rows as a markdown table; the first columns of a wide one."""
    shown = rows.select(rows.column_names[:PREVIEW_COLUMNS])
    if not shown.num_rows:
        return "No rows."
    lines = [shown.column_names, ["---"] * shown.num_columns]
    lines += [[_cell(value) for value in row.values()] for row in shown.to_pylist()]
    hidden = rows.num_columns - shown.num_columns
    note = f"\n\n… and {hidden} more columns." if hidden else ""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + note


def _cell(value: object) -> str:
    text = "" if value is None else value[:CELL_BYTES].hex() if isinstance(value, bytes) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
