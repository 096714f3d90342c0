"""A project follows the template by `cruft update`, and keeps what is its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.baking import PROJECT_DIR
from tests.conftest import BakedProject, Template

GIT = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"]


def run(*command: str, cwd: Path) -> str:
    result = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(cwd)}
    )
    if result.returncode != 0:
        pytest.fail(f"{' '.join(command)} gave {result.returncode}\n{result.stdout}\n{result.stderr}", pytrace=False)
    return result.stdout


def commit_all(folder: Path, message: str) -> None:
    run(*GIT, "init", "--quiet", cwd=folder)
    run(*GIT, "add", "--all", cwd=folder)
    run(*GIT, "commit", "--quiet", "--message", message, cwd=folder)


def cruft(*arguments: str, cwd: Path) -> str:
    return run(sys.executable, "-m", "cruft", *arguments, cwd=cwd)


def test_an_update_brings_the_change_and_leaves_own_work(template: Template, tmp_path: Path) -> None:
    upstream = tmp_path / "upstream"
    subprocess.run(["cp", "-r", str(template.path), str(upstream)], check=True)
    commit_all(upstream, "first")
    cruft("create", "--no-input", str(upstream), cwd=tmp_path)
    project = BakedProject(tmp_path / "nyc-taxi-lakehouse")
    env = project.read(".env")
    (project.path / "docs").mkdir(exist_ok=True)
    (project.path / "docs" / "own.md").write_text("mine\n")
    commit_all(project.path, "own work")

    makefile = upstream / PROJECT_DIR / "Makefile"
    makefile.write_text(makefile.read_text() + "\n# from upstream\n")
    example = upstream / PROJECT_DIR / ".env.example"
    example.write_text(example.read_text() + "\nNEW_PASSWORD=\n")
    commit_all(upstream, "second")
    said = cruft("update", "--skip-apply-ask", cwd=project.path)

    assert project.read("Makefile").endswith("\n# from upstream\n")
    assert project.read(".env.example").endswith("\nNEW_PASSWORD=\n")
    assert project.read(".env") == env
    assert project.read("docs/own.md") == "mine\n"
    assert not list(project.path.rglob("*.rej"))
    assert "is ready" not in said  # of a project that cruft makes to compare it
    cruft("check", cwd=project.path)
    assert cruft("diff", cwd=project.path) == ""
