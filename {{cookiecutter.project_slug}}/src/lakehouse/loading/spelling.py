"""Numbers and times in text, as a file spells them, in the one spelling that casts understand."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pyarrow as pa
from pyarrow import compute

from lakehouse.datasets.formats import Csv, Format, JsonLines
from lakehouse.datasets.model import Column

# its stubs know no plain Python values
pc: Any = compute


def plain(values: pa.Array[Any], column: Column, declared: Format) -> pa.Array[Any]:
    """A column's text with a point in numbers, and times as 2024-01-31 23:59:59. Other columns stay as they are.

    Raises:
        pa.ArrowInvalid: a value that is not spelled as declared.
    """
    if isinstance(declared, Csv) and _has_other_signs(declared) and column.type in ("long", "double"):
        return _numbers(values, declared)
    if column.type == "timestamp" and (form := form_of_times(declared)):
        return _times(values, form)
    return values


def form_of_times(declared: Format) -> str:
    """How times are written, in the signs of `strptime`; nothing where that is as usual."""
    return declared.times if isinstance(declared, Csv | JsonLines) else ""


def example_of_a_time(declared: Format) -> str:
    """A time as a file spells it, for messages."""
    form = form_of_times(declared) or "%Y-%m-%d %H:%M:%S"
    return f"{datetime(2024, 1, 31, 23, 59, 59):{form}}"  # noqa: DTZ001 - a local time


def example_of_a_number(declared: Format) -> str:
    """How a file spells a number, for messages; nothing where it is as usual."""
    if not (isinstance(declared, Csv) and _has_other_signs(declared)):
        return ""
    return f", written as 1{declared.thousands}234{declared.decimal}5"


def _has_other_signs(declared: Csv) -> bool:
    """Whether numbers are not written as casts read them."""
    return declared.decimal != "." or bool(declared.thousands)


def _numbers(values: pa.Array[Any], declared: Csv) -> pa.Array[Any]:
    thousands, decimal = re.escape(declared.thousands), re.escape(declared.decimal)
    whole = rf"(?:\d{{1,3}}(?:{thousands}\d{{3}})+|\d+)" if thousands else r"\d+"
    number = rf"^\s*[+-]?(?:{whole}(?:{decimal}\d*)?|{decimal}\d+)?\s*$"
    good = pc.match_substring_regex(values, number)
    if not pc.all(good.fill_null(True)).as_py():
        raise pa.ArrowInvalid(f"{pc.filter(values, pc.invert(good))[0]} is not spelled as declared")
    if declared.thousands:
        values = pc.replace_substring(values, declared.thousands, "")
    spelled: pa.Array[Any] = pc.replace_substring(values, declared.decimal, ".")
    return spelled


def _times(values: pa.Array[Any], form: str) -> pa.Array[Any]:
    trimmed = pc.utf8_trim_whitespace(values)
    trimmed = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    times: pa.Array[Any] = pc.strptime(trimmed, format=form, unit="us", error_is_null=False)
    # Arrow takes the 31st of February for the 2nd of March. Such a day ends up early in the month after a short one.
    early = pc.and_(pc.less_equal(pc.day(times), 3), pc.is_in(pc.month(times), pa.array([3, 5, 7, 10, 12])))
    for text in pc.unique(pc.filter(trimmed, early)).to_pylist():
        try:
            datetime.strptime(text, form)  # noqa: DTZ007 - local times
        except ValueError as error:
            raise pa.ArrowInvalid(str(error)) from error
    return times
