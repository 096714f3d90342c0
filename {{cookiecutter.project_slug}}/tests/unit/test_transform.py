"""What `build` checks before dbt runs, and what it makes of dbt's words and results. dbt itself: tests/dbt."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from filelock import FileLock
from tests.lake import Lake

from lakehouse import children, tested, transform
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Monthly
from lakehouse.datasets.registry import DATASETS
from lakehouse.dbt_environment import dbt_environment
from lakehouse.defs.dbt.manifest import manifest
from lakehouse.errors import LockedError, OvertakenError, TransformError
from lakehouse.iceberg.tables import ensure_raw_tables
from lakehouse.settings import Settings
from lakehouse.tested import enabled
from lakehouse.transform import build, repeated


def result(unique_id: str, status: str, message: str = "", *reads: str, **node: Any) -> dict[str, Any]:
    return {"unique_id": unique_id, "status": status, "message": message, "node": node, "reads": reads}


MODEL = result("model.lakehouse.fct_daily_trips", "success", "220 rows", schema="gold", name="fct_daily_trips")
NO_NODES: dict[str, Any] = {
    "nodes": {},
    "sources": {},
    "parent_map": {},
    "child_map": {},
    "unit_tests": {},
}  # of a manifest
TEST = result("test.lakehouse.not_null_fct_daily_trips_trips.0a1b2c", "pass")


@pytest.fixture
def dbt_says(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Results that stand in for a run of dbt."""
    results: list[dict[str, Any]] = []
    monkeypatch.setattr(transform, "_run", lambda *_, **__: (results, NO_NODES))
    return results


def test_raw_tables_that_do_not_exist_are_made_empty_first(lake: Lake, dbt_says: list[dict[str, Any]]) -> None:
    dbt_says += [MODEL, TEST]

    done = build(lake.settings)

    assert done.models == ("gold.fct_daily_trips",)
    assert done.tests == ("not_null_fct_daily_trips_trips",)
    assert lake.table("raw.green_trips").current_snapshot() is None


def test_a_load_during_the_build_is_noticed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_meanwhile(*_: Any, **__: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        lake.load("green", "2024-01", lake.generate("green", "2024-01", 20))
        return [MODEL], NO_NODES

    monkeypatch.setattr(transform, "_run", load_meanwhile)

    done = build(lake.settings)

    assert done.raw_moved == ("raw.green_trips",)
    assert done.raw_snapshots["raw.green_trips"] is None


def test_what_fails_while_its_input_moves_may_pass_in_another_build(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "source.lakehouse.raw.green_trips"
    test = result("test.lakehouse.rows_of_raw.1f", "fail", "Got 1 result", source)
    node = {"resource_type": "test", "config": {}, "depends_on": {"nodes": [source], "macros": []}}
    made_from = NO_NODES | {
        "nodes": {test["unique_id"]: node},
        "sources": {source: {"schema": "raw", "identifier": "green_trips"}},
    }
    monkeypatch.setattr(transform, "_refuse_without_zones", lambda _: None)
    months = ["2024-01"]

    def load_meanwhile(*_: Any, **__: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        for month in months:
            lake.load("green", month, lake.generate("green", month, 20))
        return [test], made_from

    monkeypatch.setattr(transform, "_run", load_meanwhile)

    with pytest.raises(OvertakenError, match=r"^raw\.green_trips changed during the[\s\S]*\nrows_of_raw: Got 1 result"):
        build(lake.settings)
    months.clear()
    with pytest.raises(TransformError, match=r"rows_of_raw: Got 1 result"):
        build(lake.settings)


def test_what_others_overtake_is_done_three_times_at_most(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def overtaken(times: int) -> int:
        calls.append(times)
        if len(calls) <= times:
            raise OvertakenError("raw.green_trips changed. Nothing was published.", "Run `lakehouse publish` again.")
        return len(calls)

    assert repeated(lambda: overtaken(2)) == 3
    calls.clear()
    with pytest.raises(OvertakenError):
        repeated(lambda: overtaken(3))
    assert len(calls) == 3
    assert "raw.green_trips changed. Nothing was published. Building again." in caplog.messages


def test_failures_are_named_with_what_they_say(lake: Lake, dbt_says: list[dict[str, Any]]) -> None:
    dbt_says += [
        MODEL,
        result("model.lakehouse.dim_zones", "error", "Binder\n  Error", schema="gold", name="dim_zones"),
        result("test.lakehouse.unique_dim_zones.1f", "fail", "Got 2 results, configured to fail if != 0"),
        result("test.lakehouse.not_null_dim_zones.1f", "skipped"),
    ]

    with pytest.raises(TransformError) as error:
        build(lake.settings)

    assert str(error.value) == (
        "dbt: 2 of its models, seeds and tests failed.\ngold.dim_zones: Binder Error\n"
        "unique_dim_zones: Got 2 results, configured to fail if != 0\n"
        "Skipped, because they depend on them: 1.\n"
        "Each table holds all that its model made, or is as it was. "
        f"Correct the causes and build again. The SQL that dbt ran is in {lake.settings.home}/dbt/embedded/compiled."
    )


@pytest.mark.parametrize(
    ("said", "is_missing"),
    [
        ("Runtime Error Catalog Error: Table with name stg_green_trips does not exist! Did you mean ...", True),
        (
            "TrinoUserError(type=USER_ERROR, name=TABLE_NOT_FOUND, message=\"Table 'iceberg.silver.stg_green_trips'",
            True,
        ),
        ("Runtime Error Catalog Error: Table with name of_nobody does not exist!", False),
        ('Runtime Error Binder Error: Referenced column "day" not found in FROM clause!', False),
    ],
)
def test_a_model_whose_parents_were_never_built_says_how_to_build_them(
    lake: Lake, dbt_says: list[dict[str, Any]], said: str, *, is_missing: bool
) -> None:
    reads = ("source.lakehouse.raw.zones", "model.lakehouse.stg_green_trips")
    dbt_says += [result("model.lakehouse.dim_zones", "error", said, *reads, schema="gold", name="dim_zones")]

    with pytest.raises(TransformError) as error:
        build(lake.settings, "dim_zones")

    assert ("Build it with its parents: lakehouse build --select +dim_zones" in str(error.value)) == is_missing


def test_warnings_are_given_not_raised(lake: Lake, dbt_says: list[dict[str, Any]]) -> None:
    dbt_says += [result("test.lakehouse.every_text_code_is_known", "warn", "Got 1 result, configured to warn if != 0")]

    assert build(lake.settings).warnings == ("every_text_code_is_known: Got 1 result, configured to warn if != 0",)


def test_trips_without_zones_are_refused(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 20))

    with pytest.raises(TransformError, match="Load it first: lakehouse load zones"):
        build(lake.settings)


def test_a_table_of_one_s_own_needs_no_zones(
    lake: Lake, dbt_says: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = (Column("id", "long"),)
    own = Dataset("orders", "Orders", "raw.orders", "orders_{month}.parquet", Monthly(since=Month(2024, 1)), columns)
    monkeypatch.setitem(DATASETS, "orders", own)
    file = lake.write("orders", "2024-01", pa.table({"id": [1, 2]}))
    lake.load("orders", "2024-01", file)
    dbt_says += [MODEL]

    assert build(lake.settings).models == ("gold.fct_daily_trips",)


def test_a_selection_of_nothing_is_no_success(lake: Lake, dbt_says: list[dict[str, Any]]) -> None:
    with pytest.raises(TransformError, match="'fct_dayly_trips' selects no model"):
        build(lake.settings, "fct_dayly_trips")


def test_a_selection_of_unit_tests_names_their_option(lake: Lake, dbt_says: list[dict[str, Any]]) -> None:
    with pytest.raises(TransformError, match=r"Unit tests run with --unit-tests only\.$"):
        build(lake.settings, "test_type:unit")
    with pytest.raises(TransformError, match=r"to build its parents too\.$"):
        build(lake.settings, "test_type:unit", unit_tests=True)


def test_two_builds_at_once_are_refused(lake: Lake, dbt_says: list[dict[str, Any]]) -> None:
    dbt_says += [MODEL]
    build(lake.settings)
    [lock] = lake.settings.home.glob("dbt/**/build.lock")

    with FileLock(lock), pytest.raises(TransformError, match=r"Another build.*build.lock.*Without `--no-wait`"):
        build(lake.settings)


def test_a_build_that_waited_is_not_sent_to_wait(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform, "BUILD_WAIT_SECONDS", 0.1)
    lock = lake.settings.home / "dbt" / "embedded" / "build.lock"
    lock.parent.mkdir(parents=True)

    with FileLock(lock), pytest.raises(TransformError, match="Another build") as caught:
        build(lake.settings, wait=True)

    assert "--no-wait" not in str(caught.value)


def test_a_lock_of_the_record_is_not_said_to_be_a_build(
    lake: Lake, dbt_says: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dbt_says += [MODEL]
    monkeypatch.setattr(tested, "_LOCK_SECONDS", 0.1)
    build(lake.settings)
    [lock] = lake.settings.home.glob("dbt/**/tested.lock")

    with FileLock(lock), pytest.raises(LockedError, match=r"^The record of what was tested is still locked"):
        build(lake.settings, again=True)


def test_dbt_that_is_ended_from_outside_is_not_quoted_as_the_cause(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    ends_itself = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    monkeypatch.setattr(children, "python", lambda *_: ends_itself)

    with pytest.raises(TransformError, match=r"ended from outside \(signal 9\).* lower DUCKDB_MEMORY_LIMIT\."):
        build(lake.settings)


def test_a_dbt_process_sees_no_variable_that_steers_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DBT_EMPTY", "DBT_RESOURCE_TYPES", "PYTHONSTARTUP", "PIP_USER", "DAGSTER_HOME", "PYICEBERG_HOME"):
        monkeypatch.setenv(name, "1")

    environment = dbt_environment(lake.settings)

    assert not {name for name in environment if name.startswith(("DBT_", "PIP_", "DAGSTER_", "PYICEBERG_"))}
    assert "PYTHONSTARTUP" not in environment
    assert environment["PATH"] == os.environ["PATH"]


def test_a_test_that_did_not_run_is_no_success() -> None:
    nodes = {
        "model.l.a": {"resource_type": "model", "config": {}},
        "test.l.a": {"resource_type": "test", "config": {}},
        "test.l.off": {"resource_type": "test", "config": {"enabled": False}},
    }
    asked = set(enabled({"nodes": nodes}))
    ran = [result("model.l.a", "success")]

    with pytest.raises(TransformError, match=r"did not run 1 of 2 models, seeds and tests: test\.l\.a"):
        transform._refuse_incomplete(asked, ran)
    transform._refuse_incomplete(asked, [*ran, result("test.l.a", "warn")])


def test_dbt_that_does_not_come_to_results_is_quoted(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_raw_tables(lake.catalog)
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(lake.scratch))  # where there is no dbt project

    with pytest.raises(TransformError, match=r"dbt ended with code 2 and left no results\. Each table .*:\n(.|\n)*dbt"):
        build(lake.settings)


def test_a_parse_that_fails_names_the_project_and_what_dbt_says(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(tmp_path))

    with pytest.raises(TransformError, match=r"can't read its project in .*/dbt\. No model was built\.") as caught:
        manifest(lake.settings)

    assert len(str(caught.value).splitlines()) > 1


def test_progress_is_told_for_each_model_and_test_only() -> None:
    def line(name: str, text: str, level: str = "info") -> str:
        return json.dumps({"info": {"name": name, "msg": text, "level": level}, "data": {}})

    def outcome(text: str) -> str:
        return transform._outcome(transform._event(text))

    assert outcome(line("LogModelResult", "1 of 2 OK")) == "info"
    assert outcome(line("LogTestResult", "2 of 2 ERROR", "error")) == "error"
    assert outcome(line("LogStartLine", "1 of 2 START")) == ""
    assert outcome("keyring module not found\n") == ""
    assert transform._event("keyring module not found\n")["info"]["msg"] == "keyring module not found\n"


def test_a_dbt_process_has_the_settings_under_their_names(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"LAKEHOUSE_TARGET": "trino", "LAKEHOUSE_HOME": tmp_path, "TRINO_PORT": 1234, "TRINO_PASSWORD": "a secret"}
    )

    environment = dbt_environment(settings)

    assert environment["LAKEHOUSE_TARGET"] == "trino"
    assert environment["TRINO_URL"] == "http://127.0.0.1:1234"
    assert environment["TRINO_PASSWORD"] == "a secret"
    assert environment["DUCKDB_MEMORY_LIMIT"] == "2GB"


@pytest.mark.parametrize(
    "name",
    [
        "test.lakehouse.fares are positive.0123456789",
        "test.lakehouse.b.c",
        "model.lakehouse.customers.v2",
        "model.lakehouse.+all",
    ],
)
def test_all_is_asked_where_a_name_would_select_something_else(name: str) -> None:
    plain = {"model.lakehouse.fct_a", "seed.lakehouse.zones", "test.lakehouse.agrees", "test.lakehouse.a.0123456789"}

    assert transform._by_name(plain) == plain
    assert transform._by_name({*plain, name}) == set()
