"""What was tested of which snapshots: a state is proven by notes about exactly its snapshots, and by nothing else."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Table
from tests.lake import Lake

from lakehouse import tested
from lakehouse.tested import Begun, begin, note, untested

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


ALL = {MODEL: "success", TEST: "pass", SOURCE_TEST: "warn"}


def started(lake: Lake) -> Begun:
    return begin(lake.settings, {RAW: lake.table(RAW).metadata.current_snapshot_id})


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
