"""The walk through Dagster's page, in a real browser."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from tests.browser.driver import CHROMIUM, DRIVER
from tests.browser.walk import MONTHS, RANGE, RUNS, Walk, walk

from lakehouse.settings import Settings


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with ChromeDriver on this machine")
def test_the_walk_from_schemas_over_two_months_to_the_report(tmp_path: Path) -> None:
    settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "home")

    taken = walk(tmp_path, {}, settings, tmp_path / "pictures")

    assert_all_was_done(taken, tmp_path)


def assert_all_was_done(taken: Walk, folder: Path) -> None:
    """A snapshot a month, also of the range, which was one run; and the pictures."""
    assert taken.snapshots("raw.green_trips") == [*MONTHS, *RANGE]
    assert {p.stem for p in taken.pictures.iterdir()} >= {"dagster_lineage", "dagster_raw", "dagster_gold", "report"}
    with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
        runs = instance.get_runs()
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    ranges = [run.tags.get("dagster/asset_partition_range_start") for run in runs]
    assert len(runs) == RUNS
    assert [start for start in ranges if start] == [f"{min(RANGE)}-01"]
