"""The zone lookup: one snapshot for one lookup, replaced whole by a newer one."""

from __future__ import annotations

from pathlib import Path

from tests.lake import Lake

from lakehouse.iceberg.diff import MonthDiff, diff
from lakehouse.iceberg.loading import LoadResult, load
from lakehouse.tlc.generate import write_zones

TABLE = "raw.taxi_zones"


def renamed(lookup: Path, to: Path) -> Path:
    """The lookup with another name for zone 7, and without the last zone."""
    lines = lookup.read_text("utf-8").splitlines(keepends=True)[:-1]
    to.write_text("".join(line.replace('"Generated zone 7"', '"Renamed"') for line in lines), "utf-8")
    return to


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


def test_an_older_lookup_after_the_newer_one_is_one_snapshot_and_the_zones_that_changed_are_shown(
    lake: Lake, tmp_path: Path
) -> None:
    older = write_zones(tmp_path / "taxi_zone_lookup.csv")
    newer = renamed(older, tmp_path / "newer.csv")
    versions = [load_zones(lake, file) for file in (newer, older)]

    again = load_zones(lake, older)
    found = diff(lake.engine, lake.catalog, TABLE, *(str(version.snapshot_id) for version in versions))

    assert again.action == "unchanged"
    assert [row.total_rows for row in lake.history(TABLE)] == [264, 265]
    assert found.months == (MonthDiff(None, added=1, removed=0, changed=1, same=263),)
    assert [row["location_id"] for row in found.added_rows] == [265]
    assert found.changed_rows == ({"location_id": 7, "zone": ["Renamed", "Generated zone 7"]},)
