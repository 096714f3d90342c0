"""Other engines read these tables, now and as of older snapshots, with equal sums.

DuckDB's own iceberg extension has no build for the DuckDB that this project uses: LAKEHOUSE_OTHERS_PYTHON names
a Python with `duckdb==1.5.5 duckdb-extension-iceberg duckdb-extension-avro`; without it the test skips and says so.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.integration.lake import GREEN, Lake

OTHERS = os.environ.get("LAKEHOUSE_OTHERS_PYTHON")
SUMS = "count(*), sum(file_row), sum(cast(total_amount as decimal(18,2)))"
READ = """
import importlib.util, json, pathlib, sys
import duckdb
folder, version, *snapshots = sys.argv[1:]
connection = duckdb.connect(config={"autoinstall_known_extensions": False})
for name in ("avro", "iceberg"):
    (package,) = importlib.util.find_spec(f"duckdb_extension_{name}").submodule_search_locations
    (file,) = pathlib.Path(package).rglob("*.duckdb_extension")
    connection.load_extension(str(file))
for snapshot in snapshots:
    found = connection.sql(
        "select SUMS from iceberg_scan("
        f"'{folder}', allow_moved_paths = true, version = '{version}', snapshot_from_id = {snapshot}::ubigint)"
    ).fetchone()
    print(json.dumps([str(value) for value in found]))
""".replace("SUMS", SUMS)


@pytest.mark.skipif(not OTHERS, reason="LAKEHOUSE_OTHERS_PYTHON names no Python with DuckDB 1.5 and its extensions")
def test_duckdbs_own_iceberg_extension_reads_every_version_with_equal_sums(lake: Lake, tmp_path: Path) -> None:
    for month, rows, seed in (("2023-01", 500, 0), ("2023-02", 400, 0), ("2023-01", 450, 1)):
        lake.load("green", month, rows, seed)
    snapshots = [str(s.snapshot_id) for s in lake.engine.snapshots(GREEN)]
    for key in lake.keys("iceberg/raw/green_trips/"):
        copy = tmp_path / key
        copy.parent.mkdir(parents=True, exist_ok=True)
        lake.s3.download_file("warehouse", key, str(copy))
    metadata = lake.catalog.load_table(GREEN).metadata_location.rsplit("/", 1)[1]

    assert OTHERS is not None
    table = str(tmp_path / "iceberg" / "raw" / "green_trips")
    command = [OTHERS, "-c", READ, table, metadata.removesuffix(".metadata.json"), *snapshots]
    said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    assert said.returncode == 0, said.stderr
    theirs = [tuple(json.loads(line)) for line in said.stdout.splitlines()]
    ours = [tuple(map(str, lake.sql(f"select {SUMS} from {GREEN}", as_of=f"{GREEN}@{s}")[0])) for s in snapshots]
    assert len(theirs) == 3
    assert theirs == ours
