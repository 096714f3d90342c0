"""A run of the suites that is killed leaves no container, no network and no volume behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound  # type: ignore[import-untyped]
from tests.integration.stack import PROJECT, Stack, docker_client, within
from tests.marks import takes_minutes

WHILE_IT_STARTS = """
import json, time
from tests.integration import stack
def before_the_first_container():
    from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID
    networks = stack.docker_client().networks.list(filters={"label": f"{LABEL_SESSION_ID}={SESSION_ID}"})
    print(json.dumps({"networks": [network.name for network in networks]}), flush=True)
    time.sleep(600)
stack.free_port = before_the_first_container
with stack.started(trino=False):
    pass
"""
WHEN_IT_IS_READY = """
import json, time
from tests.integration.stack import docker_client, started
with started(trino=False) as stack:
    inspected = [docker_client().api.inspect_container(name) for name in stack.containers.values()]
    volumes = [mount["Name"] for one in inspected for mount in one["Mounts"] if mount["Type"] == "volume"]
    print(json.dumps({"containers": list(stack.containers.values()), "networks": [stack.network], "volumes": volumes}),
          flush=True)
    time.sleep(600)
"""
# pytest with two workers: what it is told to run, and its session, by which its containers are known
PYTEST = """
import sys
from testcontainers.core.labels import SESSION_ID
print(SESSION_ID, flush=True)
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", [WHILE_IT_STARTS, WHEN_IT_IS_READY], ids=["while it starts", "when it is ready"])
def test_nothing_is_left_of_a_run_that_is_killed(running_stack: Stack, script: str) -> None:
    if not running_stack.containers:
        pytest.skip("the stack is only borrowed: nothing is started, and nothing cleared away")
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout is not None
            made = json.loads(run.stdout.readline())
            assert made["networks"]
            assert left(made) == made
        finally:
            run.kill()

    within(60, lambda: not any(left(made).values()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "until",
    [pytest.param("containers", id="while it starts"), pytest.param("tests", id="while it tests", marks=takes_minutes)],
)
def test_nothing_is_left_of_pytest_and_its_workers_when_it_is_killed(
    running_stack: Stack, until: str, tmp_path: Path
) -> None:
    if not running_stack.containers:
        pytest.skip("the stack is only borrowed: nothing is started, and nothing cleared away")
    options = ["-v", "-n", "2", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "base")]
    command = [sys.executable, "-c", PYTEST, *options, "tests/integration/test_refusals.py"]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # the workers share its stderr, which ends when the last of them has
    with subprocess.Popen(
        command, cwd=PROJECT, env=ours, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout is not None
            session = run.stdout.readline().strip()
            if until == "tests":
                assert any(line.startswith("scheduling tests") for line in run.stdout)
            within(120, lambda: len(of_session(session)["containers"]) > 3)
            made = of_session(session)
            assert made["networks"]
            assert made["volumes"]
        finally:
            run.kill()
        run.communicate(timeout=60)

    within(60, lambda: not any([*left(made).values(), *of_session(session).values()]))


def of_session(session: str) -> dict[str, list[str]]:
    """What a session of testcontainers has made, as the engine knows it; volumes by the containers that have them."""
    client = docker_client()
    ours = {"label": f"org.testcontainers.session-id={session}"}
    containers = client.containers.list(all=True, filters=ours, ignore_removed=True)
    return {
        "containers": [container.id for container in containers],
        "networks": [network.id for network in client.networks.list(filters=ours)],
        "volumes": [mount["Name"] for one in containers for mount in one.attrs["Mounts"] if mount["Type"] == "volume"],
    }


def left(made: dict[str, list[str]]) -> dict[str, list[str]]:
    """What of it the engine still has."""
    client = docker_client()
    return {kind: [name for name in names if exists(getattr(client, kind), name)] for kind, names in made.items()}


def exists(collection: Any, name: str) -> bool:
    try:
        collection.get(name)
    except NotFound:
        return False
    return True
