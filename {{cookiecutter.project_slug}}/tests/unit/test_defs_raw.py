"""What a raw table's asset records of a load: also of one that was not needed. What it does without its catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest
from pyiceberg.types import StringType
from tests.lake import Lake
from tests.unit.failing_catalog import failing_catalog

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.defs.dbt.events import described
from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_zones

FIRST, LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
# Outside of Dagster's own loading, which keeps quiet about the first; the second is Dagster's own, of resources that
# have resources.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:InitResourceContext:DeprecationWarning"),
]


def materialized(lake: Lake) -> dict[str, dict[str, Any]]:
    """The metadata that a materialization of January and of the zones records, by asset."""
    from lakehouse.defs.raw.assets import raw_assets
    from lakehouse.defs.resources import resources

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            raw_assets,
            partition_key="2024-01-01",
            resources=resources(lake.settings),
            instance=instance,
            selection=["raw/green_trips", "raw/taxi_zones"],
        )
        assert result.success
        events = [event.materialization for event in result.get_asset_materialization_events()]
    return {
        event.asset_key.to_user_string(): {name: said.value for name, said in event.metadata.items()}
        for event in events
    }


ALL_CHECKS = {"rows_match_file", "keys_are_unique", "columns_are_declared", "few_strays", "few_nulls"}


def checked(lake: Lake, selection: dg.AssetSelection) -> dict[str, bool]:
    """What a run of January reports of the checks of green trips."""
    from lakehouse.defs.raw.assets import raw_assets
    from lakehouse.defs.resources import resources

    job = dg.define_asset_job("job", selection)
    definitions = dg.Definitions(raw_assets, jobs=[job], resources=resources(lake.settings))
    loads = job.selection.resolve([*raw_assets])
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("job").execute_in_process(
            instance=instance, partition_key="2024-01-01" if loads else None, raise_on_error=False
        )
        return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def test_a_month_that_is_loaded_already_records_its_snapshot(lake: Lake) -> None:
    lake.landing.put(DatasetFile("green", Month(2024, 1)), lake.generate("green", "2024-01", 50), "test")
    lake.landing.put(DatasetFile("zones"), write_zones(lake.scratch / "taxi_zone_lookup.csv"), "test")

    loaded, unchanged = materialized(lake), materialized(lake)

    for asset in ("raw/green_trips", "raw/taxi_zones"):
        current = str(lake.table(asset.replace("/", ".")).metadata.current_snapshot_id)
        assert (loaded[asset]["action"], unchanged[asset]["action"]) == ("loaded", "unchanged")
        assert loaded[asset]["snapshot_id"] == unchanged[asset]["snapshot_id"] == current
        assert "None" not in {str(value) for said in (loaded, unchanged) for value in said[asset].values()}
    merged = {name: loaded["raw/taxi_zones"][name] for name in ("inserted", "updated", "unchanged", "removed")}
    assert merged == {"inserted": 265, "updated": 0, "unchanged": 0, "removed": 0}
    assert "inserted" not in loaded["raw/green_trips"]


def test_checks_report_only_what_they_looked_at(lake: Lake) -> None:
    lake.landing.put(DatasetFile("green", Month(2024, 1)), lake.generate("green", "2024-01", 50), "test")
    key = dg.AssetKey(["raw", "green_trips"])

    first, again = checked(lake, dg.AssetSelection.assets(key)), checked(lake, dg.AssetSelection.assets(key))
    alone = checked(lake, dg.AssetSelection.checks(dg.AssetCheckKey(key, "rows_match_file")))

    assert first.keys() == ALL_CHECKS
    # a file that the table holds is not opened again, so nobody has seen its columns
    assert again.keys() == ALL_CHECKS - {"columns_are_declared"}
    assert alone == {"rows_match_file": True}


def test_a_month_that_was_never_published_needs_no_table(lake: Lake, tmp_path: Path) -> None:
    from lakehouse.defs.landing.assets import landing_asset
    from lakehouse.defs.raw.assets import raw_asset
    from lakehouse.defs.resources import resources

    (tmp_path / "published").mkdir()
    settings = lake.settings.model_copy(update={"tlc_source": str(tmp_path / "published")})
    assets = [landing_asset(DATASETS["green"]), raw_asset(DATASETS["green"])]
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(assets, partition_key="2024-01-01", resources=resources(settings), instance=instance)

    assert done.success
    assert done.get_asset_check_evaluations() == []


def test_a_refused_month_does_not_stop_the_others_of_its_run(lake: Lake) -> None:
    """No run is asked for the others again. The run fails, and names what was refused; the others are checked."""
    from lakehouse.defs.raw.assets import raw_assets
    from lakehouse.defs.resources import resources

    months = ["2024-01", "2024-02", "2024-03", "2024-04"]
    for number, month in enumerate(months):
        good = lake.generate("green", month, 50 + number)
        broken = month in months[::2]
        lake.land("green", month, lake.write("green", month, pq.read_table(good).select([0, 1])) if broken else good)

    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize(
            raw_assets,
            tags={FIRST: "2024-01-01", LAST: "2024-04-01"},
            resources=resources(lake.settings),
            instance=instance,
            selection=["raw/green_trips"],
            raise_on_error=False,
        )
        keys = [event.partition for event in run.get_asset_materialization_events()]
        checked = {check.check_name for check in run.get_asset_check_evaluations()}
        (failure,) = [event.step_failure_data for event in run.get_step_failure_events()]

    assert not run.success
    assert keys == ["2024-02-01", "2024-04-01"]
    assert [(row.file_month, row.added_rows) for row in lake.history("raw.green_trips")] == [
        ("2024-02", 51),
        ("2024-04", 53),
    ]
    assert checked == ALL_CHECKS
    lines = str(failure.error_display_string).splitlines()
    assert [month for line in lines for month in months if f"green_tripdata_{month}" in line] == months[::2]


def test_a_month_that_cannot_land_does_not_stop_the_others_of_its_run(lake: Lake, tmp_path: Path) -> None:
    """The source has it, and it can't be taken. The run loads the others, then fails with the source's own words."""
    from lakehouse.defs.landing.assets import landing_assets
    from lakehouse.defs.raw.assets import raw_assets
    from lakehouse.defs.resources import resources

    for number, month in enumerate(("2024-01", "2024-02", "2024-03")):
        file = DatasetFile("green", Month.parse(month))
        lake.generate("green", month, 50 + number).rename(tmp_path / file.name)
    broken = tmp_path / DatasetFile("green", Month(2024, 1)).name
    broken.with_name(f"{broken.name}.json").write_text("no record", "utf-8")

    with dg.DagsterInstance.ephemeral() as instance:

        def run(*selection: str) -> str:
            result = dg.materialize(
                [*landing_assets, *raw_assets],
                tags={FIRST: "2024-01-01", LAST: "2024-03-01"},
                resources=resources(lake.settings.model_copy(update={"tlc_source": str(tmp_path)})),
                instance=instance,
                selection=list(selection),
                raise_on_error=False,
            )
            (failure,) = result.get_step_failure_events()
            return str(failure.step_failure_data.error_display_string)

        said = [run("landing/green_trips")]
        landed = instance.get_materialized_partitions(dg.AssetKey(["landing", "green_trips"]))
        said.append(run("landing/green_trips", "raw/green_trips"))
        loaded = instance.get_materialized_partitions(dg.AssetKey(["raw", "green_trips"]))

    assert landed == loaded == {"2024-02-01", "2024-03-01"}
    assert [row.file_month for row in lake.history("raw.green_trips")] == ["2024-02", "2024-03"]
    assert all("can't be read as the record of where" in text for text in said)


def test_columns_that_changed_since_the_load_before_are_reported(lake: Lake) -> None:
    lake.load("green", "2023-12", lake.generate("green", "2023-12", 50))
    lake.landing.put(DatasetFile("green", Month(2024, 1)), lake.generate("green", "2024-01", 50), "test")
    key = dg.AssetKey(["raw", "green_trips"])
    with lake.table("raw.green_trips").update_schema() as change:
        change.add_column("weather", StringType())

    changed = checked(lake, dg.AssetSelection.assets(key))
    alone = checked(lake, dg.AssetSelection.checks(dg.AssetCheckKey(key, "same_columns")))
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 50))
    same = checked(lake, dg.AssetSelection.checks(dg.AssetCheckKey(key, "same_columns")))

    assert changed["same_columns"] is False
    assert (alone, same) == ({"same_columns": False}, {"same_columns": True})


@pytest.mark.parametrize("wrong", [False, True])
def test_a_check_alone_looks_at_the_newest_load(lake: Lake, *, wrong: bool) -> None:
    for month in ("2024-01", "2024-02"):
        lake.load("green", month, lake.generate("green", month, 50))
    if wrong:
        lake.land("green", "2024-02", lake.generate("green", "2024-02", 60, seed=1))

    check = dg.AssetCheckKey(dg.AssetKey(["raw", "green_trips"]), "rows_match_file")

    assert checked(lake, dg.AssetSelection.checks(check)) == {"rows_match_file": not wrong}


def test_a_step_that_fails_after_its_load_and_is_repeated_loads_again_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakehouse.defs.raw import assets
    from lakehouse.defs.resources import resources

    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))
    monkeypatch.setattr("lakehouse.defs.failures.FIRST_WAIT_SECONDS", 0)
    real: Any = assets.__dict__["preview"]
    outages = [ServiceError("the store is away")]

    def preview(*arguments: Any) -> Any:
        if outages:
            raise outages.pop()
        return real(*arguments)

    monkeypatch.setattr(assets, "preview", preview)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            list(assets.raw_assets),
            partition_key="2024-01-01",
            resources=resources(lake.settings),
            instance=instance,
            selection=["raw/green_trips"],
            run_config={"ops": {"raw__green_trips": {"config": {"again": True}}}},
        )

    assert (result.success, outages) == (True, [])
    assert [row.total_rows for row in lake.history("raw.green_trips")] == [50, 50]


@pytest.mark.parametrize("asset", ["raw/green_trips", "raw/taxi_zones", "iceberg_schemas"])
@pytest.mark.parametrize("opens", [False, True], ids=["away", "fails once it is open"])
def test_a_catalog_that_is_away_is_asked_again(
    lake: Lake, asset: str, opens: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakehouse.defs.raw.assets import raw_assets
    from lakehouse.defs.raw.schemas import iceberg_schemas
    from lakehouse.defs.resources import ObjectStore, resources

    lake.landing.put(DatasetFile("green", Month(2024, 1)), lake.generate("green", "2024-01", 50), "test")
    lake.landing.put(DatasetFile("zones"), write_zones(lake.scratch / "taxi_zone_lookup.csv"), "test")
    landed = ObjectStore(target="embedded", home=str(lake.settings.home))
    monkeypatch.setattr("lakehouse.defs.failures.FIRST_WAIT_SECONDS", 0)
    away = "http://127.0.0.1:9"
    with dg.DagsterInstance.ephemeral() as instance, failing_catalog() as failing:
        settings = Settings(
            LAKEHOUSE_TARGET="trino", LAKEHOUSE_HOME=tmp_path, REST_URL=failing if opens else away, S3_URL=away
        )
        result = dg.materialize(
            [*raw_assets, iceberg_schemas],
            partition_key="2024-01-01" if asset == "raw/green_trips" else None,
            resources=resources(settings) | {"object_store": landed},
            instance=instance,
            selection=[asset],
            raise_on_error=False,
        )
        events = result.all_events
        retries = [e for e in events if e.event_type == dg.DagsterEventType.STEP_RESTARTED]
        errors = [e.step_retry_data.error for e in events if e.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]

    assert not result.success
    assert len(retries) == 3
    assert all(settings.rest_url in str(error) for error in errors)


def test_a_failed_description_is_told_when_dbt_has_ended(lake: Lake) -> None:
    """Another attempt follows, which must not build beside the first."""
    ended = []

    def dbt() -> Iterator[dg.Output[None]]:
        yield dg.Output(None, "first")
        yield dg.Output(None, "second")
        ended.append(True)

    def describe(_: dg.Output[None]) -> None:
        raise OSError("away")

    with pytest.raises(ServiceError, match="away"):
        list(described(dbt(), describe, lake.catalog))

    assert ended
