"""Synthetic months, for every era: for tests, benchmarks, and the demo where the publisher can't be reached.

A generated file looks like a published one (names, types, order, shapes, dirt) and says that it is none: its parquet
metadata holds `lakehouse.synthetic = true`. The same arguments give the same rows.
"""

from __future__ import annotations

import csv
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakehouse.tlc.eras import Field, published_fields
from lakehouse.tlc.months import Month

SYNTHETIC_KEY = "lakehouse.synthetic"
BATCH = 1 << 17
ROW_GROUP = 1 << 20

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# Trips by hour of the day, and by day of the week from Monday on, relative to one another.
_HOURS = np.array([3, 2, 1.4, 1, 0.8, 1, 2, 3.6, 4.6, 4.4, 4.3, 4.6, 5, 5.1, 5.4, 5.6, 5.7, 6.3, 6.9, 6.2, 5.6, 5.5, 5.1, 4.2])
_DAYS = np.array([0.9, 0.98, 1.02, 1.05, 1.07, 1.08, 0.9])
_AIRPORTS = (132, 138)
_PAYMENT_NAMES = {2009: ("CASH", "Credit", "No Charge", "Dispute", "Cash"), 2010: ("CSH", "CRD", "NOC", "DIS", "CAS")}
_MICROSECONDS = 1_000_000


def write_month(
    path: Path,
    dataset: str,
    month: Month,
    rows: int,
    *,
    seed: int = 0,
    dirt: bool = True,
    strays: bool = True,
    row_group_rows: int | None = None,
) -> Path:
    """Write a synthetic month of `rows` rows to `path`, in the columns and types published for that month.

    Args:
        path: where the parquet file goes.
        dataset: `yellow` or `green`.
        month: any month since the dataset's first.
        rows: how many, strays and reversals included.
        seed: another seed gives other rows.
        dirt: negative reversals, absurd distances, endless trips, zones unknown. Without it (and without strays) silver
            accepts every row; the block of rows whose counts are null is there either way, as it is in real files.
        strays: a few rows whose pickup lies outside the month, as every real file has them.
        row_group_rows: rows in one row group, 1,048,576 unless said. Memory grows with it, not with `rows`.

    Returns:
        `path`.
    """
    fields = published_fields(dataset, month)
    schema = pa.schema(
        [pa.field(name, type_) for _, name, type_ in fields],
        metadata={SYNTHETIC_KEY: "true", "lakehouse.seed": str(seed)},
    )
    group = max(1, row_group_rows or ROW_GROUP)
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        waiting: list[pa.RecordBatch] = []
        count = 0
        for batch in _batches(_Plan(dataset, month, rows, seed, dirt, strays), fields, schema):
            waiting.append(batch)
            count += batch.num_rows
            while count >= group:
                table = pa.Table.from_batches(waiting, schema)
                writer.write_table(table.slice(0, group), row_group_size=group)
                waiting = table.slice(group).to_batches()
                count -= group
        if count:
            writer.write_table(pa.Table.from_batches(waiting, schema), row_group_size=group)
    return path


def is_synthetic(path: Path) -> bool:
    """Whether a parquet file (or a zone lookup) says of itself that it was generated."""
    if path.suffix == ".csv":
        return "Generated zone" in path.read_text("utf-8", errors="replace")[:4096]
    with pq.ParquetFile(path) as file:
        return (file.metadata.metadata or {}).get(SYNTHETIC_KEY.encode()) == b"true"


def write_zones(path: Path) -> Path:
    """Write a synthetic zone lookup of 265 rows, in the shape of the published one; its zones are called `Generated …`."""
    boroughs = ("Manhattan", "Brooklyn", "Queens", "Bronx", "Staten Island")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        writer.writerow(("LocationID", "Borough", "Zone", "service_zone"))
        for zone in range(1, 264):
            borough = boroughs[zone % len(boroughs)]
            service = "Airports" if zone in _AIRPORTS else "Yellow Zone" if borough == "Manhattan" else "Boro Zone"
            writer.writerow((zone, borough, f"Generated zone {zone}", service))
        writer.writerow((264, "Unknown", "N/A", "N/A"))
        writer.writerow((265, "N/A", "Outside of NYC", "N/A"))
    return path


@dataclass(frozen=True)
class _Plan:
    """What one file is to hold."""

    dataset: str
    month: Month
    rows: int
    seed: int
    dirt: bool
    strays: bool

    @property
    def start(self) -> int:
        """The month's first moment, in seconds."""
        return int(np.datetime64(self.month.first_day, "s").astype(np.int64))

    @property
    def days(self) -> int:
        return monthrange(self.month.year, self.month.month)[1]

    def hours(self) -> Floats:
        """The share of trips that begin before each hour of the month: 0 to 1."""
        weekday = self.month.first_day.weekday()
        weights = np.concatenate([_HOURS * _DAYS[(weekday + day) % 7] for day in range(self.days)])
        return np.concatenate([[0.0], np.cumsum(weights / weights.sum())])

    def random(self, part: int) -> np.random.Generator:
        """Its own stream for each part, so that no part depends on how many others there are."""
        kind = sum(self.dataset.encode())
        return np.random.default_rng([self.seed, kind, self.month.year, self.month.month, part])

    def null_share(self) -> float:
        """The share of rows whose counts are null: 4 to 12 of 100."""
        return float(self.random(1 << 30).uniform(0.04, 0.12))


def _batches(plan: _Plan, fields: tuple[Field, ...], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    hours, zones = plan.hours(), _zone_shares()
    for part, first in enumerate(range(0, plan.rows, BATCH)):
        count = min(BATCH, plan.rows - first)
        values, null_block = _trips(plan, part, first, count, hours, zones)
        columns = [_column(what, type_, values, null_block, plan.month) for what, _, type_ in fields]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _zone_shares() -> Floats:
    """How often each zone is a trip's end, summed up: few zones have most trips. The same for every file."""
    weights = np.random.default_rng(265).lognormal(0.0, 1.3, 263)
    return np.concatenate([[0.0], np.cumsum(weights / weights.sum())])


def _trips(
    plan: _Plan, part: int, first: int, count: int, hours: Floats, zones: Floats
) -> tuple[dict[str, Array], Mask]:
    """The values of `count` trips from row `first` on, by what they are, and which rows lie in the null block."""
    random, month = plan.random(part), plan.month
    # Files run roughly along time: a row's place gives its moment, give or take a few hours.
    place = (np.arange(first, first + count) + 0.5) / max(plan.rows, 1) + random.normal(0.0, 0.004, count)
    hour = np.interp(np.clip(np.abs(place), 0.0, 2.0 - np.abs(place)), hours, np.arange(hours.size))
    pickup = np.minimum((hour * 3600).astype(np.int64), plan.days * 86_400 - 1)
    hour_of_day = pickup // 3600 % 24

    distance = np.round(random.lognormal(0.62 if plan.dataset == "yellow" else 0.75, 0.85, count).clip(0.05, 60.0), 2)
    speed = random.normal(12.5, 2.5, count).clip(4.0, 35.0) + np.sqrt(distance) * 2.0
    duration = (distance / speed * 3600 + random.integers(30, 240, count)).astype(np.int64)
    from_zone = np.searchsorted(zones, random.random(count), side="right").clip(1, 263).astype(np.int64)
    to_zone = np.searchsorted(zones, random.random(count), side="right").clip(1, 263).astype(np.int64)
    airport = np.isin(from_zone, _AIRPORTS)
    card = random.random(count) < 0.72
    other = random.random(count)
    payment = np.where(card, 1, np.where(other < 0.93, 2, np.where(other < 0.97, 3, 4))).astype(np.int64)
    rate_code = np.where(airport & (random.random(count) < 0.5), 2, 1).astype(np.int64)
    null_block = random.random(count) < plan.null_share()

    base, mile = (3.0, 2.8) if month >= Month(2023, 1) else (2.5, 2.5)
    fare = np.round((base + mile * distance + duration / 60 * 0.25) * 10) / 10
    rush = (hour_of_day >= 16) & (hour_of_day < 20)
    night = (hour_of_day >= 20) | (hour_of_day < 6)
    extra = np.where(rush, 2.5 if month >= Month(2023, 1) else 1.0, np.where(night, 1.0 if month >= Month(2023, 1) else 0.5, 0.0))
    amounts: dict[str, Floats] = {
        "fare": fare,
        "extra": extra,
        "mta_tax": np.full(count, 0.5),
        "tolls": np.where(airport & (random.random(count) < 0.4), 6.94, 0.0),
        "improvement": np.full(count, _improvement(month)),
        "congestion": np.where((from_zone % 3 != 0) & (month >= Month(2019, 2)), 2.5 if plan.dataset == "yellow" else 2.75, 0.0),
        "airport": np.where(airport & (month >= Month(2020, 11)), 1.75 if month >= Month(2023, 4) else 1.25, 0.0),
        "cbd": np.where((from_zone % 3 == 1) & (plan.start + pickup >= _CBD_START), 0.75, 0.0),
    }
    amounts["tip"] = np.where(card, np.round(fare * random.choice([0.0, 0.15, 0.2, 0.25], count), 2), 0.0)
    present = {what for what, _, type_ in published_fields(plan.dataset, month) if type_ != pa.null()}
    amounts["total"] = np.round(sum((amounts[name] for name in amounts if name in present), np.zeros(count)), 2)

    sign = np.ones(count)
    if plan.dirt:
        distance, duration, from_zone, sign, source = _dirt(random, count, distance, duration, from_zone)
        pickup, to_zone, payment, rate_code, null_block = (a[source] for a in (pickup, to_zone, payment, rate_code, null_block))
        distance, duration, from_zone = distance[source], duration[source], from_zone[source]
        amounts = {name: value[source] * sign for name, value in amounts.items()}
    moment = plan.start + pickup
    if plan.strays:
        moment = _strays(random, plan, first, moment)

    values: dict[str, Array] = {
        "pickup": moment * _MICROSECONDS,
        "dropoff": (moment + duration) * _MICROSECONDS,
        "distance": distance,
        "pickup_zone": from_zone,
        "dropoff_zone": to_zone,
        "payment": payment,
        "rate_code": rate_code,
        "vendor": random.choice(np.array([1, 2, 2, 2]), count),
        "passengers": random.choice(np.array([1, 1, 1, 1, 1, 2, 2, 3, 4, 5, 6]), count),
        "flag": (random.random(count) < 0.005).astype(np.int64),
        "trip_type": np.where(random.random(count) < 0.04, 2, 1),
        "source": (random.random(count) < 0.3).astype(np.int64),
        "index": np.arange(first, first + count),
        **{f"{end}_{axis}": np.round(random.normal(middle, 0.03, count), 6)
           for end in ("pickup", "dropoff") for axis, middle in (("longitude", -73.98), ("latitude", 40.75))},
        **amounts,
    }
    return values, null_block


_CBD_START = int(np.datetime64("2025-01-05", "s").astype(np.int64))


def _improvement(month: Month) -> float:
    return 0.0 if month < Month(2015, 1) else 0.3 if month < Month(2023, 1) else 1.0


def _dirt(
    random: np.random.Generator, count: int, distance: Floats, duration: Whole, zone: Whole
) -> tuple[Floats, Whole, Whole, Floats, Whole]:
    """Spoil a few rows as real files are spoiled. Also the sign of each row's amounts, and which row each row repeats."""
    fate = random.random(count)
    distance = np.where(fate < 0.04, 0.0, distance)
    distance = np.where((fate > 0.9996), np.round(random.uniform(20_000, 330_000, count), 2), distance)
    duration = np.where((fate > 0.993) & (fate < 0.996), random.integers(43_260, 86_399, count), duration)
    duration = np.where((fate > 0.9925) & (fate < 0.9929), -random.integers(1, 60, count), duration)
    zone = np.where((fate > 0.985) & (fate < 0.99), random.choice(np.array([264, 265]), count), zone)
    # A reversal follows the trip that it takes back: same vendor, time and zones, every amount negative.
    rows = np.arange(count)
    reversal = (random.random(count) < 0.003) & (rows > 0)
    reversal[1:] &= ~reversal[:-1]
    return distance, duration, zone, np.where(reversal, -1.0, 1.0), np.where(reversal, rows - 1, rows)


def _strays(random: np.random.Generator, plan: _Plan, first: int, moment: Whole) -> Whole:
    """Move a few pickups out of the month: clocks that were reset, and the last minutes of the neighbours."""
    moment = moment.copy()
    if first == 0 and moment.size:
        end = plan.start + plan.days * 86_400
        reset = [int(np.datetime64(day, "s").astype(np.int64)) for day in ("2002-12-31", "2008-12-31", "2009-01-01")]
        wanted = min(moment.size, 2 + min(plan.rows // 5_000, 40))
        places = random.choice(moment.size, wanted, replace=False)
        near = np.concatenate([plan.start - random.integers(60, 900, wanted), end + random.integers(0, 900, wanted)])
        moment[places] = random.choice(near, wanted)
        moment[places[: min(wanted, len(reset))]] = np.array(reset[: min(wanted, len(reset))]) + 3_600
    return moment


_NULL_BLOCK = {"passengers", "rate_code", "flag", "congestion", "airport"}


def _column(what: str, type_: pa.DataType, values: dict[str, Array], null_block: Mask, month: Month) -> pa.Array:
    """One column as the era types it."""
    count = null_block.size
    if pa.types.is_null(type_) or what == "nothing":
        return pa.nulls(count, type_)
    modern = month >= Month(2011, 1)
    if what in ("vendor_name", "payment_name"):
        names = ("VTS", "CMT", "DDS") if what == "vendor_name" else _PAYMENT_NAMES[month.year]
        codes = values["vendor"] % 2 if what == "vendor_name" else 2 - values["payment"].clip(1, 2)
        # Codes: payment 1 is a card, which the text eras list second.
        order = codes if what == "vendor_name" else np.where(values["payment"] == 1, 1, np.where(values["payment"] == 2, 0, values["payment"] - 1))
        return pa.array(names, type_).take(pa.array(order))
    if what in ("flag", "source"):
        names = ("N", "Y") if what == "flag" else ("hail", "app")
        mask = null_block & modern if what == "flag" else None
        return pa.array(names, type_).take(pa.array(values[what], pa.int64(), mask=mask))
    if what in ("pickup", "dropoff"):
        moments = pa.array(values[what].astype("datetime64[us]"))
        return moments if type_ == pa.timestamp("us") else pc.strftime(moments.cast(pa.timestamp("s")), "%Y-%m-%d %H:%M:%S").cast(type_)
    green_only = {"payment", "trip_type"} if pa.types.is_floating(type_) else set()
    mask = null_block if modern and what in _NULL_BLOCK | green_only else None
    return pa.array(values[what], mask=mask).cast(type_)
