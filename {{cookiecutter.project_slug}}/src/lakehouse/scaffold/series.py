"""Parts: what the names of sample files say of months and days."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lakehouse.datasets.days import Day
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Daily, Monthly, Part, Whole
from lakehouse.errors import RefusedError
from lakehouse.sources.search import named

_DAYS = {
    r"(?<!\d)(?:19|20)\d\d-\d\d-\d\d(?!\d)": "%Y-%m-%d",
    r"(?<!\d)(?:19|20)\d\d_\d\d_\d\d(?!\d)": "%Y_%m_%d",
    r"(?<!\d)(?:19|20)\d\d\.\d\d\.\d\d(?!\d)": "%Y.%m.%d",
    r"(?<!\d)(?:19|20)\d{6}(?!\d)": "%Y%m%d",
    r"(?<!\d)\d\d\.\d\d\.(?:19|20)\d\d(?!\d)": "%d.%m.%Y",
    r"(?<!\d)\d\d-\d\d-(?:19|20)\d\d(?!\d)": "%d-%m-%Y",
}
_MONTHS = {
    r"(?<![\d-])(?:19|20)\d\d-\d\d(?![\d-])": "%Y-%m",
    r"(?<![\d_])(?:19|20)\d\d_\d\d(?![\d_])": "%Y_%m",
    r"(?<!\d)(?:19|20)\d{4}(?!\d)": "%Y%m",
}
_AS_WRITTEN = {"%Y-%m-%d", "%Y-%m"}


@dataclass(frozen=True)
class Series:
    """What the files are of their table: `files` and `parts` of the declaration, and each sample's part."""

    files: str
    parts: Monthly | Daily | Whole
    found: tuple[Part | None, ...]


def series_of(names: Sequence[str]) -> Series:
    """Find the month or day in the names of files.

    Raises:
        RefusedError: several files that are no parts of one table.
    """
    for kind, patterns in ((Day, _DAYS), (Month, _MONTHS)):
        for pattern, form in patterns.items():
            if series := _series(names, kind, pattern, form):
                return series
    if len(names) > 1:
        raise RefusedError(
            f"These files are no series: {named(names)}. Their names must differ in a month or day, as in "
            "orders_2024-01.csv or orders_2024-01-05.csv. Rename them; if one file is the whole table, give one sample."
            " If several files are one month, one day or the table together, give one, and write a * in `files`."
        )
    return Series(_escaped(names[0]), Whole(), (None,))


def _series(names: Sequence[str], kind: type[Month | Day], pattern: str, form: str) -> Series | None:
    """The series, if each name has one such part, all differ in it, and in nothing else."""
    found: list[Part] = []
    files = set()
    for name in names:
        places = list(re.finditer(pattern, name))
        if len(places) != 1:
            return None
        before, written, after = name[: places[0].start()], places[0][0], name[places[0].end() :]
        try:
            found.append(kind.of(datetime.strptime(written, form).date()))  # noqa: DTZ007 - a day has no zone
        except ValueError:
            return None
        sign = "" if form in _AS_WRITTEN else f":{form}"
        files.add(f"{_escaped(before)}{{{kind.__name__.lower()}{sign}}}{_escaped(after)}")
    if len(files) != 1 or len(set(found)) != len(found):
        return None
    first = min(found, key=lambda part: part.first_day)
    parts = Monthly(since=first) if isinstance(first, Month) else Daily(since=first)
    return Series(files.pop(), parts, tuple(found))


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
