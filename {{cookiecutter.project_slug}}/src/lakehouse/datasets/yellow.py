"""Yellow taxi trips, from 2009 on."""

from __future__ import annotations

from lakehouse.datasets.model import BEGINNING, Column, Dataset, Name
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Monthly
from lakehouse.datasets.tlc import LAG, amounts

_TEXT_CODES_END = Month(2010, 12)
_2009_END, _2010, _2011 = Month(2009, 12), Month(2010, 1), Month(2011, 1)

_amounts = amounts(
    BEGINNING,
    {
        "fare_amount": (Name("Fare_Amt", until=_2009_END), Name("fare_amount")),
        "tip_amount": (Name("Tip_Amt", until=_2009_END), Name("tip_amount")),
        "tolls_amount": (Name("Tolls_Amt", until=_2009_END), Name("tolls_amount")),
        "total_amount": (Name("Total_Amt", until=_2009_END), Name("total_amount")),
    },
)

YELLOW = Dataset(
    name="yellow",
    title="Yellow taxi trips",
    table="raw.yellow_trips",
    files="yellow_tripdata_{month}.parquet",
    parts=Monthly(since=Month(2009, 1), lag=LAG),
    columns=(
        Column("vendor_id", "long", (Name("VendorID"),), required_since=_2011, doc="Code of the record's provider."),
        Column(
            "vendor_name",
            "string",
            (Name("vendor_id", _2010, _TEXT_CODES_END), Name("vendor_name", until=_TEXT_CODES_END)),
            doc="Provider as text (CMT, VTS, DDS), 2009 and 2010 only.",
        ),
        Column(
            "pickup_datetime",
            "timestamp",
            (
                Name("Trip_Pickup_DateTime", until=_2009_END),
                Name("pickup_datetime", until=_TEXT_CODES_END),
                Name("tpep_pickup_datetime"),
            ),
            required_since=BEGINNING,
            role="pickup",
            never_empty=True,
            doc="Meter on; New York local time.",
        ),
        Column(
            "dropoff_datetime",
            "timestamp",
            (
                Name("Trip_Dropoff_DateTime", until=_2009_END),
                Name("dropoff_datetime", until=_TEXT_CODES_END),
                Name("tpep_dropoff_datetime"),
            ),
            required_since=BEGINNING,
            role="dropoff",
            never_empty=True,
            doc="Meter off; New York local time.",
        ),
        Column(
            "passenger_count",
            "long",
            (Name("Passenger_Count", until=_2009_END), Name("passenger_count")),
            required_since=BEGINNING,
            role="count",
        ),
        Column(
            "trip_distance",
            "double",
            (Name("Trip_Distance", until=_2009_END), Name("trip_distance")),
            required_since=BEGINNING,
            never_empty=True,
            doc="Miles.",
        ),
        Column(
            "rate_code_id",
            "long",
            (Name("Rate_Code", until=_2009_END), Name("rate_code", until=_TEXT_CODES_END), Name("RatecodeID")),
            required_since=BEGINNING,
        ),
        Column(
            "store_and_fwd_flag",
            "string",
            (Name("store_and_forward", until=_2009_END), Name("store_and_fwd_flag")),
            required_since=BEGINNING,
        ),
        Column("pu_location_id", "long", (Name("PULocationID"),), required_since=_2011, role="zone", never_empty=True),
        Column("do_location_id", "long", (Name("DOLocationID"),), required_since=_2011, role="zone", never_empty=True),
        Column("payment_type", "long", (Name("payment_type"),), required_since=_2011),
        Column(
            "payment_type_name",
            "string",
            (Name("Payment_Type", until=_2009_END), Name("payment_type", until=_TEXT_CODES_END)),
            doc="How it was paid, as text, 2009 and 2010 only.",
        ),
        _amounts["fare_amount"],
        Column("extra", "double", (Name("surcharge", until=_TEXT_CODES_END), Name("extra")), required_since=BEGINNING),
        _amounts["mta_tax"],
        _amounts["tip_amount"],
        _amounts["tolls_amount"],
        Column("improvement_surcharge", "double", required_since=Month(2015, 1)),
        _amounts["total_amount"],
        Column("congestion_surcharge", "double", required_since=Month(2019, 2)),
        Column(
            "airport_fee",
            "double",
            (Name("airport_fee", until=Month(2023, 1)), Name("Airport_fee")),
            required_since=Month(2021, 1),
        ),
        Column("cbd_congestion_fee", "double", required_since=Month(2025, 1)),
        Column("request_source", "string", doc="Published from 2026-06 on; seen by others only."),
        *(
            Column(
                f"{end}_{axis}",
                "double",
                (Name(f"{short}_{axis[:3].capitalize()}", until=_2009_END), Name(f"{end}_{axis}")),
                required_since=BEGINNING,
                required_until=_TEXT_CODES_END,
                doc="Degrees; 2009 and 2010 only.",
            )
            for end, short in (("pickup", "Start"), ("dropoff", "End"))
            for axis in ("longitude", "latitude")
        ),
    ),
)
