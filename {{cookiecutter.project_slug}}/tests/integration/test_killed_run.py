"""A run of the suites that is killed leaves no container, no network and no volume behind."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from docker.errors import NotFound  # type: ignore[import-untyped]
from tests.integration.stack import PROJECT, Stack, docker_client, within

RUN = """
import json, time
from tests.integration.stack import docker_client, started
with started(trino=False) as stack:
    inspected = [docker_client().api.inspect_container(name) for name in stack.containers.values()]
    volumes = [mount["Name"] for one in inspected for mount in one["Mounts"] if mount["Type"] == "volume"]
    print(json.dumps({"containers": list(stack.containers.values()), "networks": [stack.network], "volumes": volumes}))
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_nothing_is_left_of_a_run_that_is_killed(running_stack: Stack) -> None:
    if not running_stack.containers:
        pytest.skip("the stack is only borrowed: nothing is started, and nothing cleared away")
    with subprocess.Popen([sys.executable, "-c", RUN], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        made = json.loads(run.stdout.readline())
        assert run.stdout.readline() == "ready\n"
        assert left(made) == made

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
