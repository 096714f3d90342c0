"""Every earlier state, by id, tag, branch and time; across evolution and rollback; and what a running reader sees."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import Table
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import StringType
from tests.integration.lake import GREEN, Lake

from lakehouse.errors import QueryError
from lakehouse.history.history import history
from lakehouse.history.maintenance import maintain
from lakehouse.iceberg.refs import rollback, tag
from lakehouse.iceberg.timeline import EPOCH, MILLISECOND

NUMBERS = pa.schema([("n", pa.int64())])


def numbers(lake: Lake, *values: int) -> Table:
    """A table `raw.numbers` with one snapshot for each value."""
    table = lake.catalog.create_table("raw.numbers", NUMBERS)
    for value in values:
        table.append(pa.table({"n": [value]}, NUMBERS))
    return table


def read(lake: Lake, version: str | None = None, table: str = "raw.numbers") -> list[int]:
    return [n for (n,) in lake.sql(f"select n from {table} order by n", as_of=version)]


def sql_time(moment: datetime) -> str:
    return f"timestamp '{moment:%Y-%m-%d %H:%M:%S.%f} UTC'"


def test_by_id_tag_and_branch(lake: Lake) -> None:
    table = numbers(lake, 1, 2, 3)
    one, two, three = (s.snapshot_id for s in table.snapshots())
    table.manage_snapshots().create_tag(one, "first").create_branch(two, "trial").commit()
    table.append(pa.table({"n": [9]}, NUMBERS), branch="trial")

    assert read(lake, f"raw.numbers@{one}") == [1]
    assert read(lake, f"raw.numbers@{two}") == [1, 2]
    assert read(lake, f"raw.numbers@{three}") == read(lake) == read(lake, "main") == [1, 2, 3]
    assert read(lake, "first") == [1]
    assert read(lake, "trial") == [1, 2, 9]


def test_by_time_before_at_and_after_each_commit(lake: Lake) -> None:
    numbers(lake, 1, 2, 3)
    times = [s.committed_at for s in lake.engine.timeline("raw.numbers").snapshots]
    states = [[1], [1, 2], [1, 2, 3]]
    tick = timedelta(milliseconds=1)

    for position, moment in enumerate(times):
        assert read(lake, moment.isoformat()) == states[position]
        assert read(lake, (moment + tick).isoformat()) == states[position]
        if position:
            assert read(lake, (moment - tick).isoformat()) == states[position - 1]
    with pytest.raises(QueryError, match=r"raw\.numbers had no snapshot at .* Its history begins at"):
        read(lake, (times[0] - tick).isoformat())
    with pytest.raises(QueryError, match=r"[Nn]o version history"):
        lake.sql(f"select n from raw.numbers for timestamp as of {sql_time(times[0] - tick)}")


def test_an_old_version_has_the_columns_of_its_time(lake: Lake) -> None:
    table = numbers(lake, 1)
    (old,) = (s.snapshot_id for s in table.snapshots())
    with table.update_schema() as update:
        update.add_column("word", StringType())
        update.rename_column("n", "number")
    table.append(pa.table({"number": pa.array([2], pa.int64()), "word": ["two"]}))

    assert lake.engine.query("select * from raw.numbers", as_of=f"raw.numbers@{old}").to_pylist() == [{"n": 1}]
    assert lake.sql("select * from raw.numbers order by 1") == [(1, None), (2, "two")]
    assert table.scan(snapshot_id=old).to_arrow().column_names == ["n"]


def test_old_versions_stay_readable_across_partition_evolution(lake: Lake) -> None:
    table = numbers(lake, 1, 2)
    old = table.snapshots()[-1].snapshot_id
    with table.update_spec() as update:
        update.add_field("n", BucketTransform(4), "n_bucket")
    table.append(pa.table({"n": [3, 4, 5]}, NUMBERS))

    assert read(lake) == [1, 2, 3, 4, 5]
    assert read(lake, f"raw.numbers@{old}") == [1, 2]
    assert lake.value("select count(*) from raw.numbers where n = 4") == 1
    assert table.scan(snapshot_id=old).to_arrow().sort_by("n")["n"].to_pylist() == [1, 2]


def test_a_rollback_moves_the_present_and_leaves_every_version(lake: Lake) -> None:
    table = numbers(lake, 1, 2, 3)
    one, _, three = (s.snapshot_id for s in table.snapshots())
    before = lake.engine.timeline("raw.numbers").snapshots[-1].committed_at

    lake.sql(f"alter table raw.numbers execute rollback_to_snapshot({one})")

    assert read(lake) == [1]
    assert read(lake, f"raw.numbers@{three}") == [1, 2, 3]
    assert read(lake, before.isoformat()) == [1, 2, 3]  # what was true then stays true
    table.refresh()
    table.append(pa.table({"n": [7]}, NUMBERS))
    assert read(lake) == [1, 7]
    assert read(lake, f"raw.numbers@{three}") == [1, 2, 3]


def test_two_versions_join_in_one_query(lake: Lake) -> None:
    first = lake.load("green", "2023-01", 500)
    second = lake.load("green", "2023-01", 520, seed=1)

    rows = lake.sql(
        "select count(*), count(old.file_row), count(new.file_row), count_if(old.source_sha256 <> new.source_sha256) "
        f"from raw.green_trips for version as of {first.snapshot_id} old "
        f"full join raw.green_trips for version as of {second.snapshot_id} new "
        "on old.file_month = new.file_month and old.file_row = new.file_row"
    )

    assert rows == [(520, 500, 520, 500)]


def test_a_view_can_hold_a_version_and_keeps_it(lake: Lake) -> None:
    table = numbers(lake, 1)
    (old,) = (s.snapshot_id for s in table.snapshots())
    table.manage_snapshots().create_branch(old, "published").commit()
    lake.sql("create view gold.now as select n from raw.numbers")
    lake.sql("create view gold.published as select n from raw.numbers for version as of 'published'")

    table.refresh()
    table.append(pa.table({"n": [2]}, NUMBERS))

    assert read(lake, table="gold.now") == [1, 2]
    assert read(lake, table="gold.published") == [1]
    # a view is what it says, also where the tables beside it are moved
    assert lake.sql("select count(*) from gold.published, raw.numbers", as_of=f"raw.numbers@{old}") == [(1,)]


def test_what_has_no_versions_is_refused_as_of_one(lake: Lake) -> None:
    numbers(lake, 1)
    lake.sql("create view gold.now as select n from raw.numbers")

    for version in ("main", "2999-01-01"):
        with pytest.raises(QueryError, match=r"published\.now always shows the last publication"):
            read(lake, version, table="published.now")
        with pytest.raises(QueryError, match=r"gold\.now is a view"):
            read(lake, version, table="gold.now")
        with pytest.raises(QueryError, match=r"There is no table raw\.nowhere\. The tables are: .*raw\.numbers"):
            lake.sql("select 1 from raw.numbers, raw.nowhere", as_of=version)


def test_what_a_build_replaced_was_not_rolled_back(lake: Lake) -> None:
    for n in (1, 2, 3):
        lake.sql(f"create or replace table gold.numbers as select {n} as n")
    *_, second, third = history(lake.engine, "gold.numbers")
    assert not any(row.rolled_back for row in history(lake.engine, "gold.numbers"))

    rollback(lake.catalog, "gold.numbers", second.snapshot_id)

    rolled_back = [row.snapshot_id for row in history(lake.engine, "gold.numbers") if row.rolled_back]
    assert rolled_back == [third.snapshot_id]


def test_a_scan_reads_to_its_end_the_state_it_was_planned_on(lake: Lake) -> None:
    months = ("2023-01", "2023-02")
    for month in months:
        lake.load("green", month, 500)
    old = lake.scan(GREEN)
    table = lake.catalog.load_table(GREEN)
    first, second = table.scan().plan_files()
    scan = ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue())
    begun = scan.to_table([first])

    for month in months:
        lake.load("green", month, 510, seed=1)
    maintain(lake.settings, [GREEN])
    rows = pa.concat_tables([begun, scan.to_table([second])])

    assert rows.sort_by([("file_month", "ascending"), ("file_row", "ascending")]) == old
    assert lake.scan(GREEN).num_rows == 1020


def test_a_query_reads_to_its_end_the_state_it_started_with(lake: Lake) -> None:
    lake.load("green", "2023-01", 60_000)
    # 120 MB: more than Trino and the client keep of a result that nobody fetches
    long = "select file_row, source_sha256, rpad('', 2000, cast(file_row as varchar)) from raw.green_trips"
    with closing(lake.engine._connection.cursor()) as cursor:
        cursor.execute(long)
        first = cursor.fetchmany(10)
        old = first[0][1]

        lake.load("green", "2023-01", 60_500, seed=1)

        running = lake.sql("select state from system.runtime.queries where query_id = ?", cursor.query_id)
        assert running == [("RUNNING",)]
        rows = {(file_row, sha256) for file_row, sha256, _ in first}
        fetched = len(first)
        while batch := cursor.fetchmany(10_000):
            rows |= {(file_row, sha256) for file_row, sha256, _ in batch}
            fetched += len(batch)

    assert fetched == 60_000
    assert rows == {(row, old) for row in range(60_000)}
    assert lake.value("select count(*) from raw.green_trips") == 60_500


def states(lake: Lake, *rows: int) -> list[datetime]:
    """Versions of a month with so many rows; when each became current."""
    for count in rows:
        lake.load("green", "2023-01", count, count)
    return [snapshot.committed_at for snapshot in lake.engine.timeline(GREEN).snapshots][-len(rows) :]


def count_at(lake: Lake, moment: datetime) -> int:
    return int(lake.value(f"select count(*) from {GREEN}", as_of=moment.isoformat()))


def test_a_state_that_has_expired_is_an_error_that_names_the_nearest(lake: Lake) -> None:
    first, second, third = states(lake, 500, 600, 700)
    snapshots = [snapshot.snapshot_id for snapshot in lake.engine.timeline(GREEN).snapshots]
    tag(lake.catalog, GREEN, "audited", snapshots[0])

    maintain(lake.settings, [GREEN], keep=timedelta(0))

    with pytest.raises(QueryError, match=rf"has expired\. The nearest that exist: snapshot {snapshots[2]}, current"):
        count_at(lake, second + (third - second) / 2)
    with pytest.raises(QueryError, match="has expired"):
        rollback(lake.catalog, GREEN, first.isoformat())
    assert count_at(lake, third) == 700
    assert lake.value(f"select count(*) from {GREEN}", as_of="audited") == 500


def test_a_commit_by_a_clock_that_is_behind_is_found_by_time(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    states(lake, 500)
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() - 7200)
        states(lake, 600)
    states(lake, 700)

    when = [snapshot.committed_at for snapshot in lake.engine.timeline(GREEN).snapshots]
    assert when == sorted(set(when))
    assert [count_at(lake, moment) for moment in when] == [500, 600, 700]
    assert count_at(lake, datetime.now(UTC) + timedelta(days=1)) == 700


def test_after_a_rollback_each_time_has_the_state_of_then(lake: Lake) -> None:
    states(lake, 500, 600)
    first, _ = lake.engine.timeline(GREEN).snapshots
    rollback(lake.catalog, GREEN, first.snapshot_id)
    states(lake, 700)

    when = [EPOCH + entry.timestamp_ms * MILLISECOND for entry in lake.catalog.load_table(GREEN).history()]
    assert [count_at(lake, moment) for moment in when] == [500, 600, 500, 700]
    assert [count_at(lake, moment - MILLISECOND) for moment in when[1:]] == [500, 600, 500]
