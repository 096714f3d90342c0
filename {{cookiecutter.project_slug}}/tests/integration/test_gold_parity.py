"""One text of dbt on two engines: the same rows; and on Trino, too, a month is replaced in one commit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests import lake as embedded
from tests.dbt.histories import KEYS, SERVICES, Raw
from tests.dbt.raw import made_up_rows, put_month, put_zones, remove_month, silver_row
from tests.integration.lake import GREEN, Lake
from tests.marks import takes_minutes
from tests.marts import MARTS

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.engines import Engine
from lakehouse.landing import Landing
from lakehouse.loading.load import load
from lakehouse.settings import Settings, project_dir
from lakehouse.transform import build

SILVER = "silver.stg_green_trips"
REAL = (("green", "2022-03"), ("green", "2023-01"), ("green", "2023-02"), ("green", "2025-02"))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[embedded.Lake]:
    """An embedded lakehouse beside the one on the stack."""
    settings = Settings.model_validate({"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": tmp_path / "small"})
    lake = embedded.Lake(settings, tmp_path / "scratch")
    yield lake
    lake.engine.close()


def rows(engine: Engine, table: str) -> pa.Table:
    """All rows, in an order that both engines can have."""
    found = engine.query(f"select * from {table}")
    return found.sort_by([(name, "ascending") for name in found.column_names[:3]])


def differences(here: pa.Table, there: pa.Table) -> list[str]:
    """Rows that only one of two tables has, the first few of them."""
    assert here.num_rows == there.num_rows
    if here.equals(there):
        return []
    ours, theirs = ({tuple(row.values()) for row in table.to_pylist()} for table in (here, there))
    return sorted(map(repr, ours ^ theirs))[:6]


def assert_same(small: embedded.Lake, lake: Lake) -> None:
    tables = [name for name in small.engine.tables() if not name.startswith("raw.")]
    assert tables == [name for name in lake.engine.tables() if not name.startswith("raw.")]
    assert {f"gold.{mart}" for mart in MARTS} < set(tables)
    for table in tables:
        here, there = rows(small.engine, table), rows(lake.engine, table)
        assert here.schema == there.schema, table
        assert differences(here, there) == [], table


def test_every_row_of_silver_and_gold_is_the_same_on_both_targets(lake: Lake, small: embedded.Lake) -> None:
    for catalog in (lake.catalog, small.catalog):
        put_zones(catalog)
        for dataset, month in (
            ("yellow", "2009-06"),
            ("yellow", "2024-01"),
            ("green", "2024-01"),
            ("green", "2024-02"),
        ):
            put_month(catalog, dataset, month, made_up_rows(dataset, month, 1500))

    built = build(lake.settings, unit_tests=True)
    built_small = build(small.settings, data_tests=False)

    assert "money_and_distance_are_exact" in built.tests
    assert len(built.tests) > 150
    assert set(built.models) == set(built_small.models)
    # Both know that there is nothing to do now, and Trino's side that its tests passed.
    assert build(lake.settings).nothing_new_since
    assert build(small.settings, data_tests=False).nothing_new_since
    assert_same(small, lake)


@takes_minutes
def test_real_months_of_different_eras_are_the_same_on_both_targets(
    lake: Lake, small: embedded.Lake, tlc_data: Path
) -> None:
    for settings_of, landing in ((lake, lake.landing), (small, small.landing)):
        load_real(settings_of, landing, tlc_data)

    build(lake.settings, data_tests=False)
    build(small.settings, data_tests=False)

    assert_same(small, lake)


def load_real(lake: Lake | embedded.Lake, landing: Landing, folder: Path) -> None:
    [zones] = folder.rglob("taxi_zone_lookup.csv")
    landing.put(DatasetFile("zones"), zones, "test")
    load(lake.catalog, landing, DatasetFile("zones"))
    for dataset, text in REAL:
        month = Month.parse(text)
        file = next(folder.rglob(DATASETS[dataset].file_name(month)), None)
        if file is None:
            pytest.skip(f"TLC_DATA has no {dataset} {text}")
        landing.put(DatasetFile(dataset, month), file, "test")
        load(lake.catalog, landing, DatasetFile(dataset, month))


def put(lake: Lake, month: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Make a green month in raw; what silver must hold of it."""
    made = made_up_rows("green", month, count, seed)
    sha = put_month(lake.catalog, "green", month, made)
    return [silver_row("green", month, sha, i, row) for i, row in enumerate(made)]


def test_on_trino_months_come_change_and_go_in_one_snapshot_each_build(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_zones(lake.catalog)
    january, february = put(lake, "2024-01", 60), put(lake, "2024-02", 50)

    def built() -> list[dict[str, Any]]:
        """Silver after a build of it alone."""
        build(lake.settings, "+stg_green_trips", data_tests=False)
        found: list[dict[str, Any]] = lake.engine.query(f"select * from {SILVER} order by 1, 2").to_pylist()
        return found

    def snapshots() -> int:
        return len(lake.engine.timeline(SILVER).snapshots)

    assert built() == january + february
    assert snapshots() == 1
    assert built() == january + february
    assert snapshots() == 1  # nothing changed

    march = put(lake, "2024-03", 40)
    assert built() == january + february + march
    assert snapshots() == 2  # a month more

    february = put(lake, "2024-02", 30, seed=1)
    assert built() == january + february + march
    assert snapshots() == 3  # a month restated, with fewer rows

    january, april = put(lake, "2024-01", 70, seed=2), put(lake, "2024-04", 20)
    remove_month(lake.catalog, "green", "2024-03")
    assert built() == january + february + april
    assert snapshots() == 4  # one restated, one more, one gone

    remove_month(lake.catalog, "green", "2024-02")
    assert built() == january + april
    assert snapshots() == 5  # one gone

    project = tmp_path / "project"
    shutil.copytree(project_dir() / "dbt", project / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    declared = project / "dbt" / "dbt_project.yml"
    text = declared.read_text("utf-8")
    declared.write_text(text.replace("max_distance_miles: 200", "max_distance_miles: 1"), "utf-8")
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(project))
    too_far = f"select count(*) from {SILVER} where trip_distance > 1 and rejection_reason is null"
    assert lake.value(too_far) > 0
    assert len(built()) == len(january + april)
    assert lake.value(too_far) == 0
    assert snapshots() == 6  # another threshold: every month
    built()
    assert snapshots() == 6  # and it is known to the next build

    first = lake.engine.timeline(SILVER).snapshots[0].snapshot_id
    assert lake.value(f"select count(*) from {SILVER}", as_of=f"{SILVER}@{first}") == 110
    assert lake.value(f"select count(*) from {GREEN}") == len(january) + len(april)


def test_on_trino_gold_follows_restated_removed_and_rolled_back_months(lake: Lake) -> None:
    raw = Raw(lake.catalog, lake.engine)

    def check() -> None:
        build(lake.settings, " ".join(f"+{mart}" for mart in KEYS), data_tests=False)
        raw.check()

    for service in SERVICES:
        raw.put(service, "2024-01", 0)
    raw.put("green", "2024-02", 0)
    check()

    raw.put("yellow", "2024-01", 1)
    raw.put("yellow", "2024-02", 0)
    raw.remove("green", "2024-02")
    check()

    raw.roll_back("green", 1)
    check()
    added_up = lake.engine.timeline("silver.int_trips_by_hour")
    assert len(added_up.snapshots) == 3


def test_on_trino_a_mart_is_replaced_in_one_snapshot_and_its_refs_stay(lake: Lake) -> None:
    put_zones(lake.catalog)
    put(lake, "2024-01", 60)
    mart = "gold.fct_monthly_quality"
    build(lake.settings, data_tests=False)
    [first] = lake.engine.timeline(mart).snapshots
    lake.catalog.load_table(mart).manage_snapshots().create_tag(first.snapshot_id, "audited").commit()

    put(lake, "2024-02", 30)
    build(lake.settings, data_tests=False)

    trips = f"select sum(trips) from {mart}"
    assert len(lake.engine.timeline(mart).snapshots) == 2
    assert lake.value(trips) == 90
    assert lake.value(trips, as_of="audited") == 60


@takes_minutes
def test_dbt_trinos_default_would_lose_a_marts_history(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project_dir() / "dbt", copy / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    file = copy / "dbt" / "dbt_project.yml"
    setting = "      +on_table_exists: replace\n"
    assert file.read_text("utf-8").count(setting) == 1
    file.write_text(file.read_text("utf-8").replace(setting, ""), "utf-8")
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(copy))

    with pytest.raises(AssertionError, match="assert 1 == 2"):
        test_on_trino_a_mart_is_replaced_in_one_snapshot_and_its_refs_stay(lake)
