"""Gold from months that are added up already: what all trips give, to the last cent, whatever happened to raw."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from tests.dbt.conftest import Build, new_lake
from tests.dbt.histories import KEYS, SERVICES, Raw
from tests.lake import Lake
from tests.marks import takes_minutes

from lakehouse.settings import project_dir

OWN_SUMS = "{{ disagreements_with_silver(ref('fct_daily_trips'), {'trips': '1', 'fare_amount': 'fare_amount'}) }}\n"
MONTHS = ("2024-01", "2024-02", "2024-03")
SELECTIONS = ("stg_green_trips", "+stg_yellow_trips", "+fct_daily_trips", "int_trips_by_hour+", "dim_zones")


def test_gold_follows_restated_removed_and_rolled_back_months(tmp_path: Path, run_build: Build) -> None:
    lake = new_lake(tmp_path / "lake")
    raw = Raw(lake.catalog, lake.engine)
    for service in SERVICES:
        raw.put(service, "2024-01", 0)
    raw.put("green", "2024-02", 0)
    run_build(lake)
    raw.check()

    raw.put("yellow", "2024-01", 1)
    raw.put("yellow", "2024-02", 0)
    raw.remove("green", "2024-02")
    run_build(lake)
    raw.check()

    raw.roll_back("green", 1)
    run_build(lake)
    raw.check()


@takes_minutes
@pytest.mark.parametrize("seed", range(6))
def test_gold_follows_any_history_of_raw(tmp_path: Path, run_build: Build, seed: int) -> None:
    pick = random.Random(seed)  # noqa: S311 - repeatable, not secret
    lake = new_lake(tmp_path / "lake")
    raw = Raw(lake.catalog, lake.engine)
    for service in SERVICES:
        raw.put(service, "2024-01", 0)
    for step in range(5):
        for _ in range(pick.randint(1, 3)):
            service = pick.choice(SERVICES)
            held = sorted(raw.months[service])
            match pick.choice(["put", "put", "remove", "roll back"]):
                case "remove" if len(held) > 1:
                    raw.remove(service, pick.choice(held))
                case "roll back":
                    raw.roll_back(service, pick.randrange(len(raw.versions[service])))
                case _:
                    raw.put(service, pick.choice(MONTHS), 10 * step + pick.randrange(10))
        if pick.random() < 0.5:  # some of it first: the notes of several runs count together
            run_build(lake, pick.choice(SELECTIONS), data_tests=pick.random() < 0.5, again=False)
        run_build(lake, data_tests=True, again=False)
        raw.check()
    # What builds left out would have changed nothing: a run of all finds silver as it is, and no test fails.
    before = {table: snapshots(lake, table) for table in lake.engine.tables() if table.startswith("silver.")}
    run_build(lake, data_tests=True, again=True)
    raw.check()
    assert {table: snapshots(lake, table) for table in before} == before


def snapshots(lake: Lake, table: str) -> list[int]:
    return [snapshot.snapshot_id for snapshot in lake.engine.timeline(table).snapshots]


def test_other_sql_of_silver_is_added_up_again(
    tmp_path: Path, run_build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = new_lake(tmp_path / "lake")
    raw = Raw(lake.catalog, lake.engine)
    for service in SERVICES:
        raw.put(service, "2024-01", 0)
    run_build(lake)
    before = {mart: lake.rows(f"select * from gold.{mart} order by all") for mart in KEYS}
    shutil.copytree(project_dir() / "dbt", tmp_path / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    project = tmp_path / "dbt" / "dbt_project.yml"
    text = project.read_text("utf-8")
    project.write_text(text.replace("max_duration_hours: 12", "max_duration_hours: 1"), "utf-8")
    (tmp_path / "dbt" / "tests" / "own_sums.sql").write_text(OWN_SUMS, "utf-8")
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(tmp_path))

    run_build(lake)
    assert run_build(lake, "own_sums", data_tests=True).tests == ("own_sums",)
    after = {mart: lake.rows(f"select * from gold.{mart} order by all") for mart in KEYS}
    assert after["fct_daily_trips"] != before["fct_daily_trips"]

    run_build(lake, full_refresh=True)
    assert {mart: lake.rows(f"select * from gold.{mart} order by all") for mart in KEYS} == after
