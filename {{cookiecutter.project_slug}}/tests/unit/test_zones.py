"""The zone lookup: one snapshot for one lookup, replaced whole by a newer one."""

from __future__ import annotations

from pathlib import Path

from tests.lake import Lake

from lakehouse.iceberg.loading import LoadResult, load
from lakehouse.tlc.generate import write_zones

TABLE = "raw.taxi_zones"


def load_zones(lake: Lake, file: Path) -> LoadResult:
    lake.landing.put("zones", None, file, "test")
    return load(lake.catalog, lake.landing, "zones", None)


def test_the_same_lookup_again_makes_no_snapshot_and_a_newer_one_replaces_it_whole(lake: Lake, tmp_path: Path) -> None:
    file = write_zones(tmp_path / "taxi_zone_lookup.csv")

    first, again = load_zones(lake, file), load_zones(lake, file)
    file.write_bytes(file.read_bytes() + b'266,"Queens","Somewhere new","Boro Zone"\r\n')
    newer = load_zones(lake, file)

    assert (first.action, again.action, newer.action) == ("loaded", "unchanged", "loaded")
    assert [row.total_rows for row in lake.history(TABLE)] == [265, 266]
    assert lake.rows(f"select count(*) as n, count(distinct location_id) as ids from {TABLE}") == [
        {"n": 266, "ids": 266}
    ]
