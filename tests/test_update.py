"""A project follows the template by `cruft update`, and keeps what is its own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.baking import PROJECT_DIR, TEMPLATE
from tests.conftest import BakedProject, Template

GIT = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"]
PAGE = TEMPLATE / "docs" / "upgrading.md"


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


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that stands in a file exactly once."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path}: {old!r} stands there {text.count(old)} times"
    path.write_text(text.replace(old, new), encoding="utf-8")


@dataclass(frozen=True)
class Upstream:
    """A repository of the template, in which a test makes newer versions."""

    path: Path

    def file(self, name: str) -> Path:
        """Where a file of the project stands in the template."""
        return self.path / PROJECT_DIR / name

    def release(self, version: str) -> None:
        commit_all(self.path, version)
        run(*GIT, "tag", version, cwd=self.path)


@pytest.fixture
def upstream(template: Template, tmp_path: Path) -> Upstream:
    """The template as it is, as its version v0.1.0."""
    copy = Upstream(tmp_path / "upstream")
    subprocess.run(["cp", "-r", str(template.path), str(copy.path)], check=True)
    copy.release("v0.1.0")
    return copy


def create(upstream: Upstream, *answers: str) -> BakedProject:
    """Bake a project beside the template, and commit it as it is."""
    cruft("create", "--no-input", *answers, str(upstream.path), cwd=upstream.path.parent)
    (record,) = upstream.path.parent.glob("*/.cruft.json")
    project = BakedProject(record.parent)
    commit_all(project.path, "as baked")
    return project


def update(project: BakedProject) -> str:
    """Take over the newest version; no conflict may be left."""
    said = cruft("update", "--skip-apply-ask", cwd=project.path)
    assert not list(project.path.rglob("*.rej"))
    assert not run("git", "diff", "--name-only", "--diff-filter=U", cwd=project.path)
    return said


def test_an_update_brings_the_change_and_leaves_own_work(upstream: Upstream) -> None:
    project = create(upstream)
    env = project.read(".env")
    (project.path / "docs" / "own.md").write_text("mine\n")
    commit_all(project.path, "own work")

    makefile = upstream.file("Makefile")
    makefile.write_text(makefile.read_text() + "\n# from upstream\n")
    example = upstream.file(".env.example")
    example.write_text(example.read_text() + "\nNEW_PASSWORD=\n")
    upstream.release("v0.2.0")
    said = update(project)

    assert project.read("Makefile").endswith("\n# from upstream\n")
    assert project.read(".env.example").endswith("\nNEW_PASSWORD=\n")
    assert project.read(".env") == env
    assert project.read("docs/own.md") == "mine\n"
    assert "is ready" not in said  # of a project that cruft makes to compare it
    cruft("check", cwd=project.path)
    assert cruft("diff", cwd=project.path) == ""


@pytest.mark.parametrize(
    "answers",
    [
        '{"target": "trino", "license": "Proprietary", "project_slug": "our-lake", "first_month": "2023-05"}',
        r'{"project_name": "Ann\"s {lake} \\ 🚕", "description": "a \"quoted\" \\ line", "author_name": "Åsa {}"}',
    ],
    ids=["other-answers", "quotes"],
)
def test_cruft_finds_no_difference_right_after_a_bake(upstream: Upstream, answers: str) -> None:
    """And none after it has been used: what a machine makes is no difference either."""
    project = create(upstream, "--extra-context", answers)
    (project.path / ".env").write_text("LAKEHOUSE_TARGET=trino\n")
    (project.path / ".dagster" / "runs.db").write_text("runs")
    (project.path / "data").mkdir()
    (project.path / "data" / "catalog.db").write_text("tables")

    assert cruft("diff", "--exit-code", cwd=project.path) == ""
    cruft("check", cwd=project.path)


README, MODEL, DATASET = "README.md", "dbt/models/marts/fct_daily_trips.sql", "src/lakehouse/datasets/yellow.py"


def test_three_versions_with_own_changes_between_make_no_conflict(upstream: Upstream) -> None:
    """The template and a user change other places of the same files, by turns; a user's files and deletions stay."""
    project = create(upstream)
    edit(project.path / README, "\n## Start\n", "\nAsk Ann before you load 2009.\n\n## Start\n")
    edit(project.path / MODEL, "\nsums as (", "\n-- ours: by pickup, not by dropoff\nsums as (")
    edit(project.path / DATASET, 'title="Yellow taxi trips"', 'title="Yellow cabs"')
    edit(project.path / ".env", "LAKEHOUSE_HOME=data\n", "LAKEHOUSE_HOME=/srv/lake\n")
    (project.path / "docs" / "exercises.md").unlink()
    own = project.path / "dbt" / "models" / "marts" / "fct_ours.sql"
    own.write_text("select 1 as one\n")
    commit_all(project.path, "own work")
    env = project.read(".env")

    edit(upstream.file(README), "\n## Dagster\n", "\n## Dagster, its page\n")
    edit(upstream.file(MODEL), "\nselect * from final\n", "\n-- of version 2\nselect * from final\n")
    edit(upstream.file(DATASET), '"""Yellow taxi trips, from 2009 on."""', '"""Yellow taxi trips, version 2."""')
    edit(upstream.file(".env.example"), "\nLAKEHOUSE_HOME=data\n", "\nLAKEHOUSE_HOME=data\nA_NEW_SETTING=2\n")
    upstream.file("docs/exercises.md").write_text("# Other exercises\n")
    upstream.release("v0.2.0")
    update(project)
    edit(project.path / README, "\n## When something is wrong\n", "\n## When something is wrong, call Ann\n")
    edit(project.path / MODEL, "    from sums\n", "    from sums\n    where trips > 0\n")
    commit_all(project.path, "version 2, and more own work")

    edit(upstream.file(README), "\n## Five questions\n", "\n## Five questions of version 3\n")
    edit(upstream.file(MODEL), "with\n\nhours as (", "with\n\n-- of version 3\nhours as (")
    edit(upstream.file(DATASET), 'doc="Meter on; New York local time."', 'doc="Meter on, version 3."')
    upstream.file("docs/backup.md").rename(upstream.file("docs/backups.md"))
    # A kind of file that the template did not have, and that must not be rendered.
    edit(upstream.path / "cookiecutter.json", '    "*.py",\n', '    "*.py",\n    "*.weird",\n')
    upstream.file("a.weird").write_text("{{ kept }}\n")
    upstream.release("v0.3.0")
    update(project)

    readme, model, dataset = project.read(README), project.read(MODEL), project.read(DATASET)
    for ours in ("Ask Ann before you load 2009.", "wrong, call Ann", "## Dagster, its page", "questions of version 3"):
        assert ours in readme
    for ours in ("-- ours: by pickup", "where trips > 0", "-- of version 2", "-- of version 3"):
        assert ours in model
    for ours in ('title="Yellow cabs"', "trips, version 2.", "Meter on, version 3."):
        assert ours in dataset
    assert project.read(".env") == env
    assert "A_NEW_SETTING=2" in project.read(".env.example")
    assert own.read_text() == "select 1 as one\n"
    assert not project.has_file("docs/exercises.md")
    assert not project.has_file("docs/backup.md")
    assert project.has_file("docs/backups.md")
    assert project.read("a.weird") == "{{ kept }}\n"
    cruft("check", cwd=project.path)


def blocks(heading: str) -> Iterator[str]:
    """The shell blocks of a part of docs/upgrading.md."""
    (part,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for indent, block in re.findall(r"^( *)```sh\n(.*?)^ *```$", part, re.MULTILINE | re.DOTALL):
        yield re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)


class Reader:
    """Somebody who types the page's commands, in one folder after another."""

    def __init__(self, upstream: Upstream) -> None:
        self.template = upstream.path
        self.folder = upstream.path.parent

    def type(self, script: str) -> str:
        """Run a block of commands, answer each question by its default, and go on where it ended."""
        author = {f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-c", f"set -eu\n{script}\npwd > '{self.template.parent}/where'"],
            cwd=self.folder,
            env={**os.environ, **author, "PATH": programs, "HOME": str(self.folder), "TEMPLATE": str(self.template)},
            input="\n" * 20,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        self.folder = Path((self.template.parent / "where").read_text().strip())
        return done.stdout


def test_every_command_of_the_page_on_upgrading_runs(upstream: Upstream) -> None:
    reader = Reader(upstream)
    for block in blocks("Begin with cruft"):
        reader.type(block)
    project = BakedProject(reader.folder)
    (project.path / ".cruft.json").unlink()
    said = [reader.type(block) for block in blocks("Or link a project that is there")]
    assert said == [""]  # cruft diff: the link has the version and the answers of the bake

    edit(project.path / README, "\n## Start\n", "\n## Start here\n")
    commit_all(project.path, "own work")
    edit(upstream.file("Makefile"), "\nhelp: ## List the targets\n", "\nhelp: ## List all targets\n")
    example = upstream.file(".env.example")
    example.write_text(example.read_text() + "\nA_NEW_SETTING=1\n")
    upstream.release("v0.2.0")

    (looked,) = [reader.type(block) for block in blocks("Look before you update")]
    assert "-## Start\n" in looked or "+## Start\n" in looked
    assert "there is a newer version" in looked
    (updated,) = [reader.type(block) for block in blocks("Update")]
    assert "M  Makefile" in updated
    assert "List all targets" in project.read("Makefile")
    (lacking,) = [reader.type(block) for block in blocks("What stays by hand")]
    assert lacking.split() == ["A_NEW_SETTING"]


def test_a_conflict_of_ones_own_is_marked_and_settled_as_the_page_says(upstream: Upstream) -> None:
    project = create(upstream)
    edit(project.path / README, "\n## Start\n", "\n## Start here\n")
    commit_all(project.path, "own work")
    edit(upstream.file(README), "\n## Start\n", "\n## First steps\n")
    edit(upstream.file("Makefile"), "\nhelp: ## List the targets\n", "\nhelp: ## List all targets\n")
    upstream.release("v0.2.0")

    cruft("update", "--skip-apply-ask", cwd=project.path)

    marked = project.read(README)
    assert "<<<<<<< ours\n## Start here\n=======\n## First steps\n>>>>>>> theirs\n" in marked
    reader = Reader(upstream)
    reader.folder = project.path
    named, _ = [reader.type(block) for block in blocks("Conflicts")]
    assert named.split() == [README]
    assert "\n## Start here\n" in project.read(README)
    assert "First steps" not in project.read(README)
    assert "List all targets" in project.read("Makefile")
    assert run("git", "status", "--short", cwd=project.path) == ""
    cruft("check", cwd=project.path)


def test_without_git_a_conflict_is_a_rej_file_and_an_answer_can_change(upstream: Upstream) -> None:
    """Both as the page says: what can't be applied lies beside its file, and the rest of the update is there."""
    project = create(upstream)
    shutil.rmtree(project.path / ".git")
    edit(project.path / README, "\n## Start\n", "\n## Start here\n")
    edit(upstream.file(README), "\n## Start\n", "\n## First steps\n")
    edit(upstream.file("Makefile"), "\nhelp: ## List the targets\n", "\nhelp: ## List all targets\n")
    upstream.release("v0.2.0")
    (command,) = re.findall(r"`cruft (update --variables-to-update \S.*?)` changes an answer", PAGE.read_text())

    cruft(*shlex.split(command), "--skip-apply-ask", cwd=project.path)

    assert [path.name for path in project.path.rglob("*.rej")] == ["README.md.rej"]
    assert "## First steps" in project.read("README.md.rej")
    assert "\n## Start here\n" in project.read(README)
    assert "List all targets" in project.read("Makefile")
    for changed in (README, "pyproject.toml"):
        assert "Trips of ours" in project.read(changed)
