"""What `make bench-stack` measures is done, in small: it runs for minutes, and by hand."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.integration import bench
from tests.integration.database import postgres
from tests.integration.lake import Lake

from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_month

ROWS = 300


def test_the_benchmark_loads_on_both_targets(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "FEW", ROWS)
    monkeypatch.setattr(bench, "ROWS_A_STATEMENT", 200)
    file = write_month(tmp_path / "few", "yellow", bench.MONTH, ROWS)

    embedded = bench.load_seconds(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "embedded"), file)
    real = bench.load_seconds(lake.settings, file)
    slow = bench.insert_values(lake)

    assert min(embedded, real, slow) > 0
    columns = lake.catalog.load_table("raw.by_values").schema().column_names
    assert columns == lake.catalog.load_table("raw.yellow_trips").schema().column_names
    assert lake.sql("(table raw.yellow_trips) except (table raw.by_values)") == []
    assert lake.value("select count(*) from raw.yellow_trips") == ROWS


def test_the_benchmark_extracts_and_copies_the_same_rows(tmp_path: Path) -> None:
    with postgres() as database:
        bench.fill(database, ROWS)
        extracted = bench.extract(database, tmp_path)
        assert min(extracted["seconds"], extracted["peak_mb"], bench.copy_seconds(database, tmp_path)) > 0

    [landed] = (tmp_path / "extract").rglob("rentals.parquet")
    assert pq.read_table(landed).equals(pq.read_table(tmp_path / "copy.parquet"))
