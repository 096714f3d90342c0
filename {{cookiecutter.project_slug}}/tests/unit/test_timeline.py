"""What was current at a time: only what the log proves, in the order of commits, whatever clocks said."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from tests.lake import Lake

from lakehouse.cli.doctor import examine
from lakehouse.errors import LakehouseError, QueryError
from lakehouse.history.diff import diff
from lakehouse.history.history import history
from lakehouse.history.maintenance import maintain
from lakehouse.iceberg.refs import rollback, tag
from lakehouse.iceberg.timeline import current_at, skew

TABLE = "raw.green_trips"
NOW, TICK, HOUR = timedelta(0), timedelta(milliseconds=1), 3600


def load(lake: Lake, rows: int) -> int:
    """A version of the month with so many rows; its snapshot."""
    result = lake.load("green", "2024-01", lake.generate("green", "2024-01", rows), allow_shrink=True)
    assert result.snapshot_id
    return result.snapshot_id


def rows_at(lake: Lake, moment: datetime) -> int:
    ((count,),) = (row.values() for row in lake.rows(f"select count(*) as n from {TABLE}", moment.isoformat()))
    return int(count)


def times(lake: Lake) -> list[datetime]:
    """When each entry of the log became current, in the log's order."""
    return [datetime.fromtimestamp(entry.timestamp_ms / 1000, UTC) for entry in lake.table(TABLE).history()]


def expire(lake: Lake, *snapshots: int) -> None:
    lake.table(TABLE).maintenance.expire_snapshots().by_ids(list(snapshots)).commit()


def test_a_state_that_has_expired_is_an_error_that_names_the_nearest(lake: Lake) -> None:
    first, _, third = (load(lake, rows) for rows in (100, 200, 300))
    _, second_at, third_at = times(lake)
    gone = second_at + (third_at - second_at) / 2
    tag(lake.catalog, TABLE, "audited", first)
    maintain(lake.settings, [TABLE], keep=NOW)

    said = rf"at .* has expired.*snapshot {first} \(audited\), current from .*; snapshot {third}, current from "
    with pytest.raises(QueryError, match=said):
        rows_at(lake, gone)
    text = gone.isoformat()
    for command in (
        lambda: diff(lake.engine, lake.catalog, TABLE, text, "main"),
        lambda: rollback(lake.catalog, TABLE, text),
        lambda: tag(lake.catalog, TABLE, "mine", text),
    ):
        with pytest.raises(QueryError, match="has expired"):
            command()
    assert rows_at(lake, third_at) == 300
    assert rows_at(lake, times(lake)[0]) == 100  # exactly when it became current, it was


def test_every_time_between_two_neighbours_has_an_answer(lake: Lake) -> None:
    ids = [load(lake, rows) for rows in (100, 200, 300, 400)]
    when = times(lake)
    expire(lake, ids[0])

    for (before, after), rows in zip(pairwise(when[1:]), (200, 300), strict=True):
        assert rows_at(lake, before) == rows_at(lake, after - TICK) == rows
    assert rows_at(lake, when[-1] + timedelta(days=1)) == 400
    with pytest.raises(QueryError, match=rf"has expired. The nearest that exist: snapshot {ids[1]}, current from"):
        rows_at(lake, when[1] - TICK)


def test_before_the_first_commit_of_all_there_was_nothing(lake: Lake) -> None:
    load(lake, 100)
    load(lake, 200)
    (first_at, _) = times(lake)

    with pytest.raises(QueryError, match=r"had no snapshot at .* Its history begins at"):
        rows_at(lake, first_at - TICK)


def test_what_a_rollback_brought_back_may_hide_what_expired_before_it(lake: Lake) -> None:
    first, second, third = (load(lake, rows) for rows in (100, 200, 300))
    rollback(lake.catalog, TABLE, second)
    rollback(lake.catalog, TABLE, first)
    when = times(lake)
    expire(lake, second)  # the log was 1, 2, 3, 2, 1, and is 1, 3, 1

    assert rows_at(lake, when[-1]) == 100
    for moment in (when[2] + TICK, when[3], when[4] - TICK):
        with pytest.raises(QueryError, match="has expired"):
            rows_at(lake, moment)
    assert third in {row.snapshot_id for row in lake.history(TABLE)}


def test_after_a_rollback_without_expiry_every_time_has_its_answer(lake: Lake) -> None:
    first, _ = (load(lake, rows) for rows in (100, 200))
    rollback(lake.catalog, TABLE, first)
    load(lake, 300)

    when = times(lake)
    assert [rows_at(lake, moment) for moment in when] == [100, 200, 100, 300]
    assert [rows_at(lake, after - TICK) for after in when[1:]] == [100, 200, 100]


@pytest.mark.parametrize("seconds", [2 * HOUR, -2 * HOUR])
def test_commits_keep_their_order_when_a_clock_was_wrong(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    real = time.time
    load(lake, 100)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + seconds)
        load(lake, 200)
    load(lake, 300)

    assert [row.total_rows for row in history(lake.engine, TABLE)] == [100, 200, 300]
    when = times(lake)
    assert when == sorted(set(when))
    assert rows_at(lake, datetime.now(UTC) + timedelta(days=1)) == 300
    assert [rows_at(lake, moment) for moment in when] == [100, 200, 300]

    maintain(lake.settings, [TABLE], keep=NOW)
    assert [row.total_rows for row in history(lake.engine, TABLE)] == [300]


def test_a_clock_that_is_more_than_a_minute_off_is_named(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = time.time
    file = lake.generate("green", "2024-01", 100)
    assert lake.load("green", "2024-01", file).clock is None
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + 2 * HOUR)
        load(lake, 200)

    found = lake.load("green", "2024-01")

    assert found.clock is not None
    assert re.search(
        r"newest commit of raw.green_trips has a time that is (2:00:00|1:59:5\d) ahead of this machine's", found.clock
    )
    rows_at(lake, datetime.now(UTC))
    assert [record.getMessage() for record in caplog.records if record.name.startswith("lakehouse")] == [
        f"{skew(lake.table(TABLE))}."
    ]
    clocks = [finding for finding in examine(lake.settings) if finding.what == "clock"]
    assert [finding.state for finding in clocks] == ["warn"]


def test_times_that_contradict_the_order_of_commits_are_no_answer(lake: Lake) -> None:
    ids = [load(lake, rows) for rows in (100, 200, 300)]
    table = lake.table(TABLE)
    log = table.metadata.snapshot_log
    # as another writer would have stamped it
    log[1] = log[1].model_copy(update={"timestamp_ms": log[1].timestamp_ms + 2 * HOUR * 1000})

    middle = datetime.fromtimestamp(log[2].timestamp_ms / 1000 + 1, UTC)
    with pytest.raises(
        LakehouseError,
        match=rf"clocks of the machines that wrote it disagree: snapshot {ids[1]}, .* before snapshot {ids[2]}",
    ):
        current_at(table, middle)
    assert current_at(table, datetime.fromtimestamp(log[0].timestamp_ms / 1000, UTC)) == ids[0]
    assert current_at(table, middle + timedelta(days=1)) == ids[2]
