"""Datasets of one's own in Dagster: jobs, owners and groups; a schedule of days, a weekly asset, days and regions."""

from __future__ import annotations

from typing import Any

import pytest
from tests.pages import declaration_of, own_definitions
from tests.unit.dagster_project import PROJECT, Project

DAYS = ("2024-01-05", "2024-01-07", "2024-01-08")
RUN = """
import json
from datetime import datetime
import dagster as dg
from lakehouse.definitions import defs
from lakehouse.defs.partitions import DAYS

found = defs()
repository = found.get_repository_def()
jobs = {job.name: sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
        for job in repository.get_all_jobs() if not job.name.startswith("__")}
moment = dg.build_schedule_context(scheduled_execution_time=datetime(2024, 1, 9, 6))
asked = repository.get_schedule_def("newest_days").evaluate_tick(moment).run_requests[0].tags
own = {"sales_by_week": "2024-01-01", "sales_by_region": dg.MultiPartitionKey({"day": "2024-01-07", "region": "south"})}
needs, others = {}, {}
with dg.DagsterInstance.get() as instance:
    span = {"dagster/asset_partition_range_start": "2024-01-05", "dagster/asset_partition_range_end": "2024-01-08"}
    done = found.resolve_job_def("bronze_days").execute_in_process(instance=instance, tags=span)
    made = [event for event in done.get_asset_materialization_events() if event.asset_key.path[0] == "raw"]
    checks = {event.check_name: event.passed for event in done.get_asset_check_evaluations()}
    for name, key in own.items():
        asset = found.resolve_assets_def(name)
        (dep,) = asset.get_asset_spec().deps
        subset = asset.partitions_def.subset_with_partition_keys([key])
        mapped = dep.partition_mapping.get_upstream_mapped_partitions_result_for_partitions(
            subset, asset.partitions_def, DAYS, dynamic_partitions_store=instance)
        needs[name] = sorted(mapped.partitions_subset.get_partition_keys())
        result = dg.materialize([asset], instance=instance, partition_key=key)
        (event,) = result.asset_materializations_for_node(name)
        others[name] = {word: value.value for word, value in event.metadata.items()}
graph = repository.asset_graph
nodes = map(graph.get, graph.get_all_asset_keys())
shown = {node.key.to_user_string(): [node.group_name, *node.owners] for node in nodes}
print(json.dumps({"jobs": jobs, "shown": shown, "asked": asked, "loaded": sorted(event.partition for event in made),
                  "checks": checks, "needs": needs, "others": others}))
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


def test_a_week_needs_its_days_and_sums_them(found: Any) -> None:
    assert found["needs"]["sales_by_week"] == [f"2024-01-0{day}" for day in range(1, 8)]
    assert found["others"]["sales_by_week"] == {"sales": 3, "total": 6.5}


def test_a_day_and_region_needs_its_day(found: Any) -> None:
    assert found["needs"]["sales_by_region"] == ["2024-01-07"]
    assert found["others"]["sales_by_region"] == {"sales": 1, "total": 2.5}
