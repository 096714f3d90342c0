"""`--as-of` moves every table of a query and nothing else."""

from datetime import UTC, datetime

import pytest

from lakehouse.engines.as_of import referenced_tables, travel, versions
from lakehouse.errors import QueryError
from lakehouse.iceberg.versions import AsOf, parse_as_of


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("published", AsOf("ref", "published")),
        ("2024-q1", AsOf("ref", "2024-q1")),
        ("2024-03-01", AsOf("time", datetime(2024, 3, 1, tzinfo=UTC))),
        ("2024-03-01T10:00:00.5+02:00", AsOf("time", datetime(2024, 3, 1, 8, 0, 0, 500_000, tzinfo=UTC))),
        ("Raw.Trips@12", AsOf("snapshot", 12, "raw.trips")),
    ],
)
def test_a_version_is_a_ref_a_time_or_one_tables_snapshot(text: str, version: AsOf) -> None:
    assert parse_as_of(text) == version


@pytest.mark.parametrize(
    "text",
    [
        "",
        "123",
        "x'; drop table t",
        "2024-13-01",
        "9999-12-31T23:00-05:00",
        "raw.trips@",
        "raw.trips@x",
        "trips@1",
    ],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match=r"no valid version|no day or time that exists"):
        parse_as_of(text)


def test_a_mistake_in_sql_is_told_without_codes_for_a_terminal() -> None:
    with pytest.raises(QueryError, match="The SQL can't be parsed") as caught:
        versions("select (1 from raw.trips", parse_as_of("published"), "duckdb")

    assert "\x1b" not in str(caught.value)


def test_ctes_aliases_and_metadata_tables_are_not_taken_for_tables() -> None:
    sql = """with trips as (select * from "Raw"."yellow_trips" y where x = ?)
        select (select count(*) from iceberg.silver.zones z) from trips, information_schema.tables,
        tpch.tiny.nation, "raw"."yellow_trips$snapshots", unnest(trips.a) as u(v) union all table raw.green_trips"""

    assert referenced_tables(sql, "trino") == ["raw.green_trips", "raw.yellow_trips", "silver.zones"]


def test_the_clause_follows_the_name_and_the_rest_stays_as_written() -> None:
    sql = "select /* ü */ 'from raw.b' from raw.a as x(c) join raw.b y on true where c = ?"

    moved = travel(sql, lambda name: 3 if name == "raw.a" else 7)

    assert moved == (
        "select /* ü */ 'from raw.b' from raw.a FOR VERSION AS OF 3 as x(c)"
        " join raw.b FOR VERSION AS OF 7 y on true where c = ?"
    )


def test_a_table_with_a_version_of_its_own_keeps_it() -> None:
    sql = "select * from raw.a for version as of 3 join raw.a for timestamp as of current_timestamp on true"

    assert travel(sql, lambda _: 7) == sql


def test_one_tables_snapshot_moves_that_table_only() -> None:
    at = parse_as_of("raw.a@7")

    assert versions("select * from raw.a, raw.b", at, "trino") == {"raw.a": at}
    with pytest.raises(QueryError, match=r"a version of raw\.a, but .*reads raw\.b"):
        versions("select * from raw.b", at, "trino")


@pytest.mark.parametrize("sql", ["select 1; select 2", "delete from raw.a", "show tables", "explain select 1", "selec"])
def test_only_one_query_can_be_moved(sql: str) -> None:
    with pytest.raises(QueryError, match=r"exactly one SELECT|parsed"):
        travel(sql, lambda _: None)


@pytest.mark.parametrize("text", ["publication-20240101T000000Z", "2024-03-01", "published.fct@7"])
def test_a_view_of_the_last_publication_has_no_versions(text: str) -> None:
    with pytest.raises(QueryError, match=r"always shows the last publication.*Read gold\.fct with --as-of"):
        versions("select * from gold.a join published.fct on true", parse_as_of(text), "trino")


def test_a_view_of_the_last_publication_can_be_asked_as_of() -> None:
    sql = "select * from gold.a join published.fct on true"

    assert list(versions(sql, parse_as_of("published"), "trino")) == ["gold.a"]
    assert list(versions(sql, parse_as_of("gold.a@7"), "trino")) == ["gold.a"]


@pytest.mark.parametrize("sql", ["select 1", "table information_schema.tables", 'select * from "raw"."a$files"'])
def test_a_query_that_nothing_would_move_is_refused(sql: str) -> None:
    with pytest.raises(QueryError, match="reads no table that has versions, so it can't be read as of published"):
        versions(sql, parse_as_of("published"), "trino")


@pytest.mark.parametrize("beside", ["", "raw.b, "])
def test_a_table_as_an_argument_is_refused_and_a_query_is_moved(beside: str) -> None:
    sql = f"select * from {beside}table(exclude_columns(input => table(%s), columns => descriptor(a)))"

    with pytest.raises(QueryError, match=r"table\(select \* from raw\.green_trips\)"):
        versions(sql % "raw.green_trips", parse_as_of("published"), "trino")
    assert "raw.green_trips" in versions(sql % "select * from raw.green_trips", parse_as_of("published"), "trino")
