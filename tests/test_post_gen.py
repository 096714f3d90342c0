"""What the hook makes: settings with secrets of this machine's own, and a Dagster home that phones nobody."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BakedProject, Template

Bake = Callable[..., BakedProject]


def settings(project: BakedProject, name: str = ".env") -> dict[str, str]:
    lines = [line for line in project.read(name).splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def secrets(values: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if name.endswith(("_PASSWORD", "_SECRET_KEY"))}


def test_env_holds_every_setting_of_the_example_and_random_secrets(template: Template, tmp_path: Path) -> None:
    first = settings(template.bake(tmp_path / "a"))
    second = settings(template.bake(tmp_path / "b"))
    example = settings(template.bake(tmp_path / "c"), ".env.example")

    assert list(first) == list(example)
    assert not any(secrets(example).values())
    values = [*secrets(first).values(), *secrets(second).values()]
    assert len(set(values)) == len(values) >= 10
    assert all(len(value) >= 32 for value in values)
    assert {name: value for name, value in first.items() if not value} == {}


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
def test_env_is_readable_by_its_owner_only_whatever_the_umask(template: Template, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        project = template.bake(tmp_path / "baked")
    finally:
        os.umask(before)

    assert stat.S_IMODE((project.path / ".env").stat().st_mode) == 0o600


def test_env_and_dagsters_home_stay_out_of_version_control(bake: Bake) -> None:
    project = bake()

    project.run("git", "init", "--quiet")
    ignored = project.run("git", "check-ignore", ".env", ".dagster/dagster.yaml", "data/catalog.db", ".venv/x").stdout

    assert len(ignored.splitlines()) == 4


def test_dagsters_home_is_absolute_and_without_telemetry(bake: Bake) -> None:
    project = bake()

    assert settings(project)["DAGSTER_HOME"] == str(project.path / ".dagster")
    assert "telemetry:\n  enabled: false\n" in project.read(".dagster/dagster.yaml")
    tracked = project.path / "deploy" / "dagster" / "dagster.yaml"
    assert (project.path / ".dagster" / "dagster.yaml").resolve() == tracked.resolve()


def test_an_odd_folder_name_survives_the_env_file(template: Template, tmp_path: Path, installed: BakedProject) -> None:
    project = template.bake(tmp_path / "it's #1 $HOME dir")

    script = "from dotenv import dotenv_values; print(dotenv_values('.env')['DAGSTER_HOME'])"
    python = str(installed.path / ".venv/bin/python")
    assert project.run(python, "-c", script).stdout.strip() == str(project.path / ".dagster")


def test_baking_over_a_project_leaves_its_secrets_runs_and_data_alone(bake: Bake) -> None:
    project = bake()
    (project.path / ".dagster" / "dagster.yaml").unlink()  # a link to a file of the project
    (project.path / ".dagster" / "dagster.yaml").write_text("# mine\n")
    (project.path / "data").mkdir()
    (project.path / "data" / "catalog.db").write_text("mine")
    (project.path / "Makefile").write_text("# spoiled\n")
    env = project.read(".env")

    again = bake()

    assert again.path == project.path
    assert again.read(".env") == env
    assert again.read(".dagster/dagster.yaml") == "# mine\n"
    assert again.read("data/catalog.db") == "mine"
    assert again.read("Makefile") != "# spoiled\n"


def test_the_hook_says_what_to_do_next(template: Template, tmp_path: Path) -> None:
    said: subprocess.CompletedProcess[str] = template.try_to_bake(tmp_path / "baked", project_slug="my-lake")

    assert "cd my-lake\n  make demo\n" in said.stdout
    assert len(said.stdout.splitlines()) <= 6


def test_a_bake_over_a_project_with_another_target_says_which_one_stays(template: Template, tmp_path: Path) -> None:
    template.bake(tmp_path / "baked", target="embedded")

    said = template.try_to_bake(tmp_path / "baked", target="trino")

    assert "The target is still embedded. For trino, set LAKEHOUSE_TARGET in .env.\n" in said.stdout
    assert said.stdout.endswith("  make demo\n\n")


@pytest.mark.parametrize("hook", ["pre_gen_project.py", "post_gen_project.py"])
def test_hooks_need_nothing_but_the_standard_library(template: Template, hook: str) -> None:
    tree = ast.parse((template.path / "hooks" / hook).read_text())
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert imports <= sys.stdlib_module_names
    assert not imports & {"urllib", "http", "socket", "subprocess", "ssl"}
