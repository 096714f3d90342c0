"""Workflows of the template and of a bake: every action by its commit, no rights beyond reading, and real targets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.baking import PROJECT_DIR, TEMPLATE

WORKFLOWS = sorted(
    [*TEMPLATE.glob(".github/workflows/*.yml"), *TEMPLATE.glob(f"{PROJECT_DIR}/.github/workflows/*.yml")]
)
BY_COMMIT = re.compile(r"^ *(?:- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.relative_to(TEMPLATE).as_posix())
def workflow(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    content: dict[str, Any] = yaml.safe_load(workflow.read_text())
    found: dict[str, dict[str, Any]] = content["jobs"]
    return found


def test_every_action_is_pinned_by_its_commit_with_its_version_beside(workflow: Path) -> None:
    uses = [line for line in workflow.read_text().splitlines() if "uses:" in line]

    assert uses
    assert [line for line in uses if not BY_COMMIT.match(line)] == []


def test_one_action_has_one_commit_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for action, commit in re.findall(r"uses: (\S+)@(\S+)", path.read_text()):
            pins.setdefault(action, set()).add(commit)

    assert [action for action, commits in pins.items() if len(commits) > 1] == []


def test_rights_are_none_at_the_top_and_reading_in_a_job(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text())["permissions"] == {}
    for name, job in jobs(workflow).items():
        assert job.get("permissions", {}) in ({}, {"contents": "read"}), name


def test_every_job_ends_and_keeps_no_credentials(workflow: Path) -> None:
    for name, job in jobs(workflow).items():
        assert "timeout-minutes" in job, name
        for step in job["steps"]:
            if "actions/checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False, name


def test_no_expression_stands_in_a_script(workflow: Path) -> None:
    allowed = re.compile(r"\$\{\{ matrix\.python \}\}")
    for name, job in jobs(workflow).items():
        for step in job["steps"]:
            assert "${{" not in allowed.sub("", step.get("run", "")), name


def test_container_logs_are_kept_when_the_suites_fail(workflow: Path) -> None:
    for name, job in jobs(workflow).items():
        runs = " ".join(step.get("run", "") for step in job["steps"])
        if "make integration" in runs:
            last = job["steps"][-1]
            assert last["if"] == "failure() || cancelled()", name  # a time limit cancels
            assert "build/logs/" in last["with"]["path"], name


def test_what_the_suites_need_of_others_is_there_and_kept_for_the_next_run(workflow: Path) -> None:
    """An environment with Spark and DuckDB is half a gigabyte; without Java Spark's test would fail."""
    for name, job in jobs(workflow).items():
        runs = " ".join(step.get("run", "") for step in job["steps"])
        if "make integration" in runs and " K=" not in runs:
            uses = [step.get("uses", "").partition("@")[0] for step in job["steps"]]
            kept = [step["with"]["path"] for step in job["steps"] if "actions/cache" in step.get("uses", "")]
            assert "actions/setup-java" in uses, name
            assert [path for path in kept if path.endswith("build/others/")], name


NIGHTLY = [path for path in WORKFLOWS if path.stem == "nightly"]


@pytest.mark.parametrize("nightly", NIGHTLY, ids=lambda path: path.relative_to(TEMPLATE).as_posix())
def test_every_night_each_pinned_image_is_asked_for_and_the_newest_of_each_tried(nightly: Path) -> None:
    pinned = dict(re.findall(r"^(\w+_IMAGE)=(\S+)$", (TEMPLATE / PROJECT_DIR / "images.env").read_text(), re.MULTILINE))
    found = jobs(nightly)

    (resolve,) = [step["run"] for step in found["pinned"]["steps"] if "imagetools inspect" in step.get("run", "")]
    tried = {row["variable"]: row["image"] for row in found["newest"]["strategy"]["matrix"]["include"]}
    assert "images.env" in resolve
    assert set(tried) == set(pinned)
    for variable, image in tried.items():
        name = pinned[variable].partition("@")[0].partition(":")[0]
        assert image.startswith(f"{name}:"), variable
        assert not re.search(r"\d", image.partition(":")[2]), f"{image} is no newest"


def test_scripts_call_targets_that_exist(workflow: Path) -> None:
    baked = PROJECT_DIR in workflow.parts
    makefile = (TEMPLATE / PROJECT_DIR / "Makefile" if baked else TEMPLATE / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    called = set(re.findall(r"\bmake ([a-z-]+)", workflow.read_text().split("jobs:")[1]))

    assert called <= targets | {"on"}
