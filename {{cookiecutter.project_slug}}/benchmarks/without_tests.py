"""`python -m benchmarks.without_tests ARGUMENTS`: `lakehouse`, whose builds leave dbt's tests of the data out."""

from __future__ import annotations

from functools import partial

from lakehouse.__main__ import program
from lakehouse.cli import load

if __name__ == "__main__":
    load.run_build = partial(load.run_build, data_tests=False)
    program()
