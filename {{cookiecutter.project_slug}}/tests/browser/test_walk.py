"""The walk through Dagster's page, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.browser.driver import CHROMIUM, DRIVER
from tests.browser.walk import MONTHS, walk

from lakehouse.settings import Settings


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with ChromeDriver on this machine")
def test_the_walk_from_schemas_over_two_months_to_the_report(tmp_path: Path) -> None:
    settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "home")

    taken = walk(tmp_path, {}, settings, tmp_path / "pictures")

    assert taken.snapshots("raw.green_trips") == list(MONTHS)
    assert {p.stem for p in taken.pictures.iterdir()} >= {"dagster_lineage", "dagster_raw", "dagster_gold", "report"}
