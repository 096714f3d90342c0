"""The namespaces and raw tables as an asset."""

# No postponed annotations here: Dagster reads them while it decorates.

import dagster as dg

from lakehouse.defs.common import OWNERS, store_kind
from lakehouse.defs.failures import failures
from lakehouse.defs.partitions import ONE_RUN
from lakehouse.defs.resources import IcebergCatalog
from lakehouse.iceberg.catalog import service_errors
from lakehouse.iceberg.tables import ensure_raw_tables


@dg.asset(
    group_name="bronze",
    description="Namespaces and raw tables, made where they are missing; columns that a declaration gained are added.",
    kinds={"iceberg", "python", store_kind()},
    backfill_policy=ONE_RUN,
    owners=OWNERS,
    code_version="1",
)
def iceberg_schemas(context: dg.AssetExecutionContext, catalog: IcebergCatalog) -> dg.MaterializeResult[None]:
    """Make what is missing."""
    with failures(context):
        iceberg = catalog.open()
        with service_errors(iceberg):
            done = ensure_raw_tables(iceberg)
            spaces = iceberg.list_namespaces()
            tables = sorted(".".join(name) for space in spaces for name in iceberg.list_tables(space))
    for change in done:
        context.log.info(f"made {change}")
    listing = "\n".join(f"- `{table}`" for table in tables)
    return dg.MaterializeResult(metadata={"changes": done, "tables": dg.MetadataValue.md(listing)})
