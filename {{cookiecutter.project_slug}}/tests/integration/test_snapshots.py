"""Trino's metadata tables and PyIceberg's say the same, and restating a month touches that month alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.integration.lake import GREEN, Lake
from tests.unit.test_zones import renamed

from lakehouse.iceberg.diff import MonthDiff, diff
from lakehouse.iceberg.history import history
from lakehouse.tlc.generate import write_zones


@pytest.fixture
def restated(lake: Lake) -> Lake:
    """Three months, the middle one loaded twice, a tag on the state before."""
    lake.load("green", "2023-01", 500)
    lake.load("green", "2023-02", 400)
    third = lake.load("green", "2023-03", 300)
    assert third.snapshot_id is not None
    lake.catalog.load_table(GREEN).manage_snapshots().create_tag(third.snapshot_id, "before").commit()
    lake.load("green", "2023-02", 450, seed=7)
    return lake


def metadata(lake: Lake, kind: str, columns: str) -> list[tuple[Any, ...]]:
    return sorted(lake.sql(f'select {columns} from raw."green_trips${kind}"'), key=repr)


def test_snapshots_agree(restated: Lake) -> None:
    theirs = restated.catalog.load_table(GREEN).inspect.snapshots().to_pylist()

    assert metadata(restated, "snapshots", "snapshot_id, parent_id, operation, manifest_list") == sorted(
        [(s["snapshot_id"], s["parent_id"], s["operation"], s["manifest_list"]) for s in theirs], key=repr
    )
    assert len(theirs) == 4


def test_history_agrees(restated: Lake) -> None:
    theirs = restated.catalog.load_table(GREEN).inspect.history().to_pylist()

    ours = restated.sql(
        "select to_unixtime(made_current_at), snapshot_id, parent_id, is_current_ancestor "
        'from raw."green_trips$history" order by made_current_at'
    )
    assert [(round(at * 1000), *rest) for at, *rest in ours] == [
        (
            round(h["made_current_at"].timestamp() * 1000),
            h["snapshot_id"],
            h["parent_id"],
            h["is_current_ancestor"],
        )
        for h in theirs
    ]


def test_files_agree(restated: Lake) -> None:
    theirs = restated.catalog.load_table(GREEN).inspect.files().to_pylist()

    assert metadata(restated, "files", "file_path, record_count, file_size_in_bytes") == sorted(
        [(f["file_path"], f["record_count"], f["file_size_in_bytes"]) for f in theirs], key=repr
    )


def test_partitions_agree(restated: Lake) -> None:
    theirs = restated.catalog.load_table(GREEN).inspect.partitions().to_pylist()

    assert metadata(restated, "partitions", "partition.file_month, record_count, file_count") == sorted(
        [(p["partition"]["file_month"], p["record_count"], p["file_count"]) for p in theirs], key=repr
    )


def test_manifests_agree(restated: Lake) -> None:
    theirs = restated.catalog.load_table(GREEN).inspect.manifests().to_pylist()

    assert metadata(restated, "manifests", "path, added_snapshot_id, added_data_files_count") == sorted(
        [(m["path"], m["added_snapshot_id"], m["added_data_files_count"]) for m in theirs], key=repr
    )


def test_refs_agree(restated: Lake) -> None:
    theirs = restated.catalog.load_table(GREEN).metadata.refs

    assert [(r.name, r.kind, r.snapshot_id) for r in restated.engine.refs(GREEN)] == [
        (name, ref.snapshot_ref_type.value, ref.snapshot_id) for name, ref in sorted(theirs.items())
    ]
    assert set(theirs) == {"before", "main"}


def test_metadata_log_entries_agree(restated: Lake) -> None:
    theirs = restated.catalog.load_table(GREEN).inspect.metadata_log_entries().to_pylist()

    assert metadata(restated, "metadata_log_entries", "file, latest_snapshot_id") == sorted(
        [(e["file"], e["latest_snapshot_id"]) for e in theirs], key=repr
    )


def test_restating_one_month_leaves_the_other_months_files_untouched(lake: Lake) -> None:
    for month in ("2023-01", "2023-02", "2023-03"):
        lake.load("green", month, 300)
    by_month = 'select partition.file_month, file_path from raw."green_trips$files" order by 1, 2'
    before = dict(lake.sql(by_month))
    objects = {key: lake.s3.head_object(Bucket="warehouse", Key=key)["ETag"] for key in lake.keys("iceberg/raw/green")}

    lake.load("green", "2023-02", 310, seed=1)

    after = dict(lake.sql(by_month))
    assert [month for month in before if before[month] != after[month]] == [list(before)[1]]
    ((added, removed),) = lake.sql(
        "select element_at(summary, 'added-data-files'), element_at(summary, 'deleted-data-files') "
        'from raw."green_trips$snapshots" order by committed_at desc limit 1'
    )
    assert (added, removed) == ("1", "1")
    for key, etag in objects.items():
        assert lake.s3.head_object(Bucket="warehouse", Key=key)["ETag"] == etag


def test_an_older_zone_lookup_after_the_newer_one_is_one_snapshot_and_the_zones_that_changed_are_shown(
    lake: Lake, tmp_path: Path
) -> None:
    older = write_zones(tmp_path / "taxi_zone_lookup.csv")
    newer = renamed(older, tmp_path / "newer.csv")
    versions = []
    for file in (newer, older):
        lake.landing.put("zones", None, file, "test")
        versions.append(str(lake.reload("zones", None).snapshot_id))

    again = lake.reload("zones", None)
    found = diff(lake.engine, lake.catalog, "raw.taxi_zones", *versions)

    assert again.action == "unchanged"
    assert [row.total_rows for row in history(lake.engine, "raw.taxi_zones")] == [264, 265]
    assert found.months == (MonthDiff(None, added=1, removed=0, changed=1, same=263),)
    assert found.changed_rows == ({"location_id": 7, "zone": ["Renamed", "Generated zone 7"]},)
