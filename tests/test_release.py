"""A release: tag, version and CHANGELOG.md agree, and the branch `example` holds what the template bakes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import release
from tests.baking import PROJECT_DIR, TEMPLATE


def template_of(folder: Path, version: str, changelog: str) -> Path:
    (folder / "pyproject.toml").write_text(f'[project]\nname = "t"\nversion = "{version}"\n')
    (folder / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog}")
    return folder


RELEASED = "## 0.2.0 (2026-12-01)\n\n- New.\n\n## 0.1.0 (2026-11-30)\n\n- First.\n"


def test_a_tag_that_agrees_with_version_and_changelog_is_released(tmp_path: Path) -> None:
    template = template_of(tmp_path, "0.2.0", RELEASED)

    assert list(release.problems("v0.2.0", template)) == []
    assert release.notes("v0.2.0", template) == "- New.\n"


@pytest.mark.parametrize(
    ("tag", "version", "changelog", "says"),
    [
        ("0.2.0", "0.2.0", RELEASED, "not of the form v1.2.3"),
        ("v0.2", "0.2", RELEASED, "not of the form v1.2.3"),
        ("v0.2.0", "0.1.0", RELEASED, "pyproject.toml says version 0.1.0"),
        ("v0.3.0", "0.3.0", RELEASED, "has no heading '## 0.3.0 (YYYY-MM-DD)'"),
        ("v0.1.0", "0.1.0", RELEASED, "first heading of CHANGELOG.md is 0.2.0"),
        ("v0.2.0", "0.2.0", RELEASED.replace("2026-12-01", "not released"), "says (not released)"),
        ("v0.2.0", "0.2.0", RELEASED.replace("- New.\n", ""), "says nothing below the heading of 0.2.0"),
    ],
    ids=["no-v", "two-numbers", "other-version", "no-heading", "older", "no-day", "empty"],
)
def test_a_tag_that_does_not_agree_is_refused(
    tmp_path: Path, tag: str, version: str, changelog: str, says: str
) -> None:
    (problem,) = release.problems(tag, template_of(tmp_path, version, changelog))

    assert says in problem


def test_changelog_begins_with_the_version_in_pyproject() -> None:
    newest = next(iter(release.sections((TEMPLATE / "CHANGELOG.md").read_text())))

    assert newest == release.declared_version()


def git(*arguments: str, cwd: Path) -> str:
    return subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, check=True).stdout


def test_the_branch_example_is_a_bake_that_grows_by_a_commit_a_release(tmp_path: Path) -> None:
    git("init", "--quiet", "--bare", str(tmp_path), cwd=tmp_path)

    assert release.publish_example("v0.1.0", str(tmp_path))
    assert not release.publish_example("v0.1.1", str(tmp_path))  # nothing is new

    files = set(git("ls-tree", "-r", "--name-only", "example", cwd=tmp_path).splitlines())
    baked = {path.removeprefix(f"{PROJECT_DIR}/") for path in git("ls-files", PROJECT_DIR, cwd=TEMPLATE).splitlines()}
    assert files == {name for name in baked if not name.startswith(".github/workflows/")}
    assert not {".env", ".dagster/dagster.yaml"} & files  # secrets, and what a machine makes

    # A file of an earlier version goes.
    clone = tmp_path / "clone"
    git("clone", "--quiet", "--branch", "example", str(tmp_path), str(clone), cwd=tmp_path)
    (clone / "old.md").write_text("old\n")
    git("add", "--all", cwd=clone)
    git("-c", "user.name=Test", "-c", "user.email=test@example.com", "commit", "--quiet", "-m", "old", cwd=clone)
    git("push", "--quiet", "origin", "example", cwd=clone)
    assert release.publish_example("v0.2.0", str(tmp_path))
    assert "old.md" not in git("ls-tree", "--name-only", "example", cwd=tmp_path)
    assert git("log", "--format=%s", "example", cwd=tmp_path).splitlines() == [
        "What v0.2.0 of the template bakes, without its workflows",
        "old",
        "What v0.1.0 of the template bakes, without its workflows",
    ]
