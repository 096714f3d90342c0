"""Sources that a declaration names itself. One without takes the site, folder or bucket of `TLC_SOURCE`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Context, Decimal

from lakehouse.datasets.types import MOST_DIGITS

CursorValue = int | Decimal | date | datetime
# The types of a cursor, and how a value is read from its text, as `str` writes it. Text has no order that all databases
# agree on.
_READ: dict[str, Callable[[str], CursorValue]] = {
    "long": int,
    "decimal": Decimal,
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "timestamptz": datetime.fromisoformat,
}
CURSOR_TYPES = tuple(_READ)
# Python's own arithmetic rounds a decimal to 28 digits.
_EXACT = Context(prec=2 * MOST_DIGITS)


@dataclass(frozen=True)
class Query:
    """Rows of a SQL database: those of a table, or of a SELECT.

    `database` is the name of a variable, in the environment or in `.env`. It holds the address of the database as
    SQLAlchemy writes it, with the password. `table` is `NAME` or `SCHEMA.NAME`, as the database writes it.
    With a `cursor`, the name of a declared column that grows whenever a row is added or changed, only new and changed
    rows are extracted: those from the greatest value in the raw table on, less the `overlap`.
    """

    database: str
    table: str = ""
    sql: str = ""
    cursor: str = ""
    overlap: timedelta | int | Decimal | None = None

    @property
    def what(self) -> str:
        """What is read, for messages."""
        return f"the table {self.table}" if self.table else "the query of its `sql`"

    @property
    def casting(self) -> str:
        """How the declaration gives a column another type, for messages."""
        return 'write `sql="SELECT … CAST(…) …"` in place of `table`' if self.table else "CAST the column in `sql`"

    @property
    def origin(self) -> str:
        """Where the rows come from, as the record of a landed file says it. The address is no part of it."""
        return f"database {self.database}, " + (f"table {self.table}" if self.table else f"query {self.sql.strip()}")

    def begin(self, position: CursorValue) -> CursorValue | None:
        """Where an extract begins if the table has the rows up to `position`; None: with the first row."""
        match position, self.overlap:
            case _, None:
                return position
            case date(), timedelta() as overlap:
                try:
                    return position - overlap
                except OverflowError:  # before the year 1
                    return None
            case int() | Decimal(), int() | Decimal() as overlap:
                begin = _EXACT.subtract(Decimal(position), Decimal(overlap))
                return int(begin) if isinstance(position, int) else begin
        raise TypeError(f"{self.overlap!r} can't be taken from {position!r}")  # declaration.py refuses this


@dataclass(frozen=True)
class Since:
    """Where an extract began: it has the rows whose `column` is `value` or greater, and those without a value."""

    column: str
    value: str

    def __str__(self) -> str:
        return f"{self.column} from {self.value}"

    def read(self, kind: str) -> CursorValue:
        """The value, of a type of this kind.

        Raises:
            ValueError: it is of another kind.
        """
        return _READ[kind](self.value)
