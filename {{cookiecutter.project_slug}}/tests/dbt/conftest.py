"""Builds on small raw tables. dbt's parse of the project is shared by the builds of one test process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.lake import Lake

from lakehouse.settings import Settings
from lakehouse.transform import BuildResult, build

Build = Callable[..., BuildResult]


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first build leaves its parse for the others."""
    return tmp_path_factory.mktemp("parsed") / "partial_parse.msgpack"


@pytest.fixture(scope="session")
def run_build(parsed: Path) -> Build:
    """`lakehouse.transform.build`, starting from an earlier parse; without dbt's tests unless they are asked for."""

    def run(lake: Lake, select: str | None = None, **options: Any) -> BuildResult:
        options = {"data_tests": False, **options}
        target = lake.settings.home / "dbt" / "embedded"
        target.mkdir(parents=True, exist_ok=True)
        if parsed.exists() and not (target / parsed.name).exists():
            shutil.copyfile(parsed, target / parsed.name)
        result = build(lake.settings, select, **options)
        if not parsed.exists():
            shutil.copyfile(target / parsed.name, parsed)
        return result

    return run


def new_lake(folder: Path) -> Lake:
    """An embedded lakehouse in a folder of its own."""
    return Lake(Settings.model_validate({"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": folder}), folder / "scratch")
