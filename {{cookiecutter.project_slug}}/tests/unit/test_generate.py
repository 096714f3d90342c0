"""Generated months: the columns and types of every era, the same rows for the same seed, marked as what they are."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.datasets.model import normalised
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import parse_months
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import SettingsError
from lakehouse.synthetic.eras import FIRST_MONTHS, published_fields, published_schema
from lakehouse.synthetic.generate import is_synthetic, write_month, write_zones

ERAS = [
    ("yellow", Month(2009, 1)),
    ("yellow", Month(2010, 1)),
    ("yellow", Month(2010, 2)),
    ("yellow", Month(2011, 1)),
    ("yellow", Month(2014, 12)),
    ("yellow", Month(2019, 2)),
    ("yellow", Month(2020, 10)),
    ("yellow", Month(2023, 1)),
    ("yellow", Month(2023, 2)),
    ("yellow", Month(2025, 1)),
    ("yellow", Month(2026, 6)),
    ("green", Month(2013, 8)),
    ("green", Month(2019, 9)),
    ("green", Month(2023, 1)),
    ("green", Month(2023, 2)),
    ("green", Month(2025, 1)),
    ("green", Month(2026, 6)),
]


def column(table: pa.Table, what: str, dataset: str, month: Month) -> Any:
    (name,) = [name for key, name, _ in published_fields(dataset, month) if key == what]
    return table[name]


@pytest.mark.parametrize(("dataset", "month"), ERAS, ids=str)
def test_every_era_has_its_own_columns_and_types(tmp_path: Path, dataset: str, month: Month) -> None:
    path = write_month(tmp_path / "month.parquet", dataset, month, 2_000)

    table = pq.read_table(path)
    assert table.num_rows == 2_000
    assert table.schema.remove_metadata() == published_schema(dataset, month)
    assert is_synthetic(path)


def test_the_same_arguments_give_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = (
        write_month(tmp_path / f"{n}.parquet", "green", Month(2024, 1), 5_000, seed=seed)
        for n, seed in enumerate((7, 7, 8))
    )

    assert first.read_bytes() == again.read_bytes()
    assert not pq.read_table(first).equals(pq.read_table(other))


def test_row_groups_do_not_change_the_rows(tmp_path: Path) -> None:
    plain = write_month(tmp_path / "plain.parquet", "green", Month(2024, 1), 150_000)
    small = write_month(tmp_path / "small.parquet", "green", Month(2024, 1), 150_000, row_group_rows=40_000)

    groups = pq.ParquetFile(small).metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [40_000, 40_000, 40_000, 30_000]
    assert pq.read_table(plain).equals(pq.read_table(small))


@pytest.mark.parametrize(("dataset", "month"), [("yellow", Month(2024, 2)), ("green", Month(2023, 1))], ids=str)
def test_a_month_is_dirty_as_real_months_are(tmp_path: Path, dataset: str, month: Month) -> None:
    rows = 60_000
    table = pq.read_table(write_month(tmp_path / "month.parquet", dataset, month, rows))

    pickup, dropoff = (column(table, what, dataset, month).to_numpy() for what in ("pickup", "dropoff"))
    outside = (pickup < np.datetime64(month.first_day)) | (pickup >= np.datetime64(month.next.first_day))
    assert 2 <= outside.sum() <= 45
    assert pickup.min().astype(object).year == 2002
    passengers = column(table, "passengers", dataset, month)
    assert 0.03 < passengers.null_count / rows < 0.13
    assert column(table, "flag", dataset, month).null_count == passengers.null_count
    assert (column(table, "payment", dataset, month).null_count > 0) == (dataset == "green")
    assert 0.001 < (column(table, "fare", dataset, month).to_numpy() < 0).mean() < 0.006
    distances = column(table, "distance", dataset, month).to_numpy()
    assert 0.02 < (distances == 0).mean() < 0.06
    assert distances.max() > 20_000
    assert 0 < (dropoff < pickup).mean() < 0.01


def test_a_reversal_takes_back_the_trip_before_it(tmp_path: Path) -> None:
    table = pq.read_table(write_month(tmp_path / "month.parquet", "green", Month(2024, 1), 20_000, strays=False))
    rows = table.to_pylist()

    reversals = [n for n, row in enumerate(rows) if row["fare_amount"] < 0]
    assert reversals
    for n in reversals:
        for name in ("VendorID", "lpep_pickup_datetime", "DOLocationID"):
            assert rows[n][name] == rows[n - 1][name]
        assert rows[n]["total_amount"] == -rows[n - 1]["total_amount"]


@pytest.mark.parametrize(("dataset", "month"), [("yellow", Month(2016, 3)), ("green", Month(2025, 2))], ids=str)
def test_a_clean_month_has_nothing_that_silver_would_reject(tmp_path: Path, dataset: str, month: Month) -> None:
    path = write_month(tmp_path / "month.parquet", dataset, month, 40_000, dirt=False, strays=False)
    table = pq.read_table(path)

    values = {
        what: column(table, what, dataset, month).to_numpy()
        for what in ("pickup", "dropoff", "fare", "total", "pickup_zone", "dropoff_zone", "distance")
    }
    assert values["pickup"].min() >= np.datetime64(month.first_day)
    assert values["pickup"].max() < np.datetime64(month.next.first_day)
    durations = (values["dropoff"] - values["pickup"]).astype("timedelta64[s]").astype(int)
    assert 0 < durations.min() <= durations.max() <= 12 * 3_600
    assert min(values["fare"].min(), values["total"].min()) > 0
    assert min(values["pickup_zone"].min(), values["dropoff_zone"].min()) >= 1
    assert max(values["pickup_zone"].max(), values["dropoff_zone"].max()) <= 263
    assert values["distance"].max() <= 200


def test_the_total_is_the_sum_of_the_amounts_that_are_published(tmp_path: Path) -> None:
    table = pq.read_table(
        write_month(tmp_path / "month.parquet", "yellow", Month(2025, 3), 5_000, dirt=False, strays=False)
    )

    for row in table.to_pylist():
        amounts = [
            value for name, value in row.items() if name.endswith(("amount", "extra", "tax", "surcharge", "fee"))
        ]
        if None not in amounts:
            assert sum(amounts) - row["total_amount"] == pytest.approx(row["total_amount"], abs=0.005)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_tiny_months_can_be_made(tmp_path: Path, rows: int) -> None:
    assert pq.read_metadata(write_month(tmp_path / "m.parquet", "yellow", Month(2024, 1), rows)).num_rows == rows


def test_a_month_that_was_never_published_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="green 2013-07"):
        write_month(tmp_path / "m.parquet", "green", Month(2013, 7), 10)


def test_a_generated_zone_lookup_is_whole_and_says_what_it_is(tmp_path: Path) -> None:
    path = write_zones(tmp_path / "taxi_zone_lookup.csv")

    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["LocationID"]) for row in rows] == list(range(1, 266))
    assert rows[0]["Zone"] == "Generated zone 1"
    assert b"\r\n" in path.read_bytes()
    assert is_synthetic(path)


def test_every_column_appears_in_an_era_and_every_era_is_declared() -> None:
    for dataset in (DATASETS[name] for name in FIRST_MONTHS):
        seen = set()
        for month in parse_months([f"{dataset.first_part}..2026-12"]):
            for field in published_schema(dataset.name, month):
                declared = {
                    column.name
                    for column in dataset.columns
                    for published in (*(n.text for n in column.names if n.used_in(month)), column.name)
                    if normalised(published) == normalised(field.name)
                }
                assert declared or field.name in dataset.ignored, (dataset.name, month, field.name)
                seen |= declared
        assert seen == {column.name for column in dataset.columns}


def test_every_published_file_has_the_columns_that_its_era_says(tlc_data: Path) -> None:
    lists = sorted(tlc_data.rglob("tlc_published_files.csv"))
    if not lists:
        pytest.skip("no tlc_published_files.csv in TLC_DATA")

    with lists[0].open(encoding="utf-8", newline="") as file:
        published = list(csv.DictReader(file))

    assert len(published) >= 300
    for row in published:
        assert published_schema(row["dataset"], Month.parse(row["month"])).names == row["columns"].split(","), row[
            "month"
        ]


def test_official_files_have_the_types_that_their_era_says(tlc_data: Path) -> None:
    checked = 0
    for dataset in FIRST_MONTHS:
        for path in sorted((tlc_data / dataset).glob(f"{dataset}_tripdata_????-??.parquet")):
            assert published_schema(dataset, Month.parse(path.stem[-7:])) == pq.read_schema(path).remove_metadata(), (
                path
            )
            checked += 1
    if not checked:
        pytest.skip("no whole official months in TLC_DATA")
