"""Real files of the TLC, where TLC_DATA names a folder of them: equal rows and column sums, or a refusal."""

from __future__ import annotations

import csv
import re
import shutil
from math import isclose
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import SourceError
from lakehouse.landing.land import land
from lakehouse.loading.conform import plan
from lakehouse.loading.load import load

NAME = re.compile(r"(yellow|green)_tripdata_(\d{4}-\d{2})\b.*\.parquet")


def files_of(folder: Path) -> list[tuple[Path, str, str]]:
    """Every real file, its dataset and month."""
    found = [(path, NAME.fullmatch(path.name)) for path in sorted(folder.rglob("*.parquet"))]
    return [(path, match[1], match[2]) for path, match in found if match]


def sums(source: str, columns: dict[str, str], rows: pa.Table | None = None) -> dict[str, tuple[int, Any]]:
    """Count of values and sum (or least and greatest) of each column, by another reader than the loader's."""
    parts = ", ".join(
        f"""count(nullif(trim(cast("{published}" as varchar)), '')), sum(try_cast("{published}" as double)),
            min(try_cast("{published}" as timestamp)), max(try_cast("{published}" as timestamp))"""
        for published in columns.values()
    )
    with duckdb.connect() as connection:
        if rows is not None:
            connection.register(source, rows)
        row = connection.execute(f"select {parts} from {source}").fetchone()
    assert row is not None
    return {name: (row[4 * n], row[4 * n + 1 : 4 * n + 4]) for n, name in enumerate(columns)}


def test_every_real_file_is_loaded_with_equal_rows_and_column_sums(lake: Lake, tlc_data: Path) -> None:
    whole = [f for f in files_of(tlc_data) if "truncated" not in f[0].name]
    if not whole:
        pytest.skip("TLC_DATA holds no TLC files")
    for path, name, month in whole:
        dataset = DATASETS[name]
        match = plan(dataset, Month.parse(month), pq.read_schema(path), path.name)
        columns = {column: source for column, source in match.sources.items() if source is not None}

        result = lake.load(name, month, path, allow_shrink=True, again=True)

        assert result.rows == pq.read_metadata(path).num_rows, path.name
        rows = lake.table(dataset.table).scan(row_filter=f"file_month == '{month}-01'").to_arrow()
        assert rows.num_rows == result.rows
        published = sums(f"read_parquet('{path}')", columns)
        for column, (count, figures) in sums("rows", {column: column for column in columns}, rows).items():
            assert count == published[column][0], (path.name, column)
            for ours, theirs in zip(figures, published[column][1], strict=True):
                if isinstance(ours, float) and isinstance(theirs, float):
                    assert isclose(ours, theirs, rel_tol=1e-9), (path.name, column)
                else:
                    assert ours == theirs, (path.name, column)


def test_every_real_zone_lookup_is_loaded_row_by_row_as_published(lake: Lake, tlc_data: Path) -> None:
    lookups = sorted(tlc_data.rglob("taxi_zone_lookup*.csv"))
    if not lookups:
        pytest.skip("TLC_DATA holds no zone lookup")
    for path in lookups:
        with path.open(encoding="utf-8-sig", newline="") as text:
            _, *published = csv.reader(text)
        lake.landing.put(DatasetFile("zones"), path, path.as_uri())

        result = load(lake.catalog, lake.landing, DatasetFile("zones"))

        rows = lake.rows("select location_id, borough, zone, service_zone from raw.taxi_zones order by location_id")
        assert [[str(value) for value in row.values()] for row in rows] == sorted(published, key=lambda r: int(r[0]))
        assert result.rows == len(published)
    assert len(lake.history("raw.taxi_zones")) == len({path.read_bytes() for path in lookups})


def test_a_file_cut_short_does_not_even_land(lake: Lake, tlc_data: Path, tmp_path: Path) -> None:
    cut = [f for f in files_of(tlc_data) if "truncated" in f[0].name]
    if not cut:
        pytest.skip("TLC_DATA holds no truncated file")
    for path, name, month in cut:
        folder = tmp_path / "source"
        folder.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / DATASETS[name].file_name(Month.parse(month)))

        with pytest.raises(SourceError, match="cut short"):
            land(lake.landing, str(folder), DatasetFile(name, Month.parse(month)))

    assert lake.landing.listing() == []


def test_two_consecutive_months_load_across_a_real_change_of_types(lake: Lake, tlc_data: Path) -> None:
    for month in ("2023-01", "2023-02"):
        if not list(tlc_data.rglob(f"green_tripdata_{month}.parquet")):
            pytest.skip(f"TLC_DATA holds no green {month}")
        land(lake.landing, str(tlc_data), DatasetFile("green", Month.parse(month)))
        lake.load("green", month)

    assert [row.total_rows for row in lake.history("raw.green_trips")] == [68_211, 133_020]
