"""The IO manager `iceberg`: what an asset returns is written to its table, and what an asset takes is read from one."""

# No postponed annotations here: Dagster reads them while it decorates.

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from functools import partial
from typing import Any

import dagster as dg
import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysFalse, BooleanExpression
from pyiceberg.table import Table

from lakehouse.defs.common import markdown_table, preview, table_metadata
from lakehouse.defs.failures import Attempt, failures
from lakehouse.defs.resources import IcebergCatalog, resources
from lakehouse.errors import RefusedError
from lakehouse.frames.partitions import Cell, Value, partition_columns, rows_of
from lakehouse.frames.reading import Selection
from lakehouse.frames.writing import Written, write_partitions
from lakehouse.iceberg.catalog import service_errors
from lakehouse.iceberg.refs import load_table
from lakehouse.settings import Settings, load_settings

EXPRESSION = "partition_expr"  # Dagster's word for the column that an asset is partitioned by
COLUMNS = {"MONTHLY": "month", "WEEKLY": "week", "DAILY": "day", "HOURLY": "hour"}
DATES = ("MONTHLY", "WEEKLY", "DAILY")


class IcebergIOManager(dg.ConfigurableIOManager):
    """An asset's table is its key: `["features", "hourly"]` is `features.hourly`. A run writes one snapshot of it.

    An asset with partitions replaces those of the run, and no others. An input reads the partitions that its partition
    mapping selects. The input's annotation says what it is: a pyarrow Table (also without annotation) or
    RecordBatchReader, a pandas DataFrame, a Polars DataFrame or LazyFrame. The input's metadata may have `columns`,
    `where` and `as_of`, as `lakehouse.read` takes them.
    """

    catalog: IcebergCatalog

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write what the asset returned, in one commit, and record rows, snapshot, columns and first rows."""
        with failures(_attempt(context), looks_first=False):
            if not context.has_asset_key:
                raise RefusedError(
                    f"Only assets are written to tables, and {context.op_def.name!r}, whose output {context.name!r} "
                    "came here, is an op. Nothing was written. If the output is to be a table, write `@dg.asset` "
                    "instead of `@dg.op`; if not, give the op's output another `io_manager_key`."
                )
            if obj is None:
                raise RefusedError(
                    f"The asset {context.asset_key.to_user_string()} returned None, which is no table. Nothing was "
                    "written. Annotate it with `-> None` if it writes by itself."
                )
            name, catalog = table_of(context.asset_key), self.catalog.open()
            cells: list[Cell] | None = None
            if context.has_asset_partitions:
                keys, expression = context.asset_partition_keys, context.definition_metadata.get(EXPRESSION)
                cells = cells_of(context.asset_partitions_def, keys, expression, missing=_no_column(context, "written"))
            summary = {"run-id": context.run_id, "asset-key": context.asset_key.to_user_string()}
            if version := context.asset_spec.code_version:
                summary["code-version"] = version
            written = write_partitions(catalog, name, obj, lambda _: cells, summary)
            context.log.info(f"{name}: {written.rows:,} rows in snapshot {written.snapshot_id}")
            found = output_metadata(catalog, written, cells)
            known = context.output_metadata.keys()  # what the asset itself said stays
            context.add_output_metadata({key: value for key, value in found.items() if key not in known})

    def load_input(self, context: dg.InputContext) -> Any:
        """Read what the input asks for."""
        with failures(_attempt(context)):
            name, catalog = table_of(context.asset_key), self.catalog.open()
            asked = context.definition_metadata
            selection = Selection(
                catalog,
                name,
                columns=asked.get("columns"),
                where=asked.get("where"),
                as_of=asked.get("as_of"),
                partition=_partitions_of(context, catalog, name),
            )
            return _as_kind(selection, context.dagster_type.typing_type, partial(_wrong_annotation, context, name))


def _attempt(context: dg.OutputContext | dg.InputContext) -> Attempt:
    """Which attempt of the step this is; the first where a value is loaded outside of a run."""
    try:
        return Attempt(context.log, context.step_context.previous_attempt_count)
    except dg.DagsterInvariantViolationError:
        return Attempt(context.log, 0)


def table_of(key: dg.AssetKey) -> str:
    """The table of an asset.

    Raises:
        RefusedError: the key has not two parts.
    """
    if len(key.path) != 2:
        raise RefusedError(
            f"The asset {key.to_user_string()} can't be a table: its key needs two parts, schema and name. Nothing was "
            'read or written. Write it as key=["features", "hourly"].'
        )
    return ".".join(key.path)


def cells_of(
    definition: dg.PartitionsDefinition[Any], keys: Sequence[str], expression: Any, *, missing: str
) -> list[Cell]:
    """Partition keys as values of columns.

    Args:
        definition: what the keys are of. Months, weeks and days are dates: their first day. Other windows of time are
            the time of their beginning, in UTC. All other keys are texts.
        keys: of the partitions.
        expression: the column; for an asset with two dimensions, the column of each dimension. Without it, months are
            called `month`, and so on; dimensions have their own names.
        missing: the message where nothing says what the column is called.

    Raises:
        RefusedError: nothing says what the column is called.
    """
    if isinstance(definition, dg.MultiPartitionsDefinition):
        if expression and not isinstance(expression, Mapping):
            names = ", ".join(f'"{one.name}": "column"' for one in definition.partitions_defs)
            raise RefusedError(
                f"{EXPRESSION} is {expression!r}, but the asset's partitions have {len(definition.partitions_defs)} "
                f"dimensions. Nothing was read or written. Name the column of each: {{{names}}}."
            )
        named: Mapping[str, str] = expression or {}
        parts = {one.name: one.partitions_def for one in definition.partitions_defs}
        cells = []
        for key in keys:
            multi = key if isinstance(key, dg.MultiPartitionKey) else definition.get_partition_key_from_str(key)
            values = multi.keys_by_dimension.items()
            cells.append({named.get(name, name): _value(parts[name], value) for name, value in values})
        return cells
    column = expression or COLUMNS.get(_schedule(definition))
    if not isinstance(column, str):
        raise RefusedError(missing)
    return [{column: _value(definition, key)} for key in keys]


def _no_column(context: dg.OutputContext | dg.InputContext, done: str) -> str:
    """The message where nothing says which column has an asset's partition keys. `done`: read or written."""
    return (
        f"The asset {context.asset_key.to_user_string()} has partitions, but nothing says which column has their keys. "
        f'Nothing was {done}. Give it metadata={{"{EXPRESSION}": "region"}}, with your column\'s name.'
    )


def _schedule(definition: dg.PartitionsDefinition[Any]) -> str:
    kind = definition.schedule_type if isinstance(definition, dg.TimeWindowPartitionsDefinition) else None
    return kind.name if kind else ""


def _value(definition: dg.PartitionsDefinition[Any], key: str) -> Value:
    if not isinstance(definition, dg.TimeWindowPartitionsDefinition):
        return str(key)
    start = definition.time_window_for_partition_key(key).start
    return start.date() if _schedule(definition) in DATES else start.astimezone(UTC).replace(tzinfo=None)


def _partitions_of(context: dg.InputContext, catalog: Catalog, name: str) -> BooleanExpression | None:
    """The rows of the partitions that the input's partition mapping selects; None for an asset without partitions."""
    if not context.has_asset_partitions:
        return None
    said = context.upstream_output.definition_metadata if context.upstream_output else {}
    expression = said.get(EXPRESSION)
    if expression is None and not isinstance(context.asset_partitions_def, dg.MultiPartitionsDefinition):
        with service_errors(catalog):
            own = partition_columns(load_table(catalog, name))
        expression = own[0] if len(own) == 1 else None
    keys, missing = context.asset_partition_keys, _no_column(context, "read")
    cells = cells_of(context.asset_partitions_def, keys, expression, missing=missing)
    return rows_of(cells) if cells else AlwaysFalse()


def _as_kind(selection: Selection, kind: Any, wrong: Callable[[Any], RefusedError]) -> Any:
    """What was read, as the input's annotation wants it; an annotation that no table can be is `wrong`."""
    if kind in (Any, pa.Table):
        return selection.table()
    if kind is pa.RecordBatchReader:
        return selection.batches()
    # by name: neither needs to be installed
    match f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}" if isinstance(kind, type) else "":
        case "pandas.DataFrame":
            return selection.table().to_pandas()
        case "polars.DataFrame":
            return kind(selection.table())
        case "polars.LazyFrame":
            return selection.lazy()
    raise wrong(kind)


def _wrong_annotation(context: dg.InputContext, name: str, kind: Any) -> RefusedError:
    """The error of an asset that takes a table as something that no table can be."""
    try:
        assets = sorted(key.to_user_string() for key in context.step_context.get_output_asset_keys())
    except dg.DagsterInvariantViolationError:
        assets = []  # a value is loaded outside of a run
    who = f"The asset {', '.join(assets)}" if assets else "This call"
    annotation = f"the argument {context.name!r}" if context.has_input_name else "it"
    return RefusedError(
        f"{who} takes {name} as {kind}, which can't be made of a table. Nothing was read. Annotate {annotation} as "
        "pyarrow.Table, pyarrow.RecordBatchReader, pandas.DataFrame, polars.DataFrame or polars.LazyFrame, or leave "
        "the annotation out."
    )


def output_metadata(catalog: Catalog, written: Written, cells: Sequence[Cell] | None) -> dict[str, Any]:
    """What Dagster's page shows of a write."""
    with service_errors(catalog):
        table: Table = catalog.load_table(written.table)
        found = table_metadata(table)
        if cells:
            rows = preview(table, rows_of(cells))
            found |= {
                "preview": dg.MetadataValue.md(markdown_table(rows)),
                "partitions": dg.MetadataValue.json(list(written.partitions)),
            }
            if len(cells) == 1:
                found["dagster/partition_row_count"] = written.rows
    return found | {"table": written.table, "rows": written.rows, "snapshot_id": str(written.snapshot_id)}


def iceberg_io_manager(settings: Settings) -> IcebergIOManager:
    """The IO manager of the target."""
    return IcebergIOManager(catalog=resources(settings)["catalog"])


@dg.definitions
def defs() -> dg.Definitions:
    """The IO manager, for assets with `io_manager_key="iceberg"`."""
    return dg.Definitions(resources={"iceberg": iceberg_io_manager(load_settings())})
