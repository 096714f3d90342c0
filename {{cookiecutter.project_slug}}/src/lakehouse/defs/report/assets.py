"""The report as an asset: two pages to look at, markdown in Dagster, JSON for programs."""

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
from lakehouse.report import make_report, reports_dir
from lakehouse.report.picture import growth_png

_READ = [
    *(dg.AssetKey(dataset.table.split(".")) for dataset in (*monthly(), *daily())),
    *sorted(key for key in models.dbt_models.keys if key.path[0] == "gold"),
]


@dg.asset(
    group_name="reports",
    deps=_READ,
    description=(
        "Two pages. One is about snapshots: growth by load, provenance, a mart before and after a load, the metadata "
        "tree. The other is a dashboard of the marts: trips, revenue, routes, quality."
    ),
    kinds={"html", "markdown", "iceberg"},
    backfill_policy=ONE_RUN,
    automation_condition=after_inputs(),
    owners=OWNERS,
    code_version="2",
)
def iceberg_snapshot_report(
    context: dg.AssetExecutionContext, catalog: IcebergCatalog, trino: Trino
) -> dg.MaterializeResult[None]:
    """Write the pages; show the report as markdown, as a plot and as JSON."""
    with failures(context), trino.engine() as engine:
        report = make_report(trino.settings(), engine=engine, catalog=catalog.open())
        page, dashboard = report.write(reports_dir())
    context.log.info(f"wrote {page} and {dashboard}")
    facts = report.facts
    plot = base64.b64encode(growth_png(facts)).decode()
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.path(page),
            "dashboard": dg.MetadataValue.path(dashboard),
            "report": dg.MetadataValue.md(report.markdown),
            "growth": dg.MetadataValue.md(f"![Rows by snapshot](data:image/png;base64,{plot})"),
            "json": dg.MetadataValue.json(report.json),
            "months": len(facts.loaded),
            "rows": sum(row.rows for row in facts.loaded),
            "snapshots": sum(len(table.snapshots) for table in facts.tables),
        }
    )
