"""Builds on small raw tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.lake import Lake

from lakehouse.settings import Settings
from lakehouse.transform import BuildResult, build

Build = Callable[..., BuildResult]


@pytest.fixture(scope="session")
def run_build() -> Build:
    """`lakehouse.transform.build`, starting from the project's parse; without dbt's tests unless they are asked for.

    dbt runs even if nothing is new: these tests are about what it does then.
    """

    def run(lake: Lake, select: str | None = None, **options: Any) -> BuildResult:
        if not (lake.settings.home / "dbt").exists():
            lake.give_parse()
        return build(lake.settings, select, **{"data_tests": False, "again": True, **options})

    return run


def new_lake(folder: Path) -> Lake:
    """An embedded lakehouse in a folder of its own."""
    return Lake(Settings.model_validate({"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": folder}), folder / "scratch")
