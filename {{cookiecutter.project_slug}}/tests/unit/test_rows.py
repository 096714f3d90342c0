"""The rows of one data file, by the ids of its columns, or by their names where others wrote it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import LongType, NestedField, StringType
from tests.lake import Lake

from lakehouse.iceberg.rows import batches_of


@pytest.fixture
def table(lake: Lake) -> Table:
    lake.catalog.create_namespace("others")
    fields = (NestedField(1, "number", LongType()), NestedField(2, "word", StringType()))
    return lake.catalog.create_table("others.words", Schema(*fields))


def rows(table: Table, *names: str) -> list[list[object]]:
    (task,) = table.scan().plan_files()
    return [array.to_pylist() for batch in batches_of(table, task.file, names) for array in batch]


def test_a_file_of_the_lakehouse_is_read_by_the_ids_of_its_columns(table: Table) -> None:
    table.append(pa.table({"number": [1, 2], "word": ["a", "b"]}))
    with table.update_schema() as update:
        update.rename_column("word", "text")
    with table.update_schema() as update:
        update.add_column("word", StringType())

    assert rows(table, "text", "number", "word") == [["a", "b"], [1, 2], [None, None]]


def test_a_file_of_others_is_read_by_the_names_of_its_columns(table: Table, tmp_path: Path) -> None:
    file = tmp_path / "others.parquet"
    pq.write_table(pa.table({"number": [1, 2], "word": ["a", "b"]}), file)
    table.add_files([f"file://{file}"])
    with table.update_schema() as update:
        update.rename_column("word", "text")

    assert rows(table, "text", "number") == [["a", "b"], [1, 2]]
