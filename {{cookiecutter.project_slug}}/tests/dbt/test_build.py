"""What a build does to the tables: one snapshot each, only what changed, older states kept; and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.dbt.conftest import Build, new_lake
from tests.dbt.raw import made_up_rows, put_month, put_zones, remove_month
from tests.lake import Lake
from tests.marts import MARTS
from tests.unit.test_imports import OTHERS
from typer.testing import CliRunner

from lakehouse import children, transform
from lakehouse.cli.app import app
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import TransformError
from lakehouse.settings import project_dir
from lakehouse.tested import untested
from lakehouse.transform import build

GREEN = "silver.stg_green_trips"
GREEN_ALONE = "stg_green_trips"


def put(lake: Lake, month: str, count: int = 50, seed: int = 0) -> None:
    put_month(lake.catalog, "green", month, made_up_rows("green", month, count, seed))


def files(lake: Lake, table: str = GREEN) -> dict[str, str]:
    """The data file of each month."""
    found = {str(task.file.partition[0]): task.file.file_path for task in lake.table(table).scan().plan_files()}
    assert len(found) == len(list(lake.table(table).scan().plan_files()))
    return found


def snapshots(lake: Lake, table: str = GREEN) -> list[int]:
    return [snapshot.snapshot_id for snapshot in lake.engine.timeline(table).snapshots]


def counts(lake: Lake, table: str = GREEN, as_of: str | None = None) -> dict[str, int]:
    sql = f"select cast(file_month as varchar) as m, count(*) as n from {table} group by all"
    return {row["m"][:7]: row["n"] for row in lake.rows(sql, as_of=as_of)}


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory, run_build: Build) -> tuple[Path, Path]:
    """The home of a lakehouse built with two green months, 50 rows each, and a copy of it."""
    home = tmp_path_factory.mktemp("two-months") / "home"
    lake = new_lake(home)
    put_zones(lake.catalog)
    put(lake, "2024-01")
    put(lake, "2024-02")
    run_build(lake)
    lake.engine.close()
    return home, shutil.copytree(home, home.with_name("copy"))


@pytest.fixture
def two_months(built_once: tuple[Path, Path]) -> Lake:
    """That lakehouse, as it was just after its build, at the same place: tables know their files by whole paths."""
    home, copy = built_once
    shutil.rmtree(home)
    shutil.copytree(copy, home)
    return new_lake(home)


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
    gold = {mart: two_months.rows(f"select * from gold.{mart} order by all") for mart in MARTS}

    run_build(two_months)

    assert {table: snapshots(two_months, table) for table in tables} == silver
    assert all(len(snapshots(two_months, table)) == 1 for table in tables)
    assert {mart: two_months.rows(f"select * from gold.{mart} order by all") for mart in MARTS} == gold


def test_a_build_with_nothing_new_does_not_start_dbt(
    two_months: Lake, run_build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {table: snapshots(two_months, table) for table in two_months.engine.tables()}
    monkeypatch.setattr(transform, "_run", None)

    for select in (None, "+fct_daily_trips"):
        done = run_build(two_months, select, again=False)
        assert done.nothing_new_since
        assert (done.models, done.raw_moved) == ((), ())

    assert {table: snapshots(two_months, table) for table in two_months.engine.tables()} == before


NOTHING_NEW = """
import json, sys
from lakehouse.settings import load_settings
from lakehouse.transform import build
assert build(load_settings(), data_tests=False).nothing_new_since
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_a_build_with_nothing_new_imports_no_pyarrow(two_months: Lake) -> None:
    """It reads metadata alone, and ends in about the time that PyIceberg takes to be imported."""
    home = str(two_months.settings.home)

    said = subprocess.run(
        children.python("-c", NOTHING_NEW),
        env=children.environment({"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": home}),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout

    assert {*json.loads(said)} & {*OTHERS, "duckdb", "numpy", "pandas", "pyarrow", "sqlglot"} == set()


def sql_of_the_test(lake: Lake) -> str:
    """The SQL that dbt ran for the test of each month's rows."""
    [file] = (lake.settings.home / "dbt" / "embedded" / "compiled").rglob("unique_together_stg_green_trips_*.sql")
    return file.read_text("utf-8")


def put_clean(lake: Lake, *months: str) -> None:
    """Months without a row of another month: of many, a test warns."""
    for month in months:
        rows = made_up_rows("green", month, 60)
        own = [row for row in rows if row["pickup_datetime"] and f"{row['pickup_datetime']:%Y-%m}" == month]
        put_month(lake.catalog, "green", month, own)


def twice(lake: Lake, month: str) -> None:
    """Put the rows of a month of raw there once more."""
    raw = lake.table("raw.green_trips")
    raw.append(raw.scan(f"file_month = '{month}-01'").to_arrow())


def test_tests_of_each_month_look_at_those_that_changed(two_months: Lake, run_build: Build) -> None:
    put_clean(two_months, "2024-01", "2024-02")
    run_build(two_months, GREEN_ALONE, data_tests=True)
    put_clean(two_months, "2024-03")

    run_build(two_months, GREEN_ALONE, data_tests=True, again=False)
    assert "where file_month in (date '2024-03-01')" in sql_of_the_test(two_months)
    assert lacking(two_months) == set()

    run_build(two_months, GREEN_ALONE, data_tests=True, again=True)
    assert "where true" in sql_of_the_test(two_months)

    twice(two_months, "2024-01")
    for _ in range(2):
        with pytest.raises(TransformError, match="unique_together_stg_green_trips"):
            run_build(two_months, GREEN_ALONE, data_tests=True, again=False)
    assert "where true" in sql_of_the_test(two_months)


def test_a_month_that_comes_while_dbt_runs_is_tested_by_the_next_build(
    two_months: Lake, run_build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_clean(two_months, "2024-01", "2024-02")
    run_build(two_months, GREEN_ALONE, data_tests=True)
    put_clean(two_months, "2024-03")
    with monkeypatch.context() as meanwhile:
        run = transform._run

        def late(*arguments: Any, **options: Any) -> Any:
            put_clean(two_months, "2024-04")
            return run(*arguments, **options)

        meanwhile.setattr(transform, "_run", late)
        run_build(two_months, GREEN_ALONE, data_tests=True, again=False)
    assert counts(two_months)["2024-04"]
    assert lacking(two_months)

    run_build(two_months, GREEN_ALONE, data_tests=True, again=False)
    assert "where true" in sql_of_the_test(two_months)
    assert lacking(two_months) == set()


def test_a_build_asks_only_for_what_is_new_and_what_reads_it(two_months: Lake, run_build: Build) -> None:
    put_clean(two_months, "2024-01", "2024-02")
    all_of_it = run_build(two_months, data_tests=True)
    put_clean(two_months, "2024-03")

    one_month = run_build(two_months, data_tests=True, again=False)

    assert {name for name in one_month.models if "green" in name} == {GREEN}
    assert {*one_month.models} >= {GREEN, *(f"gold.{mart}" for mart in MARTS if mart.startswith("fct_"))}
    assert not {"silver.stg_yellow_trips", "silver.vendors", "gold.dim_zones"} & {*one_month.models}
    assert not [
        test for test in one_month.tests if test.endswith(("stg_yellow_trips_file_row", "dim_zones_location_id"))
    ]
    assert len(one_month.models) + one_month.models_unchanged == len(all_of_it.models)
    assert len(one_month.tests) + one_month.tests_unchanged == len(all_of_it.tests)
    assert 0 < one_month.tests_unchanged < len(all_of_it.tests)
    assert run_build(two_months, data_tests=True, again=False).nothing_new_since


def test_what_a_left_out_test_warned_of_is_said_again(two_months: Lake, run_build: Build) -> None:
    warned = run_build(two_months, data_tests=True).warnings
    assert warned  # of many rows of another month
    put_month(two_months.catalog, "yellow", "2024-01", made_up_rows("yellow", "2024-01", 20))

    later = run_build(two_months, data_tests=True, again=False)

    assert {*warned} <= {*later.warnings}
    assert len({*later.warnings}) == len(later.warnings)


def test_a_mart_that_somebody_wrote_is_made_again_with_its_tests_alone(two_months: Lake, run_build: Build) -> None:
    put_clean(two_months, "2024-01", "2024-02")
    run_build(two_months, data_tests=True)
    mart = two_months.table("gold.fct_daily_trips")
    rows = two_months.rows("select * from gold.fct_daily_trips order by all")
    mart.append(mart.scan().to_arrow())

    done = run_build(two_months, data_tests=True, again=False)

    assert done.models == ("gold.fct_daily_trips",)
    assert "daily_trips_agree_with_silver" in done.tests
    assert two_months.rows("select * from gold.fct_daily_trips order by all") == rows


def lacking(lake: Lake) -> set[str]:
    """The tests of each month of green trips that have not passed on what is there."""
    found = untested(lake.settings, [lake.table(name) for name in lake.engine.tables()])
    of_each_month = {"unique_together_stg_green_trips_file_month__file_row"}
    return of_each_month & set(found.tests) if found else set()


def test_a_month_gone_from_raw_is_gone_from_silver_and_gold(two_months: Lake, run_build: Build) -> None:
    remove_month(two_months.catalog, "green", "2024-01")

    run_build(two_months)

    assert counts(two_months) == {"2024-02": 50}
    assert len(snapshots(two_months)) == 2
    assert [r["m"] for r in two_months.rows("select distinct file_month as m from gold.fct_monthly_quality")] == [
        two_months.rows("select max(file_month) as m from raw.green_trips")[0]["m"]
    ]


def test_a_mart_is_replaced_in_one_snapshot_and_its_refs_stay(two_months: Lake, run_build: Build) -> None:
    mart = "gold.fct_monthly_quality"
    [first] = snapshots(two_months, mart)
    two_months.table(mart).manage_snapshots().create_tag(first, "audited").commit()
    put(two_months, "2024-02", 60, seed=1)

    run_build(two_months)

    older, newer = snapshots(two_months, mart)
    assert older == first
    assert two_months.engine.timeline(mart).snapshots[1].parent_id == first
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

    assert result.raw_snapshots == dict.fromkeys((dataset.table for dataset in DATASETS.values()), None)
    assert lake.rows("select * from gold.fct_daily_trips") == []
    assert lake.rows("select * from silver.stg_yellow_trips") == []
    assert lake.rows("select count(*) as n from silver.payment_types") == [{"n": 7}]


def test_trips_without_the_zone_lookup_name_the_command_to_run(lake: Lake) -> None:
    put(lake, "2024-01")

    with pytest.raises(TransformError, match="lakehouse load zones"):
        build(lake.settings)

    assert GREEN not in lake.engine.tables()


def test_a_mart_without_its_parents_names_the_command_for_both(lake: Lake, run_build: Build) -> None:
    put_zones(lake.catalog)
    put(lake, "2024-01")

    with pytest.raises(TransformError) as error:
        run_build(lake, "fct_daily_trips")
    run_build(lake, "+fct_daily_trips")

    assert "lakehouse build --select +fct_daily_trips" in str(error.value)
    assert lake.rows("select count(*) > 0 as some from gold.fct_daily_trips") == [{"some": True}]


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("trip_type_id,trip_type_name\n", "has a header and no row"),
        ("trip_type_id,trip_type_name,colour\n1,a,b\n", "does not say the type of colour"),
    ],
)
def test_a_seed_that_cannot_be_a_table_says_why(
    lake: Lake, run_build: Build, own_project: Path, text: str, says: str
) -> None:
    (own_project / "seeds" / "trip_types.csv").write_text(text, "utf-8")

    with pytest.raises(TransformError, match=rf"trip_types: the seed's .*{says}"):
        run_build(lake, "trip_types")


def test_a_source_that_a_model_reads_twice_is_one_source(lake: Lake, run_build: Build, own_project: Path) -> None:
    put_zones(lake.catalog)
    model = own_project / "models" / "staging" / "stg_taxi_zones.sql"
    model.write_text(f"-- {{{{ source('raw', 'taxi_zones') }}}}\n{model.read_text('utf-8')}", "utf-8")

    assert run_build(lake, "stg_taxi_zones").models == ("silver.stg_taxi_zones",)


def test_a_failing_test_is_named_and_what_depends_on_it_is_not_built(
    lake: Lake, run_build: Build, own_project: Path
) -> None:
    put_zones(lake.catalog)
    put(lake, "2024-01")
    change(own_project / "macros" / "trips.sql", "then 'unknown_zone'\n", "then 'unknown_zone'\n        else 'fine'\n")

    with pytest.raises(
        TransformError,
        match=r"accepted_values_stg_green_trips_rejection_reason.*\nSkipped, because they depend on them",
    ):
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


def test_a_completed_seed_reaches_every_month_in_one_snapshot(lake: Lake, run_build: Build, own_project: Path) -> None:
    seed, yellow = own_project / "seeds" / "payment_type_texts.csv", "silver.stg_yellow_trips"
    unknown = f"select count(*) as n from {yellow} where payment_type_id is null"
    complete = seed.read_text("utf-8")
    put_zones(lake.catalog)
    for month in ("2009-06", "2010-01"):
        put_month(lake.catalog, "yellow", month, made_up_rows("yellow", month, 50))
    change(seed, "credit,1\n", "")
    run_build(lake)
    [before], [card_share] = (
        lake.rows(unknown),
        lake.rows("select max(card_share) as share from gold.fct_daily_trips"),
    )

    seed.write_text(complete, "utf-8")
    run_build(lake, "stg_yellow_trips")  # the seed's table is still the old one, and so silver is
    held = lake.rows(unknown)
    run_build(lake)
    [after], made = lake.rows(unknown), len(snapshots(lake, yellow))
    run_build(lake)

    assert held == [before]
    assert after["n"] < before["n"]
    assert card_share["share"] == 0
    assert lake.rows("select max(card_share) > 0 as some from gold.fct_daily_trips") == [{"some": True}]
    assert made == len(snapshots(lake, yellow)) == 2
    assert counts(lake, yellow) == {"2009-06": 50, "2010-01": 50}


def test_a_changed_var_rebuilds_the_models_that_it_is_in_and_no_other(
    two_months: Lake, run_build: Build, own_project: Path
) -> None:
    zones = snapshots(two_months, "silver.stg_taxi_zones")
    change(own_project / "dbt_project.yml", "max_distance_miles: 200", "max_distance_miles: 1")

    run_build(two_months)
    run_build(two_months)

    too_far = f"select count(*) as n from {GREEN} where trip_distance > 1 and rejection_reason is null"
    assert two_months.rows(too_far) == [{"n": 0}]
    assert len(snapshots(two_months)) == 2
    assert snapshots(two_months, "silver.stg_taxi_zones") == zones


def test_a_changed_macro_rebuilds_every_month(two_months: Lake, run_build: Build, own_project: Path) -> None:
    change(own_project / "macros" / "trips.sql", "upper(trim({{ column }})) in ('Y', '1', '1.0')", "false")

    run_build(two_months)

    assert two_months.rows(f"select count(*) as n from {GREEN} where is_store_and_forward") == [{"n": 0}]
    assert len(snapshots(two_months)) == 2


def test_a_new_column_reaches_gold_and_every_month_of_silver_at_once(
    two_months: Lake, run_build: Build, own_project: Path
) -> None:
    marts = own_project / "models" / "marts"
    change(
        marts / "dim_zones.sql", "        service_zone\n", "        upper(zone) as loud_zone,\n        service_zone\n"
    )
    change(
        marts / "dim_zones.yml",
        "      - name: service_zone\n",
        "      - name: loud_zone\n        data_type: varchar\n        description: Its name, louder.\n"
        "      - name: service_zone\n",
    )
    staging = own_project / "models" / "staging"
    change(
        staging / "stg_green_trips.sql",
        "as trip_distance,\n",
        "as trip_distance,\n        cast(trips.trip_distance * 2 as decimal(12, 2)) as twice,\n",
    )
    twice = "      - name: twice\n        data_type: decimal(12,2)\n        description: Twice.\n"
    before = "      - name: fare_amount\n"
    change(staging / "stg_green_trips.yml", before, twice + before)

    run_build(two_months, "dim_zones")
    run_build(two_months, "stg_green_trips")

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

    files = [yaml.safe_load(path.read_text("utf-8")) for path in (project_dir() / "dbt" / "models").rglob("*.yml")]
    assert len(result.tests) == sum(len(file.get("unit_tests", [])) for file in files) > 30


def test_unit_tests_run_where_the_command_asks_for_them(two_months: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.cli.load.load_settings", lambda: two_months.settings)
    command = ["build", "--select", "fct_monthly_quality"]
    mart = project_dir() / "dbt" / "models" / "marts" / "fct_monthly_quality"
    names = {test["name"] for test in yaml.safe_load(mart.with_suffix(".yml").read_text("utf-8"))["unit_tests"]}

    plain = CliRunner().invoke(app, [*command, "--again"], catch_exceptions=False)
    asked = CliRunner().invoke(app, [*command, "--unit-tests", "--json"], catch_exceptions=False)

    assert f"Unit tests that did not run: {len(names)}. `lakehouse build --unit-tests` runs them.\n" in plain.stdout
    assert names <= set(json.loads(asked.stdout)["tests"])
    assert json.loads(asked.stdout)["unit_tests_not_run"] == 0
