"""What a dataset is: its table, its files, its columns, and what each era calls them and may lack.

Each dataset is declared in a file of its own in this folder. See registry.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from string import Formatter
from typing import Literal

from lakehouse.datasets.formats import Format, Parquet
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Daily, Monthly, Part, Whole
from lakehouse.datasets.sources import Query
from lakehouse.datasets.types import element_of, kind_of, largest_decimal
from lakehouse.errors import SettingsError

BEGINNING, END = Month(1, 1), Month(9999, 12)
# The largest values that every later layer holds, summed over as many rows as a month may ever have. Silver keeps
# amounts and distances as decimal(12,2), gold their sums as decimal(18,2): 100 million rows of the largest amount. A
# code is kept as bigint and never summed; a count is summed into bigint.
LARGEST_AMOUNT, LARGEST_CODE, LARGEST_COUNT = 99_999_999.99, 2**63 - 1, 2**31 - 1
ZONE_IDS = range(1, 266)
STAR = "*"  # in `files`: what differs in the names of files that are one part together
OWNER = "team:lakehouse"


@dataclass(frozen=True)
class Name:
    """One name a column was published under, and the months (or days) that used it in this meaning."""

    text: str
    since: Part = BEGINNING
    until: Part = END

    def used_in(self, part: Part | None) -> bool:
        """Whether this name has this meaning in `part`; in a file that is the whole table, it always has."""
        return part is None or _within(part, self.since, self.until)


@dataclass(frozen=True)
class Column:
    """A column of a raw table: its canonical name, its one type for all eras, and how files spell it.

    Names match without regard to case, underscores and spaces. A file of the parts `required_since` to `required_until`
    that lacks the column is refused; in other parts the column may be absent and becomes null. Where it is required and
    `never_empty`, a file without a single value in it is refused too: such a file holds no usable trip. A number that
    is larger than `largest`, or less than its negative, is refused. `type` is one of `types.TYPES`. `zone` (only of a
    `timestamptz`) is where the clocks stand of times that a file has without a zone: `Europe/Berlin`.
    `nulls` (only of a CSV file) are the words that mean no value in this column, in place of those that `Csv` declares;
    with `()` no word does.
    """

    name: str
    type: str
    names: tuple[Name, ...] = ()
    required_since: Part | None = None
    required_until: Part = END
    role: Literal["pickup", "dropoff", "time", "zone", "count", ""] = ""
    never_empty: bool = False
    doc: str = ""
    zone: str = ""
    nulls: tuple[str, ...] | None = None

    @property
    def kind(self) -> str:
        """Its type without digits: `decimal` where the type is `decimal(12,2)`."""
        return kind_of(self.type)

    @property
    def element(self) -> Column:
        """What a list holds, as a column of its own."""
        return replace(self, type=element_of(self.type))

    @property
    def largest(self) -> float | int | Decimal:
        """The largest number that this column takes."""
        if self.kind == "decimal":
            return largest_decimal(self.type)
        if self.type == "double":
            return LARGEST_AMOUNT
        return LARGEST_COUNT if self.role == "count" else LARGEST_CODE

    def required_in(self, part: Part | None) -> bool:
        """Whether a file of `part` must have this column; in one that is the whole table, if it ever must."""
        if self.required_since is None:
            return False
        return part is None or _within(part, self.required_since, self.required_until)

    def published_name(self, part: Part | None) -> str:
        """How the files of `part` spell it: what an error message should say."""
        return self.published_names(part)[0]

    def published_names(self, part: Part | None) -> list[str]:
        """All the ways in which the files of `part` may spell it."""
        return [*(name.text for name in self.names if name.used_in(part)), self.name]


def _within(part: Part, since: Part, until: Part) -> bool:
    return since.first_day <= part.first_day <= until.last_day


@dataclass(frozen=True)
class Dataset:
    """A series of files and its raw table. Thresholds are shares of a file's rows.

    `table` is the raw table, as `schema.table`. `parts` says what one file is of it. `files` is what the publisher
    calls a file, with `{month}` or `{day}` for its part, `{day:%Y%m%d}` where that is written in another form. With a
    `*` in it, all files whose names match are one part together; they land as one bundle (formats/bundle.py). `folder`
    is where its site has these files. With a `key`, each row is known by these columns: none may be null, and no two
    rows of a file may have the same, unless `order` names a column: then the row with the greatest value of it counts.
    Rows with a key are merged into the table: new ones are added, changed ones replaced.
    With a `source`, the file is made from the rows that a database has. Dagster shows its assets with `owner`, which is
    `team:NAME` or an e-mail address, and in `group`; without one, they are in the groups `source`, `landing` and
    `bronze`.
    `on_bad_rows` says what happens to a row with a value that can't be converted: it refuses the file, or it is set
    aside in `rejected_table`, up to `bad_share` of the file's rows.
    """

    name: str
    title: str
    table: str
    files: str
    parts: Monthly | Daily | Whole
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    source: Query | None = None
    format: Format = field(default_factory=Parquet)
    order: str | None = None
    swapped_share: float = 0.5
    unknown_zone_share: float = 0.5
    shrink_share: float = 0.5
    stray_share: float = 0.5
    on_bad_rows: Literal["refuse", "set aside"] = "refuse"
    bad_share: float = 0.01
    folder: str = "trip-data"
    ignored: tuple[str, ...] = field(default=("__index_level_0__",))
    # Not shown in `repr`: the code version of the raw asset is made of it, and no row changes with these.
    owner: str = field(default=OWNER, repr=False)
    group: str = field(default="", repr=False)

    @property
    def first_part(self) -> Part:
        """The first month or day that it has; a dataset whose file is the whole table has no beginning."""
        return BEGINNING if isinstance(self.parts, Whole) else self.parts.since

    def can_exist(self, part: Part, today: date) -> bool:
        """Whether a month or day may be published on the day `today`: it is over, and its lag has passed."""
        if isinstance(self.parts, Whole) or part.first_day < self.first_part.first_day:
            return False
        return part.next.first_day + self.parts.lag <= today

    @property
    def time(self) -> str | None:
        """The column of the time that a row belongs to its month or day by, if it has one."""
        return next((column.name for column in self.columns if column.role in ("pickup", "time")), None)

    @property
    def is_trips(self) -> bool:
        """Whether its rows are trips: they have a pickup, and gold joins them with the zone lookup."""
        return any(column.role == "pickup" for column in self.columns)

    @property
    def time_sql(self) -> str | None:
        """That column in the SQL of both engines. A time with a zone is the local time of its column's zone, or UTC."""
        column = next((column for column in self.columns if column.name == self.time), None)
        if column is None or column.type != "timestamptz":
            return f'"{self.time}"' if self.time else None
        return f"cast(\"{column.name}\" at time zone '{column.zone or 'UTC'}' as timestamp(6))"

    @property
    def rejected_table(self) -> str | None:
        """The table of the rows that are set aside; None if a bad row refuses its file."""
        return f"{self.table}_rejected" if self.on_bad_rows == "set aside" else None

    @property
    def landing_key(self) -> str:
        """Its folder in the landing zone."""
        return self.table.partition(".")[2]

    @property
    def bundled(self) -> bool:
        """Whether several files are one part together."""
        return STAR in self.files

    def file_name(self, part: Part | None = None) -> str:
        """The landed file's name: that of the published file, or of a bundle, `orders_2024-01-05_all.csv.zip`."""
        landed = f"{self.files.replace(STAR, 'all')}.zip" if self.bundled else self.files
        return landed.format(**{self.parts.word: part})

    def pattern(self, part: Part | None = None) -> str:
        """What the published files of a part are called: `orders_2024-01-05_*.csv`, or one name without a `*`."""
        return self.files.format(**{self.parts.word: part})

    def has(self, name: str, part: Part | None) -> bool:
        """Whether this is the name of a part's file, or of one of its files. In the latter, case does not matter."""
        if not self.bundled or name == self.file_name(part):
            return name == self.file_name(part)
        before, _, after = self.pattern(part).lower().partition(STAR)
        return name.lower().startswith(before) and name.lower().removeprefix(before).endswith(after)

    def part_in(self, name: str) -> Part | None:
        """The month or day in a file's name, where `files` has it."""
        if isinstance(self.parts, Whole):
            return None
        (before, _, form, _), *rest = Formatter().parse(self.files)
        after = rest[0][0] if rest else ""
        # On the side of the `*` any text may stand, so the place is counted from the other side.
        width = len(format(self.parts.kind.parse(self.parts.example), form or ""))
        if STAR in before:
            end = len(name.removesuffix(".zip") if name.endswith(f"{after}.zip") else name) - len(after)
            written = name[end - width : end]
        elif STAR in after:
            written = name[len(before) : len(before) + width]
        else:
            written = name.removeprefix(before).removesuffix(after)
        try:
            if form:
                return self.parts.kind.of(datetime.strptime(written, form).date())  # noqa: DTZ007 - a day has no zone
            return self.parts.kind.parse(written)
        except (ValueError, SettingsError):
            return None


def normalised(name: str) -> str:
    """The form in which names are compared: `PULocationID` and `pu_location_id` are one."""
    return name.lower().replace("_", "").replace(" ", "")
