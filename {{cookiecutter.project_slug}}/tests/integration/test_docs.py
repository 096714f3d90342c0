"""The docs, run from top to bottom on `trino`: the same commands as on `embedded`, the same answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.lake import Lake
from tests.marks import takes_minutes
from tests.pages import PAGES, five_questions
from tests.unit.dagster_project import Project


@pytest.mark.slow
@takes_minutes
@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md"])  # below
def test_every_command_of_the_page_runs_on_the_services_too(lake: Lake, tmp_path: Path, page: str) -> None:
    PAGES[page](Project(tmp_path, lake.stack.environment | {"LAKEHOUSE_FIRST_MONTH": "2024-01"}))


@pytest.mark.slow
@takes_minutes  # what README says of the services runs each time in test_compose.py
def test_readme_moves_what_embedded_has_landed_to_the_services(lake: Lake, tmp_path: Path) -> None:
    five_questions(Project(tmp_path, {"LAKEHOUSE_FIRST_MONTH": "2024-01"}), lake.stack.environment)

    assert lake.value("select sum(trips) from gold.fct_monthly_quality") == 1600
