"""The locks: complete, with hashes, for every Python, and without the name of any host."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.baking import PROJECT_DIR, TEMPLATE
from tests.conftest import BakedProject, Template, takes_minutes
from tests.test_installing import TOOLS

LOCKS = {
    "requirements-dev.lock": TEMPLATE / "pyproject.toml",
    f"{PROJECT_DIR}/requirements.lock": TEMPLATE / PROJECT_DIR / "pyproject.toml",
}
# What the project itself needs, for its image: a part of the lock above.
RUNTIME = f"{PROJECT_DIR}/requirements-runtime.lock"
# Of engines that read the tables in the integration suite, in an environment of their own.
OTHERS = f"{PROJECT_DIR}/tests/integration/others.lock"
# Of the docs site, in an environment of its own too.
SITE = f"{PROJECT_DIR}/docs/site.lock"
# Of what makes mutants, likewise.
MUTANTS = f"{PROJECT_DIR}/tests/mutants/requirements.lock"
# Of the image of Superset.
SUPERSET = f"{PROJECT_DIR}/deploy/superset/requirements.lock"


@pytest.mark.parametrize("lock", [*LOCKS, RUNTIME, OTHERS, SITE, SUPERSET])
def test_a_lock_names_no_host_and_no_machine(lock: str) -> None:
    text = (TEMPLATE / lock).read_text()

    assert "://" not in text
    assert not re.search(r"^\s*#\s+(?:-r|via -r) /|/home/|/tmp/", text, re.MULTILINE)
    assert not re.search(r"^--?\w", text, re.MULTILINE)


@pytest.mark.parametrize("lock", [*LOCKS, RUNTIME, OTHERS, SITE, SUPERSET])
def test_every_pin_is_exact_and_has_a_hash(lock: str) -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", (TEMPLATE / lock).read_text())[1:]

    assert len(blocks) > (4 if lock in (OTHERS, SITE) else 30)
    for block in blocks:
        assert re.match(r"[a-z0-9.-]+(\[[^]]+\])?==\S+", block), block.splitlines()[0]
        assert "--hash=sha256:" in block, block.splitlines()[0]


@pytest.mark.parametrize(("lock", "project"), LOCKS.items())
def test_the_lock_meets_the_declared_dependencies(lock: str, project: Path) -> None:
    packaging = pytest.importorskip("packaging.requirements")
    text = (TEMPLATE / lock).read_text()
    pins = dict(re.findall(r"^([a-z0-9.-]+)(?:\[[^]]+\])?==([^ ;\\]+)", text, re.MULTILINE))
    declared = tomllib.loads(project.read_text())
    groups = declared["dependency-groups"]
    dev = [line for group in ("dev", "build") for line in groups.get(group, []) if isinstance(line, str)]

    for line in declared["project"].get("dependencies", []) + dev:
        requirement = packaging.Requirement(line)
        assert requirement.specifier.contains(pins[requirement.name.lower()]), line


def test_the_lock_of_the_image_is_a_part_of_the_lock_without_the_tools() -> None:
    packaging = pytest.importorskip("packaging.requirements")
    every, runtime = (
        dict(re.findall(r"^([a-z0-9.-]+)(?:\[[^]]+\])?==(\S+)", (TEMPLATE / lock).read_text(), re.MULTILINE))
        for lock in (f"{PROJECT_DIR}/requirements.lock", RUNTIME)
    )
    declared = tomllib.loads((TEMPLATE / PROJECT_DIR / "pyproject.toml").read_text())
    asked = declared["project"]["dependencies"] + declared["dependency-groups"]["build"]

    assert runtime.items() <= every.items()
    assert {packaging.Requirement(line).name.lower() for line in asked} <= runtime.keys()
    assert not {"pytest", "moto", "ruff", "mypy", "sqlfluff", "testcontainers", "pandas"} & runtime.keys()
    assert {"dagster-webserver", "dagster-dg-cli"} <= runtime.keys()  # `make dev`


@pytest.mark.parametrize("lock", [OTHERS, SUPERSET])
def test_a_lock_of_its_own_meets_what_is_asked_of_it(lock: str) -> None:
    packaging = pytest.importorskip("packaging.requirements")
    pins = dict(re.findall(r"^([a-z0-9.-]+)(?:\[[^]]+\])?==([^ ;\\]+)", (TEMPLATE / lock).read_text(), re.MULTILINE))
    asked = (TEMPLATE / lock).with_suffix(".txt").read_text().splitlines()

    for line in (line for line in asked if not line.startswith("#")):
        requirement = packaging.Requirement(line)
        assert requirement.specifier.contains(pins[requirement.name]), line


@pytest.mark.parametrize(("lock", "group"), [(SITE, "docs"), (MUTANTS, "mutants")])
def test_the_lock_of_a_tool_meets_its_group_and_stays_apart(lock: str, group: str) -> None:
    packaging = pytest.importorskip("packaging.requirements")
    pins, every = (
        dict(re.findall(r"^([a-z0-9.-]+)==([^ ;\\]+)", (TEMPLATE / file).read_text(), re.MULTILINE))
        for file in (lock, f"{PROJECT_DIR}/requirements.lock")
    )
    asked = tomllib.loads((TEMPLATE / PROJECT_DIR / "pyproject.toml").read_text())["dependency-groups"][group]

    assert asked
    for requirement in map(packaging.Requirement, asked):
        assert requirement.specifier.contains(pins[requirement.name], prereleases=True), requirement
        assert requirement.name not in every


def test_the_lock_installs_with_uv_and_brings_the_command(installed: BakedProject) -> None:
    assert installed.run("lakehouse", "--version").stdout.startswith("lakehouse ")
    uv = str(Path(sys.executable).parent / "uv")
    assert (
        "All installed packages are compatible"
        in installed.run(uv, "pip", "check", "--python", ".venv/bin/python").stderr
    )


@takes_minutes
def test_the_lock_installs_with_pip_alone(template: Template, tmp_path: Path, installed: BakedProject) -> None:
    project = template.bake(tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (tools / tool).symlink_to(found)
    sizes = re.search(r"^RUNTIME_MB := (\d+) (\d+)$", project.read("Makefile"), re.MULTILINE)
    assert sizes

    project.run("make", "runtime", f"PYTHON={sys.executable}", timeout=1200, PATH=str(tools))

    assert project.run(".venv/bin/lakehouse", "--version").stdout == installed.run("lakehouse", "--version").stdout
    assert project.run(".venv/bin/dg", "--version").stdout
    assert not project.has_file(".venv/bin/pytest")
    said = project.read(".venv/install.log")
    mb = sum(float(size) for size in re.findall(r"^ +(?:Downloading|Using cached) .*\((.*) MB\)$", said, re.MULTILINE))
    assert mb == pytest.approx(int(sizes[1]), rel=0.1)
    used = subprocess.check_output(["du", "-sm", str(project.path / ".venv")]).split()[0]
    assert int(used) == pytest.approx(int(sizes[2]), rel=0.1)

    project.run("make", "install", timeout=1200, PATH=str(tools))

    assert project.has_file(".venv/bin/pytest")
