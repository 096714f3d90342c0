"""Loading a month: one snapshot or none, the file's rows exactly, or a refusal that leaves everything as it was."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.update import AssertTableUUID, SetPropertiesUpdate
from tests.lake import Lake

from lakehouse.datasets.green import GREEN
from lakehouse.datasets.model import Column
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import CommitError, LandingError, RefusedError
from lakehouse.filesystem import sha256_of
from lakehouse.iceberg import staging, tables
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.iceberg.data_file import Totals
from lakehouse.iceberg.tables import ensure_raw_tables
from lakehouse.loading import load as loading

TABLE = "raw.green_trips"


def test_a_load_is_one_snapshot_with_its_provenance(lake: Lake) -> None:
    """One snapshot a month."""
    file = lake.generate("green", "2024-01", 500)

    result = lake.load("green", "2024-01", file, run_id="run-1")

    (row,) = lake.history(TABLE)
    assert (result.action, result.rows, result.snapshot_id) == ("loaded", 500, row.snapshot_id)
    assert (row.dataset, row.file_month, row.source, row.run_id) == ("green", "2024-01", "test", "run-1")
    assert row.source_sha256 == sha256_of(file) == result.source_sha256
    assert (row.added_rows, row.deleted_rows, row.total_rows) == (500, 0, 500)
    assert row.synthetic


def test_the_same_bytes_again_make_no_snapshot(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))

    result = lake.load("green", "2024-01")

    assert (result.action, result.snapshot_id, result.rows) == ("unchanged", None, 500)
    assert len(lake.history(TABLE)) == 1


def test_again_loads_the_same_bytes_in_a_new_snapshot(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))

    result = lake.load("green", "2024-01", again=True)

    first, second = lake.history(TABLE)
    assert (result.action, second.total_rows) == ("loaded", 500)
    assert (second.added_rows, second.deleted_rows, second.parent_id) == (500, 500, first.snapshot_id)


def test_a_restated_month_replaces_its_rows_in_one_snapshot(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 300))
    before = {f.file.file_path for f in lake.table(TABLE).scan(row_filter="file_month = '2024-02-01'").plan_files()}

    lake.load("green", "2024-01", lake.generate("green", "2024-01", 520, seed=1))

    after = {f.file.file_path for f in lake.table(TABLE).scan(row_filter="file_month = '2024-02-01'").plan_files()}
    last = lake.history(TABLE)[-1]
    assert after == before
    assert (last.added_rows, last.deleted_rows, last.total_rows) == (520, 500, 820)


def test_rows_are_the_files_rows_in_its_order(lake: Lake) -> None:
    file = lake.generate("green", "2024-01", 2_000, row_group_rows=300)

    lake.load("green", "2024-01", file)

    published = pq.read_table(file)
    held = lake.table(TABLE).scan().to_arrow().sort_by("file_row")
    assert held["file_row"].to_pylist() == list(range(2_000))
    for column in GREEN.columns:
        name = column.published_name(Month(2024, 1))
        if name in published.column_names:
            assert held[column.name].to_pylist() == published[name].to_pylist(), column.name
        else:
            assert held[column.name].null_count == 2_000


def test_a_row_belongs_to_the_month_of_its_file(lake: Lake) -> None:
    published = pq.read_table(lake.generate("green", "2024-01", 2_000))
    pickup, dropoff = "lpep_pickup_datetime", "lpep_dropoff_datetime"
    late = [datetime(2024, 2, 1, 0, minute) for minute in range(30)]  # noqa: DTZ001 - local, as published
    for name in (pickup, dropoff):
        times = pa.chunked_array(
            [published[name].slice(0, 1_970).combine_chunks(), pa.array(late, published[name].type)]
        )
        published = published.set_column(published.column_names.index(name), name, times)

    lake.load("green", "2024-01", lake.write("green", "2024-01", published))
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 1_500))

    held = lake.table(TABLE).scan(row_filter="file_month = '2024-01-01'").to_arrow()
    assert held.sort_by("file_row")["pickup_datetime"].to_pylist() == published[pickup].to_pylist()
    assert [row.total_rows for row in lake.history(TABLE)] == [2_000, 3_500]


@pytest.mark.parametrize("step", ["write_data_file", "audit", "commit"])
def test_a_load_that_fails_at_any_step_leaves_the_table_as_it_was(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    before = lake.history(TABLE)
    lake.land("green", "2024-01", lake.generate("green", "2024-01", 510, seed=1))

    with monkeypatch.context() as planted:
        planted.setattr(loading if step == "commit" else staging, step, _raise)
        with pytest.raises(RuntimeError, match="planted"):
            lake.load("green", "2024-01")

    assert lake.history(TABLE) == before
    assert lake.load("green", "2024-01").rows == 510


def _raise(*_args: object, **_keywords: object) -> None:
    raise RuntimeError("planted")


def test_a_refused_load_leaves_no_staged_file(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    files = sorted(lake.settings.warehouse_dir.rglob("*.parquet"))
    table = pq.read_table(lake.generate("green", "2024-02", 500))
    swapped = table.rename_columns(
        [
            {
                "lpep_pickup_datetime": "lpep_dropoff_datetime",
                "lpep_dropoff_datetime": "lpep_pickup_datetime",
            }.get(name, name)
            for name in table.column_names
        ]
    )

    with pytest.raises(RefusedError, match="look swapped"):
        lake.load("green", "2024-02", lake.write("green", "2024-02", swapped))

    assert sorted(lake.settings.warehouse_dir.rglob("*.parquet")) == files


def _some(lake: Lake) -> Path:
    return lake.generate("green", "2024-02", 10)


def test_a_month_emptied_on_purpose_is_known(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    lake.land("green", "2024-01", lake.write("green", "2024-01", pq.read_table(_some(lake)).slice(0, 0)))

    emptied = lake.load("green", "2024-01", allow_shrink=True)
    again = lake.load("green", "2024-01", allow_shrink=True)

    assert (emptied.action, emptied.rows, again.action) == ("loaded", 0, "unchanged")
    assert [row.total_rows for row in lake.history(TABLE)] == [500, 0]


def test_bytes_that_changed_since_landing_are_refused(lake: Lake) -> None:
    landed = lake.land("green", "2024-01", lake.generate("green", "2024-01", 5_000))
    path = lake.settings.landing_dir / "green_trips" / landed.file.name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(RefusedError, match="was changed after it was landed"):
        lake.load("green", "2024-01")

    assert lake.history(TABLE) == []


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"PAR1 cut short", b""])
def test_what_is_no_parquet_file_is_refused(lake: Lake, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "green_tripdata_2024-01.parquet"
    file.write_bytes(content)

    with pytest.raises(RefusedError, match=r"2024-01\.parquet can't be read as a parquet file"):
        lake.load("green", "2024-01", file)


def test_an_id_with_a_fraction_is_refused_with_column_and_row(lake: Lake) -> None:
    table = pq.read_table(lake.generate("green", "2024-01", 50))
    at = table.column_names.index("PULocationID")
    bad = table.set_column(at, "PULocationID", pa.array([1.0] * 49 + [1.5], pa.float64()))

    with pytest.raises(RefusedError, match=r"'PULocationID' has 1.5 in row 49 .* expected a whole number"):
        lake.load("green", "2024-01", lake.write("green", "2024-01", bad))


def test_nothing_landed_says_how_to_land(lake: Lake) -> None:
    with pytest.raises(LandingError, match="lakehouse load green 2024-01"):
        lake.load("green", "2024-01")


def test_a_column_nobody_declared_is_named_and_left_out(lake: Lake) -> None:
    table = pq.read_table(lake.generate("green", "2024-01", 50)).append_column("mood", pa.array(["fine"] * 50))

    result = lake.load("green", "2024-01", lake.write("green", "2024-01", table))

    assert (result.unknown_columns, result.rows) == (("mood",), 50)


def test_a_column_declared_later_between_others_gets_its_own_values(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = lake.generate("green", "2024-01", 50)
    lake.load("green", "2024-01", file)
    table = pq.read_table(file)
    moody = lake.write("green", "2024-02", table.append_column("mood", pa.array(["fine"] * 50)))
    columns = (*GREEN.columns[:3], Column("mood", "string"), *GREEN.columns[3:])

    with monkeypatch.context() as declared:
        declared.setitem(DATASETS, "green", replace(GREEN, columns=columns))
        lake.load("green", "2024-02", moody, allow_strays=True)
    lake.load(
        "green", "2024-02", again=True, allow_strays=True
    )  # declared no more: the column stays, and is null again

    with_it, without = (lake.table(TABLE).scan(snapshot_id=row.snapshot_id) for row in lake.history(TABLE)[1:])
    months = [
        scan.to_arrow().sort_by([("file_month", "ascending"), ("file_row", "ascending")]) for scan in (with_it, without)
    ]
    assert [month["mood"].to_pylist() for month in months] == [[None] * 50 + ["fine"] * 50, [None] * 100]
    for month in months:
        for name in month.column_names:
            if name not in ("file_month", "source_sha256", "mood"):
                assert month[name][:50] == month[name][50:], name
    assert lake.table(TABLE).schema().column_names[-1] == "mood"


@pytest.fixture
def moody(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lakehouse whose green table lacks a column that is declared since."""
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))
    monkeypatch.setitem(DATASETS, "green", replace(GREEN, columns=(*GREEN.columns, Column("mood", "string"))))
    return lake


@pytest.mark.parametrize("others", [1, 7])
def test_loads_that_add_a_column_at_the_same_time_both_load(
    moody: Lake, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """Another load commits just before each attempt, and the first one adds the column or changes something else."""
    real: Any = SqlCatalog.commit_table
    left = list(range(others))

    def commit_table(catalog: Any, table: Any, *changes: Any) -> Any:
        if left:
            left.pop()
            other = open_catalog(moody.settings)
            if others == 1:
                with monkeypatch.context() as once:
                    once.setattr(SqlCatalog, "commit_table", real)
                    assert "column raw.green_trips.mood" in ensure_raw_tables(other)
            else:
                theirs = other.load_table(TABLE)
                properties = SetPropertiesUpdate(updates={"other": str(len(left))})
                real(other, theirs, (AssertTableUUID(uuid=theirs.metadata.table_uuid),), (properties,))
            raise CommitFailedException("Table has been updated by another process")
        return real(catalog, table, *changes)

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
    result = moody.load("green", "2024-02", moody.generate("green", "2024-02", 40))

    assert (result.action, left) == ("loaded", [])
    assert moody.table(TABLE).schema().column_names.count("mood") == 1


def test_a_column_that_others_never_let_be_added_is_named(moody: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def commit_table(*_arguments: Any) -> Any:
        raise CommitFailedException("Table has been updated by another process")

    monkeypatch.setattr(tables, "SCHEMA_ATTEMPTS", 2)
    monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
    file = moody.generate("green", "2024-02", 40)

    with pytest.raises(
        CommitError, match=r"The columns mood could not be added to raw\.green_trips: .*each of 2 attempts"
    ):
        moody.load("green", "2024-02", file)


def test_the_audit_sees_a_changed_value_a_lost_null_and_exchanged_rows() -> None:
    def totals(*values: object) -> Totals:
        made = Totals(["n"])
        made.add([pa.array(values)])
        return made

    assert totals(1, None, 3).differences(totals(1, None, 3)) == []
    assert totals(1, None, 3).differences(totals(1, None, 4)) == ["n: values differ"]
    assert totals(1, None, 3).differences(totals(1, 0, 3)) == ["n: nulls differ"]
    assert totals(1, 2, 3).differences(totals(2, 1, 3)) == ["n: values differ"]
    assert totals("a", "b").differences(totals("b", "a")) == ["n: values differ"]
    assert totals(1, 2).differences(totals(1)) == ["2 rows were written, 1 were read"]


def test_damage_between_writing_and_reading_back_is_refused(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = staging.__dict__["write_data_file"]

    def write_and_damage(*args: object) -> object:
        file, totals = real(*args)
        path = Path(file.file_path.removeprefix("file://"))
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 4
        path.write_bytes(content)
        return file, totals

    monkeypatch.setattr(staging, "write_data_file", write_and_damage)

    with pytest.raises(RefusedError, match=r"can't be read back|is not what was written"):
        lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))

    assert lake.history(TABLE) == []
    assert not list(lake.settings.warehouse_dir.rglob("*.parquet"))


def test_a_month_loads_from_a_copy_of_the_landing_folder(lake: Lake, tmp_path: Path) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    shutil.rmtree(lake.settings.warehouse_dir)
    lake.settings.catalog_file.unlink()

    assert lake.load("green", "2024-01").action == "loaded"


def test_a_month_landed_anew_while_opened_is_loaded_from_one_version(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (lake.generate("green", "2024-01", rows) for rows in (500, 520))
    lake.land("green", "2024-01", old)
    opened = pa.OSFile

    def landed_anew(path: str, mode: Literal["r"]) -> pa.OSFile:
        monkeypatch.setattr(pa, "OSFile", opened)
        lake.land("green", "2024-01", new)  # the old file is open already, to be hashed
        return opened(path, mode)

    monkeypatch.setattr(pa, "OSFile", landed_anew)
    result = lake.load("green", "2024-01")

    assert (result.rows, result.source_sha256) == (520, sha256_of(new))
    assert [row.total_rows for row in lake.history(TABLE)] == [520]
