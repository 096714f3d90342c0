"""A dataset whose source is a SQL database: its rows land as one parquet file, exactly, and are loaded like any other.

Here on SQLite; tests/integration/test_query.py has PostgreSQL.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.lake import Lake
from tests.unit.dagster_project import Project

from lakehouse.cli.doctor import examine
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.datasets.sources import Query
from lakehouse.errors import LakehouseError, SettingsError, SourceError, UnreachableError
from lakehouse.landing import Landed
from lakehouse.landing.land import land
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult
from lakehouse.settings import project_dir
from lakehouse.sources.extract import BLOCK_BYTES, FETCH_ROWS, GROUP_ROWS, UnfitError, _parsed

RENTALS = Dataset(
    name="rentals",
    title="Rentals of films",
    table="raw.rentals",
    files="rentals.parquet",
    parts=Whole(),
    key=("rental_id",),
    source=Query(database="RENTALS_URL", table="rental"),
    columns=(
        Column("rental_id", "long"),
        Column("rented_at", "timestamp"),
        Column("title", "string"),
        Column("amount", "double"),
    ),
)
FILE = DatasetFile("rentals")
ROWS = [
    (2, "2024-01-31 10:00:00", 'Caf\xe9 "M\u00fcller"\n', 0.1),
    (1, "2024-01-31 09:30:00", "", 1e-7),
    (9007199254740993, None, None, None),
]


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SQLite file with the table `rental`, named by RENTALS_URL."""
    file = tmp_path / "film.db"
    write(file, ROWS)
    monkeypatch.setenv("RENTALS_URL", f"sqlite:///{file}")
    monkeypatch.setitem(DATASETS, "rentals", RENTALS)
    return file


def write(file: Path, rows: list[tuple[Any, ...]]) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("drop table if exists rental")
        connection.execute("create table rental (rental_id integer, rented_at text, title text, amount real)")
        connection.executemany("insert into rental values (?, ?, ?, ?)", rows)
    connection.close()


def declare(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    monkeypatch.setitem(DATASETS, "rentals", replace(RENTALS, **changes))


def landed_from(lake: Lake, *, refresh: bool = True) -> Landed:
    return land(lake.landing, "/nowhere", FILE, refresh=refresh)


def loaded(lake: Lake, **options: Any) -> LoadResult:
    return load(lake.catalog, lake.landing, FILE, **options)


def rows_of(lake: Lake, landed: Landed) -> list[dict[str, Any]]:
    with lake.landing.local(landed) as path:
        return pq.read_table(path).to_pylist()


def refusal(lake: Lake, kind: type[LakehouseError] = SourceError) -> str:
    """What is said of an extract that fails; it leaves nothing."""
    with pytest.raises(kind) as error:
        landed_from(lake)
    assert lake.landing.find(FILE) is None
    assert [path.name for path in lake.landing.staging.iterdir() if not path.name.startswith(f"{FILE.name}.lock")] == []
    return str(error.value)


@pytest.mark.usefixtures("database")
def test_the_rows_land_with_their_origin_and_are_loaded_exactly(lake: Lake) -> None:
    landed = landed_from(lake)
    result = loaded(lake)

    assert landed.origin == "database RENTALS_URL, table rental"
    assert (result.action, result.rows) == ("loaded", 3)
    assert [list(row.values()) for row in lake.rows("select rental_id, title, amount from raw.rentals order by 1")] == [
        [1, "", 1e-7],
        [2, 'Caf\xe9 "M\xfcller"\n', 0.1],
        [9007199254740993, None, None],
    ]


def test_the_same_rows_are_the_same_bytes_whatever_their_order(lake: Lake, database: Path) -> None:
    first = landed_from(lake)
    loaded(lake)
    write(database, list(reversed(ROWS)))
    second = landed_from(lake)

    assert second.sha256 == first.sha256
    assert loaded(lake).action == "unchanged"


def test_new_rows_replace_the_table_in_one_snapshot(lake: Lake, database: Path) -> None:
    landed_from(lake)
    loaded(lake)
    write(database, [*ROWS, (5, None, "five", 5.0)])

    landed_from(lake)

    assert (loaded(lake).action, loaded(lake).action) == ("loaded", "unchanged")
    assert lake.rows("select count(*) as n from raw.rentals") == [{"n": 4}]
    assert len(lake.history("raw.rentals")) == 2


@pytest.mark.usefixtures("database")
def test_a_load_can_be_repeated_without_the_database(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    first = landed_from(lake)
    monkeypatch.delenv("RENTALS_URL")

    assert landed_from(lake, refresh=False) == first
    assert loaded(lake).rows == 3
    with pytest.raises(SettingsError):
        landed_from(lake)
    assert lake.landing.find(FILE) == first


@pytest.mark.usefixtures("database")
def test_rows_of_a_query_keep_its_order_and_its_signs(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "select rental_id, '%s :x ; ''' as title from rental -- it's ours\norder by rental_id desc;"
    declare(monkeypatch, key=(), source=Query("RENTALS_URL", sql=sql), columns=(Column("title", "string"),))

    landed = landed_from(lake)

    assert landed.origin == f"database RENTALS_URL, query {sql}"
    assert [row["title"] for row in rows_of(lake, landed)] == ["%s :x ; '"] * 3


@pytest.mark.usefixtures("database")
def test_many_rows_come_in_groups_of_one_size(lake: Lake, database: Path) -> None:
    count = GROUP_ROWS + FETCH_ROWS + 1
    write(database, [(n, None, None if n < FETCH_ROWS else f"n{n}", None) for n in range(count)])

    landed = landed_from(lake)

    with lake.landing.local(landed) as path:
        metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [GROUP_ROWS, FETCH_ROWS + 1]
    assert (loaded(lake).rows, rows_of(lake, landed)[-1]["title"]) == (count, f"n{count - 1}")


def test_values_of_every_kind_are_kept_exactly(lake: Lake, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = "1 as whole, 0.30000000000000004 as fraction, '0.10' as amount, x'00ff' as data, null as absent"
    declare(
        monkeypatch,
        key=(),
        source=Query("RENTALS_URL", sql=f"select {values}"),
        columns=(Column("whole", "long"), Column("fraction", "double"), Column("absent", "string")),
    )

    (row,) = rows_of(lake, landed_from(lake))

    assert row == {
        "whole": "1",
        "fraction": "0.30000000000000004",
        "amount": "0.10",
        "data": b"\x00\xff",
        "absent": None,
    }
    assert loaded(lake).unknown_columns == ("amount", "data")


def test_bytes_among_text_are_refused_by_column(lake: Lake, database: Path) -> None:
    write(database, [(n, None, "text" if n < FETCH_ROWS else b"\x00", None) for n in range(FETCH_ROWS + 1)])

    assert refusal(lake) == (
        "rentals: the table rental in the database of RENTALS_URL: the column 'title' has a value of Python's type "
        f"bytes in row {FETCH_ROWS} (counted from 0), which has no exact form as string. Nothing was landed. In the "
        'declaration, write `sql="SELECT … CAST(…) …"` in place of `table`.'
    )


def test_a_value_of_another_type_is_refused_with_a_fix_for_databases(lake: Lake, database: Path) -> None:
    write(database, [("seven", None, None, None)])
    landed_from(lake)

    with pytest.raises(
        LakehouseError,
        match=r"'rental_id' has 'seven' in row 0 .* in the database\. Or write `sql=.* in place of `table`",
    ):
        loaded(lake)


def test_an_empty_table_lands_and_is_loaded_only_when_that_is_allowed(lake: Lake, database: Path) -> None:
    write(database, [])
    landed_from(lake)

    with pytest.raises(LakehouseError, match="--allow-shrink"):
        loaded(lake)
    assert loaded(lake, allow_shrink=True).rows == 0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            Query("RENTALS_URL", table="rentals"),
            "rentals: the table rentals in the database of RENTALS_URL could not be read: no such table: rentals. ",
        ),
        (
            Query("RENTALS_URL", sql="select rental_id as id, rented_at, title, amount from rental"),
            "rentals: the query of its `sql` in the database of RENTALS_URL has no column 'rental_id', which is declar",
        ),
        (
            Query("RENTALS_URL", sql="with gone as (select 1) delete from rental"),
            "rentals: the query of its `sql` in the database of RENTALS_URL could not be read: ",
        ),
    ],
)
def test_what_the_database_does_not_have_is_named(
    lake: Lake, database: Path, monkeypatch: pytest.MonkeyPatch, source: Query, said: str
) -> None:
    declare(monkeypatch, source=source)

    assert refusal(lake).startswith(said)


def test_nothing_is_changed_in_the_database(lake: Lake, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakehouse.sources.query import QuerySource

    source = QuerySource(RENTALS, Query("RENTALS_URL", table="rental"))

    with source._connected() as connection, pytest.raises(SourceError, match="readonly database"):  # noqa: SIM117
        with source._reading(connection):
            connection.exec_driver_sql("delete from rental")


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        (
            "",
            SettingsError,
            "RENTALS_URL is not set, and rentals reads its rows from the database that it names. Nothing was landed. ",
        ),
        ("secret", SettingsError, "RENTALS_URL, the database of rentals, is no address of a database. "),
        (
            "postgresql://me:se:cret@host:port/db",
            SettingsError,
            "RENTALS_URL, the database of rentals, is no address of a database. ",
        ),
        (
            "informix://me:secret@host/db",
            SettingsError,
            "RENTALS_URL, the database of rentals, begins with 'informix', which SQLAlchemy does not know. ",
        ),
        (
            "oracle+oracledb://me:secret@host/db",
            SettingsError,
            "RENTALS_URL, the database of rentals, needs the driver 'oracledb', which is not installed. ",
        ),
        (
            "postgresql+psycopg2://me:secret@127.0.0.1:1/db",
            UnreachableError,
            'rentals: the database of RENTALS_URL could not be asked: connection to server at "127.0.0.1", port 1 ',
        ),
        (
            "postgresql+psycopg2://me:secret@127.0.0.1:1/db?sslmode=secret&sslpassword=secret",
            UnreachableError,
            "rentals: the database of RENTALS_URL could not be asked: ",
        ),
        (
            "sqlite:////no/such/secret",
            SourceError,
            "rentals: RENTALS_URL names the SQLite file /no/such/secret, which does not exist. Nothing was landed. ",
        ),
        ("sqlite:////", SourceError, "rentals: RENTALS_URL names the SQLite file /, which is a folder. "),
        (
            "sqlite://",
            SourceError,
            "rentals: RENTALS_URL names no SQLite file. Nothing was landed. Correct RENTALS_URL",
        ),
        ("sqlite://./secret", SettingsError, "RENTALS_URL, the database of rentals, is no address of a database. "),
        (
            "{database}?timeout=abc",
            SettingsError,
            "RENTALS_URL, the database of rentals, is no address that sqlite takes: could not convert string to float",
        ),
        (
            "{database}?detect_types=99999999999",
            UnreachableError,
            "rentals: the database of RENTALS_URL could not be asked: Python int too large",
        ),
    ],
)
@pytest.mark.usefixtures("database")
def test_a_database_that_cannot_be_asked_is_named_without_its_password(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, address: str, kind: type[LakehouseError], said: str
) -> None:
    monkeypatch.setenv("RENTALS_URL", address.format(database=os.environ["RENTALS_URL"]))

    message = refusal(lake, kind)

    assert message.startswith(said)
    assert "secret" not in message.replace("/no/such/secret", "")
    assert "cret@" not in message


def test_a_sqlite_file_that_cannot_be_opened_has_no_server(
    lake: Lake, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = database.parent.joinpath(*["x" * 200] * 3, "film.db")  # longer than a path that SQLite opens
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setenv("RENTALS_URL", f"sqlite:///{file}")

    assert refusal(lake, UnreachableError) == (
        "rentals: the database of RENTALS_URL could not be asked: unable to open database file. Nothing was landed. "
        "Check the address in RENTALS_URL, and that you may read the file and its folder. Then run the same command "
        "again."
    )


def test_a_file_that_is_no_sqlite_database_is_named(lake: Lake, database: Path) -> None:
    database.write_bytes(b"rental_id,title\n" * 500)

    assert f"RENTALS_URL names the file {database}, which is no SQLite database. Nothing was" in refusal(lake)


def test_a_row_that_is_too_long_says_what_to_select() -> None:
    """As PostgreSQL sends it."""
    text = io.BytesIO(b'"' + b"x" * 3 * BLOCK_BYTES + b'"\n')

    with pytest.raises(UnfitError, match="a row is longer than 16,777,216 bytes") as unfit:
        list(_parsed(text, pa.schema([pa.field("note", pa.string())])))

    assert unfit.value.fix.startswith("write `sql` without the long column")


def test_the_address_may_come_from_the_env_file(lake: Lake, monkeypatch: pytest.MonkeyPatch, database: Path) -> None:
    monkeypatch.delenv("RENTALS_URL")
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(database.parent))
    (database.parent / ".env").write_text(f"RENTALS_URL=sqlite:///{database}\n", encoding="utf-8")

    assert landed_from(lake).size > 0


def test_the_doctor_says_whether_the_database_answers(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, database: Path
) -> None:
    def asked() -> tuple[str, str]:
        (found,) = [one for one in examine(lake.settings) if one.what == "RENTALS_URL"]
        return found.state, found.found

    assert asked() == ("ok", "rentals: sqlite: the table rental has 4 columns")
    monkeypatch.setenv("RENTALS_URL", "")
    assert asked()[0] == "warn"
    assert asked()[1].startswith("RENTALS_URL is not set, ")


def test_two_extracts_at_once_wait_for_each_other(lake: Lake, database: Path) -> None:
    from lakehouse.locks import held

    def progress(done: int, total: int | None) -> None:
        with pytest.raises(LakehouseError), held(lake.landing.staging / f"{FILE.name}.lock", "it", wait=0):
            pass
        seen.append(done)

    seen: list[int] = []
    land(lake.landing, "/nowhere", FILE, progress=progress)

    assert len(seen) == 1


EXTRACT = """
import sys
from tests.unit.test_query import FILE, RENTALS
from lakehouse.datasets.registry import DATASETS
from lakehouse.landing import open_landing
from lakehouse.landing.land import land
from lakehouse.settings import load_settings

def stand_still(done, total):
    print("extracting", flush=True)
    sys.stdin.read()

DATASETS["rentals"] = RENTALS
land(open_landing(load_settings()), "/nowhere", FILE, refresh=True, progress=stand_still)
"""


@pytest.mark.slow
def test_a_killed_extract_lands_nothing_and_the_next_one_is_whole(lake: Lake, database: Path) -> None:
    root = project_dir()
    environment = {
        **os.environ,
        "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}",
        "LAKEHOUSE_HOME": str(lake.settings.home),
        "LAKEHOUSE_TARGET": "embedded",
    }
    with subprocess.Popen(
        [sys.executable, "-c", EXTRACT], env=environment, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"extracting\n"
        process.send_signal(signal.SIGKILL)

    assert lake.landing.find(FILE) is None
    assert len(rows_of(lake, landed_from(lake))) == 3


DECLARATION = """
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.sources import Query

RENTALS = Dataset(
    name="rentals", title="Rentals", table="raw.rentals", files="rentals.parquet", parts=Whole(), key=("rental_id",),
    source=Query(database="RENTALS_URL", table="rental"),
    columns=(Column("rental_id", "long"), Column("title", "string")),
)
"""


@pytest.mark.slow
def test_dagster_extracts_at_every_run_and_shows_rows_and_table(tmp_path: Path, database: Path) -> None:
    project = Project(tmp_path / "dagster", {})
    (tmp_path / "dagster").mkdir()
    (project.root / ".env").write_text(f"RENTALS_URL=sqlite:///{database}\n", encoding="utf-8")
    (project.root / "src" / "lakehouse" / "datasets" / "rentals.py").write_text(DECLARATION, encoding="utf-8")
    script = """
import json, dagster as dg
from lakehouse.definitions import defs
result = defs().resolve_implicit_global_asset_job_def().execute_in_process(
    asset_selection=[dg.AssetKey(["landing", "rentals"]), dg.AssetKey(["raw", "rentals"])],
)
facts = {
    name: found.metadata[name].value
    for found in result.asset_materializations_for_node("landing__rentals")
    for name in ("dagster/row_count", "database", "table", "sha256", "origin")
}
print(json.dumps(facts))
"""

    first = project.ask(script, warnings="default")
    write(database, [*ROWS, (5, None, "five", 5.0)])
    second = project.ask(script, warnings="default")

    assert (first["dagster/row_count"], first["database"], first["table"]) == (3, "RENTALS_URL", "rental")
    assert second["dagster/row_count"] == 4
    assert first["sha256"] != second["sha256"]
    assert str(database) not in json.dumps(first)
