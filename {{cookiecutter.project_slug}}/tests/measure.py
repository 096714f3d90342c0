"""`python -m tests.measure COMMAND…`: run a command, and report which branches of src/lakehouse no process of it took.

Each Python process of this environment is measured meanwhile, also one that is given another environment: most of what
is tested runs in processes of its own. One that is killed leaves nothing behind.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

from coverage import Coverage

PROJECT = Path(__file__).resolve().parents[1]
CONFIG = PROJECT / "pyproject.toml"
DATA = PROJECT / "build" / "coverage" / "data"
TIMES = DATA.with_name("tests.xml")  # which tests there are, and their seconds
# Python runs it when it starts. The variables are for this line alone: tests look at what a process is given.
START = (
    f"import os, coverage; os.environ.update(COVERAGE_PROCESS_START={str(CONFIG)!r}, COVERAGE_FILE={str(DATA)!r}); "
    "coverage.process_startup(); [os.environ.pop(name) for name in ('COVERAGE_PROCESS_START', 'COVERAGE_FILE')]\n"
)


def main(command: list[str]) -> int:
    """Give the command's own code, or 2 if too few branches were taken."""
    DATA.parent.mkdir(parents=True, exist_ok=True)
    for old in DATA.parent.iterdir():
        old.unlink()
    start = Path(sysconfig.get_path("purelib")) / "a0_measure.pth"  # before lakehouse.pth, by its name
    start.write_text(START, "utf-8")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take the line away again
    try:
        code = subprocess.call(command, cwd=PROJECT)
    finally:
        start.unlink()
    measured = Coverage(data_file=str(DATA), config_file=str(CONFIG))
    measured.combine()
    measured.save()
    total = measured.report()
    return code or (2 if total < float(str(measured.get_option("report:fail_under"))) else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
