"""Odd files: the same trips under other types, names, orders and nulls, each with the one right answer.

A file is made from trips that are known (`Trips`: canonical column to Python values). So the right answer is known too:
these values exactly, or, where one fault was planted, a refusal that names it. Nothing here asks the code under test.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from lakehouse.datasets.months import Month
from lakehouse.synthetic.eras import published_fields

# Published times carry no zone: they are New York's clocks.
# ruff: noqa: DTZ001

Trips = dict[str, list[Any]]
Draw = Callable[[st.SearchStrategy[Any]], Any]

CANONICAL = {
    "vendor": "vendor_id",
    "pickup": "pickup_datetime",
    "dropoff": "dropoff_datetime",
    "passengers": "passenger_count",
    "distance": "trip_distance",
    "rate_code": "rate_code_id",
    "flag": "store_and_fwd_flag",
    "pickup_zone": "pu_location_id",
    "dropoff_zone": "do_location_id",
    "payment": "payment_type",
    "payment_name": "payment_type_name",
    "fare": "fare_amount",
    "tip": "tip_amount",
    "tolls": "tolls_amount",
    "improvement": "improvement_surcharge",
    "total": "total_amount",
    "congestion": "congestion_surcharge",
    "airport": "airport_fee",
    "cbd": "cbd_congestion_fee",
    "source": "request_source",
    # columns that were published without any value
    "Rate_Code": "rate_code_id",
    "store_and_forward": "store_and_fwd_flag",
}
TEXT = {"vendor_name", "payment_type_name", "store_and_fwd_flag", "request_source"}
TIMES = {"pickup_datetime", "dropoff_datetime"}
ZONES = {"pu_location_id", "do_location_id"}
WHOLE = {"vendor_id", "passenger_count", "rate_code_id", "payment_type", "trip_type"} | ZONES
# What a file of its era may not lack, by the eras: the columns that others may lack are the rest.
MAY_LACK = {"vendor_name", "payment_type_name", "ehail_fee", "request_source"}
# What a file may not leave without any value.
NEVER_EMPTY = TIMES | ZONES | {"trip_distance", "fare_amount", "total_amount"}
GARBAGE = ("abc", "1,5", "12 34", "--", "1.2.3", "0x1F", "true", "١٢")


@dataclass
class OddFile:
    """A file's table, how it is cut into row groups, and the answer: the trips, or a refusal that says `refusal`."""

    dataset: str
    month: Month
    table: pa.Table = field(repr=False)
    row_group_rows: int
    trips: Trips = field(repr=False)
    unknown: tuple[str, ...] = ()
    refusal: str | None = None
    story: list[str] = field(default_factory=list)


@dataclass
class _Column:
    """One column on its way into the file."""

    name: str
    canonical: str
    values: list[Any]
    array: Any = None


@st.composite
def odd_files(draw: Draw) -> OddFile:
    """Any era, any spelling; in half of the files one fault."""
    dataset, first = draw(st.sampled_from([("yellow", 2009), ("green", 2014)]))
    month = Month(draw(st.integers(first, 2026)), draw(st.integers(1, 12)))
    count = draw(st.integers(1, 12))
    chance = random.Random(draw(st.integers(0, 1 << 32)))  # noqa: S311 - data
    trips = _trips(chance, month, count)
    columns = [_Column(name, canonical, trips[canonical]) for name, canonical in published_names(dataset, month)]
    fault = draw(st.sampled_from([None, *FAULTS] if draw(st.booleans()) else [None]))
    story: list[str] = []
    refusal = FAULTS[fault](draw, columns, count) if fault else None
    if fault and refusal is None:
        fault = None  # this era has no column that could have it
    for column in columns:
        if column.array is None:
            column.array = _spelled(draw, column)
        if draw(st.integers(0, 9)) == 0:
            column.name = draw(st.sampled_from(_other_names(column.name)))
    unknown = [_Column(f"extra_{n}", "", []) for n in range(draw(st.integers(0, 2)))]
    for column in unknown:
        column.array = pa.array(draw(st.sampled_from([[1], ["x"], [None], [[1, 2]], [True]])) * count)
    shuffled = draw(st.permutations([*columns, *unknown])) if draw(st.booleans()) else [*columns, *unknown]
    story.append(f"fault: {fault}")
    story += [f"{column.name}: {column.array.type}" for column in shuffled]
    present = {column.canonical for column in columns}
    return OddFile(
        dataset=dataset,
        month=month,
        table=pa.table([c.array for c in shuffled], names=[c.name for c in shuffled]),
        row_group_rows=draw(st.sampled_from([1, 2, 5, 100])),
        trips={name: values if name in present else [None] * count for name, values in trips.items()},
        unknown=tuple(c.name for c in shuffled if not c.canonical and c.name != "__index_level_0__"),
        refusal=_naming(refusal, columns) if refusal else None,
        story=story,
    )


def _naming(refusal: str, columns: list[_Column]) -> str:
    """The refusal, with the name that the column has in this file in the place of `{canonical}`."""
    for column in columns:
        refusal = refusal.replace("{" + column.canonical + "}", re.escape(repr(column.name)))
    return refusal


def published_names(dataset: str, month: Month) -> list[tuple[str, str]]:
    """Published name and canonical name of the era's columns."""
    return [
        (name, CANONICAL.get(name, name) if what == "nothing" else CANONICAL.get(what, what))
        for what, name, _ in published_fields(dataset, month)
        if what != "index"
    ]


def _other_names(name: str) -> list[str]:
    """Names that mean the same: other case, underscores come and gone."""
    return [name.upper(), name.lower(), name.replace("_", ""), re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)]


def _trips(chance: random.Random, month: Month, count: int) -> Trips:
    """Plausible trips for every column that any era has; about one in six counts, codes and amounts is null."""
    start = datetime(month.year, month.month, 1)

    def moment() -> datetime:
        stray = chance.random() < 0.1
        base = datetime(chance.choice([2002, 2008, 2041]), 1, 1) if stray else start
        fraction = chance.choice([0, 0, 0, 500_000, 123_456])
        return base + timedelta(seconds=chance.randrange(28 * 86_400), microseconds=fraction)

    def sometimes(value: Any) -> Any:
        return None if chance.random() < 0.16 else value

    trips: Trips = {"pickup_datetime": [moment() for _ in range(count)]}
    trips["dropoff_datetime"] = [
        sometimes(p + timedelta(seconds=chance.randrange(10_000))) for p in trips["pickup_datetime"]
    ]
    # Codes as large as a column takes: 2**53 + 1 is the first that a double can't hold.
    large = chance.random() < 0.2
    for name in sorted(WHOLE - ZONES):
        largest = [2**31 - 1, 1 - 2**31] if name == "passenger_count" else [2**53 + 1, 2**62, -(2**40)]
        whole = [1, 2, 5, 0, 6] + (largest if large else [])
        trips[name] = [sometimes(chance.choice(whole)) for _ in range(count)]
    for name in sorted(ZONES):
        trips[name] = [chance.randrange(1, 266) for _ in range(count)]
    texts = {
        "vendor_name": ["CMT", "VTS", "DDS"],
        "payment_type_name": ["CASH", "Credit", "No Charge"],
        "store_and_fwd_flag": ["N", "Y", "*"],
        "request_source": ["app", "hail", "é"],
    }
    for name in sorted(TEXT):
        trips[name] = [sometimes(chance.choice(texts[name])) for _ in range(count)]
    amounts = {c for d in ("yellow", "green") for _, c in published_names(d, Month(2026, 12))} | {"mta_tax", "extra"}
    amounts |= {f"{end}_{axis}" for end in ("pickup", "dropoff") for axis in ("longitude", "latitude")}
    for name in sorted(amounts - TEXT - TIMES - WHOLE):
        trips[name] = [sometimes(_amount(chance)) for _ in range(count)]
    for name in sorted(NEVER_EMPTY):
        if all(value is None for value in trips[name]):
            trips[name][0] = trips["pickup_datetime"][0] if name in TIMES else 12.5
    return trips


def _amount(chance: random.Random) -> float:
    return chance.choice([0.0, round(chance.uniform(-900, 900), 2), float(chance.randrange(300)), 323_800.27, 0.1])


def _spelled(draw: Draw, column: _Column) -> pa.Array[Any]:
    """The column's values in one of the types that may stand for them, exactly."""
    ways = _ways(column)
    array: pa.Array[Any] = draw(st.sampled_from(ways))(column.values)
    plain = array.type in (pa.null(), pa.string_view()) or pa.types.is_decimal(array.type)
    if draw(st.integers(0, 5)) == 0 and not plain:
        array = array.dictionary_encode()
    return array


def _ways(column: _Column) -> list[Callable[[list[Any]], Any]]:
    known = [v for v in column.values if v is not None]
    if not known and column.canonical not in TIMES:
        return [lambda values: pa.nulls(len(values))]
    if column.canonical in TIMES:
        return _ways_of_times(known)
    if column.canonical in TEXT:
        return [_typed(pa.string()), _typed(pa.large_string()), _typed(pa.string_view())]
    if column.canonical in WHOLE:
        return _ways_of_whole(known)
    return _ways_of_amounts(known)


def _typed(kind: Any) -> Callable[[list[Any]], Any]:
    return lambda values: pa.array(values, kind)


def _with_nan(kind: str) -> Callable[[list[Any]], Any]:
    """As pandas writes nullable numbers."""
    return lambda values: pa.array(np.array([np.nan if v is None else v for v in values], kind))


def _text(form: Callable[[Any], str], empty: str | None) -> Callable[[list[Any]], Any]:
    return lambda values: pa.array([empty if v is None else form(v) for v in values], pa.string())


def _ways_of_whole(known: list[int]) -> list[Callable[[list[Any]], Any]]:
    low, high = min(known), max(known)
    ways = [_typed(pa.int64()), _text(str, None), _text(str, ""), _text(lambda v: f" {v} ", "  ")]
    ways.append(lambda values: pa.array([None if v is None else Decimal(v) for v in values], pa.decimal128(20, 0)))
    ways.append(lambda values: pa.array([None if v is None else Decimal(v) for v in values], pa.decimal128(24, 2)))
    if low >= -(2**31) and high < 2**31:
        ways += [_typed(pa.int32()), _typed(pa.float64()), _with_nan("f8"), _text(lambda v: f"{v}.0", None)]
    if low >= -128 and high < 128:
        ways += [_typed(pa.int8()), _with_nan("f4")]
    if low >= 0:
        ways += [_typed(pa.uint64())]
        ways += [_typed(pa.uint16())] if high < 2**16 else []
    # Some values with a fraction spelled out, some without, in one column.
    ways.append(_text(lambda v: f"{v}.0" if v % 2 else str(v), None))
    return ways


def _ways_of_amounts(known: list[float]) -> list[Callable[[list[Any]], Any]]:
    cents = all(round(v, 2) == v for v in known)
    ways = [_typed(pa.float64()), _with_nan("f8"), _text(repr, None), _text(lambda v: f" {v!r}", "")]
    if cents:
        ways.append(
            lambda values: pa.array([None if v is None else Decimal(f"{v:.2f}") for v in values], pa.decimal128(12, 2))
        )
    if all(v == int(v) for v in known):
        ways += [
            lambda values: pa.array([None if v is None else int(v) for v in values], pa.int64()),
            _text(lambda v: str(int(v)), None),
            _typed(pa.float32()),
        ]
    return ways


def _ways_of_times(known: list[datetime]) -> list[Callable[[list[Any]], Any]]:
    ways = [_typed(pa.timestamp("us")), _typed(pa.timestamp("ns")), _text(str, None), _text(datetime.isoformat, "")]
    if all(v.microsecond == 0 for v in known):
        ways += [_typed(pa.timestamp("s")), _text(lambda v: v.strftime("%Y-%m-%d %H:%M:%S"), None)]
    if all(v.microsecond % 1_000 == 0 for v in known):
        ways.append(_typed(pa.timestamp("ms")))
    return ways


def _some(draw: Draw, columns: list[_Column], among: set[str]) -> _Column | None:
    fitting = [c for c in columns if c.canonical in among]
    return draw(st.sampled_from(fitting)) if fitting else None


def _missing(draw: Draw, columns: list[_Column], count: int) -> str | None:
    del count
    column = _some(draw, columns, {c.canonical for c in columns} & (TIMES | {"fare_amount", "trip_distance"}))
    if column is None:
        return None
    columns.remove(column)
    return "(?i)" + re.escape(repr(column.name)) + " is missing"


def _twice(draw: Draw, columns: list[_Column], count: int) -> str | None:
    del count
    column = draw(st.sampled_from([c for c in columns if c.canonical in TIMES | {"fare_amount", "trip_distance"}]))
    columns.append(_Column(column.name + "_", column.canonical, column.values))
    return f"are both names of the table's column {column.canonical}"


def _wrong_type(draw: Draw, columns: list[_Column], count: int) -> str | None:
    column = _some(draw, columns, {c.canonical for c in columns} - TEXT)
    if column is None:
        return None
    kinds = [[True], [[1]], [{"a": 1}], [timedelta(1)]]
    if column.canonical not in TIMES:
        kinds += [[datetime(2024, 1, 1)], [datetime(2024, 1, 1).date()]]
    else:
        kinds += [[1.5], [20240101]]
    column.array = pa.array(draw(st.sampled_from(kinds)) * count)
    return "the column {" + column.canonical + "} is "


def _zoned_times(draw: Draw, columns: list[_Column], count: int) -> str | None:
    del count
    column = _some(draw, columns, TIMES)
    if column is None:
        return None
    column.array = pa.array(column.values, pa.timestamp("us", tz="America/New_York"))
    return "the column {" + column.canonical + "} is "


def _planted(column: _Column, row: int, value: Any, kind: Any) -> str:
    """Put one value of `kind` among the others; the refusal names column and row."""
    values = [None if v is None else (str(v) if pa.types.is_string(kind) else v) for v in column.values]
    values[row] = value
    column.array = pa.array(values, kind)
    return "the column {" + column.canonical + "} has .* in row " + str(row) + " "


def _garbage(draw: Draw, columns: list[_Column], count: int) -> str | None:
    column = _some(draw, columns, {c.canonical for c in columns} - TEXT)
    if column is None:
        return None
    return _planted(column, draw(st.integers(0, count - 1)), draw(st.sampled_from(GARBAGE)), pa.string())


def _fraction(draw: Draw, columns: list[_Column], count: int) -> str | None:
    column = _some(draw, columns, WHOLE)
    if column is None:
        return None
    row = draw(st.integers(0, count - 1))
    column.values = [None if v is None else v % 200 for v in column.values]
    if draw(st.booleans()):
        return _planted(column, row, "1.5", pa.string())
    return _planted(column, row, 1.5, pa.float64())


def _too_large(draw: Draw, columns: list[_Column], count: int) -> str | None:
    column = _some(draw, columns, {c.canonical for c in columns} - TEXT - TIMES)
    if column is None:
        return None
    row = draw(st.integers(0, count - 1))
    column.values = [None if v is None else v % 200 for v in column.values]
    if column.canonical in WHOLE:
        value, kind = draw(
            st.sampled_from(
                [(2**63, pa.uint64()), (1e300, pa.float64()), (np.inf, pa.float64()), ("9" * 30, pa.string())]
            )
        )
    else:
        value, kind = draw(
            st.sampled_from([(1e8, pa.float64()), (-np.inf, pa.float64()), (10**12, pa.int64()), ("inf", pa.string())])
        )
        if pa.types.is_integer(kind):
            column.values = [None if v is None else int(v) for v in column.values]
    return _planted(column, row, value, kind)


def _no_time(draw: Draw, columns: list[_Column], count: int) -> str | None:
    column = _some(draw, columns, TIMES)
    if column is None:
        return None
    row = draw(st.integers(0, count - 1))
    value = draw(
        st.sampled_from(
            ["2024-13-01 00:00:00", "yesterday", "2024-02-30 10:00:00", "01/02/2024 10:00", "2024-01-01 25:00:00"]
        )
    )
    return _planted(column, row, value, pa.string())


def _finer_than_microseconds(draw: Draw, columns: list[_Column], count: int) -> str | None:
    column = _some(draw, columns, TIMES)
    if column is None:
        return None
    row = draw(st.integers(0, count - 1))
    whole = pa.array(column.values, pa.timestamp("ns")).cast(pa.int64()).to_pylist()
    whole[row] = 1_700_000_000_000_000_001
    column.array = pa.array(whole, pa.int64()).cast(pa.timestamp("ns"))
    return "the column {" + column.canonical + "} has .* in row " + str(row) + " "


def _swapped(draw: Draw, columns: list[_Column], count: int) -> str | None:
    del draw
    by_name = {c.canonical: c for c in columns}
    pickup, dropoff = by_name["pickup_datetime"], by_name["dropoff_datetime"]
    both = [(p, d) for p, d in zip(pickup.values, dropoff.values, strict=True) if d is not None]
    if 2 * sum(p < d for p, d in both) <= len(both) or count != len(both):
        return None
    pickup.values, dropoff.values = dropoff.values, pickup.values
    return "look swapped"


def _no_zones(draw: Draw, columns: list[_Column], count: int) -> str | None:
    column = _some(draw, columns, ZONES)
    if column is None:
        return None
    column.values = [draw(st.sampled_from([0, -1, 266, 9_999])) for _ in range(count)]
    return "{" + column.canonical + "} is no taxi zone"


def _no_values(draw: Draw, columns: list[_Column], count: int) -> str | None:
    column = _some(draw, columns, NEVER_EMPTY)
    if column is None:
        return None
    column.values = [None] * count
    ways = [_typed(pa.timestamp("us"))] if column.canonical in TIMES else [_typed(pa.null()), _with_nan("f8")]
    column.array = draw(st.sampled_from([*ways, _text(str, None), _text(str, " ")]))(column.values)
    return "the column {" + column.canonical + "} has no value in any of its " + str(count) + " rows"


def _no_text(draw: Draw, columns: list[_Column], count: int) -> str | None:
    column = _some(draw, columns, {c.canonical for c in columns})
    if column is None:
        return None
    row = draw(st.integers(0, count - 1))
    content = [None if v is None else str(v).encode() for v in column.values]
    content[row] = draw(st.sampled_from([b"\xff", b"N\xc3", b"\xed\xa0\x80"]))
    array: Any = pa.array(content, pa.binary()).view(pa.string())
    if draw(st.booleans()):
        array = array.cast(pa.large_string())
    column.array = array.dictionary_encode() if draw(st.booleans()) else array
    return "the column {" + column.canonical + "} has b'.* in row " + str(row) + " "


FAULTS: dict[str, Callable[[Draw, list[_Column], int], str | None]] = {
    "missing": _missing,
    "twice": _twice,
    "wrong type": _wrong_type,
    "zoned times": _zoned_times,
    "garbage": _garbage,
    "fraction": _fraction,
    "too large": _too_large,
    "no time": _no_time,
    "finer than microseconds": _finer_than_microseconds,
    "swapped": _swapped,
    "no zones": _no_zones,
    "no values": _no_values,
    "no text": _no_text,
}
