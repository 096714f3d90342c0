"""Excel: cells are read exactly, and what is not as declared is refused by sheet, row, column and value."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Excel
from lakehouse.datasets.model import BEGINNING, Column, Dataset, Name
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import RefusedError, SourceError
from lakehouse.formats import excel
from lakehouse.formats.excel import Header, header_of
from lakehouse.landing.land import land
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult

BUDGET = DatasetFile("budget")
LATE = datetime.fromisoformat("2024-01-31T23:59:59.123")
HEADER = ["ID", "Placed at", "Price", "Note"]
CELLS: list[list[Any]] = [
    [1, LATE, 0.1, "a"],
    ["0002", "2024-02-29 10:00:00", "-25", 7.0],
    [],
    [2**53, None, 3, True],
]
ROWS = [
    {"id": 1, "placed": LATE, "price": 0.1, "note": "a"},
    {"id": 2, "placed": datetime.fromisoformat("2024-02-29T10:00"), "price": -25.0, "note": "7"},
    {"id": 2**53, "placed": None, "price": 3.0, "note": "true"},
]


def book(rows: list[list[Any]], *, sheet: str = "Data", merged: str = "") -> bytes:
    """An Excel file whose second sheet has these rows; the first is hidden."""
    made = Workbook()
    made.active.title = "Lists"  # type: ignore[union-attr]
    made.active.sheet_state = "hidden"  # type: ignore[union-attr]
    data = made.create_sheet(sheet)
    for row in rows:
        data.append(row)
    if merged:
        data.merge_cells(merged)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def edited(content: bytes, old: str, new: str, within: str = "sheet2.xml") -> bytes:
    """The same file with a text replaced: in the second sheet, or in another part of the file."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(out, "w") as after:
        for name in before.namelist():
            part = before.read(name)
            if name.endswith(within):
                part, found = re.subn(old.encode(), new.encode(), part)
                assert found == 1, part
            after.writestr(name, part)
    return out.getvalue()


@pytest.fixture(autouse=True)
def _budget(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, Excel())


def declare(monkeypatch: pytest.MonkeyPatch, declared: Excel) -> None:
    """Declare a dataset of a budget."""
    columns = (
        Column("id", "long", required_since=BEGINNING),
        Column("placed", "timestamp", (Name("Placed at"),)),
        Column("price", "double"),
        Column("note", "string"),
    )
    budget = Dataset(
        name="budget",
        title="The budget",
        table="raw.budget",
        files="budget.xlsx",
        parts=Whole(),
        format=declared,
        key=("id",),
        columns=columns,
    )
    monkeypatch.setitem(DATASETS, "budget", budget)


def loaded(lake: Lake, content: bytes, tmp_path: Path) -> LoadResult:
    """Load a file that has landed."""
    (tmp_path / "budget.xlsx").write_bytes(content)
    lake.landing.put(BUDGET, tmp_path / "budget.xlsx", "test")
    return load(lake.catalog, lake.landing, BUDGET)


def rows(lake: Lake) -> list[dict[str, Any]]:
    """What the table holds."""
    return lake.rows("select id, placed, price, note from raw.budget order by id")


JUNK: list[list[Any]] = [["Budget of 2024"], [], ["made by", "Ann"]]
FOOTER: list[list[Any]] = [[], ["Total", None, 42.0], ["#", None, "see page 2"], [], []]


@pytest.mark.parametrize(
    ("declared", "content"),
    [
        (Excel(), book([HEADER, *CELLS])),
        (Excel(sheet="Data", header_row=4, footer_rows=2), book([*JUNK, HEADER, *CELLS, *FOOTER])),
        (Excel(), edited(book([HEADER, *CELLS]), '<dimension ref="[^"]*"', '<dimension ref="A1"')),
        (Excel(), edited(book([HEADER, *CELLS]), "</sheetData>", '<row r="90000"/></sheetData>')),
    ],
    ids=["plain", "junk and footer", "a wrong dimension", "empty rows at the end"],
)
def test_cells_are_read_exactly(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declared: Excel, content: bytes
) -> None:
    declare(monkeypatch, declared)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "budget.xlsx").write_bytes(content)

    land(lake.landing, str(tmp_path / "source"), BUDGET)
    result = load(lake.catalog, lake.landing, BUDGET)

    assert (result.action, result.rows, result.unknown_columns) == ("loaded", 3, ())
    assert rows(lake) == ROWS


def test_a_formula_over_several_cells_is_named_by_its_text(lake: Lake, tmp_path: Path) -> None:
    content = edited(book([HEADER, [5, None, "=1/4"]]), "<f>1/4</f>", '<f t="array" ref="C2">1/4</f>')

    with pytest.raises(RefusedError, match=r"'Price' has the formula =?1/4 without a result in row 2"):
        loaded(lake, content, tmp_path)


def test_a_formula_gives_its_result(lake: Lake, tmp_path: Path) -> None:
    content = edited(book([HEADER, [5, None, "=1/4"]]), "<f>1/4</f><v ?/>", "<f>1/4</f><v>0.25</v>")
    content = edited(content, "</row></sheetData>", '<c r="D2" t="str"><f>A1</f><v></v></c></row></sheetData>')

    loaded(lake, content, tmp_path)

    assert rows(lake) == [{"id": 5, "placed": None, "price": 0.25, "note": None}]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["x"], r"the column 'ID' has 'x' in row 6 of the sheet 'Data'; expected a whole number"),
        ([4.5], r"'ID' has '4.5' in row 6"),
        (
            [2**53 + 2],
            r"'ID' has the number 9007199254740994 in row 6 of the sheet 'Data'; expected whole numbers",
        ),
        ([1e300], r"'ID' has the number 1e\+300 in row 6"),
        ([4, "31.02.2024 10:00"], r"'Placed at' has '31.02.2024 10:00' in row 6"),
        ([4, 45_000], r"'Placed at' has '45000' in row 6"),
        ([4, None, "1,5"], r"'Price' has '1,5' in row 6"),
        ([4, None, True], r"'Price' has 'true' in row 6"),
        ([4, None, None, "#N/A"], r"'Note' has the error #N/A in row 6 of the sheet 'Data'; expected a value"),
        ([4, None, "=1/0"], r"'Price' has the formula =1/0 without a result in row 6 .* saved with results"),
        ([None, None, 1], r"'ID' has no value in row 6 of the sheet 'Data', and it belongs to the table's key"),
    ],
)
def test_a_cell_that_is_not_as_declared_is_refused(lake: Lake, tmp_path: Path, row: list[Any], message: str) -> None:
    with pytest.raises(RefusedError, match=rf"^budget\.xlsx: .*{message}"):
        loaded(lake, book([HEADER, *CELLS, row]), tmp_path)

    assert lake.history("raw.budget") == []


def test_a_date_beyond_excels_calendar_is_refused(lake: Lake, tmp_path: Path) -> None:
    content = edited(book([HEADER, *CELLS]), r'<c r="B2" s="(\d+)"( t="n")?><v>[^<]*', r'<c r="B2" s="\1"><v>99999999')

    with pytest.raises(RefusedError, match=r"'Placed at' has the error #VALUE! in row 2 of the sheet 'Data'"):
        loaded(lake, content, tmp_path)


def test_a_merged_header_covers_its_columns(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"the columns 'Note' and 'Note' are both names of the table's column note"):
        loaded(lake, book([[*HEADER, None], [1, None, None, "a", "b"]], merged="D1:E1"), tmp_path)


def names_of(rows: list[list[Any]], *merged: str, header_row: int) -> Header:
    made = load_workbook(io.BytesIO(book(rows)))
    for cells in merged:
        made["Data"].merge_cells(cells)
    out = io.BytesIO()
    made.save(out)
    return header_of(Excel(header_row=header_row), out)


def test_a_merged_header_covers_its_columns_and_its_rows() -> None:
    made: list[list[Any]] = [
        ["Export"],
        ["Store", "Product", None, "Sold on", None],
        [None, "code", "name", None, None],
        ["Rome", "P1"],
    ]
    merged = ("A1:E1", "A2:A3", "B2:C2", "D2:E3", "A4:A5")

    upper = names_of(made, *merged, header_row=2)
    lower = names_of(made, *merged, header_row=3)

    assert upper == Header(("Store", "Product", "Product", "Sold on", "Sold on"), frozenset({1, 2, 3, 4}))
    assert lower == Header(("Store", "code", "name", "Sold on", "Sold on"), frozenset({3, 4}))


def test_a_date_as_text_is_midnight_as_a_date_of_excel_is(lake: Lake, tmp_path: Path) -> None:
    day = datetime.fromisoformat("2024-01-31")

    loaded(lake, book([HEADER, [1, day], [2, " 2024-01-31 "], [3, LATE]]), tmp_path)

    assert [row["placed"] for row in rows(lake)] == [day, day, LATE]


def test_rows_below_a_header_of_two_rows_are_loaded(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, Excel(header_row=2))

    loaded(lake, book([["ID", "Order"], [None, *HEADER[1:]], *CELLS], merged="A1:A2"), tmp_path)

    assert rows(lake) == ROWS


def test_more_rows_than_a_sheet_has_are_refused(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel, "MOST_ROWS", 4)

    with pytest.raises(RefusedError, match="the sheet 'Data' goes beyond row 4, where Excel itself stops"):
        loaded(lake, book([HEADER, *CELLS]), tmp_path)


def test_rows_of_several_batches_keep_their_numbers(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(excel, "BATCH_ROWS", 2)

    with pytest.raises(RefusedError, match=r"'Price' has 'x' in row 7 of the sheet 'Data'"):
        loaded(lake, book([HEADER, *CELLS, [8], [9, None, "x"]]), tmp_path)


@pytest.mark.parametrize(
    ("declared", "content", "message"),
    [
        (Excel(), b"<html>Not found</html>", "it can't be read as an xlsx file: it is cut short or of another kind"),
        (Excel(), book([HEADER, *CELLS])[:-30], "it can't be read as an xlsx file: .* Save it again as xlsx"),
        (
            Excel(sheet="Plan"),
            book([HEADER]),
            r"it has no sheet 'Plan'; it has: Lists, Data\. Nothing of budget was landed\. Correct `sheet` in ",
        ),
        (
            Excel(),
            edited(book([HEADER]), r'(name="Data" sheetId="\d+" state=")visible"', r'\1hidden"', "xl/workbook.xml"),
            r"it has only hidden sheets \(Lists, Data\)\. Nothing of budget .*\. Declare the one to read, as sheet=",
        ),
        (Excel(header_row=9), book([HEADER]), r"row 9 of the sheet 'Data' has no names .* Correct `header_row` in "),
        (
            Excel(header_row=2),
            book([HEADER, [7, "other", None, "x" * 500]]),
            r"no column id\. Its names, in row 2, are: '7', 'other', …\. .* correct `header_row`, `sheet` or the ",
        ),
    ],
    ids=["a page", "cut short", "no such sheet", "hidden sheets", "no such row", "other names"],
)
def test_what_is_no_such_file_does_not_land(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, declared: Excel, content: bytes, message: str
) -> None:
    declare(monkeypatch, declared)
    lake.scratch.mkdir()
    (lake.scratch / "budget.xlsx").write_bytes(content)

    with pytest.raises(SourceError, match=rf"budget\.xlsx.* {message}"):
        land(lake.landing, str(lake.scratch), BUDGET)
