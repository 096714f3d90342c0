"""A dataset is declared by one file in src/lakehouse/datasets, which is found by being there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.datasets.registry import DATASETS, declared
from lakehouse.settings import project_dir

FHV = """
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Monthly

FHV = Dataset(
    name={name!r},
    title="For-hire vehicle trips",
    table={table!r},
    files="fhv_tripdata_{{month}}.parquet",
    parts=Monthly(since=Month(2015, 1)),
    columns=(Column("pickup_datetime", "timestamp", role="pickup"),),
)
"""


def names(folder: Path, name: str, table: str) -> subprocess.CompletedProcess[str]:
    """Ask a copy of the project, with one more declaration, for its datasets."""
    shutil.copytree(project_dir() / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    declaration = FHV.format(name=name, table=table)
    (folder / "src" / "lakehouse" / "datasets" / "fhv.py").write_text(declaration, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-c", "from lakehouse.datasets.registry import DATASETS; print(*DATASETS)"],
        env={"PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_file_in_the_folder_is_a_dataset(tmp_path: Path) -> None:
    asked = names(tmp_path, "fhv", "raw.fhv_trips")

    assert asked.stdout.split() == ["yellow", "green", "fhv", "zones"], asked.stderr


@pytest.mark.parametrize(
    ("name", "table", "both"), [("green", "raw.fhv_trips", "green"), ("fhv", "raw.green_trips", "raw.green_trips")]
)
def test_two_declarations_of_one_name_or_table_are_refused(tmp_path: Path, name: str, table: str, both: str) -> None:
    asked = names(tmp_path, name, table)

    assert asked.returncode == 1
    assert f"datasets/fhv.py and datasets/green.py both declare {both}. Rename one." in asked.stderr


def test_reading_the_declarations_twice_gives_the_same() -> None:
    assert declared() == DATASETS
