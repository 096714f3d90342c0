"""A SQL source with a cursor, on the services: an extract begins where the table ends, also once Trino compacted it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.integration.lake import Lake
from tests.unit.test_cursor import FILE, RENTALS, Source

from lakehouse.datasets.registry import DATASETS
from lakehouse.landing.land import land
from lakehouse.loading.cursor import since
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult


def refreshed(lake: Lake) -> tuple[list[Any], LoadResult]:
    """The ids of an extract, and what its load did."""
    landed = land(lake.landing, "/nowhere", FILE, refresh=True, since=since(lake.catalog, RENTALS))
    with lake.landing.local(landed) as path:
        ids = [int(str(one)) for one in pq.read_table(path)["rental_id"].to_pylist()]  # as SQLite gives them: text
    return ids, load(lake.catalog, lake.landing, FILE)


def test_an_extract_goes_on_where_a_compacted_table_ends(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RENTALS_URL", f"sqlite:///{tmp_path / 'film.db'}")
    monkeypatch.setitem(DATASETS, "rentals", RENTALS)
    source = Source(tmp_path / "film.db")
    source.create(rows=[(1, "one", "2024-01-01 10:00:00"), (2, "two", "2024-01-01 12:00:00.123456")])
    assert refreshed(lake)[0] == [1, 2]
    source.put(3, "three", "2024-01-01 12:30:00")
    assert refreshed(lake)[0] == [2, 3]

    lake.sql("alter table raw.rentals execute optimize")
    source.put(1, "ONE", "2024-01-02 09:00:00")
    source.put(4, "late", "2024-01-01 11:30:00")
    source.put(5, "five", "2024-01-02 10:00:00")
    ids, result = refreshed(lake)

    assert ids == [1, 2, 3, 4, 5]
    assert result.counts == "5 rows (2 inserted, 1 updated, 2 unchanged, 0 removed)"
    assert refreshed(lake)[1].snapshot_id is None
    notes = lake.sql("select rental_id, note from raw.rentals order by 1")
    assert notes == [(1, "ONE"), (2, "two"), (3, "three"), (4, "late"), (5, "five")]
