"""Several files a part: they land as one bundle, are replaced together, and each row is told by its own file."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws
from openpyxl import Workbook
from tests.buckets import bucket_settings
from tests.lake import Lake
from tests.property.profiles import settings_of

from lakehouse.datasets.days import Day
from lakehouse.datasets.declaration import problem
from lakehouse.datasets.file import DatasetFile, file_called
from lakehouse.datasets.formats import Csv, Excel, Format, JsonLines, Parquet, Reader
from lakehouse.datasets.model import BEGINNING, Column, Dataset, Name
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Daily, Monthly, Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.datasets.sources import Query
from lakehouse.errors import NotPublishedError, RefusedError, SourceError
from lakehouse.landing.bucket import BucketLanding
from lakehouse.landing.land import land
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult
from lakehouse.settings import Settings, project_dir
from lakehouse.sources.search import contents

FIFTH = Day(2024, 1, 5)
ORDERS = DatasetFile("orders", FIFTH)
BUNDLE = "orders_2024-01-05_all.csv.zip"
DECLARED = Dataset(
    name="orders",
    title="Orders",
    table="raw.orders",
    files="orders_{day}_*.csv",
    parts=Daily(since=Day(2024, 1, 1)),
    format=Csv(),
    columns=(
        Column("number", "long", (Name("Order No"),), required_since=BEGINNING),
        Column("shop", "string", required_since=BEGINNING),
        Column("price", "double"),
    ),
)


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    DATASETS["orders"] = DECLARED
    yield
    del DATASETS["orders"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    made.mkdir()
    return made


def declare(**changes: Any) -> None:
    DATASETS["orders"] = replace(DECLARED, **changes)


def put(folder: Path, **files: str | bytes) -> None:
    """Write files of the fifth of January: `a="…"` is orders_2024-01-05_a.csv."""
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / f"orders_2024-01-05_{name}.csv").write_bytes(data)


def load_from(lake: Lake, folder: Path, file: DatasetFile = ORDERS, **options: Any) -> LoadResult:
    land(lake.landing, str(folder), file, refresh=True)
    return load(lake.catalog, lake.landing, file, **options)


def rows(lake: Lake) -> list[tuple[Any, ...]]:
    found = lake.rows("select file_row, number, shop, price from raw.orders order by file_row")
    return [tuple(row.values()) for row in found]


def snapshots(lake: Lake) -> int:
    return len(lake.table("raw.orders").metadata.snapshots)


# Each writes a file of these rows, with the columns in this order.
Rows = list[tuple[Any, ...]]
Writer = Callable[[list[str], Rows], bytes]


def as_csv(names: list[str], rows: Rows) -> bytes:
    lines = [names, *([("" if value is None else value) for value in row] for row in rows)]
    return "".join(",".join(map(str, line)) + "\n" for line in lines).encode()


def as_json(names: list[str], rows: Rows) -> bytes:
    return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows).encode()


def as_sheet(names: list[str], rows: Rows) -> bytes:
    book, out = Workbook(), io.BytesIO()
    for row in (names, *rows):
        book.worksheets[0].append(list(row))
    book.save(out)
    return out.getvalue()


def as_parquet(names: list[str], rows: Rows) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({name: [row[n] for row in rows] for n, name in enumerate(names)}), out)
    return out.getvalue()


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", content)
    return out.getvalue()


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


def read_numbers(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    """A reader of one's own, of what `as_csv` writes. It seeks."""
    file.seek(0, os.SEEK_END)
    file.seek(0)
    names, *lines = (line.decode().rstrip("\n").split(",") for line in file)
    yield pa.RecordBatch.from_pylist([dict(zip(names, line, strict=True)) for line in lines])


FORMATS: list[tuple[str, Format, Writer]] = [
    ("csv", Csv(), as_csv),
    ("csv.gz", Csv(compression="gzip"), lambda names, rows: gzip.compress(as_csv(names, rows), mtime=0)),
    ("csv.zst", Csv(compression="zstd"), lambda names, rows: zstd(as_csv(names, rows))),
    ("zip", Csv(compression="zip"), lambda names, rows: zipped(as_csv(names, rows))),
    ("jsonl", JsonLines(), as_json),
    ("jsonl.gz", JsonLines(compression="gzip"), lambda names, rows: gzip.compress(as_json(names, rows), mtime=0)),
    ("xlsx", Excel(), as_sheet),
    ("parquet", Parquet(), as_parquet),
    ("txt", Reader("own_reader:read"), as_csv),
]


@pytest.mark.parametrize("kind", FORMATS, ids=[suffix for suffix, *_ in FORMATS])
def test_files_of_each_format_are_one_part(
    lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: tuple[str, Format, Writer]
) -> None:
    suffix, form, written = kind
    module = ModuleType("own_reader")
    module.read = read_numbers  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_reader", module)
    declare(format=form, files=f"orders_{{day}}_*.{suffix}")
    name = "orders_2024-01-05_{}." + suffix
    # Files order their columns in their own way, and may spell and lack some; ints beside floats, too.
    spelled = "number" if suffix.startswith("json") else "Order No"
    (folder / name.format("c")).write_bytes(written(["shop", spelled], [("c", 4)]))
    (folder / name.format("a")).write_bytes(written(["number", "shop", "price"], [(1, "a", 1.5), (2, "a", 2.5)]))
    (folder / name.format("b")).write_bytes(written(["price", "number", "shop"], [(3, 3, "b")]))
    (folder / "orders_2024-01-06_a.csv").write_text("another day", encoding="utf-8")

    result = load_from(lake, folder)

    assert (result.action, result.rows, snapshots(lake)) == ("loaded", 4, 1)
    assert rows(lake) == [(0, 1, "a", 1.5), (1, 2, "a", 2.5), (2, 3, "b", 3.0), (3, 4, "c", None)]
    assert lake.landing.find(ORDERS) is not None
    assert load_from(lake, folder).action == "unchanged"


def test_equal_files_make_equal_bytes(lake: Lake, folder: Path) -> None:
    put(folder, a="number,shop\n1,a\n", b="number,shop\n2,b\n")
    first = land(lake.landing, str(folder), ORDERS)
    other = folder / "other"
    (other / "below").mkdir(parents=True)
    put(other, b="number,shop\n2,b\n")
    put(other / "below", a="number,shop\n1,a\n")
    os.utime(other / "orders_2024-01-05_b.csv", (1_000_000_000, 1_000_000_000))
    (other / "orders_2024-01-05_b.csv").chmod(0o600)

    second = land(lake.landing, str(other), ORDERS, refresh=True)

    assert second.sha256 == first.sha256
    with lake.landing.local(second) as path, zipfile.ZipFile(path) as bundle:
        assert path.name == BUNDLE
        found = {info.filename: bundle.read(info) for info in bundle.infolist()}
    assert found == {
        "orders_2024-01-05_a.csv": b"number,shop\n1,a\n",
        "orders_2024-01-05_b.csv": b"number,shop\n2,b\n",
    }
    assert first.origin == f"2 files of {folder.as_uri()}: orders_2024-01-05_a.csv, orders_2024-01-05_b.csv"


def test_many_names_are_cut_short_in_the_origin(lake: Lake, folder: Path) -> None:
    put(folder, **{f"{n:03}": f"number,shop\n{n},a\n" for n in range(200)})

    landed = land(lake.landing, str(folder), ORDERS)

    assert landed.origin.startswith("200 files of file://")
    assert landed.origin.endswith("orders_2024-01-05_004.csv and 195 more")
    assert load(lake.catalog, lake.landing, ORDERS).rows == 200


def test_a_file_that_comes_changes_or_goes_replaces_the_part(lake: Lake, folder: Path) -> None:
    put(folder, a="number,shop\n1,a\n")
    load_from(lake, folder)

    put(folder, b="number,shop\n2,b\n")
    added = load_from(lake, folder)
    after_added = rows(lake)
    put(folder, a="number,shop\n7,a\n")
    changed = load_from(lake, folder)
    after_changed = rows(lake)
    (folder / "orders_2024-01-05_a.csv").unlink()
    removed = load_from(lake, folder)
    again = load_from(lake, folder)

    assert [result.action for result in (added, changed, removed, again)] == ["loaded"] * 3 + ["unchanged"]
    assert after_added == [(0, 1, "a", None), (1, 2, "b", None)]
    assert after_changed == [(0, 7, "a", None), (1, 2, "b", None)]
    assert rows(lake) == [(0, 2, "b", None)]
    assert snapshots(lake) == 4
    assert len(lake.landing.versions(ORDERS)) == 4


def test_what_is_landed_is_asked_for_again_with_refresh_only(lake: Lake, folder: Path) -> None:
    put(folder, a="number,shop\n1,a\n")
    first = land(lake.landing, str(folder), ORDERS)
    put(folder, b="number,shop\n2,b\n")

    assert land(lake.landing, str(folder), ORDERS) == first
    assert land(lake.landing, str(folder), ORDERS, refresh=True).sha256 != first.sha256


def test_days_are_parts_of_their_own(lake: Lake, folder: Path) -> None:
    put(folder, a="number,shop\n1,a\n")
    (folder / "orders_2024-01-06_a.csv").write_text("number,shop\n2,a\n", encoding="utf-8")

    load_from(lake, folder)
    load_from(lake, folder, DatasetFile("orders", Day(2024, 1, 6)))

    found = lake.rows("select file_date, number from raw.orders order by 1")
    assert [(str(row["file_date"]), row["number"]) for row in found] == [("2024-01-05", 1), ("2024-01-06", 2)]
    assert [row.file_date for row in lake.history("raw.orders")] == ["2024-01-05", "2024-01-06"]


def test_daily_files_are_a_month_together(lake: Lake, folder: Path) -> None:
    declare(files="orders_{month}-*.csv", parts=Monthly(since=Month(2024, 1)))
    january = DatasetFile("orders", Month(2024, 1))
    put(folder, a="number,shop\n2,a\n")
    (folder / "orders_2024-01-04.csv").write_text("number,shop\n1,a\n", encoding="utf-8")
    (folder / "orders_2024-02-01.csv").write_text("number,shop\n3,a\n", encoding="utf-8")

    assert load_from(lake, folder, january).rows == 2
    assert [row[1] for row in rows(lake)] == [1, 2]


def test_files_are_merged_by_key_together(lake: Lake, folder: Path) -> None:
    declare(files="orders_*.csv", parts=Whole(), key=("number",))
    whole = DatasetFile("orders")
    put(folder, a="number,shop,price\n1,a,1\n2,a,2\n", b="number,shop,price\n3,b,3\n")
    load_from(lake, folder, whole)
    put(folder, a="number,shop,price\n1,a,1\n2,a,9\n", b="shop,number,price\nc,4,4\n")

    result = load_from(lake, folder, whole)
    put(folder, b="number,shop\n1,b\n")

    assert result.counts == "3 rows (1 inserted, 1 updated, 1 unchanged, 1 removed)"
    with pytest.raises(RefusedError, match=r"more than one row has 'number' = 1, which is the table's key"):
        load_from(lake, folder, whole)
    put(folder, b="number,shop\n5,b\n,b\n")
    with pytest.raises(RefusedError, match=r"no value in row 1 \(counted from 0\) of orders_2024-01-05_b.csv"):
        load_from(lake, folder, whole)


def test_bad_rows_are_set_aside_with_the_file_that_has_them(lake: Lake, folder: Path) -> None:
    declare(on_bad_rows="set aside", bad_share=0.5)
    put(folder, a="number,shop,price\n1,a,1\n2,a,2\n", b="number,shop,price\n3,b,much\n4,b,4\n")

    result = load_from(lake, folder)

    assert (result.rows, [row[:2] for row in rows(lake)]) == (3, [(0, 1), (1, 2), (3, 4)])
    (bad,) = lake.rows("select file_row, reason from raw.orders_rejected")
    assert bad["file_row"] == 2
    assert "'much' in row 0 (counted from 0) of orders_2024-01-05_b.csv" in bad["reason"]


@pytest.mark.parametrize("form", [Csv(), JsonLines()], ids=["csv", "json"])
def test_lines_that_cannot_be_read_are_set_aside_by_file(lake: Lake, folder: Path, form: Format) -> None:
    declare(format=form, on_bad_rows="set aside", bad_share=0.6)
    for name, number in (("a", 1), ("b", 3)):
        if isinstance(form, Csv):
            content = f"number,shop\n{number},{name}\n{number},{name},broken\n{number + 1},{name}\n"
        else:
            content = '{"number": %d, "shop": "%s"}\n{broken%s\n{"number": %d, "shop": "%s"}\n'
            content %= (number, name, name, number + 1, name)
        put(folder, **{name: content})

    result = load_from(lake, folder)

    assert (result.rows, [row[1] for row in rows(lake)]) == (4, [1, 2, 3, 4])
    found = lake.rows("select file_row, reason from raw.orders_rejected order by file_row")
    assert [row["file_row"] for row in found] == [1, 4]
    assert ["_a.csv" in found[0]["reason"], "_b.csv" in found[1]["reason"]] == [True, True], found


def test_files_of_changes_bring_new_and_changed_rows(lake: Lake, folder: Path) -> None:
    declare(files="orders_*.csv", parts=Whole(complete=False), key=("number",), order="price")
    whole = DatasetFile("orders")
    put(folder, a="number,shop,price\n1,a,1\n2,a,1\n")
    load_from(lake, folder, whole)
    put(folder, b="number,shop,price\n2,b,2\n3,b,1\n")
    second = load_from(lake, folder, whole)
    (folder / "orders_2024-01-05_a.csv").unlink()
    put(folder, c="number,shop,price\n3,c,3\n")
    third = load_from(lake, folder, whole)

    assert second.counts == "4 rows (1 inserted, 1 updated, 1 unchanged, 0 removed, 1 outdated)"
    assert third.counts == "3 rows (0 inserted, 1 updated, 1 unchanged, 0 removed, 1 outdated)"
    found = lake.rows("select number, shop from raw.orders order by number")
    assert [tuple(row.values()) for row in found] == [(1, "a"), (2, "b"), (3, "c")]


def test_columns_that_are_not_declared_may_share_a_name(lake: Lake, folder: Path) -> None:
    put(folder, a="number,shop,,,note\n1,a,,,x\n", b="number,shop,Note\n2,b,y\n")

    assert load_from(lake, folder).unknown_columns == ("", "note", "Note")
    assert [row[1] for row in rows(lake)] == [1, 2]


def test_lists_of_json_lines_may_be_missing_or_null_in_a_file(lake: Lake, folder: Path) -> None:
    declare(format=JsonLines(), columns=(*DECLARED.columns[:2], Column("tags", "list(string)")))
    put(folder, a='{"number": 1, "shop": "a", "tags": null}\n', b='{"number": 2, "shop": "b", "tags": ["x", null]}\n')
    put(folder, c='{"number": 3, "shop": "c"}\n')
    load_from(lake, folder)

    found = lake.rows("select number, tags from raw.orders order by number")
    assert [row["tags"] for row in found] == [None, ["x", None], None]
    put(folder, a='{"number": 1, "shop": "a", "tags": null}\n{"number": 4, "shop": "a", "tags": "x"}\n')
    with pytest.raises(RefusedError, match=r"orders_2024-01-05_a.csv: the column 'tags' has a single value in line 2;"):
        load_from(lake, folder)


@pytest.mark.parametrize(
    ("form", "bad", "message"),
    [
        (
            Csv(),
            "number,shop,price\n5,b,1\n6,b,much\n",
            r"csv.zip: the column 'price' has 'much' in row 1 \(counted from 0\) of orders_2024-01-05_b.csv; expected",
        ),
        (Csv(), "number,price\n5,1\n", "orders_2024-01-05_b.csv: the column 'shop' is missing"),
        (
            Csv(),
            "number,Order No,shop\n5,5,b\n",
            "orders_2024-01-05_b.csv: the columns 'number' and 'Order No' are both names of",
        ),
        (Csv(), "number,shop\n5,b\n6,b,7\n", r"orders_2024-01-05_b.csv: row 1 .* has 3 values; expected 2"),
        (
            JsonLines(),
            '{"number": 5, "shop": "b"}\n\n{"number": 6.5, "shop": "b"}\n',
            "the column 'number' has '6.5' in line 3 of orders_2024-01-05_b.csv",
        ),
        (
            JsonLines(),
            '{"number": 5, "shop": "b"}\n' * 200 + "{\n",
            "orders_2024-01-05_b.csv: line 201 is not one whole JSON object",
        ),
    ],
    ids=["value", "column missing", "column twice", "broken row", "value in a line", "broken line"],
)
def test_a_refusal_names_the_file_and_the_row_in_it(
    lake: Lake, folder: Path, form: Format, bad: str, message: str
) -> None:
    declare(format=form)
    good = '{"number": %d, "shop": "a"}\n' if isinstance(form, JsonLines) else "number,shop\n%d,a\n"
    put(folder, a=good % 1, c=good % 3)
    load_from(lake, folder)
    before = rows(lake)
    put(folder, b=bad)

    with pytest.raises(RefusedError, match=message):
        load_from(lake, folder)

    assert (rows(lake), snapshots(lake)) == (before, 1)


@pytest.mark.parametrize("content", [b"", b"<html>no such page</html>", b"number\n1\n"], ids=["empty", "page", "other"])
def test_a_file_of_another_kind_does_not_land(lake: Lake, folder: Path, content: bytes) -> None:
    declare(columns=(Column("shop", "string", required_since=BEGINNING), Column("number", "long")))
    put(folder, a="number,shop\n1,a\n", b=content)

    with pytest.raises(
        SourceError,
        match=r"^orders_2024-01-05_b.csv in the source folder /.*source (has no|is empty).*Nothing of orders 2024",
    ):
        land(lake.landing, str(folder), ORDERS)

    assert lake.landing.find(ORDERS) is None


def test_a_damaged_parquet_file_is_named_and_does_not_land(lake: Lake, folder: Path) -> None:
    declare(format=Parquet(), files="orders_{day}_*.parquet")
    whole = as_parquet(["number", "shop"], [(1, "a")])
    (folder / "orders_2024-01-05_a.parquet").write_bytes(whole)
    (folder / "orders_2024-01-05_b.parquet").write_bytes(whole[:-9])

    with pytest.raises(SourceError, match=r"^orders_2024-01-05_b.parquet in the source folder /[^:]* is cut short"):
        land(lake.landing, str(folder), ORDERS)


def test_columns_of_parquet_files_may_have_different_types_that_fit(lake: Lake, folder: Path) -> None:
    declare(format=Parquet(), files="orders_{day}_*.parquet")
    kinds: dict[str, Any] = {"a": pa.null(), "b": pa.int16(), "c": pa.float64()}
    for n, (name, kind) in enumerate(kinds.items()):
        price = pa.nulls(1) if name == "a" else pa.array([n]).cast(kind)
        table = pa.table({"number": pa.array([n], pa.int32() if n else pa.int64()), "shop": [name], "price": price})
        pq.write_table(table, folder / f"orders_2024-01-05_{name}.parquet")
    load_from(lake, folder)

    assert rows(lake) == [(0, 0, "a", None), (1, 1, "b", 1.0), (2, 2, "c", 2.0)]
    pq.write_table(pa.table({"number": [[1]], "shop": [1]}), folder / "orders_2024-01-05_d.parquet")
    with pytest.raises(RefusedError, match=r"orders_2024-01-05_d.parquet: the column 'number' is list"):
        load_from(lake, folder)


def test_the_same_bytes_under_two_names_are_refused_if_they_have_rows(lake: Lake, folder: Path) -> None:
    put(folder, a="number,shop\n1,a\n", b="number,shop\n", c="number,shop\n")
    load_from(lake, folder)
    assert rows(lake) == [(0, 1, "a", None)]
    put(folder, a2="number,shop\n1,a\n")

    with pytest.raises(
        RefusedError, match=r"orders_2024-01-05_a2.csv has the same bytes as orders_2024-01-05_a.csv.*Correct the files"
    ):
        load_from(lake, folder)

    assert snapshots(lake) == 1


def test_a_second_download_of_a_file_counts_once_and_must_be_equal(lake: Lake, folder: Path) -> None:
    put(folder, a="number,shop\n1,a\n", b="number,shop\n2,b\n")
    first = load_from(lake, folder)
    put(folder, **{"a (1)": "number,shop\n1,a\n"})
    assert load_from(lake, folder).action == "unchanged"
    put(folder, **{"a (1)": "number,shop\n9,a\n"})

    with pytest.raises(
        SourceError, match=r"Two files of orders .*_a.csv, .*_a \(1\).csv\. .* must still match .*\*\.csv"
    ):
        load_from(lake, folder)

    found = lake.landing.find(ORDERS)
    assert found is not None
    assert found.sha256 == first.source_sha256


def test_no_file_is_one_sentence_that_says_what_was_looked_for(lake: Lake, folder: Path) -> None:
    (folder / "orders_20240105_a.csv").write_text("number,shop\n1,a\n", encoding="utf-8")

    with pytest.raises(
        NotPublishedError,
        match=r"orders 2024-01-05 is not in the source folder .*: no file orders_2024-01-05_\*.csv is there or in a "
        r"subfolder.*orders_20240105_a.csv.*give them names such as orders_2024-01-05_\*.csv",
    ):
        land(lake.landing, str(folder), ORDERS)


def test_hidden_files_are_left_out_and_case_makes_no_difference(lake: Lake, folder: Path) -> None:
    declare(files="*_{day}.csv")
    (folder / "SHOP_2024-01-05.CSV").write_text("number,shop\n1,a\n", encoding="utf-8")
    for hidden in ("._shop_2024-01-05.csv", "~$shop_2024-01-05.csv", "shop_2024-01-05.csv.part"):
        (folder / hidden).write_bytes(b"\0")

    assert load_from(lake, folder).rows == 1


def test_what_is_no_file_is_refused(lake: Lake, folder: Path) -> None:
    put(folder, a="number,shop\n1,a\n")
    (folder / "orders_2024-01-05_b.csv").mkdir()

    with pytest.raises(SourceError, match=r"_b.csv is a folder, but its name matches orders_2024-01-05_\*.csv,"):
        land(lake.landing, str(folder), ORDERS)
    (folder / "orders_2024-01-05_b.csv").rmdir()
    os.mkfifo(folder / "orders_2024-01-05_b.csv")
    with pytest.raises(SourceError, match=r"orders_2024-01-05_b.csv is no regular file\. Nothing of orders 2024-01-05"):
        land(lake.landing, str(folder), ORDERS)
    (folder / "orders_2024-01-05_b.csv").unlink()
    (folder / "orders_2024-01-05_b.csv").symlink_to(folder / "nowhere")
    with pytest.raises(SourceError, match=r"orders_2024-01-05_b.csv can't be read"):
        land(lake.landing, str(folder), ORDERS)


def test_a_name_that_is_no_text_is_refused(lake: Lake, folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/orders_2024-01-05_\xff.csv")).write_bytes(b"number,shop\n1,a\n")

    with pytest.raises(SourceError, match="has a name that is no text in UTF-8"):
        land(lake.landing, str(folder), ORDERS)


@pytest.mark.parametrize("event", ["grows", "vanishes", "comes", "is replaced"])
def test_files_that_change_while_they_are_copied_do_not_land(lake: Lake, folder: Path, event: str) -> None:
    put(folder, a="number,shop\n1,a\n", b="number,shop\n2,b\n")
    path = folder / "orders_2024-01-05_b.csv"
    happened: list[str] = []

    def happen(*_: int) -> None:
        if happened:
            return
        happened.append(event)
        match event:
            case "grows":
                with path.open("ab") as file:
                    file.write(b"3,b\n")
            case "vanishes":
                path.unlink()
            case "comes":
                put(folder, c="number,shop\n3,c\n")
            case _:
                put(folder, new="number,shop\n9,b\n")
                (folder / "orders_2024-01-05_new.csv").replace(path)

    with pytest.raises(SourceError, match=r"Nothing of it was landed"):
        land(lake.landing, str(folder), ORDERS, progress=happen)

    assert happened
    assert lake.landing.find(ORDERS) is None
    assert not [name for name in lake.landing.staging.iterdir() if name.suffix == ".zip"]
    if event != "vanishes":
        assert land(lake.landing, str(folder), ORDERS).sha256


BUNDLING = """
import sys
from tests.unit.test_shared_parts import DECLARED, ORDERS
from lakehouse.datasets.registry import DATASETS
from lakehouse.landing import open_landing
from lakehouse.landing.land import land
from lakehouse.settings import load_settings

def stand_still(done, total):
    print("copying", flush=True)
    sys.stdin.read()

DATASETS["orders"] = DECLARED
land(open_landing(load_settings()), sys.argv[1], ORDERS, refresh=True, progress=stand_still)
"""


@pytest.mark.slow
def test_a_kill_while_files_are_copied_leaves_what_was_landed(lake: Lake, folder: Path) -> None:
    put(folder, a="number,shop\n1,a\n")
    first = load_from(lake, folder)
    put(folder, b="number,shop\n2,b\n")
    root = project_dir()
    environment = {
        **os.environ,
        "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}",
        "LAKEHOUSE_HOME": str(lake.settings.home),
        "LAKEHOUSE_TARGET": "embedded",
    }
    with subprocess.Popen(
        [sys.executable, "-c", BUNDLING, str(folder)],
        env=environment,
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"copying\n"
        process.send_signal(signal.SIGKILL)

    found = lake.landing.find(ORDERS)
    assert found is not None
    assert found.sha256 == first.source_sha256
    assert load_from(lake, folder).rows == 2


def test_a_site_is_refused(lake: Lake) -> None:
    with pytest.raises(
        SourceError, match=r"all files orders_2024-01-05_\*.csv, and a site such as http://.* can't list"
    ):
        land(lake.landing, "http://tlc.example", ORDERS)


def test_a_landing_zone_gives_its_bundles(lake: Lake, folder: Path, tmp_path: Path) -> None:
    put(folder, a="number,shop\n1,a\n", b="number,shop\n2,b\n")
    first = land(lake.landing, str(folder), ORDERS)
    other = Lake(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "other"), tmp_path)
    zone = lake.settings.landing_dir

    second = land(other.landing, str(zone), ORDERS)

    assert (second.sha256, second.origin) == (first.sha256, first.origin)
    put(zone, c="number,shop\n3,c\n")
    with pytest.raises(SourceError, match=r"may have rows of orders 2024-01-05 twice"):
        land(other.landing, str(zone), ORDERS, refresh=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip file", "can't be read as a zip file"),
        (zipped(b"number,shop\n1,a\n"), "the bundle has inner compressed or encrypted"),
        (b"PK\5\6" + bytes(18), "the bundle has no file"),
    ],
    ids=["other", "compressed", "empty"],
)
def test_a_file_with_the_name_of_a_bundle_must_be_one(lake: Lake, folder: Path, content: bytes, message: str) -> None:
    (folder / BUNDLE).write_bytes(content)

    with pytest.raises(SourceError, match=message):
        land(lake.landing, str(folder), ORDERS)


def test_the_single_files_take_the_place_of_a_bundle_that_is_none(lake: Lake, folder: Path) -> None:
    """The advice works: as long as the file lies there, single files beside it are refused."""
    (folder / BUNDLE).write_bytes(b"no zip file")
    with pytest.raises(SourceError, match=r"Or move it out of the source folder, and put the single files there"):
        land(lake.landing, str(folder), ORDERS)

    (folder / BUNDLE).unlink()
    put(folder, a="number,shop\n1,a\n", b="number,shop\n2,b\n")

    assert land(lake.landing, str(folder), ORDERS).file == ORDERS


def other_bytes(bundle: bytearray) -> None:
    bundle[bundle.index(b"2,b") + 2] = ord("c")


def hide_the_second_file(bundle: bytearray) -> None:
    """Make a comment on the first file of what the list says of the second one."""
    first, second, end = bundle.index(b"PK\1\2"), bundle.rindex(b"PK\1\2"), bundle.rindex(b"PK\5\6")
    bundle[first + 32 : first + 34] = (end - second).to_bytes(2, "little")


def beyond_the_end(bundle: bytearray) -> None:
    """Give the second file, in the list, more bytes than the bundle has."""
    second = bundle.rindex(b"PK\1\2")
    bundle[second + 20 : second + 28] = (1 << 20).to_bytes(4, "little") * 2


def another_name(bundle: bytearray) -> None:
    bundle[bundle.rindex(b"orders_2024-01-05_b.csv")] = ord("O")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (other_bytes, r"_b\.csv: it is damaged: its bytes do not have the checksum"),
        (hide_the_second_file, "the bundle's list of files is damaged"),
        (beyond_the_end, r"list of files is damaged: by it, orders_.*_b\.csv would end after the bundle does"),
        (another_name, "calls one file both 'Orders_.*it is damaged"),
    ],
    ids=["bytes", "list", "size", "name"],
)
def test_a_damaged_bundle_is_refused(
    lake: Lake, folder: Path, tmp_path: Path, damage: Callable[[bytearray], None], message: str
) -> None:
    put(folder, a="number,shop\n1,a\n", b="number,shop\n2,b\n")
    with lake.landing.local(land(lake.landing, str(folder), ORDERS)) as landed:
        bundle = bytearray(landed.read_bytes())
    damage(bundle)
    (tmp_path / BUNDLE).write_bytes(bundle)
    lake.landing.put(ORDERS, tmp_path / BUNDLE, "test")

    with pytest.raises(RefusedError, match=message):
        load(lake.catalog, lake.landing, ORDERS)


def test_bundles_land_in_a_bucket_and_are_read_from_there(lake: Lake, folder: Path, tmp_path: Path) -> None:
    put(folder, a="number,shop\n1,a\n", b="number,shop\n2,b\n")
    with mock_aws():
        landing = BucketLanding(bucket_settings(tmp_path))
        landed = land(landing, str(folder), ORDERS)
        assert landed.uri == f"s3://warehouse/raw_data/orders/{BUNDLE}"
        assert load(lake.catalog, landing, ORDERS).rows == 2
        put(folder, c="number,shop\n3,c\n")
        assert land(landing, str(folder), ORDERS, refresh=True).sha256 != landed.sha256
        assert load(lake.catalog, landing, ORDERS).rows == 3
        assert len(landing.versions(ORDERS)) == 2

    assert [row[1] for row in rows(lake)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("files", "of_the_fifth", "others"),
    [
        ("orders_{day}_*.csv", ["orders_2024-01-05_a.csv", "orders_2024-01-05_.csv"], ["orders_2024-01-05.csv"]),
        ("orders_{day}*.csv", ["orders_2024-01-05.csv", "orders_2024-01-05x.csv"], ["orders_2024-01-5.csv"]),
        ("*_{day}.csv", ["x_2024-01-05.csv", "_2024-01-05.csv", "2024-01-06_2024-01-05.csv"], ["2024-01-05.csv"]),
        ("o{day:%Y%m%d}*", ["o202401051230.csv", "O20240105"], ["o2024010", "x20240105"]),
        ("*{day:%d.%m.%Y}.zip", ["a05.01.2024.zip", "05.01.2024.zip"], ["a05.01.2024"]),
    ],
)
def test_a_name_tells_its_part(folder: Path, files: str, of_the_fifth: list[str], others: list[str]) -> None:
    declare(files=files, format=Csv())
    assert problem(DATASETS["orders"]) is None

    for name in (*of_the_fifth, ORDERS.name):
        assert file_called(name.lower()) == ORDERS, name
    assert [name for name in others if file_called(name) is not None] == []
    for name in (*of_the_fifth, *others):
        (folder / name).write_bytes(b"")
    assert contents(folder) == {"orders": [FIFTH]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": "*_{day}_*.csv"}, r"files='\*_{day}_\*.csv' must have one \* at most"),
        ({"files": "a_{day:%Y*}.csv"}, r"must have one \* at most, outside of braces"),
        ({"files": "orders/{day}_*.csv"}, r"has a /. Write the name alone"),
        ({"files": "orders_*.csv"}, r"must have the placeholder {day} once"),
        ({"files": "orders_*", "parts": Whole(), "format": Parquet()}, r"does not end in .parquet"),
        (
            {
                "files": "orders_*.parquet",
                "parts": Whole(),
                "format": Parquet(),
                "source": Query(database="SHOP_URL", table="orders"),
            },
            r"has a \*, and the rows of a source are one file",
        ),
    ],
)
def test_wrong_declarations_are_refused(changes: dict[str, Any], message: str) -> None:
    found = problem(replace(DECLARED, **changes))

    assert found is not None
    assert re.search(message, found), found


@pytest.mark.parametrize("form", [Csv(), JsonLines(), Parquet()], ids=["csv", "json", "parquet"])
def test_a_file_split_into_many_has_the_same_rows(form: Format) -> None:
    values = st.tuples(st.integers(0, 9), st.sampled_from(["a", "ä", "x y"]), st.sampled_from([None, 0.5, 2.25]))
    suffix = form.suffix

    @settings_of(examples=12, long=(300, 50))
    @given(st.lists(st.lists(values, max_size=4), min_size=1, max_size=5))
    def check(pieces: list[Rows]) -> None:
        declare(format=form, files=f"orders_{{day}}_*.{suffix}", columns=(*DECLARED.columns, Column("piece", "long")))
        write = {"csv": as_csv, "jsonl": as_json, "parquet": as_parquet}[suffix]
        names = ["number", "shop", "price", "piece"]
        # A number in each row tells pieces apart: the same bytes twice are refused.
        marked = [[(*row, n) for row in piece] for n, piece in enumerate(pieces)]
        kept = marked if suffix != "jsonl" else [piece for piece in marked if piece] or [[(1, "a", None, 0)]]
        found = []
        for parts in (kept, [[row for piece in kept for row in piece]]):
            with tempfile.TemporaryDirectory() as where:
                source = Path(where) / "source"
                source.mkdir()
                for n, part in enumerate(parts):
                    (source / f"orders_2024-01-05_{n}.{suffix}").write_bytes(write(names, part))
                lake = Lake(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=Path(where) / "home"), Path(where))
                load_from(lake, source, allow_shrink=True)
                found.append(lake.rows("select file_row, number, shop, price, piece from raw.orders order by 1"))
                lake.engine.close()
        assert found[0] == found[1]

    check()


@pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")
@pytest.mark.filterwarnings("ignore:InitResourceContext:DeprecationWarning")
def test_dagster_lands_and_loads_them_and_counts_their_rows(lake: Lake, folder: Path) -> None:
    from lakehouse.defs.landing.assets import landing_asset
    from lakehouse.defs.raw.assets import raw_asset
    from lakehouse.defs.raw.schemas import iceberg_schemas
    from lakehouse.defs.resources import resources

    put(folder, a="number,shop\n1,a\n", b="number,shop\n2,b\n3,b\n")
    settings = lake.settings.model_copy(update={"tlc_source": str(folder)})
    assets = [landing_asset(DECLARED), raw_asset(DECLARED), iceberg_schemas]
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(assets, partition_key="2024-01-05", resources=resources(settings), instance=instance)

    assert result.success
    landed = result.asset_materializations_for_node("landing__orders")[0].metadata
    assert (landed["file"].value, str(landed["origin"].value)[:7]) == (BUNDLE, "2 files")
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert all(check.passed for check in checks.values())
    assert checks["rows_match_file"].metadata["days"].value == {"2024-01-05": {"table": 3, "file": 3}}
