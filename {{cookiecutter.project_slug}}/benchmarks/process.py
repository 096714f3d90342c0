"""A process that measures one task: what it took, and a lakehouse of its own."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lakehouse.iceberg.catalog import open_catalog
from lakehouse.iceberg.tables import ensure_raw_tables
from lakehouse.settings import Settings

measured: dict[str, float] = {}


@contextmanager
def timed() -> Iterator[None]:
    """Count what happens inside."""
    began, used = time.perf_counter(), time.process_time()
    yield
    measured["seconds"] = time.perf_counter() - began
    measured["cpu"] = time.process_time() - used


def lake_in(folder: Path) -> Settings:
    """An embedded lakehouse of the benchmark's own."""
    return Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=folder)


def fresh(folder: Path) -> Settings:
    """The same, emptied, with its tables made."""
    shutil.rmtree(folder, ignore_errors=True)
    settings = lake_in(folder)
    ensure_raw_tables(open_catalog(settings))
    return settings


def peak_mb(whose: int) -> float:
    """The peak memory of this process, or of the largest one that it started, in MB."""
    return resource.getrusage(whose).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def run(home: Path, *words: str) -> None:
    """Count a whole Python process, from its start to its end, with the processes that it starts."""
    environment = os.environ | {"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": str(home)}
    # Without its files, our own modules would be compiled each time, and those of the libraries not.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(  # noqa: S603 - our own words
        [sys.executable, *words], env=environment, stdout=subprocess.DEVNULL, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    measured["seconds"] = time.perf_counter() - began
    measured["cpu"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    measured["peak_mb"] = peak_mb(resource.RUSAGE_CHILDREN)
