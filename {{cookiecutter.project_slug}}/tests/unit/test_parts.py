"""Datasets that do not come by the month: a file is a day, or all of the table; with or without a key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lake import Lake

from lakehouse.datasets.days import Day
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv, Parquet
from lakehouse.datasets.model import BEGINNING, Column, Dataset, Name
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Daily, Whole, parse_parts
from lakehouse.datasets.registry import DATASETS
from lakehouse.defs.raw.checks import check_results
from lakehouse.errors import RefusedError, SettingsError
from lakehouse.history.diff import PartDiff, diff
from lakehouse.history.history import loaded
from lakehouse.landing.land import land
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult
from lakehouse.report import make_report
from lakehouse.sources.search import contents

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
    with pytest.raises(RefusedError, match=r"more than one row has 'Shop No' = 7 and 'day' = mon,"):
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
        ("", "it has no line of column names.* the number of lines above them, blank or not in"),
        ("shop no,day\n7,mon\n8\n", r"row 1 \(counted from 0\) has 1 values; expected 2"),
        ("shop no,weekday\n7,mon\n", "the column 'day' is missing, .* may lack it, remove its `required_since` in the"),
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


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            DatasetFile("zones", Month(2024, 1)),
            r"zones is one file, .* Write `lakehouse load zones`, without 2024-01\.",
        ),
        (DatasetFile("green"), r"comes by the month, and no month is given\. .*`lakehouse load green 2024-01`\."),
        (DatasetFile("green", Day(2024, 1, 5)), r"comes by the month, and 2024-01-05 is a day\. Nothing was loaded\."),
    ],
    ids=["a month of one file", "no month", "a day"],
)
def test_a_file_of_the_wrong_part_is_refused(lake: Lake, tmp_path: Path, file: DatasetFile, message: str) -> None:
    lake.landing.put(file, text(tmp_path, "a\n1\n"), "test")

    with pytest.raises(RefusedError, match=message):
        load(lake.catalog, lake.landing, file)


def declare_orders(monkeypatch: pytest.MonkeyPatch, files: str = "orders_{day}.csv", **changes: Any) -> None:
    """Declare orders: a CSV file a day."""
    columns = (
        Column("number", "long", required_since=BEGINNING),
        Column("ordered_at", "timestamp", (Name("Date"),), required_since=BEGINNING, role="time"),
        Column("discount", "double", required_since=Day(2024, 1, 6)),
    )
    orders = Dataset(
        name="orders",
        title="Orders",
        table="raw.orders",
        files=files,
        parts=Daily(since=Day(2024, 1, 1)),
        format=Csv(),
        columns=columns,
    )
    monkeypatch.setitem(DATASETS, "orders", replace(orders, **changes))


def orders_of(folder: Path, day: str, numbers: Iterable[int], *, dated: str | None = None, name: str = "") -> Path:
    """Write a day's orders, with the times of `dated` or of the day itself."""
    path = folder / (name or f"orders_{day}.csv")
    lines = [f"{number},{dated or day} 09:30:00,0.5" for number in numbers]
    path.write_text("\n".join(["number,date,discount", *lines, ""]), encoding="utf-8")
    return path


def load_day(lake: Lake, folder: Path, day: str, **how: Any) -> LoadResult:
    """Land a day from a folder, and load it."""
    file = DatasetFile("orders", Day.parse(day))
    land(lake.landing, str(folder), file, refresh=True)
    return load(lake.catalog, lake.landing, file, **how)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that somebody fills: not one that holds the lakehouse too."""
    made = tmp_path / "source"
    made.mkdir()
    return made


def test_a_day_is_loaded_and_replaced_apart_from_others(
    lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_orders(monkeypatch)
    for day, numbers in (("2024-01-05", [1, 2]), ("2024-01-06", [3])):
        orders_of(folder, day, numbers)
        load_day(lake, folder, day)
    assert load_day(lake, folder, "2024-01-06").action == "unchanged"
    orders_of(folder, "2024-01-05", [1, 4])
    restated = load_day(lake, folder, "2024-01-05")

    rows = lake.rows("select cast(file_date as varchar) as day, number from raw.orders order by 1, 2")
    history = lake.history("raw.orders")
    differs = diff(lake.engine, lake.catalog, "raw.orders", str(history[1].snapshot_id), "main")
    assert restated.as_dict()["day"] == "2024-01-05"
    assert [(row["day"], row["number"]) for row in rows] == [("2024-01-05", 1), ("2024-01-05", 4), ("2024-01-06", 3)]
    assert [(row.file_date, row.file_month, row.part) for row in history] == [
        ("2024-01-05", None, "2024-01-05"),
        ("2024-01-06", None, "2024-01-06"),
        ("2024-01-05", None, "2024-01-05"),
    ]
    assert [(row.file.label, row.rows, row.snapshot_id) for row in loaded(lake.engine, lake.landing)] == [
        ("orders 2024-01-05", 2, restated.snapshot_id),
        ("orders 2024-01-06", 1, history[1].snapshot_id),
    ]
    assert differs.months == (PartDiff(None, added=0, removed=0, changed=1, same=1, file_date="2024-01-05"),)
    assert [landed.file.label for landed in lake.landing.listing()] == ["orders 2024-01-05", "orders 2024-01-06"]


def test_a_file_of_another_day_is_refused(lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare_orders(monkeypatch)
    orders_of(folder, "2024-01-05", [1, 2], dated="2024-01-04")

    with pytest.raises(RefusedError, match=r"'date' is outside 2024-01-05 in 2 of 2 rows, .* are of 2024-01-04"):
        load_day(lake, folder, "2024-01-05")
    assert load_day(lake, folder, "2024-01-05", allow_strays=True).action == "loaded"

    (folder / "orders_2024-01-07.csv").write_bytes((folder / "orders_2024-01-05.csv").read_bytes())
    with pytest.raises(RefusedError, match=r"same bytes as .* orders 2024-01-05 was loaded .* two days"):
        load_day(lake, folder, "2024-01-07")


def test_a_day_that_is_read_as_a_month_points_to_the_declared_order(
    lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_orders(monkeypatch, format=Csv(times="%d/%m/%Y"), columns=(Column("date", "timestamp", role="time"),))
    (folder / "orders_2024-01-05.csv").write_text("date\n01/05/2024\n", encoding="utf-8")

    with pytest.raises(RefusedError) as refused:
        load_day(lake, folder, "2024-01-05")

    assert str(refused.value).partition(" of 2024-05-01. ")[2] == (
        "Nothing of this file was loaded. If times='%d/%m/%Y' puts day and month in the wrong order, correct it in the "
        "declaration of orders. If not, get the file of 2024-01-05 with `lakehouse load orders 2024-01-05 --refresh`. "
        "If this file really is the one of 2024-01-05, load it with --allow-strays (in Dagster: `allow_strays: true`)."
    )


def test_a_column_may_be_required_from_a_day_on(lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare_orders(monkeypatch)
    for day in ("2024-01-05", "2024-01-06"):
        (folder / f"orders_{day}.csv").write_text(f"number,date\n1,{day} 09:30:00\n", encoding="utf-8")

    assert load_day(lake, folder, "2024-01-05").rows == 1
    with pytest.raises(
        RefusedError, match=r"'discount' is missing, and orders files of 2024-01-06 .* `required_until`, in"
    ):
        load_day(lake, folder, "2024-01-06")


def test_the_day_in_a_name_may_be_written_in_another_form(
    lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_orders(monkeypatch, "orders_{day:%Y%m%d}.csv")
    orders_of(folder, "2024-01-05", [1], name="orders_20240105.csv")
    orders_of(folder, "2024-13-05", [1], name="orders_20241305.csv")

    assert contents(folder) == {"orders": [Day(2024, 1, 5)]}
    assert load_day(lake, folder, "2024-01-05").file.name == "orders_20240105.csv"


def test_a_dataset_of_days_needs_no_times(lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare_orders(monkeypatch, columns=(Column("number", "long"),))
    orders_of(folder, "2024-01-05", [1])

    result = load_day(lake, folder, "2024-01-05")
    key = dg.AssetKey(["raw", "orders"])
    checks = check_results(lake.engine, lake.landing, DATASETS["orders"], key, [result])

    assert {check.check_name: check.passed for check in checks} == {
        "rows_match_file": True,
        "keys_are_unique": True,
        "columns_are_declared": False,
    }


@pytest.mark.parametrize("word", ["2024-01", "2024-02-30", "2024-1-5", "x", "0001-01-01"])
def test_a_word_that_is_no_day_is_refused(word: str) -> None:
    with pytest.raises(SettingsError, match=r"is not a day. Write it as 2024-01-05, or a span"):
        parse_parts(Day, [word])


def test_a_span_of_days_crosses_months() -> None:
    assert [str(day) for day in parse_parts(Day, ["2024-02-28..2024-03-01", "2024-02-29"])] == [
        "2024-02-28",
        "2024-02-29",
        "2024-03-01",
    ]


@given(st.dates(min_value=date(2, 1, 1), max_value=date(9998, 12, 31)))
def test_a_day_is_the_one_that_is_written(day: date) -> None:
    assert Day.parse(str(Day.of(day))).first_day == day
    assert Day.of(day).next.first_day == day + timedelta(days=1)
    assert Month.of(day).first_day <= day <= Month.of(day).last_day


def test_the_report_names_days(lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare_orders(monkeypatch)
    orders_of(folder, "2024-01-05", [1, 2])
    load_day(lake, folder, "2024-01-05")

    report = make_report(lake.settings)

    assert [row["day"] for row in report.json["months"]] == ["2024-01-05"]
    assert "| orders | 2024-01-05 | 2 |" in report.markdown
    assert "months and days loaded" in report.html
    assert report.html.count('<td class="t">2024-01-05') == 2  # what is loaded, and the snapshot that brought it
