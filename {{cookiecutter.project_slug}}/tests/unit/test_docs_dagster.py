"""docs/dagster.md, executed: every command in it works as it stands, in the order given."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.dagster_project import PROJECT, Project

from lakehouse.tlc.generate import write_month, write_zones
from lakehouse.tlc.months import Month

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """The commands of a page's `sh` blocks, one a line."""
    text = (PROJECT / "docs" / page).read_text(encoding="utf-8")
    return [line for block in BLOCK.findall(text) for line in block.splitlines() if line]


@pytest.mark.slow
def test_the_commands_of_the_page_on_dagster_work(tmp_path: Path) -> None:
    published = tmp_path / "published"
    published.mkdir()
    write_zones(published / "taxi_zone_lookup.csv")
    for month in ("2024-01", "2024-02"):
        write_month(published / f"green_tripdata_{month}.parquet", "green", Month.parse(month), 400)
    project = Project(tmp_path, {"TLC_SOURCE": str(published), "LAKEHOUSE_FIRST_MONTH": "2024-01"})
    environment = project.environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    found = commands("dagster.md")
    for command in found:
        done = subprocess.run(
            ["sh", "-c", command], cwd=project.root, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    assert len(found) >= 8
    assert (project.root / "reports" / "snapshots.html").exists()
