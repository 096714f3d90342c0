"""The project's Dagster in processes of its own, as people run it: own copy, own environment, own homes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.parsed import give_parse

PROJECT = Path(__file__).resolve().parents[2]
# The beginning of a script for `Project.ask`: what a tick of the sensor `new_files` asks for, and how that is run.
NEW_FILES = """
import json
import dagster as dg
from lakehouse.definitions import defs

found = defs()
repository = found.get_repository_def()
sensor = repository.get_sensor_def("new_files")

def tick(instance, cursor=None):
    offered = {name: repository.get_top_level_resources()[name] for name in ("publisher", "object_store")}
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=offered)
    return sensor.evaluate_tick(context)

def run(instance, asked):
    job = found.resolve_job_def(asked.job_name)
    return job.execute_in_process(instance=instance, tags={**asked.tags}, run_config=asked.run_config,
                                  asset_selection=[*asked.asset_selection])
"""


@dataclass
class Project:
    """A copy of the project in `folder`, with a lakehouse and a Dagster home of its own."""

    folder: Path
    variables: dict[str, str]

    @cached_property
    def root(self) -> Path:
        """The copy, and in its lakehouse what dbt has parsed, so that no process parses the same again."""
        root = self.folder / "project"
        unwanted = shutil.ignore_patterns("target", "logs", "*.pyc.*")  # the last are being written by another process
        for name in ("src", "dbt"):
            shutil.copytree(PROJECT / name, root / name, ignore=unwanted)
        shutil.copy(PROJECT / "pyproject.toml", root)
        shutil.copytree(PROJECT / "deploy" / "dagster", root / "deploy" / "dagster")
        (self.folder / "dagster").mkdir()
        (self.folder / "dagster" / "dagster.yaml").symlink_to(root / "deploy" / "dagster" / "dagster.yaml")
        if self.settings["LAKEHOUSE_HOME"]:  # else `.env` of the copy says where it is
            give_parse(self.settings)
        return root

    def forget(self, *datasets: str) -> None:
        """Remove what `new-dataset` may have written for a dataset of this name: the owner may have one, too."""
        for name in datasets:
            staging = self.root / "dbt" / "models" / "staging"
            declaration = self.root / "src" / "lakehouse" / "datasets" / f"{name}.py"
            for path in (declaration, *staging.glob(f"stg_{name}.*"), *staging.parent.glob(f"marts/fct_{name}*")):
                path.unlink(missing_ok=True)
        if (page := self.root / "docs" / "data.md").exists():
            self.python("-m", "lakehouse.datasets.describe", str(page))

    @property
    def environment(self) -> dict[str, str]:
        """What a process of it sees."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(self.root / "src"),
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "LAKEHOUSE_PROJECT_DIR": str(self.root),
        } | self.settings

    @property
    def settings(self) -> dict[str, str]:
        """What the test has set, over what all have."""
        return {
            "LAKEHOUSE_TARGET": "embedded",
            "LAKEHOUSE_HOME": str(self.folder / "home"),
            "LAKEHOUSE_FIRST_MONTH": "2023-01",
        } | self.variables

    def python(self, *arguments: str, code: int = 0) -> str:
        """Run Python in the project and give all that it printed."""
        done = self._run(arguments, code)
        return done.stdout + done.stderr

    def ask(self, script: str, warnings: str = "error") -> Any:
        """Run a script that prints JSON as its last line; a warning ends it, unless `warnings` says otherwise."""
        return json.loads(self._run(("-W", warnings, "-c", script), 0).stdout.splitlines()[-1])

    def _run(self, arguments: Sequence[str], code: int) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done
