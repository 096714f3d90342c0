"""Trino's metadata tables and PyIceberg's say the same, and restating a month touches that month alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.integration.lake import GREEN, Lake
from tests.unit.test_zones import renamed

from lakehouse.datasets.file import DatasetFile
from lakehouse.history.diff import PartDiff, diff
from lakehouse.history.history import history, loaded
from lakehouse.iceberg.refs import rollback
from lakehouse.synthetic.generate import write_zones


@pytest.fixture
def restated(lake: Lake) -> Lake:
    """Three months, a tag and a branch; the middle one loaded again, rolled back, and again; rows deleted by Trino."""
    lake.load("green", "2023-01", 500)
    lake.load("green", "2023-02", 400)
    third = lake.load("green", "2023-03", 300)
    assert third.snapshot_id is not None
    table = lake.catalog.load_table(GREEN)
    table.manage_snapshots().create_tag(third.snapshot_id, "before").create_branch(third.snapshot_id, "trial").commit()
    table.append(table.scan(limit=10).to_arrow(), branch="trial")
    lake.load("green", "2023-02", 450, seed=7)
    rollback(lake.catalog, GREEN, third.snapshot_id)
    lake.load("green", "2023-02", 460, seed=8)
    lake.sql("delete from raw.green_trips where file_month = date '2023-01-01' and file_row < 3")
    return lake


def metadata(lake: Lake, kind: str, columns: str) -> list[tuple[Any, ...]]:
    return sorted(lake.sql(f'select {columns} from raw."green_trips${kind}"'), key=repr)


def test_snapshots_agree(restated: Lake) -> None:
    theirs = restated.catalog.load_table(GREEN).inspect.snapshots().to_pylist()

    assert metadata(restated, "snapshots", "snapshot_id, parent_id, operation, manifest_list") == sorted(
        [(s["snapshot_id"], s["parent_id"], s["operation"], s["manifest_list"]) for s in theirs], key=repr
    )
    assert len(theirs) == 7


def test_history_agrees(restated: Lake) -> None:
    table = restated.catalog.load_table(GREEN)
    theirs = table.inspect.history().to_pylist()
    names = {name: ref.snapshot_id for name, ref in table.metadata.refs.items()}

    ours = restated.sql(
        "select to_unixtime(made_current_at), snapshot_id, parent_id, is_current_ancestor "
        'from raw."green_trips$history" order by made_current_at'
    )

    assert [h["is_current_ancestor"] for h in theirs] == [True, True, True, False, True, True, True]
    rolled_back_to = theirs.pop(4)
    assert rolled_back_to["snapshot_id"] == names["before"]
    # Trino's are the snapshots, the branch's too, each as it was made; PyIceberg's is the log, with the rollback
    assert [(round(at * 1000), *rest) for at, *rest in ours if rest[0] != names["trial"]] == [
        (
            round(h["made_current_at"].timestamp() * 1000),
            h["snapshot_id"],
            h["parent_id"],
            h["is_current_ancestor"],
        )
        for h in theirs
    ]
    assert len(ours) == len(theirs) + 1


def test_what_only_a_branch_has_was_never_current(restated: Lake) -> None:
    rows = history(restated.engine, GREEN)

    found = restated.engine.timeline(GREEN)
    [trial] = [ref.snapshot_id for ref in found.refs if ref.name == "trial"]
    assert trial in {snapshot.snapshot_id for snapshot in found.snapshots} - set(found.made_current)
    assert [row.in_line for row in rows] == [True, True, True, False, False, True, True]
    assert [(row.refs, row.total_rows) for row in rows if not row.in_line and not row.rolled_back] == [
        (("trial",), 1210)
    ]
    assert [row.total_rows for row in rows if row.rolled_back] == [1250]
    assert [(row.part, row.rows) for row in loaded(restated.engine)] == [
        ("2023-01", 497),
        ("2023-02", 460),
        ("2023-03", 300),
    ]


def test_rows_of_a_month_are_those_that_a_query_finds(lake: Lake) -> None:
    for month in ("2023-01", "2023-02"):
        lake.load("green", month, 300)
    lake.engine.query(f"delete from {GREEN} where file_row < 10")
    lake.engine.query(f"delete from {GREEN} where file_month = date '2023-02-01' and file_row >= 0")

    assert [(row.part, row.rows) for row in loaded(lake.engine)] == [("2023-01", 290)]

    lake.load("green", "2023-01", 400, seed=1)

    assert [(row.part, row.rows) for row in loaded(lake.engine)] == [("2023-01", 400)]
    assert lake.value(f"select count(*) from {GREEN}") == 400


def test_files_agree(restated: Lake) -> None:
    theirs = restated.catalog.load_table(GREEN).inspect.files().to_pylist()

    assert metadata(restated, "files", "content, file_path, record_count, file_size_in_bytes") == sorted(
        [(f["content"], f["file_path"], f["record_count"], f["file_size_in_bytes"]) for f in theirs], key=repr
    )
    assert sorted((f["content"], f["record_count"]) for f in theirs) == [(0, 300), (0, 460), (0, 500), (1, 3)]


def test_partitions_agree(restated: Lake) -> None:
    theirs = restated.catalog.load_table(GREEN).inspect.partitions().to_pylist()

    # Trino counts delete files and what they delete with the data
    assert metadata(restated, "partitions", "partition.file_month, record_count, file_count") == sorted(
        [
            (
                p["partition"]["file_month"],
                p["record_count"] + p["position_delete_record_count"],
                p["file_count"] + p["position_delete_file_count"],
            )
            for p in theirs
        ],
        key=repr,
    )
    assert sum(p["position_delete_record_count"] for p in theirs) == 3


def test_manifests_agree(restated: Lake) -> None:
    theirs = restated.catalog.load_table(GREEN).inspect.manifests().to_pylist()

    # Trino's column counts files of either content, PyIceberg has one for each
    assert metadata(restated, "manifests", "content, path, added_snapshot_id, added_data_files_count") == sorted(
        [
            (
                m["content"],
                m["path"],
                m["added_snapshot_id"],
                m["added_data_files_count"] + m["added_delete_files_count"],
            )
            for m in theirs
        ],
        key=repr,
    )
    assert {m["content"] for m in theirs} == {0, 1}


def test_refs_agree(restated: Lake) -> None:
    theirs = restated.catalog.load_table(GREEN).metadata.refs

    assert metadata(restated, "refs", "name, lower(type), snapshot_id") == [
        (name, ref.snapshot_ref_type.value, ref.snapshot_id) for name, ref in sorted(theirs.items())
    ]
    assert {name: ref.snapshot_ref_type.value for name, ref in theirs.items()} == {
        "before": "tag",
        "main": "branch",
        "trial": "branch",
    }
    assert len({ref.snapshot_id for ref in theirs.values()}) == 3


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


def test_an_older_zone_lookup_after_a_newer_one_is_one_snapshot(lake: Lake, tmp_path: Path) -> None:
    older = write_zones(tmp_path / "taxi_zone_lookup.csv")
    newer = renamed(older, tmp_path / "newer.csv")
    versions = []
    for file in (newer, older):
        lake.landing.put(DatasetFile("zones"), file, "test")
        versions.append(str(lake.reload("zones", None).snapshot_id))

    again = lake.reload("zones", None)
    found = diff(lake.engine, lake.catalog, "raw.taxi_zones", *versions)

    assert again.action == "unchanged"
    assert [row.total_rows for row in history(lake.engine, "raw.taxi_zones")] == [264, 265]
    assert found.months == (PartDiff(None, added=1, removed=0, changed=1, same=263),)
    assert found.changed_rows == ({"location_id": 7, "zone": ["Renamed", "Generated zone 7"]},)
