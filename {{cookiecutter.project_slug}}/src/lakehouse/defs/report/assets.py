"""The report as an asset: a page to look at, markdown in Dagster, JSON for programs."""

# No postponed annotations here: Dagster reads them while it decorates.

import base64

import dagster as dg

from lakehouse.datasets.registry import daily, monthly
from lakehouse.defs.automation.conditions import after_inputs
from lakehouse.defs.common import OWNERS
from lakehouse.defs.dbt import assets as models
from lakehouse.defs.failures import failures
from lakehouse.defs.partitions import ONE_RUN
from lakehouse.defs.resources import IcebergCatalog, Trino
from lakehouse.report import make_report, report_file
from lakehouse.report.picture import growth_png

_READ = [
    *(dg.AssetKey(dataset.table.split(".")) for dataset in (*monthly(), *daily())),
    *sorted(key for key in models.dbt_models.keys if key.path[0] == "gold"),
]


@dg.asset(
    group_name="reports",
    deps=_READ,
    description="Rows by snapshot, growth by load, provenance, a mart before and after a load, the metadata tree.",
    kinds={"html", "markdown", "iceberg"},
    backfill_policy=ONE_RUN,
    automation_condition=after_inputs(),
    owners=OWNERS,
    code_version="1",
)
def iceberg_snapshot_report(
    context: dg.AssetExecutionContext, catalog: IcebergCatalog, trino: Trino
) -> dg.MaterializeResult[None]:
    """Write the page; show the report as markdown, as a plot and as JSON."""
    with failures(context), trino.engine() as engine:
        report = make_report(trino.settings(), engine=engine, catalog=catalog.open())
        path = report.write(report_file())
    context.log.info(f"wrote {path}")
    facts = report.facts
    plot = base64.b64encode(growth_png(facts)).decode()
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.path(path),
            "report": dg.MetadataValue.md(report.markdown),
            "growth": dg.MetadataValue.md(f"![Rows by snapshot](data:image/png;base64,{plot})"),
            "json": dg.MetadataValue.json(report.json),
            "months": len(facts.loaded),
            "rows": sum(row.rows for row in facts.loaded),
            "snapshots": sum(len(table.snapshots) for table in facts.tables),
        }
    )
