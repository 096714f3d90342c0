"""Places that people run commands in: any encoding of stdout, folders that may not be read or written."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.lake import Lake

from lakehouse.filesystem import write_fix
from lakehouse.settings import project_dir

# Root may read and write everything: without these rights it is like anybody else.
AS_ANYBODY = ["setpriv", "--inh-caps=-dac_override,-dac_read_search", "--bounding-set=-dac_override,-dac_read_search"]


def run(lake: Lake, *words: str, program: Sequence[str] = (), **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "LAKEHOUSE_HOME": str(lake.settings.home), **variables}
    command = [*program, sys.executable, "-P", "-m", "lakehouse", *words]
    return subprocess.run(command, env=environment, capture_output=True, check=False)


@pytest.fixture
def anybody() -> Sequence[str]:
    """What goes before a command so that the rights of files count for it."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may write everything, and there is no setpriv to give that up")
    return AS_ANYBODY


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_stdout_takes_every_character_in_any_encoding(lake: Lake, encoding: str) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))
    text = "'→ 中 é' as word"

    for words in (("tree", "raw.green_trips"), ("history", "raw.green_trips"), ("sql", f"select {text}"), ("--help",)):
        done = run(lake, *words, PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode(encoding)
    said = run(lake, "sql", f"select {text}", "--json", PYTHONIOENCODING=encoding).stdout
    assert json.loads(said.decode(encoding)) == [{"word": "→ 中 é"}]


def test_maintenance_of_a_home_that_may_not_be_written_says_so(lake: Lake, anybody: Sequence[str]) -> None:
    for seed in range(2):
        lake.load("green", "2024-01", lake.generate("green", "2024-01", 50 + seed, seed=seed))
    home = lake.settings.home
    for path in (home, *home.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        done = run(lake, "maintain", "--now", program=anybody)
    finally:
        for path in (home, *home.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)

    said = done.stderr.decode()
    assert done.returncode == 1, done.stdout.decode()
    assert "you may read and write" in said
    assert "removed" not in done.stdout.decode()
    assert len(lake.history("raw.green_trips")) == 2


def test_an_env_file_of_somebody_else_is_named(lake: Lake, tmp_path: Path, anybody: Sequence[str]) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / ".env").write_text("LAKEHOUSE_TARGET=embedded\n", encoding="utf-8")
    (project / ".env").chmod(0)

    done = run(lake, "landed", program=anybody, LAKEHOUSE_PROJECT_DIR=str(project))

    assert done.returncode == 1
    assert ".env can't be read: Permission denied" in done.stderr.decode()
    assert "was being written" not in done.stderr.decode()


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOSPC, "See that the disk has room"),
        (errno.EACCES, "See that you may write there"),
        (errno.EIO, "See that you may write there and that the disk has room"),
    ],
)
def test_a_file_that_was_not_written_names_only_what_is_proven(number: int, fix: str) -> None:
    assert write_fix(OSError(number, os.strerror(number))) == fix


def test_a_run_that_dbt_cannot_read_has_landed_nothing(lake: Lake, tmp_path: Path) -> None:
    (project := tmp_path / "project").mkdir()
    (tmp_path / "dagster").mkdir()
    for name in ("src", "pyproject.toml"):
        (project / name).symlink_to(project_dir() / name)
    shutil.copytree(project_dir() / "dbt", project / "dbt")
    (project / "dbt/models/marts/fct_wrong.sql").write_text("select * from {{ ref('nothing') }}", encoding="utf-8")

    done = run(lake, "run", "2024-01", LAKEHOUSE_PROJECT_DIR=str(project), DAGSTER_HOME=str(tmp_path / "dagster"))

    assert done.returncode == 1
    assert "/dbt. Nothing was landed, loaded or built. Correct what dbt says below; then " in done.stderr.decode()
    assert lake.landing.listing() == []


def test_an_error_of_the_system_is_told_as_what_it_is(lake: Lake, tmp_path: Path) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))
    (project := tmp_path / "project").mkdir()
    for name in ("src", "dbt"):
        (project / name).symlink_to(project_dir() / name)
    (project / "reports").write_text("a file in the place of the folder", encoding="utf-8")

    done = run(lake, "report", LAKEHOUSE_PROJECT_DIR=str(project))

    assert done.returncode == 1
    said = done.stderr.decode()
    assert "reports" in said
    assert "disk" not in said
