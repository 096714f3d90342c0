"""`make deploy-up`: Dagster in containers beside the services. No run is lost, whatever is killed or replaced."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from tests.integration.stack import docker_client, within
from tests.integration.test_compose import asked, compose_name, left, project, volumes
from tests.marks import takes_minutes
from tests.pages import published, run
from tests.unit.dagster_project import PROJECT, Project

__all__ = ["project"]  # the fixture
PROCESSES = ("dagster-code", "dagster-daemon", "dagster-webserver")
YEARS = [{f"{year}-{month:02}": 600 + month for month in range(1, 13)} for year in range(2015, 2025)]
YEAR = YEARS[-1]
TABLE = ["raw", "yellow_trips"]
RUNS = "{ runsOrError { ... on Runs { results { runId status } } } }"
MATERIALIZED = """
query ($path: [String!]!) { assetNodes(assetKeys: [{path: $path}]) { partitionStats { numMaterialized } } }
"""
FIRST, LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
# Of waiting, not of working: CI is not always idle.
LIMIT_SECONDS = 900
# SIGKILL of a container's one process, or of the runs that the code location has started. PID 1 is Docker's own.
KILL = """
import os, pathlib, sys
def words(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
def children(parent):
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if words(pid)[1] == str(parent)]
(main,) = children(1)
runs = [pid for pid in children(main) if b"spawn_main" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
killed = runs if sys.argv[1] == "runs" else [main]
for pid in killed:
    os.kill(pid, 9)
print(len(killed))
"""


@pytest.fixture
def deployable(project: Project) -> Iterator[Project]:
    """The project, whose source folder its container sees. pip finds packages as it does here."""
    pip = {name: os.environ[name] for name in ("PIP_INDEX_URL", "PIP_CERT", "DAGSTER_IMAGE") if name in os.environ}
    project.variables |= pip | {"LAKEHOUSE_TARGET": "trino"}
    shutil.rmtree(project.folder / "published")  # the months of the other tests
    folder = published(project, "yellow", {month: rows for year in YEARS for month, rows in year.items()})
    folder.chmod(0o755)
    project.variables["TLC_SOURCE"] = "/source"
    volume = f"services: {{dagster-code: {{volumes: ['{folder}:/source:ro']}}}}\n"
    (project.root / "compose.override.yaml").write_text(volume, "utf-8")
    for name in (".dockerignore", "LICENSE", "requirements-runtime.lock"):
        shutil.copy(PROJECT / name, project.root)
    yield project
    compose(project, "down", "--timeout", "5")
    if "DAGSTER_IMAGE" not in os.environ:
        docker_client().images.remove(f"{compose_name(project)}-dagster")  # the layers stay, for the next build


def make(project: Project, target: str) -> str:
    done = subprocess.run(
        ["make", target], cwd=project.root, env=project.environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{compose(project, 'logs', '--tail', '30', *PROCESSES)}"
    return done.stdout + done.stderr


def compose(project: Project, *words: str, check: bool = True) -> str:
    done = subprocess.run(
        ["docker", "compose", "--profile", "dagster", *words],
        cwd=project.root,
        env=project.environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout + done.stderr


def setting(project: Project, name: str) -> str:
    found = re.search(rf"^{name}=(.*)$", (project.root / ".env").read_text("utf-8"), re.MULTILINE)
    assert found, name
    return found[1]


def page(project: Project, query: str, **variables: Any) -> Any:
    """What the page answers."""
    address = f"http://127.0.0.1:{setting(project, 'DAGSTER_PORT')}/graphql"
    answer = httpx.post(address, json={"query": query, "variables": variables}, timeout=30).raise_for_status().json()
    assert "errors" not in answer, answer
    return answer["data"]


def runs(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page(project, RUNS)["runsOrError"]["results"]
    return found


def load(project: Project, first: str, last: str) -> None:
    """Ask for a run of all months from `first` to `last`.

    Not by a backfill of the job: Dagster repeats no run of a backfill that it holds to be completed.
    """
    tags = {FIRST: f"{first}-01", LAST: f"{last}-01"}
    words = ["-w", "deploy/dagster/workspace.yaml", "-j", "bronze_months", "--tags", json.dumps(tags)]
    compose(project, "exec", "-T", "dagster-code", "dagster", "job", "launch", *words)


def has_loaded(project: Project, count: int) -> bool:
    """Whether Dagster knows of so many months of the raw table."""
    (table,) = page(project, MATERIALIZED, path=TABLE)["assetNodes"]
    return bool(table["partitionStats"]["numMaterialized"] >= count)


def has_ended(project: Project, count: int) -> bool:
    """Whether so many months are loaded, the newest run went well, and no run waits or is in progress."""
    statuses = [run["status"] for run in runs(project)]
    return statuses[0] == "SUCCESS" and {*statuses} <= {"SUCCESS", "FAILURE"} and has_loaded(project, count)


def snapshots(project: Project) -> list[str]:
    """The months of the raw table's snapshots, oldest first."""
    rows = json.loads(project.python("-m", "lakehouse", "history", ".".join(TABLE), "--json"))
    return [row["file_month"] for row in rows]


def kill(project: Project, service: str, what: str) -> None:
    said = compose(project, "exec", "-T", service, "python", "-c", KILL, what, check=False)
    assert not re.search(r"Error|^0$", said, re.MULTILINE), said


@pytest.mark.slow
@takes_minutes
def test_dagster_in_containers_starts_loads_and_stops_as_its_page_says(deployable: Project) -> None:
    said = run(deployable, "docs/deployment.md", "Start and stop", without=("Stop",))["Start and stop"]
    assert f"Dagster's page: http://127.0.0.1:{setting(deployable, 'DAGSTER_PORT')}" in said

    load(deployable, "2024-01", "2024-01")
    within(LIMIT_SECONDS, partial(has_ended, deployable, 1), every=1)

    assert asked(deployable, "select count(*) as n from raw.yellow_trips") == YEAR["2024-01"]
    for service in PROCESSES:
        has = compose(deployable, "exec", "-T", service, "sh", "-c", "id -u; touch /opt/lakehouse/x", check=False)
        assert has.startswith("10001\n"), has
        assert "Read-only file system" in has
    assert "permission denied" in psql(deployable, "catalog")
    assert "1 row" in psql(deployable, "dagster")
    _holds_no_secret(deployable)

    run(deployable, "docs/deployment.md", "Stop")
    assert left(deployable) == []


def psql(project: Project, database: str) -> str:
    """What Dagster's user may do in a database of the server."""
    password = setting(project, "DAGSTER_POSTGRES_PASSWORD")
    address = f"postgresql://dagster:{password}@127.0.0.1/{database}"
    return compose(project, "exec", "-T", "postgres", "psql", "-c", "select 1", address, check=False)


def _holds_no_secret(project: Project) -> None:
    """Neither what the engine knows of the image, nor the project's files in it, hold a secret of `.env`."""
    name = project.variables.get("DAGSTER_IMAGE", f"{compose_name(project)}-dagster")
    made_of = docker_client().images.get(name)
    text = json.dumps(made_of.attrs) + json.dumps(made_of.history())
    lines = (project.root / ".env").read_text("utf-8").splitlines()
    secrets = [line.partition("=")[2] for line in lines if re.match(r"\w+_(PASSWORD|SECRET_KEY)=.", line)]
    assert len(secrets) >= 6
    assert not [secret for secret in secrets if secret in text]
    words = " ".join(f"-e {secret}" for secret in secrets)
    search = f"grep -rlaF {words} /opt/lakehouse /opt/dagster/dagster.yaml || echo nothing"
    assert compose(project, "exec", "-T", "dagster-webserver", "sh", "-c", search) == "nothing\n"


@pytest.mark.slow
@takes_minutes
def test_runs_go_on_whatever_of_dagster_is_killed(deployable: Project) -> None:
    """Ten runs of twelve months. In each one the run, the daemon, the code location and the page are killed once."""
    deployable.variables["LAKEHOUSE_FIRST_MONTH"] = min(YEARS[0])
    make(deployable, "deploy-up")
    killed = (
        ("dagster-code", "runs", 2),
        ("dagster-daemon", "", 3),
        ("dagster-code", "", 5),
        ("dagster-webserver", "", 7),
    )
    seconds = []

    for number, year in enumerate(YEARS):
        begun, before = time.monotonic(), number * len(year)
        load(deployable, min(year), max(year))
        for service, what, months in killed:
            within(LIMIT_SECONDS, partial(has_loaded, deployable, before + months), every=0.2)
            kill(deployable, service, what)
        within(LIMIT_SECONDS, partial(has_ended, deployable, before + len(year)), every=1)
        seconds.append(round(time.monotonic() - begun))

    print(f"12 months with four kills, ten times: {seconds} s")
    assert snapshots(deployable) == [month for year in YEARS for month in year]  # each once
    rows = sum(rows for year in YEARS for rows in year.values())
    assert asked(deployable, "select count(*) as n from raw.yellow_trips") == rows


@pytest.mark.slow
@takes_minutes
@pytest.mark.skipif("DAGSTER_IMAGE" in os.environ, reason="builds an image of its own")
def test_an_upgrade_loses_no_run(deployable: Project) -> None:
    """The run that is in progress ends first, and the queued one waits."""
    make(deployable, "deploy-up")
    with (deployable.root / "src" / "lakehouse" / "errors.py").open("a", encoding="utf-8") as file:
        file.write("# a newer version\n")
    compose(deployable, "build", "dagster-code")
    load(deployable, min(YEAR), max(YEAR))
    load(deployable, min(YEAR), max(YEAR))
    within(LIMIT_SECONDS, partial(has_loaded, deployable, 1), every=0.2)

    make(deployable, "deploy-up")

    newer = compose(deployable, "exec", "-T", "dagster-code", "tail", "-n", "1", "src/lakehouse/errors.py")
    assert "a newer version" in newer
    within(LIMIT_SECONDS, partial(has_ended, deployable, len(YEAR)), every=1)
    assert [run["status"] for run in runs(deployable)] == ["SUCCESS", "SUCCESS"]  # none was started again
    assert snapshots(deployable) == [*YEAR]
    known = runs(deployable)
    name = compose_name(deployable)
    assert volumes(deployable) == {f"{name}_{one}" for one in ("object-store", "postgres", "dagster", "lakehouse")}

    make(deployable, "deploy-down")
    make(deployable, "deploy-up")
    assert runs(deployable) == known


@pytest.mark.slow
@takes_minutes
def test_dagster_reaches_trino_over_tls(deployable: Project) -> None:
    run(deployable, "docs/stack.md", "Trino over TLS, with passwords")

    make(deployable, "deploy-up")

    assert "https://trino:8443" in compose(deployable, "exec", "-T", "dagster-code", "printenv", "TRINO_URL")
    query = ("lakehouse", "sql", "select count(*) as n from system.runtime.nodes", "--json")
    assert '"n": 1' in compose(deployable, "exec", "-T", "dagster-code", *query)
