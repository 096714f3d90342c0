"""docs/iceberg.md, run from top to bottom as a reader would: every command works, and says what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.lake import Lake

from lakehouse.settings import project_dir
from lakehouse.tlc.generate import write_zones


def commands_of(page: Path) -> str:
    """The page's shell blocks, as one script that stops at the first failure and says which question it is at."""
    script = ["set -eu"]
    for heading, block in re.findall(r"^#+ ([^\n]+)$|^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        script.append(f"echo '## {heading.replace(chr(39), '')}'" if heading else block)
    return "\n".join(script)


@pytest.mark.slow
def test_every_command_of_the_page_runs(lake: Lake, tmp_path: Path) -> None:
    lake.generate("green", "2024-01", 800)
    lake.generate("green", "2024-02", 600)
    write_zones(lake.scratch / "taxi_zone_lookup.csv")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, command in {"lakehouse": f"{sys.executable} -m lakehouse", "python": sys.executable}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project_dir() / "src"),
        "LAKEHOUSE_HOME": str(lake.settings.home),
        "TLC_SOURCE": str(lake.scratch),
    }

    done = subprocess.run(
        ["bash", "-c", commands_of(project_dir() / "docs" / "iceberg.md")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    said = dict(part.split("\n", 1) for part in done.stdout.split("## ")[1:])
    assert "800" in said["2. How many rows were there before the last load?"]
    assert "800 trips, then 1,400" in said["7. How do I compare two states in one go?"]
    assert said["8. How do I undo a load?"].count("is at snapshot") == 2
    assert said["9. How do I keep a state?"].count("800") >= 2
    assert "1,400" in said["10. How do readers see only what was checked?"]
