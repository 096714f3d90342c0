"""SIGKILL in the middle of build, publish and maintain: no torn table, no process left, the next run is right."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

import pytest
from tests.kills import Kills, gold, unknown_files
from tests.lake import Lake
from tests.marks import takes_minutes
from tests.marts import MARTS

from lakehouse.datasets.file import DatasetFile
from lakehouse.history.maintenance import maintain
from lakehouse.loading.load import load
from lakehouse.synthetic.generate import write_zones

# A build lasts seconds: `make long` tries fifty moments, every run some.
KILLS = int(os.environ.get("LAKEHOUSE_TEST_COMMAND_KILLS", "1"))
NOW = timedelta(0)
SUM = "select count(*) as n, round(sum(total_amount), 2) as s from raw.green_trips"
BY_MONTH = (
    "select file_month, count(*) as n, round(sum(total_amount), 2) as s from raw.green_trips group by 1 order by 1"
)
TABLES = ("raw.green_trips", "raw.taxi_zones", "silver.stg_green_trips", *(f"gold.{name}" for name in MARTS))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc"),
]


@pytest.fixture
def states(lake: Lake) -> Lake:
    """A month with two versions, of which the first is loaded, and the zone lookup."""
    lake.scratch.mkdir(parents=True)
    lake.landing.put(DatasetFile("zones"), write_zones(lake.scratch / "zones.csv"), "test")
    load(lake.catalog, lake.landing, DatasetFile("zones"))
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 200))
    turn_to(lake, 0)
    lake.give_parse()
    return lake


def turn_to(lake: Lake, version: int) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 400 + version, seed=version))


def killing(lake: Lake, *words: str) -> Kills:
    return Kills({"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": str(lake.settings.home)}, words)


def nothing_is_left(lake: Lake) -> None:
    """Maintenance removes all that the kills left."""
    maintain(lake.settings, keep=NOW, unreferenced=NOW)
    catalog = lake.catalog
    tables = [
        catalog.load_table(".".join(name)) for ns in catalog.list_namespaces() for name in catalog.list_tables(ns)
    ]
    assert unknown_files(lake.settings.home, tables) == []


def test_a_killed_build_leaves_whole_tables_and_the_next_is_right(states: Lake) -> None:
    build, wholes = killing(states, "build"), []
    for version in (0, 1):
        turn_to(states, version)
        build.run()
        wholes.append(gold(states.rows))

    for turn in range(KILLS):
        new = turn % 2
        turn_to(states, new)
        build.kill()
        found = gold(states.rows)
        assert all(found[name] in (wholes[0][name], wholes[1][name]) for name in MARTS)
        build.run()
        assert gold(states.rows) == wholes[new]

    assert build.killed >= (KILLS + 1) // 2
    nothing_is_left(states)
    assert gold(states.rows) == wholes[(KILLS - 1) % 2]


def test_a_killed_load_of_several_months_leaves_each_whole(lake: Lake) -> None:
    months, folders, wholes = ("2024-01", "2024-02", "2024-03"), [], []
    for version in (0, 1):
        folders.append(lake.scratch / f"published-{version}")
        folders[-1].mkdir(parents=True)
        for month in months:
            file = lake.generate("green", month, 20_000 + version, seed=version)
            file.rename(folders[-1] / file.name)
    loads = [killing(lake, "load", "green", *months, "--refresh", "--jobs", "2") for _ in folders]
    for version, load_months in enumerate(loads):
        load_months.environment = {**load_months.environment, "TLC_SOURCE": str(folders[version])}
        load_months.run()
        wholes.append(lake.rows(BY_MONTH))

    for turn in range(KILLS):
        new = turn % 2
        loads[new].kill()
        found = lake.rows(BY_MONTH)
        done = sum(row == whole for row, whole in zip(found, wholes[new], strict=True))
        assert found == [*wholes[new][:done], *wholes[1 - new][done:]]
        loads[new].run()
        assert lake.rows(BY_MONTH) == wholes[new]

    assert sum(one.killed for one in loads) >= (KILLS + 1) // 2
    nothing_is_left(lake)
    assert lake.rows(BY_MONTH) == wholes[(KILLS - 1) % 2]


@takes_minutes
def test_a_killed_publish_shows_one_publication_and_the_next_is_right(states: Lake) -> None:
    publish, wholes = killing(states, "publish"), []
    for version in (0, 1):
        turn_to(states, version)
        publish.run()
        wholes.append(gold(states.rows, "published"))

    for turn in range(KILLS):
        new = turn % 2
        turn_to(states, new)
        publish.kill()
        assert gold(states.rows, "published") in wholes
        publish.run()
        assert gold(states.rows, "published") == wholes[new]

    assert publish.killed >= (KILLS + 1) // 2
    nothing_is_left(states)
    assert gold(states.rows, "published") == wholes[(KILLS - 1) % 2]


def test_a_killed_maintain_changes_no_answer_and_the_next_finishes(states: Lake) -> None:
    killing(states, "build").run()
    tidy = killing(states, "maintain", "--keep-days", "0", "--unreferenced-days", "0")
    tidy.run()
    before = gold(states.rows)

    for turn in range(KILLS):
        for version in (1 - turn % 2, turn % 2):
            turn_to(states, version)
        rows = states.rows(SUM)
        tidy.kill()
        assert states.rows(SUM) == rows
        assert gold(states.rows) == before
        tidy.run()
        assert len(states.history("raw.green_trips")) == 1

    assert tidy.killed >= (KILLS + 1) // 2
    nothing_is_left(states)
