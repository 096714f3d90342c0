"""What the environment says wins over `.env`, on every way into Dagster; what only `.env` says counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from tests.lake import Lake
from tests.unit.dagster_project import Project

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_month


def test_dagsters_reader_leaves_alone_what_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LAKEHOUSE_HOME=/file\nTLC_SOURCE=/file\nDAGSTER_HOME=/file\n", encoding="utf-8")
    script = "import json; from dagster._cli.utils import get_env_var_dict; print(json.dumps(get_env_var_dict('.')))"

    said = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "LAKEHOUSE_HOME": "/environment",
            "DAGSTER_HOME": "",
        },
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(said.stdout) == {"TLC_SOURCE": "/file", "DAGSTER_HOME": "/file"}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["dg launch", "dagster asset materialize"])
def test_a_run_writes_the_lakehouse_that_the_environment_names(tmp_path: Path, command: str) -> None:
    published = tmp_path / "published"
    published.mkdir()
    write_month(published / "green_tripdata_2023-01.parquet", "green", Month.parse("2023-01"), 500)
    project = Project(tmp_path, {})
    (project.root / ".env").write_text(
        f"LAKEHOUSE_TARGET=trino\nLAKEHOUSE_HOME={tmp_path / 'other'}\nTLC_SOURCE={published}\n"
        f"DAGSTER_HOME={tmp_path / 'nowhere'}\n",
        encoding="utf-8",
    )
    options = [
        "--partition",
        "2023-01-01",
        "--assets" if command == "dg launch" else "--select",
        "key:landing/green_trips",
    ]
    program = [str(Path(sys.executable).with_name(command.split(maxsplit=1)[0])), *command.split()[1:]]
    if command != "dg launch":
        options += ["-m", "lakehouse.definitions"]

    done = subprocess.run(
        [*program, *options],
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "home")
    assert Lake(settings, tmp_path / "scratch").landing.find(DatasetFile("green", Month(2023, 1)))
    assert not (tmp_path / "other").exists()
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        assert len(instance.get_runs()) == 1
