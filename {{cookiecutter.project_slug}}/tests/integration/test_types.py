"""Columns of every type on the services: Trino and PyIceberg read what was loaded, now and as of an older version."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.integration.lake import Lake

from lakehouse.datasets.days import Day
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Daily, Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.defs.raw.checks import part_facts
from lakehouse.loading.load import load

COLUMNS = (
    Column("id", "long"),
    Column("paid", "boolean"),
    Column("due", "date", role="time"),
    Column("price", "decimal(6,2)"),
    Column("large", "decimal(38,9)"),
    Column("moment", "timestamptz", zone="Europe/Berlin"),
    Column("photo", "binary"),
    Column("tags", "list(string)"),
    Column("sums", "list(decimal(6,2))"),
)
TYPES: dict[str, Any] = {
    "id": pa.int64(),
    "paid": pa.bool_(),
    "due": pa.date32(),
    "price": pa.decimal128(6, 2),
    "large": pa.decimal128(38, 9),
    "moment": pa.timestamp("us", "UTC"),
    "photo": pa.binary(),
    "tags": pa.list_(pa.string()),
    "sums": pa.list_(pa.decimal128(6, 2)),
}
ROWS: list[dict[str, Any]] = [
    {
        "id": 1,
        "paid": True,
        "due": date(2024, 1, 5),
        "price": Decimal("-1234.50"),
        "large": Decimal("12345678901234567890123456789.123456789"),
        "moment": datetime(2024, 1, 5, 12, 0, 0, 123456, UTC),
        "photo": b"\x00\xff",
        "tags": ["a", None, ""],
        "sums": [Decimal("1.50"), Decimal("-2.25")],
    },
    {
        "id": 2,
        "paid": False,
        "due": date(1, 1, 1),
        "price": Decimal("9999.99"),
        "large": Decimal("-0.000000001"),
        "moment": datetime(1, 1, 1, tzinfo=UTC),
        "photo": b"",
        "tags": [],
        "sums": [None],
    },
    {"id": 3, **dict.fromkeys(("paid", "due", "price", "large", "moment", "photo", "tags", "sums"))},
]
NAMES = ", ".join(TYPES)
THINGS = Dataset("things", "Things", "raw.things", "things.parquet", Whole(), COLUMNS)


def put(lake: Lake, rows: list[dict[str, Any]], file: DatasetFile) -> int | None:
    """Land and load these rows; the snapshot."""
    path = lake.folder / "things.parquet"
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(TYPES)), path)
    lake.landing.put(file, path, "test")
    return load(lake.catalog, lake.landing, file).snapshot_id


def test_every_type_is_read_as_it_was_written(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "things", THINGS)
    first = put(lake, ROWS, DatasetFile("things"))
    put(lake, [*ROWS, {**ROWS[0], "id": 4}], DatasetFile("things"))

    select = f"select {NAMES} from raw.things order by id"
    assert lake.engine.query(select).to_pylist() == [*ROWS, {**ROWS[0], "id": 4}]
    assert lake.engine.query(select, as_of=f"raw.things@{first}").to_pylist() == ROWS
    scanned = lake.catalog.load_table("raw.things").scan(selected_fields=tuple(TYPES)).to_arrow()
    assert scanned.sort_by("id").to_pylist()[:3] == ROWS
    found = lake.sql(
        "select id from raw.things where paid and due = date '2024-01-05' and price < 0 and large > 1 "
        "and moment > timestamp '2024-01-05 12:59:59 Europe/Berlin' and photo = X'00ff' order by id"
    )
    assert found == [(1,), (4,)]


@pytest.mark.parametrize("name", ["due", "moment"])
def test_rows_of_another_day_are_counted_by_dates_and_by_local_times(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    columns = tuple(replace(column, role="time" if column.name == name else "") for column in COLUMNS)
    day = Day(2024, 1, 5)
    daily = replace(THINGS, parts=Daily(since=day), files="things_{day}.parquet", columns=columns)
    monkeypatch.setitem(DATASETS, "things", daily)
    late = {**ROWS[0], "due": date(2024, 1, 6), "moment": datetime(2024, 1, 5, 23, 30, tzinfo=UTC)}
    put(lake, [ROWS[0], ROWS[0], late], DatasetFile("things", day))

    assert part_facts(lake.engine, daily, day) == {"rows": 3, "keys": 3, "strays": 1, "nulls": 0}
