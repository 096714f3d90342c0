"""Maintenance on `embedded`: what is kept answers as before, and only what nothing refers to goes."""

from __future__ import annotations

import errno
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import ManifestFile
from tests.lake import Lake

from lakehouse.errors import CommitError, QueryError, ServiceError
from lakehouse.history import maintenance
from lakehouse.history.maintenance import maintain
from lakehouse.iceberg.catalog import SqliteCatalog
from lakehouse.iceberg.data_file import audit
from lakehouse.iceberg.refs import tag
from lakehouse.iceberg.tables import METADATA_FILES

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

    def with_a_load(*arguments: Any) -> bool:
        expired = expire(*arguments)
        for month in ("2024-02", "2024-03"):
            lake.load("green", month, lake.generate("green", month, 10))
        return expired

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


def test_what_a_lost_race_left_goes_from_an_empty_table(lake: Lake) -> None:
    """Of two first loads at once, both write a table's first metadata file, and the catalog takes one."""
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 10))
    folder = lake.settings.warehouse_dir / "raw" / "taxi_zones" / "metadata"
    (first,) = folder.iterdir()
    lost = folder / f"00000-{uuid.uuid4()}.metadata.json"
    lost.write_bytes(first.read_bytes())

    (young,) = [done for done in maintain(lake.settings) if done.table == "raw.taxi_zones"]
    (done,) = [done for done in maintain(lake.settings, unreferenced=NOW) if done.table == "raw.taxi_zones"]

    assert (young.removed_files, young.waiting_bytes) == (0, first.stat().st_size)
    assert (done.removed_files, done.expired_snapshots) == (1, 0)
    assert "raw.taxi_zones" not in {done.table for done in maintain(lake.settings)}  # nothing is left to tell
    assert [done.table for done in maintain(lake.settings, ["raw.taxi_zones"])] == ["raw.taxi_zones"]  # but if asked
    assert list(folder.iterdir()) == [first]


def test_a_table_that_does_not_exist_is_named(lake: Lake) -> None:
    with pytest.raises(QueryError, match=r"There is no table raw\.nope"):
        maintain(lake.settings, ["raw.nope"])


def test_what_expired_snapshots_alone_needed_goes_at_once(lake: Lake) -> None:
    first, _, last = restated(lake)

    (done,) = maintain(lake.settings, [TABLE], keep=NOW)

    assert len(list((lake.settings.warehouse_dir / "raw" / "green_trips").rglob("*.parquet"))) == 2
    assert (rows(lake, first), rows(lake, last)) == (500, 502)
    assert done.freed_bytes
    assert done.freed_bytes > 10_000


def test_a_young_file_that_no_snapshot_names_stays_and_is_counted(lake: Lake) -> None:
    restated(lake)
    staged = lake.settings.warehouse_dir / "raw" / "green_trips" / "data" / "staged.parquet"
    staged.write_bytes(b"a load that has not committed yet")

    (done,) = maintain(lake.settings, [TABLE], keep=NOW)

    assert (done.waiting_bytes, staged.exists()) == (len(staged.read_bytes()), True)


def test_a_file_outside_the_table_stays_when_its_snapshot_expires(lake: Lake, tmp_path: Path) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 100))
    data = lake.table(TABLE).scan().to_arrow()
    outside = tmp_path / "a-neighbour.parquet"
    pq.write_table(data, outside)
    table = lake.table(TABLE)
    table.delete("file_month = '2024-01-01'")
    table.add_files([f"file://{outside}"])
    lake.load("green", "2024-01", again=True)

    maintain(lake.settings, [TABLE], keep=NOW, unreferenced=NOW)

    assert outside.exists()


def test_old_metadata_files_go_with_each_commit(lake: Lake) -> None:
    path = lake.generate("green", "2024-01", 10)
    lake.land("green", "2024-01", path)
    for _ in range(30):
        lake.load("green", "2024-01", again=True)

    assert len(list((lake.settings.warehouse_dir / "raw" / "green_trips" / "metadata").glob("*.json"))) <= 21


def test_a_table_of_an_older_version_gets_the_rule_for_metadata_files(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 10))
    with lake.table(TABLE).transaction() as transaction:
        transaction.remove_properties(*METADATA_FILES)

    maintain(lake.settings, [TABLE])

    assert METADATA_FILES.items() <= lake.table(TABLE).properties.items()


def test_each_manifest_is_read_once_however_many_snapshots_share_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for month in range(1, 13):
        lake.load("green", f"2024-{month:02}", lake.generate("green", f"2024-{month:02}", 10))
    read: list[str] = []
    fetch = ManifestFile.fetch_manifest_entry

    def noted(manifest: ManifestFile, *given: Any, **named: Any) -> Any:
        read.append(manifest.manifest_path)
        return fetch(manifest, *given, **named)

    monkeypatch.setattr(ManifestFile, "fetch_manifest_entry", noted)

    maintain(lake.settings, [TABLE], keep=timedelta(days=1))

    assert len(read) == len(set(read)) == 12


def test_a_full_disk_is_cleaned_before_anything_is_written(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    restated(lake)
    orphan = lake.settings.warehouse_dir / "raw" / "green_trips" / "data" / "orphan.parquet"
    orphan.write_bytes(b"x" * 1_000_000)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SqliteCatalog, "commit_table", full)
    with pytest.raises(
        ServiceError, match=r"full: 1\.0 MB were freed.*maintain --now.*1 of its 3 snapshots frees .* kB"
    ):
        maintain(lake.settings, [TABLE], keep=NOW, unreferenced=NOW)

    assert not orphan.exists()
    assert len(lake.history(TABLE)) == 3


def test_a_load_whose_file_maintenance_took_is_not_committed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    restated(lake)
    lake.land("green", "2024-02", lake.generate("green", "2024-02", 10))

    def with_maintenance(*given: Any) -> None:
        audit(*given)
        maintain(lake.settings, [TABLE], unreferenced=NOW)

    monkeypatch.setattr("lakehouse.iceberg.staging.audit", with_maintenance)
    with pytest.raises(CommitError, match=r"2024-02 was not committed to .*: its data file .* was removed while"):
        lake.load("green", "2024-02")

    assert lake.rows(f"select count(*) as n from {TABLE}") == [{"n": 502}]


def test_a_table_that_others_change_at_each_attempt_keeps_all(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that no snapshot names are removed before: the message does not say that nothing was done."""
    restated(lake)
    commit = SqliteCatalog.commit_table

    def second(catalog: SqliteCatalog, *given: Any) -> Any:
        with monkeypatch.context() as quiet:
            quiet.setattr(SqliteCatalog, "commit_table", commit)
            tag(lake.catalog, TABLE, uuid.uuid4().hex, lake.history(TABLE)[-1].snapshot_id)
        return commit(catalog, *given)

    monkeypatch.setattr(SqliteCatalog, "commit_table", second)

    with pytest.raises(CommitError, match=r"expired\. What this command had finished before stays\. Run `lakehouse"):
        maintain(lake.settings, [TABLE], keep=NOW)

    assert len(lake.history(TABLE)) == 3


def test_a_tag_given_while_snapshots_expire_keeps_its_snapshot(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    _, second, _ = restated(lake)
    commit = SqliteCatalog.commit_table

    def with_a_tag(catalog: SqliteCatalog, *given: Any) -> Any:
        monkeypatch.undo()
        tag(lake.catalog, TABLE, "meanwhile", second)
        return commit(catalog, *given)

    monkeypatch.setattr(SqliteCatalog, "commit_table", with_a_tag)
    (done,) = maintain(lake.settings, [TABLE], keep=NOW)

    assert done.expired_snapshots == 0
    assert rows(lake, second) == 501
