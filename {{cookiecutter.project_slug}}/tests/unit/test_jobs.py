"""`lakehouse load --jobs`: the same tables, lines and exit codes as one after another, and no process that stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.kills import Kills, unknown_files
from tests.lake import Lake
from tests.waiting import until

from lakehouse.settings import Settings, project_dir

GREEN = "raw.green_trips"
# The first month is the largest, so that the others are ready long before their turn.
ROWS = {"2024-01": 60_000, "2024-02": 300, "2024-03": 200, "2024-04": 100}
SPAN = "2024-01..2024-04"
# A checksum of all columns of all rows, also of their places in the file.
ALL = f"select file_month, count(*) as n, sum(hash(t)::hugeint)::text as h from {GREEN} as t group by 1 order by 1"
OTHERWISE = ("snapshot_id", "seconds")  # what no two loads have in common
LIMIT_SECONDS = 120
in_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")

pytestmark = pytest.mark.slow


@pytest.fixture
def published(tmp_path: Path, lake: Lake) -> Path:
    """A folder of four months."""
    folder = tmp_path / "published"
    folder.mkdir()
    for month, rows in ROWS.items():
        file = lake.generate("green", month, rows, seed=int(month[-1]))
        file.rename(folder / file.name)
    return folder


def lake_of(tmp_path: Path, name: str) -> Lake:
    return Lake(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / name), tmp_path / f"{name}-scratch")


def environment_of(lake: Lake, published: Path) -> dict[str, str]:
    own = {"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": str(lake.settings.home), "TLC_SOURCE": str(published)}
    return {**os.environ, **own}


def command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "lakehouse", "load", "green", *words]


def run(lake: Lake, published: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        env=environment_of(lake, published),
        cwd=project_dir(),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@contextmanager
def started(lake: Lake, published: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a terminal starts it: in a process group of its own."""
    with subprocess.Popen(
        # A shell starts background jobs with interrupts ignored, and children keep that.
        ["env", "--default-signal=INT", *command(*words)],
        env=environment_of(lake, published),
        cwd=project_dir(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(done: subprocess.CompletedProcess[str]) -> tuple[int, list[dict[str, Any]], str]:
    values = json.loads(done.stdout) if done.stdout else []
    same = [{key: value for key, value in one.items() if key not in OTHERWISE} for one in values]
    return done.returncode, same, done.stderr


def data_files(lake: Lake) -> list[Path]:
    return sorted((lake.settings.warehouse_dir / "raw" / "green_trips").rglob("*.parquet"))


def left_behind(lake: Lake) -> list[str]:
    """Files of no table, but for the metadata of a table that two workers made at the same moment."""
    catalog = lake.catalog
    names = [".".join(name) for space in catalog.list_namespaces() for name in catalog.list_tables(space)]
    found = unknown_files(lake.settings.home, [lake.table(name) for name in names])
    return [file for file in found if "/metadata/00000-" not in file]


def workers_of(pid: int) -> list[int]:
    """The processes that load for this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        if parent == pid and b"spawn_main" in words:
            found.append(int(folder.name))
    return found


def test_at_once_makes_what_one_after_another_makes(tmp_path: Path, published: Path) -> None:
    alone, together = lake_of(tmp_path, "alone"), lake_of(tmp_path, "together")

    one = run(alone, published, SPAN, "--json")
    two = run(together, published, SPAN, "--json", "--jobs", "3")
    again = run(together, published, SPAN, "--json", "--jobs", "3")

    assert said(two) == said(one)
    assert two.returncode == 0
    assert together.rows(ALL) == alone.rows(ALL)
    months = [(str(row.file_month), row.added_rows) for row in together.history(GREEN)]
    assert months == list(ROWS.items())
    assert len(data_files(together)) == len(ROWS)
    assert [one["action"] for one in json.loads(again.stdout)] == ["unchanged"] * len(ROWS)
    assert left_behind(together) == []


def test_a_refusal_in_the_middle_ends_the_command(tmp_path: Path, published: Path) -> None:
    alone, together = lake_of(tmp_path, "alone"), lake_of(tmp_path, "together")
    (published / "green_tripdata_2024-03.parquet").write_bytes(b"PAR1 this is no parquet file PAR1")

    one = run(alone, published, SPAN, "--json")
    two = run(together, published, SPAN, "--json", "--jobs", "4")

    assert said(two) == said(one)
    assert two.returncode == 1
    assert "green_tripdata_2024-03.parquet" in two.stderr
    assert "Traceback" not in two.stderr
    assert [str(row.file_month) for row in together.history(GREEN)] == ["2024-01", "2024-02"]
    assert left_behind(together) == []


def test_a_month_refused_before_its_turn_is_tried_at_its_turn(tmp_path: Path, lake: Lake, published: Path) -> None:
    february = published / "green_tripdata_2024-02.parquet"
    lake.land("green", "2024-01", february)
    lake.load("green", "2024-01", allow_strays=True, allow_shrink=True)

    done = run(lake, published, "2024-01", "2024-02", "--refresh", "--json", "--jobs", "2")

    assert done.returncode == 0, done.stderr
    assert [(str(row.file_month), row.added_rows) for row in lake.history(GREEN)][1:] == list(ROWS.items())[:2]


@in_proc
def test_an_interrupt_ends_all_processes_and_leaves_nothing(lake: Lake, published: Path) -> None:
    with started(lake, published, SPAN, "--jobs", "2") as process:
        until(lambda: data_files(lake) or process.poll() is not None, LIMIT_SECONDS)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT_SECONDS)

    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert list(Kills(environment_of(lake, published), ()).living()) == []
    assert left_behind(lake) == []
    loaded = [str(row.file_month) for row in lake.history(GREEN)]
    assert loaded == list(ROWS)[: len(loaded)]
    assert len(loaded) < len(ROWS)


@in_proc
def test_a_killed_worker_is_an_error_and_the_others_end(lake: Lake, published: Path) -> None:
    with started(lake, published, SPAN, "--jobs", "2") as process:
        until(lambda: len(workers_of(process.pid)) == 2 or process.poll() is not None, LIMIT_SECONDS)
        os.kill(min(workers_of(process.pid)), signal.SIGKILL)
        _, err = process.communicate(timeout=LIMIT_SECONDS)

    assert process.returncode == 1
    assert "error: The process that lands and loads green 2024-0" in err
    assert "was ended by signal 9" in err
    assert list(Kills(environment_of(lake, published), ()).living()) == []
    assert run(lake, published, SPAN, "--jobs", "2").returncode == 0
    assert [str(row.file_month) for row in lake.history(GREEN)] == list(ROWS)
