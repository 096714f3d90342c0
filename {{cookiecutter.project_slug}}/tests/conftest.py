"""Fixtures of all suites. No test reads this machine's `.env` or settings; each says what it wants."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.lake import Lake
from tests.parsed import parse_home

from lakehouse.settings import Settings, load_settings, project_dir

OURS = ("LAKEHOUSE_", "TLC_SOURCE", "DUCKDB_", "TRINO_", "REST_", "S3_", "SOURCE_S3_", "DAGSTER_HOME")
# inputs of the integration suites, not settings of the project
KEPT = ("TRINO_IMAGE", "LAKEHOUSE_STACK", "LAKEHOUSE_STACK_LOGS")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow tests first, so that no process waits for the last of them; not where a seed decides the order."""
    if not os.environ.get("LAKEHOUSE_TEST_SEED"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note for `make coverage` which test takes the lines that follow."""
    _measure_as(item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """What several tests share is noted as their file's."""
    shared = fixturedef.scope != "function"
    if shared:
        _measure_as(request.node.nodeid)
    try:
        return (yield)
    finally:
        if shared:
            _measure_as(os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0])


def _measure_as(name: str) -> None:
    coverage = sys.modules.get("coverage")
    if coverage and (running := coverage.Coverage.current()):
        running.switch_context(name)


@pytest.fixture(scope="session", autouse=True)
def _assets_of_what_the_project_declares() -> None:
    """Assets are made at their first import: here, before a test declares a dataset that other tests must not see."""
    if "dagster" in sys.modules:
        with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings(action="ignore"):
            # the warnings are of betas, about which Dagster's own loading keeps quiet
            patched.setenv("LAKEHOUSE_HOME", str(parse_home()))
            for room in ("source.assets", "landing.assets", "raw.assets", "report.assets", "automation.schedules"):
                import_module(f"lakehouse.defs.{room}")


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(OURS) and name not in KEPT:
            monkeypatch.delenv(name)
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    load_settings.cache_clear()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty embedded lakehouse."""
    return Lake(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "home"), tmp_path / "scratch")


@pytest.fixture
def own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the dbt project that a test may change, in place of the real one; nothing of it is parsed."""
    project = tmp_path / "project"
    shutil.copytree(project_dir() / "dbt", project / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(project))
    return project / "dbt"


@pytest.fixture(scope="session")
def tlc_data() -> Path:
    """The folder of real TLC files that TLC_DATA names."""
    named = os.environ.get("TLC_DATA")
    if not named:
        pytest.skip("TLC_DATA names no folder of real TLC files")
    return Path(named)
