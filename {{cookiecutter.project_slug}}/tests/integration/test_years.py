"""Half a year that goes by itself on the services, and is killed twice; two years on `embedded` are a unit test."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import pytest
from tests.integration.lake import Lake
from tests.marks import takes_minutes
from tests.unit.years import story, years


@pytest.mark.slow
@takes_minutes
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
def test_half_a_year_ends_well_when_all_processes_are_killed_twice(lake: Lake, tmp_path: Path) -> None:
    """Seven months in four looks. The third month is published again at the last of them."""
    with years(tmp_path, lake.settings, lake.stack.environment) as found:
        found.go_by(islice(story(tmp_path), 4), killed=range(3, 5))
        found.prove(tmp_path, publications=3)
