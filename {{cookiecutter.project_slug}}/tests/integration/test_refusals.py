"""Every file gets its one right answer on the services too: by way of the bucket, the REST catalog and Trino."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.brought import CASES, Brought, holds, state
from tests.integration.lake import GREEN, Lake
from tests.lake import Lake as PlainLake


@pytest.fixture
def plain(lake: Lake) -> PlainLake:
    """The empty lakehouse on the stack, as the cases use it."""
    return PlainLake(lake.settings, lake.folder / "files")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_file_is_loaded_exactly_or_refused_with_cause_and_way_out(plain: PlainLake, case: Brought) -> None:
    try:
        holds(plain, case)
    finally:
        plain.engine.close()


def test_the_command_refuses_with_one_message_and_exit_code_1(lake: Lake, plain: PlainLake, tmp_path: Path) -> None:
    plain.load("green", "2024-01", plain.generate("green", "2024-01", 50))
    before = state(plain, GREEN)
    source = tmp_path / "source"
    source.mkdir()
    bad = pq.read_table(plain.generate("green", "2024-02", 50)).drop_columns(["fare_amount"]).replace_schema_metadata()
    plain.write("green", "2024-02", bad).rename(source / "green_tripdata_2024-02.parquet")

    done = subprocess.run(
        [sys.executable, "-m", "lakehouse", "load", "green", "2024-02"],
        env={**lake.environment, "TLC_SOURCE": str(source)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "green_tripdata_2024-02.parquet: the column 'fare_amount' is missing" in errors[0]
    assert "Traceback" not in done.stderr
    assert state(plain, GREEN) == before
