"""Datasets of one's own in Dagster: jobs, owners and groups; a schedule of days, a weekly asset, days and regions."""

from __future__ import annotations

from typing import Any

import pytest
from tests.pages import declaration_of, own_definitions
from tests.unit.dagster_project import PROJECT, Project

DAYS = ("2024-01-05", "2024-01-07", "2024-01-08")
RUN = """
import json
import os
from datetime import datetime
from pathlib import Path
import dagster as dg
import lakehouse
from lakehouse.definitions import defs

found = defs()
repository = found.get_repository_def()
jobs = {job.name: sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
        for job in repository.get_all_jobs() if not job.name.startswith("__")}
moment = dg.build_schedule_context(scheduled_execution_time=datetime(2024, 1, 9, 6))
asked = repository.get_schedule_def("newest_days").evaluate_tick(moment).run_requests[0].tags

def pair(day, region):
    return dg.MultiPartitionKey({"day": day, "region": region})

def make(name, key):
    job = repository.get_job("__ASSET_JOB")
    asset = dg.AssetKey(["features", name])
    assert job.execute_in_process(instance=instance, partition_key=key, asset_selection=[asset]).success

def rows(table):
    return sorted([str(value) for value in row.values()] for row in lakehouse.read(table).to_pylist())

with dg.DagsterInstance.get() as instance:
    span = {"dagster/asset_partition_range_start": "2024-01-05", "dagster/asset_partition_range_end": "2024-01-08"}
    done = found.resolve_job_def("bronze_days").execute_in_process(instance=instance, tags=span)
    made = [event for event in done.get_asset_materialization_events() if event.asset_key.path[0] == "raw"]
    checks = {event.check_name: event.passed for event in done.get_asset_check_evaluations()}
    make("sales_by_week", "2024-01-01")
    weeks = [rows("features.sales_by_week")]
    make("sales_by_week", "2024-01-08")
    weeks.append(rows("features.sales_by_week"))
    for day, region in (("2024-01-07", "north"), ("2024-01-07", "south"), ("2024-01-08", "south")):
        make("largest_sales", pair(day, region))
    pairs = [rows("features.largest_sales")]
    again = "Sold at;Region;Amount\\n2024-01-07 10:00;north;8,5\\n2024-01-07 10:01;south;9,5\\n"
    Path(os.environ["TLC_SOURCE"], "sales_20240107.csv").write_text(again, encoding="utf-8")
    found.resolve_job_def("bronze_days").execute_in_process(
        instance=instance, partition_key="2024-01-07",
        run_config={"ops": {"landing__sales": {"config": {"refresh": True}}}})
    make("largest_sales", pair("2024-01-07", "south"))
    pairs.append(rows("features.largest_sales"))
graph = repository.asset_graph
nodes = map(graph.get, graph.get_all_asset_keys())
shown = {node.key.to_user_string(): [node.group_name, *node.owners] for node in nodes}
print(json.dumps({"jobs": jobs, "shown": shown, "asked": asked, "loaded": sorted(event.partition for event in made),
                  "checks": checks, "weeks": weeks, "pairs": pairs}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project with daily sales, orders and the page's own assets, after a run over four days; one day is missing."""
    folder = tmp_path_factory.mktemp("days")
    source = folder / "source"
    source.mkdir()
    for n, day in enumerate(DAYS, start=1):
        rows = "".join(f"{day} 10:0{i};{'south' if i else 'north'};{n},5\n" for i in range(n))
        (source / f"sales_{day.replace('-', '')}.csv").write_text(f"Sold at;Region;Amount\n{rows}", encoding="utf-8")
    project = Project(folder, {"TLC_SOURCE": str(source), "LAKEHOUSE_FIRST_MONTH": "2024-01"})
    page = (PROJECT / "docs" / "your-own-dataset.md").read_text(encoding="utf-8")
    ours = '    table="raw.orders",\n    owner="ann@example.com",\n    group="gold",\n'
    declarations = {
        "sales.py": declaration_of("SALES", page),
        "orders.py": declaration_of("ORDERS", page).replace('    table="raw.orders",\n', ours),
    }
    for name, declaration in declarations.items():
        (project.root / "src" / "lakehouse" / "datasets" / name).write_text(declaration, encoding="utf-8")
    own_definitions(project)
    return project.ask(RUN, warnings="default")


def test_a_dataset_is_in_the_jobs_of_its_parts_by_being_declared(found: Any) -> None:
    sales, orders = {"landing/sales", "raw/sales"}, {"landing/orders", "raw/orders"}

    assert {name for name, assets in found["jobs"].items() if sales & set(assets)} == {"bronze_days"}
    assert {name for name, assets in found["jobs"].items() if orders & set(assets)} == {
        "bronze_only",
        "bronze_whole",
        "lakehouse_full_pipeline",
    }
    assert sales <= set(found["jobs"]["bronze_days"])
    assert orders <= set(found["jobs"]["bronze_whole"])
    assert {"landing/green_trips", "raw/green_trips"} <= set(found["jobs"]["bronze_months"])


def test_assets_have_the_owner_and_the_group_of_their_dataset(found: Any) -> None:
    assert found["shown"]["landing/orders"] == found["shown"]["raw/orders"] == ["gold", "ann@example.com"]
    assert found["shown"]["landing/sales"] == ["landing", "team:lakehouse"]
    assert found["shown"]["raw/sales"] == ["bronze", "team:lakehouse"]
    assert found["shown"]["gold/dim_zones"] == ["gold", "team:lakehouse"]


def test_a_range_of_days_is_one_run_and_a_missing_day_is_skipped(found: Any) -> None:
    assert found["loaded"] == list(DAYS)
    assert set(found["checks"].values()) == {True}
    assert "rows_match_file" in found["checks"]


def test_the_schedule_asks_for_the_newest_days(found: Any) -> None:
    assert found["asked"]["dagster/asset_partition_range_start"] == "2024-01-06"
    assert found["asked"]["dagster/asset_partition_range_end"] == "2024-01-08"


def test_a_week_sums_exactly_its_days(found: Any) -> None:
    first = [["2024-01-01", "north", "4.0"], ["2024-01-01", "south", "2.5"]]

    assert found["weeks"] == [first, [*first, ["2024-01-08", "north", "3.5"], ["2024-01-08", "south", "7.0"]]]


def test_a_pair_of_day_and_region_replaces_only_itself(found: Any) -> None:
    north, others = ["2024-01-07", "north", "2.5"], [["2024-01-08", "south", "3.5"]] * 2

    assert found["pairs"] == [[north, ["2024-01-07", "south", amount], *others] for amount in ("2.5", "9.5")]
