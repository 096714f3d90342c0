"""`lakehouse new-dataset` guesses from samples. What it declares loads them exactly, or one sentence helps."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook

from lakehouse.datasets.days import Day
from lakehouse.datasets.formats import Csv, Excel, Format, JsonLines, Parquet
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Daily, Monthly, Whole
from lakehouse.datasets.registry import FOLDER
from lakehouse.errors import RefusedError, SettingsError
from lakehouse.formats import open_reader
from lakehouse.loading.conform import Conformer, plan
from lakehouse.scaffold.dbt import staging_sql, staging_yml
from lakehouse.scaffold.declaration import declaration
from lakehouse.scaffold.guess import Guess, guess
from lakehouse.scaffold.names import check_name, column_names
from lakehouse.scaffold.write import Project, check_free, write


def written(folder: Path, content: str | bytes, name: str = "orders.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(*names: str) -> bytes:
    """A zip file with a small CSV file of each name."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "a,b\n1,x\n")
    return content.getvalue()


def types(found: Guess) -> dict[str, str]:
    return {column.name: column.type for column in found.dataset.columns}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


CASES: dict[str, tuple[str | bytes, Format, list[dict[str, Any]]]] = {
    "commas": (
        "id,name,x\n1,a,1.5\n2,b,2\n",
        Csv(),
        [{"id": 1, "name": "a", "x": 1.5}, {"id": 2, "name": "b", "x": 2.0}],
    ),
    "semicolons and a decimal comma": (
        "id;price\n1;1,5\n2;2,75\n",
        Csv(delimiter=";", decimal=","),
        [{"id": 1, "price": 1.5}, {"id": 2, "price": 2.75}],
    ),
    "a decimal comma in each column": (
        "a;b\n1,5;2,5\n3,5;4,5\n",
        Csv(delimiter=";", decimal=","),
        [{"a": 1.5, "b": 2.5}, {"a": 3.5, "b": 4.5}],
    ),
    "thousands": (
        "n;price\n1.234;1.234,50\n2.000.000;3,00\n",
        Csv(delimiter=";", decimal=",", thousands="."),
        [{"n": 1234, "price": 1234.5}, {"n": 2000000, "price": 3.0}],
    ),
    "thousands in quotes": (
        'n,price\n1,"1,234.50"\n2,12.00\n',
        Csv(thousands=","),
        [{"n": 1, "price": 1234.5}, {"n": 2, "price": 12.0}],
    ),
    "tabs": ("a\tb\n1\tx y\n2\tz\n", Csv(delimiter="\t"), [{"a": 1, "b": "x y"}, {"a": 2, "b": "z"}]),
    "pipes": ("a|b\n1|x, y\n2|z, w\n", Csv(delimiter="|"), [{"a": 1, "b": "x, y"}, {"a": 2, "b": "z, w"}]),
    "a byte order mark": ("\ufeffa,b\n1,x\n2,y\n", Csv(), [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
    "code page 1252": (
        "a;b\n1;M\xfcller \x80\n".encode("latin-1"),
        Csv(delimiter=";", encoding="cp1252"),
        [{"a": 1, "b": "M\xfcller \u20ac"}],
    ),
    "utf-16": ("a,b\n1,\u20ac\n".encode("utf-16"), Csv(encoding="utf-16"), [{"a": 1, "b": "\u20ac"}]),
    "utf-16 without a mark": ("a,b\n1,x\n".encode("utf-16-le"), Csv(encoding="utf-16-le"), [{"a": 1, "b": "x"}]),
    "a title above": (
        "Report of sales\nCreated 2024-01-05\n\na;b\n1;x\n2;y\n",
        Csv(delimiter=";", junk_rows=3),
        [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
    ),
    "a title of a sheet": (
        "Report;;\n;;\na;b;c\n1;x;2\n",
        Csv(delimiter=";", junk_rows=2),
        [{"a": 1, "b": "x", "c": 2}],
    ),
    "lines within quotes": (
        'a,b\n1,"two\nlines, yes"\n2,x\n',
        Csv(),
        [{"a": 1, "b": "two\nlines, yes"}, {"a": 2, "b": "x"}],
    ),
    "single quotes": (
        "a;b\n1;'x;y'\n2;'z'\n",
        Csv(delimiter=";", quote="'"),
        [{"a": 1, "b": "x;y"}, {"a": 2, "b": "z"}],
    ),
    "a delimiter at the end": ("a;b;\n1;2;\n3;4;\n", Csv(delimiter=";"), [{"a": 1, "b": 2}, {"a": 3, "b": 4}]),
    "an index without a name": (",a\n0,x\n1,y\n", Csv(), [{"column_1": 0, "a": "x"}, {"column_1": 1, "a": "y"}]),
    "one column": ("town\nBerlin\nRom\n", Csv(), [{"town": "Berlin"}, {"town": "Rom"}]),
    "one column with commas": (
        "name\nSmith, Jo\nDoe, Al\n",
        Csv(delimiter=";"),
        [{"name": "Smith, Jo"}, {"name": "Doe, Al"}],
    ),
    "leading zeros": ("plz,n\n01067,1\n10115,2\n", Csv(), [{"plz": "01067", "n": 1}, {"plz": "10115", "n": 2}]),
    "percent and currency": (
        "p;c\n5%;$3\n7%;$4\n",
        Csv(delimiter=";"),
        [{"p": "5%", "c": "$3"}, {"p": "7%", "c": "$4"}],
    ),
    "words for null": (
        "a,b\nNA,1\n5,-\n6,2\n",
        Csv(nulls=("-", "NA")),
        [{"a": None, "b": 1}, {"a": 5, "b": None}, {"a": 6, "b": 2}],
    ),
    "numbers of 18 digits": ("a\n123456789012345678\n", Csv(), [{"a": 123456789012345678}]),
    "numbers beyond 64 bits": ("a\n99999999999999999999\n1\n", Csv(), [{"a": "99999999999999999999"}, {"a": "1"}]),
    "more digits than a double has": (
        "a\n1.23456789012345678\n1.5\n",
        Csv(),
        [{"a": "1.23456789012345678"}, {"a": "1.5"}],
    ),
    "numbers that a column may not hold": ("a\n150000000.5\n1.5\n", Csv(), [{"a": "150000000.5"}, {"a": "1.5"}]),
    "ids as floats": ("a,b\n1.0,x\n,y\n", Csv(), [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]),
    "times": (
        "t\n2024-01-31 23:59:59\n2024-02-01 00:00:00.5\n",
        Csv(),
        [{"t": at("2024-01-31T23:59:59")}, {"t": at("2024-02-01T00:00:00.500")}],
    ),
    "days first": (
        "t\n31/01/2024 10:00\n01/02/2024 11:30\n",
        Csv(times="%d/%m/%Y %H:%M"),
        [{"t": at("2024-01-31T10:00")}, {"t": at("2024-02-01T11:30")}],
    ),
    "months first": (
        "t\n1/31/2024 1:05 PM\n12/1/2024 11:00 AM\n",
        Csv(times="%m/%d/%Y %I:%M %p"),
        [{"t": at("2024-01-31T13:05")}, {"t": at("2024-12-01T11:00")}],
    ),
    "days": (
        "d\n2024-01-31\n2024-02-29\n",
        Csv(),
        [{"d": date(2024, 1, 31)}, {"d": date(2024, 2, 29)}],
    ),
    "days and times in forms of their own": (
        "d;t\n31.01.2024;2024/01/31 10:00\n;\n",
        Csv(delimiter=";", times="%Y/%m/%d %H:%M", dates="%d.%m.%Y"),
        [{"d": date(2024, 1, 31), "t": at("2024-01-31T10:00")}, {"d": None, "t": None}],
    ),
    "days of two forms": (
        "a;b;c\n31.01.2024;2024-01-31;30.01.2024\n",
        Csv(delimiter=";", dates="%d.%m.%Y"),
        [{"a": date(2024, 1, 31), "b": "2024-01-31", "c": date(2024, 1, 30)}],
    ),
    "a day that no year has": (
        "d,n\n2023-02-29,1\n2024-02-29,2\n",
        Csv(),
        [{"d": "2023-02-29", "n": 1}, {"d": "2024-02-29", "n": 2}],
    ),
    "days without separators are numbers": ("d\n20240131\n", Csv(), [{"d": 20240131}]),
    "true and false": (
        "a,b,c,d,e,f\ntrue,Yes,Y,t,True,F\nFALSE,no,N,f,,F\n",
        Csv(),
        [
            {"a": True, "b": True, "c": True, "d": True, "e": True, "f": "F"},
            {"a": False, "b": False, "c": False, "d": False, "e": None, "f": "F"},
        ],
    ),
    "words of one pair, in any case": (
        "a,b\nTRUE,1\nTrue,2\ntrue,3\nFALSE,4\nFalse,5\nfalse,6\n",
        Csv(),
        [{"a": number < 4, "b": number} for number in range(1, 7)],
    ),
    "words of two pairs": ("a,b\nyes,1\nN,0\n", Csv(), [{"a": "yes", "b": 1}, {"a": "N", "b": 0}]),
    "prices": (
        "a,b,c\n1.50,1.5,-0.25\n,12.00,100000000.00\n",
        Csv(),
        [
            {"a": Decimal("1.50"), "b": 1.5, "c": Decimal("-0.25")},
            {"a": None, "b": 12.0, "c": Decimal("100000000.00")},
        ],
    ),
    "prices of more digits than any decimal": (
        f"a\n{'9' * 37}.00\n1.00\n",
        Csv(),
        [{"a": f"{'9' * 37}.00"}, {"a": "1.00"}],
    ),
    "times with a zone": (
        "t;u\n2024-01-31 10:00:00+01:00;31.01.2024 10:00\n2024-01-31T10:00:00.5Z;\n",
        Csv(delimiter=";", times="%d.%m.%Y %H:%M"),
        [
            {"t": "2024-01-31 10:00:00+01:00", "u": at("2024-01-31T10:00")},
            {"t": "2024-01-31T10:00:00.5Z", "u": None},
        ],
    ),
    "times with a zone, and local ones": (
        "t,u\n2024-01-31 10:00:00+01:00,2024-01-31 10:00:00\n2024-01-31T10:00:00.5Z,\n",
        Csv(),
        [
            {"t": at("2024-01-31T09:00:00+00:00"), "u": at("2024-01-31T10:00")},
            {"t": at("2024-01-31T10:00:00.500+00:00"), "u": None},
        ],
    ),
    "24 o'clock": (
        "t,n\n2024-01-31 24:00:00,1\n2024-01-31 23:00:00,2\n",
        Csv(),
        [{"t": "2024-01-31 24:00:00", "n": 1}, {"t": "2024-01-31 23:00:00", "n": 2}],
    ),
    "a day that no month has": (
        "t,n\n31.02.2024 10:00,1\n28.02.2024 10:00,2\n",
        Csv(times="%d.%m.%Y %H:%M"),
        [{"t": "31.02.2024 10:00", "n": 1}, {"t": "28.02.2024 10:00", "n": 2}],
    ),
    "words of SQL": (
        "order,group\n1,x\n2,y\n",
        Csv(),
        [{"order_value": 1, "group_value": "x"}, {"order_value": 2, "group_value": "y"}],
    ),
    "nothing in a column": ("a,b\n1,\n2,\n", Csv(), [{"a": 1, "b": ""}, {"a": 2, "b": ""}]),
    "JSON lines": (
        '{"id": 1, "at": "31.01.2024 10:00", "who": {"name": "a"}}\n{"id": 2, "x": 1.5, "who": {"name": null}}\n',
        JsonLines(times="%d.%m.%Y %H:%M"),
        [
            {"id": 1, "at_value": at("2024-01-31T10:00"), "who_name": "a", "x": None},
            {"id": 2, "at_value": None, "who_name": None, "x": 1.5},
        ],
    ),
    "JSON lines of other types": (
        '{"ok": true, "price": 1.50, "day": "31.01.2024"}\n{"ok": false, "price": 2.00, "day": null}\n',
        JsonLines(dates="%d.%m.%Y"),
        [
            {"ok": True, "price": Decimal("1.50"), "day": date(2024, 1, 31)},
            {"ok": False, "price": Decimal("2.00"), "day": None},
        ],
    ),
    "gzip": (gzip.compress(b"a,b\n1,x\n", mtime=0), Csv(compression="gzip"), [{"a": 1, "b": "x"}]),
}


def conformed(found: Guess, path: Path) -> list[dict[str, Any]]:
    """The rows as a load conforms them."""
    dataset = found.dataset
    with path.open("rb") as source, closing(open_reader(dataset.format, source)) as reader:
        match = plan(dataset, None, reader.schema, path.name)
        conformer = Conformer(dataset, None, match, path.name)
        wanted = [name for name in match.sources.values() if name is not None]
        batches = [conformer.conform(batch) for batch in reader.batches(wanted)]
    assert match.unknown == ()
    names = [column.name for column in dataset.columns]
    return [row for arrays in batches for row in pa.table(arrays, names=names).to_pylist()]


@pytest.mark.parametrize("case", CASES)
def test_the_declaration_loads_the_sample_exactly(tmp_path: Path, case: str) -> None:
    content, form, rows = CASES[case]
    path = written(tmp_path, content)

    found = guess("orders", [path])

    assert found.dataset.format == form
    assert conformed(found, path) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "orders.csv is empty: 0 bytes. Give a sample that has rows"),
        (b"\n\n", "orders.csv is blank"),
        (b"a,b,c\n", "has columns and no rows, so nothing tells the types"),
        (b"a,b,A\n1,2,3\n", "has the columns 'a' and 'A', which are one name; .* Rename one in the file"),
        (
            b"1;2024-01-05;x\n2;2024-01-06;y\n",
            "has no line of names: line 1 is '1;2024-01-05;x', which looks like values",
        ),
        (b"a;b\n1;2;\n3;4;\n", "has 2 names in line 1, but 3 values in the lines below it, such as '1;2;'"),
        (
            b"a,b\n1,2\n3\n4,5\n6,7\n",
            r"can't be read as Csv\(\): row 1 \(counted from 0\) has 1 values; expected 2, .*: '3'",
        ),
        (
            b"a;b\n1;2\n3;4\nTotal: 2 rows\n",
            r"can't be read as Csv\(delimiter=\";\"\): row 2 .* has 1 values; expected 2, .*: 'Total: 2 rows'",
        ),
        (b'[{"a": 1}]', "is a JSON list: .* Write one object per line"),
        (b'{"a": 1}\n{"a": ', "line 2 is not one whole JSON object.*export it again; each line must be one whole"),
        (zipped("a.csv", "b.csv"), "the zip file must hold one file, and it holds 2. Unpack it, and give one of its"),
        (b"<html><body>Not found</body></html>", "is a web page or XML"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            r"is an old Excel file \(.xls\), or one with a password, which is not read. Save it as CSV or xlsx",
        ),
        (b"a,b\n1,\x00\n2,x\n", "has a zero byte, so it is no text"),
        (gzip.compress(b"a,b\n" + b"1,x\n" * 9, mtime=0)[:-9], "can't be read"),
        (
            b"\xef\xbb\xbfa;b\n1;M\xfcller\n",
            r"begins with the mark of utf-8, and other bytes are not written in it: b'.*M.xfcller",
        ),
    ],
)
def test_a_sample_that_can_t_be_loaded_is_refused_with_a_reason(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        guess("orders", [written(tmp_path, content)])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 2], [3, 4]], r"orders\.xlsx: no row of the sheet 'Sheet' has only texts as names of columns\. "),
        ([], r"The sheet 'Sheet' of .*orders\.xlsx is empty\. Give .* No dataset was made\."),
    ],
    ids=["numbers", "empty"],
)
def test_a_sheet_without_names_is_refused(tmp_path: Path, rows: list[list[int]], message: str) -> None:
    book = Workbook()
    sheet: Any = book.active
    for row in rows:
        sheet.append(row)
    book.save(tmp_path / "orders.xlsx")

    with pytest.raises(RefusedError, match=message):
        guess("orders", [tmp_path / "orders.xlsx"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("orders.xls", r"orders\.xls: it can't be read as an xlsx file: .*\.xls.*Save it again as xlsx, and give that"),
        ("orders.xlsb", r"orders\.xlsb: it can't be read as an xlsx file: .*binary format.*Save it again as xlsx"),
        (
            "orders.docx",
            r"orders\.docx: it can't be read as an xlsx file: .*Save it again as xlsx, and give that file\.",
        ),
    ],
)
def test_a_workbook_of_another_name_is_refused(tmp_path: Path, name: str, message: str) -> None:
    path = sheet_of(tmp_path, [["a", "b"], [1, 2]])

    with pytest.raises(RefusedError, match=message):
        guess("orders", [path.rename(tmp_path / name)])


def test_a_workbook_with_damaged_xml_is_refused(tmp_path: Path) -> None:
    path = sheet_of(tmp_path, [["a", "b"], [1, 2]])
    with zipfile.ZipFile(path) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w") as damaged:
        for name, content in parts.items():
            damaged.writestr(name, content[:-20] if name.endswith("sheet1.xml") else content)

    with pytest.raises(RefusedError, match=r"orders\.xlsx: it can't be read as an xlsx file: .*Save it again as xlsx"):
        guess("orders", [path])


def test_a_folder_and_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"is a folder. Name its files"):
        guess("orders", [tmp_path])
    with pytest.raises(RefusedError, match="There is no file"):
        guess("orders", [tmp_path / "none.csv"])


def test_every_row_counts_not_only_the_first(tmp_path: Path) -> None:
    many = "".join(f"{number},{number}\n" for number in range(300_000))

    found = guess("orders", [written(tmp_path, f"id,n\n{many}300000,x\n")])

    assert types(found) == {"id": "long", "n": "string"}
    assert found.why["n"].startswith("1 of 300,001 values is no number: 'x' in row 300000 (counted from 0)")
    assert found.dataset.key == ("id",)


def test_a_comment_says_how_a_word_among_numbers_can_mean_no_value(tmp_path: Path) -> None:
    found = guess("orders", [written(tmp_path, "id,pieces,weight\n1,4,2\n2,k.A.,3 kg\n3,5,4\n4,6,5\n")])

    word = "1 of 4 values is no number: 'k.A.' in row 1 (counted from 0)"
    assert found.why["pieces"] == f"{word}; where that means no value, declare a type of numbers, and nulls=('k.A.',)"
    assert found.why["weight"] == "1 of 4 values is no number: '3 kg' in row 1 (counted from 0)"


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("id,number\n1,7\n2,7\n", ("id",)),
        ("order_id,position,price\n1,1,2.5\n1,2,2.5\n2,1,2.5\n", ("order_id", "position")),
        ("order_id,position\n1,1\n1,1\n", ()),
        ("id,name\n1,a\n,b\n", ()),
        ("name,price\na,1.5\nb,2.5\n", ()),
        ("code,name\n A,a\nA,b\n", ()),
        ("id,name\n1,a\n", ()),
    ],
)
def test_a_key_is_the_fewest_identifiers_that_no_two_rows_share(
    tmp_path: Path, content: str, key: tuple[str, ...]
) -> None:
    found = guess("orders", [written(tmp_path, content)])

    assert found.dataset.key == key
    assert found.key.startswith("a guess: in " if key else "none: ")


def test_a_key_that_stands_twice_far_apart_is_none(tmp_path: Path) -> None:
    many = "".join(f"{number},x{number}\n" for number in range(300_000))

    assert guess("orders", [written(tmp_path, f"id,code\n{many}7,y\n")]).dataset.key == ("code",)


def test_keys_that_no_memory_holds_are_refused_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUCKDB_MEMORY_LIMIT", "1KB")

    with pytest.raises(RefusedError, match=r"Whether id can be the key could not be found out: .* DUCKDB_MEMORY_LIMIT"):
        guess("orders", [written(tmp_path, "id,name\n1,a\n2,b\n")])


def test_what_the_samples_do_not_decide_is_told(tmp_path: Path) -> None:
    (order,) = guess("orders", [written(tmp_path, "t\n03/04/2024 10:00\n05/06/2024 11:00\n")]).notes
    (date_order,) = guess("orders", [written(tmp_path, "d\n03/04/2024\n05/06/2024\n")]).notes
    (reading,) = guess("orders", [written(tmp_path, "n;x\n1.234;a\n5.678;b\n")]).notes
    (encoding,) = guess("orders", [written(tmp_path, "n;x\n1;caf\xe9\n".encode("latin-1"))]).notes

    assert "two readings, as no number in them is above 12" in order
    assert "declare times='%m/%d/%Y %H:%M'" in order
    assert date_order.startswith("Dates such as 03/04/2024 have two readings")
    assert "declare dates='%m/%d/%Y'" in date_order
    assert "declare decimal=',', thousands='.'" in reading
    assert "The encoding cp1252 is a guess: look whether 'caf\xe9' is what was meant" in encoding


def day(number: int) -> str:
    return f"sold at;n\n2024-01-0{number} 10:00:00;1\n2024-01-0{number} 23:59:59;2\n"


@pytest.mark.parametrize(
    ("names", "files", "parts"),
    [
        (["s_2024-01-05.csv", "s_2024-01-04.csv"], "s_{day}.csv", Daily(since=Day(2024, 1, 4))),
        (["20240105_s.csv"], "{day:%Y%m%d}_s.csv", Daily(since=Day(2024, 1, 5))),
        (["s 05.01.2024.csv"], "s {day:%d.%m.%Y}.csv", Daily(since=Day(2024, 1, 5))),
        (["s_2024-01.csv", "s_2023-12.csv"], "s_{month}.csv", Monthly(since=Month(2023, 12))),
        (["s202401.csv"], "s{month:%Y%m}.csv", Monthly(since=Month(2024, 1))),
        (["s_20241399.csv"], "s_20241399.csv", Whole()),
        (["s{1}.csv"], "s{{1}}.csv", Whole()),
    ],
)
def test_the_names_of_files_say_what_a_file_is(tmp_path: Path, names: list[str], files: str, parts: Any) -> None:
    found = guess("sales", [written(tmp_path, day(5), name) for name in names])

    assert (found.dataset.files, found.dataset.parts) == (files, parts)
    assert [found.dataset.file_name(sample.part) for sample in found.samples] == names


def test_the_time_of_a_row_is_the_column_whose_times_lie_in_its_file(tmp_path: Path) -> None:
    samples = [written(tmp_path, day(number), f"s_2024-01-0{number}.csv") for number in (4, 5)]

    inside = guess("sales", samples)
    outside = guess("sales", [written(tmp_path, day(5), "s_2024-01-07.csv")])

    assert inside.dataset.time == "sold_at"
    assert outside.dataset.time is None
    assert outside.time == "none: no column's times lie in the day of the file"


def test_files_that_are_no_series_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        RefusedError, match=r"^These files are no series: a.csv, b.csv. Their names must differ in a month or day"
    ):
        guess("sales", [written(tmp_path, day(5), "a.csv"), written(tmp_path, day(5), "b.csv")])
    with pytest.raises(
        RefusedError, match=r"^These files are no series: a.csv, b.csv, c.csv, d.csv, e.csv and 2 more\."
    ):
        guess("sales", [written(tmp_path, day(5), f"{name}.csv") for name in "abcdefg"])
    with pytest.raises(RefusedError, match=r"written in different ways: Csv\(delimiter=\";\"\) and Csv\(\)"):
        guess("sales", [written(tmp_path, day(5), "s_2024-01.csv"), written(tmp_path, "a,b\n1,2\n", "s_2024-02.csv")])


def test_a_column_that_one_sample_lacks_may_be_absent(tmp_path: Path) -> None:
    samples = [written(tmp_path, "a,b\n1,2\n", "s_2024-01.csv"), written(tmp_path, "a,c\n1.5,x\n", "s_2024-02.csv")]

    found = guess("sales", samples)

    assert types(found) == {"a": "double", "b": "long", "c": "string"}
    assert [column.name for column in found.dataset.columns if column.required_since] == ["a"]


def test_a_name_that_is_proposed_is_not_reserved() -> None:
    with pytest.raises(SettingsError, match=r"begin with a letter: my_order\.$"):
        check_name("Order")


MORE = {"ok": "boolean", "day": "date", "price": "decimal(9,2)", "sent": "timestamptz"}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1.00", "99999999.99"], "decimal(12,2)"),
        (["1.00", "9999999999.99"], "decimal(18,2)"),
        (["1.00", f"{'9' * 36}.00"], "decimal(38,2)"),
        (["1.00", "1.005"], "double"),
        (["1.50", "2"], "double"),
    ],
)
def test_two_decimals_in_each_value_make_a_decimal_with_room(tmp_path: Path, values: list[str], kind: str) -> None:
    found = guess("orders", [written(tmp_path, "\n".join(["price", *values]))])

    assert types(found) == {"price": kind}


def test_the_time_of_a_row_may_be_a_date_or_have_a_zone(tmp_path: Path) -> None:
    text = "sent,d\n2024-01-05T10:00:00Z,2024-01-05\n"

    sent = guess("sales", [written(tmp_path, text, "s_2024-01-05.csv")])
    dated = guess("sales", [written(tmp_path, "d\n2024-01-05\n", "t_2024-01-05.csv")])

    assert (sent.dataset.time, dated.dataset.time) == ("sent", "d")


def test_samples_of_other_types_get_one_that_takes_both(tmp_path: Path) -> None:
    for name, price in (("s_2024-01", pa.decimal128(9, 2)), ("s_2024-02", pa.decimal128(9, 3))):
        pq.write_table(pa.table({"price": pa.array([Decimal(1)]).cast(price)}), tmp_path / f"{name}.parquet")

    found = guess("sales", sorted(tmp_path.glob("*.parquet")))

    assert types(found) == {"price": "double"}


def test_a_parquet_file_says_its_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.int32()),
            "placed": pa.array([0, 1], pa.timestamp("ms")),
            "x": [0.5, None],
            "name": pa.array(["a", "b"]).dictionary_encode(),
            "tags": [["a"], []],
            "nested": [[["a"]], None],
            "ok": [True, None],
            "day": pa.array([0, 1], pa.date32()),
            "price": pa.array([Decimal("1.50"), None]).cast(pa.decimal128(9, 2)),
            "sent": pa.array([0, 1], pa.timestamp("us", tz="Europe/Berlin")),
        }
    )
    pq.write_table(table, tmp_path / "orders.parquet")

    found = guess("orders", [tmp_path / "orders.parquet"])

    assert types(found) == {
        "id": "long",
        "placed": "timestamp",
        "x": "double",
        "name": "string",
        "tags": "list(string)",
        **MORE,
    }
    assert found.dataset.format == Parquet()
    assert found.dataset.key == ("id",)
    assert list(found.left_out) == ["nested"]


def test_a_sheet_of_an_excel_file_is_read_below_its_names(tmp_path: Path) -> None:
    book = Workbook()
    sheet: Any = book.active
    for row in (
        ["Orders of May"],
        [],
        ["Order No", "placed", "price", "due", "paid"],
        [7, at("2024-01-31T10:00:01"), 1.5, date(2024, 2, 1), True],
        [8, None, 2, date(2024, 2, 2), False],
    ):
        sheet.append(row)
    book.create_sheet("Notes")
    book.save(tmp_path / "orders.xlsx")

    found = guess("orders", [tmp_path / "orders.xlsx"])

    assert found.dataset.format == Excel(sheet="Sheet", header_row=3)
    assert conformed(found, tmp_path / "orders.xlsx") == [
        {"order_no": 7, "placed": at("2024-01-31T10:00:01"), "price": 1.5, "due": date(2024, 2, 1), "paid": True},
        {"order_no": 8, "placed": None, "price": 2.0, "due": date(2024, 2, 2), "paid": False},
    ]
    assert found.notes == ("The sheet 'Sheet' was taken. For another, declare sheet=…: 'Notes'.",)
    assert 'format=Excel(sheet="Sheet", header_row=3)' in declaration(found)


def sheet_of(folder: Path, rows: list[list[Any]], *merged: str, name: str = "orders.xlsx") -> Path:
    """An Excel file with these rows and merged cells."""
    book = Workbook()
    sheet: Any = book.active
    for row in rows:
        sheet.append(row)
    for cells in merged:
        sheet.merge_cells(cells)
    book.save(folder / name)
    return folder / name


ABOVE: list[list[Any]] = [["Export"], [], ["Store", "Product", None, "Sold on"]]
SALES: list[list[Any]] = [
    ["Rome", "P1", "Lamp", date(2024, 1, 1)],
    ["Oslo", "P2", "Chair", "2024-01-02"],
    ["Oslo", "P1", "Lamp", date(2024, 1, 3)],
    ["Total", None, None, None],
]


def test_names_in_two_rows_of_a_sheet_are_read_from_the_lower(project: Project, tmp_path: Path) -> None:
    path = sheet_of(tmp_path, [*ABOVE, [None, "code", "name"], *SALES], "A3:A4", "B3:C3", "D3:D4")

    found = guess("orders", [path])
    write(project, found)

    assert found.dataset.format == Excel(header_row=4, footer_rows=1)
    assert conformed(found, path) == [
        {"store": "Rome", "code": "P1", "name": "Lamp", "sold_on": date(2024, 1, 1)},
        {"store": "Oslo", "code": "P2", "name": "Chair", "sold_on": date(2024, 1, 2)},
        {"store": "Oslo", "code": "P1", "name": "Lamp", "sold_on": date(2024, 1, 3)},
    ]
    text = " ".join(project.declaration("orders").read_text("utf-8").replace("#", "").split())
    assert "in row 3, a merged cell names several columns at once. The lowest is taken, " in text
    assert found.why["sold_on"] == "3 of 3 values are days: 2 dates of Excel, and 1 texts such as 2024-01-31"


def test_names_in_three_rows_of_a_sheet_are_read_from_the_lowest(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["Shop", "Day", "Sales"], [None, None, "Goods", None, "Note"]]
    rows += [[None, None, "units", "amount"], ["Rome", 7, 1, 2, "x"]]

    found = guess("orders", [sheet_of(tmp_path, rows, "A1:A3", "B1:B3", "C1:E1", "C2:D2", "E2:E3")])

    assert found.dataset.format == Excel(header_row=3)
    assert list(types(found)) == ["shop", "day", "units", "amount", "note"]


@pytest.mark.parametrize(
    ("below", "merged"),
    [
        ([None, "code", "name"], ("B3:C3",)),  # Store and Sold on would have no name
        ([None, "code", None], ("A3:A4", "B3:C3", "D3:D4")),
        ([None, "code", 7], ("A3:A4", "B3:C3", "D3:D4")),
        (["Rome", "P1", "Lamp", "now"], ("B3:C3",)),
        ([], ("B3:C3",)),
        ([], ("A3:A4", "B3:C4", "D3:D4")),
    ],
    ids=["other columns without names", "a name is missing", "a value", "texts", "blank", "one cell over both rows"],
)
def test_names_in_two_rows_that_do_not_fit_are_refused_with_the_row_to_try(
    tmp_path: Path, below: list[Any], merged: tuple[str, ...]
) -> None:
    path = sheet_of(tmp_path, [*ABOVE, below, *SALES], *merged)

    with pytest.raises(RefusedError) as refused:
        guess("orders", [path])

    assert f"{path}: the names of the columns seem to stand in two rows of the sheet 'Sheet'. Row 3 has one " in str(
        refused.value
    )
    assert "name for several columns: 'Product'. Row 4 does not name each column." in str(refused.value)
    assert "try header_row=4 by hand" in str(refused.value)


MIDNIGHT = date(2024, 1, 31)
MIXED: dict[str, tuple[list[Any], str, str]] = {
    "dates": ([MIDNIGHT, MIDNIGHT], "date", "2 of 2 values are days, written as 2024-01-31 00:00:00"),
    "texts": (["2024-01-31", "2024-02-01"], "date", "2 of 2 values are days, written as 2024-01-31"),
    "most are text": (
        [*["2024-01-31"] * 4, MIDNIGHT],
        "date",
        "5 of 5 values are days: 1 dates of Excel, and 4 texts such as 2024-01-31",
    ),
    "a time of day": (
        [MIDNIGHT, "2024-01-31", at("2024-01-31T10:00:01")],
        "timestamp",
        "3 of 3 values are times, written as 2024-01-31 00:00:00; 1 are text such as 2024-01-31, which means midnight",
    ),
    "times": ([at("2024-01-31T10:00:01")], "timestamp", "1 of 1 values are times, written as 2024-01-31 10:00:01"),
    "no such day": (
        [MIDNIGHT, MIDNIGHT, "2024-02-30"],
        "string",
        "the column 'sold' has '2024-02-30' in row 4 of the sheet 'Sheet'; expected a date such as 2024-01-31",
    ),
    "another form": (
        [MIDNIGHT, MIDNIGHT, "31.01.2024"],
        "string",
        "1 of 3 values is no day: '31.01.2024' in row 4 of the sheet 'Sheet'",
    ),
    "only another form": (
        ["31.01.2024"],
        "string",
        "days such as '31.01.2024'; in Excel, only text such as 2024-01-31 is read as a date",
    ),
}


@pytest.mark.parametrize("case", MIXED)
def test_dates_of_excel_and_dates_as_text_are_one_column(tmp_path: Path, case: str) -> None:
    values, kind, why = MIXED[case]

    found = guess("orders", [sheet_of(tmp_path, [["number", "sold"], *([7, value] for value in values)])])

    assert types(found)["sold"] == kind
    assert found.why["sold"].startswith(why)


def test_rows_are_named_as_their_format_and_file_name_them(tmp_path: Path) -> None:
    sheet: list[list[Any]] = [["Export"], ["id", "n", "zip"], [1, 2, 4000], [], [2, "x", "0400"]]
    lines = '{"n": [1, 2, 3], "m": 1}\n\n{"n": [4, "x"], "m": "y"}\n{"m": 1}\n'
    days = [f"a\n{rows}\n" for rows in ("1\n2\n3", "4\nx")]

    of_excel = guess("orders", [sheet_of(tmp_path, sheet)]).why
    of_json = guess("orders", [written(tmp_path, lines, "orders.jsonl")]).why
    of_two = guess("orders", [written(tmp_path, t, f"o_2024-01-0{n}.csv") for n, t in enumerate(days, 1)]).why

    assert of_excel["n"] == "1 of 2 values is no number: 'x' in row 5 of the sheet 'Sheet'"
    assert of_excel["zip"] == "'0400' in row 5 of the sheet 'Sheet' begins with 0, which a number would lose"
    assert of_json["n"] == "a list; 1 of 5 values is no number: 'x' in line 3"
    assert of_json["m"] == "1 of 3 values is no number: 'y' in line 3"
    assert of_two["a"].startswith("1 of 5 values is no number: 'x' in row 1 (counted from 0) of o_2024-01-02.csv;")


def test_a_word_for_null_is_declared_as_the_formatter_writes_it(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("a,b\n1,x\nNA,y\n")

    assert 'format=Csv(nulls=("NA",)),' in declaration(guess("own", [tmp_path / "own.csv"]))


def test_a_word_for_null_in_numbers_stays_text_in_columns_of_text(project: Project, tmp_path: Path) -> None:
    path = written(tmp_path, "country,name,price\nNA,Namibia,NA\nDE,Germany,1.50\n")

    found = guess("orders", [path])
    write(project, found)

    assert conformed(found, path) == [
        {"country": "NA", "name": "Namibia", "price": None},
        {"country": "DE", "name": "Germany", "price": Decimal("1.50")},
    ]
    assert found.why["country"] == "text such as 'NA'; 'NA' stays text here"
    assert found.why["name"] == "text such as 'Namibia'"
    text = project.declaration("orders").read_text("utf-8")
    assert 'Column("country", "string", required_since=BEGINNING, never_empty=True, nulls=()),' in text
    assert 'Column("price", "decimal(12,2)", required_since=BEGINNING),' in text


@pytest.mark.parametrize(
    ("below", "footer"),
    [
        ([["Total", None, 5.5]], 1),
        ([[], [None, "Grand total:", 5.5], []], 1),
        ([["Subtotal", None, 2], ["Summe 2024", None, 5.5]], 2),
        ([["Total", None, 5.5], ["Source: our books"], [], ["As of May"]], 3),
        ([[], ["Source: our books"]], 1),
        ([["Source: our books"]], 0),  # it may be a row with one value
        ([["Total", "a name", 5.5]], 0),
        ([["Totally", None, 5.5]], 0),
        ([[None, None, 5.5]], 0),
    ],
)
def test_totals_and_notes_below_a_table_of_excel_are_left_out(
    tmp_path: Path, below: list[list[Any]], footer: int
) -> None:
    book = Workbook()
    sheet: Any = book.active
    for row in (["no", "name", "price"], ["a", "x", 1.5], ["b", "y", 2], ["c", "z", 2], *below):
        sheet.append(row)
    book.save(tmp_path / "orders.xlsx")

    found = guess("orders", [tmp_path / "orders.xlsx"])

    assert found.dataset.format == Excel(footer_rows=footer)
    assert bool(found.notes) == bool(footer)
    if footer:
        assert found.rows == 3
        assert types(found) == {"no": "string", "name": "string", "price": "double"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my-orders", "Use lower-case letters, digits and underscores, and begin with a letter: my_orders"),
        ("2024_orders", "Nothing was written. Use .* begin with a letter: n_2024_orders"),
        ("Orders", "begin with a letter: orders"),
        ("", "begin with a letter: orders"),
        ("order", "is a reserved word of SQL or Python. Nothing was written. Choose"),
        ("class", "is a reserved word of SQL or Python"),
        ("yellow", r"There is a dataset yellow already, with the table raw\.yellow_trips\. Nothing was wr.* Choose"),
        ("taxi_zones", "There is a dataset zones already, with the table raw.taxi_zones"),
    ],
)
def test_a_name_that_is_taken_or_invalid_is_refused(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        check_name(name)


def test_columns_have_names_that_need_no_quotes() -> None:
    published = ["Order No", "PULocationID", "Stra\xdfe", "2024", "group", "\u540d\u524d", "a-b", "a b", "file_row"]

    assert list(column_names(published).values()) == [
        *("order_no", "pu_location_id", "strasse", "n_2024", "group_value", "column_6", "a_b_2", "a_b", "file_row_2"),
    ]


@pytest.mark.parametrize("word", ["select", "qualify", "skip", "cube", "unnest", "trim", "auto"])
def test_a_reserved_word_of_either_engine_is_no_name(word: str) -> None:
    assert column_names([word.capitalize()]) == {word.capitalize(): f"{word}_value"}
    with pytest.raises(SettingsError, match="is a reserved word of SQL or Python"):
        check_name(word)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Where files go: folders as the project has them."""
    for folder in ("src/lakehouse/datasets", "dbt/models/staging", "docs"):
        (tmp_path / "project" / folder).mkdir(parents=True)
    return Project(tmp_path / "project")


def files(project: Project) -> list[str]:
    return sorted(path.name for path in project.root.rglob("*") if path.is_file())


NASTY = 'id;"say ""hi""";{{ x }};it\'s\n1;"a\n""b""";c;d\n2;e;f;g\n'


def test_names_and_values_can_t_break_what_is_written(project: Project, tmp_path: Path) -> None:
    found = guess("orders", [written(tmp_path, NASTY, "o'r\"d.csv")])

    assert [path.name for path in write(project, found)] == ["orders.py", "stg_orders.sql", "stg_orders.yml"]
    assert "{{ x" not in staging_yml(found)
    assert "nullif(trim(say_hi), '') as say_hi" in staging_sql(found)


def test_no_file_is_overwritten_and_none_is_left_of_a_write_that_fails(project: Project, tmp_path: Path) -> None:
    found = guess("orders", [written(tmp_path, "id,name\n1,a\n2,b\n")])
    taken = project.model("stg_orders", "yml")
    taken.write_text("mine", encoding="utf-8")

    with pytest.raises(SettingsError, match=r"stg_orders.yml can't be written: File exists. Nothing was written"):
        write(project, found)

    assert files(project) == ["stg_orders.yml"]
    assert taken.read_text("utf-8") == "mine"


def test_a_page_of_tables_that_can_t_be_made_leaves_nothing_either(project: Project, tmp_path: Path) -> None:
    found = guess("orders", [written(tmp_path, "id,name\n1,a\n2,b\n")])
    project.page.write_text("no marks", encoding="utf-8")

    with pytest.raises(SettingsError, match=r"data.md lacks the lines .* Nothing was written\. Put both lines back: "):
        write(project, found)

    assert files(project) == ["data.md"]


def test_the_declaration_says_why(tmp_path: Path) -> None:
    text = declaration(guess("orders", [written(tmp_path, "Order No;Net price;remark\n1;1,5;\n2;2;x\n")]))

    assert text == EXPECTED


EXPECTED = '''"""Orders.

`lakehouse new-dataset` guessed this from orders.csv (2 rows). Correct what is wrong: a comment says why each guess was
made.
"""

from __future__ import annotations

from lakehouse.datasets.formats import Csv
from lakehouse.datasets.model import BEGINNING, Column, Dataset, Name
from lakehouse.datasets.parts import Whole

ORDERS = Dataset(
    name="orders",
    title="Orders",
    table="raw.orders",
    files="orders.csv",
    parts=Whole(),
    format=Csv(delimiter=";", decimal=","),
    # a guess: in 2 rows no value is empty, and none stands twice
    key=("order_no",),
    columns=(
        # 2 of 2 values are whole numbers
        Column("order_no", "long", (Name("Order No"),), required_since=BEGINNING, never_empty=True),
        # 1 of 2 values have decimals
        Column("net_price", "double", (Name("Net price"),), required_since=BEGINNING, never_empty=True),
        # text such as 'x'
        Column("remark", "string", required_since=BEGINNING),
    ),
)
'''


@pytest.mark.parametrize("name", ["first", "beginning", "load", "csv"])
def test_a_dataset_may_be_called_as_a_word_of_its_file(project: Project, tmp_path: Path, name: str) -> None:
    pq.write_table(pa.table({"n": [1, 2]}), tmp_path / f"{name}_2024-01.parquet")
    pq.write_table(pa.table({"n": [3], "m": [1]}), tmp_path / f"{name}_2024-02.parquet")

    write(project, found := guess(name, sorted(tmp_path.glob("*.parquet"))))

    variables = re.findall(r"^(\w+) = ", project.declaration(name).read_text("utf-8"), re.MULTILINE)
    assert variables == ["FIRST", f"{name.upper()}_" if name in ("first", "beginning") else name.upper()]
    assert found.dataset.name == name


@pytest.mark.parametrize("name", ["ORDERS.XLSX", "Orders.Parquet", "100% M\xe4rz {x}.CSV"])
def test_the_name_of_a_file_may_have_capitals_blanks_and_umlauts(tmp_path: Path, name: str) -> None:
    rows = pa.table({"a": [1, 2], "b": ["x", "y"]})
    path = tmp_path / name
    if name.endswith("t"):
        pq.write_table(rows, path)
    elif name.endswith("V"):
        path.write_text("a,b\n1,x\n2,y\n")
    else:
        book = Workbook()
        for row in (rows.column_names, *(list(row.values()) for row in rows.to_pylist())):
            book.active.append(row)  # type: ignore[union-attr]
        book.save(path)

    found = guess("orders", [path])

    assert found.dataset.file_name() == name
    assert conformed(found, path) == rows.to_pylist()


def test_a_name_of_a_file_with_a_star_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"a\*b.csv has a \* in its name, which stands for any text in `files`"):
        guess("orders", [written(tmp_path, "a,b\n1,x\n", "a*b.csv")])


@pytest.mark.parametrize("name", ["first", "beginning"])
def test_such_a_name_needs_no_first_part(project: Project, tmp_path: Path, name: str) -> None:
    found = guess(name, [written(tmp_path, "a,b\n1,x\n2,y\n")])
    columns = tuple(replace(column, required_since=None) for column in found.dataset.columns)

    write(project, replace(found, dataset=replace(found.dataset, columns=columns)))

    assert "= BEGINNING" not in project.declaration(name).read_text("utf-8")


def test_a_program_that_is_installed_apart_from_the_project_writes_nothing(project: Project) -> None:
    with pytest.raises(SettingsError, match=r"This program runs from .*, apart from the project's files in"):
        check_free(project, "orders")


def test_a_file_of_the_name_is_found_before_samples_are_read(tmp_path: Path) -> None:
    (tmp_path / "dbt" / "models" / "staging").mkdir(parents=True)
    (tmp_path / "src" / "lakehouse").mkdir(parents=True)
    (tmp_path / "src" / "lakehouse" / "datasets").symlink_to(FOLDER)
    (tmp_path / "dbt" / "models" / "staging" / "stg_orders.sql").touch()

    check_free(Project(tmp_path), "sales")
    with pytest.raises(SettingsError, match=r"stg_orders.sql exists already. Nothing was written. Choose another name"):
        check_free(Project(tmp_path), "orders")
    with pytest.raises(SettingsError, match=r"registry.py exists already\. .* Choose another name for the dataset\.$"):
        check_free(Project(tmp_path), "registry")


def test_lists_are_guessed_by_what_they_hold_and_are_not_in_silver(tmp_path: Path) -> None:
    lines = [
        '{"id": 1, "tags": ["a", null], "days": ["2024-01-31"], "sizes": [1, 2], "odd": [1, "x"], "none": []}',
        '{"id": 2, "tags": [], "days": null, "sizes": [3], "odd": [], "none": null}',
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines), encoding="utf-8")

    found = guess("events", [tmp_path / "events.jsonl"])

    assert types(found) == {
        "id": "long",
        "tags": "list(string)",
        "days": "list(date)",
        "sizes": "list(long)",
        "odd": "list(string)",
        "none": "list(string)",
    }
    assert found.why["sizes"] == "a list; 3 of 3 values are whole numbers"
    assert "unnest(tags) makes rows of it" in " ".join(found.notes)
    assert "tags" not in staging_sql(found) + staging_yml(found)
    assert found.dataset.key == ("id",)
