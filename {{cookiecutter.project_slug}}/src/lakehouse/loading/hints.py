"""Hints: what to declare if a file writes values in another way than its dataset says."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any

import pyarrow as pa

from lakehouse.datasets.formats import Csv, Format
from lakehouse.datasets.model import Column
from lakehouse.loading.convert import converted, is_text
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
    """What to declare so that a refused value of a CSV file is read, as a sentence; empty for other formats."""
    if not isinstance(declared, Csv) or not is_text(value.type):
        return ""
    for changes in _OTHER_WAYS.get(column.kind, ()):
        with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
            converted(column, plain(value, column, replace(declared, **changes)))
            says = ", ".join(f"{name}={sign!r}" for name, sign in changes.items())
            return f" If all of the file is written so, declare {says}."
    word = str(value[0].as_py()).strip()
    if word in WORDS_FOR_NOTHING:
        return _as_null(column, word, declared)
    is_own_word = column.kind in _OTHER_WAYS and may_mean_nothing(word, declared)
    as_null, what = (_as_null(column, word, declared), "other words") if is_own_word else ("", "such values")
    return (
        f'{as_null} If {what} may come, declare {column.name} as "string", and convert it in the staging model; or set '
        'on_bad_rows="set aside".'
    )


def _as_null(column: Column, word: str, declared: Csv) -> str:
    """How to declare that a word means no value, beside the words that do already."""
    nulls = (*(declared.nulls if column.nulls is None else column.nulls), word)
    others = ", or in Csv for all columns, also those of text" if column.nulls is None else ""
    return f" If {word!r} means that there is no value, declare nulls={nulls!r}: in this Column{others}."
