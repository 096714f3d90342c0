"""What a table's history says of itself: which snapshots a rollback took back, and which load a month came from."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.lake import Lake

from lakehouse.engines import Timeline
from lakehouse.engines.duckdb import DuckDBEngine
from lakehouse.history.history import PartRow, history, loaded
from lakehouse.history.maintenance import maintain
from lakehouse.iceberg.refs import rollback, tag
from lakehouse.landing.record import GENERATED

TABLE = "raw.green_trips"
NOW = timedelta(0)


class Parentless(DuckDBEngine):
    """Tells a history as Trino tells that of a table that each build replaces: no snapshot has a parent."""

    def timeline(self, table: str) -> Timeline:
        """The same without parents."""
        found = super().timeline(table)
        return replace(found, snapshots=[replace(snapshot, parent_id=None) for snapshot in found.snapshots])


def load(lake: Lake, seed: int, month: str = "2024-01") -> int:
    """Load a restatement of the month."""
    lake.load("green", month, lake.generate("green", month, 50 + seed, seed=seed))
    return int(lake.engine.timeline(TABLE).current or 0)


def rolled_back(lake: Lake) -> list[int]:
    rows = lake.history(TABLE)
    without_parents = history(Parentless(lake.settings), TABLE)
    assert [r.rolled_back for r in rows] == [r.rolled_back for r in without_parents]
    return [row.snapshot_id for row in rows if row.rolled_back]


def month_row(lake: Lake) -> PartRow:
    (row,) = loaded(lake.engine, lake.landing)
    return row


def test_a_rollback_takes_back_what_was_newer_until_it_is_undone(lake: Lake) -> None:
    first, second, third = (load(lake, seed) for seed in range(3))
    assert rolled_back(lake) == []

    rollback(lake.catalog, TABLE, first)
    assert rolled_back(lake) == [second, third]

    rollback(lake.catalog, TABLE, second)
    assert rolled_back(lake) == [third]

    rollback(lake.catalog, TABLE, first)
    rollback(lake.catalog, TABLE, third)
    assert rolled_back(lake) == []


def test_what_was_taken_back_stays_so_when_loads_go_on(lake: Lake) -> None:
    first, second = (load(lake, seed) for seed in range(2))
    rollback(lake.catalog, TABLE, first)

    load(lake, 2)
    load(lake, 3)

    assert rolled_back(lake) == [second]


def test_expiry_takes_nothing_back(lake: Lake) -> None:
    first, _, third = (load(lake, seed) for seed in range(3))
    tag(lake.catalog, TABLE, "kept", first)

    maintain(lake.settings, [TABLE], keep=NOW, unreferenced=NOW)

    assert [row.snapshot_id for row in lake.history(TABLE)] == [first, third]
    assert rolled_back(lake) == []


def test_expiry_forgets_no_rollback(lake: Lake) -> None:
    first, second, third = (load(lake, seed) for seed in range(3))
    tag(lake.catalog, TABLE, "third", third)
    rollback(lake.catalog, TABLE, first)

    maintain(lake.settings, [TABLE], keep=NOW, unreferenced=NOW)

    assert second not in [row.snapshot_id for row in lake.history(TABLE)]
    assert rolled_back(lake) == [third]


def test_a_branch_beside_the_line_was_never_rolled_back(lake: Lake) -> None:
    first = load(lake, 0)
    table = lake.table(TABLE)
    table.manage_snapshots().create_branch(first, "trial").commit()
    table.append(table.scan(limit=10).to_arrow(), branch="trial")

    trial = lake.history(TABLE)[-1]

    assert (trial.refs, trial.in_line, trial.rolled_back) == (("trial",), False, False)


def test_a_month_is_known_by_its_bytes_where_its_load_is_off_the_line(lake: Lake) -> None:
    first, second = load(lake, 0), load(lake, 1)
    rollback(lake.catalog, TABLE, first)
    table = lake.table(TABLE)
    table.overwrite(table.scan(snapshot_id=second).to_arrow())  # as a writer that says nothing of where rows come from

    row = month_row(lake)

    assert (row.rows, row.snapshot_id, row.synthetic) == (51, second, True)


def test_after_a_rollback_a_month_belongs_to_the_older_load(lake: Lake) -> None:
    first = load(lake, 0)
    lake.load("green", "2024-01", again=True)
    assert month_row(lake).snapshot_id == lake.history(TABLE)[-1].snapshot_id != first

    rollback(lake.catalog, TABLE, first)

    assert month_row(lake).snapshot_id == first


@pytest.mark.parametrize(("origin", "synthetic"), [(f"{GENERATED}green", True), ("test", False)])
def test_generated_months_stay_marked_when_their_load_has_expired(lake: Lake, origin: str, synthetic: bool) -> None:
    lake.land("green", "2024-01", lake.generate("green", "2024-01", 50), origin=origin)
    lake.load("green", "2024-01")
    load(lake, 0, "2024-02")
    lake.land("green", "2024-01", lake.generate("green", "2024-01", 60, seed=1))  # landed, and not loaded yet

    maintain(lake.settings, [TABLE], keep=NOW, unreferenced=NOW)

    january = loaded(lake.engine, lake.landing)[0]
    assert (january.part, january.snapshot_id, january.synthetic) == ("2024-01", None, synthetic)
