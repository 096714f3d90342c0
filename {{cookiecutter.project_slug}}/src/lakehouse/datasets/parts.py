"""Parts: what one file is of its table. A month of it, a day of it, or all of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from lakehouse.datasets.days import Day
from lakehouse.datasets.months import Month
from lakehouse.errors import SettingsError

Part = Month | Day


@dataclass(frozen=True)
class Monthly:
    """A file is a month: the table is partitioned by `file_month`, and a file replaces its month.

    Rows may lie a day outside of it: files hold the last minutes of their neighbours. `lag` is how long after its end a
    month is published at the earliest.
    """

    since: Month
    # Not shown in `repr`: the code version of the raw asset is made of it, and no row changes with this.
    lag: timedelta = field(default=timedelta(0), repr=False)

    kind = Month
    word = "month"
    column = "file_month"
    example = "2024-01"
    form = "%Y%m"
    complete = True
    unit = "M"  # as numpy calls it
    tolerance = timedelta(days=1)
    period = timedelta(days=31)
    patience = timedelta(days=15)  # a file that is later than its lag by more is missed

    def has(self, part: Part | None) -> bool:
        """Whether this is what a file is: a month."""
        return isinstance(part, Month)


@dataclass(frozen=True)
class Daily:
    """A file is a day: the table is partitioned by `file_date`, and a file replaces its day.

    `lag` is how long after its end a day is published at the earliest.
    """

    since: Day
    lag: timedelta = field(default=timedelta(0), repr=False)

    kind = Day
    word = "day"
    column = "file_date"
    example = "2024-01-05"
    form = "%Y%m%d"
    complete = True
    unit = "D"  # as numpy calls it
    tolerance = timedelta(0)
    period = timedelta(days=1)
    patience = timedelta(days=3)  # a long weekend

    def has(self, part: Part | None) -> bool:
        """Whether this is what a file is: a day."""
        return isinstance(part, Day)


@dataclass(frozen=True)
class Whole:
    """A file is the whole table, and replaces it.

    With a key, its rows are merged into the table. One that is not `complete` brings only new and changed rows: those
    that it lacks stay.
    """

    complete: bool = True

    word = "file"
    column = None
    example = ""

    def has(self, part: Part | None) -> bool:
        """Whether this is what a file is: no part of the table."""
        return part is None


def parse_parts(kind: type[Month | Day], words: Iterable[str]) -> list[Part]:
    """Months or days from `2024-01`, spans `2024-01..2024-06` and commas, in the order given, each once.

    Raises:
        SettingsError: a word is none, or a span runs backwards.
    """
    parts: dict[Part, None] = {}
    for word in (piece for text in words for piece in text.replace(",", " ").split()):
        first, dots, last = word.partition("..")
        if dots and not (first and last):
            raise SettingsError(
                f"The span {word} needs a {kind.__name__.lower()} on both sides of `..`, without blanks. Write it as "
                f"{'2024-01..2024-06' if kind is Month else '2024-01-05..2024-01-31'}."
            )
        part: Part = kind.parse(first)
        end = kind.parse(last if dots else first)
        if end.first_day < part.first_day:
            raise SettingsError(
                f"The span {word} ends before it begins. Write the earlier {kind.__name__.lower()} "
                f"first: {end}..{part}."
            )
        while part.first_day <= end.first_day:
            parts[part] = None
            part = part.next
    return list(parts)


def parse_months(words: Iterable[str]) -> list[Month]:
    """Months; see `parse_parts`."""
    return [Month.of(part.first_day) for part in parse_parts(Month, words)]
