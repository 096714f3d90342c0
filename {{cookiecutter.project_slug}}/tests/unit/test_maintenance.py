"""Maintenance on `embedded`: what is kept answers as before, and only what nothing refers to goes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.lake import Lake

from lakehouse.errors import QueryError
from lakehouse.iceberg import maintenance
from lakehouse.iceberg.maintenance import maintain
from lakehouse.iceberg.refs import tag

TABLE = "raw.green_trips"
NOW = timedelta(0)


def restated(lake: Lake) -> list[int]:
    """A month loaded three times; the first state has a tag."""
    ids = []
    for seed in range(3):
        lake.load("green", "2024-01", lake.generate("green", "2024-01", 500 + seed, seed=seed))
        ids.append(lake.history(TABLE)[-1].snapshot_id)
    tag(lake.catalog, TABLE, "kept", ids[0])
    return ids


def rows(lake: Lake, snapshot_id: int) -> int:
    return lake.table(TABLE).scan(snapshot_id=snapshot_id).to_arrow().num_rows


def test_what_is_current_or_has_a_name_stays_and_answers_as_before(lake: Lake) -> None:
    first, _, last = restated(lake)

    (done,) = maintain(lake.settings, [TABLE], keep=NOW, unreferenced=NOW)

    assert [s.snapshot_id for s in lake.table(TABLE).snapshots()] == [first, last]
    assert (rows(lake, first), rows(lake, last)) == (500, 502)
    assert done.expired_snapshots == 1
    assert done.removed_files >= 2  # the data file of the state between, its manifests and its manifest list
    assert len(list((lake.settings.warehouse_dir / "raw" / "green_trips").rglob("*.parquet"))) == 2


def test_young_snapshots_and_young_files_stay(lake: Lake) -> None:
    ids = restated(lake)
    staged = lake.settings.warehouse_dir / "raw" / "green_trips" / "data" / "staged.parquet"
    staged.write_bytes(b"a load that has not committed yet")

    (done,) = maintain(lake.settings, [TABLE])

    assert (done.expired_snapshots, done.removed_files) == (0, 0)
    assert [rows(lake, i) for i in ids] == [500, 501, 502]
    assert staged.exists()


def test_a_load_that_commits_meanwhile_does_not_count(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    restated(lake)
    expire = maintenance._expire

    def with_a_load(*arguments: Any) -> None:
        expire(*arguments)
        for month in ("2024-02", "2024-03"):
            lake.load("green", month, lake.generate("green", month, 10))

    monkeypatch.setattr(maintenance, "_expire", with_a_load)
    (done,) = maintain(lake.settings, [TABLE], keep=NOW)

    assert done.expired_snapshots == 1


def test_what_a_killed_load_left_goes(lake: Lake) -> None:
    ids = restated(lake)
    orphan = lake.settings.warehouse_dir / "raw" / "green_trips" / "data" / "orphan.parquet"
    orphan.write_bytes(b"nobody refers to this")

    (done,) = maintain(lake.settings, [TABLE], unreferenced=NOW)

    assert (done.removed_files, orphan.exists()) == (1, False)
    assert [rows(lake, i) for i in ids] == [500, 501, 502]


def test_a_table_that_does_not_exist_is_named(lake: Lake) -> None:
    with pytest.raises(QueryError, match=r"There is no table raw\.nope"):
        maintain(lake.settings, ["raw.nope"])
