"""Numbers, dates and times in text, as a file spells them, in the one spelling that casts understand."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import pyarrow as pa
from pyarrow import compute

from lakehouse.datasets.formats import Csv, Excel, Format, JsonLines
from lakehouse.datasets.model import Column
from lakehouse.loading.convert import trimmed

# its stubs know no plain Python values
pc: Any = compute

# How programs write that there is no value.
WORDS_FOR_NOTHING = ("NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "\\N", "-", "--")
_UTC = pa.timestamp("us", tz="UTC")
_TIME = "%Y-%m-%d %H:%M:%S"
_LOOKS = {
    "%Y": r"\d{4}",
    "%y": r"\d{2}",
    "%S": r"[0-5]?\d",
    **dict.fromkeys(("%d", "%m", "%H", "%I", "%M"), r"\d{1,2}"),
}
# A date in a cell of Excel is a time at midnight, and so is one that is text: what to replace, and by what.
_OF_CELLS = {
    "date": (r"^(\d{4}-\d{2}-\d{2}) 00:00:00$", r"\1"),
    "timestamp": (r"^\s*(\d{4}-\d{2}-\d{2})\s*$", r"\1 00:00:00"),
}
_EXAMPLE = datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC)


def plain(values: pa.Array[Any], column: Column, declared: Format) -> pa.Array[Any]:
    """A column's text with a point in numbers, and dates and times as such. Other columns stay as they are.

    What is declared as a word for no value is null.

    Raises:
        pa.ArrowInvalid: a value that is not spelled as declared.
    """
    if isinstance(declared, Csv):
        values = without_nulls(values, declared.nulls if column.nulls is None else column.nulls)
    if isinstance(declared, Csv) and _has_other_signs(declared) and column.kind in ("long", "double", "decimal"):
        return _numbers(values, declared)
    times, dates = form_of_times(declared), form_of_dates(declared)
    if column.type == "timestamptz" and "%z" in times:
        return _each(values, times, _UTC, _moment)
    if column.type in ("timestamp", "timestamptz") and times:
        return _times(values, times)
    if column.type == "date" and dates:
        return _each(values, dates, pa.date32(), _day)
    if isinstance(declared, Excel) and column.type in _OF_CELLS:
        cells: pa.Array[Any] = pc.replace_substring_regex(values, *_OF_CELLS[column.type])
        return cells
    return values


def without_nulls(values: pa.Array[Any], words: Collection[str]) -> pa.Array[Any]:
    """A column's text with null in place of the words that mean no value; blanks around them do not count."""
    if not words:
        return values
    is_null = pc.is_in(pc.utf8_trim_whitespace(values), pa.array(words))
    found: pa.Array[Any] = pc.if_else(is_null, pa.scalar(None, pa.string()), values)
    return found


def may_mean_nothing(text: str, declared: Csv) -> bool:
    """Whether text among numbers or times may be a supplier's own word for no value, and can be declared as one."""
    is_word = text != "" and not any(sign.isdigit() for sign in text)
    return is_word and not (declared.quote and declared.quote in text)


def form_of_times(declared: Format) -> str:
    """How times are written, in the signs of `strptime`; nothing where that is as usual."""
    return declared.times if isinstance(declared, Csv | JsonLines) else ""


def form_of_dates(declared: Format) -> str:
    """How dates are written, in the same signs; nothing where that is as usual."""
    return declared.dates if isinstance(declared, Csv | JsonLines) else ""


def example_of_a_time(declared: Format, *, zone: bool = False) -> str:
    """A time as a file spells it, for messages."""
    return f"{_EXAMPLE:{form_of_times(declared) or (f'{_TIME}+01:00' if zone else _TIME)}}"


def example_of_a_date(declared: Format) -> str:
    """A date as a file spells it, for messages."""
    return f"{_EXAMPLE:{form_of_dates(declared) or '%Y-%m-%d'}}"


def example_of_a_number(declared: Format, *, whole: bool = False) -> str:
    """How a file spells a number, for messages; nothing where it is as usual."""
    if not (isinstance(declared, Csv) and _has_other_signs(declared)):
        return ""
    return f", written as 1{declared.thousands}234" + ("" if whole else f"{declared.decimal}5")


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
    texts = trimmed(values)
    times: pa.Array[Any] = pc.strptime(texts, format=form, unit="us", error_is_null=False)
    # Arrow takes the 31st of February for the 2nd of March. Such a day ends up early in the month after a short one.
    early = pc.and_(pc.less_equal(pc.day(times), 3), pc.is_in(pc.month(times), pa.array([3, 5, 7, 10, 12])))
    doubtful = pc.or_(early, pc.less(pc.year(times), 1000))  # and 31.01.24 for a day of the year 24
    # 01.02.20210:00 for midnight in the year 2021, 01.02.4 for a day of 2004, and 10:00:60 for 10:01.
    doubtful = pc.or_(doubtful, pc.invert(pc.match_substring_regex(texts, _pattern(form))))
    for text in pc.unique(pc.filter(texts, doubtful)).to_pylist():
        _parsed(text, form)
    return times


@cache
def _pattern(form: str) -> str:
    """What a time of this form looks like. Arrow takes others too."""
    pieces = re.findall(r"%.|\s+|[^%\s]+", form)
    return f"^{''.join(_LOOKS.get(piece, '.+' if piece[0] == '%' else _literal(piece)) for piece in pieces)}$"


def _literal(text: str) -> str:
    return r"\s+" if text.isspace() else re.escape(text)


def _each(values: pa.Array[Any], form: str, target: Any, read: Callable[[str, str], date]) -> pa.Array[Any]:
    """Text read by Python, each one once: slower than Arrow, but days are few, and Arrow reads no zones like +01:00."""
    texts: Any = trimmed(values).dictionary_encode()
    found = pa.array([read(text, form) for text in texts.dictionary.to_pylist()], target)
    each: pa.Array[Any] = found.take(texts.indices)
    return each


def _moment(text: str, form: str) -> datetime:
    try:
        return _parsed(text, form).astimezone(UTC)
    except OverflowError as error:
        raise pa.ArrowInvalid(str(error)) from error


def _day(text: str, form: str) -> date:
    time = _parsed(text, form)
    if time.time() != datetime.min.time():
        raise pa.ArrowInvalid(f"{text} has a time of day")
    return time.date()


def _parsed(text: str, form: str) -> datetime:
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007 - local times
    except ValueError as error:
        raise pa.ArrowInvalid(str(error)) from error
