"""SIGKILL of the daemon, the code server and the run while months are loaded. It goes on, each month once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from tests.lake import Lake
from tests.marks import takes_minutes
from tests.unit.dagster_project import Project

from lakehouse.datasets.months import Month
from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_month, write_zones

MONTHS = ("2023-01", "2023-02", "2023-03")
WORKSPACE = "load_from: [{python_module: {module_name: lakehouse.definitions, location_name: lakehouse}}]\n"
FIRST, LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
JOB = ("-w", "workspace.yaml", "-j", "bronze_months")
# Of waiting, not of working: CI is not always idle.
LIMIT_SECONDS = 420

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc"),
]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose source has some months of green trips."""
    published = tmp_path / "published"
    published.mkdir()
    for number, month in enumerate(MONTHS):
        write_month(published / f"green_tripdata_{month}.parquet", "green", Month.parse(month), 1000 + number)
    write_zones(published / "taxi_zone_lookup.csv")
    project = Project(tmp_path, {"TLC_SOURCE": str(published)})
    (project.root / "workspace.yaml").write_text(WORKSPACE, encoding="utf-8")
    return project


@pytest.fixture
def lake(project: Project) -> Lake:
    settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=project.folder / "home")
    return Lake(settings, project.folder / "scratch")


@contextmanager
def daemon(project: Project) -> Iterator[int]:
    """Dagster's daemon, with the code server and the runs that it starts, in a session of their own; the session."""
    command = [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"]
    with (project.folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=project.root, env=project.environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process.pid
    finally:
        kill_all(process.pid)
        process.wait()


def kill_all(session: int) -> None:
    for pid in processes(session):
        kill(pid)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def processes(session: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(words[3]) == session and words[0] != "Z":
            found.append(int(path.name))
    return found


def within(project: Project, what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            log = (project.folder / "log").read_text(encoding="utf-8")[-6000:]
            pytest.fail(f"{what}: not within {LIMIT_SECONDS} s\n{log}", pytrace=False)
        time.sleep(0.1)


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
        tags = {FIRST: f"{first}-01", LAST: f"{last}-01"}
        project.python("-m", "dagster", "job", "launch", *JOB, "--tags", json.dumps(tags))

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
