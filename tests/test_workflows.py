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
ACTIONS = sorted(
    [*TEMPLATE.glob(".github/actions/*/action.yml"), *TEMPLATE.glob(f"{PROJECT_DIR}/.github/actions/*/action.yml")]
)
SET_UP = "./.github/actions/set-up"
BY_COMMIT = re.compile(r"^ *(?:- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.relative_to(TEMPLATE).as_posix())
def workflow(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    content: dict[str, Any] = yaml.safe_load(workflow.read_text())
    found: dict[str, dict[str, Any]] = content["jobs"]
    return found


def set_up_beside(workflow: Path) -> Path:
    return workflow.parents[1] / "actions" / "set-up" / "action.yml"


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: path.relative_to(TEMPLATE).as_posix())
def test_every_action_is_pinned_by_its_commit_with_its_version_beside(path: Path) -> None:
    uses = [line for line in path.read_text().splitlines() if "uses:" in line]

    assert uses
    assert [line for line in uses if not BY_COMMIT.match(line) and not line.endswith(SET_UP)] == []


def test_every_step_has_a_name(workflow: Path) -> None:
    steps = [step for job in jobs(workflow).values() for step in job["steps"]]
    steps += yaml.safe_load(set_up_beside(workflow).read_text())["runs"]["steps"]

    assert [step for step in steps if not step.get("name")] == []


def test_one_action_has_one_commit_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for path in [*WORKFLOWS, *ACTIONS]:
        for action, commit in re.findall(r"uses: (\S+)@(\S+)", path.read_text()):
            pins.setdefault(action, set()).add(commit)

    assert [action for action, commits in pins.items() if len(commits) > 1] == []


# The only job that may write: it makes the release of a tag, and the branch `example`.
WRITES = {("release", "publish"): {"contents": "write"}}


def test_rights_are_none_at_the_top_and_reading_in_a_job(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text())["permissions"] == {}
    for name, job in jobs(workflow).items():
        allowed = WRITES.get((workflow.stem, name), {"contents": "read"})
        assert job.get("permissions", {}) in ({}, allowed), name


def test_a_release_is_checked_and_tested_before_anything_may_write() -> None:
    (workflow,) = [path for path in WORKFLOWS if path.stem == "release"]
    assert PROJECT_DIR not in workflow.parts
    on = yaml.safe_load(workflow.read_text())[True]  # YAML 1.1 reads the key `on` as true
    test, publish = jobs(workflow)["test"], jobs(workflow)["publish"]
    checks = [step["run"] for step in test["steps"] if "run" in step]

    assert on == {"push": {"tags": ["v*"]}}
    assert publish["needs"] == "test"
    assert any("tests.release check" in run for run in checks)
    assert "make test" in checks
    assert not [step for step in publish["steps"] if step.get("uses") == SET_UP]  # it restores a cache
    for step in publish["steps"]:  # the token is where it is used, and nowhere else
        uses_it = "gh " in step.get("run", "")
        assert ("GH_TOKEN" in step.get("env", {})) == uses_it, step["name"]


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


def test_jobs_on_real_services_set_up_what_other_readers_need(workflow: Path) -> None:
    """An environment with Spark and DuckDB is half a gigabyte; without Java Spark's test would fail."""
    for name, job in jobs(workflow).items():
        runs = " ".join(step.get("run", "") for step in job["steps"])
        if "make integration" in runs and " K=" not in runs:
            (set_up,) = [step for step in job["steps"] if step.get("uses") == SET_UP]
            assert set_up["with"]["services"] == "true", name

    action = yaml.safe_load(set_up_beside(workflow).read_text())
    steps = [step for step in action["runs"]["steps"] if step.get("if") == "inputs.services == 'true'"]
    assert [step["uses"].partition("@")[0] for step in steps] == ["actions/setup-java", "actions/cache"]
    assert steps[1]["with"]["path"].endswith("build/others/")


NIGHTLY = [path for path in WORKFLOWS if path.stem == "nightly"]


@pytest.mark.parametrize("nightly", NIGHTLY, ids=lambda path: path.relative_to(TEMPLATE).as_posix())
def test_every_night_pinned_and_newest_images_are_tried(nightly: Path) -> None:
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


def test_a_bakes_nightly_jobs_wait_until_they_are_switched_on() -> None:
    (nightly,) = [path for path in NIGHTLY if PROJECT_DIR in path.parts]

    for name, job in jobs(nightly).items():
        assert job["if"] == "vars.LAKEHOUSE_NIGHTLY == 'on' || github.event_name == 'workflow_dispatch'", name


def test_scripts_call_targets_that_exist(workflow: Path) -> None:
    baked = PROJECT_DIR in workflow.parts
    makefile = (TEMPLATE / PROJECT_DIR / "Makefile" if baked else TEMPLATE / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    called = set(re.findall(r"\bmake ([a-z-]+)", workflow.read_text().split("jobs:")[1]))

    assert called <= targets | {"on"}
