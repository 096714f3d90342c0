"""`examples`: each is copied into a project by one command, and its page runs from top to bottom."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.marks import takes_minutes
from tests.pages import accepted, published, run
from tests.unit.dagster_project import PROJECT, Project

NAMES = sorted(page.parent.name for page in (PROJECT / "examples").glob("*/README.md"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the project, with the examples and what checks SQL."""
    copy = Project(tmp_path, {"LAKEHOUSE_FIRST_MONTH": "2024-01"})
    shutil.copytree(PROJECT / "examples", copy.root / "examples")
    for name in (".sqlfluff", ".sqlfluffignore"):
        shutil.copy(PROJECT / name, copy.root)
    return copy


def run_page(project: Project, name: str) -> dict[str, str]:
    """Run an example's page, and look at what it has copied as `make lint` does."""
    said = run(project, f"examples/{name}/README.md")

    lints = (["ruff", "check", "src"], ["ruff", "format", "--check", "src"])
    models = [path.as_posix() for path in copied(name) if path.suffix == ".sql"]
    for lint in (*lints, ["sqlfluff", "lint", *models]):
        done = subprocess.run(
            [sys.executable, "-m", *lint],
            cwd=project.root,
            env=project.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return said


def copied(name: str) -> list[Path]:
    """The files of an example, as they lie in a project that has it."""
    root = PROJECT / "examples" / name / "project"
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.suffix in {".py", ".sql", ".yml"})


def test_the_examples_are_listed_and_copied_whole_or_not_at_all(project: Project) -> None:
    listed = project.python("-m", "lakehouse", "example")
    taken = Path("dbt/models/staging/stg_iris.yml")
    (project.root / taken).write_text("mine", encoding="utf-8")
    refused = project.python("-m", "lakehouse", "example", "iris", code=1)
    unknown = project.python("-m", "lakehouse", "example", "tulips", code=1)

    assert [name for name in NAMES if name in listed] == NAMES
    assert "One CSV file is the whole table: iris flowers" in listed
    assert "stg_iris.yml, which is there already. Nothing was copied." in refused
    assert (project.root / taken).read_text(encoding="utf-8") == "mine"
    assert [path for path in copied("iris") if (project.root / path).exists()] == [taken]
    assert unknown.startswith(
        f"error: There is no example 'tulips'. Nothing was copied. The examples are: {', '.join(NAMES)}."
    )


def test_a_dataset_of_that_name_refuses_the_example(project: Project) -> None:
    declaration = PROJECT / "examples" / "iris" / "project" / "src" / "lakehouse" / "datasets" / "iris.py"
    shutil.copy(declaration, project.root / "src" / "lakehouse" / "datasets" / "flowers.py")

    refused = project.python("-m", "lakehouse", "example", "iris", code=1)

    assert "iris already, with the table raw.iris. Nothing was written. Rename your dataset, or do with" in refused
    assert not [path for path in copied("iris") if (project.root / path).exists()]


@pytest.mark.slow
@takes_minutes
def test_iris_is_a_table_and_a_mart_by_species(project: Project) -> None:
    said = run_page(project, "iris")

    assert "150 rows" in said["Load and build"]
    assert re.search(r"setosa +50 +1\.462", said["Load and build"])
    assert re.search(r"virginica +50 +5\.552", said["Load and build"])
    assert "no new snapshot" in said["Load it again"]


@pytest.mark.slow
@takes_minutes
def test_sales_are_loaded_by_day_and_their_bad_rows_set_aside(project: Project) -> None:
    said = run_page(project, "sales")

    assert "5 rows, 1 set aside" in said["Load and build"]
    assert "3 rows, 1 set aside" in said["Load and build"]
    assert re.search(r"2024-01-05 +5 +9 +3,?458\.4", said["Load and build"])
    assert re.search(r"2024-01-06 +3 +6 +2,?955\.9", said["Load and build"])
    assert "12,3O" in said["The bad rows"]
    assert "31.02.2024" in said["The bad rows"]
    assert re.search(r"^ +1 *$", said["A corrected file"], re.MULTILINE)
    assert re.search(r"3,?470\.7", said["A corrected file"])


@pytest.mark.slow
@takes_minutes
def test_rentals_are_extracted_by_cursor_and_merged_by_key(project: Project) -> None:
    said = run_page(project, "rentals")

    assert "20 rows" in said["Load and build"]
    changed = said["The next day"]
    assert "(2 inserted, 3 updated, " in changed
    assert re.search(r"overwrite +2 +3 +0 +22", changed)  # silver
    assert re.search(r"^ +3 +22 *$", changed, re.MULTILINE)
    assert "last_update from 2024-01-10" in re.sub(r"\s+", " ", changed)
    assert "no new snapshot" in changed


@pytest.mark.slow
def test_weather_is_joined_with_the_trips_by_day(project: Project) -> None:
    published(project, "green", {"2024-01": 400})
    for words in (["load", "zones"], ["load", "green", "2024-01"]):
        project.python("-m", "lakehouse", *words)

    said = run_page(project, "weather")

    shown = said["Load and build"]
    assert shown.count("  loaded  8 rows") == 31
    assert len(re.findall(r"^ +2024-01-\d\d ", shown, re.MULTILINE)) == 31
    by_rain = re.findall(r"(?:true|false) +(\d+) +(\d+)", shown.lower())
    assert sorted(days for days, _ in by_rain) == ["10", "21"]
    assert f"{sum(int(trips) for _, trips in by_rain):,}" == accepted(project)
    assert "gold.fct_trips_by_weather" in said["The history of the mart"]
