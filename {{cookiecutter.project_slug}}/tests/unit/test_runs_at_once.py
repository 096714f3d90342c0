"""Runs, a backfill and a person's build of one lakehouse, all at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from tests.kills import gold
from tests.marks import takes_minutes
from tests.unit.dagster_daemon import LIMIT_SECONDS, daemon, lake_of, launch, project_of_months, within

from lakehouse.transform import build

MONTHS = [f"2023-{number:02}" for number in range(1, 7)]
PIPELINE = "lakehouse_full_pipeline"
BACKFILL = ("job", "backfill", "-w", "workspace.yaml", "-j", PIPELINE, "--noprompt")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc"),
]


@takes_minutes
def test_two_pipelines_a_backfill_and_a_build_at_once_end_well(tmp_path: Path) -> None:
    """Their months overlap. `lakehouse build` begins while a run builds, and others are queued."""
    project = project_of_months(tmp_path, MONTHS)
    lake = lake_of(project)
    project.python("-m", "lakehouse", "run", MONTHS[0])  # a lakehouse in use
    launch(project, PIPELINE, MONTHS[0], MONTHS[3])
    launch(project, PIPELINE, MONTHS[1], MONTHS[4])
    project.python("-m", "dagster", *BACKFILL, "--from", f"{MONTHS[4]}-01", "--to", f"{MONTHS[5]}-01")

    with dg.DagsterInstance.from_config(str(project.folder / "dagster")) as instance, daemon(project):
        within(project, "a build", lambda: len([*(lake.settings.home / "dbt" / "runs").iterdir()]) > 1)
        by_a_person = subprocess.run(
            [sys.executable, "-P", "-m", "lakehouse", "build"],
            cwd=project.root,
            env=project.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        going_on = [run for run in instance.get_runs() if not run.is_finished]
        within(project, "all runs", lambda: all(run.is_finished for run in instance.get_runs()), 3 * LIMIT_SECONDS)
        runs = instance.get_runs()

    assert by_a_person.returncode == 0, by_a_person.stdout + by_a_person.stderr
    assert going_on
    # The first, two pipelines, and a run for each of two months.
    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 5
    loads = sorted((str(row.file_month), row.added_rows) for row in lake.history("raw.green_trips"))
    assert loads == [(month, 1000 + number) for number, month in enumerate(MONTHS)]
    before = gold(lake.rows)
    build(lake.settings, full_refresh=True)
    assert gold(lake.rows) == before
