"""The walk through Dagster's page, in a real browser, on the services."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.browser.driver import CHROMIUM, DRIVER
from tests.browser.test_walk import assert_all_was_done
from tests.browser.walk import walk
from tests.integration.lake import Lake
from tests.marks import takes_minutes


@pytest.mark.slow
@takes_minutes
@pytest.mark.browser
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with ChromeDriver on this machine")
def test_the_walk_from_schemas_to_the_report_on_the_services(lake: Lake, tmp_path: Path) -> None:
    taken = walk(tmp_path, lake.stack.environment, lake.settings, tmp_path / "pictures")

    assert_all_was_done(taken, tmp_path)
    assert lake.value("select sum(trips) from gold.fct_monthly_quality") == 115_000
