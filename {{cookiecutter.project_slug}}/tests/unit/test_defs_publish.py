"""The job `publish`: the same work as `lakehouse publish`, with a record of what readers see now."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.iceberg.publication import manifest_file
from lakehouse.loading.load import load
from lakehouse.synthetic.generate import write_zones

# Dagster's own, of resources that have resources.
pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext:DeprecationWarning")


def published(lake: Lake) -> dg.ExecuteInProcessResult:
    from lakehouse.defs.published.jobs import publish
    from lakehouse.defs.resources import resources

    return publish.execute_in_process(resources=resources(lake.settings), raise_on_error=False)


@pytest.mark.slow
def test_the_job_shows_readers_what_it_has_built_and_tested(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 400))
    lake.landing.put(DatasetFile("zones"), write_zones(lake.scratch / "taxi_zone_lookup.csv"), "test")
    load(lake.catalog, lake.landing, DatasetFile("zones"))

    run = published(lake)

    count = "select sum(trips) as n from {}.fct_daily_trips"
    [output] = run.filter_events(lambda event: event.event_type == dg.DagsterEventType.STEP_OUTPUT)
    said: dict[str, Any] = {name: value.value for name, value in output.step_output_data.metadata.items()}
    snapshots = {table: int(snapshot) for table, snapshot in said["snapshots"].items()}
    assert run.success
    assert lake.rows(count.format("published")) == lake.rows(count.format("gold"))
    assert snapshots == json.loads(manifest_file(lake.settings).read_text("utf-8"))["snapshots"]
    assert snapshots["raw.green_trips"] == lake.table("raw.green_trips").metadata.current_snapshot_id


def test_a_refused_build_fails_the_job_and_publishes_nothing(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 20))  # and no zones

    run = published(lake)

    [failure] = run.filter_events(lambda event: event.event_type == dg.DagsterEventType.STEP_FAILURE)
    assert not run.success
    assert "lakehouse load zones" in str(failure.step_failure_data.user_failure_data)
    assert not manifest_file(lake.settings).exists()
