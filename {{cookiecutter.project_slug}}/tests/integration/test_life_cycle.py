"""Rollback, tags, branches, expiry, compaction and clearing up: what is kept answers as before."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from tests.integration.lake import GREEN, Lake

from lakehouse.errors import CommitError, QueryError
from lakehouse.history.history import history, loaded
from lakehouse.history.maintenance import maintain
from lakehouse.iceberg.refs import rollback, tag
from lakehouse.iceberg.versions import parse_as_of

NOW = timedelta(0)


def loads(lake: Lake, count: int) -> list[int]:
    """One month, loaded again and again with one row more each time; ids of the snapshots."""
    results = [lake.load("green", "2023-01", 300 + seed, seed) for seed in range(count)]
    return [r.snapshot_id for r in results if r.snapshot_id is not None]


def answer(lake: Lake, snapshot_id: int) -> list[tuple[object, ...]]:
    return lake.sql(
        "select count(*), sum(file_row), sum(total_amount), min(source_sha256) from raw.green_trips",
        as_of=f"{GREEN}@{snapshot_id}",
    )


def test_a_rollback_is_undone_by_another(lake: Lake) -> None:
    one, two = loads(lake, 2)

    rollback(lake.catalog, GREEN, one, expect=two)
    assert lake.value("select count(*) from raw.green_trips") == 300
    with pytest.raises(CommitError, match=f"at snapshot {one}, not at {two}"):
        rollback(lake.catalog, GREEN, one, expect=two)

    rollback(lake.catalog, GREEN, two)
    assert lake.value("select count(*) from raw.green_trips") == 301
    assert len(lake.engine.timeline(GREEN).snapshots) == 2


def test_after_a_rollback_the_next_load_builds_on_what_is_current(lake: Lake) -> None:
    one, two = loads(lake, 2)
    rollback(lake.catalog, GREEN, one)

    again = lake.reload("green", "2023-01")

    assert again.action == "loaded"
    rows = {r.snapshot_id: r for r in history(lake.engine, GREEN)}
    assert rows[again.snapshot_id or 0].parent_id == one
    assert (rows[two].in_line, rows[two].rolled_back) == (False, True)
    assert lake.value("select count(*) from raw.green_trips") == 301


def test_a_tag_does_not_move_and_can_be_rolled_back_to(lake: Lake) -> None:
    one, two = loads(lake, 2)
    tag(lake.catalog, GREEN, "audited", one)

    with pytest.raises(QueryError, match="already has a tag 'audited'"):
        tag(lake.catalog, GREEN, "audited", two)

    assert rollback(lake.catalog, GREEN, parse_as_of("audited")) == one
    assert lake.value("select count(*) from raw.green_trips") == 300


def test_a_branch_is_written_without_the_present_noticing(lake: Lake) -> None:
    (one,) = loads(lake, 1)
    table = lake.catalog.load_table(GREEN)
    table.manage_snapshots().create_branch(one, "trial").commit()
    table.refresh()
    table.append(table.scan(limit=10).to_arrow(), branch="trial")

    assert lake.value("select count(*) from raw.green_trips", as_of="trial") == 310
    assert lake.value("select count(*) from raw.green_trips") == 300
    assert lake.engine.timeline(GREEN).current == one


def test_expiry_honours_retention_and_names(lake: Lake) -> None:
    ids = loads(lake, 4)
    tag(lake.catalog, GREEN, "kept", ids[1])
    table = lake.catalog.load_table(GREEN)
    table.manage_snapshots().create_branch(ids[0], "trial").commit()
    table.append(table.scan(snapshot_id=ids[0], limit=10).to_arrow(), branch="trial")
    trial = table.refresh().metadata.refs["trial"].snapshot_id
    ids.append(trial)
    before = {i: answer(lake, i) for i in ids}

    (young,) = maintain(lake.settings, [GREEN])
    assert (young.expired_snapshots, young.removed_files) == (0, 0)
    (done,) = maintain(lake.settings, [GREEN], keep=NOW)

    assert done.expired_snapshots == 2
    assert {s.snapshot_id for s in lake.engine.timeline(GREEN).snapshots} == {ids[1], ids[3], trial}
    for kept in (ids[1], ids[3], trial):
        assert answer(lake, kept) == before[kept]
    with pytest.raises(QueryError, match=f"has no snapshot {ids[0]}"):
        answer(lake, ids[0])
    assert lake.value("select count(*) from raw.green_trips", as_of="kept") == 301
    assert lake.value("select count(*) from raw.green_trips", as_of="trial") == 310


def test_what_is_older_than_the_retention_expires(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() - 50)  # a minute is what the catalog lets clocks differ
        old = loads(lake, 2)
    young = [lake.load("green", "2023-01", 400 + seed, seed).snapshot_id or 0 for seed in range(2)]
    before = {i: answer(lake, i) for i in young}

    (done,) = maintain(lake.settings, [GREEN], keep=timedelta(seconds=30))

    assert done.expired_snapshots == len(old)
    assert [s.snapshot_id for s in lake.engine.timeline(GREEN).snapshots] == young
    assert {i: answer(lake, i) for i in young} == before


def test_compaction_changes_files_and_no_answer_in_history_too(lake: Lake) -> None:
    lake.load("green", "2023-02", 400)
    ids = loads(lake, 2)
    lake.sql("delete from raw.green_trips where file_row < 3")
    ids = [s.snapshot_id for s in lake.engine.timeline(GREEN).snapshots]
    before = {i: answer(lake, i) for i in ids}
    files = {f for (f,) in lake.sql('select file_path from raw."green_trips$files"')}

    (done,) = maintain(lake.settings, [GREEN])

    after = {f for (f,) in lake.sql('select file_path from raw."green_trips$files"')}
    assert done.compacted_files == 2
    assert len(files) == 4  # two of data, two of deletes
    assert len(after) == 2
    assert not files & after
    assert {i: answer(lake, i) for i in ids} == before
    assert answer(lake, lake.engine.timeline(GREEN).current or 0) == before[ids[-1]]


def test_where_a_month_came_from_is_known_after_compaction_and_expiry(lake: Lake) -> None:
    lake.load("green", "2023-01", 300)
    lake.load("green", "2023-02", 400)
    known = {row.part: row.source_sha256 for row in loaded(lake.engine)}
    lake.sql("delete from raw.green_trips where file_row = 0")

    maintain(lake.settings, [GREEN])
    maintain(lake.settings, [GREEN], keep=NOW, unreferenced=NOW)

    assert len(lake.engine.timeline(GREEN).snapshots) == 1
    assert {row.part: row.source_sha256 for row in loaded(lake.engine)} == known
    assert lake.reload("green", "2023-02").action == "unchanged"


def everything(lake: Lake) -> set[str]:
    """Names of all objects: every table's, and what is landed."""
    return {*lake.keys("iceberg/"), *lake.keys("raw_data/")}


def test_what_killed_loads_left_goes_and_nothing_else(lake: Lake) -> None:
    ids = loads(lake, 3)
    tag(lake.catalog, GREEN, "first", ids[0])
    lake.land("green", "2023-02", 40_000)
    lake.load("yellow", "2023-02", 300)
    # nothing refers to it, but nobody asked for this table
    lake.s3.put_object(Bucket="warehouse", Key="iceberg/raw/yellow_trips/data/staged.parquet", Body=b"staged")
    before = {i: answer(lake, i) for i in ids}
    objects = everything(lake)
    code = (
        "from lakehouse.loading import load; from lakehouse.iceberg.catalog import open_catalog;"
        "from lakehouse.landing import open_landing; from lakehouse.settings import load_settings;"
        "from lakehouse.datasets.file import DatasetFile; from lakehouse.datasets.months import Month; import time;"
        "load.commit = lambda *a, **k: (print('staged', flush=True), time.sleep(600));"
        "s = load_settings(); load.load(open_catalog(s), open_landing(s), DatasetFile('green', Month(2023, 2)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env=lake.environment, stdout=subprocess.PIPE, text=True
    ) as load:
        assert load.stdout is not None
        assert load.stdout.readline() == "staged\n"
        load.send_signal(signal.SIGKILL)
    orphans = everything(lake) - objects
    assert len(orphans) == 1

    (young,) = maintain(lake.settings, [GREEN])
    assert (young.removed_files, everything(lake)) == (0, objects | orphans)
    (done,) = maintain(lake.settings, [GREEN], unreferenced=NOW)

    assert done.removed_files == 1
    assert everything(lake) == objects
    assert {i: answer(lake, i) for i in ids} == before


def test_a_tag_keeps_its_data_through_all_of_them(lake: Lake) -> None:
    ids = loads(lake, 3)
    tag(lake.catalog, GREEN, "audited", ids[0])
    expected = answer(lake, ids[0])
    rollback(lake.catalog, GREEN, ids[1])
    rollback(lake.catalog, GREEN, ids[2])
    lake.sql("delete from raw.green_trips where file_row < 3")

    for _ in range(2):
        maintain(lake.settings, [GREEN], keep=NOW, unreferenced=NOW)

    assert answer(lake, ids[0]) == expected
    assert lake.value("select count(*) from raw.green_trips", as_of="audited") == 300
    assert lake.value("select count(*) from raw.green_trips") == 299
    assert lake.scan(GREEN, ids[0]).num_rows == 300
