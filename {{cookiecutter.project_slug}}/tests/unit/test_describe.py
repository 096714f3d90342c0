"""docs/data.md tells the declarations as they are."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from lakehouse.datasets.describe import eras, main, tables, write
from lakehouse.datasets.months import Month
from lakehouse.datasets.yellow import YELLOW
from lakehouse.settings import project_dir


def test_the_page_holds_the_tables_that_the_declarations_make(tmp_path: Path) -> None:
    page = shutil.copy(project_dir() / "docs" / "data.md", tmp_path)

    assert not write(Path(page)), "run `make docs`"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"data\.md can't be read: No such file or directory\. Nothing was written\. Get the page back"),
        (b"M\xfcller", r"data\.md can't be read: it is not text in UTF-8\. Nothing was written\."),
        (b"no marks", r"data\.md lacks the lines .*\. Nothing was written\. Put both lines back"),
    ],
)
def test_a_page_that_can_t_take_the_tables_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, message: str
) -> None:
    page = tmp_path / "data.md"
    if content is not None:
        page.write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["describe", str(page)])

    with pytest.raises(SystemExit, match=rf"^error: .*{message}"):
        main()


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
