"""The zone lookup: one snapshot for one lookup, replaced whole by a newer one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.errors import RefusedError
from lakehouse.history.diff import PartDiff, diff
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult
from lakehouse.synthetic.generate import write_zones

TABLE = "raw.taxi_zones"


def renamed(lookup: Path, to: Path) -> Path:
    """The lookup with another name for zone 7, and without the last zone."""
    lines = lookup.read_text("utf-8").splitlines(keepends=True)[:-1]
    to.write_text("".join(line.replace('"Generated zone 7"', '"Renamed"') for line in lines), "utf-8")
    return to


def load_zones(lake: Lake, file: Path) -> LoadResult:
    lake.landing.put(DatasetFile("zones"), file, "test")
    return load(lake.catalog, lake.landing, DatasetFile("zones"))


def test_the_same_lookup_makes_no_snapshot_and_a_newer_replaces_it(lake: Lake, tmp_path: Path) -> None:
    file = write_zones(tmp_path / "taxi_zone_lookup.csv")

    first, again = load_zones(lake, file), load_zones(lake, file)
    file.write_bytes(file.read_bytes() + b'266,"Queens","Somewhere new","Boro Zone"\r\n')
    newer = load_zones(lake, file)

    assert (first.action, again.action, newer.action) == ("loaded", "unchanged", "loaded")
    assert [row.total_rows for row in lake.history(TABLE)] == [265, 266]
    assert lake.rows(f"select count(*) as n, count(distinct location_id) as ids from {TABLE}") == [
        {"n": 266, "ids": 266}
    ]


def test_an_older_lookup_after_a_newer_one_is_one_snapshot(lake: Lake, tmp_path: Path) -> None:
    older = write_zones(tmp_path / "taxi_zone_lookup.csv")
    newer = renamed(older, tmp_path / "newer.csv")
    versions = [load_zones(lake, file) for file in (newer, older)]

    again = load_zones(lake, older)
    found = diff(lake.engine, lake.catalog, TABLE, *(str(version.snapshot_id) for version in versions))

    assert again.action == "unchanged"
    assert [row.total_rows for row in lake.history(TABLE)] == [264, 265]
    assert found.months == (PartDiff(None, added=1, removed=0, changed=1, same=263),)
    assert [row["location_id"] for row in found.added_rows] == [265]
    assert found.changed_rows == ({"location_id": 7, "zone": ["Renamed", "Generated zone 7"]},)


HEADER = '"LocationID","Borough","Zone","service_zone"'


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (HEADER + ',"Zone"', "", "the columns 'Zone' and 'Zone' are both names of the table's column zone"),
        (
            HEADER + ',"location_id"',
            "",
            "the columns 'LocationID' and 'location_id' are both names of",
        ),
        (HEADER.replace("Borough", "County"), "", "the column 'Borough' is missing"),
        (
            HEADER,
            '"0x10A","Queens","266","Boro Zone"',
            "'LocationID' has '0x10A' in row 265 .*; expected a whole number",
        ),
        (
            HEADER,
            '"1.5","Queens","One and a half","Boro Zone"',
            "'LocationID' has '1.5' in row 265 .*; expected a whole number",
        ),
        (HEADER, '" ","Queens","None","Boro Zone"', "'LocationID' has no value in row 265"),
        (HEADER, '"7.0","Queens","Seven again","Boro Zone"', "more than one row has 'LocationID' = 7,"),
    ],
    ids=["a name twice", "two forms of it", "no borough", "hexadecimal", "a fraction", "no id", "an id twice"],
)
def test_a_wrong_lookup_is_refused_with_its_cause(
    lake: Lake, tmp_path: Path, header: str, row: str, message: str
) -> None:
    file = write_zones(tmp_path / "taxi_zone_lookup.csv")
    load_zones(lake, file)
    _, *rows = file.read_text("utf-8").splitlines()
    if header.count(",") > HEADER.count(","):
        rows = [f"{line},1" for line in rows]
    file.write_text("\n".join([header, *rows, row]), "utf-8")

    with pytest.raises(RefusedError, match=message) as caught:
        load_zones(lake, file)

    assert str(caught.value).startswith("taxi_zone_lookup.csv: ")
    assert "--refresh" in str(caught.value)
    assert [line.total_rows for line in lake.history(TABLE)] == [265]
