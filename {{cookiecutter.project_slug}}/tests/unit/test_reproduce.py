"""A publication is proven by computing its gold again: equal cell by cell, or what differs and why it may."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.types import StringType
from tests.lake import Lake
from typer.testing import CliRunner

from lakehouse.cli import app
from lakehouse.datasets.file import DatasetFile
from lakehouse.engines.duckdb import register_at
from lakehouse.errors import QueryError
from lakehouse.history import reproduce as reproducing
from lakehouse.history.publish import publish
from lakehouse.history.reproduce import Compared, Reproduction, reproduce
from lakehouse.iceberg.catalog import table_names
from lakehouse.iceberg.publication import version_property
from lakehouse.iceberg.scratch import drop_old, new_prefix
from lakehouse.loading.load import load
from lakehouse.settings import project_dir
from lakehouse.synthetic.generate import write_zones

NAME = "publication-20240101T000000Z"
MART = "gold.fct_a"


@pytest.mark.slow
def test_an_old_publication_reproduces_after_restatements_and_more_loads(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 400))
    lake.landing.put(DatasetFile("zones"), write_zones(tmp_path / "taxi_zone_lookup.csv"), "test")
    load(lake.catalog, lake.landing, DatasetFile("zones"))
    lake.give_parse()
    name = publish(lake.settings).name
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 380, seed=7))  # restated
    lake.load("yellow", "2024-01", lake.generate("yellow", "2024-01", 300))  # had no rows then
    before = {table: lake.table(table).metadata.current_snapshot_id for table in lake.engine.tables()}

    found = reproduce(lake.settings, name)

    assert {one.table for one in found.tables} == {table for table in before if table.startswith("gold.")}
    assert found.equal, found
    assert next(one.rows for one in found.tables if one.table == "gold.dim_zones") == 265
    assert {table: lake.table(table).metadata.current_snapshot_id for table in lake.engine.tables()} == before
    assert {space[0] for space in lake.catalog.list_namespaces()} == {"gold", "raw", "silver"}
    assert {path.name for path in lake.settings.warehouse_dir.iterdir()} == {"gold", "raw", "silver"}

    copy = tmp_path / "project"
    shutil.copytree(project_dir() / "dbt", copy / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    mart = copy / "dbt" / "models" / "marts" / "dim_zones.sql"
    mart.write_text(f"select * from (\n{mart.read_text('utf-8')}\n) zones where location_id <> 7\n", "utf-8")
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(copy))
    changed = {one.table: one for one in reproduce(lake.settings, name).tables}

    zones = changed["gold.dim_zones"]
    assert (zones.equal, zones.published_rows, zones.reproduced_rows) == (False, 1, 0)
    assert (zones.first_rows[0]["only"], zones.first_rows[0]["location_id"]) == ("published", 7)
    assert "has changed since" in zones.reason
    assert changed["gold.fct_daily_trips"].equal


def made(lake: Lake, name: str, rows: pa.Table, **properties: str) -> None:
    lake.catalog.create_namespace_if_not_exists(name.partition(".")[0])
    table = lake.catalog.create_table(name, rows.schema, properties=properties)
    table.append(rows)
    table.manage_snapshots().create_tag(lake.table(name).metadata.current_snapshot_id or 0, NAME).commit()


def compared(lake: Lake, version: str | None) -> Compared:
    return reproducing._compare(lake.engine, lake.table(MART), NAME, version, lake.table("other.fct_a"))


def test_rows_are_compared_as_a_multiset_with_null_and_nan(lake: Lake) -> None:
    values = [None, float("nan"), 1.0, 1.0, -0.5]
    made(lake, MART, pa.table({"a": values, "b": ["x", None, "y", "y", "z"]}))
    made(lake, "other.fct_a", pa.table({"a": [values[i] for i in (4, 3, 1, 0, 2)], "b": ["z", "y", None, "x", "y"]}))

    assert compared(lake, None) == Compared(MART, 5)


def test_a_row_that_differs_is_shown_on_both_sides_with_the_cause(lake: Lake) -> None:
    made(lake, MART, pa.table({"a": [1, 2, 2]}), **{version_property(NAME): "abc"})
    made(lake, "other.fct_a", pa.table({"a": [1, 2, 3]}))

    found = compared(lake, "abc")

    assert (found.published_rows, found.reproduced_rows) == (1, 1)
    assert found.first_rows == ({"only": "published", "a": 2}, {"only": "reproduced", "a": 3})
    assert found.reason == reproducing.SAME_MODELS
    assert "has changed since" in compared(lake, "def").reason


def test_a_column_of_another_type_or_none_is_named(lake: Lake) -> None:
    made(lake, MART, pa.table({"a": [1], "b": ["x"], "gone": [1]}))
    made(lake, "other.fct_a", pa.table({"a": [1], "b": [1], "new": [1]}))

    found = compared(lake, None)

    assert (found.published_rows, found.columns, found.equal) == (0, ("b", "gone", "new"), False)
    assert "does not say" in found.reason


def test_an_unknown_publication_is_refused_with_those_that_exist(lake: Lake) -> None:
    with pytest.raises(QueryError, match="The publications are: none yet"):
        reproduce(lake.settings, NAME)
    made(lake, MART, pa.table({"a": [1]}))

    with pytest.raises(QueryError, match=rf"no publication 'published'.*The publications are: {NAME}"):
        reproduce(lake.settings, "published")


def test_raw_is_read_as_it_was_with_the_columns_of_today(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 30))
    first = lake.history("raw.green_trips")[0].snapshot_id
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 10))
    with lake.table("raw.green_trips").update_schema() as update:
        update.add_column("mood", StringType())

    with duckdb.connect() as connection:
        register_at(connection, lake.catalog, {"raw.green_trips": first, "raw.yellow_trips": None})

        green = connection.sql("select count(*), count(mood) from raw.green_trips").fetchall()
        yellow = connection.sql("select count(*), count(pickup_datetime) from raw.yellow_trips").fetchall()
    assert (green, yellow) == ([(30, 0)], [(0, 0)])


def test_scratch_schemas_are_seen_by_nobody_and_go_once_they_are_old(lake: Lake) -> None:
    made(lake, MART, pa.table({"a": [1]}))
    scratch = f"{new_prefix()}gold"
    made(lake, f"{scratch}.fct_a", pa.table({"a": [1]}))

    assert table_names(lake.catalog) == [MART]
    assert drop_old(lake.catalog, timedelta(days=1)) == []
    assert drop_old(lake.catalog, timedelta(0)) == [scratch]
    assert not (lake.settings.warehouse_dir / scratch).exists()
    assert lake.rows(f"select a from {MART}") == [{"a": 1}]


@pytest.mark.parametrize(("first_rows", "code"), [((), 0), (({"only": "published", "a": 2, "b": None},), 1)])
def test_the_command_ends_with_1_where_a_table_differs(
    monkeypatch: pytest.MonkeyPatch, first_rows: tuple[dict[str, Any], ...], code: int
) -> None:
    one = Compared(MART, 3, len(first_rows), 0, (), first_rows, "its model has changed" if first_rows else "")
    monkeypatch.setattr(reproducing, "reproduce", lambda *_, **__: Reproduction(NAME, (one,)))

    done = CliRunner().invoke(app, ["reproduce", NAME])

    assert done.exit_code == code, done.output
    assert ("only=published, a=2" in done.stdout) == bool(code)
    assert ("is reproduced: all 1 tables" in done.stdout) == (not code)
