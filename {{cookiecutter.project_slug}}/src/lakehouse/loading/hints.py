"""Hints: what to declare if a file writes values in another way than its dataset says."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any

import pyarrow as pa

from lakehouse.datasets.formats import Csv, Format
from lakehouse.datasets.model import Column
from lakehouse.datasets.types import MOST_DIGITS, digits_of
from lakehouse.loading.convert import converted, first_out_of_range, is_text
from lakehouse.loading.spelling import WORDS_FOR_NOTHING, may_mean_nothing, plain

_DAYS = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y%m%d", "%d.%m.%y")
_CLOCKS = ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
_Changes = dict[str, Any]  # of fields of `Csv`
_NUMBERS: tuple[_Changes, ...] = tuple(
    {"decimal": decimal, "thousands": thousands}
    for decimal, thousands in (
        *((".", ""), (",", ""), (",", "."), (".", ","), (".", "'"), (".", "\u2019")),
        *((",", " "), (",", "\u00a0"), (",", "\u202f"), (".", " ")),
    )
)
_OTHER_WAYS: dict[str, tuple[_Changes, ...]] = {
    **dict.fromkeys(("long", "double", "decimal"), _NUMBERS),
    "date": tuple({"dates": day} for day in _DAYS),
    "timestamp": tuple({"times": f"{day} {clock}"} for day, clock in product(_DAYS, _CLOCKS)),
}


def hint(column: Column, value: pa.Array[Any], declared: Format) -> str:
    """What to declare so that a refused value is loaded, as sentences; empty where nothing is known that helps.

    `value` is an array of one value. How values are written can be declared of a CSV file only.
    """
    if column.kind == "list":
        return ""
    found = _read(column, value, declared)
    # What reads well is refused by another rule, such as a key that may not be null.
    reads_well = found is not None and first_out_of_range(column, found) is None
    larger = "" if found is None or reads_well else _larger(column, value, declared)
    if reads_well or larger or not isinstance(declared, Csv) or not is_text(value.type):
        return larger
    word = str(value[0].as_py()).strip()
    ways = _finer(column, value, declared)  # what the value means, and what to declare for it
    for changes in _OTHER_WAYS.get(column.kind, ()):
        found = _read(column, value, replace(declared, **changes))
        if found is not None and first_out_of_range(column, found) is None:
            says = [f"{name}={sign!r}" for name, sign in changes.items() if sign != getattr(declared, name)]
            ways.setdefault(_meaning(found[0].as_py()), ", ".join(says))
    if len(ways) == 1:
        return f" If all of the file is written so, declare {next(iter(ways.values()))}."
    if ways:
        return "".join(f" If {word!r} means {meaning}, declare {says}." for meaning, says in ways.items())
    if word in WORDS_FOR_NOTHING:
        return _as_null(column, word, declared)
    is_own_word = column.kind in _OTHER_WAYS and may_mean_nothing(word, declared)
    as_null, what = (_as_null(column, word, declared), "other words") if is_own_word else ("", "such values")
    return (
        f'{as_null} If {what} may come, declare {column.name} as "string", and convert it in the staging model; or set '
        'on_bad_rows="set aside".'
    )


def _read(column: Column, value: pa.Array[Any], declared: Format) -> pa.Array[Any] | None:
    """The value in the column's type, if it is written as declared; it may be out of range."""
    with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
        return converted(column, plain(value, column, declared))
    return None


def _larger(column: Column, value: pa.Array[Any], declared: Format) -> str:
    """How to take a number that is too large, if another declaration takes it; else empty."""
    if column.role == "count":
        return f' If such numbers are right, remove role="count" from {column.name}.'
    if column.type == "double" and _read(replace(column, type="decimal(18,2)"), value, declared) is not None:
        return f' If such numbers are right, declare {column.name} as "decimal(18,2)", also in its staging model.'
    return ""


def _finer(column: Column, value: pa.Array[Any], declared: Csv) -> dict[str, str]:
    """For a number with more digits behind the point than its column has: what it means, and the type that takes it."""
    if column.kind != "decimal":
        return {}
    exact = _read(replace(column, type=f"decimal({MOST_DIGITS},{MOST_DIGITS // 2})"), value, declared)
    if exact is None or not exact[0].is_valid:
        return {}
    number = exact[0].as_py().normalize()
    (digits, behind), wanted = digits_of(column.type), -number.as_tuple().exponent
    if wanted <= behind or digits - behind + wanted > MOST_DIGITS:
        return {}
    return {str(number): f'{column.name} as "decimal({digits - behind + wanted},{wanted})", also in its staging model'}


def _meaning(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _as_null(column: Column, word: str, declared: Csv) -> str:
    """How to declare that a word means no value, beside the words that do already."""
    nulls = (*(declared.nulls if column.nulls is None else column.nulls), word)
    others = ", or in Csv for all columns, also those of text" if column.nulls is None else ""
    return f" If {word!r} means that there is no value, declare nulls={nulls!r}: in this Column{others}."
