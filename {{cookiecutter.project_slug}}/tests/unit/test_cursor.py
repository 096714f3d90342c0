"""A SQL source with a cursor: an extract has new and changed rows only, and none is ever missed.

Here on SQLite; tests/integration/test_query.py has PostgreSQL.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.lake import Lake
from tests.marks import takes_minutes
from tests.unit.dagster_project import Project
from typer.testing import CliRunner

from lakehouse.cli import app
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.datasets.sources import Query, Since
from lakehouse.errors import LakehouseError, RefusedError, SourceError
from lakehouse.iceberg.refs import rollback
from lakehouse.landing import Landed
from lakehouse.landing.land import land
from lakehouse.loading.cursor import since
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult

RENTALS = Dataset(
    name="rentals",
    title="Rentals of films",
    table="raw.rentals",
    files="rentals.parquet",
    parts=Whole(complete=False),
    key=("rental_id",),
    source=Query(database="RENTALS_URL", table="rental", cursor="last_update", overlap=timedelta(hours=1)),
    columns=(
        Column("rental_id", "long"),
        Column("note", "string"),
        Column("last_update", "timestamp"),
    ),
)
FILE = DatasetFile("rentals")
ROWS = [(1, "one", "2024-01-01 10:00:00"), (2, "two", "2024-01-01 12:00:00"), (3, "three", "2024-01-01 12:30:00")]


class Source:
    """A SQLite file with the table `rental`."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def create(self, kinds: str = "text", rows: list[tuple[Any, ...]] | None = None) -> None:
        self.run("drop table if exists rental")
        self.run(f"create table rental (rental_id integer primary key, note text, last_update {kinds})")
        for row in ROWS if rows is None else rows:
            self.put(*row)

    def put(self, rental_id: int, note: str | bytes, at: Any) -> None:
        self.run("insert or replace into rental values (?, ?, ?)", rental_id, note, at)

    def run(self, sql: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.execute(sql, values)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setenv("RENTALS_URL", f"sqlite:///{tmp_path / 'film.db'}")
    monkeypatch.setitem(DATASETS, "rentals", RENTALS)
    made = Source(tmp_path / "film.db")
    made.create()
    return made


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Declare the cursor with another type and overlap."""

    def it(kind: str, overlap: Any = None) -> None:
        columns = (*RENTALS.columns[:2], Column("last_update", kind))
        query = Query(database="RENTALS_URL", table="rental", cursor="last_update", overlap=overlap)
        monkeypatch.setitem(DATASETS, "rentals", replace(RENTALS, columns=columns, source=query))

    return it


def extracted(lake: Lake, *, full: bool = False) -> Landed:
    begin = None if full else since(lake.catalog, DATASETS["rentals"])
    return land(lake.landing, "/nowhere", FILE, refresh=True, since=begin)


def loaded(lake: Lake, **options: Any) -> LoadResult:
    return load(lake.catalog, lake.landing, FILE, **options)


def refreshed(lake: Lake, *, full: bool = False) -> tuple[list[Any], LoadResult]:
    """What an extract had, and what its load did."""
    landed = extracted(lake, full=full)
    return ids_of(lake, landed), loaded(lake)


def ids_of(lake: Lake, landed: Landed) -> list[Any]:
    with lake.landing.local(landed) as path:
        return [int(str(one)) for one in pq.read_table(path)["rental_id"].to_pylist()]


def notes(lake: Lake) -> dict[int, Any]:
    rows = lake.rows("select rental_id, note from raw.rentals order by 1")
    return {row["rental_id"]: row["note"] for row in rows}


def test_the_first_extract_has_all_rows_the_next_ones_new_ones(lake: Lake, source: Source) -> None:
    first = extracted(lake)
    loaded(lake)
    source.put(1, "ONE", "2024-01-02 09:00:00")
    source.put(4, "four", "2024-01-02 10:00:00")
    ids, result = refreshed(lake)

    assert (first.since, first.origin) == (None, "database RENTALS_URL, table rental")
    assert ids == [1, 2, 3, 4]  # 2 and 3 by the overlap
    assert result.counts == "4 rows (1 inserted, 1 updated, 2 unchanged, 0 removed)"
    assert notes(lake) == {1: "ONE", 2: "two", 3: "three", 4: "four"}
    assert refreshed(lake)[0] == [1, 4]


@pytest.mark.usefixtures("source")
def test_a_record_says_where_its_rows_begin(lake: Lake) -> None:
    refreshed(lake)
    landed = extracted(lake)

    assert landed == lake.landing.find(FILE)
    assert landed.since == Since("last_update", "2024-01-01 11:30:00")
    assert landed.origin == "database RENTALS_URL, table rental, last_update from 2024-01-01 11:30:00"
    assert landed.as_dict()["since"] == {"column": "last_update", "value": "2024-01-01 11:30:00"}


def test_rows_within_the_overlap_and_of_an_equal_time_arrive(lake: Lake, source: Source) -> None:
    refreshed(lake)
    source.put(4, "late", "2024-01-01 11:30:00")
    source.put(5, "equal", "2024-01-01 12:30:00")
    source.put(6, "too late", "2024-01-01 11:29:59")

    ids, _ = refreshed(lake)

    assert ids == [2, 3, 4, 5]


def test_rows_of_an_equal_time_arrive_without_an_overlap(
    lake: Lake, source: Source, declare: Callable[..., None]
) -> None:
    declare("timestamp")
    refreshed(lake)
    source.put(4, "equal", "2024-01-01 12:30:00")

    assert refreshed(lake)[0] == [3, 4]


def test_rows_without_a_time_come_each_time(lake: Lake, source: Source) -> None:
    source.put(9, "nine", None)
    refreshed(lake)
    source.put(9, "NINE", None)

    ids, _ = refreshed(lake)

    assert (ids, notes(lake)[9]) == ([2, 3, 9], "NINE")


def test_a_table_of_rows_without_a_time_is_extracted_whole(lake: Lake, source: Source) -> None:
    source.create(rows=[(1, "one", None)])
    refreshed(lake)

    assert (extracted(lake).since, refreshed(lake)[0]) == (None, [1])


def test_nothing_new_makes_no_snapshot(lake: Lake, source: Source) -> None:
    refreshed(lake)
    first = loaded(lake)
    ids, same = refreshed(lake)
    source.run("delete from rental")
    none, empty = refreshed(lake)

    assert (first.action, same.action, empty.action) == ("unchanged",) * 3
    assert (ids, none, same.rows, empty.rows) == ([2, 3], [], 2, 0)
    assert len(lake.history("raw.rentals")) == 1
    assert notes(lake) == {1: "one", 2: "two", 3: "three"}


def test_an_empty_extract_has_the_bytes_of_a_binary_column(
    lake: Lake, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = (RENTALS.columns[0], Column("note", "binary"), RENTALS.columns[2])
    monkeypatch.setitem(DATASETS, "rentals", replace(RENTALS, columns=columns))
    source.create(rows=[(1, b"one", "2024-01-01 10:00:00")])
    refreshed(lake)
    source.run("delete from rental")

    assert refreshed(lake)[1].rows == 0


def test_an_extract_that_was_not_loaded_is_made_again(lake: Lake, source: Source) -> None:
    refreshed(lake)
    source.put(4, "four", "2024-01-02 10:00:00")
    extracted(lake)
    source.put(5, "five", "2024-01-03 10:00:00")

    ids, _ = refreshed(lake)

    assert ids == [2, 3, 4, 5]


def test_after_a_roll_back_the_missing_rows_are_extracted_again(lake: Lake, source: Source) -> None:
    _, first = refreshed(lake)
    source.put(4, "four", "2024-01-02 10:00:00")
    refreshed(lake)
    source.put(5, "five", "2024-01-03 10:00:00")
    refreshed(lake)
    rollback(lake.catalog, "raw.rentals", first.snapshot_id or 0)

    with pytest.raises(RefusedError) as refusal:
        loaded(lake)
    ids, _ = refreshed(lake)

    assert str(refusal.value) == (
        "rentals.parquet has only the rows with last_update from 2024-01-02 09:00:00 on, and raw.rentals does not have "
        "all rows before them. Nothing of rentals was loaded. Run `lakehouse load rentals --refresh`, which extracts "
        "the rows that are missing."
    )
    assert (ids, list(notes(lake))) == ([2, 3, 4, 5], [1, 2, 3, 4, 5])


def test_the_same_bytes_with_another_beginning_can_be_loaded(lake: Lake, source: Source) -> None:
    source.create(rows=[])
    source.put(4, "four", "2024-01-02 10:00:00")
    _, first = refreshed(lake)
    source.put(4, "FOUR", "2024-01-03 10:00:00")
    refreshed(lake)
    again = extracted(lake)
    rollback(lake.catalog, "raw.rentals", first.snapshot_id or 0)
    landed = extracted(lake)

    assert landed.sha256 == again.sha256
    assert (str(again.since), str(landed.since)) == (
        "last_update from 2024-01-03 09:00:00",
        "last_update from 2024-01-02 09:00:00",
    )
    assert landed.origin.endswith(str(landed.since))
    assert (loaded(lake).action, notes(lake)) == ("loaded", {4: "FOUR"})


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("source_now", [Query(database="RENTALS_URL", table="rental"), None])
def test_an_extract_is_not_taken_for_all_rows_when_the_cursor_is_removed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, source_now: Query | None
) -> None:
    refreshed(lake)
    extracted(lake)
    monkeypatch.setitem(DATASETS, "rentals", replace(RENTALS, parts=Whole(), source=source_now))

    with pytest.raises(RefusedError, match="has only the rows with last_update from 2024-01-01 11:30:00 on"):
        loaded(lake, allow_shrink=True)
    assert len(notes(lake)) == 3


def test_a_time_in_the_future_does_not_end_all_extracts(lake: Lake, source: Source) -> None:
    source.put(9, "a wrong year", "2999-01-01 00:00:00")
    refreshed(lake)
    source.put(4, "four", "2024-01-01 13:00:00")

    ids, _ = refreshed(lake)

    assert ids == [2, 3, 4, 9]


def test_a_full_extract_brings_late_rows_and_removes_nothing(lake: Lake, source: Source) -> None:
    refreshed(lake)
    source.put(4, "too late", "2024-01-01 01:00:00")
    source.run("delete from rental where rental_id = 1")
    missed = refreshed(lake)[0]

    ids, result = refreshed(lake, full=True)

    assert (missed, ids) == ([2, 3], [2, 3, 4])
    assert result.merged is not None
    assert (result.merged.inserted, result.merged.removed, list(notes(lake))) == (1, 0, [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("kind", "overlap", "values", "begin", "extracted_ids"),
    [
        ("long", None, [9, 10, 100], "100", [3]),
        ("long", 91, [8, 9, 100], "9", [2, 3]),
        ("decimal(38,2)", Decimal("0.01"), ["9.98", "9.99", "10.00"], "9.99", [2, 3]),
        ("date", timedelta(days=1), ["2024-01-01", "2024-02-01", "2024-02-02"], "2024-02-01", [2, 3]),
        ("date", None, ["0001-01-01", None, None], "0001-01-01", [1, 2, 3]),
        ("date", timedelta(days=1), ["0001-01-01", None, None], None, [1, 2, 3]),
        (
            "timestamp",
            None,
            ["2024-01-01 09:59:59.999999", "2024-01-01 10:00:00.5", "2024-01-01 10:00:00.500000"],
            "2024-01-01 10:00:00.500000",
            [2, 3],
        ),
        (
            "timestamptz",
            timedelta(minutes=30),
            ["2024-01-01 10:00:00+02:00", "2024-01-01 09:00:00Z", "2024-01-01 08:30:00-01:00"],
            "2024-01-01 09:00:00+00:00",
            [2, 3],
        ),
    ],
)
@pytest.mark.parametrize("affinity", ["", "text", "numeric"])
def test_a_cursor_of_every_type_has_the_order_of_its_type(
    lake: Lake,
    source: Source,
    declare: Callable[..., None],
    *,
    affinity: str,
    kind: str,
    overlap: Any,
    values: list[Any],
    begin: str | None,
    extracted_ids: list[int],
) -> None:
    declare(kind, overlap)
    source.create(affinity, [(i, "", value) for i, value in enumerate(values, start=1)])
    refreshed(lake)

    landed = extracted(lake)

    assert landed.since == (Since("last_update", begin) if begin else None)
    assert ids_of(lake, landed) == extracted_ids


def test_thirty_digits_less_an_overlap_are_exact(lake: Lake, source: Source, declare: Callable[..., None]) -> None:
    declare("decimal(38,2)", 1)
    source.create("text", [(1, "", "1"), (2, "", "123456789012345678901234567890.12"), (3, "", None)])
    refreshed(lake)

    landed = extracted(lake)

    assert str(landed.since) == "last_update from 123456789012345678901234567889.12"
    assert ids_of(lake, landed) == [2, 3]


@pytest.mark.parametrize(
    ("kind", "values", "greatest"),
    [
        ("long", [1, 2**62, -5], 2**62),
        ("decimal(38,4)", ["0.0001", "-3", "9999999999999999999999999999999999.9999"], None),
        ("date", ["1969-12-31", "2024-02-29"], date(2024, 2, 29)),
        ("timestamp", ["1969-12-31 23:59:59.999999", "2024-02-29 23:59:59.999999"], None),
        ("timestamptz", ["2024-02-29 23:59:59.999999Z"], datetime(2024, 2, 29, 23, 59, 59, 999999, UTC)),
    ],
)
def test_the_position_is_exact_with_and_without_metrics(
    lake: Lake,
    source: Source,
    declare: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    *,
    kind: str,
    values: list[Any],
    greatest: Any,
) -> None:
    declare(kind)
    source.create("", [(i, "", value) for i, value in enumerate(values, start=1)])
    refreshed(lake)

    by_metrics = since(lake.catalog, DATASETS["rentals"])
    monkeypatch.setattr("lakehouse.loading.cursor._upper_bound", lambda *_: None)
    by_rows = since(lake.catalog, DATASETS["rentals"])

    (found,) = lake.rows("select max(last_update) as last_update from raw.rentals")
    assert by_metrics == by_rows == Since("last_update", str(found["last_update"]))
    assert greatest is None or found["last_update"] == greatest


def test_a_query_with_a_cursor_keeps_its_signs_and_its_own_names(
    lake: Lake, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "select rental_id, '%s :x' as note, last_update as \"Last Update\" from rental -- it's ours\norder by 1 desc;"
    query = Query("RENTALS_URL", sql=sql, cursor="last_update")
    monkeypatch.setitem(DATASETS, "rentals", replace(RENTALS, source=query))
    refreshed(lake)

    assert refreshed(lake)[0] == [3]


def test_a_row_that_is_set_aside_does_not_hold_the_others(
    lake: Lake, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = (RENTALS.columns[0], Column("note", "long"), RENTALS.columns[2])
    wrong = replace(RENTALS, columns=columns, on_bad_rows="set aside", bad_share=0.9)
    monkeypatch.setitem(DATASETS, "rentals", wrong)
    source.create(rows=[(1, "1", "2024-01-01 10:00:00"), (2, "bad", "2024-01-02 10:00:00")])

    _, first = refreshed(lake)
    source.put(3, "3", "2024-01-03 10:00:00")
    second = refreshed(lake)
    source.put(2, "2", "2024-01-04 10:00:00")
    third = refreshed(lake)

    assert (first.set_aside, second[0], third[0]) == (1, [1, 2, 3], [2, 3])
    assert notes(lake) == {1: 1, 2: 2, 3: 3}


TOO_MANY = "3000000000"  # people; without the role it is a number like others


@pytest.fixture
def aside(source: Source, monkeypatch: pytest.MonkeyPatch) -> Source:
    """Of three rows, two have a bad note: one is older than the overlap, one within it."""
    columns = (RENTALS.columns[0], Column("note", "long", role="count"), RENTALS.columns[2])
    counted = replace(RENTALS, columns=columns, on_bad_rows="set aside", bad_share=0.9)
    monkeypatch.setitem(DATASETS, "rentals", counted)
    source.create(
        rows=[
            (1, TOO_MANY, "2024-01-01 08:00:00"),
            (2, TOO_MANY, "2024-01-01 11:30:00"),
            (3, "3", "2024-01-01 12:00:00"),
        ]
    )
    return source


def mend(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (RENTALS.columns[0], Column("note", "long"), RENTALS.columns[2])
    monkeypatch.setitem(DATASETS, "rentals", replace(DATASETS["rentals"], columns=columns))


def rejected(lake: Lake) -> list[int]:
    rows = lake.rows("select row_values from raw.rentals_rejected")
    return sorted(int(json.loads(row["row_values"])["rental_id"]) for row in rows)


def test_a_bad_row_that_comes_again_is_nothing_new(lake: Lake, aside: Source) -> None:
    refreshed(lake)
    ids, same = refreshed(lake)

    assert (ids, same.action, same.rows, same.set_aside) == ([2, 3], "unchanged", 1, 1)
    assert loaded(lake).action == "unchanged"
    assert len(lake.history("raw.rentals")) == len(lake.history("raw.rentals_rejected")) == 1
    assert rejected(lake) == [1, 2]

    aside.put(4, TOO_MANY, "2024-01-01 11:45:00")
    assert refreshed(lake)[1].action == "loaded"
    assert rejected(lake) == [1, 2, 4]
    aside.put(4, "4", "2024-01-01 12:15:00")
    assert refreshed(lake)[1].action == "loaded"
    assert (refreshed(lake)[1].action, rejected(lake)) == ("unchanged", [1, 2])


@pytest.mark.usefixtures("aside")
def test_rejected_rows_that_somebody_removed_come_with_an_extract(lake: Lake) -> None:
    refreshed(lake)
    refreshed(lake)
    lake.table("raw.rentals_rejected").delete()

    assert (refreshed(lake)[1].action, rejected(lake)) == ("loaded", [2])


@pytest.mark.usefixtures("aside")
@pytest.mark.parametrize("again", [False, True])
def test_after_the_declaration_is_mended_rows_of_an_extract_move(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, *, again: bool
) -> None:
    refreshed(lake)
    refreshed(lake)
    mend(monkeypatch)

    result = loaded(lake, again=again)

    assert (result.action, result.set_aside, rejected(lake)) == ("loaded", 0, [1])
    assert notes(lake) == {2: int(TOO_MANY), 3: 3}
    assert refreshed(lake, full=True)[1].action == "loaded"
    assert (rejected(lake), len(notes(lake))) == ([], 3)


def test_a_cursor_of_another_type_than_the_table_is_refused(
    lake: Lake, source: Source, declare: Callable[..., None]
) -> None:
    declare("long")
    source.create("integer", [(1, "one", 1)])
    refreshed(lake)
    declare("timestamp", timedelta(hours=1))

    assert extracted(lake).since is None
    with pytest.raises(LakehouseError, match="last_update"):
        loaded(lake)


def test_a_failed_extract_leaves_the_landed_file(lake: Lake, source: Source) -> None:
    refreshed(lake)
    before = extracted(lake)
    source.run("alter table rental rename to gone")

    with pytest.raises(SourceError, match="no such table"):
        extracted(lake)
    assert lake.landing.find(FILE) == before


def test_the_command_refreshes_by_the_cursor_or_fully(lake: Lake, source: Source) -> None:
    def run(*options: str) -> str:
        result = CliRunner().invoke(app, ["load", "rentals", *options], catch_exceptions=False)
        assert result.exit_code == 0
        return result.output.split("  snapshot")[0].split("  no new")[0].strip()

    assert run() == "rentals  loaded  3 rows (3 inserted, 0 updated, 0 unchanged, 0 removed)"
    assert run("--refresh") == "rentals  unchanged  2 rows of the extract, all there already"
    source.put(4, "too late", "2024-01-01 01:00:00")
    assert run("--refresh") == "rentals  unchanged  2 rows of the extract, all there already"
    assert run("--full-refresh") == "rentals  loaded  4 rows (1 inserted, 0 updated, 3 unchanged, 0 removed)"


@pytest.mark.usefixtures("source")
def test_a_load_that_does_not_ask_the_database_says_so(lake: Lake) -> None:
    extracted(lake)

    for action in ("loaded", "unchanged"):
        plain = CliRunner().invoke(app, ["load", "rentals"], catch_exceptions=False)

        assert f"rentals  {action}  3 rows" in plain.stdout
        assert plain.stderr == (
            "warning: The database was not asked, as an extract of rentals is landed. --refresh asks it.\n"
        )
    asked = CliRunner().invoke(app, ["load", "rentals", "--refresh"], catch_exceptions=False)
    assert asked.stderr == ""


@pytest.mark.usefixtures("source")
def test_an_extract_with_a_damaged_record_is_refreshed(lake: Lake) -> None:
    extracted(lake)
    record = lake.settings.landing_dir / f"{FILE.key}.json"
    record.write_text("{", encoding="utf-8")

    plain = CliRunner().invoke(app, ["load", "rentals"])
    asked = CliRunner().invoke(app, ["load", "rentals", "--refresh"], catch_exceptions=False)

    assert "`lakehouse load rentals --refresh`" in str(plain.exception)
    assert "rentals  loaded  3 rows" in asked.stdout


DECLARATION = """
from datetime import timedelta

from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.sources import Query

RENTALS = Dataset(
    name="rentals", title="Rentals", table="raw.rentals", files="rentals.parquet", parts=Whole(complete=False),
    key=("rental_id",),
    source=Query(database="RENTALS_URL", table="rental", cursor="last_update", overlap=timedelta(hours=1)),
    columns=(Column("rental_id", "long"), Column("note", "string"), Column("last_update", "timestamp")),
)
"""


@pytest.mark.slow
@takes_minutes
def test_dagster_extracts_by_the_cursor_or_fully(tmp_path: Path, source: Source) -> None:
    (tmp_path / "dagster").mkdir()
    project = Project(tmp_path / "dagster", {})
    (project.root / ".env").write_text(f"RENTALS_URL=sqlite:///{source.file}\n", encoding="utf-8")
    (project.root / "src" / "lakehouse" / "datasets" / "rentals.py").write_text(DECLARATION, encoding="utf-8")
    script = """
import json, dagster as dg
from lakehouse.definitions import defs
job = defs().resolve_implicit_global_asset_job_def()
rows = []
for full in (False, False, True):
    result = job.execute_in_process(
        asset_selection=[dg.AssetKey(["landing", "rentals"]), dg.AssetKey(["raw", "rentals"])],
        run_config={"ops": {"landing__rentals": {"config": {"full_refresh": full}}}},
    )
    for node in ("landing__rentals", "raw__rentals"):
        (found,) = result.asset_materializations_for_node(node)
        wanted = ("dagster/row_count", "origin", "action")
        rows.append([found.metadata[name].value for name in wanted if name in found.metadata])
print(json.dumps({"rows": rows}))
"""

    found = project.ask(script, warnings="default")["rows"]

    origin = "database RENTALS_URL, table rental"
    assert found == [
        [3, origin],
        [3, "loaded"],
        [2, f"{origin}, last_update from 2024-01-01 11:30:00"],
        [3, "unchanged"],
        [3, origin],
        [3, "unchanged"],
    ]


def test_a_moment_of_a_clock_that_is_ahead_does_not_count(
    lake: Lake, source: Source, declare: Callable[..., None]
) -> None:
    declare("timestamptz", timedelta(hours=1))
    ahead = f"{datetime.now(UTC) + timedelta(hours=20):%Y-%m-%d %H:%M:%S}+00:00"
    source.create(rows=[(1, "one", "2024-01-01 10:00:00+00:00"), (2, "ahead", ahead)])
    refreshed(lake)
    source.put(3, "three", "2024-01-01 11:00:00+00:00")

    assert refreshed(lake)[0] == [1, 2, 3]
