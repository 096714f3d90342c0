"""A short process ends at once: with its exit code, all that it wrote, and after what was registered for its end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lakehouse import children

BEGINNING = "import atexit, gc, sys, tempfile, threading, time\nfrom lakehouse.short_process import run_short\n"
# What is taken apart at the end of an interpreter says so.
WATCHED = "class Watched:\n    def __del__(self):\n        print('taken apart', flush=True)\n\nwatched = Watched()\n"


def run(program: str, *, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        children.python("-c", BEGINNING + program),
        env=children.environment({}),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("run_short(lambda: None)", 0),
        ("run_short(sys.exit)", 0),
        ("run_short(lambda: sys.exit(2))", 2),
        ("run_short(lambda: sys.exit('refused'))", 1),
        ("run_short(lambda: 1 / 0)", 1),
    ],
)
def test_the_exit_code_is_the_program_s(program: str, code: int) -> None:
    done = run(program)

    assert done.returncode == code
    assert ("refused" in done.stderr) == ("refused" in program)
    assert ("ZeroDivisionError" in done.stderr) == ("1 / 0" in program)


def test_nothing_is_taken_apart_and_all_that_was_written_is_there() -> None:
    """The same without it: the object is taken apart, so the test would see it."""
    assert run(f"{WATCHED}print('x' * 100_000)").stdout == "x" * 100_000 + "\ntaken apart\n"

    assert run(f"{WATCHED}run_short(lambda: print('x' * 100_000))").stdout == "x" * 100_000 + "\n"


def test_threads_and_what_is_registered_for_the_end_come_first(tmp_path: Path) -> None:
    """So scratch folders are removed."""
    program = f"""
def late():
    time.sleep(0.3)
    print('the thread is done')

def program():
    global folder
    folder = tempfile.TemporaryDirectory(dir={str(tmp_path)!r})
    threading.Thread(target=late).start()
    atexit.register(print, 'registered')
    sys.exit(3)

run_short(program)
"""
    done = run(program)

    assert (done.returncode, done.stdout) == (3, "the thread is done\nregistered\n")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_gone_is_said_as_python_says_it() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    try:
        done = run("run_short(lambda: print('x'))", stdout=writes)
    finally:
        os.close(writes)

    assert done.returncode == 120
    assert "BrokenPipeError" in done.stderr


def test_garbage_is_looked_for_rarely() -> None:
    assert run("run_short(lambda: print(gc.get_threshold()[0]))").stdout == "100000\n"
