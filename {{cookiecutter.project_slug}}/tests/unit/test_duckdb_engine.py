"""DuckDB over planned files: what a query sees, now and as of a version."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from pyiceberg.types import DecimalType, LongType

from lakehouse.engines import open_engine
from lakehouse.engines.duckdb import DuckDBEngine, connect, register_tables
from lakehouse.errors import BoundaryError, QueryError
from lakehouse.iceberg.catalog import open_catalog, table_names
from lakehouse.iceberg.publication import manifest_file
from lakehouse.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "it's a [home] 50%")


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    catalog = open_catalog(settings)
    catalog.create_namespace("raw")
    return catalog


@pytest.fixture
def engine(settings: Settings) -> DuckDBEngine:
    engine = open_engine(settings)
    assert isinstance(engine, DuckDBEngine)
    return engine


def views(connection: duckdb.DuckDBPyConnection) -> set[str]:
    found = connection.execute("select view_name from duckdb_views() where not internal").fetchall()
    return {name for (name,) in found}


def rows(**columns: Any) -> pa.Table:
    return pa.table(columns)


def trips(catalog: Catalog, *batches: pa.Table) -> Table:
    """`raw.trips` with one commit for each batch."""
    table = catalog.create_table("raw.trips", batches[0].schema)
    for batch in batches:
        table.append(batch)
    return table


def test_the_engine_of_embedded_reads_what_is_committed(catalog: Catalog, engine: DuckDBEngine) -> None:
    table = trips(catalog, rows(id=[1, 2]))
    before = engine.query("select count(*) as n from raw.trips").to_pylist()

    table.append(rows(id=[3]))

    assert before == [{"n": 2}]
    assert engine.query("select count(*) as n from raw.trips").to_pylist() == [{"n": 3}]
    assert engine.query("select count(*) as n from iceberg.raw.trips").to_pylist() == [{"n": 3}]


def test_a_table_without_rows_has_its_columns_and_types(catalog: Catalog, engine: DuckDBEngine) -> None:
    types = {"id": pa.int64(), "at": pa.timestamp("us"), "price": pa.decimal128(12, 2), "note": pa.string()}
    schema = pa.schema([pa.field(name, kind) for name, kind in types.items()])
    catalog.create_table("raw.trips", schema)

    result = engine.query("select * from raw.trips")

    assert result.num_rows == 0
    assert result.schema.equals(schema)


def test_files_of_an_older_schema_read_by_field_id(catalog: Catalog, engine: DuckDBEngine) -> None:
    table = trips(catalog, rows(id=pa.array([1], pa.int32()), old_name=["a"], gone=[9]))

    with table.update_schema() as update:
        update.rename_column("old_name", "name")
        update.delete_column("gone")
        update.update_column("id", LongType())
        update.add_column("gone", DecimalType(12, 2))  # the same name, another column
    table.append(rows(id=[2], name=["b"], gone=pa.array([Decimal("1.50")], pa.decimal128(12, 2))))

    assert engine.query("select id, name, gone from raw.trips order by id").to_pylist() == [
        {"id": 1, "name": "a", "gone": None},
        {"id": 2, "name": "b", "gone": Decimal("1.50")},
    ]


def test_a_snapshot_a_ref_and_a_time_give_the_earlier_state(catalog: Catalog, engine: DuckDBEngine) -> None:
    table = trips(catalog, rows(id=[1]), rows(id=[2]))
    first, second = engine.timeline("raw.trips").snapshots
    table.manage_snapshots().create_tag(first.snapshot_id, "audited").commit()
    count = "select count(*) as n from raw.trips"

    assert engine.query(count, as_of=f"raw.trips@{first.snapshot_id}").to_pylist() == [{"n": 1}]
    assert engine.query(count, as_of=f"raw.trips@{second.snapshot_id}").to_pylist() == [{"n": 2}]
    assert engine.query(count, as_of="audited").to_pylist() == [{"n": 1}]
    assert engine.query(count, as_of=second.committed_at.isoformat()).to_pylist() == [{"n": 2}]
    assert engine.query(count, as_of=first.committed_at.isoformat()).to_pylist() == [{"n": 1}]
    assert engine.query(count, as_of="2999-01-01").to_pylist() == [{"n": 2}]


def test_an_older_version_has_the_columns_of_its_time(catalog: Catalog, engine: DuckDBEngine) -> None:
    table = trips(catalog, rows(id=[1]))
    with table.update_schema() as update:
        update.add_column("note", LongType())
    table.append(rows(id=[2], note=[7]))
    first = engine.timeline("raw.trips").snapshots[0].snapshot_id

    assert engine.query("select * from raw.trips", as_of=f"raw.trips@{first}").column_names == ["id"]
    assert engine.query("select * from raw.trips").column_names == ["id", "note"]


def test_an_unknown_version_is_an_error_that_says_what_there_is(catalog: Catalog, engine: DuckDBEngine) -> None:
    trips(catalog, rows(id=[1]))
    first = engine.timeline("raw.trips").snapshots[0]
    sql = "select * from raw.trips"

    begin = first.committed_at.isoformat()[:16]
    with pytest.raises(QueryError, match=f"had no snapshot at .*history begins at {begin}"):
        engine.query(sql, as_of="2001-01-01")
    with pytest.raises(QueryError, match=r"raw\.trips is not published yet\. Run `lakehouse publish`"):
        engine.query(sql, as_of="published")
    with pytest.raises(QueryError, match=r"raw\.trips has no snapshot 17"):
        engine.query(sql, as_of="raw.trips@17")


def test_a_time_travels_to_what_was_current_then_not_to_what_was_newest(catalog: Catalog, engine: DuckDBEngine) -> None:
    table = trips(catalog, rows(id=[1]), rows(id=[2]))
    first = engine.timeline("raw.trips").snapshots[0]
    table.manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()

    after = datetime.now(UTC) + timedelta(seconds=1)

    assert engine.query("select * from raw.trips", as_of=after.isoformat()).num_rows == 1
    assert engine.timeline("raw.trips").current == first.snapshot_id


def test_the_history_is_told_oldest_first(catalog: Catalog, engine: DuckDBEngine) -> None:
    table = catalog.create_table("raw.trips", rows(id=[1]).schema)
    assert engine.timeline("raw.trips").snapshots == []
    assert engine.timeline("raw.trips").current is None

    table.append(rows(id=[1]), snapshot_properties={"lakehouse.run-id": "a run"})
    table.append(rows(id=[2]))

    first, second = engine.timeline("raw.trips").snapshots
    assert first.operation == "append"
    assert first.summary["lakehouse.run-id"] == "a run"
    assert first.parent_id is None
    assert second.parent_id == first.snapshot_id
    assert engine.timeline("raw.trips").current == second.snapshot_id
    assert [(ref.name, ref.kind, ref.snapshot_id) for ref in engine.timeline("raw.trips").refs] == [
        ("main", "branch", second.snapshot_id)
    ]
    assert engine.tables() == ["raw.trips"]


def test_bigint_sums_stay_integers_and_parameters_are_bound(catalog: Catalog, engine: DuckDBEngine) -> None:
    trips(catalog, rows(id=[1, 2, 3]))

    result = engine.query("select sum(id) as total from raw.trips where id > ?", [1])

    assert result.schema.field("total").type == pa.int64()
    assert result.to_pylist() == [{"total": 5}]


def test_a_parameter_is_never_read_as_sql(catalog: Catalog, engine: DuckDBEngine) -> None:
    word = "it' or 'a' = 'a"
    trips(catalog, rows(name=[word, "other", "it"]))

    result = engine.query("select name from raw.trips where name = ?", [word])

    assert result.to_pylist() == [{"name": word}]


def test_faults_in_sql_are_one_plain_message(catalog: Catalog, engine: DuckDBEngine) -> None:
    trips(catalog, rows(id=[1]))

    with pytest.raises(QueryError, match="syntax error"):
        engine.query("selec 1")
    with pytest.raises(QueryError, match=r"^There is no table raw\.nowhere\. The tables are: raw\.trips\.$"):
        engine.query("select * from raw.nowhere")
    with pytest.raises(QueryError, match=r"^There is no table raw\.trip\. Did you mean raw\.trips\?"):
        engine.query("select * from raw.trips join raw.trip using (id)")
    with pytest.raises(QueryError, match="no_such_function"):
        engine.query("select no_such_function(id) from raw.trips")
    with pytest.raises(QueryError, match="this SQL has 2"):
        engine.query("select 1; select 2")
    with pytest.raises(QueryError, match=r"There is no table raw\.nowhere\. The tables are: raw\.trips"):
        engine.timeline("raw.nowhere")


def test_a_table_with_delete_files_is_refused(
    catalog: Catalog, engine: DuckDBEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = trips(catalog, rows(id=[1]))

    class Task:
        delete_files = ("a delete file",)

    class Scan:
        def plan_files(self) -> list[Task]:
            return [Task()]

    # PyIceberg writes no delete files, so their presence is played.
    monkeypatch.setattr(type(table), "scan", lambda *_, **__: Scan())

    with pytest.raises(QueryError, match=r"raw\.trips has delete files"):
        engine.query("select * from raw.trips")


def test_nothing_is_downloaded_and_times_are_utc(settings: Settings) -> None:
    connection = connect(settings)

    shown = connection.execute(
        "select current_setting('autoinstall_known_extensions'), current_setting('TimeZone'),"
        " current_setting('temp_directory')"
    ).fetchone()

    assert shown == (False, "UTC", str(settings.home / "tmp"))
    connection.close()


def test_every_table_of_the_catalog_is_registered_unless_some_are_named(settings: Settings, catalog: Catalog) -> None:
    trips(catalog, rows(id=[1]))
    catalog.create_table("raw.zones", rows(zone=["a"]).schema)
    connection = connect(settings)

    register_tables(connection, catalog, only=["raw.zones", "raw.unheard_of"])
    some = {
        name for (name,) in connection.execute("select view_name from duckdb_views() where not internal").fetchall()
    }
    register_tables(connection, catalog)
    every = {
        name for (name,) in connection.execute("select view_name from duckdb_views() where not internal").fetchall()
    }

    assert some == {"zones"}
    assert every == {"zones", "trips"}
    assert table_names(catalog) == ["raw.trips", "raw.zones"]
    connection.close()


def test_a_view_of_the_last_publication_is_not_read_as_of_another_version(
    settings: Settings, catalog: Catalog, engine: DuckDBEngine
) -> None:
    catalog.create_namespace("gold")
    table = catalog.create_table("gold.days", rows(id=[1]).schema)
    table.append(rows(id=[1]))
    (published,) = engine.timeline("gold.days").snapshots
    table.manage_snapshots().create_branch(published.snapshot_id, "published").commit()
    manifest_file(settings).write_text(json.dumps({"snapshots": {"gold.days": published.snapshot_id}}), "utf-8")
    table.append(rows(id=[2]))
    sql = "select count(*) as n from published.days"

    for version in ("nonsense", "2999-01-01"):
        with pytest.raises(QueryError, match=r"published\.days always shows the last publication"):
            engine.query(sql, as_of=version)
    assert engine.query(sql, as_of="published").to_pylist() == engine.query(sql).to_pylist() == [{"n": 1}]


def test_a_statement_that_asks_which_tables_there_are_sees_all(catalog: Catalog, engine: DuckDBEngine) -> None:
    trips(catalog, rows(id=[1]))
    catalog.create_table("raw.zones", rows(zone=["a"]).schema)
    names = "select table_schema || '.' || table_name as name from information_schema.tables where table_schema = 'raw'"

    assert engine.query(f"{names} order by 1")["name"].to_pylist() == ["raw.trips", "raw.zones"]
    assert engine.query(f"{names} and (select count(*) from raw.trips) = 1").num_rows == 2
    assert engine.query("show all tables").num_rows == 2


def test_a_damaged_list_of_publications_stops_only_what_reads_it(
    settings: Settings, catalog: Catalog, engine: DuckDBEngine
) -> None:
    trips(catalog, rows(id=[1]))
    manifest_file(settings).write_text('{"snapshots": {"gold.days"', "utf-8")

    assert engine.query("select * from range(1)").num_rows == 1
    assert engine.query("select * from raw.trips").num_rows == 1
    with pytest.raises(BoundaryError, match=r"published\.json in .* is damaged .* run `lakehouse publish`"):
        engine.query("select * from published.days")


def test_a_table_that_cannot_be_read_stops_only_what_reads_it(catalog: Catalog, engine: DuckDBEngine) -> None:
    trips(catalog, rows(id=[1]))
    catalog.create_table("raw.nested", rows(point=[{"x": 1}]).schema)

    assert {row["name"] for row in engine.query("show all tables").to_pylist()} == {"trips"}
    assert engine.query("select * from range(1)").num_rows == 1
    with pytest.raises(QueryError, match=r"column point of raw\.nested has the type struct.* without this column"):
        engine.query("select * from raw.nested")


def test_a_query_without_a_from_opens_no_table(catalog: Catalog, engine: DuckDBEngine) -> None:
    catalog.create_namespace("gold")
    table = catalog.create_table("gold.days", rows(id=[1]).schema)
    Path(table.metadata_location.removeprefix("file://")).unlink()

    assert engine.query("select 1 as one").num_rows == 1
    with pytest.raises(BoundaryError, match="a file of a table is missing"):
        engine.query("select * from range(1)")


def test_a_name_for_two_columns_is_refused(engine: DuckDBEngine) -> None:
    with pytest.raises(QueryError, match=r"more than one column called n\. Give each a name of its own"):
        engine.query("select 1 as n, 2 as n, 3 as m")
