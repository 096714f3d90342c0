"""Green taxi trips, from August 2013 on."""

from __future__ import annotations

from lakehouse.datasets.model import Column, Dataset, Name
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Monthly
from lakehouse.datasets.tlc import LAG, amounts

_BEGINS = Month(2013, 8)
_amounts = amounts(_BEGINS, {})

GREEN = Dataset(
    name="green",
    title="Green taxi trips",
    table="raw.green_trips",
    files="green_tripdata_{month}.parquet",
    parts=Monthly(since=_BEGINS, lag=LAG),
    columns=(
        Column("vendor_id", "long", (Name("VendorID"),), required_since=_BEGINS, doc="Code of the record's provider."),
        Column(
            "pickup_datetime",
            "timestamp",
            (Name("lpep_pickup_datetime"),),
            required_since=_BEGINS,
            role="pickup",
            never_empty=True,
            doc="Meter on; New York local time.",
        ),
        Column(
            "dropoff_datetime",
            "timestamp",
            (Name("lpep_dropoff_datetime"),),
            required_since=_BEGINS,
            role="dropoff",
            never_empty=True,
            doc="Meter off; New York local time.",
        ),
        Column("store_and_fwd_flag", "string", required_since=_BEGINS),
        Column("rate_code_id", "long", (Name("RatecodeID"),), required_since=_BEGINS),
        Column(
            "pu_location_id", "long", (Name("PULocationID"),), required_since=_BEGINS, role="zone", never_empty=True
        ),
        Column(
            "do_location_id", "long", (Name("DOLocationID"),), required_since=_BEGINS, role="zone", never_empty=True
        ),
        Column("passenger_count", "long", required_since=_BEGINS, role="count"),
        Column("trip_distance", "double", required_since=_BEGINS, never_empty=True, doc="Miles."),
        _amounts["fare_amount"],
        Column("extra", "double", required_since=_BEGINS),
        _amounts["mta_tax"],
        _amounts["tip_amount"],
        _amounts["tolls_amount"],
        Column("ehail_fee", "double"),
        Column("improvement_surcharge", "double", required_since=Month(2015, 1)),
        _amounts["total_amount"],
        Column("payment_type", "long", required_since=_BEGINS),
        Column("trip_type", "long", required_since=_BEGINS, doc="1 street-hail, 2 dispatch."),
        Column("congestion_surcharge", "double", required_since=Month(2019, 2)),
        Column("cbd_congestion_fee", "double", required_since=Month(2025, 1)),
        Column("request_source", "string", doc="Published from 2026-06 on; seen by others only."),
    ),
)
