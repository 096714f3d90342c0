"""Dagster's home: the folder of its runs and logs. Its dagster.yaml is a link to deploy/dagster/dagster.yaml."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from lakehouse.errors import SettingsError
from lakehouse.settings import in_file, project_dir, variable

NAME = "dagster.yaml"
# SHA-256 of what the template wrote there before the project had the file itself.
_FORMER = frozenset(
    {
        "2eb85ff149f3b17fbb335694dbca89974a0386c2d6cd8228ad38304f889bd74d",
        "3ee9a69be6d9ec0f302e1be69e4e1969247d176d8b31eb6141e65f0bcae2df69",
    }
)


def tracked_file() -> Path:
    """The project's own file."""
    return project_dir() / "deploy" / "dagster" / NAME


def is_tracked(home: Path) -> bool:
    """Whether Dagster reads in this home what the project's file says."""
    try:
        return (home / NAME).read_bytes() == tracked_file().read_bytes()
    except OSError:
        return False


def prepare(home: Path) -> None:
    """Link to the project's file, unless the owner has put another one there. Where links can't be made, copy it.

    The project's own `.dagster` is made if it is missing. Another home that is missing was the place of the project
    once: Dagster and `lakehouse doctor` report it.

    Raises:
        OSError: the folder can't be written.
    """
    if home == project_dir() / ".dagster":
        home.mkdir(exist_ok=True)
    elif not home.is_dir():
        return
    found = home / NAME
    if found.is_file() and hashlib.sha256(found.read_bytes()).hexdigest() not in _FORMER:
        return
    found.unlink(missing_ok=True)  # what the template wrote, or a link to where the project was
    inside = home.resolve().is_relative_to(project_dir().resolve())
    try:
        found.symlink_to(os.path.relpath(tracked_file(), home.resolve()) if inside else tracked_file())
    except OSError:
        shutil.copyfile(tracked_file(), found)


def chosen() -> Path:
    """The home that DAGSTER_HOME names, in the environment or in `.env`; without it, `.dagster` in the project."""
    return Path(variable("DAGSTER_HOME") or project_dir() / ".dagster")


def fault(home: Path) -> str | None:
    """Why Dagster can't keep its runs in a home; None where it can."""
    if not home.is_absolute():
        return f"{home} is not an absolute path"
    if not os.path.exists(home):  # noqa: PTH110 - Path raises an error below a folder that may not be entered
        return f"{home} does not exist, or you may not enter its folder. The project may have been moved"
    if not home.is_dir():
        return f"{home} is no folder"
    if not os.access(home, os.W_OK | os.X_OK):
        return f"you may not write to {home}"
    return None


def way_out() -> str:
    """How to get a home that Dagster can use, by where the one that is chosen now was named."""
    expected = project_dir() / ".dagster"
    here = os.environ.get("DAGSTER_HOME")
    if here and here != in_file("DAGSTER_HOME"):
        return f"The environment names it, and wins over .env. Unset it there, or set DAGSTER_HOME={expected}."
    return f"Set DAGSTER_HOME={expected} in .env."


def ready(home: Path) -> None:
    """Make a home ready for Dagster.

    Raises:
        SettingsError: Dagster can't keep its runs there; says why, and what to do.
    """
    if home == project_dir() / ".dagster":
        with suppress(OSError):
            home.mkdir(exist_ok=True)
    if found := fault(home):
        raise SettingsError(f"DAGSTER_HOME: {found}. Nothing was started. {way_out()}")
    try:
        prepare(home)
    except OSError as error:
        raise SettingsError(
            f"{home / NAME} can't be made: {error.strerror or error}. Nothing was started. Remove what is there, and "
            "see that you may write to its folder."
        ) from error


if __name__ == "__main__":
    try:
        prepare(chosen())
    except SettingsError as error:
        sys.exit(f"error: {error}")
