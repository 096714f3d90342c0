"""The rows of a synthetic month: plausible trips, and the dirt that real files carry."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.datasets.months import Month
from lakehouse.synthetic.eras import Field

BATCH = 1 << 17
AIRPORTS = (132, 138)

Trips = dict[str, npt.NDArray]  # type: ignore[type-arg]

# Trips by hour of the day, and by day of the week from Monday on, relative to one another.
_HOURS = np.array(
    [3, 2, 1.4, 1, 0.8, 1, 2, 3.6, 4.6, 4.4, 4.3, 4.6, 5, 5.1, 5.4, 5.6, 5.7, 6.3, 6.9, 6.2, 5.6, 5.5, 5.1, 4.2]
)
_DAYS = np.array([0.9, 0.98, 1.02, 1.05, 1.07, 1.08, 0.9])
_AMOUNTS = ("fare", "extra", "mta_tax", "tip", "tolls", "improvement", "congestion", "airport", "cbd")
_NULL_BLOCK = {"passengers", "rate_code", "flag", "congestion", "airport"}
_NULL_BLOCK_GREEN = _NULL_BLOCK | {"payment", "trip_type"}
_NAMES = {
    "vendor_name": ("DDS", "CMT", "VTS"),
    "payment_name": ("CRD", "CSH", "NOC", "DIS"),
    "source": ("hail", "app"),
    "flag": ("N", "Y"),
}
_PAYMENTS_2009 = ("Credit", "CASH", "No Charge", "Dispute")
_TEXT_CODES = Month(2010, 12)


@dataclass(frozen=True)
class MonthPlan:
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
        return _seconds(self.month.first_day)

    @property
    def seconds(self) -> int:
        """How long the month is."""
        return monthrange(self.month.year, self.month.month)[1] * 86_400

    @property
    def charged(self) -> dict[str, bool]:
        """Which amounts exist in this month: only they are part of the total."""
        month, yellow = self.month, self.dataset == "yellow"
        since = {
            "improvement": Month(2015, 1),
            "congestion": Month(2019, 2),
            "airport": Month(2020, 11),
            "cbd": Month(2025, 1),
        }
        charged = {name: since.get(name, month) <= month for name in _AMOUNTS}
        return charged | {"airport": charged["airport"] and yellow, "mta_tax": month >= Month(2010, 1)}

    @cached_property
    def hours(self) -> npt.NDArray[np.float64]:
        """The share of the month's trips that begin before each of its hours: 0 to 1."""
        weekday, days = self.month.first_day.weekday(), self.seconds // 86_400
        weights = np.concatenate([_HOURS * _DAYS[(weekday + day) % 7] for day in range(days)])
        return np.concatenate([[0.0], np.cumsum(weights / weights.sum())])

    def random(self, part: int) -> np.random.Generator:
        """Its own stream for each part, so that no part depends on how many others there are."""
        return np.random.default_rng([self.seed, sum(self.dataset.encode()), self.month.year, self.month.month, part])


def batches(plan: MonthPlan, fields: Sequence[Field], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The month's rows, a bounded batch at a time."""
    null_share = plan.random(1 << 30).uniform(0.04, 0.12)
    for part, first in enumerate(range(0, plan.rows, BATCH)):
        random, count = plan.random(part), min(BATCH, plan.rows - first)
        trips = _trips(plan, random, first, count)
        if plan.dirt:
            _spoil(random, trips)
        if plan.strays and first == 0:
            _stray(random, plan, trips)
        null_block = random.random(count) < null_share
        columns = [_column(what, type_, trips, null_block, plan) for what, _, type_ in fields]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _seconds(day: date) -> int:
    return int(np.datetime64(day, "s").astype(np.int64))


@cache
def _zones() -> npt.NDArray[np.float64]:
    """The share of trips at zones up to each: few zones have most of them. The same for every file."""
    weights = np.random.default_rng(265).lognormal(0.0, 1.3, 263)
    return np.cumsum(weights / weights.sum())


def _trips(plan: MonthPlan, random: np.random.Generator, first: int, count: int) -> Trips:
    """`count` clean trips from row `first` on, by what they are. Pickup in seconds; `duration` is not published."""
    # Files run roughly along time: a row's place gives its moment, give or take a few hours.
    place = np.abs((np.arange(first, first + count) + 0.5) / plan.rows + random.normal(0.0, 0.004, count))
    hour = np.interp(np.minimum(place, 2.0 - place), plan.hours, np.arange(plan.hours.size))
    pickup = np.minimum((hour * 3600).astype(np.int64), plan.seconds - 1)
    of_day = pickup // 3600 % 24
    from_zone, to_zone = (np.searchsorted(_zones(), random.random(count)).clip(0, 262) + 1 for _ in "ab")
    airport = np.isin(from_zone, AIRPORTS)
    distance = np.round(random.lognormal(0.65, 0.85, count).clip(0.05, 60.0), 2)
    speed = random.normal(12.5, 2.5, count).clip(4.0, 35.0) + np.sqrt(distance) * 2.0
    duration = (distance / speed * 3600).astype(np.int64) + random.integers(30, 240, count)
    other = random.random(count)
    payment = np.where(other < 0.72, 1, np.where(other < 0.98, 2, np.where(other < 0.99, 3, 4)))

    raised = plan.month >= Month(2023, 1)
    fare = np.round(((3.0 + 2.8 * distance) if raised else (2.5 + 2.5 * distance)) + duration / 240, 1)
    rush, night = (of_day >= 16) & (of_day < 20), (of_day >= 20) | (of_day < 6)
    cbd = (from_zone % 3 == 1) & (plan.start + pickup >= _seconds(date(2025, 1, 5)))
    amounts = {
        "fare": fare,
        "extra": np.select([rush, night], [2.5, 1.0] if raised else [1.0, 0.5], 0.0),
        "mta_tax": np.full(count, 0.5),
        "tip": np.where(payment == 1, np.round(fare * random.choice([0.0, 0.15, 0.2, 0.25], count), 2), 0.0),
        "tolls": np.where(airport & (random.random(count) < 0.4), 6.94, 0.0),
        "improvement": np.full(count, 1.0 if raised else 0.3),
        "congestion": np.where(from_zone % 3 != 0, 2.5 if plan.dataset == "yellow" else 2.75, 0.0),
        "airport": np.where(airport, 1.75 if plan.month >= Month(2023, 4) else 1.25, 0.0),
        "cbd": np.where(cbd, 0.75, 0.0),
    }
    amounts = {name: value if plan.charged[name] else np.zeros(count) for name, value in amounts.items()}
    places = {"longitude": -73.98, "latitude": 40.75}
    coordinates = {
        f"{end}_{axis}": np.round(random.normal(middle, 0.03, count), 6)
        for end in ("pickup", "dropoff")
        for axis, middle in places.items()
        if plan.month <= _TEXT_CODES
    }
    return {
        "pickup": plan.start + pickup,
        "duration": duration,
        "distance": distance,
        "pickup_zone": from_zone,
        "dropoff_zone": to_zone,
        "payment": payment,
        "rate_code": np.where(airport & (random.random(count) < 0.5), 2, 1),
        "vendor": random.choice([1, 2, 2, 2], count),
        "passengers": random.choice([1, 1, 1, 1, 1, 2, 2, 3, 4, 5, 6], count),
        "flag": (random.random(count) < 0.005).astype(np.int64),
        "trip_type": np.where(random.random(count) < 0.04, 2, 1),
        "source": (random.random(count) < 0.3).astype(np.int64),
        "index": np.arange(first, first + count),
        **amounts,
        "total": np.round(np.sum(list(amounts.values()), axis=0), 2),
        **coordinates,
    }


def _spoil(random: np.random.Generator, trips: Trips) -> None:
    """Spoil a few rows as real files are spoiled, in place."""
    count = trips["pickup"].size
    # A reversal follows the trip it takes back: same vendor, times and zones, every amount negative.
    reversal = random.random(count) < 0.003
    reversal[:1] = False
    reversal[1:] &= ~reversal[:-1]
    (taken_back,) = np.nonzero(reversal)
    for what, values in trips.items():
        if what != "index":
            negated = what in _AMOUNTS or what == "total"
            # Plus nothing: minus zero would be another value to a reader that compares bits.
            values[taken_back] = -values[taken_back - 1] + 0.0 if negated else values[taken_back - 1]

    fate = random.random(count)
    for low, high, what, spoiled in (
        (0.00, 0.04, "distance", np.zeros(count)),
        (0.9996, 1.0, "distance", np.round(random.uniform(20_000, 330_000, count), 2)),
        (0.993, 0.996, "duration", random.integers(43_260, 86_399, count)),
        (0.9925, 0.9929, "duration", -random.integers(1, 60, count)),
        (0.985, 0.99, "pickup_zone", random.choice([264, 265], count)),
    ):
        (rows,) = np.nonzero((fate >= low) & (fate < high))
        trips[what][rows] = spoiled[rows]


def _stray(random: np.random.Generator, plan: MonthPlan, trips: Trips) -> None:
    """Move a few pickups out of the month: clocks that were reset, and the last minutes of the neighbours."""
    pickup = trips["pickup"]
    wanted = min(pickup.size, 2 + min(plan.rows // 5_000, 40))
    rows = random.choice(pickup.size, wanted, replace=False)
    before, after = (
        plan.start - random.integers(60, 900, wanted),
        plan.start + plan.seconds + random.integers(0, 900, wanted),
    )
    pickup[rows] = np.where(random.random(wanted) < 0.5, before, after)
    resets = [_seconds(day) + 3_600 for day in (date(2002, 12, 31), date(2008, 12, 31), date(2009, 1, 1))][:wanted]
    if plan.month > Month(2009, 1):
        pickup[rows[: len(resets)]] = resets


def _column(
    what: str, type_: pa.DataType, trips: Trips, null_block: npt.NDArray[np.bool_], plan: MonthPlan
) -> pa.Array[Any]:
    """One column, as its era types it."""
    modern, green = plan.month > _TEXT_CODES, plan.dataset == "green"
    nulls = null_block if modern and what in (_NULL_BLOCK_GREEN if green else _NULL_BLOCK) else None
    column: pa.Array[Any]
    if pa.types.is_null(type_) or what == "nothing":
        column = pa.array(np.zeros(null_block.size), mask=np.ones(null_block.size, np.bool_))
        if pa.types.is_null(type_):
            return pa.nulls(null_block.size)
    elif what in ("pickup", "dropoff"):
        seconds = trips["pickup"] + (trips["duration"] if what == "dropoff" else 0)
        column = pa.array(seconds.astype("datetime64[s]"))
        if not pa.types.is_timestamp(type_):
            column = pc.strftime(column, "%Y-%m-%d %H:%M:%S")
    elif what in _NAMES:
        names = _NAMES[what] if what != "payment_name" or plan.month.year != 2009 else _PAYMENTS_2009
        codes = trips["payment"] - 1 if what == "payment_name" else trips["vendor" if what == "vendor_name" else what]
        column = pa.DictionaryArray.from_arrays(pa.array(codes, mask=nulls).cast(pa.int8()), list(names))
    elif what == "payment" and not green:
        column = pa.array(np.where(null_block, 0, trips[what]))
    else:
        column = pa.array(trips[what], mask=nulls)
    return column.cast(type_)
