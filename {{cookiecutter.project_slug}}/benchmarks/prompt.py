"""How soon a command answers, against a bare Python that imports the libraries which the command can't do without."""

from __future__ import annotations

from pathlib import Path

from benchmarks.process import fresh, run
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing import open_landing
from lakehouse.loading.load import load
from lakehouse.synthetic.generate import write_month, write_zones
from lakehouse.transform import build

MONTH = Month(2024, 1)
_SHELL = ("typer", "rich.console", "rich.table")
_TABLES = (*_SHELL, "rich.progress", "pydantic_settings", "pyiceberg.catalog.sql", "pyarrow")
# Each command with the libraries that it can't do without.
COMMANDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("--help",): ("typer.rich_utils",),  # draws the page
    ("months",): (*_TABLES, "duckdb"),
    ("history", "raw.yellow_trips"): (*_TABLES, "duckdb"),
    ("sql", "select count(*) from raw.yellow_trips"): (*_TABLES, "duckdb", "sqlglot"),
    ("load", "yellow", "2024-01"): (*_TABLES, "pyiceberg.io.pyarrow", "pyarrow.parquet"),
    ("build",): ("pyiceberg.catalog.sql",),
}


def generate_prompt(folder: Path) -> None:
    """A lakehouse with a month and the zones, built."""
    settings = fresh(folder / "prompt")
    landing, catalog = open_landing(settings), open_catalog(settings)
    month = folder / "prompt.parquet"
    write_month(month, "yellow", MONTH, 100_000)
    landing.put(DatasetFile("yellow", MONTH), month, "benchmark")
    landing.put(DatasetFile("zones"), write_zones(folder / "zones.csv"), "benchmark")
    load(catalog, landing, DatasetFile("yellow", MONTH))
    load(catalog, landing, DatasetFile("zones"))
    build(settings)


def command(folder: Path, *words: str) -> None:
    """A command of `lakehouse`, from its start to its end."""
    run(folder / "prompt", "-m", "lakehouse", *words)


def imports(folder: Path, *modules: str) -> None:
    """A Python that imports these and ends."""
    run(folder / "prompt", "-c", f"import {', '.join(modules)}")
