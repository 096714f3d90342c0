"""Raw tables written straight through PyIceberg, and what silver and gold must make of them, worked out in Python.

The second half knows nothing of dbt or SQL: exact decimals, fractions and dictionaries.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.table import Table

from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.iceberg.tables import ensure_raw_tables

Row = dict[str, Any]

TEXT_VENDORS = {"CMT": 1, "VTS": 2, "DDS": 3}
TEXT_PAYMENTS = {"credit": 1, "cash": 2, "no charge": 3, "dispute": 4}
AMOUNTS = {
    "trip_distance": "trip_distance",
    "fare_amount": "fare_amount",
    "extra": "extra_amount",
    "mta_tax": "mta_tax",
    "tip_amount": "tip_amount",
    "tolls_amount": "tolls_amount",
    "improvement_surcharge": "improvement_surcharge",
    "congestion_surcharge": "congestion_surcharge",
    "airport_fee": "airport_fee",
    "cbd_congestion_fee": "cbd_congestion_fee",
    "ehail_fee": "ehail_fee",
    "total_amount": "total_amount",
}
SURCHARGES = (
    "extra_amount",
    "mta_tax",
    "improvement_surcharge",
    "congestion_surcharge",
    "airport_fee",
    "cbd_congestion_fee",
)


# --- raw -----------------------------------------------------------------------------------------------------------


def put_month(catalog: Catalog, dataset: str, month: str, rows: Sequence[Row]) -> str:
    """Make `rows` the month's rows in raw. Returns the hash that stands for the file they came from."""
    ensure_raw_tables(catalog)
    table = catalog.load_table(DATASETS[dataset].table)
    sha = hashlib.sha256(repr((dataset, month, rows)).encode()).hexdigest()
    first_day = Month.parse(month).first_day
    full = [{**row, "file_month": first_day, "file_row": i, "source_sha256": sha} for i, row in enumerate(rows)]
    schema = schema_to_pyarrow(table.schema(), include_field_ids=False)
    _replace(table, pa.Table.from_pylist(full, schema=schema), f"file_month = '{first_day}'")
    return sha


def _replace(table: Table, rows: pa.Table, where: str) -> None:
    if table.scan(row_filter=where, limit=1).to_arrow().num_rows:
        table.delete(where)
    table.append(rows)


def remove_month(catalog: Catalog, dataset: str, month: str) -> None:
    """Take a month out of raw."""
    catalog.load_table(DATASETS[dataset].table).delete(f"file_month = '{Month.parse(month).first_day}'")


def put_zones(catalog: Catalog, zones: int = 265) -> None:
    """A zone lookup of 265 made-up zones."""
    ensure_raw_tables(catalog)
    table = catalog.load_table("raw.taxi_zones")
    rows = [
        {
            "location_id": i,
            "borough": f"Borough {i % 6}",
            "zone": f"Zone {i}",
            "service_zone": "Boro Zone",
            "source_sha256": f"zones {zones}",
        }
        for i in range(1, zones + 1)
    ]
    schema = schema_to_pyarrow(table.schema(), include_field_ids=False)
    _replace(table, pa.Table.from_pylist(rows, schema=schema), "location_id > 0")


def made_up_rows(dataset: str, month: str, count: int, seed: int = 0) -> list[Row]:
    """Trips as they come: most are plausible, some have each kind of dirt, many values lie on borders."""
    pick = random.Random(f"{dataset} {month} {seed}")  # noqa: S311 - repeatable, not secret
    start = datetime.combine(Month.parse(month).first_day, datetime.min.time())
    end = datetime.combine(Month.parse(month).next.first_day, datetime.min.time())
    old = dataset == "yellow" and month < "2011"
    return [_made_up_row(pick, dataset, start, end, old=old) for _ in range(count)]


def _made_up_row(pick: random.Random, dataset: str, start: datetime, end: datetime, *, old: bool) -> Row:
    pickup: datetime | None = start + timedelta(seconds=pick.randrange(int((end - start).total_seconds())))
    if pick.random() < 0.05:
        hours = pick.choice([24, 24, 23, 25, 100])
        off = timedelta(hours=hours, seconds=pick.choice([0, 0, 1, -1]))
        pickup = pick.choice([start - off, end + off])
    assert pickup is not None
    seconds = pick.choice([0, 1, -1, 43_200, 43_201]) if pick.random() < 0.05 else pick.randrange(30, 5400)
    row: Row = {
        "pickup_datetime": None if pick.random() < 0.01 else pickup,
        "dropoff_datetime": None if pick.random() < 0.01 else pickup + timedelta(seconds=seconds),
        "passenger_count": pick.choice([None, 0, 1, 1, 1, 2, 6]),
        "trip_distance": pick.choice([0.0, 200.0, 200.01, -1.0, 334_303.25])
        if pick.random() < 0.05
        else round(pick.uniform(0.1, 30), pick.choice([1, 2, 2, 3])),
        "rate_code_id": pick.choice([None, 1, 1, 1, 2, 3, 99]),
        "store_and_fwd_flag": pick.choice([None, "Y", "N", "N"]),
        "pu_location_id": pick.choice([None, 0, 266, 264, 265]) if pick.random() < 0.05 else pick.randrange(1, 20),
        "do_location_id": pick.choice([None, 0, 266, 132, 138]) if pick.random() < 0.05 else pick.randrange(1, 20),
        "payment_type": pick.choice([None, 0, 1, 1, 2, 3, 4]),
        "vendor_id": pick.choice([1, 2, 2, 6]),
    }
    for name in AMOUNTS:
        if name in {"trip_distance", "airport_fee", "ehail_fee"}:
            continue
        row[name] = None if pick.random() < 0.1 else round(pick.uniform(0, 60), pick.choice([0, 1, 2, 2, 2, 3]))
    if pick.random() < 0.05:
        row["fare_amount"] = pick.choice([0.0, -0.01, -12.5])
        row["total_amount"] = pick.choice([0.0, -0.01, -15.0, None])
    if dataset == "yellow":
        row["airport_fee"] = pick.choice([None, 0.0, 1.75])
    else:
        row["ehail_fee"] = None
        row["trip_type"] = pick.choice([None, 1, 2])
    if old:
        row |= {"vendor_id": None, "payment_type": None, "pu_location_id": None, "do_location_id": None}
        row |= {"vendor_name": pick.choice([*TEXT_VENDORS, "vts", "??"])}
        row |= {"payment_type_name": pick.choice(["CASH", "Cash", "Credit", "No Charge", "Dispute", "barter"])}
        for name in ("pickup_longitude", "pickup_latitude", "dropoff_longitude", "dropoff_latitude"):
            row[name] = -73.9
        if pick.random() < 0.02:
            row |= dict.fromkeys(("pickup_longitude", "pickup_latitude", "dropoff_longitude", "dropoff_latitude"))
    return row


# --- what must come out --------------------------------------------------------------------------------------------


def half_up(value: Fraction | Decimal | float, places: int) -> Decimal:
    """Rounded half up, away from zero; a double counts as the decimal that it prints as."""
    exact = Fraction(repr(value)) if isinstance(value, float) else Fraction(value)
    scaled = abs(exact) * 10**places + Fraction(1, 2)
    units = scaled.numerator // scaled.denominator
    return Decimal(units if exact >= 0 else -units).scaleb(-places)


def silver_row(dataset: str, month: str, sha: str, file_row: int, raw: Row) -> Row:
    """The row of silver that a raw row must become."""
    get = raw.get
    pickup, dropoff = get("pickup_datetime"), get("dropoff_datetime")
    row: Row = {
        "file_month": Month.parse(month).first_day,
        "file_row": file_row,
        "source_sha256": sha,
        "pickup_at": pickup,
        "dropoff_at": dropoff,
        "pickup_date": pickup.date() if pickup else None,
        "pickup_hour": pickup.hour if pickup else None,
        "duration_seconds": int((dropoff - pickup).total_seconds()) if pickup and dropoff else None,
        "vendor_id": get("vendor_id") or TEXT_VENDORS.get((get("vendor_name") or "").upper()),
        "rate_code_id": get("rate_code_id"),
        "payment_type_id": TEXT_PAYMENTS.get((get("payment_type_name") or "").lower())
        if get("payment_type") is None
        else get("payment_type"),
        "pickup_location_id": get("pu_location_id"),
        "dropoff_location_id": get("do_location_id"),
        "passenger_count": get("passenger_count"),
    }
    if dataset == "green":
        row["trip_type_id"] = get("trip_type")
    for theirs, ours in AMOUNTS.items():
        if ours != "ehail_fee" or dataset == "green":
            row[ours] = None if raw.get(theirs) is None else half_up(raw[theirs], 2)
    row["is_store_and_forward"] = {"Y": True, "N": False}.get(get("store_and_fwd_flag") or "")
    ends = {row["pickup_location_id"], row["dropoff_location_id"]}
    row["is_airport_trip"] = bool(ends & {1, 132, 138}) or row["rate_code_id"] in {2, 3}
    row["has_coordinates"] = get("pickup_longitude") is not None
    row["rejection_reason"] = _reason(row)
    return row


def _reason(row: Row) -> str | None:
    pickup, dropoff = row["pickup_at"], row["dropoff_at"]
    if pickup is None or dropoff is None:
        return "missing_time"
    month = Month.of(row["file_month"])
    first, after = (datetime.combine(day, datetime.min.time()) for day in (month.first_day, month.next.first_day))
    day = timedelta(hours=24)
    fare, total, miles = (row[name] or 0 for name in ("fare_amount", "total_amount", "trip_distance"))
    ends = (row["pickup_location_id"], row["dropoff_location_id"])
    reasons = {
        "pickup_outside_month": first - pickup > day or pickup - after > day,
        "dropoff_before_pickup": dropoff < pickup,
        "too_long": dropoff - pickup > timedelta(hours=12),
        "negative_amount": fare < 0 or total < 0,
        "implausible_distance": not 0 <= miles <= 200,
        "unknown_zone": any(not row["has_coordinates"] if end is None else not 1 <= end <= 265 for end in ends),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def gold(trips: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """The marts that rows of silver, by service, must become; without dim_zones and the names of zones."""
    accepted = [(service, t) for service, rows in trips.items() for t in rows if t["rejection_reason"] is None]
    every = [(service, t) for service, rows in trips.items() for t in rows]
    return {
        "fct_daily_trips": [
            {**_key("service_type pickup_date", key), **_daily(group)}
            for key, group in _grouped(accepted, lambda t: (t["pickup_date"],)).items()
        ],
        "fct_hourly_revenue": [
            {**_key("service_type pickup_date pickup_hour", key), **_hourly(group)}
            for key, group in _grouped(accepted, lambda t: (t["pickup_date"], t["pickup_hour"])).items()
        ],
        "fct_trip_distance_stats": [
            {**_key("service_type pickup_location_id dropoff_location_id", key), **_distances(group)}
            for key, group in _grouped(
                accepted, lambda t: (t["pickup_location_id"] or 264, t["dropoff_location_id"] or 264)
            ).items()
        ],
        "fct_monthly_quality": _quality(every),
    }


def _grouped(trips: Iterable[tuple[str, Row]], key: Any) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for service, trip in trips:
        groups[(service, *key(trip))].append(trip)
    return groups


def _key(names: str, values: tuple[Any, ...]) -> Row:
    return dict(zip(names.split(), values, strict=True))


def _sum(trips: Sequence[Row], *names: str) -> Decimal:
    return sum((t[name] or Decimal(0) for t in trips for name in names), Decimal("0.00"))


def _ratio(dividend: Decimal | int, divisor: Decimal | int) -> Decimal | None:
    return half_up(Fraction(dividend) / Fraction(divisor), 4) if divisor else None


def _seconds(trips: Sequence[Row]) -> int:
    return sum(t["duration_seconds"] for t in trips)


def _daily(trips: Sequence[Row]) -> Row:
    n = len(trips)
    return {
        "trips": n,
        "passengers": sum(t["passenger_count"] or 0 for t in trips),
        "distance_miles": _sum(trips, "trip_distance"),
        "fare_amount": _sum(trips, "fare_amount"),
        "tip_amount": _sum(trips, "tip_amount"),
        "tolls_amount": _sum(trips, "tolls_amount"),
        "total_amount": _sum(trips, "total_amount"),
        "avg_distance_miles": _ratio(_sum(trips, "trip_distance"), n),
        "avg_duration_minutes": _ratio(_seconds(trips), 60 * n),
        "avg_total_amount": _ratio(_sum(trips, "total_amount"), n),
        "card_share": _ratio(sum(t["payment_type_id"] == 1 for t in trips), n),
    }


def _hourly(trips: Sequence[Row]) -> Row:
    return {
        "trips": len(trips),
        "fare_amount": _sum(trips, "fare_amount"),
        "tip_amount": _sum(trips, "tip_amount"),
        "tolls_amount": _sum(trips, "tolls_amount"),
        "surcharge_amount": _sum(trips, *SURCHARGES),
        "total_amount": _sum(trips, "total_amount"),
        "avg_total_amount": _ratio(_sum(trips, "total_amount"), len(trips)),
        "tip_rate": _ratio(_sum(trips, "tip_amount"), _sum(trips, "fare_amount")),
    }


def _distances(trips: Sequence[Row]) -> Row:
    miles = _sum(trips, "trip_distance")
    known = [t["trip_distance"] for t in trips if t["trip_distance"] is not None]
    return {
        "trips": len(trips),
        "min_distance_miles": min(known, default=None),
        "max_distance_miles": max(known, default=None),
        "avg_distance_miles": _ratio(miles, len(trips)),
        "avg_duration_minutes": _ratio(_seconds(trips), 60 * len(trips)),
        "avg_speed_mph": _ratio(miles * 3600, _seconds(trips)),
        "avg_fare_amount": _ratio(_sum(trips, "fare_amount"), len(trips)),
        "fare_per_mile": _ratio(_sum(trips, "fare_amount"), miles),
    }


def _quality(every: Sequence[tuple[str, Row]]) -> list[Row]:
    months: dict[tuple[str, date], int] = defaultdict(int)
    for service, trip in every:
        months[service, trip["file_month"]] += 1
    groups = _grouped(every, lambda t: (t["file_month"], t["rejection_reason"] or "accepted"))
    return [
        {
            **_key("service_type file_month rejection_reason", key),
            "trips": len(trips),
            "share": _ratio(len(trips), months[key[0], key[1]]),
            "total_amount": _sum(trips, "total_amount"),
        }
        for key, trips in groups.items()
    ]
