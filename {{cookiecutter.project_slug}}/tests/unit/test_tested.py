"""What was tested of which snapshots: a state is proven by notes about exactly its snapshots, and by nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Table
from pyiceberg.types import StringType
from tests.lake import Lake

from lakehouse import tested
from lakehouse.iceberg.refs import rollback
from lakehouse.settings import project_dir
from lakehouse.tested import Begun, begin, note, nothing_new, untested

RAW, MART = "raw.green_trips", "gold.fct_a"
MODEL, TEST, SOURCE_TEST = "model.lakehouse.fct_a", "test.lakehouse.agrees.1", "test.lakehouse.of_raw.2"


def node(kind: str, name: str, reads: list[str], **config: Any) -> dict[str, Any]:
    return {
        "unique_id": name,
        "resource_type": kind,
        "schema": "gold",
        "alias": "fct_a",
        "checksum": {"checksum": "abc"},
        "config": config,
        "depends_on": {"nodes": reads, "macros": ["macro.lakehouse.total"]},
    }


SOURCE = "source.lakehouse.raw.green_trips"
MANIFEST: dict[str, Any] = {
    "sources": {SOURCE: {"schema": "raw", "identifier": "green_trips"}},
    "macros": {"macro.lakehouse.total": {"macro_sql": "sum", "depends_on": {"macros": []}}},
    "nodes": {
        "model.lakehouse.int_a": node("model", "model.lakehouse.int_a", [SOURCE], materialized="ephemeral"),
        MODEL: node("model", MODEL, ["model.lakehouse.int_a"], materialized="table"),
        TEST: node("test", TEST, [MODEL, SOURCE]),
        SOURCE_TEST: node("test", SOURCE_TEST, [SOURCE]),
    },
}


@pytest.fixture
def made(lake: Lake) -> Lake:
    """A loaded month, and a mart that was made of it."""
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 20))
    rows = pa.table({"trips": [20]})
    lake.catalog.create_table(MART, rows.schema).append(rows)
    return lake


def ran(lake: Lake, ended: dict[str, str], begun: Begun | None = None) -> None:
    """A run of dbt in which these nodes ended so."""
    results = [{"unique_id": name, "status": status} for name, status in ended.items()]
    note(lake.settings, lake.catalog, MANIFEST, results, begun or started(lake))


@pytest.fixture
def own_dbt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of dbt's files, to change."""
    copy = shutil.copytree(project_dir() / "dbt", tmp_path / "project" / "dbt")
    monkeypatch.setattr(tested, "project_dir", lambda: tmp_path / "project")
    return copy


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")


ALL = {MODEL: "success", TEST: "pass", SOURCE_TEST: "warn"}


def started(lake: Lake) -> Begun:
    return begin(lake.settings, lake.catalog)


def missing(lake: Lake) -> tested.Untested | None:
    tables: list[Table] = [lake.table(name) for name in (RAW, MART)]
    return untested(lake.settings, tables)


def test_a_state_is_tested_once_all_of_it_passed(made: Lake) -> None:
    assert missing(made) == tested.Untested()  # no run of dbt yet

    ran(made, ALL)

    assert missing(made) is None


def test_runs_of_some_models_prove_a_state_together(made: Lake) -> None:
    ran(made, {MODEL: "success", SOURCE_TEST: "pass"})

    assert missing(made) == tested.Untested(tests=("agrees",))

    ran(made, {TEST: "pass"})

    assert missing(made) is None


def test_a_table_that_changed_is_named_with_all_that_read_it(made: Lake) -> None:
    ran(made, ALL)
    made.load("green", "2024-02", made.generate("green", "2024-02", 10))

    assert missing(made) == tested.Untested((RAW,), ("fct_a",), ("agrees", "of_raw"))


def test_a_mart_that_somebody_changed_is_not_tested(made: Lake) -> None:
    ran(made, ALL)
    made.table(MART).append(pa.table({"trips": [1]}))

    assert missing(made) == tested.Untested((MART,), ("fct_a",), ("agrees",))


def test_a_test_that_fails_on_the_same_rows_takes_its_note_away(made: Lake) -> None:
    ran(made, ALL)
    ran(made, {TEST: "fail"})

    assert missing(made) == tested.Untested(tests=("agrees",))


def test_a_load_taken_back_during_the_run_leaves_its_readers_untested(made: Lake) -> None:
    """dbt may have read the rows of the load, and the table looks as it did when the run began."""
    before = made.table(RAW).metadata.current_snapshot_id
    assert before
    begun = started(made)
    made.load("green", "2024-02", made.generate("green", "2024-02", 10))
    rollback(made.catalog, RAW, before)
    ran(made, ALL, begun)

    assert made.table(RAW).metadata.current_snapshot_id == before
    assert missing(made) == tested.Untested((RAW,), ("fct_a",), ("agrees", "of_raw"))
    assert nothing_new(made.settings, made.catalog, select=None, data_tests=True) is None


def test_files_of_dbt_that_changed_during_the_run_prove_nothing(made: Lake, own_dbt: Path) -> None:
    begun = started(made)
    file = own_dbt / "dbt_project.yml"
    kept = file.read_bytes()
    file.write_bytes(kept + b"\n# another\n")
    ran(made, ALL, begun)
    file.write_bytes(kept)

    assert nothing_new(made.settings, made.catalog, select=None, data_tests=True) is None


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b"\xff"], ids=["empty", "cut", "list", "no text"])
def test_notes_that_cannot_be_read_are_as_none(made: Lake, torn: bytes) -> None:
    ran(made, ALL)
    next(made.settings.home.glob("dbt/*/tested.json")).write_bytes(torn)

    assert nothing_new(made.settings, made.catalog, select=None, data_tests=True) is None
    ran(made, ALL)
    assert nothing_new(made.settings, made.catalog, select=None, data_tests=True)


def test_a_snapshot_of_dbts_or_a_hook_is_run_each_time(made: Lake) -> None:
    manifest = MANIFEST | {"nodes": MANIFEST["nodes"] | {"operation.a": node("operation", "operation.a", [])}}
    results = [{"unique_id": name, "status": status} for name, status in ALL.items()]
    note(made.settings, made.catalog, manifest, results, started(made))

    assert nothing_new(made.settings, made.catalog, select=None, data_tests=True) is None


def test_a_load_during_the_run_leaves_its_readers_untested(made: Lake) -> None:
    begun = started(made)
    made.load("green", "2024-02", made.generate("green", "2024-02", 10))
    ran(made, ALL, begun)

    found = missing(made)

    assert found
    assert found.changed == (RAW,)


def test_files_of_dbt_that_changed_make_all_of_it_untested(made: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(made, ALL)
    monkeypatch.setattr(tested, "fingerprint", lambda _: "another")

    assert missing(made) == tested.Untested((), ("fct_a",), ("agrees", "of_raw"))


def test_the_version_of_a_model_follows_what_it_is_made_of() -> None:
    first = tested.model_version(MANIFEST, MODEL)
    other = {**MANIFEST, "macros": {"macro.lakehouse.total": {"macro_sql": "avg", "depends_on": {"macros": []}}}}
    parent = {**MANIFEST["nodes"]["model.lakehouse.int_a"], "checksum": {"checksum": "def"}}
    below = {**MANIFEST, "nodes": {**MANIFEST["nodes"], "model.lakehouse.int_a": parent}}

    assert tested.model_version(MANIFEST, MODEL) == first
    assert len({first, tested.model_version(other, MODEL), tested.model_version(below, MODEL)}) == 3


def is_new(lake: Lake, select: str | None = None, *, data_tests: bool = True) -> bool:
    return nothing_new(lake.settings, lake.catalog, select=select, data_tests=data_tests) is None


def load_more(lake: Lake) -> None:
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 10))


def load_again(lake: Lake) -> None:
    lake.load("green", "2024-01", again=True)


def write_gold(lake: Lake) -> None:
    lake.table(MART).append(pa.table({"trips": [1]}))


def drop_gold(lake: Lake) -> None:
    lake.catalog.drop_table(MART)


def make_gold_again(lake: Lake) -> None:
    schema = lake.table(MART).schema()
    lake.catalog.drop_table(MART)
    lake.catalog.create_table(MART, schema)


def roll_raw_back(lake: Lake) -> None:
    first = lake.table(RAW).metadata.snapshots[0]
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 10))
    ran(lake, ALL)
    rollback(lake.catalog, RAW, first.snapshot_id)


def roll_gold_back(lake: Lake) -> None:
    first = lake.table(MART).metadata.snapshots[0]
    write_gold(lake)
    ran(lake, ALL)
    rollback(lake.catalog, MART, first.snapshot_id)


def add_a_column_to_raw(lake: Lake) -> None:
    with lake.table(RAW).update_schema() as update:
        update.add_column("more", StringType())


def fail_a_test(lake: Lake) -> None:
    ran(lake, {TEST: "fail"})


def fail_a_model(lake: Lake) -> None:
    ran(lake, {MODEL: "error", TEST: "skipped"})


@pytest.mark.parametrize(
    "event",
    [
        load_more,
        load_again,
        write_gold,
        drop_gold,
        make_gold_again,
        roll_raw_back,
        roll_gold_back,
        add_a_column_to_raw,
        fail_a_test,
        fail_a_model,
    ],
)
def test_a_build_has_something_to_do_after(made: Lake, event: Callable[[Lake], None]) -> None:
    assert is_new(made)
    ran(made, ALL)
    assert not is_new(made)

    event(made)

    assert is_new(made)
    assert is_new(made, "fct_a")


def test_what_reads_a_mart_that_is_made_again_is_asked_too(made: Lake) -> None:
    """The mart is as it was when this test passed, and will not be."""
    of_mart = "test.lakehouse.of_mart.3"
    manifest = MANIFEST | {"nodes": MANIFEST["nodes"] | {of_mart: node("test", of_mart, [MODEL])}}

    def run(*names: str) -> None:
        results = [{"unique_id": name, "status": "success"} for name in names]
        note(made.settings, made.catalog, manifest, results, started(made))

    assert started(made).stale is None
    run(*ALL, of_mart)
    assert started(made).stale == frozenset()

    load_more(made)
    assert started(made).stale == frozenset({*ALL, of_mart})

    run(MODEL, TEST, of_mart)
    assert started(made).stale == frozenset({SOURCE_TEST})
    assert begin(made.settings, made.catalog, all_parts=True).stale is None


def test_notes_of_an_older_version_leave_nothing_out(made: Lake) -> None:
    ran(made, ALL)
    file = next(made.settings.home.glob("dbt/*/tested.json"))
    notes = json.loads(file.read_text("utf-8"))
    del notes["own"]
    file.write_text(json.dumps(notes), "utf-8")

    assert started(made).stale is None


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/marts/fct_daily_trips.sql", "select", "select  "),
        ("macros/trips.sql", "airport", "airports"),
        ("seeds/vendors.csv", "\n", "\n9,Another\n"),
        ("models/marts/fct_daily_trips.yml", "description: ", "description: More. "),
        ("tests/quality_shares_add_up.sql", "select", "select  "),
        ("dbt_project.yml", "max_distance_miles: 200", "max_distance_miles: 1"),
    ],
)
def test_a_build_has_something_to_do_once_a_file_of_dbt_s_changes(
    made: Lake, own_dbt: Path, file: str, old: str, new: str
) -> None:
    ran(made, ALL)
    assert not is_new(made)

    change(own_dbt / file, old, new)

    assert is_new(made)


@pytest.mark.parametrize("words", ["current_date", "now()", "{{ run_started_at }}", "read_csv('fares.csv')"])
def test_a_model_that_reads_more_than_tables_is_always_built(made: Lake, own_dbt: Path, words: str) -> None:
    change(own_dbt / "models/marts/fct_daily_trips.sql", "select", f"select {words},")
    ran(made, ALL)

    assert is_new(made)
    assert started(made).stale is None


def test_a_setting_that_a_model_reads_is_part_of_what_was_built(
    made: Lake, own_dbt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(own_dbt / "models/marts/fct_daily_trips.sql", "select", "select {{ env_var('LIMIT') }},")
    monkeypatch.setattr(tested, "dbt_settings", lambda _: {"LIMIT": "1"})
    ran(made, ALL)
    assert not is_new(made)

    monkeypatch.setattr(tested, "dbt_settings", lambda _: {"LIMIT": "2"})

    assert is_new(made)


def test_models_without_tests_are_enough_where_no_test_is_wanted(made: Lake) -> None:
    ran(made, {MODEL: "success"})

    assert is_new(made)
    assert not is_new(made, data_tests=False)


def test_a_selection_of_names_is_covered_by_a_build_of_all(made: Lake) -> None:
    ran(made, ALL)

    assert not is_new(made, "+fct_a agrees")
    assert is_new(made, "fct_b")
    assert is_new(made, "tag:daily")
    assert is_new(made, "")


def test_warnings_of_the_tests_are_kept_until_they_run_again(made: Lake) -> None:
    note(
        made.settings,
        made.catalog,
        MANIFEST,
        [{"unique_id": name, "status": status, "message": "Got 1 result"} for name, status in ALL.items()],
        started(made),
    )
    found = nothing_new(made.settings, made.catalog, select=None, data_tests=True)
    assert found
    assert found.warnings == ("of_raw: Got 1 result",)

    ran(made, {SOURCE_TEST: "pass"})

    found = nothing_new(made.settings, made.catalog, select=None, data_tests=True)
    assert found
    assert found.warnings == ()


def test_nodes_that_another_writer_made_are_asked_until_this_one_has(
    made: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a run of some of them: it says nothing of the others."""
    ran(made, ALL)
    monkeypatch.setattr(tested, "_writer", lambda: "another")
    assert is_new(made)

    ran(made, {TEST: "pass"})

    assert is_new(made)
    assert started(made).stale == frozenset({MODEL, SOURCE_TEST, TEST})

    ran(made, ALL)
    assert not is_new(made)


def test_a_test_that_names_its_tables_in_sql_alone_is_asked_each_time(made: Lake) -> None:
    alone = "test.lakehouse.alone"
    manifest = MANIFEST | {"nodes": MANIFEST["nodes"] | {alone: node("test", alone, [])}}
    results = [{"unique_id": name, "status": "pass"} for name in (*ALL, alone)]

    note(made.settings, made.catalog, manifest, results, started(made))

    assert is_new(made)
    assert not is_new(made, data_tests=False)
    assert started(made).stale == frozenset({alone})
