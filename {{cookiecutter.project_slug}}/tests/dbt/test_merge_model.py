"""Models that are merged by key, on `embedded`: one snapshot with counts, what did not change is not written again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Transaction
from tests.dbt.merging import MODEL, NEW_ROWS_ONLY, SILVER, YML, Customers, check_a_merged_model, put
from tests.kills import Kills
from tests.lake import Lake
from tests.marks import takes_minutes

from lakehouse.dbt_duckdb.commit_model import Model, merge_by_key, replace_all
from lakehouse.engines.duckdb import connect
from lakehouse.errors import CommitError, TransformError
from lakehouse.iceberg.merge import Merged

Row = tuple[int | None, int | None, str | None]


@pytest.fixture
def cursor(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(lake.settings) as connection:
        yield connection


def merge(cursor: duckdb.DuckDBPyConnection, lake: Lake, *rows: Row, full_refresh: bool = False) -> Merged | int:
    """Merge rows of two key columns and a value into gold.both."""
    values = ", ".join(str(row).replace("None", "null") for row in rows)
    select = f"select a::bigint as a, b::bigint as b, c::varchar as c from (values {values}) as v (a, b, c)"
    model = Model("gold.both", select, {}, full_refresh=full_refresh, unique_key=("a", "b"))
    with cursor.cursor() as own:
        return merge_by_key(own, lake.catalog, model)


def rows(lake: Lake) -> list[Row]:
    return [tuple(row.values()) for row in lake.rows("select * from gold.both order by all")]


def files(lake: Lake) -> set[str]:
    return {task.file.file_path for task in lake.table("gold.both").scan().plan_files()}


def test_a_data_file_without_a_changed_row_is_not_written_again(lake: Lake, cursor: duckdb.DuckDBPyConnection) -> None:
    merge(cursor, lake, (1, 1, "x"), (1, 2, None))
    merge(cursor, lake, (2, 1, "y"))
    [first, second] = files(lake)
    merged = merge(cursor, lake, (1, 1, "x"), (1, 2, None), (2, 1, "z"), (2, 2, "n"))

    assert merged == Merged(inserted=1, updated=1, unchanged=2, removed=0)
    assert rows(lake) == [(1, 1, "x"), (1, 2, None), (2, 1, "z"), (2, 2, "n")]
    assert len(files(lake) & {first, second}) == 1
    assert len(files(lake)) == 2
    newest = lake.history("gold.both")[-1]
    assert (newest.inserted, newest.updated, newest.unchanged) == (1, 1, 2)


@pytest.mark.parametrize(
    ("select", "says"),
    [
        ("select [1.5::decimal(10, 2)] as amounts", r"amounts has the type DECIMAL\(10,2\)\[\].* with unnest"),
        ("select 1::bigint as n", r"partition_by names day, which is no column of its select.* has the columns n\."),
    ],
)
def test_a_select_that_makes_no_table_is_one_message(
    lake: Lake, cursor: duckdb.DuckDBPyConnection, select: str, says: str
) -> None:
    partition_by = "day" if "bigint" in select else None
    with cursor.cursor() as own, pytest.raises(TransformError, match=says):
        replace_all(own, lake.catalog, Model("gold.both", select, {}, partition_by=partition_by))


def test_a_column_of_the_yml_without_a_type_is_told_so(lake: Lake, cursor: duckdb.DuckDBPyConnection) -> None:
    model = Model("gold.both", "select 1::bigint as n", {"n": {"description": "A number."}})
    with cursor.cursor() as own, pytest.raises(TransformError, match=r"n BIGINT, n without a data_type \(declared\)"):
        replace_all(own, lake.catalog, model)


def test_a_first_build_without_rows_makes_an_empty_table(lake: Lake, cursor: duckdb.DuckDBPyConnection) -> None:
    nothing = Model("gold.both", "select 1::bigint as a, 1::bigint as b where false", {}, unique_key=("a", "b"))
    for _ in range(2):
        with cursor.cursor() as own:
            assert merge_by_key(own, lake.catalog, nothing) == Merged(0, 0, 0, 0)

    assert rows(lake) == []
    assert len(lake.history("gold.both")) == 1


def test_a_table_with_a_key_twice_is_refused_until_it_is_rebuilt(lake: Lake, cursor: duckdb.DuckDBPyConnection) -> None:
    merge(cursor, lake, (1, 1, "x"))
    table = lake.table("gold.both")
    table.append(table.scan().to_arrow())

    with pytest.raises(TransformError, match=r"two rows with the same a and b.*--full-refresh --select both"):
        merge(cursor, lake, (1, 1, "y"))
    assert merge(cursor, lake, (1, 1, "y"), full_refresh=True) == 1
    assert rows(lake) == [(1, 1, "y")]


def test_a_part_of_a_key_may_not_be_null(lake: Lake, cursor: duckdb.DuckDBPyConnection) -> None:
    merge(cursor, lake, (1, 1, "x"))

    for full_refresh in (False, True):
        with pytest.raises(TransformError, match="no b, which is in its unique_key"):
            merge(cursor, lake, (1, None, "y"), full_refresh=full_refresh)
    assert rows(lake) == [(1, 1, "x")]


def test_a_merge_that_others_overtake_leaves_the_table_and_no_file(
    lake: Lake, cursor: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(cursor, lake, (1, 1, "x"))
    lake.history("gold.both")
    present = sorted(lake.settings.home.rglob("*.parquet"))

    def overtaken(_: Transaction) -> None:
        raise CommitFailedException("branch main has changed")

    monkeypatch.setattr(Transaction, "commit_transaction", overtaken)
    with pytest.raises(CommitError, match="another process wrote the table"):
        merge(cursor, lake, (1, 1, "y"))

    assert rows(lake) == [(1, 1, "x")]
    assert sorted(lake.settings.home.rglob("*.parquet")) == present


@pytest.mark.slow
def test_a_model_is_merged_by_key(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    customers = Customers(lake, tmp_path)
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(customers.root))

    check_a_merged_model(customers)

    counts = [(row.inserted, row.updated, row.unchanged) for row in lake.history(SILVER)]
    assert counts == [(2, 0, 0), (1, 1, 0), (1, 1, 0), (None, None, None), (0, 1, 0)]


@pytest.mark.slow
def test_an_empty_table_that_a_killed_first_build_left_is_filled(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers = Customers(lake, tmp_path)
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(customers.root))
    customers.write(MODEL + NEW_ROWS_ONLY, YML)
    put(lake, (1, "Ada", 1), (2, "Bo", 1))
    customers.built()
    schema = lake.table(SILVER).schema()
    lake.catalog.drop_table(SILVER)
    lake.catalog.create_table(SILVER, schema)

    assert customers.built() == "2 inserted, 0 updated, 0 unchanged"
    assert customers.rows == [(1, "Ada"), (2, "Bo")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("incremental_strategy='merge'", "needs incremental_strategy='merge' and a unique_key"),
        (
            "incremental_strategy='merge', unique_key='id', merge_update_columns=['name']",
            "merge_update_columns is not known",
        ),
    ],
)
def test_an_option_that_is_not_followed_is_refused(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, why: str
) -> None:
    customers = Customers(lake, tmp_path)
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(customers.root))
    put(lake, (1, "Ada", 1))
    text = (customers.root / "dbt/models/staging/stg_customers.sql").read_text("utf-8")
    text = text.replace("incremental_strategy='merge', unique_key=['id']", config)
    customers.write(text, (customers.root / "dbt/models/staging/stg_customers.yml").read_text("utf-8"))

    assert why in customers.refused()
    assert SILVER not in lake.engine.tables()


@pytest.mark.slow
@takes_minutes
def test_a_killed_merge_leaves_the_table_as_it_was_or_whole(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers = Customers(lake, tmp_path)
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(customers.root))
    environment = {"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": str(lake.settings.home)}
    build = Kills(environment, ("build", "--select", "stg_customers"), random.Random(3))  # noqa: S311 - moments
    states = [[(key, f"{name} {key}") for key in range(1, 4)] for name in ("old", "new")]
    for state in states:
        put(lake, *((key, name, 1) for key, name in state))
        build.run()

    for turn in range(2):
        put(lake, *((key, name, 1) for key, name in states[turn % 2]))
        build.kill()
        assert customers.rows in states
        build.run()
        assert customers.rows == states[turn % 2]
    assert build.killed
