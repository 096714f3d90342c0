"""Is a file plausible as a whole: whose month are its rows, and is it loaded as another month already?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from tests.lake import Lake

from lakehouse.errors import RefusedError
from lakehouse.iceberg import files as table_files
from lakehouse.iceberg import rows as table_rows
from lakehouse.loading import acceptance

# Published times carry no zone: they are New York's clocks.
# ruff: noqa: DTZ001

TABLE = "raw.green_trips"
PICKUP, DROPOFF = "lpep_pickup_datetime", "lpep_dropoff_datetime"


def with_pickups(lake: Lake, pickups: Sequence[datetime | None]) -> Path:
    """A file of 2024-01 with these pickups, each trip of ten minutes."""
    table = pq.read_table(lake.generate("green", "2024-01", len(pickups)))
    dropoffs = [None if pickup is None else pickup + timedelta(minutes=10) for pickup in pickups]
    for name, times in ((PICKUP, pickups), (DROPOFF, dropoffs)):
        table = table.set_column(table.column_names.index(name), name, pa.array(times, pa.timestamp("us")))
    return lake.write("green", "2024-01", table)


def test_a_file_of_another_month_is_refused_by_name(lake: Lake) -> None:
    pickups = [datetime(2023, 12, 5)] * 8 + [datetime(2009, 1, 1)] * 3 + [datetime(2024, 1, 5)] * 9

    with pytest.raises(RefusedError) as caught:
        lake.load("green", "2024-01", with_pickups(lake, [*pickups, None]))

    said = str(caught.value)
    assert "green_tripdata_2024-01.parquet seems to be of 2023-12, not of 2024-01: " in said
    assert "'lpep_pickup_datetime' is more than a day outside 2024-01 in 11 of 20" in said
    assert "8 rows (40.0 %) are of 2023-12" in said
    assert "lakehouse load green 2024-01 --refresh" in said
    assert "--allow-strays (in Dagster: `allow_strays: true`)" in said
    assert "wrong order" not in said
    assert lake.history(TABLE) == []
    assert not list(lake.settings.warehouse_dir.rglob("*.parquet"))


def test_strays_that_are_meant_are_loaded(lake: Lake) -> None:
    file = with_pickups(lake, [datetime(2023, 12, 5)] * 20)

    assert lake.load("green", "2024-01", file, allow_strays=True).rows == 20


def test_half_of_the_rows_outside_the_month_are_loaded(lake: Lake) -> None:
    file = with_pickups(lake, [datetime(2023, 12, 5)] * 10 + [datetime(2024, 1, 5)] * 10)

    assert lake.load("green", "2024-01", file).rows == 20


@pytest.mark.parametrize(
    ("pickup", "refused"),
    [
        (datetime(2023, 12, 31), False),
        (datetime(2023, 12, 30, 23, 59, 59, 999_999), True),
        (datetime(2024, 2, 2), False),
        (datetime(2024, 2, 2, 0, 0, 0, 1), True),
        (datetime(1, 1, 1), True),
        (datetime(9999, 12, 31), True),
    ],
)
def test_a_day_around_the_month_is_no_other_month(lake: Lake, pickup: datetime, *, refused: bool) -> None:
    file = with_pickups(lake, [pickup] * 20)

    if refused:
        with pytest.raises(RefusedError, match=rf"\(100 %\) are of {pickup:%Y-%m}|of {pickup.year:04}-"):
            lake.load("green", "2024-01", file)
    else:
        assert lake.load("green", "2024-01", file).rows == 20


def test_an_empty_or_shrunken_month_is_refused_unless_meant(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))

    with pytest.raises(
        RefusedError, match=r"249 rows, fewer than 50% of the 500 .*--allow-shrink .*allow_shrink: true"
    ):
        lake.load("green", "2024-01", lake.generate("green", "2024-01", 249, seed=1))
    empty = pq.read_table(lake.generate("green", "2024-02", 10)).slice(0, 0)
    with pytest.raises(RefusedError, match="has 0 rows"):
        lake.load("green", "2024-02", lake.write("green", "2024-02", empty))

    assert lake.load("green", "2024-01", allow_shrink=True).rows == 249


def test_a_damaged_generated_month_is_not_told_to_refresh(lake: Lake) -> None:
    """`--refresh` is refused while other generated months are here."""
    landed = lake.land("green", "2024-01", lake.generate("green", "2024-01", 10))

    with pytest.raises(RefusedError, match=r"Run `lakehouse load green 2024-01 --refresh`, which gets the published"):
        acceptance.check_bytes(replace(landed, origin="https://example.com/green"), "0" * 64)
    with pytest.raises(RefusedError, match=r"loaded\. It is a generated file\. `make demo` replaces it by the"):
        acceptance.check_bytes(replace(landed, origin="generated://green"), "0" * 64)


def test_the_same_bytes_as_another_month_are_refused(lake: Lake) -> None:
    # Just as many rows of either month: the times alone would let it pass as both.
    file = with_pickups(lake, [datetime(2023, 12, 5)] * 10 + [datetime(2024, 1, 5)] * 10)
    lake.load("green", "2024-01", file)
    before = lake.history(TABLE)

    with pytest.raises(RefusedError) as caught:
        lake.load("green", "2023-12", file)

    said = str(caught.value)
    assert "green_tripdata_2023-12.parquet has the same bytes as the file from which green 2024-01 was loaded" in said
    assert "lakehouse load green 2024-01 --refresh" in said
    assert lake.history(TABLE) == before
    assert lake.load("green", "2023-12", allow_strays=True).rows == 20
    # Each is held from these bytes now: asking for it again changes nothing, and a reload says it is meant.
    assert lake.load("green", "2023-12").action == "unchanged"


def test_bytes_that_another_month_no_longer_holds_load(lake: Lake) -> None:
    file = with_pickups(lake, [datetime(2024, 1, 5)] * 20)
    lake.load("green", "2023-12", file, allow_strays=True)
    lake.load("green", "2023-12", lake.generate("green", "2023-12", 20))

    assert lake.load("green", "2024-01", file).rows == 20


@pytest.mark.parametrize("lost_race", [True, False], ids=["the other commits first", "nobody else commits"])
def test_two_loads_of_the_same_bytes_at_once_make_one_month(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, *, lost_race: bool
) -> None:
    lake.load("green", "2024-03", lake.generate("green", "2024-03", 30))
    file = with_pickups(lake, [datetime(2023, 12, 5)] * 10 + [datetime(2024, 1, 5)] * 10)
    lake.land("green", "2024-01", file)
    lake.land("green", "2023-12", file)
    real: Callable[..., Any] = SqlCatalog.commit_table
    others = ["2023-12"] if lost_race else []

    def commit_table(*arguments: Any) -> Any:
        if others:
            lake.load("green", others.pop())
        return real(*arguments)

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
    if lost_race:
        with pytest.raises(RefusedError, match="the same bytes as the file from which green 2023-12 was loaded"):
            lake.load("green", "2024-01")
    else:
        lake.load("green", "2024-01")

    files = {str(path) for path in lake.settings.warehouse_dir.rglob("data/**/*.parquet")}
    assert [row.file_month for row in lake.history(TABLE)] == ["2024-03", "2023-12" if lost_race else "2024-01"]
    assert len(files) == 2
    _no_unknown_metadata(lake)


def _no_unknown_metadata(lake: Lake) -> None:
    """Every manifest on disk belongs to a snapshot."""
    table = lake.table(TABLE)
    known = {m.manifest_path for s in table.metadata.snapshots for m in s.manifests(table.io)}
    known |= {s.manifest_list for s in table.metadata.snapshots}
    names = {path.rsplit("/", 1)[-1] for path in known}
    assert {p.name for p in lake.settings.warehouse_dir.rglob("*.avro")} <= names


def test_a_commit_reads_each_manifest_at_most_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for month, rows in (("2024-02", 20), ("2024-03", 20), ("2024-04", 20), ("2024-05", 30), ("2024-06", 10)):
        lake.load("green", month, lake.generate("green", month, rows))
    read: list[str] = []
    real = acceptance.__dict__["_files"]

    def files(manifest: ManifestFile, io: Any) -> Any:
        read.append(manifest.manifest_path)
        return real(manifest, io)

    monkeypatch.setattr(acceptance, "_files", files)
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 20))

    assert len(read) == len(set(read)) == 3


@pytest.mark.parametrize("same", [True, False])
def test_where_metrics_are_cut_the_column_tells_the_bytes(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, *, same: bool
) -> None:
    """Trino's compaction keeps 16 characters of the hash in the metrics, the last of the upper bound raised."""
    file = with_pickups(lake, [datetime(2023, 12, 5)] * 10 + [datetime(2024, 1, 5)] * 10)
    lake.load("green", "2024-01", file)
    real: Callable[..., tuple[bytes, bytes]] = table_files.__dict__["_hash_bounds"]
    columns_read: list[str] = []
    read_column: Callable[[Table, str], str | None] = table_rows.hash_in

    def cut(table: Table, data_file: Any) -> tuple[bytes, bytes]:
        low, high = real(table, data_file)
        return low[:16], high[:15] + bytes([high[15] + 1])

    def counted(table: Table, path: str) -> str | None:
        columns_read.append(path)
        return read_column(table, path)

    monkeypatch.setattr(table_files, "_hash_bounds", cut)
    monkeypatch.setattr(table_rows, "hash_in", counted)
    if same:
        with pytest.raises(RefusedError, match="the same bytes as the file from which green 2024-01 was loaded"):
            lake.load("green", "2023-12", file)
    else:
        lake.load("green", "2023-12", lake.generate("green", "2023-12", 20))

    assert len(columns_read) == same
