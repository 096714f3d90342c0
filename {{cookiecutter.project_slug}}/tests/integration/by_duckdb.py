"""Runs in the environment of others.lock: DuckDB's own iceberg extension reads versions of a table in a folder."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import duckdb


def main() -> None:
    """A request on stdin: folder, version of its metadata, snapshots (null: now), select list. Prints rows, as text."""
    request = json.load(sys.stdin)
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    for name in ("avro", "iceberg"):
        found = importlib.util.find_spec(f"duckdb_extension_{name}")
        assert found is not None
        assert found.submodule_search_locations is not None
        (package,) = found.submodule_search_locations
        (file,) = Path(package).rglob("*.duckdb_extension")
        connection.load_extension(str(file))
    table = f"'{request['folder']}', allow_moved_paths = true, version = '{request['version']}'"
    rows = []
    for snapshot in request["snapshots"]:
        version = f", snapshot_from_id = {snapshot}::ubigint" if snapshot else ""
        scan = f"iceberg_scan({table}{version})"
        rows += connection.execute(f"select {request['select']} from {scan}").fetchall()
    print(json.dumps([[str(value) for value in row] for row in rows]))


main()
