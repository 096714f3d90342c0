"""The value `Month`, as in the names of the TLC's files: `2024-01`. `parts.py` has `Monthly`."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date

from lakehouse.errors import SettingsError

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month; `str(Month(2024, 1)) == "2024-01"`."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """`"2024-01"` (or `"2024-01-01"`, Dagster's partition key).

        Raises:
            SettingsError: not a month.
        """
        match = _MONTH.fullmatch(text.strip().removesuffix("-01") if len(text.strip()) == 10 else text.strip())
        # a month before and after it must be dates too
        if not match or not 1 < int(match[1]) < 9999:
            raise SettingsError(f"{text!r} is not a month. Write it as 2024-01, or a span as 2024-01..2024-06.")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, day: date) -> Month:
        """The month that holds `day`."""
        return cls(day.year, day.month)

    @property
    def first_day(self) -> date:
        """Its first day: the value of `file_month` in every table."""
        return date(self.year, self.month, 1)

    @property
    def last_day(self) -> date:
        """Its last day."""
        return date(self.year, self.month, monthrange(self.year, self.month)[1])

    @property
    def next(self) -> Month:
        """The month after it."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    def __format__(self, form: str) -> str:
        """As in file names: in the signs of `strftime`, or as it is written."""
        return self.first_day.strftime(form) if form else str(self)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"
