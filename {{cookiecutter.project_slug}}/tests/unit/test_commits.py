"""One commit of a load when the catalog's answer is lost, and when others commit meanwhile."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitStateUnknownException,
    ForbiddenError,
    ServerError,
    TooManyRequestsError,
    UnauthorizedError,
    ValidationException,
)
from requests import RequestException
from sqlalchemy.exc import OperationalError
from tests.lake import Lake

import lakehouse
from lakehouse.datasets.file import DatasetFile
from lakehouse.errors import CommitError, RefusedError, UnconfirmedError
from lakehouse.filesystem import sha256_of
from lakehouse.iceberg import commit as commits
from lakehouse.iceberg import staging
from lakehouse.iceberg.refs import rollback
from lakehouse.loading.load import load
from lakehouse.synthetic.generate import write_zones

TABLE = "raw.green_trips"
Commit = Callable[..., Any]


def lost_once(real: Commit, *, arrives: bool) -> Commit:
    """A commit whose first answer is lost, after the catalog has taken it or before."""
    losses = [True]

    def commit_table(*arguments: Any) -> Any:
        if not losses:
            return real(*arguments)
        losses.clear()
        if arrives:
            real(*arguments)
        raise CommitStateUnknownException("the answer was lost")

    return commit_table


@pytest.mark.parametrize("arrives", [True, False], ids=["after it was taken", "before it was taken"])
def test_a_commit_whose_answer_is_lost_leaves_the_month_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, *, arrives: bool
) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    lake.land("green", "2024-01", lake.generate("green", "2024-01", 520, seed=1))

    with monkeypatch.context() as faulty:
        faulty.setattr(SqlCatalog, "commit_table", lost_once(SqlCatalog.commit_table, arrives=arrives))
        result = lake.load("green", "2024-01")

    assert [row.total_rows for row in lake.history(TABLE)] == [500, 520]
    assert (result.action, result.snapshot_id) == ("loaded", lake.history(TABLE)[-1].snapshot_id)
    assert lake.table(TABLE).scan().to_arrow()["file_row"].to_pylist() == list(range(520))


def test_a_commit_that_arrives_after_a_refusal_for_its_time_finds_its_file(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is lost, the second attempt is refused for its time: the first may still be made."""
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    lake.land("green", "2024-01", lake.generate("green", "2024-01", 520, seed=1))
    real: Commit = SqlCatalog.commit_table
    sent: list[Any] = []

    def commit_table(*arguments: Any) -> Any:
        sent.append(arguments)
        if len(sent) == 1:
            raise CommitStateUnknownException("the answer was lost")
        raise ServerError("Invalid update timestamp 1: before last snapshot timestamp 2")

    with monkeypatch.context() as faulty:
        faulty.setattr(SqlCatalog, "commit_table", commit_table)
        with pytest.raises(UnconfirmedError, match="did not confirm that green 2024-01 was committed"):
            lake.load("green", "2024-01")
    real(*sent[0])

    assert len(lake.table(TABLE).scan().to_arrow()) == 520


def test_a_load_again_is_made_once_a_run_also_if_its_answer_is_lost(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a step that Dagster repeats: the first attempt ended before it knew that its commit was made."""
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))

    with monkeypatch.context() as faulty:
        faulty.setattr(SqlCatalog, "commit_table", lost_once(SqlCatalog.commit_table, arrives=True))
        faulty.setattr(commits, "reloaded", _away)
        with pytest.raises(CommitError, match="Only with `--again` it makes another snapshot"):
            lake.load("green", "2024-01", again=True, run_id="one")
    repeated = lake.load("green", "2024-01", again=True, run_id="one")
    another = lake.load("green", "2024-01", again=True, run_id="two")

    assert (repeated.action, repeated.rows, another.action) == ("unchanged", 500, "loaded")
    assert [row.total_rows for row in lake.history(TABLE)] == [500, 500, 500]


def test_a_write_that_is_not_confirmed_is_looked_at_before_it_is_repeated(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated write of a frame does not look first: it would replace what others wrote since."""
    lakehouse.write("features.numbers", pa.table({"n": [1]}))

    with monkeypatch.context() as faulty:
        faulty.setattr(SqlCatalog, "commit_table", lost_once(SqlCatalog.commit_table, arrives=True))
        faulty.setattr(commits, "reloaded", _away)
        with pytest.raises(UnconfirmedError, match=r"`lakehouse history features\.numbers` before you write") as caught:
            lakehouse.write("features.numbers", pa.table({"n": [2]}))

    assert "looks first" not in str(caught.value)
    assert lake.rows("select n from features.numbers") == [{"n": 2}]


def _away(*_arguments: object) -> None:
    raise RequestException("the catalog is away")


def test_a_commit_to_another_month_meanwhile_is_rebased_over(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    lake.land("green", "2024-01", lake.generate("green", "2024-01", 520, seed=1))
    february = lake.generate("green", "2024-02", 300)
    real: Commit = SqlCatalog.commit_table
    others, started_again = [february], []

    def commit_table(*arguments: Any) -> Any:
        if others:
            lake.load("green", "2024-02", others.pop())
        return real(*arguments)

    def reloaded(*_arguments: object) -> None:
        started_again.append(True)
        raise AssertionError("the load of January started again")

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
    monkeypatch.setattr(commits, "reloaded", reloaded)
    lake.load("green", "2024-01")

    assert (others, started_again) == ([], [])
    assert [(r.file_month, r.added_rows, r.deleted_rows) for r in lake.history(TABLE)[1:]] == [
        ("2024-02", 300, 0),
        ("2024-01", 520, 500),
    ]


def test_a_load_that_others_never_let_through_says_so(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    before = lake.history(TABLE)

    def commit_table(*_arguments: Any) -> Any:
        raise ValidationException("branch main has changed")

    monkeypatch.setattr(commits, "ATTEMPTS", 3)
    with monkeypatch.context() as patch:
        patch.setattr(SqlCatalog, "commit_table", commit_table)
        with pytest.raises(CommitError, match="Other processes changed it at each of 3 attempts"):
            lake.load("green", "2024-01", lake.generate("green", "2024-01", 520, seed=1))

    assert lake.history(TABLE) == before
    assert len(list(lake.settings.warehouse_dir.rglob("*.parquet"))) == 1


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "OSError: .*No space left.* The disk of .* is full"),
        (OperationalError("update t", {}, sqlite3.OperationalError("database is locked")), "Error: database is locked"),
        (OperationalError("update t", {}, sqlite3.OperationalError("disk I/O error")), "disk of .* failed to read"),
    ],
)
def test_a_home_that_does_not_take_a_commit_is_named(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))

    def commit_table(*_arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(commits, "ATTEMPTS", 2)
    with monkeypatch.context() as patch:
        patch.setattr(SqlCatalog, "commit_table", commit_table)
        with pytest.raises(CommitError, match=says) as caught:
            lake.load("green", "2024-01", lake.generate("green", "2024-01", 520, seed=1))

    assert not isinstance(caught.value, UnconfirmedError)
    assert "\n" not in str(caught.value)
    assert len(list(lake.settings.warehouse_dir.rglob("*.parquet"))) == 1


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ForbiddenError("Not authorized"), r"was\. The catalog does not let this user commit\."),
        (UnauthorizedError("Who is it?"), r"was\. The catalog does not let this user commit\."),
        (
            TooManyRequestsError("Slow down"),
            r"was\. The catalog is overloaded\. Run the same command again in a minute",
        ),
    ],
)
def test_a_commit_that_the_catalog_refuses_was_not_made(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    def commit_table(*_arguments: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(SqlCatalog, "commit_table", commit_table)
        with pytest.raises(CommitError, match=says) as caught:
            lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))

    assert not isinstance(caught.value, UnconfirmedError)
    assert not list(lake.settings.warehouse_dir.rglob("*.parquet"))  # what was staged is removed


def test_a_catalog_that_another_program_keeps_locked_is_asked_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time as long as SQLite's client waits. Twenty times would be eight minutes of silence."""
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    real, asked = SqlCatalog.commit_table, []

    def commit_table(*arguments: Any) -> Any:
        asked.append(1)
        return real(*arguments)

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
    monkeypatch.setattr("lakehouse.iceberg.catalog.SQLITE_SECONDS", 0.1)
    with closing(sqlite3.connect(lake.settings.catalog_file)) as other:
        rows = other.execute("select * from iceberg_tables, iceberg_namespace_properties")
        assert rows.fetchone()  # a program that has read the first row, and stands still
        with pytest.raises(CommitError, match=r"database is locked\)\. The table is as it was\. "):
            lake.load("green", "2024-01", lake.generate("green", "2024-01", 520, seed=1))
        rows.close()

    assert len(asked) == commits.LOCKED_TRIES
    assert lake.load("green", "2024-01", lake.generate("green", "2024-01", 520, seed=1)).action == "loaded"


def once(do: Callable[[], object]) -> Callable[[int, int], None]:
    """Progress of a load, during which something happens once."""
    things = [do]

    def progress(_done: int, _total: int) -> None:
        if things:
            things.pop()()

    return progress


def staged_and_live(lake: Lake) -> tuple[set[str], set[str]]:
    """The data files there are, and those that the table's snapshots refer to."""
    there = {path.name for path in lake.settings.warehouse_dir.rglob("*.parquet")}
    known = {Path(str(name)).name for name in lake.table(TABLE).inspect.all_files()["file_path"].to_pylist()}
    return there, known


def test_a_slow_load_never_puts_an_older_version_over_a_newer_one(lake: Lake) -> None:
    older, newer = lake.generate("green", "2024-01", 500), lake.generate("green", "2024-01", 520)
    lake.land("green", "2024-01", older)

    result = lake.load("green", "2024-01", progress=once(lambda: lake.load("green", "2024-01", newer)))

    assert (result.action, result.rows, result.source_sha256) == ("unchanged", 520, sha256_of(newer))
    assert [row.total_rows for row in lake.history(TABLE)] == [520]
    there, known = staged_and_live(lake)
    assert there == known


def test_a_slow_load_loads_the_newest_landed_version(lake: Lake) -> None:
    older, newer = lake.generate("green", "2024-01", 500), lake.generate("green", "2024-01", 520)
    lake.land("green", "2024-01", older)

    result = lake.load("green", "2024-01", progress=once(lambda: lake.land("green", "2024-01", newer)))

    assert (result.action, result.source_sha256) == ("loaded", sha256_of(newer))
    assert [row.total_rows for row in lake.history(TABLE)] == [520]


def test_a_version_landed_just_before_another_commit_stays(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    held, other = lake.generate("green", "2024-01", 500), lake.generate("green", "2024-01", 520)
    lake.load("green", "2024-01", held)
    lake.land("green", "2024-01", other)
    real: Commit = SqlCatalog.commit_table
    landing, found = [held], []

    def commit_table(*arguments: Any) -> Any:
        if landing:
            found.append(lake.load("green", "2024-01", landing.pop()).action)
        return real(*arguments)

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
    result = lake.load("green", "2024-01")

    assert found == ["unchanged"]
    assert (result.action, result.source_sha256) == ("loaded", sha256_of(held))
    assert [row.total_rows for row in lake.history(TABLE)] == [500, 520, 500]


def test_a_finished_load_says_so_though_the_landing_zone_is_away(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.land("green", "2024-01", lake.generate("green", "2024-01", 500))
    [record] = lake.settings.landing_dir.rglob("green_tripdata_2024-01.parquet.json")
    real: Commit = SqlCatalog.commit_table

    def commit_table(*arguments: Any) -> Any:
        answer = real(*arguments)
        record.write_bytes(b"")
        return answer

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
    result = lake.load("green", "2024-01")

    assert (result.action, result.rows) == ("loaded", 500)
    assert [row.total_rows for row in lake.history(TABLE)] == [500]


def test_a_newer_version_replaces_one_that_was_not_answered(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    lake.land("green", "2024-01", lake.generate("green", "2024-01", 520))
    newer = lake.generate("green", "2024-01", 540)
    real: Commit = SqlCatalog.commit_table
    losses = [newer]

    def commit_table(*arguments: Any) -> Any:
        if losses:
            lake.land("green", "2024-01", losses.pop())
            raise CommitStateUnknownException("the answer was lost")
        return real(*arguments)

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
    result = lake.load("green", "2024-01")

    assert (result.action, result.source_sha256) == ("loaded", sha256_of(newer))
    assert [row.total_rows for row in lake.history(TABLE)] == [500, 540]
    there, known = staged_and_live(lake)
    assert len(there - known) == 1  # the one not answered for might still have arrived


def test_a_file_that_goes_after_a_lost_answer_leaves_the_commit_open(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by `lakehouse maintain --unreferenced-days 0`: the commit may have been made, so it is not called refused."""
    lake.land("green", "2024-01", lake.generate("green", "2024-01", 500))

    def commit_table(*_arguments: Any) -> Any:
        there, known = staged_and_live(lake)
        for name in there - known:
            next(lake.settings.warehouse_dir.rglob(name)).unlink()
        raise CommitStateUnknownException("the answer was lost")

    with monkeypatch.context() as faulty:
        faulty.setattr(SqlCatalog, "commit_table", commit_table)
        with pytest.raises(CommitError, match="did not confirm that green 2024-01 was committed"):
            lake.load("green", "2024-01")


def test_a_month_that_grew_meanwhile_is_not_shrunk_by_a_small_file(lake: Lake) -> None:
    whole = lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    smaller = lake.load("green", "2024-01", lake.generate("green", "2024-01", 260))
    lake.land("green", "2024-01", lake.generate("green", "2024-01", 200))

    with pytest.raises(RefusedError, match="200 rows, fewer than 50% of the 500"):
        lake.load("green", "2024-01", progress=once(lambda: rollback(lake.catalog, TABLE, str(whole.snapshot_id))))

    assert lake.table(TABLE).metadata.current_snapshot_id == whole.snapshot_id
    assert {row.snapshot_id for row in lake.history(TABLE)} == {whole.snapshot_id, smaller.snapshot_id}
    there, known = staged_and_live(lake)
    assert there == known


def test_a_slow_load_never_puts_an_older_lookup_over_a_newer_one(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = write_zones(tmp_path / "older.csv"), write_zones(tmp_path / "newer.csv")
    newer.write_bytes(newer.read_bytes() + b'266,"Queens","Somewhere new","Boro Zone"\r\n')
    lake.landing.put(DatasetFile("zones"), older, "test")
    real: Any = staging.__dict__["audit"]
    lookups = [newer]

    def audit(*arguments: object) -> None:
        if lookups:
            lake.landing.put(DatasetFile("zones"), lookups.pop(), "test")
            load(lake.catalog, lake.landing, DatasetFile("zones"))
        real(*arguments)

    monkeypatch.setattr(staging, "audit", audit)
    result = load(lake.catalog, lake.landing, DatasetFile("zones"))

    assert (result.action, result.rows) == ("unchanged", 266)
    assert [row.total_rows for row in lake.history("raw.taxi_zones")] == [266]
