"""`dagster dev` in a fresh bake: no argument, no warning, a page that answers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import BakedProject, Template

# Of waiting, not of working: it starts in some ten seconds on an idle machine, and CI is not always idle.
LIMIT = 300


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(port: int, query: str) -> dict[str, object]:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        data: dict[str, object] = json.load(answer)["data"]
        return data


def wait_for_page(process: subprocess.Popen[bytes], port: int, log: Path) -> dict[str, object]:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return ask(port, "{ assetNodes { assetKey { path } groupName } }")
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"dagster dev did not answer within {LIMIT} s\n{log.read_text()}", pytrace=False)


@pytest.mark.skipif(os.name != "posix", reason="ends the server by a POSIX signal")
@pytest.mark.parametrize("command", ["dagster dev --port {port}", "make dev DAGSTER_PORT={port}"])
def test_dagster_dev_starts_without_an_argument_and_without_a_warning(
    template: Template, installed: BakedProject, tmp_path: Path, command: str
) -> None:
    project = installed if command.startswith("make") else template.bake(tmp_path)
    if project is not installed:
        (project.path / ".venv").symlink_to(installed.path / ".venv")
    port, log = free_port(), tmp_path / "log"

    with log.open("wb") as out:
        process = subprocess.Popen(
            # A shell starts background jobs with these signals ignored, and Dagster's children would keep that.
            ["env", "--default-signal=INT,QUIT,TERM", *command.format(port=port).split()],
            cwd=project.path,
            env=project.environment(DAGSTER_PORT=str(port), PYTHONPATH=str(project.path / "src")),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            answer = wait_for_page(process, port, log)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)

    # `dagster dev` itself recommends `dg dev`, in every project; `make dev` starts that.
    text = re.sub(r".*Use 'dg dev' instead\.\n.*\n", "", log.read_text())
    # Once in a new home: the daemon that starts runs again says that it looks at what comes from now on.
    text = re.sub(r".*EventLogConsumerDaemon.*No cursor for event type .*\n", "", text)
    assert not re.search(r"warn|deprecat|telemetry|Traceback|ERROR", text, re.IGNORECASE), text
    nodes = answer["assetNodes"]
    assert isinstance(nodes, list)
    assert {"landing", "bronze", "silver", "gold", "reports"} <= {node["groupName"] for node in nodes}
    assert (project.path / ".dagster" / "storage").is_dir() or (project.path / ".dagster" / "history").is_dir()
