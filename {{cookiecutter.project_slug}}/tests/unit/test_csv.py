"""CSV as suppliers write it: what is declared is read exactly, and what is not as declared is refused."""

from __future__ import annotations

import gzip
import io
import threading
import zipfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv
from lakehouse.datasets.model import BEGINNING, Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import RefusedError, SourceError
from lakehouse.formats.text import CsvText
from lakehouse.landing.land import land
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult

ORDERS = DatasetFile("orders")
ROWS = [
    {"number": 1, "placed": datetime.fromisoformat("2024-01-31T23:59"), "price": 1234.5, "note": "a;b"},
    {"number": 2, "placed": datetime.fromisoformat("2024-03-01T00:00"), "price": -0.25, "note": "caf\xe9"},
    {"number": 3, "placed": None, "price": None, "note": ""},
]


def declare(monkeypatch: pytest.MonkeyPatch, declared: Csv) -> None:
    """Declare a dataset of orders."""
    columns = (
        Column("number", "long", required_since=BEGINNING),
        Column("placed", "timestamp"),
        Column("price", "double"),
        Column("note", "string"),
    )
    orders = Dataset(
        name="orders",
        title="Orders",
        table="raw.orders",
        files="orders.csv",
        parts=Whole(),
        format=declared,
        key=("number",),
        columns=columns,
    )
    monkeypatch.setitem(DATASETS, "orders", orders)


def loaded(lake: Lake, content: bytes, tmp_path: Path) -> LoadResult:
    """Land a file as a user does, from a folder, and load it."""
    folder = tmp_path / "source"
    folder.mkdir(exist_ok=True)
    (folder / DATASETS["orders"].files.replace("*", "1")).write_bytes(content)
    land(lake.landing, str(folder), ORDERS, refresh=True)
    return load(lake.catalog, lake.landing, ORDERS)


def rows(lake: Lake) -> list[dict[str, Any]]:
    """What the table holds."""
    return lake.rows("select number, placed, price, note from raw.orders order by number")


def zipped(*files: str) -> bytes:
    """A zip file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, content in enumerate(files):
            archive.writestr(f"{number}.csv", content)
    return out.getvalue()


def lines(first: int, last: int, price: str = "1.5") -> str:
    """Rows of `orders.csv` that are long enough for some thousands to fill a block."""
    return "".join(f"{n},2024-01-31 23:59:00,{price},{'x' * 200}\n" for n in range(first, last))


HEAD, SEVERAL_BLOCKS = "number,placed,price,note\n", 20_000
TWO_BLOCKS = lines(0, 9_000)


def damaged() -> bytes:
    """A zip file with LZMA, and other bytes in the midst of it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("1.csv", HEAD + TWO_BLOCKS)
    content = out.getvalue()
    return content[:200] + b"\xff" * 50 + content[250:]


PLAIN = "number,placed,price,note\r\n1,2024-01-31 23:59:00,1234.5,a;b\r\n2,2024-03-01 00:00:00,-.25,caf\xe9\r\n3,,,\r\n"
QUOTES_BEHIND = PLAIN.replace("placed", '"placed" ', 1)
GERMAN = (
    "Orders of Smith & Co\n\nnumber;placed;price;note\n"
    "1;31.01.2024 23:59;1.234,50;'a;b'\n2;1.3.2024 00:00;-0,25;caf\xe9\n3;;;\n"
)
GERMAN_FORM = Csv(
    delimiter=";", quote="'", encoding="latin-1", junk_rows=2, decimal=",", thousands=".", times="%d.%m.%Y %H:%M"
)


@pytest.mark.parametrize(
    ("declared", "content"),
    [
        (Csv(), PLAIN.encode()),
        (Csv(), PLAIN.encode("utf-8-sig")),
        (Csv(encoding="utf-16"), PLAIN.encode("utf-16")),
        (Csv(delimiter="\t"), PLAIN.replace(",", "\t").encode()),
        (GERMAN_FORM, GERMAN.encode("latin-1")),
        (Csv(compression="gzip"), gzip.compress(PLAIN.encode())),
        (Csv(compression="zstd"), pa.compress(PLAIN.encode(), codec="zstd", asbytes=True)),
        (Csv(compression="zip"), zipped(PLAIN)),
    ],
    ids=["plain", "a mark", "utf-16", "tabs", "german", "gzip", "zstd", "zip"],
)
def test_each_way_to_write_it_gives_the_same_rows(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declared: Csv, content: bytes
) -> None:
    declare(monkeypatch, declared)

    result = loaded(lake, content, tmp_path)

    assert (result.action, result.rows) == ("loaded", 3)
    assert rows(lake) == ROWS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("4;31.02.2024 10:00;1;x", r"'placed' has '31.02.2024 10:00' in row 3 .* such as 31.01.2024 23:59 for the"),
        ("4;31.04.2024 10:00;1;x", r"'placed' has '31.04.2024 10:00'"),
        ("4;2024-01-31 10:00;1;x", r"'placed' has '2024-01-31 10:00'"),
        ("4;31.01.2024 10:00x;1;x", r"'placed' has '31.01.2024 10:00x'"),
        ("4;;1.5;x", r"'price' has '1.5' in row 3 .* written as 1.234,5 for the table's column price"),
        ("4;;12.34,5;x", r"'price' has '12.34,5'"),
        ("4;;1,234.5;x", r"'price' has '1,234.5'"),
        ("1.0;;1;x", r"'number' has '1.0' in row 3 .* a whole number.*, written as 1.234 for the table's"),
        ("4;;1", r"orders.csv: row 3 \(counted from 0\) has 3 values; expected 4, as the line of names has: '4;;1'"),
    ],
)
def test_a_value_that_is_not_as_declared_is_refused(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, message: str
) -> None:
    declare(monkeypatch, GERMAN_FORM)
    loaded(lake, GERMAN.encode("latin-1"), tmp_path)

    with pytest.raises(RefusedError, match=message):
        loaded(lake, f"{GERMAN}{line}\n".encode("latin-1"), tmp_path)

    assert rows(lake) == ROWS


def test_bytes_of_another_encoding_are_refused(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, Csv())

    with pytest.raises(RefusedError, match=r"the column 'note' has b'caf\\xe9' in row 1 .* expected text in utf-8"):
        loaded(lake, PLAIN.encode("latin-1"), tmp_path)

    assert lake.history("raw.orders") == []


def test_a_compressed_file_that_is_cut_short_is_refused(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, Csv(compression="gzip"))
    many = "".join(f"{number},,{number / 7},\n" for number in range(4, 100_000))

    with pytest.raises(
        RefusedError, match=r"orders.csv can't be read as a CSV file .*Truncated.* If it is whole, correct `comp"
    ):
        loaded(lake, gzip.compress((PLAIN + many).encode())[:-100], tmp_path)

    assert lake.history("raw.orders") == []


@pytest.mark.parametrize(
    ("declared", "content", "message"),
    [
        (Csv(), b"\n", "line 1 is blank, or the file ends before it.* declare `junk_rows`"),
        (Csv(), b"<html><body>Not found</body></html>", r"has no column number\. Its names are: '<html>.* b'<html>"),
        (
            Csv(delimiter=";"),
            PLAIN.encode(),
            r"no column number\. Its names are: 'number,.*correct `format` or the names",
        ),
        (Csv(), QUOTES_BEHIND.encode(), "column names, line 1, can't be read: .* Correct `delimiter`, `quote` or"),
        (
            Csv(),
            b"\n" + PLAIN.encode(),
            "no line of column names: line 1 is blank, .* If the names stand in another line",
        ),
        (
            Csv(compression="gzip"),
            PLAIN.encode(),
            r"can't be read as CSV: .*\. Nothing .* If it is whole, correct `format` in",
        ),
        (
            Csv(compression="zip"),
            PLAIN.encode(),
            r"it can't be read as a zip file: .*\. Nothing .* Correct `compression`",
        ),
        (Csv(), gzip.compress(PLAIN.encode()), r'begins as a gzip file; .*\. Declare `compression="gzip"` in'),
        (Csv(encoding="utf-16"), PLAIN.encode("utf-16-le"), "it is not text in utf-16: .* such as utf-8 or utf-16-le"),
        (Csv(compression="zip"), damaged(), "the zip file is damaged"),
        (Csv(compression="zip"), zipped(PLAIN, PLAIN), "must hold one file, and it holds 2.* a function of your own"),
    ],
    ids=[
        "nothing", "a page", "another delimiter", "a quote", "a blank line", "no gzip", "no zip", "gzip", "no mark",
        "damage", "two files",
    ],
)  # fmt: skip
def test_what_is_no_such_file_does_not_land(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, declared: Csv, content: bytes, message: str
) -> None:
    declare(monkeypatch, declared)
    lake.scratch.mkdir()

    with pytest.raises(SourceError, match=rf"orders\.csv.* {message}") as caught:
        loaded(lake, content, lake.scratch)

    assert "Nothing of orders was landed." in str(caught.value)
    assert "in the declaration of orders." in str(caught.value)
    assert lake.landing.find(ORDERS) is None


@pytest.mark.parametrize(
    ("declared", "content", "message"),
    [
        (Csv(quote="'"), QUOTES_BEHIND.encode(), "Correct `delimiter`, `quote` or `junk_rows`"),
        (Csv(junk_rows=1), b"\n" + PLAIN.encode(), "If the names stand in another line, declare `junk_rows`"),
        (Csv(), PLAIN.encode(), "Correct `compression`"),
        (Csv(compression="zip"), zipped(PLAIN), 'Declare `compression="zip"`, or `format=Excel'),
    ],
    ids=["a quote", "a blank line", "no zip file", "a zip file"],
)
def test_a_wrong_declaration_is_no_damage_of_a_landed_file(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, declared: Csv, content: bytes, message: str
) -> None:
    declare(monkeypatch, declared)
    lake.scratch.mkdir()
    loaded(lake, content, lake.scratch)
    declare(monkeypatch, Csv(compression="zip") if declared == Csv() else Csv())

    with pytest.raises(RefusedError, match=message) as caught:
        load(lake.catalog, lake.landing, ORDERS, again=True)

    assert "damaged" not in str(caught.value)


def test_rows_of_many_blocks_keep_their_order(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks share a row group of the data file."""
    declare(monkeypatch, Csv())
    monkeypatch.setitem(DATASETS, "orders", replace(DATASETS["orders"], key=()))

    loaded(lake, (HEAD + lines(0, SEVERAL_BLOCKS)).encode(), tmp_path)

    [file] = lake.settings.warehouse_dir.rglob("raw/orders/data/*.parquet")
    assert pq.read_table(file, columns=["file_row", "number"]).to_pydict() == {
        "file_row": list(range(SEVERAL_BLOCKS)),
        "number": list(range(SEVERAL_BLOCKS)),
    }
    assert pq.read_metadata(file).num_row_groups == 1


def test_rows_behind_a_very_long_one_are_all_there(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow reads on in a thread of its own; what it has read ahead is read again in larger blocks."""
    declare(monkeypatch, Csv())
    monkeypatch.setitem(DATASETS, "orders", replace(DATASETS["orders"], key=()))
    texts: list[CsvText] = []

    class Kept(CsvText):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            texts.append(self)

    monkeypatch.setattr("lakehouse.formats.csv.CsvText", Kept)
    long, last = f"0,2024-01-31 23:59:00,1.5,{'x' * 3_000_000}\n", 160_000

    loaded(lake, (HEAD + long + lines(1, last)).encode(), tmp_path)

    found = lake.rows("select count(*) as n, max(number) as last, sum(length(note)) as length from raw.orders")
    assert found == [{"n": last, "last": last - 1, "length": 3_000_000 + 200 * (last - 1)}]
    assert len(texts) >= 2
    assert {text.read(1 << 20) for text in texts[:-1]} == {b""}  # they have ended, and touch the file no more


@pytest.mark.parametrize("bundled", [False, True], ids=["a file", "a bundle"])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("9000,never,cheap,\n", r"'placed' has 'never' in row 9000 .*a local time"),
        ("9000,,cheap,\n" + TWO_BLOCKS + "7,never,1,\n", r"'price' has 'cheap' in row 9000 .*a number"),
        ("9000,,cheap,\n" + lines(9001, 10_000) + "too short\n", r"'price' has 'cheap' in row 9000 .*a number"),
        ("too short\n" + TWO_BLOCKS, r"row 9000 .* has 1 values; expected 4"),
        (lines(7, 8), r"more than one row has 'number' = 7"),
    ],
    ids=["two columns", "a later block", "a later row", "a short row", "a key"],
)
def test_the_first_error_is_reported_and_no_thread_stays(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, message: str, *, bundled: bool
) -> None:
    """Of the first block with an error, the first column as they are declared; blocks are read ahead."""
    declare(monkeypatch, Csv())
    if bundled:
        monkeypatch.setitem(DATASETS, "orders", replace(DATASETS["orders"], files="orders_*.csv"))
    before = set(threading.enumerate())

    with pytest.raises(RefusedError, match=message) as caught:
        loaded(lake, (HEAD + TWO_BLOCKS + wrong).encode(), tmp_path)

    assert caught.value.__traceback__  # holds what was open: that it is collected ends no thread
    assert set(threading.enumerate()) <= before
