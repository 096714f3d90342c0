"""Resources: typed, swappable, and without secrets for the UI to show; and what failures and months become."""

# No postponed annotations here: Dagster reads them while it decorates.

import errno
import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from tests.lake import Lake
from tests.unit.dagster_project import Project

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import parse_months
from lakehouse.datasets.registry import DATASETS, whole
from lakehouse.defs.failures import failures
from lakehouse.errors import (
    ChangedError,
    CommitError,
    LakehouseError,
    LockedError,
    NotPublishedError,
    OvertakenError,
    RefusedError,
    ServiceError,
    SourceError,
    UnconfirmedError,
    UnreachableError,
)
from lakehouse.filesystem import described
from lakehouse.settings import Settings

# Outside of Dagster's own loading, which keeps quiet about it; and what Dagster calls of itself that it deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:InitResourceContext:DeprecationWarning"),
]

RENDERED = """
import json
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_shared.serdes import serialize_value
from lakehouse.definitions import defs
repository = defs().get_repository_def()
snap = RepositorySnap.from_def(repository)
resources = {r.name: r.configured_values for r in snap.resources}
print(json.dumps({"all": serialize_value(snap), "resources": {n: {k: v.value if hasattr(v, "value") else str(v)
    for k, v in values.items()} for n, values in resources.items()}}))
"""


def test_what_dagster_shows_of_the_definitions_holds_no_secret(tmp_path: Path) -> None:
    secrets = {"S3_SECRET_KEY": "sesame-of-the-store", "TRINO_PASSWORD": "sesame-of-trino"}
    project = Project(tmp_path, secrets | {"LAKEHOUSE_TARGET": "trino", "TRINO_URL": "https://trino.example.com"})

    found = project.ask(RENDERED, warnings="default")  # Dagster reads a property of its own that it deprecates

    assert "sesame" not in found["all"]
    assert "S3_SECRET_KEY" in found["all"]
    assert {"publisher", "object_store", "catalog", "trino", "dbt"} <= found["resources"].keys()


def test_a_resource_can_be_swapped(lake: Lake, tmp_path: Path) -> None:
    from lakehouse.defs.landing.assets import landing_assets
    from lakehouse.defs.resources import Publisher, resources

    file = lake.generate("green", "2024-01", 50)
    swapped = resources(lake.settings) | {"publisher": Publisher(source=str(file.parent))}

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            landing_assets,
            partition_key="2024-01-01",
            resources=swapped,
            instance=instance,
            selection=["landing/green_trips"],
        )

    landed = lake.landing.find(DatasetFile("green", Month(2024, 1)))
    assert result.success
    assert landed is not None
    assert landed.size == file.stat().st_size


def test_resources_of_trino_take_secrets_when_a_run_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lakehouse.defs.resources import ObjectStore, resources

    monkeypatch.setenv("S3_SECRET_KEY", "sesame")
    store = resources(Settings(LAKEHOUSE_TARGET="trino"))["object_store"]

    assert isinstance(store, ObjectStore)
    assert "sesame" not in str(store)
    with dg.build_resources({"object_store": store}) as built:
        assert built.object_store.variables()["S3_SECRET_KEY"] == "sesame"


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (ServiceError("down"), 4),
        (UnconfirmedError("no answer"), 4),
        (CommitError("refused"), 1),
        (UnreachableError("slow"), 4),
        (ChangedError("still written"), 4),
        (LockedError("somebody lands it"), 4),
        (OvertakenError("somebody loads it"), 4),
        (SourceError("cut short"), 1),
        (NotPublishedError("not yet"), 1),
        (RefusedError("bad file"), 1),
        (PermissionError(errno.EACCES, "Permission denied", "/disk/file"), 1),
    ],
)
def test_only_what_may_pass_is_tried_again_and_the_error_is_its_sentence(
    error: LakehouseError | OSError, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.defs.failures.FIRST_WAIT_SECONDS", 0)
    calls = []

    @dg.asset
    def fails(context: dg.AssetExecutionContext) -> None:
        with failures(context):
            calls.append(context.retry_number)
            raise error

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([fails], instance=instance, raise_on_error=False)

    (failure,) = [e.step_failure_data for e in result.all_events if e.event_type == dg.DagsterEventType.STEP_FAILURE]
    assert not result.success
    assert calls == list(range(attempts))
    said = described(error, "The step stopped there.") if isinstance(error, OSError) else str(error)
    assert failure.error_display_string == said
    assert failure.user_failure_data is not None
    assert failure.user_failure_data.description == said


@pytest.mark.parametrize(
    ("months", "runs"),
    [
        ("2024-01", [("2024-01", "2024-01")]),
        ("2024-02 2024-01", [("2024-01", "2024-02")]),
        ("2023-12..2024-02 2024-04", [("2023-12", "2024-02"), ("2024-04", "2024-04")]),
    ],
)
def test_months_are_cut_into_runs_wherever_one_is_missing(months: str, runs: list[tuple[str, str]]) -> None:
    from lakehouse.cli.launch import spans

    assert [(str(first), str(last)) for first, last in spans(parse_months(months.split()))] == runs


def test_a_month_that_dagster_does_not_offer_is_one_message(tmp_path: Path) -> None:
    output = Project(tmp_path, {}).python("-m", "lakehouse", "run", "2019-05", "2031-01", code=1)

    assert "error: 2019-05 is before LAKEHOUSE_FIRST_MONTH (2023-01). Nothing was run. Set LAKEHOUSE" in " ".join(
        output.split()
    )
    assert "Traceback" not in output


def test_a_month_that_has_not_ended_is_no_earlier_month() -> None:
    from lakehouse.cli.launch import not_offered

    first, last = Month(2024, 1), Month(2026, 10)

    assert not_offered([Month(2031, 1)], first, last) == (
        "2031-01 has not ended yet. Nothing was run. Take months up to 2026-10."
    )
    assert not_offered([Month(2019, 5), Month(2019, 6), Month(2031, 1)], first, last).startswith(
        "2019-05, 2019-06 are before LAKEHOUSE_FIRST_MONTH (2024-01). Nothing was run. Set LAKEHOUSE_FIRST_MONTH to "
    )


def test_a_run_with_an_env_file_that_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    project = Project(tmp_path, {})
    (project.root / ".env").write_bytes(b"LAKEHOUSE_TARGET=\xff\xfe\n")

    output = project.python("-m", "lakehouse", "run", "2024-01", code=1)

    assert "error: " in output
    assert ".env" in output
    assert "Traceback" not in output


def test_the_manifest_is_made_again_only_when_dbt_files_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakehouse.tested import fingerprint

    dbt = tmp_path / "dbt"
    (dbt / "models").mkdir(parents=True)
    (dbt / "target").mkdir()
    (dbt / "models" / "a.sql").write_text("select 1", encoding="utf-8")
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(tmp_path))
    settings = Settings(LAKEHOUSE_TARGET="embedded")
    first = fingerprint(settings)

    (dbt / "target" / "manifest.json").write_text(json.dumps({}), encoding="utf-8")
    same = fingerprint(settings)
    (dbt / "models" / "a.sql").write_text("select 2", encoding="utf-8")

    assert same == first
    assert fingerprint(settings) != first
    assert fingerprint(Settings(LAKEHOUSE_TARGET="trino")) != fingerprint(settings)


def test_the_schedule_is_off_and_asks_for_the_newest_months_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from lakehouse.defs.automation.schedules import newest_months

    taxis = [DATASETS["yellow"], DATASETS["green"]]  # a dataset of one's own may have a shorter lag
    monkeypatch.setattr("lakehouse.defs.automation.schedules.monthly", lambda: taxis)
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2024, 6, 22, 6, tzinfo=UTC))
    request = newest_months(context)

    assert newest_months.default_status == dg.DefaultScheduleStatus.STOPPED
    assert isinstance(request, dg.RunRequest)
    assert request.tags["dagster/asset_partition_range_start"] == "2024-02-01"
    assert request.tags["dagster/asset_partition_range_end"] == "2024-04-01"  # May can't be published yet
    asked = {dataset.table.replace("raw.", "landing__") for dataset in (*taxis, *whole())}
    assert request.run_config["ops"].keys() == asked
    assert asked >= {"landing__yellow_trips", "landing__green_trips", "landing__taxi_zones"}
