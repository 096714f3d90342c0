"""What a build does to the tables: one snapshot each, only what changed, older states kept; and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.dbt.conftest import Build
from tests.dbt.raw import made_up_rows, put_month, put_zones, remove_month
from tests.lake import Lake

from lakehouse.errors import TransformError
from lakehouse.settings import project_dir
from lakehouse.transform import build

GREEN = "silver.stg_green_trips"
GOLD = ("dim_zones", "fct_daily_trips", "fct_hourly_revenue", "fct_monthly_quality", "fct_trip_distance_stats")


def put(lake: Lake, month: str, count: int = 50, seed: int = 0) -> None:
    put_month(lake.catalog, "green", month, made_up_rows("green", month, count, seed))


def files(lake: Lake, table: str = GREEN) -> dict[str, str]:
    """The data file of each month."""
    found = {str(task.file.partition[0]): task.file.file_path for task in lake.table(table).scan().plan_files()}
    assert len(found) == len(list(lake.table(table).scan().plan_files()))
    return found


def snapshots(lake: Lake, table: str = GREEN) -> list[int]:
    return [snapshot.snapshot_id for snapshot in lake.engine.snapshots(table)]


def counts(lake: Lake, table: str = GREEN, as_of: str | None = None) -> dict[str, int]:
    sql = f"select cast(file_month as varchar) as m, count(*) as n from {table} group by all"
    return {row["m"][:7]: row["n"] for row in lake.rows(sql, as_of=as_of)}


@pytest.fixture
def two_months(lake: Lake, run_build: Build) -> Lake:
    """A lakehouse built with two green months, 50 rows each."""
    put_zones(lake.catalog)
    put(lake, "2024-01")
    put(lake, "2024-02")
    run_build(lake)
    return lake


def test_only_changed_months_are_rebuilt_in_one_snapshot(two_months: Lake, run_build: Build) -> None:
    before, [first] = files(two_months), snapshots(two_months)
    put(two_months, "2024-02", 60, seed=1)
    put(two_months, "2024-03", 70)

    run_build(two_months)

    after = files(two_months)
    assert len(snapshots(two_months)) == 2
    assert counts(two_months) == {"2024-01": 50, "2024-02": 60, "2024-03": 70}
    assert counts(two_months, as_of=f"{GREEN}@{first}") == {"2024-01": 50, "2024-02": 50}
    kept = [month for month in before if before[month] == after[month]]
    assert len(kept) == 1
    assert "2024-01-01" in before[kept[0]]


def test_a_build_without_changes_leaves_silver_as_it_was_and_gold_equal(two_months: Lake, run_build: Build) -> None:
    tables = [t for t in two_months.engine.tables() if t.startswith("silver")]
    silver = {table: snapshots(two_months, table) for table in tables}
    gold = {mart: two_months.rows(f"select * from gold.{mart} order by all") for mart in GOLD}

    run_build(two_months)

    assert {table: snapshots(two_months, table) for table in tables} == silver
    assert all(len(snapshots(two_months, table)) == 1 for table in tables)
    assert {mart: two_months.rows(f"select * from gold.{mart} order by all") for mart in GOLD} == gold


def test_a_month_gone_from_raw_is_gone_from_silver_and_gold(two_months: Lake, run_build: Build) -> None:
    remove_month(two_months.catalog, "green", "2024-01")

    run_build(two_months)

    assert counts(two_months) == {"2024-02": 50}
    assert len(snapshots(two_months)) == 2
    assert [r["m"] for r in two_months.rows("select distinct file_month as m from gold.fct_monthly_quality")] == [
        two_months.rows("select max(file_month) as m from raw.green_trips")[0]["m"]
    ]


def test_a_mart_is_replaced_in_one_snapshot_and_its_refs_and_older_states_stay(
    two_months: Lake, run_build: Build
) -> None:
    mart = "gold.fct_monthly_quality"
    [first] = snapshots(two_months, mart)
    two_months.table(mart).manage_snapshots().create_tag(first, "audited").commit()
    put(two_months, "2024-02", 60, seed=1)

    run_build(two_months)

    older, newer = snapshots(two_months, mart)
    assert older == first
    assert two_months.engine.snapshots(mart)[1].parent_id == first
    trips = f"select sum(trips) as n from {mart}"
    assert two_months.rows(trips) == [{"n": 110}]
    assert two_months.rows(trips, as_of="audited") == [{"n": 100}]
    assert two_months.rows(trips, as_of=f"{mart}@{newer}") == [{"n": 110}]


def test_a_full_refresh_rebuilds_every_month_in_one_snapshot(two_months: Lake, run_build: Build) -> None:
    before = files(two_months)

    run_build(two_months, "stg_green_trips", full_refresh=True)

    after = files(two_months)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
    assert len(snapshots(two_months)) == 2
    assert counts(two_months) == {"2024-01": 50, "2024-02": 50}


def test_an_empty_lakehouse_builds_to_empty_tables(lake: Lake, run_build: Build) -> None:
    result = run_build(lake)

    assert result.raw_snapshots == {"raw.yellow_trips": None, "raw.green_trips": None, "raw.taxi_zones": None}
    assert lake.rows("select * from gold.fct_daily_trips") == []
    assert lake.rows("select * from silver.stg_yellow_trips") == []
    assert lake.rows("select count(*) as n from silver.payment_types") == [{"n": 7}]


def test_trips_without_the_zone_lookup_are_refused_with_the_command_to_run(lake: Lake) -> None:
    put(lake, "2024-01")

    with pytest.raises(TransformError, match="lakehouse load zones"):
        build(lake.settings)

    assert GREEN not in lake.engine.tables()


@pytest.fixture
def own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the dbt project that a test may change, in place of the real one."""
    project = tmp_path / "project"
    shutil.copytree(project_dir() / "dbt", project / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(project))
    return project / "dbt"


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


def test_a_failing_test_is_named_and_what_depends_on_it_is_not_built(
    lake: Lake, run_build: Build, own_project: Path
) -> None:
    put_zones(lake.catalog)
    put(lake, "2024-01")
    change(own_project / "macros" / "trips.sql", "then 'unknown_zone'\n", "then 'unknown_zone'\n        else 'fine'\n")

    with pytest.raises(TransformError, match=r"accepted_values_stg_green_trips_rejection_reason.*\n.*were skipped"):
        run_build(lake, data_tests=True)

    assert "gold.fct_daily_trips" not in lake.engine.tables()


def test_a_model_that_breaks_leaves_its_table_as_it_was(two_months: Lake, run_build: Build, own_project: Path) -> None:
    before = snapshots(two_months, "gold.fct_daily_trips")
    change(
        own_project / "models" / "marts" / "fct_daily_trips.sql",
        "        pickup_date,\n        trips,",
        "        trips,",
    )

    with pytest.raises(
        TransformError, match=r"gold\.fct_daily_trips: .*its select and its yml differ: pickup_date DATE"
    ):
        run_build(two_months, "fct_daily_trips")

    assert snapshots(two_months, "gold.fct_daily_trips") == before


def test_a_new_column_reaches_gold_at_once_and_silver_by_a_full_refresh(
    two_months: Lake, run_build: Build, own_project: Path
) -> None:
    marts = own_project / "models" / "marts"
    change(
        marts / "dim_zones.sql", "        service_zone\n", "        upper(zone) as loud_zone,\n        service_zone\n"
    )
    change(
        marts / "_marts.yml",
        "      - name: service_zone\n",
        "      - name: loud_zone\n        data_type: varchar\n        description: Its name, louder.\n"
        "      - name: service_zone\n",
    )
    staging = own_project / "models" / "staging"
    change(
        staging / "stg_green_trips.sql",
        "        trip_distance,\n",
        "        trip_distance,\n        cast(trip_distance * 2 as decimal(12, 2)) as twice,\n",
    )
    yml = staging / "_staging.yml"
    head, _, tail = yml.read_text("utf-8").rpartition("      - name: fare_amount\n")
    new = "      - name: twice\n        data_type: decimal(12,2)\n        description: Twice.\n"
    yml.write_text(f"{head}{new}      - name: fare_amount\n{tail}", "utf-8")

    run_build(two_months, "dim_zones")
    with pytest.raises(TransformError, match=r"silver\.stg_green_trips: .*its columns have changed.*--full-refresh"):
        run_build(two_months, "stg_green_trips")
    run_build(two_months, "stg_green_trips", full_refresh=True)

    assert two_months.engine.query("select * from gold.dim_zones").column_names == [
        "location_id",
        "borough",
        "zone",
        "loud_zone",
        "service_zone",
    ]
    assert two_months.rows(f"select count(twice) as n, count(trip_distance) as m from {GREEN}") == [
        {"n": 100, "m": 100}
    ]
    assert counts(two_months) == {"2024-01": 50, "2024-02": 50}


def test_the_project_s_own_unit_tests_pass(lake: Lake, run_build: Build) -> None:
    result = run_build(lake, unit_tests=True)

    assert len(result.tests) == 33
