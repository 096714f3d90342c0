"""Dagster's home reads the project's dagster.yaml, and what its owner wrote there stays."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from dagster._core.instance.config import dagster_instance_config

from lakehouse.cli import launch
from lakehouse.dagster_home import chosen, fault, is_tracked, prepare, ready, tracked_file, way_out
from lakehouse.datasets.months import Month
from lakehouse.errors import SettingsError

FORMER = """\
# Dagster's instance on this machine. Not in version control.
telemetry:
  enabled: false
nux: # no invitation to a newsletter on the first page
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
"""


def test_a_home_gets_a_link_to_the_projects_file(tmp_path: Path) -> None:
    prepare(tmp_path)
    prepare(tmp_path)
    prepare(tmp_path / "where" / "the" / "project" / "was")

    assert (tmp_path / "dagster.yaml").resolve() == tracked_file()
    assert is_tracked(tmp_path)
    assert not (tmp_path / "where").exists()


def test_a_home_in_the_project_may_be_moved_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "deploy" / "dagster").mkdir(parents=True)
    shutil.copy(tracked_file(), project / "deploy" / "dagster")
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(project))

    prepare(project / ".dagster")
    moved = project.rename(tmp_path / "moved")

    assert (moved / ".dagster" / "dagster.yaml").is_file()


def test_what_the_template_wrote_is_replaced_and_an_own_file_is_not(tmp_path: Path) -> None:
    for name, text in (("former", FORMER), ("own", FORMER + "# mine\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dagster.yaml").write_text(text, encoding="utf-8")

        prepare(tmp_path / name)

    assert is_tracked(tmp_path / "former")
    assert not is_tracked(tmp_path / "own")
    assert (tmp_path / "own" / "dagster.yaml").read_text(encoding="utf-8").endswith("# mine\n")


def test_a_link_to_where_the_project_was_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").symlink_to(tmp_path / "gone" / "dagster.yaml")

    prepare(tmp_path)

    assert is_tracked(tmp_path)


def test_a_system_without_links_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", no_links)

    prepare(tmp_path)

    assert is_tracked(tmp_path)
    assert not (tmp_path / "dagster.yaml").is_symlink()


def test_dagster_accepts_the_file_and_phones_nobody() -> None:
    config, _ = dagster_instance_config(str(tracked_file().parent))

    assert config["telemetry"] == {"enabled": False}
    assert config["run_monitoring"]["enabled"]
    assert config["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert config["concurrency"]["pools"] == {"granularity": "run", "default_limit": 1}
    assert "storage" not in config


def test_a_home_that_dagster_cannot_use_is_refused_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for home, reason in (
        (Path("here"), "here is not an absolute path"),
        (tmp_path / "gone", "gone does not exist, or you may not enter its folder. The project may have been moved"),
        (tmp_path / "file", "file is no folder"),
    ):
        with pytest.raises(SettingsError, match=rf"^DAGSTER_HOME: .*{re.escape(reason)}\. Nothing was started\. "):
            ready(home)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    assert fault(tmp_path) == f"you may not write to {tmp_path}"


def test_an_env_file_that_is_no_text_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_bytes(b"DAGSTER_HOME=\xff")
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(tmp_path))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    with pytest.raises(SettingsError, match=r"\.env can't be read: it is not text in UTF-8"):
        chosen()


def test_a_run_without_a_home_of_dagster_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    with pytest.raises(SettingsError, match=r"^DAGSTER_HOME is not set\. Nothing was run\. Write the absolute path"):
        launch.launch([Month(2024, 1)])


@pytest.mark.parametrize("text", ["colour: blue", "storage: ["])
def test_a_dagster_yaml_that_is_wrong_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "dagster.yaml").write_text(text)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    with pytest.raises(SettingsError, match=r"Dagster can't use .*dagster\.yaml\. Nothing was run\."):
        launch._instance(tmp_path)


def test_the_way_out_of_a_wrong_home_is_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line in `.env` does not help against a variable of the shell."""
    (tmp_path / ".env").write_text("DAGSTER_HOME=/of/the/file\n")
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "/of/another/project")
    of_the_shell = way_out()
    monkeypatch.setenv("DAGSTER_HOME", "/of/the/file")

    assert of_the_shell.startswith("The environment names it, and wins over .env. Unset it there")
    assert way_out() == f"Set DAGSTER_HOME={tmp_path / '.dagster'} in .env."
