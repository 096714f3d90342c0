"""How numbers and times may be spelled in text: patterns, and the settings of `Csv` that read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pyarrow import compute

# its stubs know no plain Python values
pc: Any = compute
Array = Any  # of pyarrow, as its functions are typed

# A double holds each number of so many digits exactly.
EXACT_DIGITS = 15
_SIGNS = {
    "%d": r"(0?[1-9]|[12]\d|3[01])",
    "%m": r"(0?[1-9]|1[0-2])",
    "%Y": r"\d{4}",
    "%y": r"\d{2}",
    "%H": r"([01]?\d|2[0-3])",
    "%I": r"(0?[1-9]|1[0-2])",
    "%M": r"[0-5]\d",
    "%S": r"[0-5]\d",
    "%p": r"([AaPp][Mm])",
}
_DAYS = (
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%Y%m%d",
)
_CLOCKS = ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p")


@dataclass(frozen=True)
class Numbers:
    """The signs in numbers, as `Csv` declares them."""

    decimal: str = "."
    thousands: str = ""

    @cached_property
    def _whole(self) -> str:
        sign = re.escape(self.thousands)
        return rf"(?:0|[1-9]\d{{0,2}}(?:{sign}\d{{3}})+|[1-9]\d*)" if sign else r"(?:0|[1-9]\d*)"

    def are_whole(self, texts: Array) -> Array:
        """Which texts are whole numbers; 1.0 is one, and 007 is none: its zeros would be lost."""
        return pc.match_substring_regex(texts, rf"^-?{self._whole}(?:{re.escape(self.decimal)}0)?$")

    def are_numbers(self, texts: Array) -> Array:
        """Which texts are numbers that a double holds as they are written."""
        point = re.escape(self.decimal)
        power = r"(?:[eE][+-]?\d+)?" if self == Numbers() else ""
        number = rf"^-?(?:{self._whole}(?:{point}\d+{power})?|{point}\d+)$"
        mantissa = pc.replace_substring_regex(texts, r"[eE].*$", "")
        digits = pc.utf8_ltrim(pc.replace_substring_regex(mantissa, r"\D", ""), "0")
        exact = pc.less_equal(pc.utf8_length(digits), EXACT_DIGITS)
        return pc.and_(pc.match_substring_regex(texts, number), exact)

    def are_money(self, texts: Array) -> Array:
        """Which texts are numbers with two digits behind the point, as prices are written."""
        return pc.match_substring_regex(texts, rf"^-?{self._whole}{re.escape(self.decimal)}\d\d$")

    def have_signs(self, texts: Array) -> Array:
        """Which texts have one of the two signs in them."""
        return pc.match_substring_regex(texts, "[" + re.escape(self.decimal + self.thousands) + "]")


# The first that reads the most columns is taken.
NUMBERS = tuple(
    Numbers(decimal, thousands)
    for decimal, thousands in (
        *((".", ""), (",", ""), (".", ","), (",", "."), (",", " "), (",", "\u00a0"), (",", "\u202f"), (".", " ")),
        *((".", "'"), (".", "\u2019")),
    )
)


_DAY = r"^\d{4}-\d{2}-\d{2}"
_CLOCK = r"[ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?"
_USUAL = _DAY + _CLOCK


def have_zones(texts: Array) -> Array:
    """Which texts are times with a zone, written as 2024-01-31 23:59:59+01:00 or 2024-01-31T23:59:59Z."""
    return pc.match_substring_regex(texts, _USUAL + r"(Z|[+-]\d{2}:?\d{2})$")


# Two words that mean true and false. 1 and 0 are numbers.
PAIRS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"})


@dataclass(frozen=True)
class Times:
    """A form of times or days, in the signs of `strptime`; "" is 2024-01-31 23:59:59."""

    form: str
    pattern: str = ""  # of such texts, where the form does not say it

    def are_times(self, texts: Array) -> Array:
        """Which texts are spelled so. A day that no month has is found by conforming."""
        return pc.match_substring_regex(texts, self.pattern or self._pattern)

    @cached_property
    def _pattern(self) -> str:
        if not self.form:
            return _USUAL + "$"
        return "^" + re.sub("%.", lambda sign: _SIGNS[str(sign[0])], self.form.replace(".", r"\.")) + "$"

    @property
    def day_first(self) -> bool | None:
        """Whether the day stands before the month, where both are numbers that can be mistaken; else None."""
        found = re.match(r"%([dm])[/-]%[dm]", self.form)
        return found[1] == "d" if found else None


def _times() -> Iterator[Times]:
    yield Times("")
    for day in _DAYS:
        for between in (" ", "T"):
            for clock in _CLOCKS:
                yield Times(f"{day}{between}{clock}")


TIMES = tuple(_times())
# 20240131 is a whole number.
DAYS = tuple(Times(form) for form in _DAYS if form != "%Y%m%d")
# A date in a cell of Excel is a time at midnight. Text such as 2024-01-31 may stand beside it.
CELL_DAYS = Times("%Y-%m-%d", _DAY + "( 00:00:00)?$")
CELL_TIMES = Times("", f"{_DAY}({_CLOCK})?$")
DAYS_AS_TEXT = Times("%Y-%m-%d", _DAY + "$")
