"""A command imports what it uses: the lists say which libraries each of them does without. No time is measured."""

from __future__ import annotations

import json
import subprocess

import pytest
from tests.lake import Lake

from lakehouse import children
from lakehouse.datasets.file import DatasetFile
from lakehouse.loading.load import load
from lakehouse.synthetic.generate import write_zones

# Of the other target, of Dagster and dbt, of sources and formats that are not asked for.
OTHERS = {"boto3", "botocore", "dagster", "dbt", "httpx", "openpyxl", "requests", "tenacity", "trino"}
# One process runs all commands of a row, so each list is part of the one before.
WITHOUT = (
    {
        ("--help",): {
            *("boto3", "botocore", "dagster", "dbt", "duckdb", "httpx", "openpyxl", "pandas", "pyarrow", "pydantic"),
            *("pyiceberg", "requests", "sqlalchemy", "sqlglot", "tenacity", "trino"),
            "lakehouse.datasets",  # a page of help reads no declarations but its own command's
        },
        ("load", "zones"): {*OTHERS, "duckdb", "sqlglot"},
    },
    {
        ("months",): {*OTHERS, "pandas", "sqlglot"},
        ("history", "raw.taxi_zones"): {*OTHERS, "pandas", "sqlglot"},
        ("sql", "select 1"): {*OTHERS, "pandas"},
    },
)
RUN = """
import contextlib, io, json, sys
from lakehouse.__main__ import main
found = []
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            assert not end.code, words
    rooms = {".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("lakehouse.")}
    found.append(sorted(rooms | {name.partition(".")[0] for name in sys.modules}))
print(json.dumps(found))
"""


@pytest.mark.parametrize("without", WITHOUT, ids=["loading", "asking"])
def test_a_command_imports_no_library_that_it_does_without(
    lake: Lake, without: dict[tuple[str, ...], set[str]]
) -> None:
    lake.scratch.mkdir(parents=True)
    lake.landing.put(DatasetFile("zones"), write_zones(lake.scratch / "zones.csv"), "test")
    load(lake.catalog, lake.landing, DatasetFile("zones"))

    found = imported(lake, *without)

    too_much = {
        " ".join(words): sorted(names & one) for (words, names), one in zip(without.items(), found, strict=True)
    }
    assert too_much == {words: [] for words in too_much}


def imported(lake: Lake, *commands: tuple[str, ...]) -> list[set[str]]:
    """What one process has imported after each of these commands."""
    done = subprocess.run(
        children.python("-c", RUN, json.dumps(commands)),
        env=children.environment({"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": str(lake.settings.home)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [set(names) for names in json.loads(done.stdout)]
