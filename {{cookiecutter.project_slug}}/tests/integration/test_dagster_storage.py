"""Dagster's storage on Postgres, as a deployment has it: another process finds the runs and their events."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from tests.integration.database import PASSWORD, postgres
from tests.unit.dagster_project import PROJECT


def test_runs_and_events_are_kept_on_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dg.asset
    def kept() -> None: ...

    storage = (PROJECT / "deploy" / "dagster" / "postgres.yaml").read_text("utf-8")
    (tmp_path / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{storage}", encoding="utf-8")
    with postgres() as database:
        for name, value in {
            "HOST": "127.0.0.1",
            "PORT": str(database.port),
            "DB": "rentals",
            "USER": "lakehouse",
            "PASSWORD": PASSWORD,
        }.items():
            monkeypatch.setenv(f"DAGSTER_POSTGRES_{name}", value)
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            made = dg.materialize([kept], instance=instance)

        with dg.DagsterInstance.from_config(str(tmp_path)) as another:
            (run,) = another.get_runs()
            found = another.get_latest_materialization_event(dg.AssetKey("kept"))
        ((rows,),) = database.run("select count(*) from runs")

    assert (run.run_id, run.status) == (made.run_id, dg.DagsterRunStatus.SUCCESS)
    assert found is not None
    assert rows == 1
    assert not list(tmp_path.glob("**/*.db"))  # nothing went to SQLite instead
