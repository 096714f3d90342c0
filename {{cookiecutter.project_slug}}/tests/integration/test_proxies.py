"""A proxy in the environment gets no request for services on this machine: of PyIceberg, boto3, Trino, dbt."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing

from tests.integration.lake import Lake
from tests.recorder import PROXIES, Recorder

from lakehouse.settings import project_dir


def test_no_request_to_this_machine_takes_the_proxy(lake: Lake) -> None:
    lake.load("zones", None)
    lake.land("green", "2023-01", 200)
    with closing(Recorder()) as proxy:
        environment = {
            **os.environ,
            **lake.stack.environment,
            "LAKEHOUSE_HOME": str(lake.settings.home),
            **dict.fromkeys(PROXIES, proxy.url),
            "NO_PROXY": "",
            "no_proxy": "",
        }
        for words in (
            ("load", "green", "2023-01"),
            ("build", "--select", "stg_green_trips"),
            ("sql", "select count(*) from silver.stg_green_trips", "--json"),
            ("doctor",),
        ):
            done = subprocess.run(
                [sys.executable, "-P", "-m", "lakehouse", *words],
                env=environment,
                cwd=project_dir(),
                capture_output=True,
                text=True,
                check=False,
            )
            said = done.stdout + done.stderr
            # The doctor asks the publisher too, who is not on this machine.
            assert done.returncode == 0 or words == ("doctor",), said
            assert "no service answers" not in said
        assert [line for line in proxy.asked if "127.0.0.1" in line or "localhost" in line] == []
