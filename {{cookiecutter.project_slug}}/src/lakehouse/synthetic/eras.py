"""The columns and types of published files, era by era: what generated months imitate.

Names are those of the 310 files published for 2009-01 to 2024-05 and of the months seen since. Types were read from
official files from 2022-03 on and from notes of others before that; two are guesses where nobody wrote them down:
2010's `rate_code` (text) and `request_source` of 2026-06 (text).
"""

from __future__ import annotations

import pyarrow as pa

from lakehouse.datasets.months import Month
from lakehouse.errors import SettingsError

# What a column holds, whatever it is called: the key by which the generator finds its values.
Field = tuple[str, str, pa.DataType]

_INT, _INT32, _REAL, _TEXT, _LARGE = pa.int64(), pa.int32(), pa.float64(), pa.string(), pa.large_string()
_TIME, _NULL = pa.timestamp("us"), pa.null()

_YELLOW_2009: tuple[Field, ...] = (
    ("vendor_name", "vendor_name", _TEXT),
    ("pickup", "Trip_Pickup_DateTime", _TEXT),
    ("dropoff", "Trip_Dropoff_DateTime", _TEXT),
    ("passengers", "Passenger_Count", _INT),
    ("distance", "Trip_Distance", _REAL),
    ("pickup_longitude", "Start_Lon", _REAL),
    ("pickup_latitude", "Start_Lat", _REAL),
    ("nothing", "Rate_Code", _REAL),
    ("nothing", "store_and_forward", _REAL),
    ("dropoff_longitude", "End_Lon", _REAL),
    ("dropoff_latitude", "End_Lat", _REAL),
    ("payment_name", "Payment_Type", _TEXT),
    ("fare", "Fare_Amt", _REAL),
    ("extra", "surcharge", _REAL),
    ("nothing", "mta_tax", _REAL),
    ("tip", "Tip_Amt", _REAL),
    ("tolls", "Tolls_Amt", _REAL),
    ("total", "Total_Amt", _REAL),
)

_YELLOW_2010: tuple[Field, ...] = (
    ("vendor_name", "vendor_id", _TEXT),
    ("pickup", "pickup_datetime", _TEXT),
    ("dropoff", "dropoff_datetime", _TEXT),
    ("passengers", "passenger_count", _INT),
    ("distance", "trip_distance", _REAL),
    ("pickup_longitude", "pickup_longitude", _REAL),
    ("pickup_latitude", "pickup_latitude", _REAL),
    ("rate_code", "rate_code", _TEXT),
    ("flag", "store_and_fwd_flag", _TEXT),
    ("dropoff_longitude", "dropoff_longitude", _REAL),
    ("dropoff_latitude", "dropoff_latitude", _REAL),
    ("payment_name", "payment_type", _TEXT),
    ("fare", "fare_amount", _REAL),
    ("extra", "surcharge", _REAL),
    ("mta_tax", "mta_tax", _REAL),
    ("tip", "tip_amount", _REAL),
    ("tolls", "tolls_amount", _REAL),
    ("total", "total_amount", _REAL),
)

# The datasets of which months can be generated, each with its first published month.
FIRST_MONTHS = {"yellow": Month(2009, 1), "green": Month(2013, 8)}

_STRAY_INDEX = (Month(2010, 2), Month(2010, 3))
_RETYPED = Month(2023, 2)  # the month in which integers became narrow, and nullable integers stopped being doubles


def published_fields(dataset: str, month: Month) -> tuple[Field, ...]:
    """What a published file of this month holds: (what, published name, type), in the file's order.

    Raises:
        SettingsError: no such dataset, or a month before its first.
    """
    first = FIRST_MONTHS.get(dataset)
    if first is None or month < first:
        known = ", ".join(f"{name} from {since} on" for name, since in FIRST_MONTHS.items())
        raise SettingsError(f"{dataset} {month} can't be generated. Generated months exist of: {known}.")
    if dataset == "green":
        return _green(month)
    if month < Month(2010, 1):
        return _YELLOW_2009
    if month < Month(2011, 1):
        return (*_YELLOW_2010, ("index", "__index_level_0__", _INT)) if month in _STRAY_INDEX else _YELLOW_2010
    return _yellow(month)


def published_schema(dataset: str, month: Month) -> pa.Schema:
    """The Arrow schema of a published file of this month."""
    return pa.schema([pa.field(name, type_) for _, name, type_ in published_fields(dataset, month)])


def _yellow(month: Month) -> tuple[Field, ...]:
    new = month >= _RETYPED
    code, flag, count = (_INT32, _LARGE, _INT) if new else (_INT, _TEXT, _REAL)
    airport_has_values = month in (Month(2020, 8), Month(2020, 9)) or month >= Month(2020, 11)
    fields: list[Field] = [
        ("vendor", "VendorID", code),
        ("pickup", "tpep_pickup_datetime", _TIME),
        ("dropoff", "tpep_dropoff_datetime", _TIME),
        ("passengers", "passenger_count", count),
        ("distance", "trip_distance", _REAL),
        ("rate_code", "RatecodeID", count),
        ("flag", "store_and_fwd_flag", flag),
        ("pickup_zone", "PULocationID", code),
        ("dropoff_zone", "DOLocationID", code),
        ("payment", "payment_type", _INT),
        ("fare", "fare_amount", _REAL),
        ("extra", "extra", _REAL),
        ("mta_tax", "mta_tax", _REAL),
        ("tip", "tip_amount", _REAL),
        ("tolls", "tolls_amount", _REAL),
        ("improvement", "improvement_surcharge", _REAL if month >= Month(2015, 1) else _NULL),
        ("total", "total_amount", _REAL),
        ("congestion", "congestion_surcharge", _REAL if month >= Month(2019, 1) else _NULL),
        ("airport", "Airport_fee" if new else "airport_fee", _REAL if airport_has_values else _NULL),
    ]
    return (*fields, *_since_2025(month))


def _green(month: Month) -> tuple[Field, ...]:
    new = month >= _RETYPED
    code, flag, count = (_INT32, _LARGE, _INT) if new else (_INT, _TEXT, _REAL)
    ehail_is_double = new or month < Month(2019, 9)
    fields: list[Field] = [
        ("vendor", "VendorID", code),
        ("pickup", "lpep_pickup_datetime", _TIME),
        ("dropoff", "lpep_dropoff_datetime", _TIME),
        ("flag", "store_and_fwd_flag", flag),
        ("rate_code", "RatecodeID", count),
        ("pickup_zone", "PULocationID", code),
        ("dropoff_zone", "DOLocationID", code),
        ("passengers", "passenger_count", count),
        ("distance", "trip_distance", _REAL),
        ("fare", "fare_amount", _REAL),
        ("extra", "extra", _REAL),
        ("mta_tax", "mta_tax", _REAL),
        ("tip", "tip_amount", _REAL),
        ("tolls", "tolls_amount", _REAL),
        ("nothing", "ehail_fee", _REAL if ehail_is_double else _NULL),
        ("improvement", "improvement_surcharge", _REAL if month >= Month(2015, 1) else _NULL),
        ("total", "total_amount", _REAL),
        ("payment", "payment_type", count),
        ("trip_type", "trip_type", count),
        ("congestion", "congestion_surcharge", _REAL if month >= Month(2019, 1) else _NULL),
    ]
    return (*fields, *_since_2025(month))


def _since_2025(month: Month) -> tuple[Field, ...]:
    fee: tuple[Field, ...] = (("cbd", "cbd_congestion_fee", _REAL),) if month >= Month(2025, 1) else ()
    source: tuple[Field, ...] = (("source", "request_source", _TEXT),) if month >= Month(2026, 6) else ()
    return (*fee, *source)
