"""What a dataset is: its table, its files, its columns, and what each era calls them and may lack.

Each dataset is declared in a file of its own in this folder. See registry.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lakehouse.datasets.formats import Csv, Parquet
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Monthly, Whole

Type = Literal["long", "double", "string", "timestamp"]

BEGINNING, END = Month(1, 1), Month(9999, 12)
# The largest values that every later layer holds, summed over as many rows as a month may ever have. Silver keeps
# amounts and distances as decimal(12,2), gold their sums as decimal(18,2): 100 million rows of the largest amount. A
# code is kept as bigint and never summed; a count is summed into bigint.
LARGEST_AMOUNT, LARGEST_CODE, LARGEST_COUNT = 99_999_999.99, 2**63 - 1, 2**31 - 1
ZONE_IDS = range(1, 266)


@dataclass(frozen=True)
class Name:
    """One name a column was published under, and the months that used it in this meaning."""

    text: str
    since: Month = BEGINNING
    until: Month = END

    def used_in(self, month: Month | None) -> bool:
        """Whether this name has this meaning in `month`; in a file that is no month's, it always has."""
        return month is None or self.since <= month <= self.until


@dataclass(frozen=True)
class Column:
    """A column of a raw table: its canonical name, its one type for all eras, and how files spell it.

    Names match without regard to case and underscores. A file of the months `required_since` to `required_until` that
    lacks the column is refused; in other months the column may be absent and becomes null. Where it is required and
    `never_empty`, a file without a single value in it is refused too: such a file holds no usable trip. A number
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

    def required_in(self, month: Month | None) -> bool:
        """Whether a file of `month` must have this column; in one without months, if it ever must."""
        if self.required_since is None:
            return False
        return month is None or self.required_since <= month <= self.required_until

    def published_name(self, month: Month | None) -> str:
        """How the files of `month` spell it: what an error message should say."""
        return self.published_names(month)[0]

    def published_names(self, month: Month | None) -> list[str]:
        """All the ways in which the files of `month` may spell it."""
        return [*(name.text for name in self.names if name.used_in(month)), self.name]


@dataclass(frozen=True)
class Dataset:
    """A series of files and its raw table. Thresholds are shares of a file's rows.

    `table` is the raw table, as `schema.table`. `parts` says what one file is of it. `files` is what the publisher
    calls a file, with `{month}` for the month; `folder` is where its site has these files. With a `key`, each row is
    known by these columns: none may be null, and no two rows may have the same.
    """

    name: str
    title: str
    table: str
    files: str
    parts: Monthly | Whole
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    format: Parquet | Csv = field(default_factory=Parquet)
    swapped_share: float = 0.5
    unknown_zone_share: float = 0.5
    shrink_share: float = 0.5
    stray_share: float = 0.5
    folder: str = "trip-data"
    ignored: tuple[str, ...] = field(default=("__index_level_0__",))

    @property
    def first_month(self) -> Month:
        """The first month that it has; a dataset that does not come by the month has no beginning."""
        return self.parts.since if isinstance(self.parts, Monthly) else BEGINNING

    @property
    def pickup(self) -> str:
        """The column of the time that a row belongs to a month by."""
        return next(column.name for column in self.columns if column.role == "pickup")

    @property
    def landing_key(self) -> str:
        """Its folder in the landing zone."""
        return self.table.partition(".")[2]

    def file_name(self, month: Month | None = None) -> str:
        """The published file's name."""
        return self.files.format(month=month)


def normalised(name: str) -> str:
    """The form in which names are compared: `PULocationID` and `pu_location_id` are one."""
    return name.lower().replace("_", "").replace(" ", "")
