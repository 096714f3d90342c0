"""Two years that go by themselves, with all that a publisher does: a look a week, and with a machine that is killed."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.marks import takes_minutes
from tests.unit.dagster_project import PROJECT, Project
from tests.unit.test_defs_automation import STORY
from tests.unit.years import story, years

from lakehouse.settings import Settings


@takes_minutes
def test_two_years_go_by_themselves(tmp_path: Path) -> None:
    """Each version of each month is one run, and silver and gold are built once after it."""
    project = Project(tmp_path, {"LAKEHOUSE_FIRST_MONTH": "2023-01", "LAKEHOUSE_AUTOMATION": "on"})

    seen = project.ask(STORY.format(tests=str(PROJECT), story="two_years"), warnings="default")

    months = [f"{year}-{month:02}" for year in (2023, 2024) for month in range(1, 13)]
    restated = {months[2], months[9], months[15]}
    broken = months[7]
    expected = Counter(f"green_{month}" for month in months)
    expected.update(f"green_{month}" for month in (*restated, broken))
    expected.update({"zones": 2})
    assert Counter(file for run in seen["runs"] for file in run) == expected
    assert seen["failed"] == [f"green_{broken}"]
    assert seen["rows"] == {month: 130 if month in restated else 100 for month in months}
    assert seen["builds"] == len(seen["runs"]) - 1  # none after the run that failed
    # Green and yellow: the newest three and what is due, and the lookup. Never all of them.
    assert seen["requests"] <= seen["weeks"] * (2 * 24 + 1) + 2 * sum(expected.values())


@takes_minutes
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
def test_two_years_end_well_when_all_processes_are_killed_ten_times(tmp_path: Path) -> None:
    """Dagster's own daemon runs all of it, with real builds and publications."""
    settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "home")
    with years(tmp_path, settings, {}) as found:
        found.go_by(story(tmp_path), killed=range(3, 13))
        found.prove(tmp_path, publications=6)
