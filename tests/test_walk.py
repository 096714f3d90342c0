"""A stranger gets through both READMEs, in a machine with Python, make and git alone: tests/walk.py."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests import walk
from tests.conftest import takes_minutes


def engine_answers() -> bool:
    return bool(shutil.which("docker")) and subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def test_every_command_of_a_readme_that_needs_no_service_is_walked() -> None:
    walked = [command.line for way in walk.WAYS.values() for command in (*way.commands, *way.offline)]

    for readme in (walk.OURS, walk.THEIRS):
        for line in walk.lines(readme, walk.NEEDS_SERVICES):
            assert [step for step in walked if line in step], line
    assert not [line for line in walked if "trino" in line or "stack-up" in line]


@takes_minutes
@pytest.mark.parametrize("way", [way for way in walk.WAYS if way != "bare"])
def test_a_stranger_gets_through_the_readmes(way: str) -> None:
    if not engine_answers():
        pytest.skip("no Docker engine answers")

    outcomes = walk.walk(walk.WAYS[way])

    faults = {one.command.line: [*one.faults(), one.said[-2000:]] for one in outcomes if one.faults()}
    assert faults == {}
