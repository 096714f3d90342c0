"""Which tests a run of Dagster names to dbt, because they read a table that the run does not make."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from lakehouse.defs.dbt.assets import _compared

MODEL, SEED = dg.AssetKey(["silver", "trips"]), dg.AssetKey(["silver", "vendors"])


def node(kind: str, name: str, *reads: str, schema: str = "silver", materialized: str = "table") -> dict[str, Any]:
    return {
        "resource_type": kind,
        "name": name,
        "schema": schema,
        "config": {"materialized": materialized},
        "depends_on": {"nodes": list(reads)},
    }


NODES = {
    "seed.vendors": node("seed", "vendors"),
    "model.trips": node("model", "trips"),
    "model.both": node("model", "both", "model.trips", "seed.vendors", materialized="ephemeral"),
    "model.daily": node("model", "daily", "model.trips", schema="gold"),
    "test.alone": node("test", "alone", "model.trips"),
    "test.vendor_is_known": node("test", "vendor_is_known", "model.trips", "seed.vendors"),
    "test.through_no_table": node("test", "through_no_table", "model.both"),
    "test.as_many_as_days": node("test", "as_many_as_days", "model.trips", "model.daily"),
}
CHILDREN = {
    "model.trips": ["model.both", "model.daily", "test.alone", "test.vendor_is_known", "test.as_many_as_days"],
    "seed.vendors": ["model.both", "test.vendor_is_known"],
    "model.both": ["test.through_no_table"],
    "model.daily": ["test.as_many_as_days"],
}
TESTS = tuple(name.removeprefix("test.") for name in NODES if name.startswith("test."))


def named(made: set[dg.AssetKey], chosen: tuple[str, ...], *there: tuple[str, str]) -> list[str]:
    context: Any = SimpleNamespace(
        selected_asset_keys=made, selected_asset_check_keys={dg.AssetCheckKey(MODEL, name) for name in chosen}
    )
    catalog: Any = SimpleNamespace(table_exists=there.__contains__)
    return _compared(context, {"nodes": NODES, "child_map": CHILDREN}, catalog)


@pytest.fixture(autouse=True)
def without_a_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.defs.dbt.assets.service_errors", lambda _catalog: nullcontext())


def test_a_test_is_named_whose_other_table_is_there() -> None:
    """Also where a model without a table lies between. What is made of the model is as it was before: it is left."""
    assert named({MODEL}, TESTS, ("silver", "vendors"), ("gold", "daily")) == [
        "--select",
        "vendor_is_known through_no_table",
    ]


def test_none_is_named_whose_other_table_is_not_there() -> None:
    assert named({MODEL}, TESTS) == []


def test_none_is_named_that_reads_only_what_the_run_makes() -> None:
    assert named({MODEL, SEED}, ("alone", "vendor_is_known", "through_no_table"), ("silver", "vendors")) == []


def test_none_is_named_that_was_not_chosen() -> None:
    assert named({MODEL}, ("alone",), ("silver", "vendors")) == []
