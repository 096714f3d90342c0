"""Every row of silver and gold, to the last cent, against plain Python; and columns and types against the yml."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from tests.dashboard import check
from tests.dbt.conftest import Build, new_lake
from tests.dbt.raw import gold, made_up_rows, put_month, put_zones, silver_row
from tests.lake import Lake

from lakehouse.report import make_report

MONTHS = {"yellow": ["2009-06", "2024-01", "2024-02"], "green": ["2024-01", "2024-12"]}
ROWS = 600
Row = dict[str, Any]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, run_build: Build) -> tuple[Lake, dict[str, list[Row]]]:
    """A lakehouse built on made-up months of different eras, and what silver must hold."""
    lake = new_lake(tmp_path_factory.mktemp("rows"))
    expected: dict[str, list[Row]] = {}
    for dataset, months in MONTHS.items():
        for month in months:
            rows = made_up_rows(dataset, month, ROWS)
            sha = put_month(lake.catalog, dataset, month, rows)
            expected.setdefault(dataset, []).extend(
                silver_row(dataset, month, sha, i, row) for i, row in enumerate(rows)
            )
    put_zones(lake.catalog)
    result = run_build(lake, data_tests=True)
    assert len(result.tests) > 100
    assert result.raw_moved == ()
    return lake, expected


@pytest.mark.parametrize("dataset", MONTHS)
def test_silver_is_every_raw_row_judged(built: tuple[Lake, dict[str, list[Row]]], dataset: str) -> None:
    lake, expected = built

    rows = lake.rows(f"select * from silver.stg_{dataset}_trips order by file_month, file_row")

    assert len(rows) == ROWS * len(MONTHS[dataset])
    for ours, theirs in zip(rows, expected[dataset], strict=True):
        assert ours == theirs
    assert len({row["rejection_reason"] for row in rows}) == 8  # each reason was met


# The marts of the taxis; one of your own has its unit test in its yml file.
@pytest.mark.parametrize(
    ("mart", "keys"),
    [
        ("fct_daily_trips", "service_type, pickup_date"),
        ("fct_hourly_revenue", "service_type, pickup_date, pickup_hour"),
        ("fct_trip_distance_stats", "service_type, pickup_location_id, dropoff_location_id"),
        ("fct_monthly_quality", "service_type, file_month, rejection_reason"),
    ],
)
def test_a_mart_is_what_plain_python_makes_of_silver(
    built: tuple[Lake, dict[str, list[Row]]], mart: str, keys: str
) -> None:
    lake, trips = built
    expected = {tuple(row[key] for key in keys.split(", ")): row for row in gold(trips)[mart]}

    rows = lake.rows(f"select * from gold.{mart} order by {keys}")

    assert len(rows) == len(expected)
    for row in rows:
        wanted = expected[tuple(row[key] for key in keys.split(", "))]
        assert {name: row[name] for name in wanted} == wanted


def test_distance_stats_carry_the_names_of_zones(built: tuple[Lake, dict[str, list[Row]]]) -> None:
    lake, _ = built

    rows = lake.rows("select * from gold.fct_trip_distance_stats")

    assert all(row["pickup_zone"] == f"Zone {row['pickup_location_id']}" for row in rows)
    assert all(row["dropoff_borough"] == f"Borough {row['dropoff_location_id'] % 6}" for row in rows)
    assert 264 in {row["pickup_location_id"] for row in rows}


def test_zones_are_the_lookup(built: tuple[Lake, dict[str, list[Row]]]) -> None:
    lake, _ = built

    rows = lake.rows("select * from gold.dim_zones order by location_id")

    assert [row["location_id"] for row in rows] == list(range(1, 266))
    assert rows[0] == {"location_id": 1, "borough": "Borough 1", "zone": "Zone 1", "service_zone": "Boro Zone"}


def test_columns_and_types_are_those_of_the_yml(built: tuple[Lake, dict[str, list[Row]]]) -> None:
    lake, _ = built
    manifest = json.loads((lake.settings.home / "dbt" / "embedded" / "manifest.json").read_text("utf-8"))
    words = {"long": "bigint", "int": "integer", "string": "varchar", "binary": "varbinary"}
    words |= {"timestamp": "timestamp(6)", "timestamptz": "timestamp(6) with time zone"}

    for node in manifest["nodes"].values():
        if node["resource_type"] != "model" or node["config"]["materialized"] == "ephemeral":
            continue
        fields = lake.table(f"{node['schema']}.{node['name']}").schema().fields
        built_columns = [(f.name, words.get(str(f.field_type), str(f.field_type).replace(", ", ","))) for f in fields]
        declared = [(column["name"], column["data_type"]) for column in node["columns"].values()]
        assert built_columns == declared
        assert all(f.doc == " ".join(node["columns"][f.name]["description"].split()) for f in fields)


def test_quality_adds_up_to_raw(built: tuple[Lake, dict[str, list[Row]]]) -> None:
    lake, _ = built

    months = lake.rows("select service_type, file_month, sum(trips) as n from gold.fct_monthly_quality group by all")

    assert sum(month["n"] for month in months) == 5 * ROWS
    assert {month["n"] for month in months} == {ROWS}


def test_the_dashboard_shows_what_plain_python_makes_of_silver(built: tuple[Lake, dict[str, list[Row]]]) -> None:
    lake, trips = built
    zones = {row["location_id"]: (row["zone"], row["borough"]) for row in lake.rows("select * from gold.dim_zones")}

    check(make_report(lake.settings).dashboard_html, trips, zones)


def test_no_amount_is_a_float(built: tuple[Lake, dict[str, list[Row]]]) -> None:
    lake, _ = built

    for table in ("silver.stg_green_trips", "silver.stg_yellow_trips", *(f"gold.{mart}" for mart in gold({}))):
        assert not [f.name for f in lake.table(table).schema().fields if str(f.field_type) in {"double", "float"}]
    assert lake.rows("select sum(total_amount) as t from gold.fct_daily_trips")[0]["t"].as_tuple().exponent == -2
    assert isinstance(lake.rows("select sum(total_amount) as t from gold.fct_daily_trips")[0]["t"], Decimal)
