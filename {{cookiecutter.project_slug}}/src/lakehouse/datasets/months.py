"""Months, as the TLC names its files: `2024-01`."""

from __future__ import annotations

import re
from collections.abc import Iterable
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
    def next(self) -> Month:
        """The month after it."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


def parse_months(words: Iterable[str]) -> list[Month]:
    """Months from `2024-01`, spans `2024-01..2024-06` and commas, in the order given, each once.

    Raises:
        SettingsError: a word is no month, or a span runs backwards.
    """
    months: dict[Month, None] = {}
    for word in (part for text in words for part in text.replace(",", " ").split()):
        first, dots, last = word.partition("..")
        month, end = Month.parse(first), Month.parse(last if dots else first)
        if end < month:
            raise SettingsError(f"The span {word} ends before it begins. Write the earlier month first.")
        while month <= end:
            months[month] = None
            month = month.next
    return list(months)
