"""The demo as a newcomer runs it, and README's commands after it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.baking import PROJECT_DIR, TEMPLATE
from tests.conftest import BakedProject, Template

READMES = {"README.md": TEMPLATE / "Makefile", f"{PROJECT_DIR}/README.md": TEMPLATE / PROJECT_DIR / "Makefile"}


def commands(readme: str) -> list[str]:
    """The lines of README's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize(("readme", "makefile"), READMES.items())
def test_every_target_that_a_readme_names_exists(readme: str, makefile: Path) -> None:
    named = set(re.findall(r"(?:^|`|&& |trino )make ([a-z-]+)", (TEMPLATE / readme).read_text(), re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", makefile.read_text(), re.MULTILINE))

    assert named
    assert named <= targets


@pytest.mark.parametrize("readme", READMES)
def test_no_command_of_a_readme_holds_for_the_default_answers_alone(readme: str) -> None:
    assert not [line for line in commands((TEMPLATE / readme).read_text()) if "cd nyc-taxi-lakehouse" in line]


@pytest.mark.parametrize("makefile", READMES.values(), ids=["template", "baked"])
def test_make_alone_lists_every_target(makefile: Path) -> None:
    listed = subprocess.run(["make", "-f", str(makefile)], capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", makefile.read_text(), re.MULTILINE)

    assert phony
    assert sorted(re.findall(r"^  make ([a-z-]+) +\S", listed, re.MULTILINE)) == sorted(phony[1].split())


@pytest.fixture(scope="module")
def demo(template: Template, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project of its own after `make demo` on two real months, across the type change of 2023-02."""
    if not os.environ.get("TLC_DATA"):
        pytest.skip("TLC_DATA names no folder with the TLC's files")
    project = template.bake(tmp_path_factory.mktemp("demo"), project_slug="demo-lake")
    run_demo(project)
    return project


def run_demo(project: BakedProject) -> str:
    return project.run(
        "make", "demo", "DATASET=green", "MONTHS=2023-01 2023-02", f"TLC_SOURCE={os.environ['TLC_DATA']}", timeout=900
    ).stdout


def result(project: BakedProject, *arguments: str) -> list[dict[str, object]]:
    answer: list[dict[str, object]] = json.loads(project.run("lakehouse", *arguments, "--json").stdout)
    return answer


def test_the_demo_makes_one_snapshot_a_month_and_each_can_be_asked(demo: BakedProject) -> None:
    history = result(demo, "history", "raw.green_trips")

    assert [row["total_rows"] for row in history] == [68_211, 133_020]
    assert [row["file_month"] for row in history] == ["2023-01", "2023-02"]
    for row in history:
        as_of = f"raw.green_trips@{row['snapshot_id']}"
        assert result(demo, "sql", "select count(*) as n from raw.green_trips", "--as-of", as_of) == [
            {"n": row["total_rows"]}
        ]
    assert demo.has_file("reports/snapshots.html")
    assert demo.has_file("reports/dashboard.html")


def test_a_second_demo_adds_no_raw_snapshot(demo: BakedProject) -> None:
    before = result(demo, "history", "raw.green_trips")

    run_demo(demo)

    assert result(demo, "history", "raw.green_trips") == before


def test_gold_accounts_for_every_raw_row(demo: BakedProject) -> None:
    quality = result(
        demo,
        "sql",
        "select cast(file_month as varchar) as month, cast(sum(trips) as bigint) as n "
        "from gold.fct_monthly_quality group by 1 order by 1",
    )

    assert [row["n"] for row in quality] == [68_211, 64_809]


def test_readmes_questions_can_be_asked_of_any_dataset(demo: BakedProject) -> None:
    (section,) = re.findall(r"^## Travel in time\n(.*?)(?=^## )", demo.read("README.md"), re.MULTILINE | re.DOTALL)
    asked = [line for line in commands(section) if line.startswith("lakehouse ")]

    assert len(asked) >= 4
    for line in asked:
        demo.run("sh", "-c", line.replace("yellow", "green"))
