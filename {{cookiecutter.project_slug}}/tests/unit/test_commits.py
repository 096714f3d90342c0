"""One commit of a load when the catalog's answer is lost, and when others commit meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitStateUnknownException
from tests.lake import Lake

from lakehouse.iceberg import commits

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


def test_a_commit_to_another_month_meanwhile_is_rebased_over_and_nothing_starts_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    monkeypatch.setattr(commits, "_reloaded", reloaded)
    lake.load("green", "2024-01")

    assert (others, started_again) == ([], [])
    assert [(r.file_month, r.added_rows, r.deleted_rows) for r in lake.history(TABLE)[1:]] == [
        ("2024-02", 300, 0),
        ("2024-01", 520, 500),
    ]
