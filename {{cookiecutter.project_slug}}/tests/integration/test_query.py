"""A dataset whose source is PostgreSQL: a film rental's tables, with the types that such tables have.

Run alone: `make integration K=test_query`. The server is a container of its own; the lakehouse is an embedded one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool
from tests.integration.database import PASSWORD, Database, postgres
from tests.integration.stack import within
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Column, Dataset, Name
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.datasets.sources import Query
from lakehouse.errors import LakehouseError, SourceError, UnreachableError
from lakehouse.iceberg.refs import rollback
from lakehouse.landing import Landed
from lakehouse.landing.land import land
from lakehouse.loading.cursor import since
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult
from lakehouse.scaffold.table import guess_table
from lakehouse.settings import Settings
from lakehouse.sources.query import QuerySource

FILE = DatasetFile("rentals")
SCHEMA = """
drop schema if exists public cascade;
create schema public;
create type rating as enum ('G', 'PG-13', 'NC-17');
create table film (
    film_id serial primary key, title varchar(255) not null, rating rating, rental_rate numeric(4, 2), length smallint,
    special_features text[], fulltext tsvector, cover bytea, released date, share real, details json, code uuid,
    rental_period interval, any_number numeric, in_stock boolean
);
create table customer (customer_id serial primary key, email text);
create table inventory (inventory_id serial primary key, film_id int references film);
create table rental (
    rental_id bigint primary key, rented_at timestamp not null, returned_at timestamptz, note text,
    customer_id int references customer, inventory_id int references inventory
);
create table payment (payment_id serial primary key, rental_id bigint references rental, amount numeric(10, 2));
insert into film values
    (1, 'Academy Dinosaur', 'PG-13', 0.99, 86, '{"Deleted Scenes",Trailers}', to_tsvector('english', 'a dinosaur'),
     '\\x00ff', '2006-02-15', 0.1, '{"a": 1}', 'b2d4f6a8-0000-4000-8000-000000000001', '3 days 04:00:00',
     123456789012345678901234567890.000000000001, true),
    (2, E'Ace "Gold"\\nfinger, ''x'' \\\\.', 'G', 10, null, '{}', null, '\\x', null, 'NaN', null, null, null, null,
     false),
    (3, '', null, null, null, null, null, null, null, null, null, null, null, null, null);
insert into customer values (1, 'mary@example.com');
insert into inventory values (1, 1);
insert into rental values
    (9007199254740993, '2005-05-24 22:53:30.123456', '2005-05-26 22:04:30+02', '', 1, 1),
    (7, '2005-05-24 22:54:33', null, null, 1, 1);
insert into payment values (1, 7, 2.99), (2, 9007199254740993, 0.99);
"""
RENTALS = Dataset(
    name="rentals",
    title="Rentals of films",
    table="raw.rentals",
    files="rentals.parquet",
    parts=Whole(),
    key=("rental_id",),
    source=Query("RENTALS_URL", table="public.rental"),
    columns=(Column("rental_id", "long"), Column("rented_at", "timestamp"), Column("note", "string")),
)


@pytest.fixture(scope="module")
def server() -> Iterator[Database]:
    with postgres() as database:
        yield database


@pytest.fixture
def database(server: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The film rental's tables, new for each test."""
    server.run(SCHEMA)
    monkeypatch.setenv("RENTALS_URL", server.address)
    monkeypatch.setitem(DATASETS, "rentals", RENTALS)
    return server


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An embedded lakehouse: what a database gives does not depend on the target."""
    return Lake(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "home"), tmp_path / "scratch")


def declare(monkeypatch: pytest.MonkeyPatch, source: Query, *columns: Column, key: tuple[str, ...] = ()) -> None:
    values = {name: getattr(RENTALS, name) for name in ("name", "title", "table", "files", "parts")}
    monkeypatch.setitem(DATASETS, "rentals", Dataset(**values, key=key, source=source, columns=columns))


def extracted(lake: Lake) -> Landed:
    return land(lake.landing, "/nowhere", FILE, refresh=True)


def table_of(lake: Lake, landed: Landed) -> pa.Table:
    with lake.landing.local(landed) as path:
        return pq.read_table(path)


def refusal(lake: Lake, kind: type[LakehouseError] = SourceError) -> str:
    """What is said of an extract that fails; it leaves nothing, and never says the password."""
    with pytest.raises(kind) as error:
        extracted(lake)
    assert lake.landing.find(FILE) is None
    assert [path.name for path in lake.landing.staging.iterdir() if not path.name.startswith(f"{FILE.name}.lock")] == []
    assert PASSWORD not in str(error.value)
    assert "p%40ss" not in str(error.value)
    return str(error.value)


@pytest.mark.usefixtures("database")
def test_rentals_are_loaded_with_their_exact_numbers_and_times(lake: Lake) -> None:
    landed = extracted(lake)

    assert load(lake.catalog, lake.landing, FILE).rows == 2
    assert landed.origin == "database RENTALS_URL, table public.rental"
    assert lake.rows("select rental_id, rented_at, note from raw.rentals order by 1") == [
        {"rental_id": 7, "rented_at": datetime.fromisoformat("2005-05-24T22:54:33"), "note": None},
        {"rental_id": 2**53 + 1, "rented_at": datetime.fromisoformat("2005-05-24T22:53:30.123456"), "note": ""},
    ]


@pytest.mark.usefixtures("database")
def test_every_type_of_a_film_lands_exactly(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, Query("RENTALS_URL", table="film"), Column("film_id", "long"), key=("film_id",))

    films = table_of(lake, extracted(lake))

    first, second, third = films.to_pylist()
    assert first == {
        "film_id": 1,
        "title": "Academy Dinosaur",
        "rating": "PG-13",
        "rental_rate": Decimal("0.99"),
        "length": 86,
        "special_features": '{"Deleted Scenes",Trailers}',
        "fulltext": "'dinosaur':2",
        "cover": b"\x00\xff",
        "released": date(2006, 2, 15),
        "share": pa.scalar(0.1, pa.float32()).as_py(),
        "details": '{"a": 1}',
        "code": "b2d4f6a8-0000-4000-8000-000000000001",
        "rental_period": "3 days 04:00:00",
        "any_number": "123456789012345678901234567890.000000000001",
        "in_stock": True,
    }
    assert second["title"] == "Ace \"Gold\"\nfinger, 'x' \\."
    assert (second["rental_rate"], second["cover"], second["in_stock"]) == (Decimal("10.00"), b"", False)
    assert str(second["share"]) == "nan"
    assert (third.pop("film_id"), third.pop("title"), set(third.values())) == (3, "", {None})


@pytest.mark.usefixtures("database")
def test_a_time_with_a_zone_lands_as_utc_whatever_the_zone_of_the_server(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    sql = "select rental_id, returned_at from rental"
    declare(monkeypatch, Query("RENTALS_URL", sql=sql), Column("rental_id", "long"), key=("rental_id",))
    first = extracted(lake)
    database.run("alter role lakehouse set timezone = 'Asia/Kolkata'; alter role lakehouse set datestyle = 'German'")

    second = extracted(lake)
    database.run("alter role lakehouse reset all")

    assert second.sha256 == first.sha256
    assert table_of(lake, second)["returned_at"].to_pylist() == [None, datetime(2005, 5, 26, 20, 4, 30, tzinfo=UTC)]


def test_the_same_rows_are_the_same_bytes_whatever_their_place(lake: Lake, database: Database) -> None:
    first = extracted(lake)
    load(lake.catalog, lake.landing, FILE)
    database.run("update rental set note = note where rental_id = 7")
    database.run("vacuum full rental")

    assert extracted(lake).sha256 == first.sha256
    assert load(lake.catalog, lake.landing, FILE).action == "unchanged"


@pytest.mark.usefixtures("database")
def test_a_query_joins_tables_and_keeps_its_signs(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = (
        "select rental_id, sum(amount)::numeric(10, 2) as paid, '100 % :paid' as note -- it's ours\n"
        "from rental join payment using (rental_id) group by rental_id;"
    )
    declare(monkeypatch, Query("RENTALS_URL", sql=sql), Column("rental_id", "long"), Column("paid", "double"))

    rows = table_of(lake, extracted(lake)).sort_by("rental_id").to_pylist()

    assert [(row["paid"], row["note"]) for row in rows] == [
        (Decimal("2.99"), "100 % :paid"),
        (Decimal("0.99"), "100 % :paid"),
    ]


def test_many_rows_are_as_copied(lake: Lake, monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    database.run("create table many as select n, nullif('text ' || n, 'text 5') as t from generate_series(1, 300000) n")
    declare(monkeypatch, Query("RENTALS_URL", table="many"), Column("n", "long"), key=("n",))

    many = table_of(lake, extracted(lake))

    assert many["n"].to_pylist() == list(range(1, 300001))
    assert [i for i, t in enumerate(many["t"].to_pylist(), start=1) if t != f"text {i}"] == [5]


@pytest.mark.usefixtures("database")
def test_an_empty_table_and_one_of_one_column_with_nulls_land(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    declare(monkeypatch, Query("RENTALS_URL", sql="select note from rental where false"), Column("note", "string"))
    empty = table_of(lake, extracted(lake))
    declare(monkeypatch, Query("RENTALS_URL", sql="select note from rental"), Column("note", "string"))
    notes = table_of(lake, extracted(lake))

    assert (empty.num_rows, empty.schema.names) == (0, ["note"])
    assert sorted(notes["note"].to_pylist(), key=str) == ["", None]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select 'infinity'::timestamp as at", "the column 'at' has a value that is no timestamp[us] ("),
        ("select 'NaN'::numeric(4, 2) as at", "the column 'at' has a value that is no decimal128(4, 2) ("),
        ("select 1 as at, 2 as at", " gives two columns the name 'at'. "),
        ("select 1 as other", " has no column 'at', which is declared. It has: other. "),
        ("select at from nowhere", 'could not be read: relation "nowhere" does not exist. '),
        ("select 1 / (n - 250000) as at from generate_series(1, 300000) n", "could not be read: division by zero. "),
        (
            "with gone as (delete from payment returning *) select 1 as at from gone",
            "could not be read: WITH clause containing a data-modifying statement must be at the top level. ",
        ),
    ],
)
@pytest.mark.usefixtures("database")
def test_what_cannot_be_read_lands_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch, sql: str, said: str) -> None:
    declare(monkeypatch, Query("RENTALS_URL", sql=sql), Column("at", "string"))

    message = refusal(lake)

    assert message.startswith("rentals: the query of its `sql` in the database of RENTALS_URL")
    assert said in message


def test_a_function_that_writes_is_stopped_by_the_transaction(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    database.run("create sequence counter")
    declare(monkeypatch, Query("RENTALS_URL", sql="select nextval('counter') as at"), Column("at", "long"))

    assert "cannot execute nextval() in a read-only transaction" in refusal(lake)


def test_a_wrong_password_is_refused_and_not_shown(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    monkeypatch.setenv("RENTALS_URL", database.address.replace("lakehouse:", "lakehouse:wrong-"))

    message = refusal(lake, UnreachableError)

    assert message.startswith("rentals: the database of RENTALS_URL could not be asked: connection to server at ")
    assert 'password authentication failed for user "lakehouse"' in message
    assert "wrong-" not in message


def test_a_connection_that_is_lost_in_the_middle_lands_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    sql = "select n as at, pg_sleep(0.01) as slept from generate_series(1, 3000) n"
    declare(monkeypatch, Query("RENTALS_URL", sql=sql), Column("at", "long"))

    def cut() -> None:
        copying = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy (select n as at%'"
        within(30, lambda: bool(database.run(copying)))

    killer = threading.Thread(target=cut)
    killer.start()
    message = refusal(lake)
    killer.join()

    assert message.startswith("rentals: the query of its `sql` in the database of RENTALS_URL could not be read: ")
    assert "run the same command again if the connection was lost" in message


VISITS_QUERY = Query("RENTALS_URL", table="public.visit", cursor="last_update", overlap=timedelta(hours=1))
VISITS = replace(
    RENTALS,
    parts=Whole(complete=False),
    source=VISITS_QUERY,
    columns=(Column("rental_id", "long"), Column("note", "string"), Column("last_update", "timestamptz")),
)
VISIT_TABLE = """
create table visit (rental_id bigint primary key, note text, last_update timestamptz);
insert into visit values
    (1, 'one', '2024-01-01 10:00:00+00'), (2, 'two', '2024-01-01 12:00:00+00'),
    (3, 'three', '2024-01-01 12:30:00.123456+00');
"""


def refreshed(lake: Lake) -> tuple[list[Any], LoadResult]:
    """Extract from where the table ends, and load: the ids of the extract, and what the load did."""
    landed = land(lake.landing, "/nowhere", FILE, refresh=True, since=since(lake.catalog, DATASETS["rentals"]))
    return table_of(lake, landed)["rental_id"].to_pylist(), load(lake.catalog, lake.landing, FILE)


@pytest.fixture
def visits(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A table with a cursor."""
    database.run(VISIT_TABLE)
    monkeypatch.setitem(DATASETS, "rentals", VISITS)
    return database


def test_late_rows_and_rows_of_an_equal_time_arrive(lake: Lake, visits: Database) -> None:
    first, _ = refreshed(lake)
    visits.run(
        "insert into visit values (4, 'late', '2024-01-01 11:30:00.123456+00'), (5, 'too late', '2024-01-01 11:30+00'),"
        " (6, 'equal', '2024-01-01 14:30:00.123456+02'), (7, 'none', null);"
        "update visit set note = 'ONE', last_update = '2024-01-01 12:00+00' where rental_id = 1"
    )
    second, result = refreshed(lake)
    third, same = refreshed(lake)

    assert (first, second, third) == ([1, 2, 3], [1, 2, 3, 4, 6, 7], [1, 2, 3, 4, 6, 7])
    assert result.counts == "6 rows (3 inserted, 1 updated, 2 unchanged, 0 removed)"
    assert same.action == "unchanged"


def test_rows_of_a_slow_transaction_arrive_within_the_overlap(lake: Lake, visits: Database) -> None:
    engine = sa.create_engine(visits.address, poolclass=NullPool)
    with engine.connect() as slow:
        slow.exec_driver_sql("insert into visit values (4, 'slow', now())")
        visits.run("insert into visit values (5, 'quick', now())")
        first, _ = refreshed(lake)
        slow.commit()
    second, _ = refreshed(lake)

    assert (first, second) == ([1, 2, 3, 5], [4, 5])


@pytest.mark.parametrize(
    ("kind", "declared", "overlap", "values", "ids"),
    [
        ("bigint", "long", 10, "(1, 5), (2, 90), (3, 100)", [2, 3]),
        ("numeric(30, 10)", "decimal(30,10)", None, "(1, 1), (2, 12345678901234567890.0000000001), (3, null)", [2, 3]),
        ("numeric", "long", None, "(1, 9), (2, 10), (3, null)", [2, 3]),
        ("date", "date", timedelta(days=1), "(1, '2024-02-28'), (2, '2024-02-29'), (3, '2024-03-01')", [2, 3]),
        ("timestamp", "timestamp", None, "(1, '2024-01-01'), (2, '2024-01-01 00:00:00.000001')", [2]),
        ("timestamptz", "timestamptz", None, "(1, '2024-01-01 00:00+02'), (2, '2024-01-01 00:00+01')", [2]),
    ],
)
def test_postgres_compares_a_cursor_of_every_type_exactly(
    lake: Lake,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    *,
    kind: str,
    declared: str,
    overlap: Any,
    values: str,
    ids: list[int],
) -> None:
    database.run(f"create table visit (rental_id int, c {kind}); insert into visit values {values}")
    query = Query("RENTALS_URL", sql='select rental_id, c as "The Cursor" from visit;', cursor="c", overlap=overlap)
    columns = (Column("rental_id", "long"), Column("c", declared, (Name("The Cursor"),)))
    monkeypatch.setitem(DATASETS, "rentals", replace(VISITS, source=query, columns=columns))
    refreshed(lake)

    assert refreshed(lake)[0] == ids


def test_a_cursor_that_postgres_has_as_text_is_refused(
    lake: Lake, visits: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = Query("RENTALS_URL", sql="select rental_id, note, last_update::text from visit", cursor="last_update")
    monkeypatch.setitem(DATASETS, "rentals", replace(VISITS, source=query))

    assert refusal(lake) == (
        "rentals: the query of its `sql` in the database of RENTALS_URL has the cursor 'last_update', which is of "
        "another type there than timestamptz. Nothing was landed. In the declaration, CAST the column in `sql`."
    )


def test_after_a_lost_connection_and_a_roll_back_no_row_is_missed(
    lake: Lake, visits: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = refreshed(lake)
    before = lake.landing.find(FILE)
    visits.run("insert into visit select n, 'many', '2024-01-02+00' from generate_series(4, 3000) n")
    sql = "select *, pg_sleep(case when rental_id > 3 then 0.01 end) as slept from visit"
    query = replace(VISITS_QUERY, table="", sql=sql)
    monkeypatch.setitem(DATASETS, "rentals", replace(VISITS, source=query))

    def cut() -> None:
        copying = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy (select * from (sel%'"
        within(30, lambda: bool(visits.run(copying)))

    killer = threading.Thread(target=cut)
    killer.start()
    with pytest.raises(SourceError, match="run the same command again if the connection was lost"):
        refreshed(lake)
    killer.join()
    monkeypatch.setitem(DATASETS, "rentals", VISITS)
    after = lake.landing.find(FILE)
    again, _ = refreshed(lake)
    rollback(lake.catalog, "raw.rentals", first.snapshot_id or 0)
    once_more, _ = refreshed(lake)

    assert after == before
    assert (len(again), again) == (2999, once_more)
    assert lake.rows("select count(*) as n from raw.rentals") == [{"n": 3000}]


def test_new_dataset_declares_a_table_by_what_postgres_says(
    lake: Lake, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(lake.settings.home))
    database.run("alter table film add last_update timestamptz; update film set last_update = now()")

    found = guess_table("films", "RENTALS_URL", "public.film")

    assert {column.name: column.type for column in found.dataset.columns} == {
        **dict.fromkeys(("title", "rating", "special_features", "fulltext", "details"), "string"),
        **dict.fromkeys(("code", "rental_period"), "string"),
        **dict.fromkeys(("film_id", "length"), "long"),
        "rental_rate": "decimal(4,2)",
        "any_number": "string",  # a value of it has more digits than any decimal
        "cover": "binary",
        "released": "date",
        "share": "double",
        "in_stock": "boolean",
        "last_update": "timestamptz",
    }
    assert (found.dataset.key, found.dataset.source) == (("film_id",), Query("RENTALS_URL", table="public.film"))
    assert found.filled == {"film_id", "title"}
    assert found.rows == 3
    assert found.notes[0].startswith("'last_update' looks like the time of a row's last change.")
    monkeypatch.setitem(DATASETS, "films", found.dataset)
    land(lake.landing, "/nowhere", DatasetFile("films"))
    assert load(lake.catalog, lake.landing, DatasetFile("films")).rows == 3


def test_the_rows_are_of_one_moment(database: Database) -> None:
    source = QuerySource(RENTALS, Query("RENTALS_URL", table="rental"))

    with source._connected() as connection:

        def asked(sql: str) -> Any:
            return connection.exec_driver_sql(sql).scalar_one()

        before = asked("select count(*) from rental")
        database.run("insert into rental values (8, now(), null, null, 1, 1)")

        assert (before, asked("select count(*) from rental")) == (2, 2)
        assert asked("show transaction_isolation") == "repeatable read"
