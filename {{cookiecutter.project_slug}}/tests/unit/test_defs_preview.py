"""The rows that Dagster shows of a table: of one file, of little memory, under the table's own names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from pyiceberg.types import StringType
from tests.lake import Lake

from lakehouse.defs.common import PREVIEW_ROWS, markdown_table, preview

MONTH = "file_month = '2024-01-01'"
POOLS: list[pa.MemoryPool] = []  # a buffer that outlives its pool takes the process with it


@pytest.fixture
def pool() -> Iterator[pa.MemoryPool]:
    """What Arrow takes from now on."""
    before = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(before)
    POOLS.append(counted)
    pa.set_memory_pool(counted)
    try:
        yield counted
    finally:
        pa.set_memory_pool(before)


def test_only_the_first_rows_of_a_file_are_read(lake: Lake, pool: pa.MemoryPool) -> None:
    rows = pa.table({f"c{i}": np.random.default_rng(i).random(250_000) for i in range(12)})
    lake.catalog.create_namespace("raw")
    table = lake.catalog.create_table("raw.wide", rows.schema)
    for _ in range(3):
        table.append(rows)
    before = pool.max_memory() or 0

    read = preview(lake.table("raw.wide"))

    assert read.to_pylist() == rows.slice(0, PREVIEW_ROWS).to_pylist()
    assert 0 < (pool.max_memory() or 0) - before < rows.nbytes


def test_the_rows_are_those_of_the_month_that_is_asked_for(lake: Lake) -> None:
    for month in ("2024-01", "2024-02"):
        lake.load("green", month, lake.generate("green", month, 50))

    read = preview(lake.table("raw.green_trips"), MONTH)

    assert {str(day) for day in read["file_month"].to_pylist()} == {"2024-01-01"}
    assert read["file_row"].to_pylist() == list(range(PREVIEW_ROWS))
    assert read.column_names == lake.table("raw.green_trips").schema().column_names


def test_a_filter_within_a_file_is_heeded(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))
    table = lake.table("raw.green_trips")

    assert preview(table, "file_row >= 47")["file_row"].to_pylist() == [47, 48, 49]
    assert markdown_table(preview(table, "file_month = '2023-01-01'")) == "No rows."


def test_columns_that_were_renamed_or_added_since_have_the_names_of_today(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))
    expected = preview(lake.table("raw.green_trips"))["fare_amount"].to_pylist()
    with lake.table("raw.green_trips").update_schema() as update:
        update.rename_column("fare_amount", "fare")
        update.add_column("mood", StringType())

    read = preview(lake.table("raw.green_trips"))

    assert read["fare"].to_pylist() == expected
    assert read["mood"].to_pylist() == [None] * PREVIEW_ROWS
    assert "fare_amount" not in read.column_names


def test_an_empty_table_has_a_preview_too(lake: Lake) -> None:
    rows = pa.table({"n": [1]})
    lake.catalog.create_namespace("raw")
    lake.catalog.create_table("raw.empty", rows.schema)

    assert markdown_table(preview(lake.table("raw.empty"))) == "No rows."
