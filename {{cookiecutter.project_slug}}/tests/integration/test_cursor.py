"""A SQL source with a cursor, on the services: an extract begins where the table ends, also once Trino compacted it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.integration.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.datasets.sources import Query
from lakehouse.landing.land import land
from lakehouse.loading.cursor import since
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult

RENTALS = Dataset(
    name="rentals",
    title="Rentals of films",
    table="raw.rentals",
    files="rentals.parquet",
    parts=Whole(complete=False),
    key=("rental_id",),
    source=Query(database="RENTALS_URL", table="rental", cursor="last_update", overlap=timedelta(hours=1)),
    columns=(Column("rental_id", "long"), Column("note", "string"), Column("last_update", "timestamp")),
)
FILE = DatasetFile("rentals")


def put(file: Path, rows: Iterable[tuple[int, str, str]]) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("create table if not exists rental (rental_id integer primary key, note text, last_update)")
        connection.executemany("insert or replace into rental values (?, ?, ?)", rows)


def refreshed(lake: Lake) -> tuple[list[Any], LoadResult]:
    """The ids of an extract, and what its load did."""
    landed = land(lake.landing, "/nowhere", FILE, refresh=True, since=since(lake.catalog, RENTALS))
    with lake.landing.local(landed) as path:
        ids = [int(str(one)) for one in pq.read_table(path)["rental_id"].to_pylist()]  # as SQLite gives them: text
    return ids, load(lake.catalog, lake.landing, FILE)


def test_an_extract_goes_on_where_a_compacted_table_ends(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "film.db"
    monkeypatch.setenv("RENTALS_URL", f"sqlite:///{file}")
    monkeypatch.setitem(DATASETS, "rentals", RENTALS)
    put(file, [(1, "one", "2024-01-01 10:00:00"), (2, "two", "2024-01-01 12:00:00.123456")])
    assert refreshed(lake)[0] == [1, 2]
    put(file, [(3, "three", "2024-01-01 12:30:00")])
    assert refreshed(lake)[0] == [2, 3]

    lake.sql("alter table raw.rentals execute optimize")
    put(
        file,
        [(1, "ONE", "2024-01-02 09:00:00"), (4, "late", "2024-01-01 11:30:00"), (5, "five", "2024-01-02 10:00:00")],
    )
    ids, result = refreshed(lake)

    assert ids == [1, 2, 3, 4, 5]
    assert result.counts == "5 rows (2 inserted, 1 updated, 2 unchanged, 0 removed)"
    assert refreshed(lake)[1].snapshot_id is None
    notes = lake.sql("select rental_id, note from raw.rentals order by 1")
    assert notes == [(1, "ONE"), (2, "two"), (3, "three"), (4, "late"), (5, "five")]
