"""Loads in processes of their own, to be killed or to be started all at once.

As a program, `python -m tests.loads DATASET MONTH`: it says `ready` once all is imported, starts when it is given a
line, and says what it did. Settings come from the environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.errors import LakehouseError
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing import open_landing
from lakehouse.loading.load import load
from lakehouse.settings import load_settings, project_dir


@contextmanager
def loading_process(environment: Mapping[str, str], dataset: str, month: str) -> Iterator[subprocess.Popen[str]]:
    """A process about to load with these settings, everything imported; see `start`."""
    root = project_dir()
    paths = {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.loads", dataset, month],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, **environment, **paths},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@contextmanager
def landing_process(environment: Mapping[str, str], dataset: str, month: str) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of fetching this month from a folder: the first bytes are staged, and it stands still."""
    root = project_dir()
    paths = {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    with subprocess.Popen(
        [sys.executable, "-c", _LANDING, dataset, month],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, **environment, **paths},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "fetching\n"
        try:
            yield process
        finally:
            process.kill()


_LANDING = """
import sys
from lakehouse.landing import open_landing
from lakehouse.landing.land import land
from lakehouse.settings import load_settings
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month

def stand_still(done, total):
    print("fetching", flush=True)
    sys.stdin.read()

settings = load_settings()
file = DatasetFile(sys.argv[1], Month.parse(sys.argv[2]))
land(open_landing(settings), settings.tlc_source, file, progress=stand_still)
"""


def start(process: subprocess.Popen[str]) -> None:
    """Let it load."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def at_once(environment: Mapping[str, str], loads: Sequence[tuple[str, str]]) -> list[str]:
    """Start all at the same moment; what each said, in order: what it did, or the plain reason."""

    def run(one: tuple[str, str]) -> str:
        with loading_process(environment, *one) as process:
            waiting.append(process)
            while len(waiting) < len(loads):
                time.sleep(0.01)
            said, _ = process.communicate("go\n", timeout=300)
            return said.strip()

    waiting: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(len(loads)) as pool:
        return list(pool.map(run, loads))


def main() -> None:
    dataset, month = sys.argv[1:]
    settings = load_settings()
    catalog, landing = open_catalog(settings), open_landing(settings)
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        result = load(catalog, landing, DatasetFile(dataset, Month.parse(month)))
    except LakehouseError as error:
        print(f"refused {error}", flush=True)
        sys.exit(1)
    print(result.action, flush=True)


if __name__ == "__main__":
    main()
