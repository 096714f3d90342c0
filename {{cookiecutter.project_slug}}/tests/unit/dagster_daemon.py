"""A project with months to load, Dagster's daemon for it, and runs launched in its queue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.lake import Lake
from tests.unit.dagster_project import Project

from lakehouse.datasets.months import Month
from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_month, write_zones

FIRST, LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
WORKSPACE = "load_from: [{python_module: {module_name: lakehouse.definitions, location_name: lakehouse}}]\n"
# Of waiting, not of working: CI is not always idle.
LIMIT_SECONDS = 420


def project_of_months(folder: Path, months: Sequence[str]) -> Project:
    """A project whose source has these months of green trips, of 1000, 1001, ... rows, and the zone lookup."""
    published = folder / "published"
    published.mkdir()
    for number, month in enumerate(months):
        write_month(published / f"green_tripdata_{month}.parquet", "green", Month.parse(month), 1000 + number)
    write_zones(published / "taxi_zone_lookup.csv")
    project = Project(folder, {"TLC_SOURCE": str(published)})
    (project.root / "workspace.yaml").write_text(WORKSPACE, encoding="utf-8")
    return project


def lake_of(project: Project) -> Lake:
    """The project's lakehouse."""
    settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=project.folder / "home")
    return Lake(settings, project.folder / "scratch")


def launch(project: Project, job: str, first: str, last: str) -> None:
    """Put a run over months into the queue."""
    tags = json.dumps({FIRST: f"{first}-01", LAST: f"{last}-01"})
    project.python("-m", "dagster", "job", "launch", "-w", "workspace.yaml", "-j", job, "--tags", tags)


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


def within(project: Project, what: str, condition: Callable[[], bool], limit: float = LIMIT_SECONDS) -> None:
    """Wait for a condition, up to `limit` seconds. If it does not come true, show the end of the daemon's log."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            log = (project.folder / "log").read_text(encoding="utf-8")[-6000:]
            pytest.fail(f"{what}: not within {limit} s\n{log}", pytrace=False)
        time.sleep(0.1)
