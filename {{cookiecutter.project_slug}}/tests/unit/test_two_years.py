"""Two years that go by themselves, with all that a publisher does; a look a week."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.marks import takes_minutes
from tests.unit.dagster_project import PROJECT, Project
from tests.unit.test_defs_automation import STORY


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
