"""dbt in a process that ends with the one that started it, and that holds the lock of a build for as long as it lives.

`python -m lakehouse.dbt_process ARGUMENTS`, or the program `lakehouse-dbt`, take dbt's own arguments. The process that
starts a build gives two variables: `LAKEHOUSE_DBT_PARENT`, the process to end with, and `LAKEHOUSE_DBT_LOCK`, the lock
file. A lock of the parent's would be free once the parent is killed, while dbt still writes.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from lakehouse.errors import LockedError
from lakehouse.locks import Lock

PARENT, LOCK = "LAKEHOUSE_DBT_PARENT", "LAKEHOUSE_DBT_LOCK"
WHAT = "dbt's run in this lakehouse"
_LOOK_SECONDS = 0.25
_LOCK_SECONDS = 20.0  # a dbt whose parent was killed just now ends within a moment


def main() -> None:
    """Run dbt with the arguments of this process; its exit code is this process's."""
    parent = os.environ.pop(PARENT, "")
    if parent:
        threading.Thread(target=_end_with, args=(int(parent),), name="end-with-parent", daemon=True).start()
    file = os.environ.pop(LOCK, "")
    if file and "--version" not in sys.argv:
        try:
            lock = Lock(Path(file), WHAT)  # this name keeps it until the process ends: a soft lock goes with its object
            lock.acquire(_LOCK_SECONDS)
        except LockedError as error:
            sys.exit(f"error: {error}")
    from dbt.cli.main import cli  # noqa: PLC0415 - slow to import: the parent is watched meanwhile

    sys.argv[0] = "dbt"
    cli()


def _end_with(parent: int) -> None:
    """End this process, in the middle of whatever it does, once its parent is gone: every commit is whole or not made.

    The parent's id changes when it ends, on every system but Windows.
    """
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
