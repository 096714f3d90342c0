"""The gates of a baked project. `make lint` runs them all, in a bake; here is what else they must do."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import BakedProject


@pytest.mark.parametrize(
    "command",
    [
        "ruff check .",
        "ruff format --check .",
        "dg check defs",
    ],
)
def test_a_gate_passes_on_the_bake_as_it_falls_out(installed: BakedProject, command: str) -> None:
    target = f"target/{re.sub('[^a-z]+', '-', command)}"
    before = sources(installed)

    installed.run(*command.split(), DBT_TARGET_PATH=target)

    assert sources(installed) == before


def test_make_lint_runs_every_gate(installed: BakedProject) -> None:
    commands = installed.run("make", "--dry-run", "lint").stdout

    gates = ["ruff check", "ruff format --check", "mypy", "sqlfluff lint", "--target embedded", "--target trino"]
    for gate in [*gates, "zizmor --offline", "bin/hadolint ", "bin/shellcheck "]:
        assert gate in commands
    assert "--fix" not in commands


FAULTY_LINES = {
    "zizmor": (".github/workflows/ci.yml", "permissions: {}", "permissions: write-all", "excessive-permissions"),
    "hadolint": ("deploy/dagster/Dockerfile", "USER 10001", "USER root", "DL3002"),
    "shellcheck": ("deploy/object-store/setup.sh", '"$ENDPOINT"', "$ENDPOINT", "SC2086"),
}


@pytest.mark.parametrize("linter", FAULTY_LINES)
def test_a_linter_of_files_finds_a_planted_fault(installed: BakedProject, tmp_path: Path, linter: str) -> None:
    file, right, wrong, rule = FAULTY_LINES[linter]
    if linter == "shellcheck" and platform.machine() == "aarch64":  # as pyproject.toml has it
        pytest.skip(f"there is no package of {linter} for this machine")
    for folder in (".github", "deploy"):
        shutil.copytree(installed.path / folder, tmp_path / folder)
    shutil.copyfile(installed.path / "Makefile", tmp_path / "Makefile")
    (tmp_path / ".venv").symlink_to(installed.path / ".venv")
    copy = BakedProject(tmp_path)
    copy.run("make", "lint-files")
    text = copy.read(file)
    assert right in text

    (tmp_path / file).write_text(text.replace(right, wrong, 1))
    done = copy.run("make", "lint-files", check=False)

    assert done.returncode
    assert rule in done.stdout + done.stderr


def sources(project: BakedProject) -> dict[str, bytes]:
    made = (".venv/", ".dagster/", "dbt/target/", "dbt/logs/", "data/", "logs/", "build/")
    caches = ("_cache/", "__pycache__/")
    names = {
        name for name in project.files() if not name.startswith(made) and not any(cache in name for cache in caches)
    }
    return {name: (project.path / name).read_bytes() for name in names}
