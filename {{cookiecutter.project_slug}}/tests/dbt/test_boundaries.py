"""The largest values that a load takes, in every numeric column: kept from the file to silver, and summed in marts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.dbt.conftest import Build
from tests.dbt.raw import AMOUNTS, put_zones
from tests.lake import Lake

from lakehouse.datasets.model import LARGEST_CODE, Column
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import RefusedError
from lakehouse.synthetic.eras import FIRST_MONTHS

ROWS = 20
MONTH = "2025-01"
# Silver's names of raw's whole numbers.
WHOLE = {
    "vendor_id": "vendor_id",
    "rate_code_id": "rate_code_id",
    "payment_type": "payment_type_id",
    "trip_type": "trip_type_id",
    "passenger_count": "passenger_count",
}


def numeric(dataset: str) -> Iterator[Column]:
    """The columns of numbers that files of the month have, but for the zones: those have a range of their own."""
    for column in DATASETS[dataset].columns:
        if column.type in ("long", "double") and column.required_in(Month.parse(MONTH)) and column.role != "zone":
            yield column


TRIPS = list(FIRST_MONTHS)
COLUMNS = [(dataset, column) for dataset in TRIPS for column in numeric(dataset)]


def with_values(path: Path, values: dict[str, list[Any]]) -> pa.Table:
    """A file's table with other values in some columns, by the names in the file."""
    table = pq.read_table(path)
    for name, column in values.items():
        whole = all(isinstance(value, int) for value in column)
        array = pa.array(column, pa.int64() if whole else pa.float64())
        table = table.set_column(table.column_names.index(name), name, array)
    return table


def beyond(column: Column) -> list[Any]:
    """The nearest numbers that are out of range."""
    largest: Any = column.largest
    if column.type == "double":
        return [sign * math.nextafter(largest, math.inf) for sign in (1, -1)]
    return [largest + 1, -largest - 1]


def test_the_largest_values_reach_silver_and_the_sums_of_the_marts(lake: Lake, run_build: Build) -> None:
    put_zones(lake.catalog)
    for dataset in TRIPS:
        values = {
            column.published_name(Month.parse(MONTH)): [column.largest] * (ROWS - 1) + [-column.largest]
            for column in numeric(dataset)
        }
        path = lake.generate(dataset, MONTH, ROWS, dirt=False, strays=False)
        lake.load(dataset, MONTH, lake.write(dataset, MONTH, with_values(path, values)))

    run_build(lake, data_tests=True)

    for dataset in TRIPS:
        rows = lake.rows(f"select * from silver.stg_{dataset}_trips order by file_row")
        for column in numeric(dataset):
            name = {**AMOUNTS, **WHOLE}[column.name]
            largest = Decimal(str(column.largest))
            assert [Decimal(row[name]) for row in rows] == [largest] * (ROWS - 1) + [-largest], column.name
    # Trips of that length are rejected by the marts: what they sum is shown by the month's quality.
    quality = lake.rows("select service_type, sum(total_amount) as total from gold.fct_monthly_quality group by 1")
    total = Decimal(str(next(c.largest for _, c in COLUMNS if c.name == "total_amount")))
    assert {row["service_type"]: row["total"] for row in quality} == dict.fromkeys(TRIPS, total * (ROWS - 2))


def test_the_marts_sum_the_largest_counts_and_amounts(lake: Lake, run_build: Build) -> None:
    put_zones(lake.catalog)
    columns = [c for c in numeric("green") if c.name != "trip_distance"]
    values = {column.published_name(Month.parse(MONTH)): [column.largest] * ROWS for column in columns}
    path = lake.generate("green", MONTH, ROWS, dirt=False, strays=False)
    lake.load("green", MONTH, lake.write("green", MONTH, with_values(path, values)))

    run_build(lake)

    largest = {column.name: Decimal(str(column.largest)) for column in columns}
    (days,) = lake.rows(
        "select sum(trips) as n, sum(passengers) as p, sum(total_amount) as t from gold.fct_daily_trips"
    )
    assert (days["n"], days["p"]) == (ROWS, largest["passenger_count"] * ROWS)
    assert days["t"] == largest["total_amount"] * ROWS
    (hours,) = lake.rows("select sum(tip_amount) as t, sum(surcharge_amount) as s from gold.fct_hourly_revenue")
    assert hours["t"] == largest["tip_amount"] * ROWS
    assert hours["s"] == largest["extra"] * ROWS * 5  # extra, tax, improvement, congestion, cbd


def test_the_first_and_the_last_time_that_a_load_takes_reach_silver(lake: Lake, run_build: Build) -> None:
    put_zones(lake.catalog)
    first, last = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001 - New York's clocks
    path = lake.generate("green", MONTH, ROWS, dirt=False, strays=False)
    table = pq.read_table(path)
    for name, value in (("lpep_pickup_datetime", first), ("lpep_dropoff_datetime", last)):
        times = pa.array([value, *table[name].to_pylist()[1:]], pa.timestamp("us"))
        table = table.set_column(table.column_names.index(name), name, times)
    lake.load("green", MONTH, lake.write("green", MONTH, table))

    run_build(lake)

    row, *_ = lake.rows("select * from silver.stg_green_trips order by file_row")
    assert (row["pickup_at"], row["dropoff_at"], row["pickup_date"]) == (first, last, first.date())
    assert row["duration_seconds"] == (last - first) // timedelta(seconds=1)
    assert row["rejection_reason"] == "pickup_outside_month"


# A code takes every whole number that a bigint holds.
RANGED = [(dataset, column) for dataset, column in COLUMNS if column.largest != LARGEST_CODE]


@pytest.mark.parametrize(("dataset", "column"), RANGED, ids=[f"{d}-{c.name}" for d, c in RANGED])
def test_the_next_larger_number_is_refused_with_its_range(lake: Lake, dataset: str, column: Column) -> None:
    path = lake.generate(dataset, MONTH, ROWS, dirt=False, strays=False)
    name = column.published_name(Month.parse(MONTH))

    for value in beyond(column):
        file = lake.write(dataset, MONTH, with_values(path, {name: [1] * 7 + [value] + [1] * (ROWS - 8)}))
        with pytest.raises(RefusedError) as refused:
            lake.load(dataset, MONTH, file)
        assert f"the column {name!r} has {value!r} in row 7 " in str(refused.value)
        assert f" from {-column.largest:,} to {column.largest:,} for the table's column {column.name}" in str(
            refused.value
        )
