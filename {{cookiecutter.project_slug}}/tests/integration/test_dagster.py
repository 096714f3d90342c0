"""The whole Dagster job for two months, on the services: what it loads, builds and records."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from tests.integration.lake import Lake
from tests.unit.dagster_project import Project

from lakehouse.iceberg.history import history
from lakehouse.report import make_report
from lakehouse.tlc.generate import write_month, write_zones
from lakehouse.tlc.months import Month

ROWS = {"2023-01": 2000, "2023-02": 1500}


@pytest.mark.slow
def test_the_full_job_for_two_months(lake: Lake, tmp_path: Path) -> None:
    published = tmp_path / "published"
    published.mkdir()
    write_zones(published / "taxi_zone_lookup.csv")
    for month, rows in ROWS.items():
        write_month(published / f"green_tripdata_{month}.parquet", "green", Month.parse(month), rows)
    project = Project(tmp_path / "dagster", lake.stack.environment | {"TLC_SOURCE": str(published)})

    output = project.python("-m", "lakehouse.defs.operations.launch", "2023-01", "2023-02")

    loads = history(lake.engine, "raw.green_trips")
    report = make_report(lake.settings, engine=lake.engine)
    assert [(s.file_month, s.total_rows) for s in loads] == [("2023-01", 2000), ("2023-02", 3500)]
    assert lake.value("select sum(trips) from gold.fct_monthly_quality") == 3500
    assert output.count("Running dbt command") == 1
    assert "raw/yellow_trips 2023-01 is skipped" in output
    assert lake.settings.s3_secret_key.get_secret_value() not in output
    assert [(m.month, m.rows) for m in report.facts.months] == [("2023-01", 2000), ("2023-02", 1500)]
    assert report.facts.engine == "trino"
    assert {t.table for t in report.facts.trees} >= {"raw.green_trips", "gold.fct_daily_trips"}
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster" / "dagster")) as instance:
        (run,) = instance.get_runs()
        materialized = instance.get_materialized_partitions(dg.AssetKey(["raw", "green_trips"]))
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert loads[0].run_id == run.run_id
    assert materialized == {"2023-01-01", "2023-02-01"}
