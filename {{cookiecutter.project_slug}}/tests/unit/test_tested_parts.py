"""Which months the tests of each month alone look at: those that differ from what they passed on, and no fewer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from tests.lake import Lake

from lakehouse.history.maintenance import maintain
from lakehouse.iceberg import files, rows
from lakehouse.iceberg.refs import rollback
from lakehouse.tested_parts import ByPart, as_notes, changed, missed, to_test

RAW, MODEL = "raw.green_trips", "silver.stg_green_trips"
TEST, OTHER = "test.lakehouse.once.1", "test.lakehouse.few.2"
NOW = timedelta(0)
ABOUT = {MODEL: ByPart((RAW,), (), (TEST, OTHER))}


def load(lake: Lake, *months: str, seed: int = 0) -> None:
    for month in months:
        lake.load("green", month, lake.generate("green", month, 20 + seed, seed=seed))


def copied(lake: Lake) -> Table:
    """Silver as a copy of raw: its months, rows and hashes. Each copy is a snapshot."""
    raw = lake.table(RAW)
    if not lake.catalog.table_exists(MODEL):
        lake.catalog.create_namespace_if_not_exists("silver")
        lake.catalog.create_table(MODEL, raw.schema(), partition_spec=raw.spec())
    table = lake.table(MODEL)
    table.overwrite(raw.scan().to_arrow()) if table.current_snapshot() else table.append(raw.scan().to_arrow())
    return table


def tables(lake: Lake) -> dict[str, Table]:
    return {name: lake.table(name) for name in (RAW, MODEL)}


def known(table: Table, other: Table | None = None, **changes: Any) -> dict[str, Any]:
    """The notes of a run whose tests passed on these states."""
    nodes = {name: state(one) for name, one in ((TEST, table), (OTHER, other or table))}
    return {"by_part": as_notes(ABOUT), "nodes": nodes, "warnings": {}} | changes


def state(table: Table) -> dict[str, list[Any]]:
    return {MODEL: [table.metadata.current_snapshot_id, str(table.metadata.table_uuid), 0]}


def test_nothing_is_to_test_after_a_run_whose_tests_passed(lake: Lake) -> None:
    load(lake, "2024-01", "2024-02")
    assert to_test(known(copied(lake)), tables(lake)) == {MODEL: []}


def test_a_month_that_the_build_will_replace_is_to_test(lake: Lake) -> None:
    load(lake, "2024-01", "2024-02")
    notes = known(copied(lake))
    load(lake, "2024-02", seed=1)
    load(lake, "2024-03")

    assert to_test(notes, tables(lake)) == {MODEL: ["2024-02-01", "2024-03-01"]}


def test_a_month_that_changed_since_it_passed_is_to_test(lake: Lake) -> None:
    load(lake, "2024-01", "2024-02")
    table = copied(lake)
    notes = known(table)
    table.delete("file_month = '2024-01-01' and file_row = 3")

    assert to_test(notes, {RAW: lake.table(RAW), MODEL: table.refresh()}) == {MODEL: ["2024-01-01"]}


def test_a_rollback_to_what_no_test_has_seen_is_to_test(lake: Lake) -> None:
    load(lake, "2024-01")
    unseen = copied(lake).metadata.current_snapshot_id
    load(lake, "2024-02")
    lake.table(MODEL).append(lake.table(RAW).scan("file_month = '2024-02-01'").to_arrow())
    table = lake.table(MODEL)
    table.overwrite(table.scan("file_month = '2024-01-01'").to_arrow(), "file_month = '2024-01-01'")
    notes = known(lake.table(MODEL))
    rollback(lake.catalog, MODEL, unseen or 0)

    assert to_test(notes, tables(lake)) == {MODEL: ["2024-01-01", "2024-02-01"]}


def test_each_test_is_asked_of_what_it_has_not_seen_itself(lake: Lake) -> None:
    load(lake, "2024-01")
    first = copied(lake)
    load(lake, "2024-02")
    lake.table(MODEL).append(lake.table(RAW).scan("file_month = '2024-02-01'").to_arrow())

    assert to_test(known(lake.table(MODEL), first), tables(lake)) == {MODEL: ["2024-02-01"]}


def test_hashes_that_a_compaction_cut_tell_files_without_reading_them(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(lake, "2024-01")
    notes = known(copied(lake))
    whole = files._hash_bounds

    def cut(table: Table, file: DataFile) -> tuple[bytes | None, bytes | None]:
        low, high = whole(table, file)
        assert low is not None
        return (low[:16], low[:15] + bytes([low[15] + 1])) if table.name()[0] == "silver" else (low, high)

    monkeypatch.setattr(files, "_hash_bounds", cut)
    monkeypatch.setattr(rows, "hash_in", None)

    assert to_test(notes, tables(lake)) == {MODEL: []}
    load(lake, "2024-01", seed=1)
    assert to_test(notes, tables(lake)) == {MODEL: ["2024-01-01"]}


@pytest.mark.parametrize("gone", ["test", "warned", "table", "never", "expired"])
def test_without_a_state_on_which_it_passed_a_table_is_tested_as_a_whole(lake: Lake, gone: str) -> None:
    load(lake, "2024-01")
    table = copied(lake)
    notes = known(table)
    if gone == "test":
        notes["nodes"][OTHER] = None
    elif gone == "warned":
        notes["warnings"] = {OTHER: "few: 1 row"}
    elif gone == "never":
        notes["nodes"][OTHER] = {MODEL: None}
    elif gone == "table":
        lake.catalog.drop_table(MODEL)
        copied(lake)
    else:
        copied(lake)
        maintain(lake.settings, keep=NOW, unreferenced=NOW)

    assert to_test(notes, tables(lake)) == {}


def test_a_run_that_changed_more_than_its_tests_saw_proves_nothing(lake: Lake) -> None:
    load(lake, "2024-01")
    copied(lake)
    before = tables(lake)
    load(lake, "2024-02", "2024-03")
    lake.table(MODEL).append(lake.table(RAW).scan("file_month > '2024-01-01'").to_arrow())
    now = tables(lake)

    assert changed(now[MODEL], before[MODEL].current_snapshot(), now[MODEL].current_snapshot())
    assert missed({MODEL: ["2024-02-01", "2024-03-01"]}, ABOUT, before, now) == set()
    assert missed({MODEL: ["2024-02-01"]}, ABOUT, before, now) == {TEST, OTHER}
    assert missed({}, ABOUT, before, now) == set()  # its tests looked at all
