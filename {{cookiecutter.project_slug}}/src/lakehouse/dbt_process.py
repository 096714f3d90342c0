"""dbt in a process that ends with the one that started it, and that holds the lock of a build for as long as it lives.

`python -m lakehouse.dbt_process ARGUMENTS`, or the program `lakehouse-dbt`, take dbt's own arguments. The process that
starts a build gives two variables: `LAKEHOUSE_DBT_PARENT`, the process to end with, and `LAKEHOUSE_DBT_LOCK`, the lock
file. A lock of the parent's would be free once the parent is killed, while dbt still writes.

`python -m lakehouse.dbt_process --later TARGET_PATH PARSED OPTIONS` waits for its arguments, and imports dbt and parses
the project meanwhile: see dbt_start.py. The file PARSED keeps what dbt has parsed, for lakehouses that are new.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import shutil
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue

from lakehouse.errors import LockedError
from lakehouse.locks import held
from lakehouse.short_process import run_short

PARENT, LOCK = "LAKEHOUSE_DBT_PARENT", "LAKEHOUSE_DBT_LOCK"
LATER = "--later"
WHAT = "dbt's run in this lakehouse"
_LOOK_SECONDS = 0.25
_LOCK_SECONDS = 20.0  # a dbt whose parent was killed just now ends within a moment
_PARSED = "partial_parse.msgpack"  # dbt's name
_ENGINE = "lakehouse.dbt_duckdb.plugin"


def program() -> None:
    """Run dbt with the arguments of this process, and end the process with its exit code."""
    run_short(main)


def main() -> None:
    """Run dbt with the arguments of this process; its exit code is this process's."""
    if parent := os.environ.pop(PARENT, ""):
        threading.Thread(target=_end_with, args=(int(parent),), name="end-with-parent", daemon=True).start()
    until_the_end = ExitStack()
    atexit.register(until_the_end.close)  # a thread of dbt's may write until then
    ahead = None
    if sys.argv[1:2] == [LATER]:
        ahead = Ahead(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:], until_the_end)
        _until_told(ahead)
    file = os.environ.pop(LOCK, "")
    if file and "--version" not in sys.argv:
        try:
            until_the_end.enter_context(held(Path(file), WHAT, wait=_LOCK_SECONDS))
        except LockedError as error:
            sys.exit(f"error: {error}")
    if ahead:
        ahead.give()
    from dbt.cli.main import cli  # noqa: PLC0415 - slow to import: the parent is watched meanwhile

    sys.argv[0] = "dbt"
    try:
        cli()
    finally:
        if ahead:
            ahead.keep()


def _until_told(ahead: Ahead) -> None:
    """Import dbt, and parse the project if there is time. Then take arguments and environment as this process's own.

    They come as a line of JSON. Without one, nobody wants this dbt any more, and the process ends.
    """
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=lambda: lines.put(sys.stdin.readline()), name="told", daemon=True).start()
    importlib.import_module("dbt.cli.main")
    if lines.empty():
        with suppress(Exception):  # what fails here is said when dbt runs
            ahead.parse()
    line = lines.get()
    if not line.endswith("\n"):
        sys.exit()
    told = json.loads(line)
    sys.argv[1:] = told["arguments"]
    os.environ.clear()
    os.environ.update(told["environment"])
    os.environ.pop(PARENT)


class Ahead:
    """What dbt has parsed of the project, before it gets its arguments or in another lakehouse of the same project.

    dbt compares it with the files when it begins, and parses again what has changed since. So a copy that is old, or
    half, costs time and no more.
    """

    def __init__(self, target_path: Path, kept: Path, options: list[str], until_the_end: ExitStack) -> None:
        self._wanted = target_path / _PARSED
        self._kept = kept
        self._options = options
        self._folder = target_path / "ahead"  # of its own: another dbt may build meanwhile
        self._lock = held(target_path / "ahead.lock", "A dbt that waits")
        self._until_the_end = until_the_end
        self._is_parsed = False

    def parse(self) -> None:
        """Parse, if no other dbt waits, and import what writes models on `embedded`.

        Raises:
            LockedError, OSError: nothing was parsed.
        """
        from dbt.cli.main import dbtRunner  # noqa: PLC0415 - see main

        self._folder.mkdir(parents=True, exist_ok=True)
        self._until_the_end.enter_context(self._lock)
        (self._folder / _PARSED).unlink(missing_ok=True)
        known = [file for file in (self._wanted, self._kept) if file.exists()]
        words = ["--log-level", "none", "--log-level-file", "none", "--no-write-json"]
        words += ["--partial-parse-file-path", str(known[0])] if known else []
        words += ["parse", "--target-path", str(self._folder), *self._options]
        self._is_parsed = dbtRunner().invoke(words).success
        if "embedded" in self._options:
            importlib.import_module(_ENGINE)

    def give(self) -> None:
        """Put it where dbt looks for it."""
        with suppress(OSError):
            if self._is_parsed and (self._folder / _PARSED).exists():  # else nothing was new
                (self._folder / _PARSED).replace(self._wanted)
            elif not self._wanted.exists():
                shutil.copyfile(self._kept, self._wanted)

    def keep(self) -> None:
        """Keep what this dbt has parsed, for other lakehouses of this project. A folder may be read-only."""
        with suppress(OSError):
            if not self._kept.exists() or self._kept.stat().st_mtime_ns < self._wanted.stat().st_mtime_ns:
                self._kept.parent.mkdir(exist_ok=True)
                half = self._kept.with_suffix(f".{os.getpid()}")
                try:
                    shutil.copyfile(self._wanted, half)
                    half.replace(self._kept)
                finally:
                    half.unlink(missing_ok=True)


def _end_with(parent: int) -> None:
    """End this process, in the middle of whatever it does, once its parent is gone: every commit is whole or not made.

    The parent's id changes when it ends, on every system but Windows.
    """
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    program()
