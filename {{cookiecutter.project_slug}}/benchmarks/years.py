"""What a new month costs in a lakehouse that has many. Run as the tasks of `tasks.py` are."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.process import fresh, lake_in, run
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing import open_landing
from lakehouse.loading.load import load
from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_month, write_zones
from lakehouse.transform import build

FIRST_YEAR = 2014


def years(folder: Path, months: str, rows: str, command: str) -> None:
    """A command after one more version of the last month, in a lakehouse with so many months.

    `load`, `build` with its tests, `publish`, `report`, `maintain`.
    """
    home, last = folder / f"years-{months}", int(months)
    if not lake_in(home).catalog_file.exists():
        settings = fresh(home)
        open_landing(settings).put(DatasetFile("zones"), write_zones(folder / "zones.csv"), "benchmark")
        load(open_catalog(settings), open_landing(settings), DatasetFile("zones"))
        for number in range(1, last + 1):
            _land(settings, folder, number, int(rows), seed=number)
            load(open_catalog(settings), open_landing(settings), _file(number))
        build(settings)
    settings = lake_in(home)
    _land(settings, folder, last, int(rows), seed=time.time_ns() % 1_000_000)
    if command == "load":
        return run(home, "-m", "lakehouse", "load", "yellow", str(_month(last)))
    load(open_catalog(settings), open_landing(settings), _file(last))
    if command != "build":
        build(settings)
    return run(home, "-m", "lakehouse", command)


def _month(number: int) -> Month:
    return Month(FIRST_YEAR + (number - 1) // 12, (number - 1) % 12 + 1)


def _file(number: int) -> DatasetFile:
    return DatasetFile("yellow", _month(number))


def _land(settings: Settings, folder: Path, number: int, rows: int, seed: int) -> None:
    """Another version of the month, as if the publisher had restated it."""
    file = folder / "years.parquet"
    write_month(file, "yellow", _month(number), rows, seed=seed)
    open_landing(settings).put(_file(number), file, "benchmark")
