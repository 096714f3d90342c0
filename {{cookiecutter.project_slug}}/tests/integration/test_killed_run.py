"""A run of the suites that is killed leaves no container, no network and no volume behind."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from docker.errors import NotFound  # type: ignore[import-untyped]
from tests.integration.stack import PROJECT, Stack, docker_client, within

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
