"""A load is one snapshot with its provenance, a reload none, and every earlier state can be had again."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta

import pytest
from tests.integration.lake import GREEN, Lake

from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import LandingError, QueryError
from lakehouse.history.history import history, loaded
from lakehouse.iceberg.tables import ensure_raw_tables
from lakehouse.synthetic.generate import write_month

COUNT = "select count(*) from raw.green_trips"


def test_a_load_is_one_snapshot_with_its_provenance(lake: Lake) -> None:
    result = lake.load("green", "2023-01", rows=1200)

    ((snapshot_id, parent_id, summary),) = lake.sql(
        'select snapshot_id, parent_id, summary from raw."green_trips$snapshots"'
    )
    words = dict(summary)
    assert (snapshot_id, parent_id) == (result.snapshot_id, None)
    assert words["lakehouse.dataset"] == "green"
    assert words["lakehouse.file-month"] == "2023-01"
    assert words["lakehouse.source"] == "generated:0"
    assert words["lakehouse.source-sha256"] == result.source_sha256
    assert words["lakehouse.source-rows"] == words["total-records"] == "1200"
    assert words["lakehouse.run-id"]
    assert words["lakehouse.synthetic"] == "true"
    assert lake.value(COUNT) == 1200
    data = lake.keys("iceberg/raw/green_trips/data/")
    assert len(data) == 1
    assert "/file_month=2023-01-01/" in data[0]


def test_a_reload_adds_no_snapshot_and_a_restated_month_one(lake: Lake) -> None:
    first = lake.load("green", "2023-01")
    again = lake.load("green", "2023-01")
    restated = lake.load("green", "2023-01", rows=1100, seed=1)

    assert (first.action, again.action, restated.action) == ("loaded", "unchanged", "loaded")
    assert [s.snapshot_id for s in lake.engine.timeline(GREEN).snapshots] == [first.snapshot_id, restated.snapshot_id]
    assert lake.value(COUNT) == 1100
    assert {h for (h,) in lake.sql("select distinct source_sha256 from raw.green_trips")} == {restated.source_sha256}


def test_months_at_once_are_those_of_one_after_another(lake: Lake) -> None:
    rows = {"2023-01": 20_000, "2023-02": 400, "2023-03": 300, "2023-04": 200}
    published = lake.folder / "published"
    published.mkdir()
    for month, count in rows.items():
        write_month(published / f"green_tripdata_{month}.parquet", "green", Month.parse(month), count)
    command = [sys.executable, "-P", "-m", "lakehouse", "load", "green", "2023-01..2023-04", "--json"]
    environment = {**lake.environment, "TLC_SOURCE": str(published)}

    done = subprocess.run([*command, "--jobs", "2"], env=environment, capture_output=True, text=True, check=False)
    again = subprocess.run([*command, "--again"], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert again.returncode == 0, again.stderr
    at_once, alone = ([one["snapshot_id"] for one in json.loads(said.stdout)] for said in (done, again))
    assert [s.snapshot_id for s in lake.engine.timeline(GREEN).snapshots] == [*at_once, *alone]
    query = "select * from raw.green_trips order by file_month, file_row"
    assert lake.sql(query, as_of=f"{GREEN}@{at_once[-1]}") == lake.sql(query)
    months = "select file_month, count(*) from raw.green_trips group by 1 order by 1"
    assert [count for _, count in lake.sql(months)] == list(rows.values())
    assert len(lake.keys("iceberg/raw/green_trips/data/")) == 2 * len(rows)


def test_each_earlier_state_can_be_had_by_version_and_by_time(lake: Lake) -> None:
    loads = [
        lake.load("green", "2023-01", 1000),
        lake.load("green", "2023-02", 900),
        lake.load("green", "2023-01", 1100, 1),
    ]
    snapshots = lake.engine.timeline(GREEN).snapshots
    expected = [1000, 1900, 2000]

    for load, snapshot, rows in zip(loads, snapshots, expected, strict=True):
        at = f"timestamp '{snapshot.committed_at:%Y-%m-%d %H:%M:%S.%f} UTC'"
        assert load.snapshot_id == snapshot.snapshot_id
        assert lake.value(f"select count(*) from raw.green_trips for version as of {load.snapshot_id}") == rows
        assert lake.value(f"select count(*) from raw.green_trips for timestamp as of {at}") == rows
        assert lake.value(COUNT, as_of=f"{GREEN}@{load.snapshot_id}") == rows
        assert lake.value(COUNT, as_of=snapshot.committed_at.isoformat()) == rows
        assert lake.scan(GREEN, load.snapshot_id).num_rows == rows
    before = snapshots[0].committed_at - timedelta(seconds=1)
    with pytest.raises(QueryError, match=r"raw\.green_trips had no snapshot at .* Its history begins at"):
        lake.sql(COUNT, as_of=before.isoformat())
    with pytest.raises(QueryError, match=r"raw\.green_trips is not published yet\. Run `lakehouse publish`"):
        lake.sql(COUNT, as_of="published")
    with pytest.raises(QueryError, match=r"has no snapshot 42"):
        lake.sql(COUNT, as_of=f"{GREEN}@42")


def test_trino_and_pyiceberg_read_the_same_rows_in_every_version(lake: Lake) -> None:
    lake.load("green", "2023-01", 500)
    lake.load("green", "2023-02", 400)
    lake.load("green", "2023-01", 450, seed=3)

    for snapshot in lake.engine.timeline(GREEN).snapshots:
        theirs = lake.scan(GREEN, snapshot.snapshot_id)
        ours = lake.engine.query("select * from raw.green_trips order by 1, 2", as_of=f"{GREEN}@{snapshot.snapshot_id}")
        assert ours.column_names == theirs.column_names
        assert ours.to_pylist() == theirs.to_pylist()


def test_trino_and_pyiceberg_tell_the_same_history(lake: Lake) -> None:
    lake.load("green", "2023-01")
    lake.load("green", "2023-02", 900)
    last = lake.load("green", "2023-01", 1100, seed=1)

    table = lake.catalog.load_table(GREEN)
    rows = history(lake.engine, GREEN)
    assert [(r.snapshot_id, r.parent_id, r.operation, int(r.committed_at.timestamp() * 1000)) for r in rows] == [
        (s.snapshot_id, s.parent_snapshot_id, s.summary.operation.value if s.summary else None, s.timestamp_ms)
        for s in table.snapshots()
    ]
    for row, snapshot in zip(lake.engine.timeline(GREEN).snapshots, table.snapshots(), strict=True):
        assert snapshot.summary is not None
        assert dict(row.summary) == snapshot.summary.additional_properties
    assert [(r.file_month, r.total_rows, r.added_rows, r.deleted_rows) for r in rows] == [
        ("2023-01", 1000, 1000, 0),
        ("2023-02", 1900, 900, 0),
        ("2023-01", 2000, 1100, 1000),
    ]
    assert [(r.part, r.rows, r.files, r.synthetic) for r in loaded(lake.engine)] == [
        ("2023-01", 1100, 1, True),
        ("2023-02", 900, 1, True),
    ]
    assert loaded(lake.engine)[0].source_sha256 == last.source_sha256
    assert lake.engine.timeline(GREEN).current == last.snapshot_id == table.metadata.current_snapshot_id


def test_zones_load_too_and_tables_without_rows_have_no_history(lake: Lake) -> None:
    ensure_raw_tables(lake.catalog)
    assert lake.engine.tables() == sorted(dataset.table for dataset in DATASETS.values())
    assert lake.engine.timeline("raw.taxi_zones").snapshots == []
    assert lake.engine.timeline("raw.taxi_zones").current is None

    lake.load("zones", None)

    assert lake.value("select count(*) from raw.taxi_zones") == 265
    assert len(lake.engine.timeline("raw.taxi_zones").snapshots) == 1


def test_a_table_that_does_not_exist_is_named(lake: Lake) -> None:
    with pytest.raises(QueryError, match=r"There is no table raw\.green_trips"):
        lake.engine.timeline(GREEN)


def test_bytes_changed_in_the_bucket_are_refused_and_the_table_stays(lake: Lake) -> None:
    first = lake.load("green", "2023-01")
    lake.land("green", "2023-01", 1000, seed=2)
    key = "raw_data/green_trips/green_tripdata_2023-01.parquet"
    body = bytearray(lake.s3.get_object(Bucket="warehouse", Key=key)["Body"].read())
    body[len(body) // 2] ^= 1
    lake.s3.put_object(Bucket="warehouse", Key=key, Body=bytes(body))

    with pytest.raises(LandingError, match=r"changed after it was landed"):
        lake.reload("green", "2023-01")

    assert [s.snapshot_id for s in lake.engine.timeline(GREEN).snapshots] == [first.snapshot_id]


def test_trinos_own_command_line_client_reads_it(lake: Lake) -> None:
    first = lake.load("green", "2023-01", 700)
    lake.load("green", "2023-02", 300)
    query = (
        "select count(*) from iceberg.raw.green_trips; "
        f"select count(*) from iceberg.raw.green_trips for version as of {first.snapshot_id}; "
        'select count(*) from iceberg.raw."green_trips$snapshots"'
    )

    said = lake.stack.container("trino").exec_run(["trino", "--execute", query], stderr=False)

    assert (said.exit_code, said.output.decode().split()) == (0, ['"1000"', '"700"', '"2"'])
