"""Where a load can be stopped: at the first call of each function that it comes to, some hundreds of places."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from types import FrameType
from typing import Any

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing import open_landing
from lakehouse.loading.load import load
from lakehouse.settings import Settings

OURS = ("/lakehouse/",)
ALL = (*OURS, "/pyiceberg/catalog/", "/pyiceberg/io/", "/pyiceberg/table/")


@contextmanager
def at_step(step: int, do: Callable[[], object], *, within: tuple[str, ...], threads: bool = False) -> Iterator[None]:
    """Call `do` when the `step`th new function of the packages `within` is about to run; never, if there are fewer."""
    seen: set[tuple[str, str]] = set()

    def watch(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or len(seen) >= step or not any(part in code.co_filename for part in within):
            return
        seen.add((code.co_filename, code.co_qualname))
        if len(seen) == step:
            sys.setprofile(None)
            do()

    if threads:
        threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)
        if threads:
            threading.setprofile(None)


def killed_load(settings: Settings, dataset: str, month: str, step: int) -> bool:
    """Load in a process that kills itself at a step; False if it had fewer, and ended well."""
    processes = get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    process = processes.Process(target=_load_and_die, args=(settings, dataset, month, step))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), f"the load ended with {process.exitcode}"
    return process.exitcode != 0


def _load_and_die(settings: Settings, dataset: str, month: str, step: int) -> None:
    with at_step(step, lambda: os.kill(os.getpid(), signal.SIGKILL), within=ALL, threads=True):
        load(
            open_catalog(settings), open_landing(settings), DatasetFile(dataset, Month.parse(month)), allow_shrink=True
        )
