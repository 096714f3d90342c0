"""`lakehouse new-dataset NAME --database … --table …`: a table says its types and its key, and what it declares loads.

Here on SQLite; tests/integration/test_query.py has PostgreSQL.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from tests.lake import Lake
from typer.testing import CliRunner

from lakehouse.cli import app
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.registry import DATASETS
from lakehouse.datasets.sources import Query
from lakehouse.errors import LakehouseError, RefusedError, SourceError
from lakehouse.landing.land import land
from lakehouse.loading.load import load
from lakehouse.scaffold.dbt import staging_sql, staging_yml
from lakehouse.scaffold.declaration import declaration
from lakehouse.scaffold.guess import Guess
from lakehouse.scaffold.table import guess_table

TABLE = """
create table "Film Rental" (
    "RentalId" integer primary key, title varchar(100) not null, paid boolean, amount numeric(8, 2), weight real,
    due date, cover blob, code char(36), last_update timestamp not null
)
"""
ROW = (7, "a film", True, "2.50", 0.5, "2024-02-29", b"\x00", "x", "2024-01-31 10:00:00")


@pytest.fixture
def database(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SQLite file, named by RENTALS_URL; `lake` says where samples are kept meanwhile."""
    del lake
    file = tmp_path / "film.db"
    monkeypatch.setenv("RENTALS_URL", f"sqlite:///{file}")
    run(file, TABLE)
    run(file, f'insert into "Film Rental" values ({", ".join("?" * len(ROW))})', ROW)
    return file


def run(file: Path, sql: str, values: tuple[object, ...] = ()) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(sql, values)


def guessed(table: str = "Film Rental") -> Guess:
    return guess_table("rentals", "RENTALS_URL", table)


@pytest.mark.usefixtures("database")
def test_a_table_says_its_types_and_its_key() -> None:
    text = declaration(guessed())

    assert text == EXPECTED


EXPECTED = '''"""Rentals.

`lakehouse new-dataset` guessed this from the table Film Rental in the database of RENTALS_URL (1 rows of it). Correct
what is wrong: a comment says why each guess was made.
"""

from __future__ import annotations

from lakehouse.datasets.model import Column, Dataset, Name
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.sources import Query

RENTALS = Dataset(
    name="rentals",
    title="Rentals",
    table="raw.rentals",
    files="rentals.parquet",
    parts=Whole(),
    # 'last_update' looks like the time of a row's last change. Of a large table, only new and changed rows need be
    # extracted: declare cursor="last_update" in the Query with an overlap, and parts=Whole(complete=False). See "New
    # and changed rows only" in docs/your-own-dataset.md.
    source=Query(database="RENTALS_URL", table="Film Rental"),
    # the primary key of the table
    key=("rental_id",),
    columns=(
        # the database's type is INTEGER
        Column("rental_id", "long", (Name("RentalId"),)),
        # the database's type is VARCHAR(100)
        Column("title", "string"),
        # the database's type is BOOLEAN
        Column("paid", "boolean"),
        # the database's type is NUMERIC(8, 2)
        Column("amount", "decimal(8,2)"),
        # the database's type is REAL
        Column("weight", "double"),
        # the database's type is DATE
        Column("due", "date"),
        # the database's type is BLOB
        Column("cover", "binary"),
        # the database's type is CHAR(36)
        Column("code", "string"),
        # the database's type is TIMESTAMP
        Column("last_update", "timestamp"),
    ),
)
'''


@pytest.mark.usefixtures("database")
def test_what_is_declared_loads_the_table(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "rentals", guessed().dataset)

    land(lake.landing, "/nowhere", DatasetFile("rentals"))
    load(lake.catalog, lake.landing, DatasetFile("rentals"))

    (row,) = lake.rows("select * exclude (source_sha256) from raw.rentals")
    assert row == {
        "rental_id": 7,
        "title": "a film",
        "paid": True,
        "amount": Decimal("2.50"),
        "weight": 0.5,
        "due": date(2024, 2, 29),
        "cover": b"\x00",
        "code": "x",
        "last_update": datetime.fromisoformat("2024-01-31 10:00:00"),
    }


@pytest.mark.usefixtures("database")
def test_the_database_says_which_columns_are_never_empty() -> None:
    found = guessed()

    assert found.filled == {"rental_id", "title", "last_update"}
    assert staging_yml(found).count("not_null") == 5  # those, and the hash in the source and in the model
    assert "varbinary" in staging_yml(found)
    assert "trim" not in staging_sql(found)


def test_a_table_without_rows_or_key_has_types_too(database: Path) -> None:
    run(database, "create table empty (id integer, note text, updated_at timestamp)")

    found = guessed("empty")

    assert [column.type for column in found.dataset.columns] == ["long", "string", "timestamp"]
    assert (found.rows, found.dataset.key, found.notes) == (0, (), ())
    assert found.key.startswith("none: the table has no primary key")


def test_a_key_that_rows_can_t_be_found_by_is_not_declared(database: Path) -> None:
    run(database, "create table weights (weight real primary key)")

    found = guessed("weights")

    assert found.dataset.key == ()
    assert found.key == "none: a column of the primary key (weight) has no type for a key"


def test_a_value_of_another_type_makes_its_column_text(database: Path) -> None:
    run(database, "create table loose (id integer primary key, due date)")
    run(database, "insert into loose values (1, 'soon')")

    found = guessed("loose")

    assert [column.type for column in found.dataset.columns] == ["long", "string"]
    assert "'due' has 'soon' in row 0" in found.why["due"]


@pytest.mark.parametrize(
    "name", ["last_update", "updated_at", "UpdatedAt", "modified", "last_modified_on", "changed_at"]
)
def test_a_time_of_the_last_change_is_found_by_its_name(database: Path, name: str) -> None:
    run(
        database,
        f"create table changes (id integer primary key, born timestamp, {name} timestamp, status_changed text)",
    )

    (note,) = guessed("changes").notes

    assert note.startswith(f"'{name}' looks like" if name != "UpdatedAt" else "'updated_at' looks like")


@pytest.mark.usefixtures("database")
def test_what_cannot_be_asked_is_said_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RefusedError, match="No dataset was made: source: database is no name of a variable") as refused:
        guess_table("rentals", "postgresql://me:secret@host/db", "rental")
    with pytest.raises(SourceError, match="no such table: absent"):
        guessed("absent")
    monkeypatch.delenv("RENTALS_URL")
    with pytest.raises(LakehouseError, match=r"RENTALS_URL is not set, .* No dataset was made\. Write the address"):
        guessed()

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--database", "RENTALS_URL"],
        ["--table", "rental"],
        ["a.csv", "--database", "RENTALS_URL", "--table", "rental"],
        ["a.csv", "--table", "rental"],
    ],
)
def test_either_files_or_a_table_are_the_sample(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["new-dataset", "rentals", *arguments])

    assert result.exit_code == 2
    assert "give sample files, or --database and --table. Nothing was done." in " ".join(
        result.output.replace("│", "").split()
    )


def test_the_declared_source_is_the_table_as_it_was_named(database: Path) -> None:
    run(database, 'create table "it""s" (id integer primary key, "100 % :x" text)')

    found = guessed('it"s')

    assert found.dataset.source == Query("RENTALS_URL", table='it"s')
    assert [column.name for column in found.dataset.columns] == ["id", "n_100_x"]
