"""The asset `published/gold` and the job `publish`: readers see what was built and tested, or what they saw before."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.iceberg.publication import manifest_file
from lakehouse.loading.load import load
from lakehouse.synthetic.generate import write_zones

# Dagster's own: of parameters that are new, of resources that have resources, and of what dagster-dbt asks a context.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `(backfill_policy|include_sources)`"),
    pytest.mark.filterwarnings("ignore:InitResourceContext:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:AssetExecutionContext:DeprecationWarning"),
]

KEY = dg.AssetKey(["published", "gold"])
COUNT = "select sum(trips) as n from {}.fct_daily_trips"


def job() -> dg.JobDefinition:
    """The job `publish`. Its resources are those of the environment, which names the lakehouse of the test."""
    from lakehouse.definitions import defs

    return defs().resolve_job_def("publish")


def zones(lake: Lake) -> None:
    lake.scratch.mkdir(parents=True, exist_ok=True)
    lake.landing.put(DatasetFile("zones"), write_zones(lake.scratch / "taxi_zone_lookup.csv"), "test")
    load(lake.catalog, lake.landing, DatasetFile("zones"))


def failure(run: dg.ExecuteInProcessResult) -> str:
    [event] = run.filter_events(lambda event: event.event_type == dg.DagsterEventType.STEP_FAILURE)
    return str(event.step_failure_data.user_failure_data)


def forget(lake: Lake) -> None:
    """Nothing is known to be tested, as after a change of any file of dbt."""
    [notes] = lake.settings.home.glob("dbt/*/tested.json")
    notes.write_text(json.dumps(json.loads(notes.read_text("utf-8")) | {"fingerprint": "another"}), "utf-8")


@pytest.mark.slow
def test_a_run_shows_readers_what_it_has_built_and_tested(lake: Lake) -> None:
    """Also if the run was not asked for each table: here the zones came without Dagster."""
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 400))
    zones(lake)
    publishing = job()
    selected = [key for key in publishing.asset_layer.executable_asset_keys if "zones" not in key.path[-1]]

    with dg.DagsterInstance.ephemeral() as instance:
        run = publishing.execute_in_process(instance=instance, asset_selection=selected, raise_on_error=False)
        [event] = [one.asset_materialization for one in instance.fetch_materializations(KEY, limit=1).records]
        assert event is not None
        shown = json.loads(manifest_file(lake.settings).read_text("utf-8"))
        # the files of dbt are others now: of the next run's models, most are not asked for
        forget(lake)
        [mart] = [key for key in selected if key.path[-1] == "fct_daily_trips"]
        changed = job().execute_in_process(instance=instance, asset_selection=[mart, KEY], raise_on_error=False)
        lake.load("green", "2024-02", lake.generate("green", "2024-02", 300))
        alone = job().execute_in_process(instance=instance, asset_selection=[KEY], raise_on_error=False)

    said: dict[str, Any] = {name: value.value for name, value in event.metadata.items()}
    snapshots = {table: int(snapshot) for table, snapshot in said["snapshots"].items()}
    assert run.success
    assert changed.success, failure(changed)
    assert alone.success, failure(alone)
    assert lake.rows(COUNT.format("published")) == lake.rows(COUNT.format("gold"))
    assert snapshots == shown["snapshots"]
    assert (event.tags or {})["dagster/data_version"] == shown["name"] == said["name"]
    # gold was older than raw: it was built first
    assert lake.rows("select count(*) as n from raw.green_trips", "published") == [{"n": 700}]


def test_a_refused_build_fails_the_job_and_publishes_nothing(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 20))  # and no zones

    run = job().execute_in_process(raise_on_error=False)

    assert not run.success
    assert "lakehouse load zones" in failure(run)
    assert not manifest_file(lake.settings).exists()


def test_a_month_that_failed_its_check_in_an_earlier_run_is_not_published() -> None:
    from lakehouse.defs.published.assets import refuse_failed_parts
    from lakehouse.errors import TransformError

    def checked(instance: dg.DagsterInstance, month: str, *, passed: bool) -> None:
        @dg.asset_check(asset=["raw", "green_trips"], name="rows_match_file", blocking=True)
        def check() -> dg.AssetCheckResult:
            counts = {month: {"table": 1, "file": 1 if passed else 2}}
            return dg.AssetCheckResult(passed=passed, metadata={"months": counts, "wrong": {} if passed else counts})

        dg.materialize([check], instance=instance, raise_on_error=False, selection=dg.AssetSelection.all_asset_checks())

    with dg.DagsterInstance.ephemeral() as instance:
        refuse_failed_parts(instance)
        checked(instance, "2024-01", passed=False)
        checked(instance, "2024-02", passed=True)

        with pytest.raises(TransformError, match=r"doubled in 2024-01 of raw\.green_trips\. Nothing was published"):
            refuse_failed_parts(instance)
        checked(instance, "2024-01", passed=True)
        refuse_failed_parts(instance)


def test_the_snapshots_that_a_run_built_are_read_from_its_events(lake: Lake) -> None:
    from lakehouse.defs.published.assets import built_by

    @dg.asset(key=["gold", "fct_a"])
    def mart() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"snapshot_id": str(2**62)})

    @dg.asset(key=["raw", "a"])
    def raw() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"snapshot_id": "1"})

    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize([mart, raw], instance=instance)

        assert built_by(instance, run.run_id) == {"gold.fct_a": 2**62}
        assert built_by(instance, "another run") == {}


def test_gold_is_published_by_itself_unless_a_blocking_check_failed() -> None:
    from lakehouse.defs.automation.conditions import after_inputs

    @dg.asset(key_prefix="gold")
    def mart() -> None: ...

    @dg.asset(key_prefix="published", deps=[mart], automation_condition=after_inputs())
    def gold() -> None: ...

    def tested(instance: dg.DagsterInstance, *, passed: bool) -> None:
        @dg.asset_check(asset=mart, name="test", blocking=True)
        def check() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=passed)

        dg.materialize([mart, check], instance=instance, raise_on_error=False)

    @dg.asset_check(asset=mart, name="test", blocking=True)
    def declared() -> dg.AssetCheckResult:
        raise AssertionError

    graph = dg.Definitions([mart, gold], asset_checks=[declared])
    with dg.DagsterInstance.ephemeral() as instance:
        never = dg.evaluate_automation_conditions(graph, instance)
        tested(instance, passed=False)
        failed = dg.evaluate_automation_conditions(graph, instance, cursor=never.cursor)
        tested(instance, passed=True)
        passed = dg.evaluate_automation_conditions(graph, instance, cursor=failed.cursor)
        again = dg.evaluate_automation_conditions(graph, instance, cursor=passed.cursor)

    assert [one.total_requested for one in (never, failed, passed, again)] == [0, 0, 1, 0]
