"""The whole Dagster job for two months, on the services: what it loads, builds and records."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from tests.integration.lake import Lake
from tests.integration.stack import within
from tests.marks import takes_minutes
from tests.unit.dagster_project import Project

from lakehouse.datasets.months import Month
from lakehouse.history.history import history
from lakehouse.report import make_report
from lakehouse.synthetic.generate import write_month, write_zones

ROWS = {"2023-01": 2000, "2023-02": 1500}


@pytest.mark.slow
def test_the_full_job_for_two_months(lake: Lake, tmp_path: Path) -> None:
    published = tmp_path / "published"
    published.mkdir()
    write_zones(published / "taxi_zone_lookup.csv")
    for month, rows in ROWS.items():
        write_month(published / f"green_tripdata_{month}.parquet", "green", Month.parse(month), rows)
    project = Project(tmp_path / "dagster", lake.stack.environment | {"TLC_SOURCE": str(published)})

    output = project.python("-m", "lakehouse", "run", "2023-01", "2023-02")

    loads = history(lake.engine, "raw.green_trips")
    report = make_report(lake.settings, engine=lake.engine)
    assert [(s.file_month, s.total_rows) for s in loads] == [("2023-01", 2000), ("2023-02", 3500)]
    assert lake.value("select sum(trips) from gold.fct_monthly_quality") == 3500
    assert output.count("Running dbt command") == 1
    assert "raw/yellow_trips 2023-01 is skipped" in output
    assert lake.settings.s3_secret_key.get_secret_value() not in output
    assert [(row.part, row.rows) for row in report.facts.loaded] == [("2023-01", 2000), ("2023-02", 1500)]
    assert report.facts.engine == "trino"
    assert {t.table for t in report.facts.trees} >= {"raw.green_trips", "gold.fct_daily_trips"}
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster" / "dagster")) as instance:
        (run,) = instance.get_runs()
        materialized = instance.get_materialized_partitions(dg.AssetKey(["raw", "green_trips"]))
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert loads[0].run_id == run.run_id
    assert materialized == {"2023-01-01", "2023-02-01"}


@pytest.mark.slow
@takes_minutes  # without Dagster each time, in test_faults.py
def test_a_build_that_loses_trino_is_made_again_when_trino_is_back(lake: Lake, tmp_path: Path) -> None:
    lake.load("zones", None)
    lake.load("green", "2023-01", 2000)
    project = Project(tmp_path / "dagster", lake.stack.environment)
    container = lake.stack.container("trino")
    build = ("-m", "dagster", "job", "execute", "-m", "lakehouse.definitions", "-j", "dbt_only")

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(project.python, *build)
        try:
            within(120, lambda: run.done() or lake.catalog.table_exists("silver.stg_green_trips"))
            container.kill()
            within(30, lambda: run.done() or attempts_that_failed(project) == 1)
        finally:
            container.start()
            lake.stack.wait_until_ready()
        output = run.result()

    assert f"Trino at {lake.settings.trino_url} went away during the build" in output
    assert lake.value("select sum(trips) from gold.fct_monthly_quality") == 2000


def attempts_that_failed(project: Project) -> int:
    """How often a step of the one run was put off to another attempt."""
    with dg.DagsterInstance.from_config(project.environment["DAGSTER_HOME"]) as instance:
        (run,) = instance.get_runs()
        return len(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY))
