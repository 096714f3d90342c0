"""Many at once: writers on two engines, readers during loads, lost races, a build while raw moves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from functools import partial
from itertools import pairwise

import pyarrow as pa
import pytest
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_message,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random,
)
from tests.integration.lake import GREEN, Lake
from tests.integration.stack import within
from tests.loads import at_once
from tests.marks import takes_minutes

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.engines.trino import TrinoEngine
from lakehouse.errors import OvertakenError, QueryError, ServiceError
from lakehouse.transform import BuildResult, build, repeated

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
    snapshots = lake.engine.timeline("raw.numbers").snapshots
    assert len(snapshots) == 24
    assert [b.parent_id for a, b in pairwise(snapshots)] == [a.snapshot_id for a, b in pairwise(snapshots)]


def test_months_loaded_while_trino_writes_lose_nothing(lake: Lake) -> None:
    lake.load("green", "2023-01", 1000)
    lake.sql("update raw.green_trips set passenger_count = 0")
    months = {f"2023-{m:02}": 100 * m for m in range(2, 8)}
    for month, rows in months.items():
        lake.land("green", month, rows)
    # a turn of Trino's for each load: a load that loses to every commit of an endless row ends in an error
    turn_for_trino, loaded = threading.Event(), threading.Event()
    done: list[int] = []

    def by_trino() -> None:
        while turn_for_trino.wait() and not loaded.is_set():
            turn_for_trino.clear()
            n = len(done)
            for statement in (
                "update raw.green_trips set passenger_count = passenger_count + 1 where file_month = date '2023-01-01'",
                f"delete from raw.green_trips where file_month = date '2023-01-01' and file_row = {n}",
                "alter table raw.green_trips execute optimize",
            ):
                for attempt in Retrying(
                    retry=retry_if_exception_message(match=r"(?s).*ICEBERG_COMMIT_ERROR"),
                    stop=stop_after_attempt(20),
                    wait=wait_random(0, 1),
                    reraise=True,
                ):
                    with attempt:
                        lake.engine.query(statement)
            done.append(n)

    def made_more_than(turns: int) -> bool:
        return writing.done() or len(done) > turns

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(by_trino)
        try:
            for turn in (0, 1):
                for month, rows in months.items():
                    if turn:
                        lake.land("green", month, rows + 1, seed=1)
                    turn_for_trino.set()
                    assert lake.reload("green", month).action == "loaded"
                within(60, partial(made_more_than, turn))
        finally:
            loaded.set()
            turn_for_trino.set()
        writing.result()

    counted = lake.sql("select cast(file_month as varchar), count(*) from raw.green_trips group by 1 order by 1")
    assert counted == [
        ("2023-01-01", 1000 - len(done)),
        *((f"{month}-01", rows + 1) for month, rows in months.items()),
    ]
    assert lake.sql(
        "select min(file_row), count(distinct source_sha256) from raw.green_trips where file_month = ?",
        date(2023, 1, 1),
    ) == [(len(done), 1)]
    assert lake.sql("select distinct passenger_count from raw.green_trips where file_month = ?", date(2023, 1, 1)) == [
        (len(done),)
    ]


@contextmanager
def reader_in_a_loop(lake: Lake) -> Iterator[list[dict[str, tuple[int, str]]]]:
    """Trino, asked over and over: rows and sources of each month, as each answer had them."""
    done = threading.Event()
    seen: list[dict[str, tuple[int, str]]] = []

    def read() -> None:
        engine = TrinoEngine(lake.settings)
        try:
            while not done.is_set():
                rows = engine.query(
                    "select cast(file_month as varchar) m, count(*) n, "
                    "array_join(array_agg(distinct source_sha256), ',') s from raw.green_trips group by 1"
                ).to_pylist()
                seen.append({row["m"][:7]: (row["n"], row["s"]) for row in rows})
        finally:
            engine.close()

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            yield seen
        finally:
            done.set()
        reading.result()


def landed(lake: Lake, month: str) -> str:
    """The SHA-256 of what is landed."""
    found = lake.landing.find(DatasetFile("green", Month.parse(month)))
    assert found is not None
    return found.sha256


def test_a_reader_in_a_loop_sees_whole_months_only(lake: Lake) -> None:
    lake.load("green", "2023-01", 1000)
    wholes = [(1000, landed(lake, "2023-01"))]

    with reader_in_a_loop(lake) as seen:
        for seed in range(1, 8):
            lake.load("green", "2023-01", 1000 + seed, seed)
            wholes.append((1000 + seed, landed(lake, "2023-01")))
            within(30, lambda: {"2023-01": wholes[-1]} in seen, every=0.05)

    months = [one["2023-01"] for one in seen]
    assert set(months) == set(wholes)
    assert months == sorted(months, key=wholes.index)


def test_eight_processes_on_one_month_leave_one_copy_of_it(lake: Lake) -> None:
    lake.load("green", "2023-02", 300)
    lake.load("green", "2023-01", 400)
    before = (400, landed(lake, "2023-01"))
    lake.land("green", "2023-01", 500, seed=1)
    after = (500, landed(lake, "2023-01"))

    with reader_in_a_loop(lake) as seen:
        said = at_once(lake.environment, [("green", "2023-01")] * 8)

    assert sorted(said) == ["loaded"] + ["unchanged"] * 7
    assert {one["2023-01"] for one in seen} <= {before, after}
    assert {one["2023-02"] for one in seen} == {(300, landed(lake, "2023-02"))}
    assert lake.sql("select count(*), count(distinct source_sha256) from raw.green_trips") == [(800, 2)]
    assert len(lake.engine.timeline(GREEN).snapshots) == 3
    files = [
        key for key in lake.keys("iceberg/raw/green_trips/data/file_month=2023-01-01/") if key.endswith(".parquet")
    ]
    assert len(files) == 2, "the seven others left staged files"


def test_eight_processes_on_eight_months_load_each_once(lake: Lake) -> None:
    months = [f"2023-{m:02}" for m in range(1, 9)]
    lake.load("green", months[0], 50)
    wholes = {month: set[tuple[int, str]]() for month in months}
    wholes[months[0]].add((50, landed(lake, months[0])))
    for m, month in enumerate(months, start=1):
        lake.land("green", month, 100 * m, seed=1)
        wholes[month].add((100 * m, landed(lake, month)))

    with reader_in_a_loop(lake) as seen:
        said = at_once(lake.environment, [("green", month) for month in months])

    assert said == ["loaded"] * 8
    assert seen
    assert all(found in wholes[month] for one in seen for month, found in one.items())
    counted = lake.sql("select cast(file_month as varchar), count(*) from raw.green_trips group by 1 order by 1")
    assert counted == [(f"{month}-01", 100 * m) for m, month in enumerate(months, start=1)]
    assert len(lake.engine.timeline(GREEN).snapshots) == 9


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
@takes_minutes  # on `embedded` each time, in test_transform.py
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


@pytest.mark.slow
def test_a_build_that_loses_a_race_says_so_and_builds_again(lake: Lake) -> None:
    silver = "silver.stg_green_trips"
    lake.load("zones", None)
    lake.load("green", "2023-01", 60_000)
    build(lake.settings, select="+stg_green_trips", data_tests=False)
    lake.load("green", "2023-01", 60_001, seed=1)
    lake.load("green", "2023-02", 300)
    rival = lake.catalog.load_table(silver)

    def take_the_month_away() -> None:
        engine = TrinoEngine(lake.settings)
        merging = (
            "select count(*) n from system.runtime.queries "
            "where source like 'dbt%' and state = 'RUNNING' and query like '%merge into%'"
        )
        try:
            # Trino looks at the table before the statement runs: what is committed from now on, it has not seen
            within(60, lambda: bool(engine.query(merging)["n"][0].as_py()), every=0.02)
        finally:
            engine.close()
        rival.delete("file_month = '2023-01-01'")

    lost: list[OvertakenError] = []

    def once() -> BuildResult:
        try:
            return build(lake.settings, select="+stg_green_trips", data_tests=False)
        except OvertakenError as error:
            lost.append(error)
            assert lake.value(f"select count(*) from {silver}") == 0
            raise

    with ThreadPoolExecutor(1) as pool:
        racing = pool.submit(take_the_month_away)
        repeated(once)  # as `lakehouse build` does
        racing.result()
    (error,) = lost
    assert f"1 of its models, seeds and tests failed.\n{silver}: " in str(error)
    assert "build again" in str(error)
    assert error.found == "Another process wrote a table during the build."

    keys = "select file_month, file_row, source_sha256 from"
    assert lake.sql(f"select count(*), count(distinct (file_month, file_row)) from {silver}") == [(60_301, 60_301)]
    assert lake.sql(f"({keys} raw.green_trips) except ({keys} {silver})") == []
