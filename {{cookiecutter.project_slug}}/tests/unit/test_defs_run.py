"""A full run of Dagster over several months: what it loads, skips, builds once, records and checks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from tests.lake import Lake
from tests.marks import takes_minutes
from tests.unit.dagster_project import Project

from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_month
from lakehouse.transform import prepared

ROWS = {"2023-01": 3000, "2023-02": 2500}
JANUARY, FEBRUARY = "2023-01-01", "2023-02-01"
ZONES = "LocationID,Borough,Zone,service_zone\r\n"


@dataclass
class Run:
    """The run, and where its results are."""

    output: str
    instance: dg.DagsterInstance
    lake: Lake
    project: Project

    def materializations(self, key: str) -> dict[str | None, dg.AssetMaterialization]:
        """The newest materialization of each partition of an asset (None where it has none)."""
        records = self.instance.fetch_materializations(dg.AssetKey(key.split("/")), limit=50).records
        found = {r.partition_key: r.asset_materialization for r in reversed(records)}
        return {partition: event for partition, event in found.items() if event is not None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Green is published for two months of three, yellow for none; the pipeline is asked for all three at once."""
    folder = tmp_path_factory.mktemp("run")
    published = folder / "published"
    published.mkdir()
    for month, rows in ROWS.items():
        write_month(published / f"green_tripdata_{month}.parquet", "green", Month.parse(month), rows)
    lines = "".join(f'{i},"Borough","Zone {i}","Service"\r\n' for i in range(1, 266))
    (published / "taxi_zone_lookup.csv").write_text(ZONES + lines, encoding="utf-8", newline="")
    project = Project(folder, {"TLC_SOURCE": str(published)})

    output = project.python("-m", "lakehouse", "run", "2023-01..2023-03")

    with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
        settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=folder / "home")
        yield Run(output, instance, Lake(settings, folder / "scratch"), project)
    shutil.rmtree(folder)


@pytest.mark.slow
def test_months_of_one_run_are_one_snapshot_each_and_one_build(run: Run) -> None:
    """One snapshot a month, also of a range."""
    history = run.lake.history("raw.green_trips")
    marts = {table: len(run.lake.history(table)) for table in run.lake.engine.tables() if table.startswith("gold.")}

    assert len(run.instance.get_runs()) == 1
    assert [(s.file_month, s.total_rows) for s in history] == [("2023-01", 3000), ("2023-02", 5500)]
    assert history[0].run_id == run.instance.get_runs()[0].run_id
    assert marts
    assert set(marts.values()) == {1}
    assert run.output.count("Running dbt command") == 1
    assert run.lake.rows("select cast(sum(trips) as bigint) as n from gold.fct_monthly_quality") == [{"n": 5500}]


@pytest.mark.slow
def test_a_month_that_was_never_published_is_skipped_and_dbt_runs(run: Run) -> None:
    for asset in ("landing/green_trips", "raw/green_trips"):
        assert run.materializations(asset).keys() == {JANUARY, FEBRUARY}
        assert f"{asset} 2023-03 is skipped" in run.output
    for asset in ("landing/yellow_trips", "raw/yellow_trips"):
        assert not run.materializations(asset)
        assert f"{asset} 2023-01 is skipped" in run.output
    assert run.materializations("gold/fct_daily_trips")


@pytest.mark.slow
def test_materializations_tell_what_is_worth_knowing(run: Run) -> None:
    raw = run.materializations("raw/green_trips")
    mart = run.materializations("gold/fct_daily_trips")[None].metadata
    report = run.materializations("iceberg_snapshot_report")[None].metadata
    history = run.lake.history("raw.green_trips")

    for month, snapshot in zip((JANUARY, FEBRUARY), history, strict=True):
        said: dict[str, Any] = {name: value.value for name, value in raw[month].metadata.items()}
        assert said["dagster/partition_row_count"] == ROWS[month[:7]]
        assert said["snapshot_id"] == str(snapshot.snapshot_id)
        assert said["source_sha256"] == snapshot.source_sha256
        assert month in said["preview"]
    assert mart["dagster/row_count"].value == run.lake.history("gold.fct_daily_trips")[-1].total_rows
    assert {"snapshot_id", "dagster/column_schema", "preview"} <= mart.keys()
    assert mart["result"].value == f"{mart['dagster/row_count'].value:,} rows"
    assert report["rows"].value == 5500
    for page in ("page", "dashboard"):
        assert Path(str(report[page].value)).read_text(encoding="utf-8").startswith("<!doctype")


@pytest.mark.slow
def test_checks_of_the_load_and_tests_of_dbt_are_asset_checks_and_pass(run: Run) -> None:
    logs = run.instance.all_logs(run.instance.get_runs()[0].run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    evaluations = [entry.get_dagster_event().asset_check_evaluation_data for entry in logs]
    passed = {(e.asset_key.to_user_string(), e.check_name): e.passed for e in evaluations}

    for check in ("rows_match_file", "keys_are_unique", "columns_are_declared", "few_strays", "few_nulls"):
        assert passed["raw/green_trips", check]
    assert passed["gold/fct_monthly_quality", "quality_counts_every_raw_row"]
    assert "instead of an `AssetCheckResult`" not in run.output
    assert all(passed.values())
    assert not [check for table, check in passed if table == "raw/yellow_trips" and not check.startswith("source_")]


@pytest.mark.slow
@takes_minutes
def test_tests_look_at_months_that_changed_and_on_sundays_at_all(run: Run) -> None:
    def looked_at(job: str) -> str:
        before = {*runs.iterdir()}
        run.project.python("-m", "dagster", "job", "execute", "-m", "lakehouse.definitions", "-j", job)
        [new] = {*runs.iterdir()} - before
        [sql] = (new / "compiled").rglob("unique_together_stg_green_trips_*.sql")
        return sql.read_text("utf-8")

    runs = run.lake.settings.home / "dbt" / "runs"
    assert "where false" in looked_at("dbt_only")
    assert "where true" in looked_at("test_all")


def _check(entry: dg.EventLogEntry) -> tuple[str, str]:
    """The table and the name of a check that is planned, or that was evaluated."""
    data: Any = entry.get_dagster_event().event_specific_data
    return data.asset_key.to_user_string(), data.check_name


@pytest.mark.slow
def test_each_check_of_a_part_of_the_graph_has_its_result(run: Run) -> None:
    """As automation asks for it: without the seeds that tests of the model read."""
    kinds = (dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    select = ["--select", 'key:"silver/stg_green_trips"+']

    run.project.python("-m", "dagster", "asset", "materialize", "-m", "lakehouse.definitions", *select)

    newest = run.instance.get_runs()[0].run_id
    planned, done = ({*map(_check, run.instance.all_logs(newest, of_type=kind))} for kind in kinds)
    relationships = [check for table, check in planned if table == "silver/stg_green_trips" and "_ref_" in check]
    assert len(relationships) >= 4
    assert planned == done


@pytest.mark.slow
def test_a_test_of_dbt_that_fails_is_named_by_the_step(tmp_path: Path) -> None:
    published = tmp_path / "published"
    published.mkdir()
    write_month(published / "green_tripdata_2023-01.parquet", "green", Month.parse("2023-01"), 50)
    project = Project(tmp_path, {"TLC_SOURCE": str(published)})
    test = project.root / "dbt" / "tests" / "raw_is_empty.sql"
    test.write_text("select file_row from {{ source('raw', 'green_trips') }}", encoding="utf-8")
    both = ["--partition", JANUARY, "--select", "key:landing/green_trips or key:raw/green_trips"]

    project.python("-m", "dagster", "asset", "materialize", "-m", "lakehouse.definitions", *both, code=1)

    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        [run] = instance.get_runs()
        failures = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        said = [str(entry.get_dagster_event().step_failure_data.user_failure_data) for entry in failures]
    assert len(said) == 1
    assert "dbt: 1 of its models, seeds and tests failed.\nraw_is_empty: Got 50 results" in said[0].replace("\\n", "\n")


@pytest.mark.slow
def test_a_raw_table_loaded_alone_is_tested_by_dbt_too(
    tmp_path: Path,
) -> None:
    published = tmp_path / "published"
    published.mkdir()
    write_month(published / "green_tripdata_2023-01.parquet", "green", Month.parse("2023-01"), 500)
    project = Project(tmp_path, {"TLC_SOURCE": str(published)})
    settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "home")
    alone = ["asset", "materialize", "-m", "lakehouse.definitions", "--partition", JANUARY, "--select"]

    project.python("-m", "dagster", *alone, "key:landing/green_trips")
    with prepared(settings):  # a build that is running
        project.python("-m", "dagster", *alone, "key:raw/green_trips")

    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        (newest, _) = instance.get_runs()
        logs = instance.all_logs(newest.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        checks = [entry.get_dagster_event().asset_check_evaluation_data for entry in logs]
    assert newest.status == dg.DagsterRunStatus.SUCCESS
    assert {check.check_name: check.passed for check in checks}["source_not_null_raw_green_trips_file_row"]
    tables = sorted(dataset.table for dataset in DATASETS.values())
    assert Lake(settings, tmp_path / "scratch").engine.tables() == tables
