"""Two ideas carry the tests: a `bake(**answers)` that gives a project, and a BakedProject to ask."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests import baking
from tests.baking import PROJECT_DIR, TEMPLATE, export, project_files, run_cookiecutter

# Settings of whoever runs the tests must not reach the projects under test.
SETTINGS = (
    *("LAKEHOUSE_", "TLC_SOURCE", "SOURCE_S3_", "DAGSTER_", "COMPOSE_", "TRINO_", "REST_", "S3_", "CATALOG_"),
    *("MINIO_", "DBT_"),
)

takes_minutes = pytest.mark.skipif(
    not os.environ.get("LAKEHOUSE_TEST_LONG"), reason="takes minutes: LAKEHOUSE_TEST_LONG=1 runs it, as every night"
)


@dataclass(frozen=True)
class BakedProject:
    """A project as it fell out of the template."""

    path: Path

    def has_file(self, name: str) -> bool:
        return (self.path / name).is_file()

    def read(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")

    def files(self) -> set[str]:
        """Paths of all files, from the project's root."""
        return {path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file()}

    def environment(self, **variables: str) -> dict[str, str]:
        """The caller's environment without settings, with the project's own programs first on the path."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith((*SETTINGS, "MAKE", "PYTEST_"))
        }
        programs = os.pathsep.join([str(self.path / ".venv" / "bin"), kept.get("PATH", "")])
        return {**kept, "PATH": programs, **variables}

    def run(
        self, *command: str, timeout: float = 300, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; one that fails shows what it said."""
        result = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
        if check and result.returncode != 0:
            pytest.fail(
                f"{' '.join(command)} gave {result.returncode}\n{result.stdout}\n{result.stderr}", pytrace=False
            )
        return result

    def install(self) -> None:
        """Make the project's own environment from its lock."""
        self.run("make", "install", timeout=900)


@dataclass(frozen=True)
class Template:
    """An export of the template's tracked files."""

    path: Path

    def files(self) -> set[str]:
        """What a bake gets from it: paths from the project's root."""
        return project_files(self.path)

    def source(self, name: str) -> bytes:
        return (self.path / PROJECT_DIR / name).read_bytes()

    def try_to_bake(self, output: Path, **answers: str) -> subprocess.CompletedProcess[str]:
        return run_cookiecutter(self.path, output, answers)

    def bake(self, output: Path, **answers: str) -> BakedProject:
        before = set(output.iterdir()) if output.exists() else set()
        result = self.try_to_bake(output, **answers)
        if result.returncode != 0:
            pytest.fail(f"the bake failed\n{result.stdout}\n{result.stderr}", pytrace=False)
        made = set(output.iterdir()) - before or before
        return BakedProject(max(made, key=lambda path: path.stat().st_mtime_ns))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each process of pytest-xdist whole files, so that what a file's tests share is made once.

    Planted faults share nothing but the bake, and take longer than all else: any process that is free takes the next.
    """
    for item in items:
        if item.path.name != "test_planted_faults.py":
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return Template(export(tmp_path_factory.mktemp("export") / "template"))


@pytest.fixture
def bake(template: Template, tmp_path: Path) -> Callable[..., BakedProject]:
    """Bake into the test's own folder; a second bake with the same name bakes over the first."""

    def bake_here(**answers: str) -> BakedProject:
        return template.bake(tmp_path / "baked", **answers)

    return bake_here


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> BakedProject:
    """The project with the default answers and its environment: baked once a run, for all test processes.

    It stays in `build/tests`, so that a second run finds the environment and the caches of the linters.
    """
    base = tmp_path_factory.getbasetemp()
    done = (base if worker_id == "master" else base.parent) / "installed"
    with FileLock(f"{done}.lock"):
        if not done.exists():
            project = BakedProject(baking.bake(TEMPLATE / "build" / "tests", {}))
            project.install()
            done.write_text(str(project.path))
    return BakedProject(Path(done.read_text()))
