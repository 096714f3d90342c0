"""The pages' way to the services: compose.yaml as a reader starts it, TLS and workers too, its data over a restart."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.integration.stack import docker_client, free_port, start_reaper, within
from tests.marks import takes_minutes
from tests.pages import published, run
from tests.unit.dagster_project import PROJECT, Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A copy of the project with secrets, ports and containers of its own; nothing is left of its services."""
    docker = {name: value for name, value in os.environ.items() if name.startswith(("DOCKER_", "BUILDKIT_"))}
    images = {name: value for name, value in os.environ.items() if name.endswith("_IMAGE")}
    config = os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker"))
    reader = Project(tmp_path, {**docker, **images, "DOCKER_CONFIG": config})
    # A reader's settings come from .env alone.
    for name in ("LAKEHOUSE_TARGET", "LAKEHOUSE_HOME", "LAKEHOUSE_FIRST_MONTH"):
        reader.variables[name] = ""
    for name in ("Makefile", "README.md", "requirements.lock", "images.env", "compose.yaml", "compose.secure.yaml"):
        shutil.copy(PROJECT / name, reader.root)
    unwanted = shutil.ignore_patterns("local")
    shutil.copytree(PROJECT / "deploy", reader.root / "deploy", ignore=unwanted, dirs_exist_ok=True)
    installed(reader.root)
    (reader.root / ".env").write_text(settings(), "utf-8")
    label_for_the_reaper(reader.root / "deploy" / "stack.yaml")
    published(reader, "yellow", {"2024-01": 900, "2024-02": 700})
    yield reader
    everything = ["docker", "compose", "--profile", "*", "down", "--volumes", "--timeout", "5"]
    subprocess.run(everything, cwd=reader.root, env=reader.environment, check=True, capture_output=True)


def installed(root: Path) -> None:
    """What `make install` leaves, with the environment that this test runs in."""
    (root / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != "installed":
            (root / ".venv" / part.name).symlink_to(part)
    made_from = [f"{root}\n", *((root / name).read_text("utf-8") for name in ("requirements.lock", "pyproject.toml"))]
    (root / ".venv" / "installed").write_text("".join(made_from), "utf-8")


def settings() -> str:
    """`.env`, as a bake has it; ports are free ones."""
    text = (PROJECT / ".env.example").read_text("utf-8")
    text = re.sub(
        r"^COMPOSE_PROJECT_NAME=.*$", f"COMPOSE_PROJECT_NAME=suite-{secrets.token_hex(6)}", text, flags=re.MULTILINE
    )
    text = re.sub(r"^(\w+_PORT)=.*$", lambda found: f"{found[1]}={free_port()}", text, flags=re.MULTILINE)
    return re.sub(
        r"^(\w+_(?:PASSWORD|SECRET_KEY))=$",
        lambda found: f"{found[1]}={secrets.token_hex(20)}",
        text,
        flags=re.MULTILINE,
    )


def label_for_the_reaper(file: Path) -> None:
    """Whatever a killed run leaves is found by testcontainers' reaper."""
    start_reaper()
    from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID

    label = f'labels: {{{LABEL_SESSION_ID}: "{SESSION_ID}"}}'
    services, volumes = file.read_text("utf-8").split("\nvolumes:\n")
    services = services.replace("x-service: &service\n", f"x-service: &service\n  {label}\n")
    volumes = re.sub(r"^  (\S+):$", rf"  \1: {{{label}}}", volumes, flags=re.MULTILINE)
    file.write_text(f"{services}\nvolumes:\n{volumes}\nnetworks:\n  default: {{{label}}}\n", "utf-8")


def compose_name(project: Project) -> str:
    """What compose calls it."""
    name = re.search(r"^COMPOSE_PROJECT_NAME=(.*)$", (project.root / ".env").read_text("utf-8"), re.MULTILINE)
    assert name
    return name[1]


def left(project: Project) -> list[str]:
    """The containers and networks that the engine has of it."""
    its = {"label": f"com.docker.compose.project={compose_name(project)}"}
    client = docker_client()
    return [one.name for kind in (client.containers, client.networks) for one in kind.list(filters=its)]


def volumes(project: Project) -> set[str]:
    """The volumes of its containers, of those that have ended too."""
    its = {"label": f"com.docker.compose.project={compose_name(project)}"}
    containers = docker_client().containers.list(all=True, filters=its)
    return {mount["Name"] for one in containers for mount in one.attrs["Mounts"] if mount["Type"] == "volume"}


def asked(project: Project, query: str) -> object:
    """The one value `n` that the command line gives."""
    [row] = json.loads(project.python("-m", "lakehouse", "sql", query, "--json"))
    return row["n"]


@pytest.mark.slow
def test_readmes_way_to_the_services_starts_loads_answers_and_stops(project: Project) -> None:
    said = run(project, "README.md", "Two targets, one project")["Two targets, one project"]

    assert "yellow 2024-02  loaded  700 rows" in said
    assert re.findall(r'"(2024-0\d-01)","(\d+)"', said) == [("2024-01-01", "900"), ("2024-02-01", "700")]
    assert left(project) == []

    project.variables["LAKEHOUSE_TARGET"] = "trino"
    subprocess.run(["make", "stack-up"], cwd=project.root, env=project.environment, check=True)
    assert asked(project, "select sum(trips) as n from gold.fct_monthly_quality") == 1600  # the volumes outlive them
    name = compose_name(project)
    assert volumes(project) == {f"{name}_object-store", f"{name}_postgres"}  # one without a name would stay for good


def test_a_service_that_does_not_start_is_named_with_its_last_lines(project: Project) -> None:
    """The object store's container gets the image of Postgres, which does not know its command."""
    variables = {**project.environment, "OBJECT_STORE_IMAGE": project.environment["POSTGRES_IMAGE"]}

    done = subprocess.run(
        ["make", "stack-up"], cwd=project.root, env=variables, check=False, capture_output=True, text=True
    )

    assert done.returncode != 0
    assert "error: object-store did not start. Its last lines:\n" in done.stderr
    assert "server" in done.stderr.partition("Its last lines:\n")[2]
    assert "error: postgres" not in done.stderr
    assert "Mend the cause, then run make stack-up again." in done.stderr


def has_nodes(project: Project, count: int) -> bool:
    return asked(project, "select count(*) as n from system.runtime.nodes") == count


@pytest.mark.slow
@takes_minutes
@pytest.mark.parametrize("sections", [("Trino over TLS, with passwords", "More workers"), ("More workers",)], ids=len)
def test_the_stacks_options_start_as_their_page_says(project: Project, sections: tuple[str, ...]) -> None:
    project.variables["LAKEHOUSE_TARGET"] = "trino"

    for section, nodes in zip(sections, (1, 3) if len(sections) == 2 else (3,), strict=True):
        run(project, "docs/stack.md", section)
        within(60, partial(has_nodes, project, nodes))

    subprocess.run(["make", "stack-down"], cwd=project.root, env=project.environment, check=True)
    assert left(project) == []
