"""Damage is never silent: a flipped bit is refused, in a landed file and in a staged one before its commit."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.errors import LandingError, RefusedError
from lakehouse.iceberg import staging
from lakehouse.landing.land import land
from lakehouse.loading.load import load
from lakehouse.synthetic.generate import write_zones

TABLE = "raw.green_trips"
FLIPS = int(os.environ.get("LAKEHOUSE_TEST_FLIPS", "60"))


def flip(path: Path, place: int) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)


def test_no_flipped_bit_of_a_landed_file_is_loaded(lake: Lake) -> None:
    chance = random.Random(2)  # noqa: S311 - places to damage
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 200))
    landed = lake.land("green", "2024-01", lake.generate("green", "2024-01", 2_000))
    path = lake.settings.landing_dir / "green_trips" / landed.file.name

    for place in chance.sample(range(8 * landed.size), FLIPS):
        flip(path, place)
        with pytest.raises((RefusedError, LandingError), match="was changed after it was landed"):
            lake.load("green", "2024-01")
        flip(path, place)

    assert [row.file_month for row in lake.history(TABLE)] == ["2024-02"]
    assert lake.load("green", "2024-01").rows == 2_000


def test_no_flipped_bit_of_a_landed_zone_lookup_is_loaded(lake: Lake, tmp_path: Path) -> None:
    landed = lake.landing.put(DatasetFile("zones"), write_zones(tmp_path / "taxi_zone_lookup.csv"), "test")
    path = lake.settings.landing_dir / "taxi_zones" / landed.file.name

    flip(path, 8 * landed.size - 80)
    with pytest.raises(RefusedError, match="was changed after it was landed"):
        load(lake.catalog, lake.landing, DatasetFile("zones"))
    flip(path, 8 * landed.size - 80)

    assert load(lake.catalog, lake.landing, DatasetFile("zones")).rows == 265


def test_a_column_name_that_is_no_text_is_refused(lake: Lake) -> None:
    file = lake.generate("green", "2024-01", 100)
    pq.write_table(pq.read_table(file), file, store_schema=False)
    file.write_bytes(file.read_bytes().replace(b"trip_type", b"trip\xfftype"))

    with pytest.raises(RefusedError, match=r"the name of a column is not text in UTF-8: b'trip\\xfftype'"):
        lake.load("green", "2024-01", file)
    source = file.rename(file.with_name("green_tripdata_2024-01.parquet")).parent
    assert land(lake.landing, str(source), DatasetFile("green", Month(2024, 1)), refresh=True).size


def test_a_flipped_bit_of_a_staged_file_changes_no_value(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(3)  # noqa: S311 - places to damage
    real: Any = staging.__dict__["write_data_file"]
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 2_000))
    whole = lake.table(TABLE).scan().to_arrow()
    refused = 0

    def write_and_damage(*arguments: object) -> object:
        file, totals = real(*arguments)
        path = Path(urlsplit(file.file_path).path)
        flip(path, chance.randrange(8 * path.stat().st_size))
        return file, totals

    monkeypatch.setattr(staging, "write_data_file", write_and_damage)
    for _ in range(FLIPS):
        try:
            lake.load("green", "2024-01", again=True)
        except RefusedError as error:
            assert "read back" in str(error) or "not what was written" in str(error)  # noqa: PT017 - one of many
            refused += 1
        else:
            # page headers and the footer carry no checksum: the bit was in what no reader needs, or padding
            assert lake.table(TABLE).scan().to_arrow().equals(whole)

    assert refused > FLIPS // 2
