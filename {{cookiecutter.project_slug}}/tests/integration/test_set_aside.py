"""Rows that are set aside, on the services: Trino reads them, and a second load and maintenance keep them in step."""

from __future__ import annotations

import pytest
from tests.integration.lake import Lake

from lakehouse.datasets.days import Day
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Daily
from lakehouse.datasets.registry import DATASETS
from lakehouse.history.maintenance import maintain
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult

DAY = Day(2024, 1, 5)
ORDERS = Dataset(
    name="orders",
    title="Orders",
    table="raw.orders",
    files="orders_{day}.csv",
    parts=Daily(since=DAY),
    format=Csv(),
    columns=(Column("number", "long"), Column("price", "decimal(6,2)")),
    on_bad_rows="set aside",
    bad_share=0.5,
)
REJECTED = "select file_row, column_name, row_values from raw.orders_rejected order by file_row"


def loaded(lake: Lake, *rows: str) -> LoadResult:
    file = DatasetFile("orders", DAY)
    path = lake.folder / file.name
    path.write_text("\n".join(("number,price", *rows)) + "\n", "utf-8")
    lake.landing.put(file, path, "test")
    return load(lake.catalog, lake.landing, file)


def test_trino_reads_what_was_set_aside(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", ORDERS)

    assert loaded(lake, "1,1", "x,2", "3,1.505", "4,").set_aside == 2
    assert lake.sql(REJECTED) == [
        (1, "number", '{"number": "x", "price": "2"}'),
        (2, "price", '{"number": "3", "price": "1.505"}'),
    ]
    assert lake.sql("select file_row, number from raw.orders order by 1") == [(0, 1), (3, 4)]

    assert loaded(lake, "1,1", "2,2", "y,3").set_aside == 1
    maintain(lake.settings, ["raw.orders", "raw.orders_rejected"])
    assert loaded(lake, "1,1", "2,2", "y,3").action == "unchanged"
    assert lake.sql(REJECTED) == [(2, "number", '{"number": "y", "price": "3"}')]

    assert loaded(lake, "1,1", "2,2", "3,3").set_aside == 0
    assert lake.sql(REJECTED) == []
