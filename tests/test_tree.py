"""What falls out of a bake: the exact files, and nothing of the template in them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import PurePosixPath

import pytest

from tests.baking import PROJECT_DIR
from tests.conftest import BakedProject, Template

RENDERED = {"pyproject.toml", "README.md", "LICENSE", ".env.example"}
MADE_BY_HOOK = {".env", ".dagster/dagster.yaml"}
TOP = {
    ".dagster", ".dockerignore", ".env", ".env.example", ".gitattributes", ".github", ".gitignore", ".sqlfluff",
    ".sqlfluffignore", "AGENTS.md", "LICENSE", "Makefile", "README.md", "benchmarks", "compose.secure.yaml",
    "compose.yaml", "dbt", "deploy", "docs", "examples", "images.env", "mkdocs.yml", "pyproject.toml",
    "requirements-runtime.lock", "requirements.lock", "src", "tests",
}  # fmt: skip
Bake = Callable[..., BakedProject]


@pytest.fixture(scope="module")
def project(template: Template, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A bake with the default answers, for reading."""
    return template.bake(tmp_path_factory.mktemp("baked"))


@pytest.mark.parametrize("target", ["embedded", "trino"])
def test_a_bake_is_exactly_the_tracked_files_and_what_the_hook_makes(
    template: Template, bake: Bake, target: str
) -> None:
    project = bake(target=target)

    assert project.files() == template.files() | MADE_BY_HOOK
    assert {path.name for path in project.path.iterdir()} == TOP
    assert f"LAKEHOUSE_TARGET={target}\n" in project.read(".env")


def test_only_what_people_read_or_set_is_rendered(template: Template, project: BakedProject) -> None:
    changed = {name for name in template.files() if (project.path / name).read_bytes() != template.source(name)}

    assert changed == RENDERED


def test_nothing_of_the_template_is_left_in_names_or_texts(project: BakedProject) -> None:
    for name in project.files():
        assert "cookiecutter" not in name.lower()
        assert b"cookiecutter" not in (project.path / name).read_bytes().lower(), name
    for name in RENDERED:
        assert "{%" not in project.read(name), name
        assert "{{" not in project.read(name), name


def test_copy_patterns_match_files_one_by_one_and_never_a_folder(template: Template) -> None:
    patterns = json.loads((template.path / "cookiecutter.json").read_text())["_copy_without_render"]
    names = template.files()
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents} - {"."}

    copied = {name for name in names if any(fnmatch(name, pattern) for pattern in patterns)}

    assert names - copied == RENDERED
    assert not [folder for folder in folders if any(fnmatch(folder, pattern) for pattern in patterns)]


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
def test_modes_survive_the_bake(template: Template, project: BakedProject) -> None:
    for name in template.files():
        runs_here = os.access(template.path / PROJECT_DIR / name, os.X_OK)
        assert os.access(project.path / name, os.X_OK) == runs_here, name


def test_docs_speak_of_this_project_and_of_no_machine(template: Template, project: BakedProject) -> None:
    of_a_machine = re.compile(r"/(?:home|root|Users|tmp|work)/[a-z]")

    for name in sorted(template.files()):
        if name.endswith((".md", ".toml", ".lock", ".yaml", ".yml", "Makefile", ".env", ".example")):
            assert not of_a_machine.findall(project.read(name)), name
