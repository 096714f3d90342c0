"""Many at once: writers on two engines, readers during loads, lost races, a build while raw moves."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pyarrow as pa
import pytest
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random
from tests.integration.lake import GREEN, Lake

from lakehouse.engines.trino import TrinoEngine
from lakehouse.errors import QueryError, ServiceError
from lakehouse.transform import build

NUMBERS = pa.schema([("n", pa.int64())])
RETRIES = {"commit.retry.num-retries": "20", "commit.retry.min-wait-ms": "50"}


def test_pyiceberg_and_trino_write_one_table_and_nothing_is_lost(lake: Lake) -> None:
    lake.catalog.create_table("raw.numbers", NUMBERS, properties=RETRIES)

    def by_pyiceberg(n: int) -> None:
        lake.catalog.load_table("raw.numbers").append(pa.table({"n": [n]}, NUMBERS))

    def by_trino(n: int) -> None:
        lake.engine.query("insert into raw.numbers values ?", [n])

    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(by_trino if n % 2 else by_pyiceberg, n) for n in range(24)]
        for write in writes:
            write.result()

    assert [n for (n,) in lake.sql("select n from raw.numbers order by n")] == list(range(24))
    snapshots = lake.engine.snapshots("raw.numbers")
    assert len(snapshots) == 24
    assert [b.parent_id for a, b in pairwise(snapshots)] == [a.snapshot_id for a, b in pairwise(snapshots)]


def test_a_reader_in_a_loop_sees_whole_months_only(lake: Lake) -> None:
    lake.load("green", "2023-01", 1000)
    done = threading.Event()
    seen: list[tuple[int, int]] = []

    def read() -> None:
        engine = TrinoEngine(lake.settings)
        try:
            while not done.is_set():
                found = engine.query("select count(*) n, count(distinct source_sha256) s from raw.green_trips")
                seen.append(tuple(found.to_pylist()[0].values()))
        finally:
            engine.close()

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            for seed in range(1, 8):
                lake.load("green", "2023-01", 1000 + seed, seed)
        finally:
            done.set()
        reading.result()

    assert len(seen) > 3
    assert {sources for _, sources in seen} == {1}
    assert {rows for rows, _ in seen} <= set(range(1000, 1008))
    assert [rows for rows, _ in seen] == sorted(rows for rows, _ in seen)


def test_loads_of_one_month_and_of_others_at_once_leave_one_copy_of_each(lake: Lake) -> None:
    months = ["2023-01", "2023-01", "2023-01", "2023-02", "2023-03", "2023-04"]
    for month in set(months):
        lake.land("green", month, 500)

    with ThreadPoolExecutor(len(months)) as pool:
        results = list(pool.map(lambda month: lake.reload("green", month), months))

    assert [r.action for r in results].count("loaded") == 4
    assert lake.sql("select file_month, count(*) from raw.green_trips group by 1 having count(*) <> 500") == []
    assert lake.value("select count(*) from raw.green_trips") == 2000
    assert len(lake.engine.snapshots(GREEN)) == 4


def test_a_merge_that_loses_is_retried_whole(lake: Lake) -> None:
    lake.catalog.create_table("raw.numbers", NUMBERS, properties=RETRIES).append(
        pa.table({"n": pa.array(range(1000), pa.int64())})
    )
    statement = "merge into raw.numbers t using (values 1) s on true when matched then update set n = t.n + 1000"
    lost: list[str] = []

    def note(state: RetryCallState) -> None:
        lost.append(str(state.outcome and state.outcome.exception()))

    def merge(_: int) -> None:
        engine = TrinoEngine(lake.settings)
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type((QueryError, ServiceError)),
                stop=stop_after_attempt(10),
                wait=wait_random(0, 1),
                after=note,
                reraise=True,
            ):
                with attempt:
                    engine.query(statement)
        finally:
            engine.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(merge, range(3)))

    assert lost, "no MERGE lost a race: the test shows nothing"
    assert {"ICEBERG_COMMIT_ERROR" in error for error in lost} == {True}, lost
    assert lake.sql("select count(*), min(n), max(n) from raw.numbers") == [(1000, 3000, 3999)]


@pytest.mark.slow
def test_a_build_during_which_raw_moved_says_so(lake: Lake) -> None:
    lake.load("zones", None)
    lake.load("green", "2023-01", 300)
    moved = threading.Event()

    def progress(line: str) -> None:
        if not moved.is_set():
            moved.set()
            lake.load("green", "2023-02", 300)

    result = build(lake.settings, progress=progress)
    still = build(lake.settings)

    assert result.raw_moved == ("raw.green_trips",)
    assert still.raw_moved == ()
    assert lake.value("select sum(trips) from gold.fct_monthly_quality") == 600
