"""CSV files as people have them: each is read exactly, or one sentence says where it is wrong and what to do.

Each is looked at twice: as a load reads it by a declaration, and as `lakehouse new-dataset` guesses it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.datasets.formats import Csv, JsonLines
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.errors import RefusedError
from lakehouse.formats.csv import CsvReader
from lakehouse.formats.protocol import ContentError, UnreadRows
from lakehouse.loading.conform import Conformer, plan
from lakehouse.loading.hints import hint
from lakehouse.loading.spelling import plain
from lakehouse.scaffold.guess import guess

COLUMNS = (Column("id", "long"), Column("day", "date"), Column("price", "decimal(12,2)"), Column("note", "string"))
OWN = Dataset(name="own", title="Own", table="raw.own", files="own.csv", parts=Whole(), columns=COLUMNS)
ROWS = [(1, date(2024, 1, 31), Decimal("1234.50"), "a"), (2, date(2024, 2, 1), Decimal("-2.50"), "b")]
HEAD = "id,day,price,note\n"
FIRST, SECOND = "1,2024-01-31,1234.50,a\n", "2,2024-02-01,-2.50,b\n"
PLAIN = HEAD + FIRST + SECOND
SEMICOLONS = PLAIN.replace(",", ";")


def read(content: bytes, declared: Csv) -> list[tuple[Any, ...]]:
    """The rows as a load conforms them."""
    dataset = replace(OWN, format=declared)
    reader = CsvReader(declared, pa.BufferReader(content))
    match = plan(dataset, None, reader.schema, "own.csv")
    conformer = Conformer(dataset, None, match, "own.csv", reader.place)
    rows: list[tuple[Any, ...]] = []
    for batch in reader.batches([name for name in match.sources.values() if name is not None]):
        rows += zip(*(array.to_pylist() for array in conformer.conform(batch)), strict=True)
    return rows


READ: dict[str, tuple[str | bytes, Csv]] = {
    "a decimal comma": (
        SEMICOLONS.replace(".", ",").replace("1234", "1.234"),
        Csv(delimiter=";", decimal=",", thousands="."),
    ),
    "utf-16 of Excel": (PLAIN.replace(",", "\t").encode("utf-16"), Csv(delimiter="\t", encoding="utf-16")),
    "a line sep=": ("sep=;\r\n" + SEMICOLONS, Csv(delimiter=";", junk_rows=1)),
    "delimiters at the end": (PLAIN.replace("\n", ",\n"), Csv()),
    "Mac line ends": (PLAIN.replace("\n", "\r"), Csv()),
    "three signs at a line end": (PLAIN.replace("\n", "\r\r\n"), Csv()),
    "a mark": (PLAIN.encode("utf-8-sig"), Csv()),
    "an apostrophe for thousands": (SEMICOLONS.replace("1234", "1'234"), Csv(delimiter=";", thousands="'")),
    "a narrow blank for thousands": (
        SEMICOLONS.replace("1234", "1\u202f234"),
        Csv(delimiter=";", thousands="\u202f"),
    ),
    "a footer": (PLAIN + "Total,,1232.00,\n\nby Ann; all of it\n\n", Csv(footer_rows=2)),
    "a footer above lines of delimiters": (PLAIN + 'Total,,1232.00,\n,,,\n\n , ,"",\n', Csv(footer_rows=1)),
    "a footer above lines of tabs": (
        (PLAIN + "Total,,1,\n,,,\n").replace(",", "\t"),
        Csv(delimiter="\t", footer_rows=1),
    ),
    "a footer of a quote": (PLAIN + 'Total,,1,\n"""",,,\n', Csv(footer_rows=2)),
    "a footer in utf-16": ((PLAIN + "Total").encode("utf-16"), Csv(encoding="utf-16", footer_rows=1)),
    "empty lines": (HEAD + FIRST + "\n" + SECOND + "\n\n\n", Csv()),
    "comments above": ("# by Ann\n# today\n" + PLAIN, Csv(junk_rows=2)),
    "quotes around all": (
        '"id","day","price","note"\n"1","2024-01-31","1234.50","a"\n"2","2024-02-01","-2.50","b"',
        Csv(),
    ),
    "single quotes": (PLAIN.replace("b\n", "'b'\n"), Csv(quote="'")),
    "lines within a name": (PLAIN.replace("note", '"no\nte"').replace("day", '"day"'), Csv()),
}


@pytest.mark.parametrize("case", READ)
def test_an_odd_file_is_read_exactly_as_declared(case: str) -> None:
    content, declared = READ[case]

    rows = read(content if isinstance(content, bytes) else content.encode(), declared)

    # The name with a line in it is another column than `note`.
    assert rows == ([(*row[:3], None) for row in ROWS] if "within a name" in case else ROWS)


@pytest.mark.parametrize(
    ("note", "value"),
    [
        ('"a ""b"" c"', 'a "b" c'),
        ('""""', '"'),
        ('"a\nb, c"', "a\nb, c"),
        ('""', ""),
        ('5" pipe', '5" pipe'),
        ('a"b"', 'a"b"'),
        ("a\0b", "a\0b"),
        ("007", "007"),
        ("NULL", "NULL"),
        ("1E+05", "1E+05"),
        ('="007"', '="007"'),
        (f'"{"x" * 1_500_000}"', "x" * 1_500_000),
    ],
    ids=[
        "quotes",
        "a quote",
        "lines",
        "nothing",
        "an inch",
        "quotes inside",
        "NUL",
        "zeros",
        "NULL",
        "E",
        "=",
        "1.5 MB",
    ],
)
def test_text_keeps_each_sign(note: str, value: str) -> None:
    content = f"{HEAD}{FIRST}2,2024-02-01,-2.50,{note}\n3,,,{note}"

    assert [row[3] for row in read(content.encode(), Csv())] == ["a", value, value]


def test_declared_words_are_no_value() -> None:
    rows = read((PLAIN + "NA, - ,n/a,N/A\n").encode(), Csv(nulls=("NA", "-", "n/a")))

    assert rows == [*ROWS, (None, None, None, "N/A")]


def test_the_words_of_a_column_stand_in_place_of_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (COLUMNS[0], COLUMNS[1], replace(COLUMNS[2], nulls=("-",)), replace(COLUMNS[3], nulls=()))
    monkeypatch.setattr(f"{__name__}.OWN", replace(OWN, columns=columns))

    assert read((PLAIN + "NA,NA,-,NA\n").encode(), Csv(nulls=("NA",))) == [*ROWS, (None, None, None, "NA")]
    with pytest.raises(RefusedError, match="'price' has 'NA' in row 2"):
        read((PLAIN + "3,,NA,\n").encode(), Csv(nulls=("NA",)))


REFUSED: dict[str, tuple[str | bytes, Csv, str]] = {
    "a row too long": (PLAIN + "3,,1,a,b\n", Csv(), r"row 2 \(counted from 0\) has 5 values; expected 4, .*'3,,1,a,b'"),
    "a row too short": (HEAD + "1,\n" + SECOND, Csv(), r"row 0 .* has 2 values; expected 4, as the line of names has"),
    "a line of blanks": (PLAIN + "   \n", Csv(), r"row 2 .* has 1 values; expected 4"),
    "a comment below": (PLAIN + "# end\n", Csv(), r"row 2 .* has 1 values; expected 4, .*'# end'"),
    "quotes not doubled": (PLAIN + '3,,1,"say "hi" now"\n', Csv(), r"line 4 has '.*say \"hi.* must stand twice"),
    "backslashes": (PLAIN + '3,,1,"a \\"b\\" c"\n', Csv(), r"line 4 has .* must stand twice, without a backslash"),
    "a quote that stays open": (HEAD + '1,,1,"a\n2,,1,b\n', Csv(), r"line 2 has a value that begins with \" and does"),
    "a quote that another ends": (HEAD + '1,,1,"a\n2,,1,b\n3,,1,"c"\n', Csv(), "line 4 has .* that began in line 2"),
    "a blank before a quote": (PLAIN + '3,,1, "a"\n', Csv(), r"line 4 has a blank before the \""),
    "an open quote behind much": (PLAIN + "3,,1,x\n" * 200_000 + '3,,1,"a', Csv(), "line 200004 has a value"),
    "latin-1": (PLAIN.encode() + b"3,,1,caf\xe9\n", Csv(), r"'note' has b'caf\\xe9' in row 2 .* Declare the encoding"),
    "names in latin-1": (
        PLAIN.replace("note", "caf\xe9").encode("latin-1"),
        Csv(),
        "names has 'caf\ufffd', which is not text in utf-8. Declare the encoding",
    ),
    "a short row in latin-1": (HEAD.encode() + b"1,caf\xe9\n", Csv(), "line 2 is not text in utf-8: .* such as cp1252"),
    "no ASCII": (PLAIN.encode() + b"3,,1,caf\xe9\n", Csv(encoding="ascii"), "line 4 is not text in ascii"),
    "half a sign": (PLAIN.encode("utf-16")[:-1], Csv(encoding="utf-16"), "line 3 is not text in utf-16"),
    "names again": (PLAIN + HEAD + FIRST, Csv(), r"row 2 .* has the names of the columns again: 'id,day,price,note'"),
    "a mark and names again": (f"{PLAIN}\ufeff{HEAD}", Csv(), "row 2 .* has the names of the columns again"),
    "a mark within": (f"{PLAIN}\ufeff3,,1,a\n", Csv(), r"'id' has '\\ufeff3' in row 2"),
    "a total": (PLAIN + "Total,,1,\n", Csv(), "'id' has 'Total' in row 2 .* declare id as \"string\""),
    "NULL": (PLAIN + "3,NULL,NULL,\n", Csv(), r"'day' has 'NULL' in row 2 .* declare nulls=\('NULL',\)"),
    "a supplier's own word": (
        PLAIN + "3,,k.A.,\n",
        Csv(nulls=("-",)),
        r"'price' has 'k.A.' in row 2 .* 'k.A.' means .* declare nulls=\('-', 'k.A.'\): .* or in Csv .* If other words",
    ),
    "such a word with the quote in it": (
        PLAIN + '3,,"k""A",\n',
        Csv(),
        r"has 'k\"A' in row 2 .*--refresh\. If such values may come",
    ),
    "NA": (PLAIN + "3,,NA,\n", Csv(), r"'price' has 'NA' in row 2 .* declare nulls=\('NA',\)"),
    "another word for nothing": (PLAIN + "3,,na,\n", Csv(nulls=("NA",)), "'price' has 'na' in row 2"),
    "no total": (PLAIN + "Total,,1,\nby Ann\n", Csv(footer_rows=1), "'id' has 'Total' in row 2"),
    "names alone, without the total": (HEAD, Csv(footer_rows=1), "fewer than 1 lines below the line of names"),
    "one line where the footer has two": (HEAD + "1,,1,\n", Csv(footer_rows=2), "fewer than 2 lines below the line"),
    "a footer within quotes": (PLAIN + '3,,1,"a\nb"\n', Csv(footer_rows=1), "line 4 has a value that begins with"),
    "a null of Postgres": (PLAIN + "3,,\\N,\n", Csv(), r"'price' has '\\\\N' in row 2"),
    "an error of Excel": (PLAIN + "3,,#N/A,\n", Csv(), "'price' has '#N/A' in row 2"),
    "a currency": (PLAIN + "3,,$1.50,\n", Csv(), r"'price' has '\$1.50' .* in the staging model"),
    "per cent": (PLAIN + "3,,15%,\n", Csv(), "'price' has '15%'"),
    "parentheses": (PLAIN + "3,,(1.50),\n", Csv(), r"'price' has '\(1.50\)'"),
    "a minus behind": (PLAIN + "3,,1.50-,\n", Csv(), "'price' has '1.50-'"),
    "a long minus": (PLAIN + "3,,\u22121.50,\n", Csv(), "'price' has '\u22121.50'"),
    "an id with an exponent": (PLAIN + "1.23457E+11,,1,\n", Csv(), r"'id' has '1.23457E\+11' in row 2"),
    "another decimal sign": (
        SEMICOLONS + "3;;1,5;\n",
        Csv(delimiter=";"),
        r"written so, declare decimal=','\.$",
    ),
    "thousands": (PLAIN + '3,,"1,234.50",\n', Csv(), r"'1,234.50' .* declare thousands=','\.$"),
    "days first": (PLAIN + "3,31.01.2024,1,\n", Csv(), r"'31.01.2024' .* declare dates='%d.%m.%Y'"),
    "days in two orders": (
        HEAD + "1,31/01/2024,1,\n2,02/28/2024,1,\n",
        Csv(dates="%d/%m/%Y"),
        "'day' has '02/28/2024' in row 1 .* declare dates='%m/%d/%Y'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_odd_file_is_refused_with_the_place_and_what_to_do(case: str) -> None:
    content, declared, message = REFUSED[case]

    with pytest.raises((ContentError, RefusedError)) as refused:
        read(content if isinstance(content, bytes) else content.encode(), declared)

    said = str(refused.value)
    if isinstance(refused.value, ContentError):
        assert refused.value.declare  # else the load only advises to get the file again, which brings the same bytes
        said += f". {refused.value.declare}"
    assert re.search(message, said), said


DOUBLE, DATE, COUNT = Column("x", "double"), Column("x", "date"), Column("x", "long", role="count")


ALL = " If all of the file is written so, declare"
RIGHT = " If such numbers are right,"


def readings(value: str, field: str, ways: dict[str, str]) -> str:
    """What a hint says of a value that may be read in more than one way."""
    return "".join(f" If {value!r} means {meaning}, declare {field}={form!r}." for meaning, form in ways.items())


@pytest.mark.parametrize(
    ("column", "form", "value", "said"),
    [
        (
            DOUBLE,
            Csv(),
            "1,234",
            " If '1,234' means 1.234, declare decimal=','. If '1,234' means 1234, declare thousands=','.",
        ),
        (DOUBLE, Csv(thousands="'"), "1.234,5", f"{ALL} decimal=',', thousands='.'."),
        (Column("x", "long"), Csv(), "1,234", f"{ALL} thousands=','."),
        (
            DATE,
            Csv(),
            "01/02/2024",
            readings("01/02/2024", "dates", {"2024-02-01": "%d/%m/%Y", "2024-01-02": "%m/%d/%Y"}),
        ),
        (
            Column("x", "timestamp"),
            Csv(),
            "01/02/2024 10:00",
            readings(
                "01/02/2024 10:00",
                "times",
                {"2024-02-01 10:00:00": "%d/%m/%Y %H:%M", "2024-01-02 10:00:00": "%m/%d/%Y %H:%M"},
            ),
        ),
        (DOUBLE, Csv(), "100000000.5", f'{RIGHT} declare x as "decimal(18,2)", also in its staging model.'),
        (COUNT, Csv(), "3000000000", f'{RIGHT} remove role="count" from x.'),
        (COUNT, JsonLines(), "3000000000", f'{RIGHT} remove role="count" from x.'),
        (DOUBLE, JsonLines(), "inf", ""),
        (
            DOUBLE,
            Csv(),
            "123456789.125",
            (
                ' If such values may come, declare x as "string", and convert it in the staging model; or set '
                'on_bad_rows="set aside".'
            ),
        ),
        (
            Column("x", "decimal(6,2)"),
            Csv(),
            "1.505",
            (
                " If '1.505' means 1.505, declare x as \"decimal(7,3)\", also in its staging model."
                " If '1.505' means 1505.00, declare decimal=',', thousands='.'."
            ),
        ),
        (Column("x", "long"), Csv(), "-5", ""),  # it reads well, so another rule has refused it
    ],
)
def test_a_hint_names_each_reading_of_a_value_and_none_that_is_declared(
    column: Column, form: Csv | JsonLines, value: str, said: str
) -> None:
    assert hint(column, pa.array([value]), form) == said


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%d.%m.%Y %H:%M", "01.02.20210:00"),
        ("%d.%m.%y %H:%M", "01.02.4 10:00"),
        ("%H:%M:%S %d.%m.%Y", "10:00:60 01.02.2024"),
    ],
    ids=["no blank", "a year of one digit", "sixty seconds"],
)
def test_a_time_is_spelled_as_its_form(form: str, text: str) -> None:
    """Arrow alone takes these."""
    with pytest.raises(pa.ArrowInvalid):
        plain(pa.array([text]), Column("at", "timestamp"), Csv(times=form))


def test_names_that_come_again_are_a_bad_row() -> None:
    unread: UnreadRows = {}
    reader = CsvReader(Csv(), pa.BufferReader((PLAIN + HEAD + "x,1\n" + FIRST).encode()), unread)

    assert sum(len(batch) for batch in reader.batches(["id"])) == 5
    assert {row: found.found for row, (found,) in unread.items()} == {2: HEAD.strip(), 3: "x,1"}


def test_bad_rows_before_and_after_a_long_row_keep_their_places() -> None:
    unread: UnreadRows = {}
    lines = ["x", *["1,,1,a"] * 200_000, "y", f'1,,1,"{"z" * 2_500_000}"', "w"]
    seen: dict[int, str] = {}

    rows = 0
    for batch in CsvReader(Csv(), pa.BufferReader((HEAD + "\n".join(lines)).encode()), unread).batches(["note"]):
        rows += len(batch)
        seen |= {row: unread.pop(row)[0].found for row in list(unread) if row < rows}

    assert rows == len(lines)
    assert seen == {0: "x", 200_001: "y", 200_003: "w"}
    assert unread == {}


GUESSED_TO_BE_REFUSED = {
    "quotes not doubled": (HEAD + '1,,1.50,"say "hi" now"\n2,,2.50,"b"\n', "line 2 has .* must stand twice"),
    "a quote that stays open": (PLAIN + '3,,1,"a\n4,,1,b\n', "line 4 has a value that begins with"),
    "names again": (PLAIN + HEAD + SECOND, "row 2 .* has the names of the columns again"),
    "names of text again": (
        "name,city\nAnn,Bonn\nname,city\nBob,Rome\n",
        "row 1 .* has the names of the columns again",
    ),
    "a row too long": (PLAIN + "3,,1,a,b\n", "row 2 .* has 5 values; expected 4"),
    "a comment below": (PLAIN + "# end\n", "row 2 .* has 1 values"),
    "a blank before quotes": (HEAD + '1,,1.50, "a"\n2,,2.50, "b"\n', "line 2 has a blank before"),
    "NUL": (HEAD + FIRST * 400 + "2,,1,b\0\n", "has a zero byte, so it is no text"),
    "one name twice": ("id,price,price\n1,1,2\n2,1,2\n", "has the columns 'price' and 'price', which are one name"),
}


@pytest.mark.parametrize("case", GUESSED_TO_BE_REFUSED)
def test_no_dataset_is_made_of_a_file_that_a_load_would_refuse(tmp_path: Path, case: str) -> None:
    content, message = GUESSED_TO_BE_REFUSED[case]
    path = tmp_path / "own.csv"
    path.write_bytes(content.encode())

    with pytest.raises(RefusedError, match=message):
        guess("own", [path])


GUESSED: dict[str, tuple[str | bytes, dict[str, str], str]] = {
    "a line sep=": ("sep=;\r\n" + SEMICOLONS, {"id": "long", "price": "decimal(12,2)"}, ""),
    "a total": (
        PLAIN + "Total,,1232.00,\n",
        {"id": "long"},
        "It is a guess that the last row is no row of the table: 'Total, 1232.00'",
    ),
    "a total above lines of delimiters": (
        PLAIN + "Total,,1232.00,\n,,,\n,,,\n",
        {"id": "long"},
        "It is a guess that the last row is no row of the table: 'Total, 1232.00'",
    ),
    "a sum": (PLAIN + ",,1232.00,\n", {"id": "long"}, "The last row has '1232.00' only, as sums have"),
    "a total of text": (
        "shop,price\nBonn,1.50\nTotal,1.50\n",
        {"shop": "string"},
        "The last row has 'Total, 1.50' only",
    ),
    "rows of nothing": (PLAIN + ",,,\n,,,\n", {"id": "long"}, "2 rows have no value at all"),
    "two tables": ("a,b\n1,2\n\nshop,city\nx,Bonn\n", {"a": "string"}, "Line 3 is blank, and rows follow"),
    "two encodings": (
        f"{PLAIN}3,,1.00,caf\xe9\n".encode() + "4,,1.00,caf\xe9\n".encode("latin-1"),
        {"note": "string"},
        "Other bytes are as in UTF-8, and become 'caf\xc3\xa9'",
    ),
    "thousands or decimals": (
        'id,n\n1,"1,234"\n2,"2,500"\n',
        {"n": "long"},
        "',' can also be the decimal sign. It was taken to stand between thousands",
    ),
    "a long value": (HEAD + f'1,,1.50,"{"x" * 1_500_000}"\n' + SECOND, {"id": "long", "note": "string"}, ""),
    "a value of 200 kB": (HEAD + f'1,,1.50,"{"x" * 200_000}"\n' + SECOND, {"id": "long", "note": "string"}, ""),
    "lines within a name": (PLAIN.replace("note", '"note\n(text)"'), {"id": "long", "note_text": "string"}, ""),
    "codes like numbers": (HEAD + "1E05,,1.50,a\n2E10,,2.50,b\n", {"id": "string"}, ""),
    "zeros in front": (HEAD + "007,,1.50,a\n010,,2.50,b\n", {"id": "string"}, ""),
    "words for nothing": (
        PLAIN + "3,NULL,NA,NIL\n",
        {"id": "long", "day": "date", "price": "decimal(12,2)"},
        "It is a guess that 'NA', 'NULL' mean no value. In columns of text such a word stays text,",
    ),
    "a sign among words": (HEAD + "1,,1.50,-\n2,,2.50,b\n", {"id": "long", "note": "string"}, ""),
    "other signs": (HEAD + "1,,$1.50,15%\n2,,(2.50),\u22121\n", {"price": "string", "note": "string"}, ""),
    "days in two orders": (HEAD + "1,31/01/2024,1,\n2,02/28/2024,1,\n", {"day": "string"}, ""),
}


@pytest.mark.parametrize("case", GUESSED)
def test_a_guess_loads_no_other_values_in_silence(tmp_path: Path, case: str) -> None:
    content, types, note = GUESSED[case]
    path = tmp_path / "own.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    found = guess("own", [path])

    assert {column.name: column.type for column in found.dataset.columns}.items() >= types.items()
    assert note in " ".join(found.notes)
    assert len(found.notes) == bool(note)
