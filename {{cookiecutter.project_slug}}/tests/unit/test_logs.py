"""What a command prints of the log: its own warnings, and nothing of a library's."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.lake import Lake

from lakehouse.settings import project_dir

LOGS = """
import logging, warnings
from lakehouse.cli.logs import show_own_only
show_own_only()
show_own_only()
for name in ("pyiceberg.table", "botocore.credentials", "urllib3.connectionpool", "trino.client", "tenacity"):
    logging.getLogger(name).error("a library's line")
warnings.warn("a library's warning")
logging.getLogger("lakehouse.locks").warning("for [whom] it waits")
logging.getLogger("lakehouse.locks").info("not for everybody")
"""


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(project_dir() / "src"), **environment},
    )


def test_only_our_own_warnings_are_shown_and_once() -> None:
    done = run("-c", LOGS)

    assert (done.returncode, done.stderr) == (0, "warning: for [whom] it waits\n")


@pytest.mark.slow
def test_loads_at_once_that_all_succeed_say_nothing_on_stderr(lake: Lake) -> None:
    months = [f"2024-{month:02}" for month in range(1, 9)]
    for month in months:
        lake.land("green", month, lake.generate("green", month, 500))
    settings = {"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": str(lake.settings.home)}

    with ThreadPoolExecutor(len(months)) as pool:
        done = list(pool.map(lambda month: run("-m", "lakehouse", "load", "green", month, **settings), months))

    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * len(months)
