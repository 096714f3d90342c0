"""Datasets that do not come by the month: a file is all of the table, with or without a key, as parquet or as CSV."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv, Parquet
from lakehouse.datasets.model import BEGINNING, Column, Dataset, Name
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import RefusedError
from lakehouse.loading.load import LoadResult, load

SHOPS = DatasetFile("shops")


def declare(monkeypatch: pytest.MonkeyPatch, format_: Parquet | Csv, *key: str) -> None:
    """Declare a dataset of shops, whole."""
    columns = (
        Column("shop", "long", (Name("Shop No"),), required_since=BEGINNING),
        Column("day", "string", required_since=BEGINNING),
        Column("takings", "double"),
    )
    shops = Dataset(
        name="shops",
        title="Shops",
        table="raw.shops",
        files=f"shops.{format_.suffix}",
        parts=Whole(),
        format=format_,
        key=key,
        columns=columns,
    )
    monkeypatch.setitem(DATASETS, "shops", shops)


def load_shops(lake: Lake, file: Path, *, allow_shrink: bool = False) -> LoadResult:
    """Land and load a file of shops."""
    lake.landing.put(SHOPS, file, "test")
    return load(lake.catalog, lake.landing, SHOPS, allow_shrink=allow_shrink)


def text(tmp_path: Path, content: str) -> Path:
    """Write a CSV file."""
    path = tmp_path / "given.csv"
    path.write_text(content, encoding="utf-8")
    return path


def test_a_file_without_a_key_keeps_row_numbers(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, Csv())
    file = text(tmp_path, "shop no,day,takings\n7,mon,1.50\n7,mon,1.50\n9,tue,\n")

    results = [load_shops(lake, file) for _ in range(2)]

    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert [result.action for result in results] == ["loaded", "unchanged"]
    assert lake.rows("select * from raw.shops order by file_row") == [
        {"file_row": 0, "source_sha256": sha256, "shop": 7, "day": "mon", "takings": 1.5},
        {"file_row": 1, "source_sha256": sha256, "shop": 7, "day": "mon", "takings": 1.5},
        {"file_row": 2, "source_sha256": sha256, "shop": 9, "day": "tue", "takings": None},
    ]


def test_a_key_of_two_columns_may_not_repeat(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, Parquet(), "shop", "day")
    good, bad = (tmp_path / name for name in ("good.parquet", "bad.parquet"))
    pq.write_table(pa.table({"Shop No": [7, 7], "day": ["mon", "tue"]}), good)
    pq.write_table(pa.table({"Shop No": [7, 9, 7], "day": ["mon", "mon", "mon"]}), bad)

    load_shops(lake, good)
    with pytest.raises(RefusedError, match=r"'Shop No' has 7 and 'day' has mon twice"):
        load_shops(lake, bad)

    assert [row.total_rows for row in lake.history("raw.shops")] == [2]
    assert list(lake.rows("select * from raw.shops")[0]) == ["shop", "day", "takings", "source_sha256"]


def test_a_column_that_files_lack_stays_null(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, Parquet())
    file = tmp_path / "shops.parquet"
    pq.write_table(pa.table({"Shop No": [7], "day": ["mon"], "remark": ["new"]}), file)

    result = load_shops(lake, file)

    assert result.unknown_columns == ("remark",)
    assert lake.rows("select takings from raw.shops") == [{"takings": None}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "this is not a whole CSV file"),
        ("shop no,day\n7,mon\n8\n", "this is not a whole CSV file .*Expected 2 columns"),
        ("shop no,weekday\n7,mon\n", "the column 'day' is missing, and a file of shops must have it"),
        ("shop no,day\nseven,mon\n", "the column 'shop no' has 'seven' in row 0"),
        ("shop no,day\n", "has 0 rows"),
    ],
    ids=["no line", "a short row", "no day", "a word", "no row"],
)
def test_a_csv_file_that_is_none_is_refused(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    declare(monkeypatch, Csv())
    load_shops(lake, text(tmp_path, "shop no,day\n7,mon\n"))

    with pytest.raises(RefusedError, match=message):
        load_shops(lake, text(tmp_path, content))

    assert [row.total_rows for row in lake.history("raw.shops")] == [1]


def test_an_accepted_file_without_rows_empties_it(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, Csv())
    load_shops(lake, text(tmp_path, "shop no,day\n7,mon\n"))

    result = load_shops(lake, text(tmp_path, "shop no,day\n"), allow_shrink=True)

    assert (result.action, result.rows) == ("loaded", 0)
    assert lake.rows("select * from raw.shops") == []


@pytest.mark.parametrize("file", [DatasetFile("zones", Month(2024, 1)), DatasetFile("green")])
def test_a_file_of_the_wrong_part_is_refused(lake: Lake, tmp_path: Path, file: DatasetFile) -> None:
    lake.landing.put(file, text(tmp_path, "a\n1\n"), "test")

    with pytest.raises(RefusedError, match=r"is no file of .*: `lakehouse load (zones|green 2024-01)`"):
        load(lake.catalog, lake.landing, file)
