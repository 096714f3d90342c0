"""The command line explains itself: help with examples that are right, and completion by the shell."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from lakehouse.cli import app

PROGRAM = Path(sys.executable).parent / "lakehouse"
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_ends_with_examples_that_it_understands(name: str) -> None:
    command = COMMANDS[name]
    shown = [line.removeprefix("$ ") for line in (command.epilog or "").split("\n\n") if line.startswith("$ ")]

    assert shown
    for example in shown:
        program, called, *arguments = shlex.split(example)
        assert (program, called) == ("lakehouse", name)
        command.make_context(name, arguments)  # ends the test with usage's own error if it can't be parsed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_of_a_command_says_what_it_is(name: str) -> None:
    assert COMMANDS[name].help
    assert not [parameter.name for parameter in COMMANDS[name].params if not getattr(parameter, "help", None)]


def environment(home: Path) -> dict[str, str]:
    """Of a person with a fresh home folder, whose shell finds the program."""
    return {"HOME": str(home), "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.skipif(not PROGRAM.exists(), reason="the program lakehouse is not installed beside this Python")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["lakehouse", "his"], ["history"]),
        (["lakehouse", "load", "gr"], ["green"]),
        (["lakehouse", "tree", "raw.t"], ["raw.taxi_zones"]),
        (["lakehouse", "history", "gold.fct_d"], ["gold.fct_daily_trips"]),
        (["lakehouse", "load", "--al"], ["--allow-shrink", "--allow-strays"]),
    ],
)
def test_bash_completes_commands_datasets_tables_and_options(
    tmp_path: Path, typed: list[str], offered: list[str]
) -> None:
    def bash(script: str) -> str:
        command = ["bash", "-c", f"{script}; true"]  # a second command, or bash would not stay as the parent
        return subprocess.run(
            command, env=environment(tmp_path), capture_output=True, text=True, check=True, timeout=60
        ).stdout

    bash("lakehouse --install-completion")
    words = " ".join(shlex.quote(word) for word in typed)
    asked = bash(
        f'. "$HOME/.bashrc"; COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _lakehouse_completion lakehouse; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )

    assert asked.split() == offered
