"""The value `Day`, as in the names of files that come by the day: `2024-01-05`. `parts.py` has `Daily`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta

from lakehouse.errors import SettingsError

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, order=True)
class Day:
    """A calendar day; `str(Day(2024, 1, 5)) == "2024-01-05"`."""

    year: int
    month: int
    day: int

    @classmethod
    def parse(cls, text: str) -> Day:
        """`"2024-01-05"`, which is Dagster's partition key too.

        Raises:
            SettingsError: not a day.
        """
        written = text.strip()
        try:
            found = date.fromisoformat(written) if _DAY.fullmatch(written) else None
        except ValueError:
            found = None
        # a day before and after it must be dates too
        if found is None or not 1 < found.year < 9999:
            raise SettingsError(f"{text!r} is not a day. Write it as 2024-01-05, or a span as 2024-01-05..2024-01-31.")
        return cls.of(found)

    @classmethod
    def of(cls, day: date) -> Day:
        """The same day."""
        return cls(day.year, day.month, day.day)

    @property
    def first_day(self) -> date:
        """As a date: the value of `file_date` in every table."""
        return date(self.year, self.month, self.day)

    @property
    def last_day(self) -> date:
        """As a date."""
        return self.first_day

    @property
    def next(self) -> Day:
        """The day after it."""
        return Day.of(self.first_day + timedelta(days=1))

    def __format__(self, form: str) -> str:
        """As in file names: in the signs of `strftime`, or as it is written."""
        return self.first_day.strftime(form) if form else str(self)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}-{self.day:02}"
