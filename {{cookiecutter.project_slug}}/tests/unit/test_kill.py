"""SIGKILL in the middle of a load, and many loads at once: the old state whole, or the new one, each month once."""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.lake import Lake
from tests.loads import at_once, loading_process, start

TABLE = "raw.green_trips"
KILLS = int(os.environ.get("LAKEHOUSE_TEST_KILLS", "10"))


def settings_of(lake: Lake) -> dict[str, str]:
    """For a process of its own."""
    return {"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": str(lake.settings.home)}


def state(lake: Lake) -> list[tuple[str, int, float]]:
    """What a reader sees: months, rows, a sum that no half month would have."""
    rows = lake.rows(
        "select strftime(file_month, '%Y-%m') as m, count(*) as n, sum(total_amount) as s "
        f"from {TABLE} group by 1 order by 1"
    )
    return [(row["m"], row["n"], round(row["s"], 2)) for row in rows]


@pytest.mark.slow
def test_a_killed_load_leaves_the_month_as_it_was(lake: Lake) -> None:
    chance = random.Random(1)  # noqa: S311 - moments to kill at
    files = [lake.generate("green", "2024-01", 60_000, seed=seed) for seed in (0, 1)]
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 1_000))
    wholes = []
    for file in files:
        lake.load("green", "2024-01", file)
        wholes.append(state(lake))
    began = time.monotonic()
    lake.load("green", "2024-01", files[0])
    lasts = time.monotonic() - began
    killed = 0

    for turn in range(KILLS):
        new = (turn + 1) % 2
        lake.land("green", "2024-01", files[new])
        with loading_process(settings_of(lake), "green", "2024-01") as process:
            start(process)
            time.sleep(chance.uniform(0, lasts))
            process.kill()
            process.wait()
            killed += process.returncode != 0
        assert state(lake) in (wholes[1 - new], wholes[new])
        assert lake.load("green", "2024-01").action in ("loaded", "unchanged")
        assert state(lake) == wholes[new]

    assert killed >= KILLS // 2


@pytest.mark.slow
def test_eight_processes_on_one_month_leave_one_copy_of_it(lake: Lake) -> None:
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 500))
    lake.land("green", "2024-01", lake.generate("green", "2024-01", 5_000))

    said = at_once(settings_of(lake), [("green", "2024-01")] * 8)

    assert sorted(said) == ["loaded"] + ["unchanged"] * 7
    assert [(m, n) for m, n, _ in state(lake)] == [("2024-01", 5_000), ("2024-02", 500)]
    assert len(lake.history(TABLE)) == 2
    assert len(list(lake.settings.warehouse_dir.rglob("*.parquet"))) == 2


@pytest.mark.slow
def test_eight_processes_on_eight_months_load_each_once(lake: Lake) -> None:
    lake.load("green", "2023-12", lake.generate("green", "2023-12", 100))
    months = [f"2024-{m:02}" for m in range(1, 9)]
    for m, month in enumerate(months, start=1):
        lake.land("green", month, lake.generate("green", month, 100 * m))

    said = at_once(settings_of(lake), [("green", month) for month in months])

    assert said == ["loaded"] * 8
    assert [(m, n) for m, n, _ in state(lake)] == [("2023-12", 100), *((f"2024-{m:02}", 100 * m) for m in range(1, 9))]
    assert len(lake.history(TABLE)) == 9


@pytest.mark.slow
def test_a_reader_in_a_loop_sees_whole_months_only(lake: Lake) -> None:
    files = [lake.generate("green", "2024-01", 3_000, seed=seed) for seed in (0, 1)]
    wholes = []
    for file in files:
        lake.load("green", "2024-01", file)
        wholes.append(state(lake))
    seen = []

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [lake.load("green", "2024-01", files[turn % 2]) for turn in range(10)])
        while not writing.done():
            seen.append(state(lake))
        writing.result()

    assert seen
    assert all(one in wholes for one in seen)
