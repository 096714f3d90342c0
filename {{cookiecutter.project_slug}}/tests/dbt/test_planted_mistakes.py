"""The classic mistakes of such marts, planted one at a time in a copy of the project: each turns a named test red."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.dbt.conftest import Build, new_lake
from tests.dbt.raw import made_up_rows, put_month, put_zones
from tests.lake import Lake
from tests.marks import takes_minutes

from lakehouse.errors import TransformError
from lakehouse.settings import project_dir

NUMBERS, TRIPS = "macros/numbers.sql", "macros/trips.sql"
DAILY, DISTANCES = "models/marts/fct_daily_trips.sql", "models/marts/fct_trip_distance_stats.sql"
YELLOW = "models/staging/stg_yellow_trips.sql"
BY_HOUR, BY_ROUTE = "models/intermediate/int_trips_by_hour.sql", "models/intermediate/int_trips_by_route.sql"


@dataclass(frozen=True)
class Mistake:
    """Texts to replace in a file, and the model and its test (a unit test, or one of the data) that must notice."""

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]
    model: str
    noticed_by: str
    unit: bool = True


MISTAKES = (
    Mistake(
        "integer division",
        NUMBERS,
        (
            ("(cast(' ~ dividend ~ ' as double) /", "(cast(' ~ dividend ~ ' as bigint) //"),
            ("' as double), 0))'", "' as bigint), 0))'"),
        ),
        "fct_daily_trips",
        "daily_trips_sum_and_divide_sums",
    ),
    Mistake(
        "an inclusive end of the window",
        TRIPS,
        (("or pickup_at > cast(file_month", "or pickup_at >= cast(file_month"),),
        "stg_yellow_trips",
        "pickup_may_be_24_hours_outside_its_month",
    ),
    Mistake(
        "an average of averages",
        DISTANCES,
        (
            (
                "cast(sum(trips) as bigint) as trips,",
                "avg(distance_miles * 3600 / duration_seconds) as speed, cast(sum(trips) as bigint) as trips,",
            ),
            ("ratio('pairs.distance_miles * 3600', 'pairs.duration_seconds')", "ratio('pairs.speed', '1')"),
        ),
        "fct_trip_distance_stats",
        "distance_stats_by_pair_of_zones",
    ),
    Mistake(
        "lost nulls",
        TRIPS,
        (("coalesce(airport_fee, 0)", "airport_fee"),),
        "int_trips_by_hour",
        "trips_by_hour_add_up_and_reject_apart",
    ),
    Mistake(
        "a join that multiplies",
        DISTANCES,
        (
            (
                "on pairs.dropoff_location_id = dropoff_zones.location_id",
                "on dropoff_zones.location_id in (1, pairs.dropoff_location_id)",
            ),
        ),
        "fct_trip_distance_stats",
        "distance_stats_agree_with_silver",
        unit=False,
    ),
    Mistake(
        "the wrong sign of a reversal",
        YELLOW,
        (
            ("exact('trips.fare_amount')", "exact('abs(trips.fare_amount)')"),
            ("exact('trips.total_amount')", "exact('abs(trips.total_amount)')"),
        ),
        "stg_yellow_trips",
        "negative_amounts_are_rejected",
    ),
    Mistake(
        "money as a float",
        NUMBERS,
        (("{{ round_half_up(column, 12, 2) }}", "cast({{ column }} as double)"),),
        "stg_yellow_trips",
        "money_and_distance_are_exact",
    ),
    Mistake(
        "the hour in the wrong zone",
        YELLOW,
        (
            (
                "extract(hour from trips.pickup_datetime)",
                "extract(hour from trips.pickup_datetime at time zone 'UTC' at time zone 'America/New_York')",
            ),
        ),
        "stg_yellow_trips",
        "times_are_local_and_seconds_elapsed",
    ),
    Mistake(
        "a rejected row counted",
        DAILY,
        (("    where rejection_reason = 'accepted'\n", ""),),
        "fct_daily_trips",
        "daily_trips_agree_with_silver",
        unit=False,
    ),
    Mistake(
        "a rejected row added up",
        BY_ROUTE,
        (("coalesce(rejection_reason, 'accepted') as rejection_reason,", "'accepted' as rejection_reason,"),),
        "int_trips_by_route",
        "trips_by_route_add_up_and_reject_apart",
    ),
    Mistake(
        "a row not added up",
        BY_HOUR,
        (("from {{ ref('int_trips_unioned') }}", "from {{ ref('int_trips_unioned') }} where file_row > 20"),),
        "int_trips_by_hour",
        "trips_by_hour_agree_with_silver",
        unit=False,
    ),
)

EVERY_RUN = {"integer division", "a join that multiplies", "a rejected row counted", "a row not added up"}


def put(lake: Lake, seed: int) -> None:
    for dataset in ("yellow", "green"):
        put_month(lake.catalog, dataset, "2024-01", made_up_rows(dataset, "2024-01", 200, seed))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, run_build: Build) -> Lake:
    """A lakehouse that the project as it is has built, all tests green."""
    lake = new_lake(tmp_path_factory.mktemp("sound"))
    put_zones(lake.catalog)
    put(lake, seed=0)
    result = run_build(lake, data_tests=True, unit_tests=True)
    assert {mistake.noticed_by for mistake in MISTAKES} <= set(result.tests)
    return lake


def keep_only(unit_test: str, models: Path) -> None:
    """Leave one unit test: dbt skips a model's others after the first that fails, in an order that is not fixed."""
    for page in models.rglob("*.yml"):
        declared = yaml.safe_load(page.read_text("utf-8"))
        if "unit_tests" not in declared:
            continue
        declared["unit_tests"] = [test for test in declared["unit_tests"] if test["name"] == unit_test]
        page.write_text(yaml.safe_dump(declared), "utf-8")


@pytest.mark.parametrize(
    "mistake",
    [pytest.param(one, marks=() if one.name in EVERY_RUN else takes_minutes, id=one.name) for one in MISTAKES],
)
def test_a_planted_mistake_turns_its_test_red(
    sound: Lake, run_build: Build, mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project_dir() / "dbt", tmp_path / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    file = tmp_path / "dbt" / mistake.file
    text = file.read_text("utf-8")
    for old, new in mistake.changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    file.write_text(text, "utf-8")
    if mistake.unit:
        keep_only(mistake.noticed_by, tmp_path / "dbt" / "models")
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(tmp_path))

    with pytest.raises(TransformError, match=rf"(?m)^{mistake.noticed_by}: "):
        run_build(sound, mistake.model, data_tests=not mistake.unit, unit_tests=mistake.unit)


def test_marts_from_two_versions_of_raw_turn_a_test_red(sound: Lake, run_build: Build) -> None:
    put(sound, seed=1)
    put_month(sound.catalog, "green", "2024-02", made_up_rows("green", "2024-02", 100))

    with pytest.raises(TransformError, match=r"(?m)^quality_counts_every_raw_row: "):
        run_build(sound, "stg_yellow_trips+", data_tests=True)  # yellow anew, green as it was
