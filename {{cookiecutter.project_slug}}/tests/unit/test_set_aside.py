"""Bad rows that are set aside: none is lost, the good ones are loaded, and a kill at any moment is put right."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook
from tests.lake import Lake
from typer.testing import CliRunner

from lakehouse.cli import app
from lakehouse.datasets.days import Day
from lakehouse.datasets.declaration import problem
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv, Excel, JsonLines, Parquet
from lakehouse.datasets.model import BEGINNING, Column, Dataset
from lakehouse.datasets.parts import Daily, Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import CommitError, RefusedError, ServiceError
from lakehouse.iceberg.commit import MovedError
from lakehouse.iceberg.merge import Merged
from lakehouse.landing.land import land
from lakehouse.loading import load as loading
from lakehouse.loading import set_aside
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult

TABLE, REJECTED = "raw.orders", "raw.orders_rejected"
DAY, OTHER = Day(2024, 1, 5), Day(2024, 1, 6)
ORDERS = Dataset(
    name="orders",
    title="Orders",
    table=TABLE,
    files="orders_{day}.csv",
    parts=Daily(since=Day(2024, 1, 1)),
    format=Csv(),
    columns=(
        Column("number", "long", required_since=BEGINNING),
        Column("placed", "date"),
        Column("price", "decimal(6,2)"),
    ),
    on_bad_rows="set aside",
    bad_share=0.5,
)
KEYED = replace(ORDERS, files="orders.csv", parts=Whole(), key=("number",))
BAD = ("1,2024-01-05,10.00", "x,2024-01-05,1", "3,2024-02-31,2.5", "4,,1.505", "5,2024-01-06,", "6,,1")


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", ORDERS)


def landed(lake: Lake, *rows: str, day: Day | None = DAY) -> DatasetFile:
    file = DatasetFile("orders", day)
    lake.scratch.mkdir(parents=True, exist_ok=True)
    path = lake.scratch / file.name
    path.write_text("\n".join(("number,placed,price", *rows)) + "\n", "utf-8")
    lake.landing.put(file, path, "test")
    return file


def loaded(lake: Lake, *rows: str, day: Day | None = DAY, **options: Any) -> LoadResult:
    return load(lake.catalog, lake.landing, landed(lake, *rows, day=day), **options)


def numbers(lake: Lake) -> list[tuple[int, int]]:
    """Place in the file and number of the rows of the raw table."""
    return [(r["file_row"], r["number"]) for r in lake.rows(f"select file_row, number from {TABLE} order by 1, 2")]


def rejected(lake: Lake) -> list[dict[str, Any]]:
    return lake.rows(f"select * from {REJECTED} order by file_row, run_id")


def places(lake: Lake) -> list[int]:
    return [row["file_row"] for row in rejected(lake)]


@pytest.mark.usefixtures("orders")
def test_good_rows_are_loaded_and_bad_ones_are_set_aside_with_their_reason(lake: Lake) -> None:
    result = loaded(lake, *BAD, run_id="first")

    assert (result.rows, result.set_aside, result.counts) == (3, 3, "3 rows, 3 set aside")
    assert numbers(lake) == [(0, 1), (4, 5), (5, 6)]
    first, second, third = rejected(lake)
    assert first == {
        "file_date": DAY.first_day,
        "file_row": 1,
        "source_sha256": result.source_sha256,
        "run_id": "first",
        "file_name": "orders_2024-01-05.csv",
        "place": "row 1 (counted from 0)",
        "reason": "the column 'number' has 'x' in row 1 (counted from 0); expected a whole number for the table's "
        "column number",
        "column_name": "number",
        "row_values": json.dumps({"number": "x", "placed": "2024-01-05", "price": "1"}),
    }
    assert "'2024-02-31'" in second["reason"]
    assert "at most 2 digits behind the point" in third["reason"]
    (row,) = lake.history(TABLE)
    assert (row.set_aside, row.added_rows) == (3, 3)
    assert result.as_dict()["set_aside"] == 3


@pytest.mark.usefixtures("orders")
def test_a_row_with_several_bad_values_is_one_row(lake: Lake) -> None:
    loaded(lake, "x,today,1", "2,,3")

    (row,) = rejected(lake)

    assert row["column_name"] == "number, placed"
    assert "has 'x'" in row["reason"]
    assert "has 'today'" in row["reason"]


@pytest.mark.usefixtures("orders")
def test_above_the_share_the_file_is_refused_and_nothing_changes(lake: Lake) -> None:
    loaded(lake, *BAD)

    with pytest.raises(RefusedError, match=r"at least 3 of its 4 rows are bad, and at most 2 may be") as refused:
        loaded(lake, "1,,", "x,,", "y,,", "z,,")

    assert "The first: the column 'number' has 'x' in row 1" in str(refused.value)
    assert "Nothing of this file was loaded. If these rows are right, correct the columns or `bad_share` in the" in str(
        refused.value
    )
    assert places(lake) == [1, 2, 3]
    assert len(numbers(lake)) == 3


def test_the_share_is_exact(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", replace(ORDERS, bad_share=0.29))  # 0.29 * 100 < 29 in doubles
    good, bad = [f"{n},," for n in range(100)], [f"x{n},," for n in range(30)]

    assert loaded(lake, *good[:71], *bad[:29]).set_aside == 29
    with pytest.raises(RefusedError, match="30 of its 100 rows"):
        loaded(lake, *good[:70], *bad)


def test_without_the_declaration_a_bad_row_refuses_its_file(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", replace(ORDERS, on_bad_rows="refuse"))

    with pytest.raises(RefusedError, match="the column 'number' has 'x' in row 1"):
        loaded(lake, *BAD)

    assert REJECTED not in lake.engine.tables()


@pytest.mark.usefixtures("orders")
def test_a_clean_file_leaves_no_rejected_rows_of_its_part(lake: Lake) -> None:
    loaded(lake, *BAD)
    loaded(lake, "1,,", "x,,", day=OTHER)

    result = loaded(lake, "1,,", "2,,", "3,,")

    assert (result.rows, result.set_aside) == (3, 0)
    assert [(row["file_date"], row["file_row"]) for row in rejected(lake)] == [(OTHER.first_day, 1)]
    assert [row.set_aside for row in lake.history(TABLE)] == [3, 1, 0]


@pytest.mark.usefixtures("orders")
def test_the_same_file_is_loaded_once_and_its_bad_rows_are_counted(lake: Lake) -> None:
    first = loaded(lake, *BAD)

    second = loaded(lake, *BAD)

    assert (second.action, second.rows, second.set_aside) == ("unchanged", 3, 3)
    assert second.source_sha256 == first.source_sha256
    assert len(lake.history(REJECTED)) == 1


@pytest.mark.usefixtures("orders")
def test_a_file_of_bad_rows_only_is_loaded_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", replace(ORDERS, bad_share=1))

    assert loaded(lake, "x,,", "y,,", allow_shrink=True).set_aside == 2
    assert loaded(lake, "x,,", "y,,", allow_shrink=True).action == "unchanged"

    assert numbers(lake) == []
    assert places(lake) == [0, 1]


def test_a_file_of_bad_rows_only_may_lack_a_column(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", replace(ORDERS, bad_share=1.0))
    file = landed(lake)
    (lake.scratch / file.name).write_text("number,placed\nx,2024-01-05\n", "utf-8")
    lake.landing.put(file, lake.scratch / file.name, "test")

    result = load(lake.catalog, lake.landing, file, allow_shrink=True)

    assert (result.rows, result.set_aside) == (0, 1)


def mend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dates are written as 05.01.2024."""
    monkeypatch.setitem(DATASETS, "orders", replace(ORDERS, format=Csv(dates="%d.%m.%Y")))


@pytest.mark.usefixtures("orders")
def test_after_the_declaration_is_mended_rows_move_to_the_table(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    file = landed(lake, "1,,", "2,05.01.2024,", "x,,", "4,,")
    load(lake.catalog, lake.landing, file)
    assert places(lake) == [1, 2]

    mend(monkeypatch)
    result = load(lake.catalog, lake.landing, file, again=True)

    assert (result.rows, result.set_aside) == (3, 1)
    assert numbers(lake) == [(0, 1), (1, 2), (3, 4)]
    assert [(row["file_row"], row["run_id"]) for row in rejected(lake)] == [(2, lake.history(TABLE)[-1].run_id)]


def test_a_row_of_a_complete_file_that_is_set_aside_keeps_its_old_one(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "orders", KEYED)
    loaded(lake, "1,,1", "2,,2", "3,,3", "4,,4", day=None)

    result = loaded(lake, "1,,10", "2,never,20", "5,,5", "6,,none", day=None)

    assert result.merged == Merged(inserted=1, updated=1, unchanged=0, removed=2, kept=1)
    assert result.counts == "2 rows (1 inserted, 1 updated, 0 unchanged, 2 removed, 1 kept), 2 set aside"
    assert prices(lake) == {1: 10, 2: 2, 5: 5}
    assert places(lake) == [1, 3]


def test_while_a_key_is_unknown_no_row_is_removed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", KEYED)
    loaded(lake, "1,,1", "2,,2", "3,,3", day=None)

    result = loaded(lake, "1,,10", ",,20", "4,,4", day=None)

    assert result.merged == Merged(inserted=1, updated=1, unchanged=0, removed=0, kept=2)
    assert prices(lake) == {1: 10, 2: 2, 3: 3, 4: 4}
    assert "the column 'number' has '' in row 1" in rejected(lake)[0]["reason"]
    assert loaded(lake, "1,,10", ",,20", "4,,4", day=None).action == "unchanged"
    assert loaded(lake, "1,,10", "2,,20", "4,,4", day=None).merged == Merged(0, 1, 2, 1)
    assert places(lake) == []


def test_a_file_of_bad_rows_only_changes_no_row_of_its_keys(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", replace(KEYED, bad_share=1))
    loaded(lake, "1,,1", "2,,2", day=None)

    result = loaded(lake, "1,never,1", "2,never,2", day=None, allow_shrink=True)

    assert result.merged == Merged(0, 0, 0, 0, kept=2)
    assert prices(lake) == {1: 1, 2: 2}


def test_files_of_changes_leave_the_rejected_rows_of_other_files(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", replace(KEYED, parts=Whole(complete=False)))
    first = loaded(lake, "1,,1", "x,,", day=None)
    second = loaded(lake, "2,,2", "3,,3", "y,,", day=None)
    assert [row["source_sha256"] for row in rejected(lake)] == [first.source_sha256, second.source_sha256]

    again = load(lake.catalog, lake.landing, DatasetFile("orders"), again=True)

    assert again.set_aside == 1
    assert len(rejected(lake)) == 2
    assert prices(lake) == {1: 1, 2: 2, 3: 3}


def test_a_bad_row_that_a_later_file_of_changes_has_too_stands_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "orders", replace(KEYED, parts=Whole(complete=False), bad_share=1))
    first = loaded(lake, "1,,1", "x,,5", "y,,6", day=None)

    with monkeypatch.context() as killed:  # between the commit of the raw table and what follows it
        killed.setattr(set_aside.Rejected, "settle", lambda *_, **__: 0)
        loaded(lake, "x,,5", "2,,2", "x,never,5", day=None)
    assert len(rejected(lake)) == 4
    again = loaded(lake, "x,,5", "2,,2", "x,never,5", day=None)

    assert (again.action, again.set_aside) == ("unchanged", 2)
    found = {(row["source_sha256"], row["file_row"], row["column_name"]) for row in rejected(lake)}
    assert found == {
        (first.source_sha256, 2, "number"),
        (again.source_sha256, 0, "number"),
        (again.source_sha256, 2, "number, placed"),
    }
    assert len(rejected(lake)) == 3


def prices(lake: Lake) -> dict[int, float]:
    return {row["number"]: float(row["price"]) for row in lake.rows(f"select number, price from {TABLE}")}


COLUMNS: dict[str, list[Any]] = {"number": ["1", "x", "3", "4"], "price": ["1", "2", "3.5", None]}


def as_json_lines(path: Path) -> None:
    rows = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)]
    path.write_text("\n\n".join(map(json.dumps, rows)), "utf-8")


@pytest.mark.parametrize("first", ['{"number": [1]}', '{"number": {"n": 1}}', '[{"number": 1}]', '{"number": '])
def test_a_bad_first_line_of_json_is_one_bad_row(lake: Lake, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    monkeypatch.setitem(DATASETS, "orders", replace(ORDERS, format=JsonLines()))
    file = DatasetFile("orders", DAY)
    lake.scratch.mkdir(parents=True, exist_ok=True)
    (lake.scratch / file.name).write_text(f'{first}\n{{"number": 2}}\n', "utf-8")
    lake.landing.put(file, lake.scratch / file.name, "test")

    result = load(lake.catalog, lake.landing, file)

    assert (result.rows, result.set_aside) == (1, 1)
    assert [row["place"] for row in rejected(lake)] == ["line 1"]
    assert numbers(lake) == [(1, 2)]


def as_excel(path: Path) -> None:
    book = Workbook()
    for row in (tuple(COLUMNS), *zip(*COLUMNS.values(), strict=True)):
        book.active.append(row)  # type: ignore[union-attr]
    book.save(path)


def as_parquet(path: Path) -> None:
    pq.write_table(pa.table(COLUMNS), path, row_group_size=1)


@pytest.mark.parametrize(
    ("declared", "write", "place"),
    [
        (JsonLines(), as_json_lines, "line 3"),
        (Excel(), as_excel, "row 3 of the sheet 'Sheet'"),
        (Parquet(), as_parquet, "row 1 (counted from 0)"),
    ],
)
def test_each_format_says_where_the_row_is(
    declared: Any, write: Callable[[Path], None], place: str, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "orders", replace(ORDERS, format=declared))
    file = DatasetFile("orders", DAY)
    lake.scratch.mkdir(parents=True, exist_ok=True)
    write(lake.scratch / file.name)
    lake.landing.put(file, lake.scratch / file.name, "test")

    result = load(lake.catalog, lake.landing, file)

    assert (result.rows, result.set_aside) == (3, 1)
    assert numbers(lake) == [(0, 1), (2, 3), (3, 4)]
    (row,) = rejected(lake)
    assert (row["file_row"], row["place"], row["column_name"]) == (1, place, "number")
    assert json.loads(row["row_values"]) == {"number": "x", "price": "2"}


@pytest.mark.usefixtures("orders")
def test_lines_with_too_few_or_too_many_values_are_set_aside(lake: Lake) -> None:
    result = loaded(lake, "a,b", "0,,", "1,,5", "2", "3,,,4", "4,x,", "5,,", "6,,")

    assert (result.rows, result.set_aside) == (4, 4)
    assert numbers(lake) == [(1, 0), (2, 1), (6, 5), (7, 6)]
    first, second, third, fourth = rejected(lake)
    assert (first["file_row"], first["reason"]) == (0, "row 0 (counted from 0) has 2 values; expected 3")
    assert (second["file_row"], second["row_values"], second["column_name"]) == (3, "2", None)
    assert (third["file_row"], third["row_values"]) == (4, "3,,,4")
    assert (fourth["file_row"], fourth["column_name"]) == (5, "placed")
    assert loaded(lake, "a,b", "0,,", "1,,5", "2", "3,,,4", "4,x,", "5,,", "6,,").action == "unchanged"


@pytest.mark.usefixtures("orders")
def test_lines_left_out_keep_their_places_over_many_blocks(lake: Lake) -> None:
    rows = [f"{n},," if n % 7 and not 60_000 < n < 60_100 else f"{n},{'x' * 20}" for n in range(150_000)]

    result = loaded(lake, *rows, "last")

    bad = [n for n, row in enumerate(rows) if "x" in row] + [len(rows)]
    assert places(lake) == bad
    assert (result.rows, result.set_aside) == (len(rows) + 1 - len(bad), len(bad))
    assert lake.rows(f"select count(*) as n from {TABLE} where file_row <> number") == [{"n": 0}]


@pytest.mark.usefixtures("orders")
def test_a_file_of_another_delimiter_is_refused(lake: Lake) -> None:
    with pytest.raises(RefusedError, match=r"at least 3 of its 4 rows are bad"):
        loaded(lake, "1;;", "2;;", "3;;", "4,,")


def in_format(lake: Lake, content: bytes) -> LoadResult:
    file = DatasetFile("orders", DAY)
    lake.scratch.mkdir(parents=True, exist_ok=True)
    (lake.scratch / file.name).write_bytes(content)
    land(lake.landing, str(lake.scratch), file, refresh=True)
    return load(lake.catalog, lake.landing, file)


def test_lines_of_json_that_are_no_object_are_set_aside(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ('{"number": 1}', '{"number": 2', "", '{"number": [3]}', '{"number": 4, "number": 4}', '{"number": 5}', "7")

    monkeypatch.setitem(DATASETS, "orders", replace(ORDERS, format=JsonLines()))
    result = in_format(lake, "\n".join((*lines, *['{"number": 6}'] * 3)).encode())

    assert (result.rows, result.set_aside) == (5, 4)
    assert numbers(lake) == [(0, 1), (4, 5), (6, 6), (7, 6), (8, 6)]
    found = [(row["file_row"], row["place"], row["column_name"], row["row_values"]) for row in rejected(lake)]
    assert found == [
        (1, "line 2", None, lines[1]),
        (2, "line 4", "number", json.dumps({"number": '["3"]'})),
        (3, "line 5", None, lines[4]),
        (5, "line 7", None, "7"),
    ]
    assert "line 2 is not one whole JSON object" in rejected(lake)[0]["reason"]


def test_lists_are_set_aside_by_their_row(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (*ORDERS.columns, Column("tags", "list(long)"))
    monkeypatch.setitem(DATASETS, "orders", replace(ORDERS, columns=columns, format=JsonLines()))
    lines = ('"tags": [1, 2]', '"tags": 3', '"tags": [4, "x"]', '"tags": []')

    result = in_format(lake, "\n".join(f'{{"number": {n}, {line}}}' for n, line in enumerate(lines)).encode())

    assert lake.rows(f"select number, tags from {TABLE} order by 1") == [
        {"number": 0, "tags": [1, 2]},
        {"number": 3, "tags": []},
    ]
    assert result.set_aside == 2
    assert [json.loads(row["row_values"])["tags"] for row in rejected(lake)] == ['"3"', '["4", "x"]']


def test_cells_of_excel_with_an_error_are_set_aside(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    book, out = Workbook(), io.BytesIO()
    for row in ("number", "price"), (1, "#N/A"), (2, 5), ("x", "=1+1"), (4, None), (None, 7):
        book.active.append(row)  # type: ignore[union-attr]
    book.save(out)

    monkeypatch.setitem(DATASETS, "orders", replace(ORDERS, format=Excel()))
    result = in_format(lake, out.getvalue())

    assert (result.rows, result.set_aside) == (3, 2)
    assert numbers(lake) == [(1, 2), (3, 4), (4, None)]
    first, second = rejected(lake)
    assert (first["place"], first["column_name"]) == ("row 2 of the sheet 'Sheet'", "price")
    assert json.loads(first["row_values"]) == {"number": "1", "price": "#N/A"}
    assert (second["column_name"], json.loads(second["row_values"])) == (
        "price, number",
        {"number": "x", "price": "=1+1"},
    )


def test_several_files_of_a_part_say_which_has_the_row(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", replace(ORDERS, files="orders_{day}_*.csv"))
    lake.scratch.mkdir(parents=True)
    file = DatasetFile("orders", DAY)
    for shop, rows in (("a", "1,,\n2\n"), ("b", "3,,\nx,,\n5,,\n")):
        (lake.scratch / f"orders_{DAY}_{shop}.csv").write_text(f"number,placed,price\n{rows}", "utf-8")

    land(lake.landing, str(lake.scratch), file)
    result = load(lake.catalog, lake.landing, file)

    assert (result.rows, result.set_aside) == (3, 2)
    assert numbers(lake) == [(0, 1), (2, 3), (4, 5)]
    assert [(row["file_row"], row["place"]) for row in rejected(lake)] == [
        (1, f"row 1 (counted from 0) of orders_{DAY}_a.csv"),
        (3, f"row 1 (counted from 0) of orders_{DAY}_b.csv"),
    ]


@pytest.mark.usefixtures("orders")
def test_the_checks_of_a_whole_file_look_at_the_good_rows(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(lake, *(f"{n},," for n in range(10)))
    with pytest.raises(RefusedError, match="has 8 rows, and 4 of them were set aside, so 4 are left, fewer than 50%"):
        loaded(lake, *(f"{n},," for n in range(4)), *(f"x{n},," for n in range(4)))
    assert places(lake) == []

    never_empty = replace(ORDERS.columns[2], required_since=BEGINNING, never_empty=True)
    monkeypatch.setitem(DATASETS, "orders", replace(ORDERS, columns=(*ORDERS.columns[:2], never_empty)))
    with pytest.raises(RefusedError, match=r"'price' has no value in any of its 10 rows \(1 were set aside\), and"):
        loaded(lake, *(f"{n},," for n in range(9)), "x,,1")


@pytest.mark.usefixtures("orders")
def test_the_same_bytes_as_another_part_are_still_refused(lake: Lake) -> None:
    loaded(lake, *BAD)

    with pytest.raises(RefusedError, match="has the same bytes as the file"):
        loaded(lake, *BAD, day=OTHER)


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("which", ["before", "after"])
@pytest.mark.parametrize("step", ["add", "commit", "settle"])
@pytest.mark.parametrize("again", [False, True])
def test_after_a_kill_the_next_load_puts_it_right(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str, which: str, again: bool
) -> None:
    loaded(lake, "1,,", "2,05.01.2024,", "x,,", "4,,")
    rows = ("1,,", "2,05.01.2024,", "x,,", "4,,") if again else ("y,,", "2,05.01.2024,", "3,,", "4,,")
    file = landed(lake, *rows)
    if again:
        mend(monkeypatch)

    with killed_at(step, which), pytest.raises(KilledError):
        load(lake.catalog, lake.landing, file, again=again)

    assert_no_row_is_lost(lake)
    assert load(lake.catalog, lake.landing, file).action in ("loaded", "unchanged")
    assert_no_row_is_lost(lake)
    settled = lake.history(TABLE)[-1]
    assert {(row["run_id"], row["source_sha256"]) for row in rejected(lake)} == {
        (settled.run_id, settled.source_sha256)
    }
    assert len(rejected(lake)) == settled.set_aside
    assert load(lake.catalog, lake.landing, file).action == "unchanged"


class KilledError(BaseException):
    """Nothing catches it, as nothing catches the end of a process."""


@contextmanager
def killed_at(step: str, which: str) -> Iterator[None]:
    """Die just before or just after a commit: of the added rows, of the raw table, or of the rows that go."""
    module: Any = loading if step == "commit" else set_aside
    real, calls = module.commit, []

    def commit(*args: Any, **options: Any) -> Any:
        calls.append(args)
        dies = len(calls) == (2 if step == "settle" else 1)
        if dies and which == "before":
            raise KilledError
        done = real(*args, **options)
        if dies:
            raise KilledError
        return done

    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(module, "commit", commit)
        yield


def assert_no_row_is_lost(lake: Lake) -> None:
    """Each of the four rows of the file that the raw table has is there, or among the rejected ones of its load."""
    newest = lake.history(TABLE)[-1]
    good = lake.rows(f"select file_row from {TABLE} where source_sha256 = '{newest.source_sha256}'")
    bad = [row for row in rejected(lake) if row["run_id"] == newest.run_id]
    assert sorted([row["file_row"] for row in (*good, *bad)]) == [0, 1, 2, 3]


@pytest.mark.usefixtures("orders")
def test_a_refused_commit_is_told_although_its_rows_can_t_be_removed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(catalog: Any, *_: Any, **__: Any) -> None:
        monkeypatch.setattr(catalog, "commit_table", unreachable)
        raise RefusedError("orders 2024-01-05 is refused.")

    monkeypatch.setattr(loading, "commit", refuse)

    with pytest.raises(RefusedError) as refused:
        loaded(lake, *BAD)

    assert str(refused.value) == (
        "orders 2024-01-05 is refused. Rows that this load set aside may still be in raw.orders_rejected. The next "
        "load of orders 2024-01-05 removes them."
    )


@pytest.mark.usefixtures("orders")
def test_rows_of_earlier_loads_that_stay_leave_the_file_loaded(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(lake, *BAD)
    real: Any = loading.__dict__["commit"]

    def commit(catalog: Any, *args: Any, **options: Any) -> Any:
        done = real(catalog, *args, **options)
        monkeypatch.setattr(catalog, "commit_table", unreachable)
        return done

    monkeypatch.setattr(loading, "commit", commit)

    with pytest.raises(CommitError) as error:
        loaded(lake, *BAD, "7,,")

    said = str(error.value)
    assert said.startswith(
        "the removal of rows that earlier loads of orders 2024-01-05 set aside could not be committed"
    )
    assert said.endswith(
        " The file itself is loaded into raw.orders. raw.orders_rejected may still have rows that earlier loads set "
        "aside, or lack rows that this one did. Run the same command again."
    )


def unreachable(*_: Any, **__: Any) -> Any:
    """What a catalog does that is gone."""
    raise ConnectionError("the catalog is gone")


@pytest.mark.usefixtures("orders")
def test_rejected_rows_that_somebody_removed_are_read_again(lake: Lake) -> None:
    loaded(lake, *BAD)
    lake.table(REJECTED).delete()

    result = loaded(lake, *BAD)

    assert (result.action, result.set_aside) == ("loaded", 3)
    assert places(lake) == [1, 2, 3]
    assert loaded(lake, *BAD).action == "unchanged"


@pytest.mark.usefixtures("orders")
def test_rows_that_another_load_removed_are_added_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = loading.__dict__["commit"]

    def commit(*args: Any, **options: Any) -> Any:
        lake.table(REJECTED).delete()  # another load of this part has just ended
        return real(*args, **options)

    monkeypatch.setattr(loading, "commit", commit)
    result = loaded(lake, *BAD)

    assert result.set_aside == 3
    assert places(lake) == [1, 2, 3]


@pytest.mark.usefixtures("orders")
def test_a_raw_commit_that_fails_is_put_right(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(lake, *BAD)

    def fails(*_: Any, **__: Any) -> None:
        raise CommitError("the catalog is away")

    monkeypatch.setattr(loading, "commit", fails)
    with pytest.raises(CommitError):
        loaded(lake, "1,,", "x,,")
    monkeypatch.undo()
    monkeypatch.setitem(DATASETS, "orders", ORDERS)

    assert {1, 2, 3} <= set(places(lake))
    assert loaded(lake, "1,,", "x,,", allow_shrink=True).set_aside == 1
    assert places(lake) == [1]


@pytest.mark.usefixtures("orders")
def test_the_command_line_shows_what_was_set_aside(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_TARGET", "embedded")
    landed(lake, *BAD)

    said = CliRunner().invoke(app, ["load", "orders", str(DAY)], env={"COLUMNS": "200"})
    history = CliRunner().invoke(app, ["history", TABLE], env={"COLUMNS": "200"})
    query = CliRunner().invoke(app, ["sql", f"select file_row, reason from {REJECTED}", "--json"])
    kept = CliRunner().invoke(app, ["maintain", "--now", "--json"])

    assert "3 rows, 3 set aside" in said.output
    assert "set aside" in history.output
    assert [row["file_row"] for row in json.loads(query.output)] == [1, 2, 3]
    assert REJECTED in {row["table"] for row in json.loads(kept.output)}


@pytest.mark.usefixtures("orders")
@pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")
@pytest.mark.filterwarnings("ignore:InitResourceContext:DeprecationWarning")
def test_dagster_shows_it_and_its_checks_count_it(lake: Lake) -> None:
    from lakehouse.defs.raw.assets import raw_asset
    from lakehouse.defs.resources import resources

    landed(lake, *BAD)
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [raw_asset(ORDERS)], partition_key=str(DAY), resources=resources(lake.settings), instance=instance
        )

    (made,) = [event.materialization for event in done.get_asset_materialization_events()]
    checks = {check.check_name: check for check in done.get_asset_check_evaluations()}
    assert made.metadata["set_aside"].value == 3
    assert checks["rows_match_file"].passed
    assert checks["rows_match_file"].metadata["days"].value == {str(DAY): {"table": 3, "set_aside": 3, "file": 6}}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"on_bad_rows": "skip"}, "on_bad_rows='skip' is unknown"),
        ({"bad_share": 1.5}, "bad_share=1.5 is no share"),
        ({"bad_share": 0}, "bad_share=0 is no share"),
        ({"bad_share": "1%"}, "bad_share is of the type str"),
    ],
)
def test_a_wrong_declaration_is_one_sentence(wrong: dict[str, Any], said: str) -> None:
    assert said in (problem(replace(ORDERS, **wrong)) or "")
    assert problem(ORDERS) is None


@pytest.mark.usefixtures("orders")
def test_a_run_that_is_tried_again_sets_its_rows_aside_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ServiceError("the catalog is away")

    with monkeypatch.context() as planted:
        planted.setattr(loading, "commit", away)
        with pytest.raises(ServiceError):
            loaded(lake, *BAD, run_id="run-1")
    assert places(lake) == [1, 2, 3]

    result = loaded(lake, *BAD, run_id="run-1")

    assert (result.action, result.rows, result.set_aside) == ("loaded", 3, 3)
    assert places(lake) == [1, 2, 3]
    assert loaded(lake, *BAD).action == "unchanged"


def test_a_merge_that_begins_again_sets_its_rows_aside_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", replace(KEYED, parts=Whole(complete=False)))
    real: Any = loading.__dict__["commit"]
    seen: list[list[int]] = []

    def commit(*args: Any, **options: Any) -> Any:
        seen.append(places(lake))
        if len(seen) == 1:
            raise MovedError("others changed the table")
        return real(*args, **options)

    monkeypatch.setattr(loading, "commit", commit)
    result = loaded(lake, "1,,1", "x,,5", "2,,2", day=None)

    assert seen == [[1], [1]]
    assert (result.action, result.set_aside, places(lake)) == ("loaded", 1, [1])
    assert [row.set_aside for row in lake.history(TABLE)] == [1]


def test_what_a_refused_file_of_changes_set_aside_is_removed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", replace(KEYED, parts=Whole(complete=False)))
    loaded(lake, "1,,10", "x,,1", day=None)

    def refuses(*_: Any, **__: Any) -> None:
        raise RefusedError("a newer file landed")

    with monkeypatch.context() as planted:
        planted.setattr(loading, "commit", refuses)
        with pytest.raises(RefusedError, match="a newer file landed"):
            loaded(lake, "2,,10", "3,,10", "y,,1", day=None)

    assert [json.loads(row["row_values"])["number"] for row in rejected(lake)] == ["x"]


def test_a_bad_row_does_not_hide_that_a_key_stands_twice(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", KEYED)

    with pytest.raises(RefusedError, match="more than one row has 'number' = 1, which is the table's key"):
        loaded(lake, "1,,10", "1,never,20", "2,,5", day=None)
