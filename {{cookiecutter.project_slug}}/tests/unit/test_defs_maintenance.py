"""The job `maintenance`: what `lakehouse maintain` does, by the settings, with what it freed as metadata."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.defs.maintenance.jobs import maintenance
from lakehouse.defs.maintenance.schedules import weekly_maintenance
from lakehouse.defs.resources import resources
from lakehouse.iceberg.refs import tag

TABLE = "raw.green_trips"

# Dagster's own, of resources that have resources.
pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext:DeprecationWarning")


def maintained(lake: Lake) -> dict[str, Any]:
    run = maintenance.execute_in_process(resources=resources(lake.settings))
    [output] = run.filter_events(lambda event: event.event_type == dg.DagsterEventType.STEP_OUTPUT)
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


@pytest.fixture
def restated(lake: Lake) -> Lake:
    """A month loaded four times; the first state has a tag."""
    for seed in range(4):
        lake.load("green", "2024-01", lake.generate("green", "2024-01", 50 + seed, seed=seed))
        if not seed:
            tag(lake.catalog, TABLE, "kept")
    return lake


def test_by_default_young_snapshots_and_all_versions_stay(restated: Lake) -> None:
    said = maintained(restated)

    assert (said["expired_snapshots"], said["removed_files"], said["leftovers"]) == (0, 0, 0)
    assert f"| {TABLE} | 0 |" in said["tables"]
    assert len(restated.landing.versions(DatasetFile("green", Month(2024, 1)))) == 4


def test_the_settings_say_what_stays(restated: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_KEEP_DAYS", "0")
    monkeypatch.setenv("LAKEHOUSE_LANDING_VERSIONS", "1")

    said = maintained(restated)

    assert said["expired_snapshots"] == 2
    assert said["removed_files"] >= 4  # two data files, their manifests and manifest lists
    assert said["freed_bytes"] > 0
    assert (said["leftovers"], said["leftover_bytes"] > 0) == (2, True)
    kept = restated.landing.versions(DatasetFile("green", Month(2024, 1)))
    assert [one.sha256 for one in kept][-1] == restated.history(TABLE)[-1].source_sha256
    assert len(kept) == 2
    assert restated.rows(f"select count(*) as n from {TABLE}") == [{"n": 53}]
    assert restated.rows(f"select count(*) as n from {TABLE}", "kept") == [{"n": 50}]


def test_the_schedule_is_weekly_and_off_without_automation() -> None:
    assert weekly_maintenance.job_name == "maintenance"
    assert weekly_maintenance.cron_schedule == "0 3 * * 0"
    assert weekly_maintenance.default_status == dg.DefaultScheduleStatus.STOPPED
