"""The gates of a baked project. `make lint` runs them all, in a bake; here is what else they must do."""

from __future__ import annotations

import re

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

    for gate in ("ruff check", "ruff format --check", "mypy", "sqlfluff lint", "--target embedded", "--target trino"):
        assert gate in commands
    assert "--fix" not in commands


def sources(project: BakedProject) -> dict[str, bytes]:
    made = (".venv/", ".dagster/", "dbt/target/", "dbt/logs/", "data/", "logs/", "build/")
    caches = ("_cache/", "__pycache__/")
    names = {
        name for name in project.files() if not name.startswith(made) and not any(cache in name for cache in caches)
    }
    return {name: (project.path / name).read_bytes() for name in names}
