"""SIGKILL in the middle of load, build, publish and maintain on the stack: as on `embedded`, with Trino at work."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from tests.integration.lake import GREEN, Lake
from tests.kills import Kills, gold
from tests.marks import takes_minutes
from tests.marts import MARTS

from lakehouse.errors import QueryError
from lakehouse.history.maintenance import maintain
from lakehouse.iceberg.files import referenced

# Every run tries one moment of each; every night ten.
KILLS = int(os.environ.get("LAKEHOUSE_TEST_COMMAND_KILLS", "1"))
NOW = timedelta(0)
SUM = "select count(*), round(sum(total_amount), 2) from raw.green_trips"


@pytest.fixture
def states(lake: Lake) -> Lake:
    """A month with two versions, of which the first is loaded, and the zone lookup."""
    lake.load("zones", None)
    lake.load("green", "2023-02", 200)
    turn_to(lake, 0)
    return lake


def turn_to(lake: Lake, version: int) -> None:
    lake.load("green", "2023-01", 400 + version, version)


def rows(lake: Lake) -> Callable[[str], list[dict[str, Any]]]:
    return lambda sql: lake.engine.query(sql).to_pylist()


def killing(lake: Lake, *words: str) -> Kills:
    environment = {**lake.stack.environment, "LAKEHOUSE_HOME": str(lake.settings.home)}
    return Kills(environment, words, random.Random(2))  # noqa: S311 - moments to kill at


def settled(lake: Lake, ask: Callable[[], Any], wanted: Callable[[Any], bool]) -> None:
    """A statement that Trino has begun goes on after its client is gone: wait for its end, or end it.

    Trino itself ends one whose result nobody fetches, after five minutes.
    """
    began = time.monotonic()
    while left := lake.sql(
        "select query_id from system.runtime.queries "
        "where state not in ('FINISHED', 'FAILED') and query not like '%system.runtime.queries%'"
    ):
        assert time.monotonic() < began + 60, f"Trino still runs a statement of a killed client: {left}"
        if time.monotonic() > began + 20:
            for (query_id,) in left:
                with suppress(QueryError):  # ended meanwhile
                    lake.engine.query(f"call system.runtime.kill_query(query_id => '{query_id}', message => 'test')")
        time.sleep(0.5)
    assert wanted(ask())


def test_a_killed_load_leaves_the_month_as_it_was_and_the_next_is_right(states: Lake) -> None:
    load, wholes = killing(states, "load", "green", "2023-01"), {}
    for version in (1, 0):
        states.land("green", "2023-01", 400 + version, version)
        load.run()
        wholes[version] = states.sql(SUM)

    for turn in range(KILLS):
        new = (turn + 1) % 2
        states.land("green", "2023-01", 400 + new, new)
        load.kill()
        assert states.sql(SUM) in wholes.values()
        load.run()
        assert states.sql(SUM) == wholes[new]


def test_a_killed_build_leaves_whole_tables_and_the_next_is_right(states: Lake) -> None:
    build, wholes = killing(states, "build"), []
    for version in (0, 1):
        turn_to(states, version)
        build.run()
        wholes.append(gold(rows(states)))

    for turn in range(KILLS):
        new = turn % 2
        turn_to(states, new)
        build.kill()
        settled(
            states,
            lambda: gold(rows(states)),
            lambda found: all(found[name] in (wholes[0][name], wholes[1][name]) for name in MARTS),
        )
        build.run()
        assert gold(rows(states)) == wholes[new]


@takes_minutes  # a killed build runs each time
def test_a_killed_publish_shows_one_publication_and_the_next_is_right(states: Lake) -> None:
    publish, wholes = killing(states, "publish"), []
    for version in (0, 1):
        turn_to(states, version)
        publish.run()
        wholes.append(gold(rows(states), "published"))

    for turn in range(KILLS):
        new = turn % 2
        turn_to(states, new)
        publish.kill()
        settled(states, lambda: gold(rows(states), "published"), lambda found: found in wholes)
        publish.run()
        assert gold(rows(states), "published") == wholes[new]


def test_a_killed_maintain_changes_no_answer_and_the_next_finishes(states: Lake) -> None:
    tidy = killing(states, "maintain", "raw.green_trips", "--keep-days", "0", "--unreferenced-days", "0")
    tidy.run()

    for turn in range(KILLS):
        for version in (1 - turn % 2, turn % 2):
            turn_to(states, version)
        before = states.sql(SUM)
        tidy.kill()
        settled(states, lambda: states.sql(SUM), lambda found, before=before: found == before)  # type: ignore[misc]
        tidy.run()
        assert states.sql(SUM) == before

    maintain(states.settings, [GREEN], keep=NOW, unreferenced=NOW)
    known = {address.removeprefix(f"s3://{states.settings.s3_bucket}/") for address in needed(states)}
    assert {key for key in states.keys("iceberg/raw/green_trips") if "/data/" in key} <= known


def needed(lake: Lake) -> set[str]:
    return set(referenced(lake.catalog.load_table(GREEN)))
