"""The docs, run from top to bottom on `embedded`: every command works, and says what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.marks import takes_minutes
from tests.pages import PAGES
from tests.unit.dagster_project import Project

# A newcomer's pages. Every night all pages run, on `embedded` and on the services.
EVERY_RUN = {"README.md", "your-own-dataset.md", "your-own-data.md"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=() if page in EVERY_RUN else takes_minutes) for page in PAGES]
)
def test_every_command_of_the_page_runs_and_says_what_the_page_says(tmp_path: Path, page: str) -> None:
    PAGES[page](Project(tmp_path, {"LAKEHOUSE_FIRST_MONTH": "2024-01"}))
