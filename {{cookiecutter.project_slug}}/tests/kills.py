"""Commands in processes of their own that are killed at some moment, and what must hold after each kill."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.marts import MARTS

from lakehouse.iceberg.files import referenced
from lakehouse.settings import project_dir

Rows = Callable[[str], list[dict[str, Any]]]


@dataclass
class Kills:
    """A command, `lakehouse WORDS`, that is started again and again and ended by SIGKILL at moments of its run."""

    environment: Mapping[str, str]
    words: tuple[str, ...]
    chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - moments to kill at
    lasts: float = 0.0
    killed: int = 0

    def run(self) -> None:
        """Run the command to its end, which must be a good one; how long it lasts is remembered."""
        began = time.monotonic()
        with self._started() as process:
            said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said
        self.lasts = max(self.lasts, time.monotonic() - began)

    def kill(self) -> None:
        """Start the command, kill it at some moment, and wait until nothing that it started is left.

        Only the command itself is killed, as the system kills a process: its children must end by themselves.
        """
        with self._started() as process:
            time.sleep(self.chance.uniform(0.1, 1) * self.lasts)  # the moment is what is tried
            process.kill()
            process.communicate(timeout=60)
        self.killed += process.returncode != 0
        deadline = time.monotonic() + 20
        while left := list(self.living()):
            assert time.monotonic() < deadline, f"still running after its parent was killed: {left}"
            time.sleep(0.05)

    def living(self) -> Iterator[str]:
        """Processes, besides this one, that belong to this lakehouse: by the home in their environment."""
        mark = f"LAKEHOUSE_HOME={self.environment['LAKEHOUSE_HOME']}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                belongs = mark in (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has ended, or is another user's
            if belongs and command and int(folder.name) != os.getpid():
                yield f"{folder.name}: {command}"

    def _started(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "lakehouse", *self.words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=project_dir(),
            env={**os.environ, **self.environment},
        )


def gold(rows: Rows, schema: str = "gold") -> dict[str, tuple[str, ...]]:
    """All rows of each table of gold, or of what is published of it."""
    return {name: tuple(sorted(map(repr, rows(f"select * from {schema}.{name}")))) for name in MARTS}


def unknown_files(home: Path, tables: list[Any]) -> list[str]:
    """Files below a home on `embedded` that belong to no table, no landed file and no part of the project."""
    known = {Path(address.removeprefix("file://")) for table in tables for address in referenced(table)}
    own = {"catalog.db", "catalog.db-journal", "lakehouse.json", "published.json"}
    found = []
    for path in (path for path in home.rglob("*") if path.is_file()):
        top = path.relative_to(home).parts[0]
        if path in known or path.name in own or top == "dbt" or path.suffix == ".lock" or path.name == ".lock":
            continue
        if top == "landing" and not path.name.startswith(".landing-") and ".staging" not in path.parts:
            continue
        found.append(str(path.relative_to(home)))
    return found
