"""What the TLC publishes, as declarations: datasets, their columns, and what each era calls and may lack.

Adding a dataset is adding a declaration here; no other code names a column. Sources: the TLC's data dictionaries, and
the column lists of 310 files published for 2009-01 to 2024-05.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lakehouse.datasets.months import Month
from lakehouse.errors import SettingsError

Type = Literal["long", "double", "string", "timestamp"]

BEGINNING, END = Month(1, 1), Month(9999, 12)
# The largest values that every later layer holds, summed over as many rows as a month may ever have. Silver keeps
# amounts and distances as decimal(12,2), gold their sums as decimal(18,2): 100 million rows of the largest amount. A
# code is kept as bigint and never summed; a count is summed into bigint.
LARGEST_AMOUNT, LARGEST_CODE, LARGEST_COUNT = 99_999_999.99, 2**63 - 1, 2**31 - 1
ZONES = range(1, 266)
ZONES_DATASET = "zones"


@dataclass(frozen=True)
class Name:
    """One name a column was published under, and the months that used it in this meaning."""

    text: str
    since: Month = BEGINNING
    until: Month = END

    def used_in(self, month: Month) -> bool:
        """Whether this name has this meaning in `month`."""
        return self.since <= month <= self.until


@dataclass(frozen=True)
class Column:
    """A column of a raw table: its canonical name, its one type for all eras, and how files spell it.

    Names match without regard to case and underscores. A file of the months `required_since` to `required_until` that
    lacks the column is refused; in other months the column may be absent and becomes null. Where it is required and
    `never_empty`, a file without a single value in it is refused too: no trip could be told from such a file. A number
    that is larger than `largest`, or less than its negative, is refused.
    """

    name: str
    type: Type
    names: tuple[Name, ...] = ()
    required_since: Month | None = None
    required_until: Month = END
    role: Literal["pickup", "dropoff", "zone", "count", ""] = ""
    never_empty: bool = False
    doc: str = ""

    @property
    def largest(self) -> float | int:
        """The largest number that this column takes."""
        if self.type == "double":
            return LARGEST_AMOUNT
        return LARGEST_COUNT if self.role == "count" else LARGEST_CODE

    def required_in(self, month: Month) -> bool:
        """Whether a file of `month` must have this column."""
        return self.required_since is not None and self.required_since <= month <= self.required_until

    def published_name(self, month: Month) -> str:
        """How the files of `month` spell it: what an error message should say."""
        return next((n.text for n in self.names if n.used_in(month)), self.name)


@dataclass(frozen=True)
class Dataset:
    """A monthly file series and its raw table. Thresholds are shares of a file's rows."""

    name: str
    title: str
    first_month: Month
    columns: tuple[Column, ...]
    swapped_share: float = 0.5
    unknown_zone_share: float = 0.5
    shrink_share: float = 0.5
    stray_share: float = 0.5
    ignored: tuple[str, ...] = field(default=("__index_level_0__",))

    @property
    def table(self) -> str:
        """Its raw table, as `schema.table`."""
        return f"raw.{self.name}_trips"

    @property
    def pickup(self) -> str:
        """The column of the time that a row belongs to a month by."""
        return next(column.name for column in self.columns if column.role == "pickup")

    @property
    def landing_key(self) -> str:
        """Its folder in the landing zone."""
        return f"{self.name}_trips"

    def file_name(self, month: Month) -> str:
        """The published file's name."""
        return f"{self.name}_tripdata_{month}.parquet"


def normalised(name: str) -> str:
    """The form in which names are compared: `PULocationID` and `pu_location_id` are one."""
    return name.lower().replace("_", "").replace(" ", "")


_TEXT_CODES_END = Month(2010, 12)
_2009_END, _2010, _2011 = Month(2009, 12), Month(2010, 1), Month(2011, 1)
_GREEN = Month(2013, 8)


def _amounts(since: Month, names: dict[str, tuple[Name, ...]]) -> dict[str, Column]:
    """The money columns that both datasets have in all their months."""
    return {
        name: Column(
            name,
            "double",
            names.get(name, (Name(name),)),
            required_since=since,
            never_empty=name in ("fare_amount", "total_amount"),
        )
        for name in ("fare_amount", "mta_tax", "tip_amount", "tolls_amount", "total_amount")
    }


_yellow_amounts = _amounts(
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
    first_month=Month(2009, 1),
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
        _yellow_amounts["fare_amount"],
        Column("extra", "double", (Name("surcharge", until=_TEXT_CODES_END), Name("extra")), required_since=BEGINNING),
        _yellow_amounts["mta_tax"],
        _yellow_amounts["tip_amount"],
        _yellow_amounts["tolls_amount"],
        Column("improvement_surcharge", "double", required_since=Month(2015, 1)),
        _yellow_amounts["total_amount"],
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

_green_amounts = _amounts(_GREEN, {})

GREEN = Dataset(
    name="green",
    title="Green taxi trips",
    first_month=_GREEN,
    columns=(
        Column("vendor_id", "long", (Name("VendorID"),), required_since=_GREEN, doc="Code of the record's provider."),
        Column(
            "pickup_datetime",
            "timestamp",
            (Name("lpep_pickup_datetime"),),
            required_since=_GREEN,
            role="pickup",
            never_empty=True,
            doc="Meter on; New York local time.",
        ),
        Column(
            "dropoff_datetime",
            "timestamp",
            (Name("lpep_dropoff_datetime"),),
            required_since=_GREEN,
            role="dropoff",
            never_empty=True,
            doc="Meter off; New York local time.",
        ),
        Column("store_and_fwd_flag", "string", required_since=_GREEN),
        Column("rate_code_id", "long", (Name("RatecodeID"),), required_since=_GREEN),
        Column("pu_location_id", "long", (Name("PULocationID"),), required_since=_GREEN, role="zone", never_empty=True),
        Column("do_location_id", "long", (Name("DOLocationID"),), required_since=_GREEN, role="zone", never_empty=True),
        Column("passenger_count", "long", required_since=_GREEN, role="count"),
        Column("trip_distance", "double", required_since=_GREEN, never_empty=True, doc="Miles."),
        _green_amounts["fare_amount"],
        Column("extra", "double", required_since=_GREEN),
        _green_amounts["mta_tax"],
        _green_amounts["tip_amount"],
        _green_amounts["tolls_amount"],
        Column("ehail_fee", "double"),
        Column("improvement_surcharge", "double", required_since=Month(2015, 1)),
        _green_amounts["total_amount"],
        Column("payment_type", "long", required_since=_GREEN),
        Column("trip_type", "long", required_since=_GREEN, doc="1 street-hail, 2 dispatch."),
        Column("congestion_surcharge", "double", required_since=Month(2019, 2)),
        Column("cbd_congestion_fee", "double", required_since=Month(2025, 1)),
        Column("request_source", "string", doc="Published from 2026-06 on; seen by others only."),
    ),
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (YELLOW, GREEN)}


def dataset_named(name: str) -> Dataset:
    """The declaration called `name`.

    Raises:
        SettingsError: no such dataset; the message lists them.
    """
    try:
        return DATASETS[name]
    except KeyError:
        known = ", ".join([*DATASETS, ZONES_DATASET])
        raise SettingsError(f"There is no dataset {name!r}. Known: {known}.") from None
