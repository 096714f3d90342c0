"""Types of columns: what parquet and CSV files may bring, what is refused, and that every reader gets the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.types import ListType, LongType, NestedField, StringType
from tests.lake import Lake

from lakehouse.cli.terminal import print_json, shown
from lakehouse.datasets.days import Day
from lakehouse.datasets.declaration import problem
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv, Excel, JsonLines, Parquet
from lakehouse.datasets.model import BEGINNING, Column, Dataset, Name
from lakehouse.datasets.parts import Daily, Part, Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.defs.common import column_schema
from lakehouse.defs.raw.checks import part_facts
from lakehouse.errors import RefusedError, SettingsError
from lakehouse.iceberg import tables
from lakehouse.iceberg.tables import _spelled
from lakehouse.loading.conform import Conformer, plan
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult

COLUMNS = (
    Column("id", "long", required_since=BEGINNING),
    Column("paid", "boolean"),
    Column("due", "date"),
    Column("price", "decimal(6,2)"),
    Column("large", "decimal(38,9)"),
    Column("moment", "timestamptz"),
    Column("berlin", "timestamptz", zone="Europe/Berlin"),
    Column("photo", "binary"),
)
TEXT = COLUMNS[:-1]
NOON = datetime(2024, 1, 31, 12, 0, 0, 123456, UTC)
ROWS = [
    {
        "id": 1,
        "paid": True,
        "due": date(2024, 2, 29),
        "price": Decimal("-1234.50"),
        "large": Decimal("12345678901234567890123456789.123456789"),
        "moment": NOON,
        "berlin": NOON,
        "photo": b"\x00\xff",
    },
    {
        "id": 2,
        "paid": False,
        "due": date(1, 1, 1),
        "price": Decimal("9999.99"),
        "large": Decimal("-0.000000001"),
        "moment": datetime(1, 1, 1, tzinfo=UTC),
        "berlin": datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
        "photo": b"",
    },
    {"id": 3, **dict.fromkeys(("paid", "due", "price", "large", "moment", "berlin", "photo"))},
]


@dataclass
class Things:
    """A dataset of one's own, and a way to load files of it."""

    lake: Lake
    folder: Path

    def declare(self, *columns: Column, **changes: Any) -> Dataset:
        """Declare it."""
        form = changes.get("format", Parquet())
        things = Dataset("things", "Things", "raw.things", f"things.{form.suffix}", Whole(), columns)
        DATASETS["things"] = things = replace(things, **changes)
        return things

    def load(self, content: pa.Table | str, part: Part | None = None) -> LoadResult:
        """Land and load a parquet file or a text."""
        path = self.folder / "given"
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            pq.write_table(content, path)
        return self.load_given(part)

    def load_given(self, part: Part | None = None) -> LoadResult:
        """Land and load the file `given`."""
        path = self.folder / "given"
        file = DatasetFile("things", part)
        self.lake.landing.put(file, path, "test")
        return load(self.lake.catalog, self.lake.landing, file)

    def rows(self, columns: str = "*") -> list[dict[str, Any]]:
        """What DuckDB reads."""
        return self.lake.rows(f"select {columns} from raw.things order by 1")


@pytest.fixture
def things(lake: Lake, tmp_path: Path) -> Iterator[Things]:
    """The dataset, declared by each test."""
    yield Things(lake, tmp_path)
    DATASETS.pop("things", None)


def as_arrow(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as another tool writes them."""
    types: dict[str, Any] = {
        "id": pa.int64(),
        "paid": pa.bool_(),
        "due": pa.date32(),
        "price": pa.decimal128(6, 2),
        "large": pa.decimal128(38, 9),
        "moment": pa.timestamp("us", "UTC"),
        "berlin": pa.timestamp("us", "Asia/Tokyo"),
        "photo": pa.binary(),
    }
    return pa.Table.from_pylist(rows, pa.schema(types))


NAMES = ", ".join(column.name for column in COLUMNS)


def test_every_reader_gets_what_was_written(things: Things) -> None:
    things.declare(*COLUMNS)
    first = things.load(as_arrow(ROWS))
    things.load(as_arrow([*ROWS, {**ROWS[0], "id": 4}]))

    assert things.rows(NAMES)[:3] == ROWS
    table = things.lake.table("raw.things")
    assert table.scan(selected_fields=tuple(ROWS[0])).to_arrow().sort_by("id").to_pylist()[:3] == ROWS
    assert things.lake.rows(f"select {NAMES} from raw.things order by 1", f"raw.things@{first.snapshot_id}") == ROWS
    assert things.lake.rows("select id from raw.things where due > date '2024-01-01' and price < 0 and paid") == [
        {"id": 1},
        {"id": 4},
    ]
    scanned = table.scan("price == -1234.50 and due == '2024-02-29' and moment > '2024-01-31T00:00:00+00:00'")
    assert scanned.to_arrow()["id"].to_pylist() == [1, 4]
    assert {column.name: column.type for column in column_schema(table).columns}.items() >= {
        "paid": "boolean",
        "due": "date",
        "price": "decimal(6, 2)",
        "moment": "timestamptz",
        "photo": "binary",
    }.items()


def test_metrics_have_bounds_of_all_but_bytes(things: Things) -> None:
    things.declare(*COLUMNS)
    things.load(as_arrow(ROWS))

    table = things.lake.table("raw.things")
    (task,) = table.scan().plan_files()
    bounded = {table.schema().find_column_name(field_id) for field_id in task.file.lower_bounds or {}}
    assert bounded == {"file_row", "source_sha256", *(column.name for column in TEXT)}
    from lakehouse.history.tree import tree

    (file,) = (file for manifest in tree(things.lake.catalog, "raw.things").manifests for file in manifest.files)
    assert file.bounds["price"] == ("-1234.50", "9999.99")
    assert file.bounds["due"] == ("0001-01-01", "2024-02-29")


def test_values_are_printed_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    printed = {name: shown(name, value) for name, value in ROWS[0].items()}
    assert printed == {
        "id": "1",
        "paid": "true",
        "due": "2024-02-29",
        "price": "-1234.50",
        "large": "12345678901234567890123456789.123456789",
        "moment": "2024-01-31 12:00:00+00:00",
        "berlin": "2024-01-31 12:00:00+00:00",
        "photo": "00ff",
    }
    assert shown("paid", False) == "false"
    assert shown("tiny", Decimal("-0.000000001")) == "-0.000000001"
    assert shown("photo", bytes(100)) == f"{'00' * 16}… (100 bytes)"

    print_json(ROWS[:1])

    text = capsys.readouterr().out
    assert '"large": 12345678901234567890123456789.123456789' in text
    assert json.loads(text, parse_float=Decimal) == [
        {
            **ROWS[0],
            "due": "2024-02-29",
            "moment": "2024-01-31T12:00:00.123456+00:00",
            "berlin": "2024-01-31T12:00:00.123456+00:00",
            "photo": "00ff",
        }
    ]


FORMS = [
    (
        Csv(),
        (
            "id,paid,due,price,large,moment,berlin\n"
            "1,true,2024-02-29,-1234.5,12345678901234567890123456789.123456789,"
            "2024-01-31 13:00:00.123456+01:00,2024-01-31T13:00:00.123456\n"
            "2,N,0001-01-01,9999.990,-.000000001,0001-01-01T00:00:00Z,\n3,,,,,,\n"
        ),
    ),
    (
        Csv(delimiter=";", decimal=",", thousands=".", dates="%d.%m.%Y"),
        (
            "id;paid;due;price;large;moment;berlin\n"
            "1;Yes;29.2.2024;-1.234,5;12.345.678.901.234.567.890.123.456.789,123456789;"
            "2024-01-31 12:00:00.123456Z;2024-01-31 13:00:00.123456\n"
            "2;0; 01.01.0001 ;9999,99;-0,000000001;0001-01-01T00:00:00+00;\n3;;;;;;\n"
        ),
    ),
]


@pytest.mark.parametrize(("form", "text"), FORMS, ids=["plain", "german"])
def test_csv_gives_the_same_values(things: Things, form: Csv, text: str) -> None:
    things.declare(*TEXT, format=form)
    things.load(text)

    expected = [{name: value for name, value in row.items() if name != "photo"} for row in ROWS]
    expected[1]["berlin"] = None  # no local time of Berlin is that late in UTC
    assert things.rows(", ".join(column.name for column in TEXT)) == expected


def test_json_lines_give_the_same_values(things: Things) -> None:
    things.declare(*TEXT, format=JsonLines(dates="%d/%m/%Y"))
    things.load(
        '{"id": 1, "paid": true, "due": "29/02/2024", "price": -1234.5, '
        '"large": 12345678901234567890123456789.123456789, '
        '"moment": "2024-01-31T13:00:00.123456+01:00", "berlin": "2024-01-31 13:00:00.123456"}\n'
    )

    assert things.rows(", ".join(column.name for column in TEXT)) == [
        {name: value for name, value in ROWS[0].items() if name != "photo"}
    ]


def test_a_cell_with_a_date_is_a_date(things: Things) -> None:
    book = openpyxl.Workbook()
    for row in (
        ["id", "due", "price", "paid"],
        [1, date(2024, 2, 29), -1234.5, True],
        [2, date(2024, 2, 29), 1, 0],
    ):
        book.worksheets[0].append(row)
    things.declare(*TEXT, format=Excel())
    book.save(things.folder / "given")
    things.load_given()

    assert things.rows("id, due, price, paid") == [
        {"id": 1, "due": date(2024, 2, 29), "price": Decimal("-1234.50"), "paid": True},
        {"id": 2, "due": date(2024, 2, 29), "price": Decimal("1.00"), "paid": False},
    ]


def test_a_form_of_times_may_have_a_zone_or_be_local(things: Things) -> None:
    form = Csv(times="%d.%m.%Y %H:%M %z")
    things.declare(Column("id", "long"), Column("moment", "timestamptz"), format=form)
    things.load("id,moment\n1,31.01.2024 13:00 +0100\n2,31.01.2024 12:00 Z\n3,\n")
    noon = NOON.replace(microsecond=0)
    assert [row["moment"] for row in things.rows("id, moment")] == [noon, noon, None]

    things.declare(
        Column("id", "long"),
        Column("moment", "timestamptz", zone="America/New_York"),
        format=Csv(times="%m/%d/%Y %I:%M %p"),
    )
    things.load("id,moment\n1,01/31/2024 07:00 AM\n2,07/01/2024 08:00 AM\n3,\n")
    assert [row["moment"] for row in things.rows("id, moment")] == [noon, datetime(2024, 7, 1, 12, tzinfo=UTC), None]


def conformed(column: str, values: Any) -> Any:
    """What the loader makes of a column of a parquet file."""
    (declared,) = (one for one in COLUMNS if one.name == column)
    things = Dataset("things", "Things", "raw.things", "things.parquet", Whole(), (declared,))
    batch = pa.RecordBatch.from_arrays([values], names=[column])
    conformer = Conformer(things, None, plan(things, None, batch.schema, "things.parquet"), "things.parquet")
    (array,) = conformer.conform(batch)
    return array


def decimals(values: list[str], digits: int, behind: int) -> Any:
    """Decimals of another type than is declared."""
    return pa.array([Decimal(value) for value in values], pa.decimal128(digits, behind))


def times(values: list[Any], unit: Any, zone: str | None = None) -> Any:
    """Times from their numbers."""
    return pa.array(values, pa.int64()).cast(pa.timestamp(unit, zone))


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("paid", pa.array([1, 0, None]), [True, False, None]),
        ("paid", pa.array([1.0, 0.0, float("nan")]), [True, False, None]),
        ("paid", pa.array(["TRUE", "n", ""]), [True, False, None]),
        ("due", times([0, 86400], "s"), [date(1970, 1, 1), date(1970, 1, 2)]),
        (
            "due",
            pa.array([0, 86_400_000]).cast(pa.timestamp("ms")).cast(pa.date64()),
            [date(1970, 1, 1), date(1970, 1, 2)],
        ),
        ("due", pa.array(["2024-01-31", None]).dictionary_encode(), [date(2024, 1, 31), None]),
        ("price", pa.array([12, -7], pa.int8()), [Decimal("12.00"), Decimal("-7.00")]),
        ("price", pa.array([0.1, 1234.5, float("nan")]), [Decimal("0.10"), Decimal("1234.50"), None]),
        ("price", pa.array([0.1, 1234.56], pa.float32()), [Decimal("0.10"), Decimal("1234.56")]),
        ("price", decimals(["1.500", "-0.010"], 30, 3), [Decimal("1.50"), Decimal("-0.01")]),
        ("large", decimals(["7"], 5, 0), [Decimal(7)]),
        ("moment", times([1_000], "ns", "Asia/Tokyo"), [datetime(1970, 1, 1, 0, 0, 0, 1, UTC)]),
        ("moment", pa.array(["1970-01-01T02:00+02"]), [datetime(1970, 1, 1, tzinfo=UTC)]),
        ("berlin", times([0], "s"), [datetime(1969, 12, 31, 23, tzinfo=UTC)]),
        ("berlin", times([0], "s", "UTC"), [datetime(1970, 1, 1, tzinfo=UTC)]),
        ("photo", pa.array([b"ab", None], pa.binary(2)), [b"ab", None]),
        ("photo", pa.array([b"ab"], pa.large_binary()), [b"ab"]),
        ("photo", pa.nulls(2), [None, None]),
    ],
)
def test_other_types_in_parquet_are_taken_exactly(
    things: Things, column: str, values: Any, expected: list[Any]
) -> None:
    things.declare(*COLUMNS)
    things.load(pa.table({"id": range(len(values)), column: values}))

    assert [row[column] for row in things.rows(f"id, {column}")] == expected


PRICE = "expected a number with at most 2 digits behind the point, from -9,999.99 to 9,999.99"


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("paid", pa.array([1, 2]), "has 2 in row 1 .*expected true or false"),
        ("paid", pa.array([0.0, 0.5]), "has 0.5 in row 1"),
        ("paid", pa.array(["yes", "maybe"]), "has 'maybe' in row 1"),
        (
            "paid",
            pa.array([date(2024, 1, 1)]),
            "is date32.day.; the declaration of paid wants true",
        ),
        (
            "due",
            times([0, 1], "s"),
            r"has datetime.datetime\(1970, 1, 1, 0, 0, 1\) in row 1 .*such as 2024-01-31",
        ),
        ("due", pa.array(["2024-01-31", "2024-02-30"]), "has '2024-02-30' in row 1"),
        ("due", pa.array(["31.01.2024"]), "has '31.01.2024' in row 0"),
        ("due", pa.array(["2024-01-31 00:00:00"]), "has '2024-01-31 00:00:00' in row 0"),
        ("due", pa.array(["0000-12-31"]), "has '0000-12-31' in row 0"),
        ("due", pa.array([2_932_897], pa.int32()).cast(pa.date32()), r"has 2932897 \(date32\[day\]\) in row 0"),
        ("due", times([0], "s", "UTC"), r"is timestamp\[.*tz=UTC\]; the declaration of due wants"),
        ("due", pa.array([20240131]), "is int64; the declaration of due wants"),
        ("price", decimals(["1.500", "1.505"], 10, 3), rf"has Decimal\('1.505'\) in row 1 .*{PRICE}"),
        ("price", decimals(["1", "10000"], 10, 0), r"has Decimal\('10000'\) in row 1"),
        ("price", pa.array([1, 10_000]), "has 10000 in row 1"),
        ("price", pa.array([0.3, 0.1 + 0.2]), "has 0.30000000000000004 in row 1"),
        ("price", pa.array([float("inf")]), "has inf in row 0"),
        ("price", pa.array([1e300]), r"has 1e\+300 in row 0"),
        ("price", pa.array(["1.50", "1.505"]), "has '1.505' in row 1"),
        ("price", pa.array(["1e2"]), "has '1e2' in row 0"),
        ("price", pa.array(["0x1F"]), "has '0x1F' in row 0"),
        ("price", pa.array(["1,50"]), "has '1,50' in row 0"),
        ("price", pa.array(["NaN"]), "has 'NaN' in row 0"),
        ("price", pa.array(["."]), "has '.' in row 0"),
        ("price", pa.array([True]), "is bool; the declaration of price wants"),
        ("price", decimals(["1"], 10, 0).cast(pa.decimal256(50, 0)), r"is decimal256\(50, 0\)"),
        # Arrow's cast in 128 bits makes other numbers of these two.
        ("large", decimals(["1" * 38], 38, 0), r"has Decimal\('1{38}'\) in row 0"),
        ("large", pa.array(["1" * 38]), "has '1{38}' in row 0"),
        ("large", pa.array([1e29]), r"has 1e\+29 in row 0"),
        (
            "moment",
            times([0], "us"),
            r"is timestamp\[us\]; the declaration of moment wants a time with",
        ),
        ("moment", times([1], "ns", "UTC"), "has .* in row 0"),
        (
            "moment",
            pa.array(["2024-01-31 10:00:00"]),
            r"has '2024-01-31 10:00:00' .* 2024-01-31 23:59:59\+01:00",
        ),
        ("moment", pa.array(["2024-01-31Z"]), "has '2024-01-31Z'"),
        ("moment", pa.array(["9999-12-31T23:59:59-01:00"]), "has '9999-12-31T23:59:59-01:00'"),
        (
            "berlin",
            times([0, 1711852200], "s"),
            r"has .*\(2024, 3, 31, 2, 30\) in row 1 .* local time of Europe/Berlin",
        ),
        ("berlin", pa.array(["2024-10-27 02:30:00"]), "has '2024-10-27 02:30:00'"),
        ("berlin", pa.array(["2024-10-27 02:30:00+01:00"]), r"has '2024-10-27 02:30:00\+01:00'"),
        (
            "photo",
            pa.array(["text"]),
            "is string; the declaration of photo wants bytes.* If string is right, change the",
        ),
        (
            "due",
            pa.array([time(9)]),
            r"is time64\[us\]; .* No type of a column takes time64\[us\]\. Take due out of its",
        ),
        ("due", pa.array([{"a": 1}]), r"is struct<a: int64>; .* No type of a column takes struct<a: int64>\. Take due"),
        ("due", pa.array([[time(9)]]), r"is list<item: time64\[us\]>; .* No type of a column takes list<"),
        ("due", pa.array([["a"]]), r"is list<item: string>; .* If list<item: string> is right, change the type in"),
    ],
)
def test_what_would_not_stay_the_same_is_refused(column: str, values: Any, message: str) -> None:
    with pytest.raises(RefusedError, match=rf"things.parquet: the column '{column}' {message}"):
        conformed(column, values)


def test_a_refused_file_leaves_the_table_as_it_was(things: Things) -> None:
    things.declare(*COLUMNS)
    things.load(as_arrow(ROWS))

    with pytest.raises(RefusedError, match=r"'price' has Decimal\('1.505'\) in row 2"):
        things.load(pa.table({"id": range(3), "price": decimals(["1", "2", "1.505"], 10, 3)}))

    assert things.rows(NAMES) == ROWS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1;31.02.2024;;", "'due' has '31.02.2024' in row 0 .*expected a date such as 31.01.2024"),
        ("1;31.01.24;;", "'due' has '31.01.24'"),
        ("1;2024-01-31;;", "'due' has '2024-01-31'"),
        ("1;;1.50;", rf"'price' has '1.50' in row 0 .*{PRICE}, written as 1.234,5"),
        ("1;;1,505;", "'price' has '1,505'"),
        ("1;;;ja", "'paid' has 'ja' in row 0"),
    ],
)
def test_text_that_is_not_as_declared_is_refused(things: Things, line: str, message: str) -> None:
    things.declare(*TEXT, format=Csv(delimiter=";", decimal=",", thousands=".", dates="%d.%m.%Y"))

    with pytest.raises(RefusedError, match=message):
        things.load(f"id;due;price;paid\n{line}\n")


def test_a_form_of_dates_takes_no_time_of_day(things: Things) -> None:
    things.declare(*TEXT, format=Csv(dates="%d.%m.%Y %H:%M"))
    things.load("id,due\n1,31.01.2024 00:00\n")

    with pytest.raises(RefusedError, match=r"'due' has '31\.01\.2024 10:00' in row 0"):
        things.load("id,due\n1,31.01.2024 10:00\n")

    assert things.rows("due") == [{"due": date(2024, 1, 31)}]


def test_times_of_a_year_of_two_digits_are_refused(things: Things) -> None:
    things.declare(Column("id", "long"), Column("seen", "timestamp"), format=Csv(times="%d.%m.%Y %H:%M"))

    with pytest.raises(RefusedError, match=r"'seen' has '31\.01\.24 10:00' in row 0"):
        things.load("id,seen\n1,31.01.24 10:00\n")


@pytest.mark.parametrize("name", ["paid", "due", "price", "moment"])
def test_columns_of_these_types_can_be_a_key(things: Things, name: str) -> None:
    things.declare(*COLUMNS, key=(name,))
    good, bad = as_arrow(ROWS[:2]), as_arrow([ROWS[0], ROWS[1], ROWS[0]])
    things.load(good)

    with pytest.raises(RefusedError, match=f"more than one row has '{name}' = "):
        things.load(bad)
    with pytest.raises(RefusedError, match=f"'{name}' has no value in row 2"):
        things.load(as_arrow(ROWS))

    things.load(as_arrow([{**ROWS[0], "photo": b"new"}, ROWS[1]]))
    assert [row["photo"] for row in things.rows("id, photo")] == [b"new", b""]


def test_times_without_any_type_are_said_to_have_no_value() -> None:
    at = Column("at", "timestamp", role="time")
    dataset = Dataset(name="t", title="T", table="raw.t", files="t.parquet", parts=Whole(), columns=(at,))

    with pytest.raises(RefusedError, match=r"'at' has no value in any row; .* If that is right, remove the role of at"):
        plan(dataset, None, pa.schema([("at", pa.null())]), "t.parquet")


def test_never_empty_counts_values_of_these_types(things: Things) -> None:
    columns = [replace(column, required_since=BEGINNING, never_empty=True) for column in COLUMNS]
    things.declare(*columns)
    things.load(as_arrow(ROWS))

    with pytest.raises(RefusedError, match=r"'paid' has no value in any of its 3 rows, and .* remove `never_empty`"):
        things.load(as_arrow(ROWS[2:] * 3))


@pytest.mark.parametrize(
    ("column", "inside", "outside"),
    [
        (Column("on", "date", role="time"), [date(2024, 1, 5)], [date(2024, 1, 6)]),
        (
            Column("on", "timestamptz", role="time"),
            [datetime(2024, 1, 5, 23, 59, tzinfo=UTC)],
            [datetime(2024, 1, 6, 0, 1, tzinfo=UTC)],
        ),
        (
            Column("on", "timestamptz", role="time", zone="Asia/Tokyo"),
            [datetime(2024, 1, 4, 15, tzinfo=UTC)],
            [datetime(2024, 1, 5, 15, 1, tzinfo=UTC)],
        ),
    ],
    ids=["date", "utc", "tokyo"],
)
def test_rows_of_another_day_are_found(things: Things, column: Column, inside: list[Any], outside: list[Any]) -> None:
    day = Day(2024, 1, 5)
    dataset = things.declare(column, parts=Daily(since=day), files="things_{day}.parquet")
    things.load(pa.table({"on": inside}), day)

    with pytest.raises(RefusedError, match=r"'on' is outside 2024-01-05 in 2 of 3 rows, .* are of 2024-01-06"):
        things.load(pa.table({"on": inside + outside * 2}), day)

    assert part_facts(things.lake.engine, dataset, day)["strays"] == 0
    things.load(pa.table({"on": inside + inside + outside}), day)
    assert part_facts(things.lake.engine, dataset, day) == {"rows": 3, "keys": 3, "strays": 1, "nulls": 0}


def test_another_type_for_a_column_of_the_table_is_refused(things: Things) -> None:
    things.declare(*COLUMNS)
    things.load(as_arrow(ROWS))
    things.declare(replace(COLUMNS[0], type="decimal(6,0)"), *COLUMNS[1:])

    with pytest.raises(SettingsError, match=r"raw\.things: the column id is long in the table and decimal\(6, 0\)"):
        things.load(as_arrow(ROWS))

    assert things.rows(NAMES) == ROWS


def test_a_list_of_the_table_is_told_as_it_is_declared() -> None:
    field = NestedField(1, "tags", ListType(2, StringType(), element_required=False))

    assert _spelled(field) == "list(string)"


def test_a_type_may_be_corrected_until_rows_are_loaded(things: Things) -> None:
    """The refused first load leaves a table without rows. While the declaration is wrong, others load."""
    wrong = replace(COLUMNS[0], type="date")
    things.declare(wrong, *COLUMNS[1:])
    with pytest.raises(RefusedError, match=r"the column 'id' is int64; .* If int64 is right, change the type in "):
        things.load(as_arrow(ROWS))

    things.declare(*COLUMNS)
    things.load(as_arrow(ROWS))
    assert things.rows(NAMES) == ROWS
    assert things.lake.catalog.load_table("raw.things").schema().find_field("id").field_type == LongType()

    things.declare(wrong, *COLUMNS[1:])
    things.lake.load("green", "2024-01", things.lake.generate("green", "2024-01", 10))
    with pytest.raises(SettingsError, match=r"raw\.things: the column id is long in the table and date in the decl"):
        things.load(as_arrow(ROWS))


def test_a_first_load_meanwhile_keeps_its_types(things: Things) -> None:
    """The table gets its first rows after it was looked at, and before its columns are changed."""
    things.declare(*COLUMNS)
    tables.ensure_raw_tables(things.lake.catalog)
    empty = things.lake.catalog.load_table("raw.things")
    things.load(as_arrow(ROWS))
    things.declare(replace(COLUMNS[0], type="date"), *COLUMNS[1:])

    assert tables._evolve(empty, tables.raw_schema(DATASETS["things"])) == []

    things.declare(*COLUMNS)
    assert things.rows(NAMES) == ROWS


def test_columns_of_these_types_can_be_added_later(things: Things) -> None:
    things.declare(COLUMNS[0])
    things.load(as_arrow(ROWS).select(["id"]))
    things.declare(*COLUMNS)
    things.load(as_arrow(ROWS))

    assert things.rows(NAMES) == ROWS


def test_a_file_of_many_batches_is_audited_by_every_bit(things: Things) -> None:
    from lakehouse.iceberg.data_file import Totals

    names = ["price"]
    for column in COLUMNS:
        values = as_arrow(ROWS)[column.name].combine_chunks()
        one, other = Totals(names), Totals(names)
        one.add([values])
        for position in range(3):
            other.add([values.slice(position, 1)])
        swapped = Totals(names)
        swapped.add([values.take(pa.array([1, 0, 2]))])

        assert one.differences(other) == []
        assert one.differences(swapped) == ["price: values differ"], column.name


LISTS = (
    Column("id", "long"),
    Column("tags", "list(string)"),
    Column("scores", "list(decimal(6,2))"),
    Column("days", "list(date)"),
)
LISTED: list[dict[str, Any]] = [
    {"id": 1, "tags": ["a", None, ""], "scores": [Decimal("1.50"), Decimal("-2.25")], "days": [date(2024, 2, 29)]},
    {"id": 2, "tags": [], "scores": None, "days": [None]},
    {"id": 3, "tags": None, "scores": [], "days": None},
]


@pytest.mark.parametrize("form", [Parquet(), JsonLines()], ids=["parquet", "JSON lines"])
@pytest.mark.parametrize("key", [(), ("id",)], ids=["without a key", "with a key"])
def test_lists_are_loaded_exactly(things: Things, form: Parquet | JsonLines, key: tuple[str, ...]) -> None:
    things.declare(*LISTS, format=form, key=key)
    content: pa.Table | str = pa.Table.from_pylist(LISTED)
    if isinstance(form, JsonLines):
        content = "\n".join(json.dumps(row, default=str) for row in LISTED)

    assert things.load(content).rows == 3
    assert things.lake.rows("select id, tags, scores, days from raw.things order by id") == LISTED
    assert things.lake.rows("select unnest(tags) as tag from raw.things where id = 1 limit 1") == [{"tag": "a"}]
    assert (
        things.lake.catalog.load_table("raw.things")
        .scan()
        .to_arrow()
        .select(["id", "tags", "scores", "days"])
        .sort_by("id")
        .to_pylist()
        == LISTED
    )


def test_a_changed_list_is_a_changed_row(things: Things) -> None:
    things.declare(*LISTS, key=("id",))
    things.load(pa.Table.from_pylist(LISTED))

    done = things.load(pa.Table.from_pylist([{**LISTED[0], "tags": ["a", None]}, *LISTED[1:]]))

    assert done.merged is not None
    assert (done.merged.updated, done.merged.unchanged) == (1, 2)


def test_a_list_is_added_to_a_table_that_has_rows(things: Things) -> None:
    things.declare(*LISTS[:2])
    things.load(pa.Table.from_pylist(LISTED).select(["id", "tags"]))
    things.declare(*LISTS)

    things.load(pa.Table.from_pylist(LISTED))
    things.load(pa.Table.from_pylist(LISTED[:2]))  # its declaration is still that of the table

    assert things.lake.rows("select id, tags, scores, days from raw.things order by id") == LISTED[:2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"id": 1, "tags": ["a", 7, true]}\n{"id": 2, "tags": "b"}',
            r"'tags' has a single value in line 2; expected a list",
        ),
        ('{"id": 1, "tags": [["a"]]}', r"'tags' has a list with a list in it in line 1; expected a list of single"),
        ('{"id": 1, "tags": [{"a": 1}]}', r"'tags' has a list with an object in it in line 1; expected a list of"),
        ('{"id": 1, "tags": "a"}', r"in line 1; expected a list.* If it is no list, correct the column's type in"),
        (
            '{"id": 1, "scores": ["1.5", "1.505"]}',
            r"'scores' has \['1.5', '1.505'\] in line 1; expected a list, each value of it a number with at most 2",
        ),
        ('{"id": 1, "days": ["2024-02-30"]}', r"'days' has \['2024-02-30'\] in line 1; expected a list"),
    ],
)
def test_a_wrong_list_is_refused_by_its_line(things: Things, line: str, message: str) -> None:
    things.declare(*LISTS, format=JsonLines())

    with pytest.raises(RefusedError, match=message):
        things.load(line)


def test_a_number_in_a_list_that_is_too_large_is_refused_by_its_row(things: Things) -> None:
    things.declare(Column("sizes", "list(double)"))

    with pytest.raises(
        RefusedError, match=r"'sizes' has \[2.0, 1000000000.0\] in row 1 .*expected a list, each value of it"
    ):
        things.load(pa.table({"sizes": [[1.0], [2.0, 1e9]]}))


@pytest.mark.parametrize(
    ("column", "changes", "message"),
    [
        (Column("x", "list(list(long))"), {}, "has the type 'list\\(list\\(long\\)\\)'. Use one of"),
        (Column("x", "list()"), {}, "has the type 'list\\(\\)'. Use one of"),
        (Column("x", "list(long)"), {"key": ("x",)}, "Use columns of any type but double, binary or list"),
        (Column("x", "list(long)"), {"format": Csv()}, "'x' is a list, and the .* has none"),
    ],
)
def test_a_list_that_no_table_can_have_is_no_declaration(
    things: Things, column: Column, changes: dict[str, Any], message: str
) -> None:
    assert re.search(message, problem(things.declare(column, **changes)) or "")


def test_members_of_a_struct_in_parquet_are_columns_by_their_path(things: Things) -> None:
    things.declare(Column("id", "long"), Column("city", "string", (Name("customer.address.city"),)))
    customers = [{"address": {"city": "Rome"}}, {"address": None}, None]

    things.load(pa.table({"id": [1, 2, 3], "customer": customers}))

    assert things.lake.rows("select id, city from raw.things order by id") == [
        {"id": 1, "city": "Rome"},
        {"id": 2, "city": None},
        {"id": 3, "city": None},
    ]


def test_a_struct_in_place_of_a_declared_column_is_refused(things: Things) -> None:
    things.declare(Column("id", "long"), Column("city", "string"))

    with pytest.raises(RefusedError, match=r"'city' is struct<name: string>; .* wants text"):
        things.load(pa.table({"id": [1], "city": [{"name": "Rome"}]}))


def test_two_columns_of_one_name_in_parquet_are_refused(things: Things) -> None:
    things.declare(Column("id", "long"), Column("city", "string"))
    ids, cities = pa.array([1]), pa.array(["Rome"])

    with pytest.raises(RefusedError, match="'city' and 'city' are both names of the table's column city"):
        things.load(pa.Table.from_arrays([ids, cities, cities], names=["id", "city", "city"]))
    things.load(pa.Table.from_arrays([ids, cities, ids, ids], names=["id", "city", "other", "other"]))

    assert things.lake.rows("select id, city from raw.things") == [{"id": 1, "city": "Rome"}]


def test_rows_of_parquet_without_any_declared_column_are_null(things: Things) -> None:
    things.declare(Column("city", "string"))

    assert things.load(pa.table({"other": [1, 2, 3]})).rows == 3
    assert things.lake.rows("select city from raw.things") == [{"city": None}] * 3
