"""Random values of each type, written to parquet and to CSV: loaded, every reader gives them back as they were."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.lake import Lake
from tests.property.profiles import settings_of

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv, Parquet
from lakehouse.datasets.model import BEGINNING, Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import RefusedError
from lakehouse.loading.conform import Conformer, plan
from lakehouse.loading.load import load

BERLIN = ZoneInfo("Europe/Berlin")
COLUMNS = (
    Column("id", "long", required_since=BEGINNING),
    Column("flag", "boolean"),
    Column("day", "date"),
    Column("amount", "decimal(12,2)"),
    Column("wide", "decimal(38,19)"),
    Column("moment", "timestamptz"),
    Column("clock", "timestamptz", zone="Europe/Berlin"),
    Column("data", "binary"),
)
FORM = Csv(delimiter=";", decimal=",", thousands=".", dates="%d.%m.%Y")
TYPES: dict[str, Any] = {
    "id": pa.int64(),
    "flag": pa.bool_(),
    "day": pa.date32(),
    "amount": pa.decimal128(12, 2),
    "wide": pa.decimal128(38, 19),
    "moment": pa.timestamp("us", "UTC"),
    "clock": pa.timestamp("us"),
    "data": pa.binary(),
}
Row = dict[str, Any]


def is_unique(local: datetime) -> bool:
    """Whether the clocks of Berlin show this time once."""
    there = [local.replace(tzinfo=BERLIN, fold=fold) for fold in (0, 1)]
    return there[0].utcoffset() == there[1].utcoffset() and there[0].astimezone(UTC).astimezone(BERLIN) == there[0]


def shifted(digits: int, places: int) -> Decimal:
    """A decimal with these digits, so many of them behind the point. Python's own arithmetic would round it."""
    return Decimal(f"{digits}e-{places}")


LOCAL = st.datetimes(datetime(1900, 1, 1), datetime(2037, 12, 31)).filter(is_unique)  # noqa: DTZ001 - local times
ROW = st.fixed_dictionaries(
    {
        "flag": st.none() | st.booleans(),
        "day": st.none() | st.dates(date(1000, 1, 1)),
        "amount": st.none() | st.decimals(Decimal("-9999999999.99"), Decimal("9999999999.99"), places=2),
        "wide": st.none() | st.integers(1 - 10**38, 10**38 - 1).map(lambda digits: shifted(digits, 19)),
        "moment": st.none() | st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
        "clock": st.none() | LOCAL,
        "data": st.none() | st.binary(max_size=40),
    }
)
ROWS = st.lists(ROW, min_size=1, max_size=25).map(lambda rows: [{"id": i, **row} for i, row in enumerate(rows)])


def german(number: Decimal | None) -> str:
    """A number with a decimal comma and points between thousands."""
    return "" if number is None else f"{number:,f}".translate(str.maketrans(",.", ".,"))


def as_text(rows: list[Row], offset: timedelta) -> str:
    """The rows as a CSV file of `FORM`, moments with this offset."""
    lines = ["id;flag;day;amount;wide;moment;clock"]
    for row in rows:
        moment = row["moment"] and row["moment"].astimezone(timezone(offset))
        values = (
            str(row["id"]),
            {True: "TRUE", False: "no", None: ""}[row["flag"]],
            row["day"] and f"{row['day']:%d.%m.%Y}",
            german(row["amount"]),
            german(row["wide"]),
            moment and moment.isoformat(" "),
            row["clock"] and row["clock"].isoformat(),
        )
        lines.append(";".join(value or "" for value in values))
    return "\n".join(lines) + "\n"


def as_read(row: Row) -> Row:
    """What a reader of the table gets: clocks as moments."""
    return row | {"clock": row["clock"] and row["clock"].replace(tzinfo=BERLIN).astimezone(UTC)}


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[Column, ...], Parquet | Csv], None]:
    """Declare the dataset for the time of a test."""

    def declared(columns: tuple[Column, ...], form: Parquet | Csv) -> None:
        things = Dataset("things", "Things", "raw.things", f"things.{form.suffix}", Whole(), columns, format=form)
        monkeypatch.setitem(DATASETS, "things", things)

    return declared


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_random_values_come_back_as_they_were(
    tmp_path: Path, kind: str, declare: Callable[[tuple[Column, ...], Parquet | Csv], None], lake: Lake
) -> None:
    columns = COLUMNS if kind == "parquet" else COLUMNS[:-1]
    declare(columns, Parquet() if kind == "parquet" else FORM)
    names = [column.name for column in columns]
    numbers, file = count(), DatasetFile("things")

    @given(rows=ROWS, offset=st.integers(-12 * 60, 14 * 60))
    @settings(parent=settings_of(examples=5, long=(500, 50)), phases=(Phase.explicit, Phase.generate))
    def loads(rows: list[Row], offset: int) -> None:
        path = tmp_path / f"{next(numbers)}"
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist(rows, pa.schema(TYPES)), path)
        else:
            path.write_text(as_text(rows, timedelta(minutes=offset)), encoding="utf-8")
        lake.landing.put(file, path, "test")

        load(lake.catalog, lake.landing, file, again=True, allow_shrink=True)

        expected = [{name: as_read(row)[name] for name in names} for row in rows]
        assert lake.rows(f"select {', '.join(names)} from raw.things order by id") == expected
        scanned = lake.table("raw.things").scan(selected_fields=tuple(names)).to_arrow().sort_by("id")
        assert scanned.to_pylist() == expected

    loads()


NUMBERS = st.one_of(
    st.integers(-(10**39), 10**39).map(Decimal),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).filter(lambda number: -(10**38) < number < 10**38),
    st.integers(-(10**12), 10**12).map(lambda digits: shifted(digits, 3)),
)


@given(
    number=NUMBERS,
    digits=st.integers(1, 38).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p))),
    kind=st.sampled_from(["text", "decimal", "float"]),
)
@settings_of(examples=250, long=(20_000, 50))
def test_a_decimal_is_exact_or_refused(number: Decimal, digits: tuple[int, int], kind: str) -> None:
    precision, behind = digits
    value: Any = f"{number:f}" if kind == "text" else number
    if kind == "float":
        number = Decimal(repr(value := float(number)))
    elif kind == "decimal" and len(number.as_tuple().digits) > 38:
        return  # no such column in a file
    column = Column("n", f"decimal({precision},{behind})")
    things = Dataset("things", "Things", "raw.things", "things.parquet", Whole(), (column,))
    batch = pa.RecordBatch.from_arrays([pa.array([None, value])], names=["n"])
    conformer = Conformer(things, None, plan(things, None, batch.schema, "odd.parquet"), "odd.parquet")
    scaled = Fraction(number) * 10**behind
    fits = scaled.denominator == 1 and abs(scaled) < 10**precision

    if fits:
        assert conformer.conform(batch)[0].to_pylist() == [None, number]
    else:
        with pytest.raises(RefusedError, match=r"the column 'n' has .* in row 1 .* digits behind the point"):
            conformer.conform(batch)
