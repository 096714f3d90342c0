"""`lakehouse sql` reads: whatever else a statement would do is refused by name before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.lake import Lake
from typer.testing import CliRunner

from lakehouse.cli import app
from lakehouse.engines.read_only import refuse_writing
from lakehouse.errors import QueryError

READS = [
    "select 1",
    "  -- why\n /* and\n what */ SELECT 1;",
    "(select 1) union all (select 2)",
    "with a as (select 1 as n) select * from a",
    "values (1)",
    "table raw.green_trips",
    "show tables",
    "describe raw.green_trips",
    "explain select 1",
    "explain analyze select 1",
    "explain (type logical) select 1",
    "",
]
WRITES = [
    ("copy (select 1) to '{}'", "COPY"),
    ("explain analyze copy (select 1) to '{}'", "COPY"),
    ("/* select */ EXPLAIN /* ! */ ANALYZE copy (select 1) to '{}'", "COPY"),
    ("export database '{}'", "EXPORT"),
    ("attach '{}' as other", "ATTACH"),
    ("create table raw.mine as select 1", "CREATE"),
    ("drop table raw.green_trips", "DROP"),
    ("delete from raw.green_trips", "DELETE"),
    ("insert into raw.green_trips select * from raw.green_trips", "INSERT"),
    ("update raw.green_trips set extra = 0", "UPDATE"),
    ("merge into raw.green_trips using raw.green_trips on true when matched then delete", "MERGE"),
    ("alter table raw.green_trips execute optimize", "ALTER"),
    ("call system.create_schema('x')", "CALL"),
    ("set memory_limit = '1GB'", "SET"),
    ("install httpfs", "INSTALL"),
    ("explain analyze delete from raw.green_trips", "DELETE"),
]


@pytest.mark.parametrize("engine", ["duckdb", "trino"])
@pytest.mark.parametrize("sql", READS)
def test_what_reads_passes(sql: str, engine: str) -> None:
    refuse_writing(sql, engine)


@pytest.mark.parametrize("engine", ["duckdb", "trino"])
def test_a_word_that_is_no_statement_is_no_attempt_to_write(engine: str) -> None:
    with pytest.raises(QueryError, match=r"runs only what reads: SELECT, .* begins with SELCT\. Nothing was run"):
        refuse_writing("selct 1", engine)


@pytest.mark.parametrize("sql", ["from range(3)", "summarize select 1", "pivot range(3) on range"])
def test_duckdbs_own_ways_to_read_pass(sql: str) -> None:
    refuse_writing(sql, "duckdb")


@pytest.mark.parametrize("engine", ["duckdb", "trino"])
@pytest.mark.parametrize(("sql", "kind"), WRITES)
def test_what_writes_is_refused_by_name(sql: str, kind: str, engine: str) -> None:
    with pytest.raises(QueryError, match=f"`lakehouse sql` only reads, and this is {kind}"):
        refuse_writing(sql.format("x"), engine)


def test_an_insert_behind_a_with_is_an_insert() -> None:
    with pytest.raises(QueryError, match="this is INSERT"):
        refuse_writing("with a as (select 1) insert into b select * from a", "duckdb")


def test_nothing_is_written(lake: Lake, tmp_path: Path) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))
    file = tmp_path / "out"

    for sql, kind in WRITES:
        done = CliRunner().invoke(app, ["sql", sql.format(file)])
        assert done.exit_code != 0
        assert kind in str(done.exception) + done.output
        assert not file.exists()
    assert lake.rows("select count(*) as n from raw.green_trips") == [{"n": 50}]
