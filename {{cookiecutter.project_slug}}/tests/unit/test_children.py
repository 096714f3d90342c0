"""What a process of ours starts obeys us, not the caller's variables or the files of the current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kills import Kills
from tests.lake import Lake
from tests.marks import takes_minutes
from tests.unit.dagster_project import Project
from tests.waiting import until

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.loading.load import load
from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_month, write_zones
from lakehouse.transform import build

ROWS = 300
# Each would change, without a word, what a build or publication does.
STEERING = {
    "DBT_EMPTY": "1",
    "DBT_RESOURCE_TYPES": "model",
    "DBT_EXCLUDE_RESOURCE_TYPES": "test",
    "DBT_TARGET": "trino",
    "DBT_PROFILES_DIR": "/nowhere",
    "DBT_PROJECT_DIR": "/nowhere",
    "DBT_STORE_FAILURES": "1",
    "DBT_LOG_PATH": "/nowhere",
    "DBT_TARGET_PATH": "/nowhere",
    "PYICEBERG_CATALOG__LAKEHOUSE__URI": "sqlite:////nowhere/catalog.db",
    "PYICEBERG_CATALOG__LAKEHOUSE__WAREHOUSE": "/nowhere",
    "PYICEBERG_HOME": "/nowhere",
}


@pytest.fixture
def loaded(lake: Lake) -> Lake:
    """A month and the zone lookup."""
    lake.load("green", "2024-01", lake.generate("green", "2024-01", ROWS))
    lake.landing.put(DatasetFile("zones"), write_zones(lake.scratch / "zones.csv"), "test")
    load(lake.catalog, lake.landing, DatasetFile("zones"))
    lake.give_parse()
    return lake


def trips(lake: Lake, schema: str) -> int:
    (row,) = lake.rows(f"select cast(sum(trips) as bigint) as n from {schema}.fct_monthly_quality")
    return int(row["n"])


@pytest.mark.slow
@takes_minutes
def test_a_publication_does_not_depend_on_the_callers_variables(loaded: Lake, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("duckdb", "dbt", "types", "lakehouse", "logging", "pyarrow"):
        (here / f"{name}.py").write_text(
            f"open({str(tmp_path / 'executed')!r}, 'a').write('{name} ')\n", encoding="utf-8"
        )

    for words in (["build"], ["publish"]):
        if words == ["publish"]:  # else it finds nothing new, and starts no dbt
            loaded.load("green", "2024-02", loaded.generate("green", "2024-02", ROWS))
        done = subprocess.run(
            [str(Path(sys.executable).with_name("lakehouse")), *words],
            cwd=here,
            env={**os.environ, "LAKEHOUSE_HOME": str(loaded.settings.home), **STEERING},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if words == ["build"]:
            tests = int(done.stdout.split(" tests passed")[0].split()[-1])
            assert tests > 100

    assert not (tmp_path / "executed").exists()
    assert trips(loaded, "gold") == trips(loaded, "published") == 2 * ROWS
    assert sorted(path.suffix for path in here.iterdir()) == [".py"] * 6


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
def test_dbt_ends_with_a_killed_run_of_dagster(tmp_path: Path) -> None:
    published = tmp_path / "published"
    published.mkdir()
    write_month(published / "green_tripdata_2023-01.parquet", "green", Month(2023, 1), ROWS)
    write_zones(published / "taxi_zone_lookup.csv")
    project = Project(tmp_path, {"TLC_SOURCE": str(published)})
    run = Kills({"LAKEHOUSE_HOME": project.environment["LAKEHOUSE_HOME"]}, ())

    with subprocess.Popen(
        [sys.executable, "-m", "lakehouse", "run", "2023-01"],
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        until(lambda: [line for line in run.living() if "dbt" in line and " build " in line], 120)
        process.kill()

    until(lambda: not list(run.living()), 20)
    settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "home")
    build(settings)
    assert trips(Lake(settings, tmp_path / "scratch"), "gold") == ROWS
