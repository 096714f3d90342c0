"""What a commit costs does not grow with those before it."""

from __future__ import annotations

from typing import Any

import pytest
from pyiceberg.table import Table
from pyiceberg.table.update import update_table_metadata
from tests.lake import Lake

TABLE = "raw.green_trips"


def manifests(table: Table) -> list[int]:
    """The live files of each manifest of the current state."""
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return [len(m.fetch_manifest_entry(table.io)) for m in snapshot.manifests(table.io)]


def test_a_month_replaced_again_and_again_leaves_no_manifest_behind(lake: Lake) -> None:
    for seed in range(6):
        for month in ("2024-01", "2024-02"):
            lake.load("green", month, lake.generate("green", month, 20 + seed, seed=seed))

    table = lake.table(TABLE)
    # one for each month, and what the last commit took out
    assert sorted(manifests(table)) == [0, 1, 1]
    assert [table.scan(snapshot_id=s.snapshot_id).to_arrow().num_rows for s in table.snapshots()] == [
        20, 40, *(n for seed in range(1, 6) for n in (39 + 2 * seed, 40 + 2 * seed))
    ]  # fmt: skip


def test_a_commit_copies_the_history_as_often_after_many_as_after_few(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[int] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        copies.append(1)
        return update_table_metadata(*arguments, **options)

    monkeypatch.setattr("pyiceberg.table.update_table_metadata", counted)
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 20))

    assert 0 < len(copies) < 5  # PyIceberg alone: twenty
