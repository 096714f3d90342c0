"""What says that data is late: freshness policies, and the check that the newest month is there. Quiet without data."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from tests.lake import Lake
from tests.unit.dagster_project import Project

from lakehouse.datasets.registry import DATASETS, dataset_named
from lakehouse.defs.freshness import freshness
from lakehouse.defs.raw.newest import due, newest_result


@pytest.mark.parametrize(
    ("today", "month"),
    [
        ("2024-04-05", "2023-12"),
        ("2024-04-06", "2024-01"),  # 50 days after the end of January, and 15 of patience
        ("2024-05-04", "2024-01"),
        ("2009-04-07", "2009-01"),
        ("2009-03-01", "None"),  # before the first month of yellow can be there
    ],
)
def test_a_month_is_due_when_its_lag_and_some_patience_have_passed(today: str, month: str) -> None:
    assert str(due(dataset_named("yellow"), date.fromisoformat(today))) == month


def test_the_newest_month_is_missed_only_where_others_were_loaded(lake: Lake) -> None:
    green, today = DATASETS["green"], date(2024, 4, 10)

    never = newest_result(lake.engine, green, today)
    lake.load("green", "2023-12", lake.generate("green", "2023-12", 20))
    late = newest_result(lake.engine, green, today)
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 20))
    there = newest_result(lake.engine, green, today)

    assert never is None
    assert late is not None
    assert there is not None
    assert (late.passed, there.passed) == (False, True)
    assert {name: value.value for name, value in late.metadata.items()} == {"newest": "2023-12", "due": "2024-01"}


def test_how_late_an_asset_may_be_follows_from_the_parts_of_its_datasets() -> None:
    policy = freshness([dataset_named("yellow"), dataset_named("zones")])

    assert policy == dg.FreshnessPolicy.time_window(timedelta(days=77), timedelta(days=46))
    assert freshness([dataset_named("zones")]) is None


LATE = """
import asyncio
import json
import dagster as dg
from dagster._core.definitions.freshness_evaluator import TimeWindowFreshnessPolicyEvaluator
from dagster._core.loader import LoadingContextForTest
from lakehouse.definitions import defs

found = defs()
graph = found.get_repository_def().asset_graph
evaluator = TimeWindowFreshnessPolicyEvaluator()
with dg.DagsterInstance.ephemeral() as instance:
    policies = {
        key.to_user_string(): asyncio.run(
            evaluator.evaluate_freshness(LoadingContextForTest(instance), graph.get(key))
        ).value
        for key in graph.get_all_asset_keys()
        if graph.get(key).freshness_policy
    }
jobs = ("look_at_sources", "bronze_only", "bronze_months", "lakehouse_full_pipeline")
keys = [key for job in jobs for key in found.resolve_job_def(job).asset_layer.asset_graph.asset_check_keys]
checks = [key.asset_key.path[-1] for key in keys if key.name == "newest_is_there"]
print(json.dumps({"policies": policies, "checks": checks}))
"""


def test_raw_and_gold_have_a_policy_and_no_new_project_is_late(tmp_path: Path) -> None:
    found = Project(tmp_path, {}).ask(LATE, warnings="default")

    policies = found["policies"]
    assert {"raw/green_trips", "raw/yellow_trips", "gold/fct_daily_trips", "published/gold"} <= policies.keys()
    assert not {"raw/taxi_zones", "gold/dim_zones", "silver/stg_green_trips"} & policies.keys()
    assert set(policies.values()) == {"UNKNOWN"}
    assert {"green_trips", "yellow_trips"} <= set(found["checks"])
    assert len(found["checks"]) == len(set(found["checks"]))  # looked at with the sources, and not by loads
