"""docs/data.md tells the declarations as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

from lakehouse.datasets.describe import eras, tables, write
from lakehouse.datasets.months import Month
from lakehouse.datasets.yellow import YELLOW
from lakehouse.settings import project_dir


def test_the_page_holds_the_tables_that_the_declarations_make(tmp_path: Path) -> None:
    page = shutil.copy(project_dir() / "docs" / "data.md", tmp_path)

    assert not write(Path(page)), "run `make docs`"


def test_an_era_begins_wherever_a_name_or_a_duty_changes() -> None:
    assert [str(month) for month in eras(YELLOW)] == [
        "2009-01",
        "2010-01",
        "2011-01",
        "2015-01",
        "2019-02",
        "2021-01",
        "2023-02",
        "2025-01",
    ]
    assert "`airport_fee` is now `Airport_fee`" in tables()
    assert Month(2023, 2) in eras(YELLOW)
