"""Others read these tables, now and as of older versions, with equal sums: DuckDB's extension, Spark, Trino's CLI."""

from __future__ import annotations

import json
import re
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from tests.integration import others
from tests.integration.lake import GREEN, Lake
from tests.integration.stack import PROJECT

from lakehouse.engines import Snapshot
from lakehouse.transform import build

SUMS = "count(*), sum(file_row), sum(cast(total_amount as decimal(18,2)))"
Rows = list[list[str]]


@pytest.fixture
def versions(lake: Lake) -> list[Snapshot]:
    """Two months, and the first of them restated: three snapshots."""
    for month, rows, seed in (("2023-01", 500, 0), ("2023-02", 400, 0), ("2023-01", 450, 1)):
        lake.load("green", month, rows, seed)
    return lake.engine.timeline(GREEN).snapshots


def ours(lake: Lake, *wanted: int | None) -> Rows:
    """The sums of versions, or of what is current, as Trino reads them."""
    as_of = [None if one is None else f"{GREEN}@{one}" for one in wanted]
    return [[str(value) for value in lake.sql(f"select {SUMS} from {GREEN}", as_of=one)[0]] for one in as_of]


def test_duckdbs_own_iceberg_extension_reads_every_version(
    lake: Lake, versions: list[Snapshot], tmp_path: Path
) -> None:
    environment = others.environment()
    for key in lake.keys("iceberg/raw/green_trips/"):
        copy = tmp_path / key
        copy.parent.mkdir(parents=True, exist_ok=True)
        lake.s3.download_file("warehouse", key, str(copy))
    metadata = lake.catalog.load_table(GREEN).metadata_location.rsplit("/", 1)[1]
    snapshots = [None, *(version.snapshot_id for version in versions)]

    theirs = environment.run(
        "by_duckdb.py",
        {
            "folder": str(tmp_path / "iceberg" / "raw" / "green_trips"),
            "version": metadata.removesuffix(".metadata.json"),
            "snapshots": snapshots,
            "select": SUMS,
        },
    )

    assert len({tuple(row) for row in theirs}) == 3
    assert theirs == ours(lake, *snapshots)


@pytest.mark.slow
def test_spark_reads_every_version_by_id_and_by_time_with_equal_sums(lake: Lake, versions: list[Snapshot]) -> None:
    environment, java_home = others.with_spark()
    lake.sql(f"delete from {GREEN} where file_row % 7 = 0")  # by Trino: leaves delete files
    snapshots = lake.engine.timeline(GREEN).snapshots
    times = [f"{s.committed_at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}" for s in snapshots]
    table = f"select {SUMS} from lake.{GREEN}"

    theirs = environment.run(
        "by_spark.py",
        {
            "jars": [str(environment.jars / name) for name in others.JARS],
            "rest_url": lake.settings.rest_url,
            "s3_url": lake.settings.s3_url,
            "s3_region": lake.settings.s3_region,
            "queries": [
                table,
                *(f"{table} version as of {s.snapshot_id}" for s in snapshots),
                *(f"{table} timestamp as of '{time}'" for time in times),
            ],
        },
        JAVA_HOME=java_home,
        S3_ACCESS_KEY=lake.settings.s3_access_key,
        S3_SECRET_KEY=lake.settings.s3_secret_key.get_secret_value(),
    )

    expected = ours(lake, *(s.snapshot_id for s in snapshots))
    assert len(versions) + 1 == len(snapshots) == 4
    assert len({tuple(row) for row in expected}) == 4
    assert theirs == [expected[-1], *expected, *expected]


@pytest.mark.slow
def test_trinos_own_client_answers_readmes_queries_as_the_project_does(lake: Lake) -> None:
    readme = (PROJECT / "README.md").read_text("utf-8")
    for_the_client = re.findall(r"trino --execute '([^']+)'", readme)
    for_the_project = re.findall(r'^lakehouse sql "([^"]+)"$', readme, re.MULTILINE)
    lake.load("zones", None)
    lake.load("yellow", "2024-01", 300)
    lake.load("yellow", "2024-02", 200)
    build(lake.settings, data_tests=False)

    assert for_the_client
    assert for_the_project
    for query in dict.fromkeys(for_the_client + for_the_project):
        command = ["trino", "--catalog", "iceberg", "--output-format", "JSON", "--execute", query]
        said = lake.stack.container("trino").exec_run(command, stderr=False)
        theirs = [json.loads(line) for line in said.output.decode().splitlines()]
        assert theirs, query
        assert as_text(theirs) == as_text(lake.engine.query(query).to_pylist()), query


def as_text(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Rows whose values can be compared however they were told, in one order."""
    return sorted(({name: str(value) for name, value in row.items()} for row in rows), key=str)
