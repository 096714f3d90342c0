"""SIGKILL of the daemon, the code server and the run while months are loaded. It goes on, each month once."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from tests.lake import Lake
from tests.marks import takes_minutes
from tests.unit.dagster_daemon import FIRST, daemon, kill_all, lake_of, launch, project_of_months, within
from tests.unit.dagster_project import Project

MONTHS = ("2023-01", "2023-02", "2023-03")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc"),
]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose source has some months of green trips."""
    return project_of_months(tmp_path, MONTHS)


@pytest.fixture
def lake(project: Project) -> Lake:
    return lake_of(project)


def process_of(instance: dg.DagsterInstance) -> int | None:
    """The process of the run that is in progress and was started first."""
    for run in reversed(instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))):
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            if "pid" in (metadata := entry.get_dagster_event().engine_event_data.metadata):
                return int(str(metadata["pid"].value))
    return None


def done(instance: dg.DagsterInstance) -> bool:
    """Whether each span of months has a run that succeeded, and nothing is queued or in progress."""
    runs = instance.get_runs()
    succeeded = {run.tags[FIRST][:7] for run in runs if run.status == dg.DagsterRunStatus.SUCCESS}
    return succeeded == {MONTHS[0], MONTHS[2]} and all(run.is_finished for run in runs)


@takes_minutes
@pytest.mark.parametrize("seconds", [number / 2 for number in range(10)])
def test_runs_go_on_when_all_processes_are_killed(seconds: float, project: Project, lake: Lake) -> None:
    """They are killed some seconds after the first run has named its process."""
    for first, last in ((MONTHS[0], MONTHS[1]), (MONTHS[2], MONTHS[2])):
        launch(project, "bronze_months", first, last)

    with dg.DagsterInstance.from_config(str(project.folder / "dagster")) as instance, ExitStack() as daemons:
        session = daemons.enter_context(daemon(project))
        within(project, "a run", lambda: process_of(instance) is not None)
        time.sleep(seconds)
        run = process_of(instance)
        kill_all(session)
        daemons.enter_context(daemon(project))
        within(project, "after all was killed", lambda: done(instance))
        records = sorted(instance.get_run_records(), key=lambda record: record.start_time or 0)
        statuses = [record.dagster_run.status for record in records]

    loads = sorted((str(row.file_month), row.added_rows) for row in lake.history("raw.green_trips"))
    assert loads == [(month, 1000 + number) for number, month in enumerate(MONTHS)]
    spans = [(record.start_time or 0, record.end_time or 0) for record in records if record.start_time]
    assert all(ended <= began for (_, ended), (began, _) in pairwise(spans))  # one writer at a time
    if run:
        assert dg.DagsterRunStatus.FAILURE in statuses
