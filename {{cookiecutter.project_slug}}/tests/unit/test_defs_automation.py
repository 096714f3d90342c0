"""What starts by itself, and how a range of months runs, in processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.dagster_project import PROJECT, Project

STATUS = """
import json
from lakehouse.definitions import defs
repository = defs().get_repository_def()
found = {one.name: one.default_status.value for one in (*repository.schedule_defs, *repository.sensor_defs)}
print(json.dumps(found))
"""
# Schedules for who does without sensors. They stay off, because the sensors do the same.
ALWAYS_OFF = {"newest_months"}
# What comes with the project. Those of the owner are as the owner wants them.
STARTED = {
    "look_every_six_hours",
    "weekly_maintenance",
    "weekly_tests",
    "new_versions",
    "new_files",
    "build_what_changed",
}


@pytest.mark.parametrize(("setting", "status"), [("on", "RUNNING"), ("off", "STOPPED")])
def test_one_setting_starts_all_schedules_and_sensors(tmp_path: Path, setting: str, status: str) -> None:
    found = Project(tmp_path, {"LAKEHOUSE_AUTOMATION": setting}).ask(STATUS, warnings="default")

    assert {name: found[name] for name in STARTED} == dict.fromkeys(STARTED, status)
    assert {found[name] for name in ALWAYS_OFF} == {"STOPPED"}


POLICY = """
import json
from lakehouse.definitions import defs
job = defs().resolve_job_def("lakehouse_full_pipeline")
policies = {key.to_user_string(): str(job.asset_layer.get(key).backfill_policy)
            for key in job.asset_layer.executable_asset_keys}
print(json.dumps(policies))
"""
MINE = """
import dagster as dg


@dg.asset(deps=[dg.AssetKey(["gold", "fct_daily_trips"])], group_name="reports")
def my_chart() -> None: ...
"""


def test_an_asset_without_a_policy_does_not_cut_a_range_of_months(tmp_path: Path) -> None:
    project = Project(tmp_path, {})
    (project.root / "src" / "lakehouse" / "defs" / "chart.py").write_text(MINE, encoding="utf-8")

    policies = project.ask(POLICY, warnings="default")

    assert "my_chart" in policies
    assert len(set(policies.values())) == 1


STORY = """
import json
import logging
import sys
sys.path.insert(0, {tests!r})
logging.disable(logging.CRITICAL)
from tests.unit.quiet_world import {story}
print(json.dumps({story}()))
"""


@pytest.mark.slow
def test_half_a_year_goes_by_itself(tmp_path: Path) -> None:
    """Each month and each restated file is one run, and silver and gold are built once after it."""
    project = Project(tmp_path, {"LAKEHOUSE_FIRST_MONTH": "2023-01", "LAKEHOUSE_AUTOMATION": "on"})

    seen = project.ask(STORY.format(tests=str(PROJECT), story="half_a_year"), warnings="default")

    months = [f"green_2023-0{number}" for number in range(1, 7)]
    assert seen["failed"] == []
    assert seen["runs"] == [["zones"], *([month] for month in months), ["green_2023-02", "zones"]]
    assert seen["landed"] == [*(month.replace("_", " ") for month in months), "zones"]
    # The page says what is out of date, and of the other months that they are not.
    assert seen["stale"] == [[], ["landing/green_trips", "landing/taxi_zones"]]
    assert seen["others"] == seen["after"] == []
    # Once after each load, and only what it reaches.
    of_zones, *of_months, of_both = seen["builds"]
    assert {"silver/stg_taxi_zones", "gold/dim_zones"} <= set(of_zones)
    assert not {"silver/stg_green_trips", "silver/stg_yellow_trips", "gold/fct_daily_trips"} & set(of_zones)
    assert len(of_months) == len(months)
    assert {"silver/stg_green_trips", "gold/fct_daily_trips", "iceberg_snapshot_report"} <= set(of_months[0])
    assert "silver/stg_taxi_zones" not in of_months[0]
    assert set(of_both) >= {"silver/stg_green_trips", "silver/stg_taxi_zones", "gold/fct_trip_distance_stats"}
    # What was built is published, in the same run.
    assert all("published/gold" in build for build in seen["builds"])
