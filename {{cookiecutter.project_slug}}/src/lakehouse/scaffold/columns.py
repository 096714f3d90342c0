"""The types of columns: the narrowest to which every value of every sample conforms, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import compute

from lakehouse.datasets.formats import Csv, Excel, JsonLines
from lakehouse.datasets.types import MOST_DIGITS, kind_of
from lakehouse.loading.spelling import WORDS_FOR_NOTHING, may_mean_nothing
from lakehouse.scaffold.spellings import (
    CELL_DAYS,
    CELL_TIMES,
    DAYS,
    DAYS_AS_TEXT,
    NUMBERS,
    PAIRS,
    TIMES,
    Numbers,
    Times,
    have_zones,
)

# its stubs know no plain Python values
pc: Any = compute

F = TypeVar("F")
# Formats whose values are text, of which types are guessed.
TextFormat = Csv | JsonLines | Excel
_USUAL_DAY = Times("%Y-%m-%d")
# Of so many first values, at least half must be spelled in one way, or it is not looked for any longer.
ENOUGH = 200
# Two words have few spellings, in capitals and without.
MOST_SPELLINGS = 50


@dataclass
class Tally:
    """How many values are spelled in one way, and the first that is not: where it is, and the value."""

    matched: int = 0
    first_other: tuple[str, str] | None = None


@dataclass
class Texts:
    """What is seen of one column's texts, batch by batch. Of lists, what they hold is looked at. Holds no rows."""

    lists: bool = False
    rows: int = 0
    empty: int = 0
    whole: dict[Numbers, Tally] = field(default_factory=lambda: {form: Tally() for form in NUMBERS})
    numbers: dict[Numbers, Tally] = field(default_factory=lambda: {form: Tally() for form in NUMBERS})
    signed: dict[Numbers, Tally] = field(default_factory=lambda: {form: Tally() for form in NUMBERS})
    money: dict[Numbers, Tally] = field(default_factory=lambda: {form: Tally() for form in NUMBERS})
    times: dict[Times, Tally] = field(default_factory=lambda: {form: Tally() for form in TIMES})
    days: dict[Times, Tally] = field(default_factory=lambda: {form: Tally() for form in DAYS})
    cells: dict[Times, Tally] = field(  # of Excel
        default_factory=lambda: {form: Tally() for form in (CELL_DAYS, CELL_TIMES, DAYS_AS_TEXT)}
    )
    zoned: Tally | None = field(default_factory=Tally)
    words: set[str] | None = field(default_factory=set)
    digits: int = 0
    zeros: tuple[str, str] | None = None
    first: str = ""
    nothing: set[str] = field(default_factory=set)  # words among them that mean no value in other columns

    @property
    def filled(self) -> int:
        """How many values are not empty."""
        return self.rows - self.empty

    def add(self, values: pa.Array[Any], place: Callable[[int], str]) -> None:
        """Look at one batch of the column. `place` names a row of it, counted from 0."""
        named = place
        if pa.types.is_list(values.type):
            held: Any = values
            rows = pc.list_parent_indices(held)
            self.lists, values = True, held.flatten()

            def named(value: int) -> str:
                return place(rows[value].as_py())

        texts = pc.utf8_trim_whitespace(values)
        counted = texts.value_counts()
        found, counts = counted.field("values"), counted.field("counts")
        kept = pc.and_(pc.is_valid(found), pc.not_equal(found, ""))
        found, counts = found.filter(kept), counts.filter(kept)
        filled = pc.sum(counts).as_py() or 0
        if len(found):
            if not self.first:
                self.first = found[0].as_py()
                self._drop(found.slice(0, ENOUGH))
            self.nothing |= set(found.filter(pc.is_in(found, pa.array(WORDS_FOR_NOTHING))).to_pylist())
            self._tally(texts, found, counts, named)
            self._measure(found)
        self.rows += len(values)
        self.empty += len(values) - filled

    def _drop(self, found: pa.Array[Any]) -> None:
        """Forget the spellings that few of these values have: no column is of a type that one value does not have."""

        def few(test: Callable[[pa.Array[Any]], pa.Array[Any]]) -> bool:
            return bool((pc.sum(test(found)).as_py() or 0) * 2 < len(found))

        for form in NUMBERS:
            if few(form.are_whole):
                del self.whole[form]
            if few(form.are_numbers):
                del self.numbers[form], self.signed[form]
            if few(form.are_money):
                del self.money[form]
        if few(have_zones):
            self.zoned = None
        if few(CELL_TIMES.are_times):  # the others are among them
            self.cells = {}
        for tallies in (self.times, self.days):
            for time in [time for time in tallies if few(time.are_times)]:
                del tallies[time]

    def _tally(
        self, texts: pa.Array[Any], found: pa.Array[Any], counts: pa.Array[Any], place: Callable[[int], str]
    ) -> None:
        tests: list[tuple[Tally, Callable[[pa.Array[Any]], pa.Array[Any]]]] = [
            *((tally, form.are_whole) for form, tally in self.whole.items()),
            *((tally, form.are_numbers) for form, tally in self.numbers.items()),
            *((tally, form.are_money) for form, tally in self.money.items()),
            *(
                (tally, form.are_times)
                for tallies in (self.times, self.days, self.cells)
                for form, tally in tallies.items()
            ),
            *([(self.zoned, have_zones)] if self.zoned else []),
            *((self.signed[form], form.have_signs) for form in self.numbers),
        ]
        for tally, test in tests:
            good = test(found)
            tally.matched += pc.sum(counts.filter(good)).as_py() or 0
            if tally.first_other is None and not pc.all(good).as_py():
                tally.first_other = _first(texts, found.filter(pc.invert(good)), place)
        if self.zeros is None:
            zeros = pc.match_substring_regex(found, r"^0\d+$")
            if pc.any(zeros).as_py():
                self.zeros = _first(texts, found.filter(zeros), place)

    def _measure(self, found: pa.Array[Any]) -> None:
        """Note the words of a column that has two of them only, and the digits of the longest amount of money."""
        if self.words is not None:
            few = set(pc.utf8_lower(found).to_pylist()) if len(found) <= MOST_SPELLINGS else None
            self.words = None if few is None or len(self.words | few) > 2 else self.words | few
        if self.money:
            digits = pc.utf8_length(pc.replace_substring_regex(found, r"\D", ""))
            self.digits = max(self.digits, pc.max(digits).as_py())

    def all_in(self, tally: Tally | None) -> bool:
        """Whether every value is spelled so, and there is one."""
        return tally is not None and 0 < self.filled == tally.matched


def _first(texts: pa.Array[Any], wanted: pa.Array[Any], place: Callable[[int], str]) -> tuple[str, str]:
    """Where the first of these values is, and which it is."""
    position = pc.index(pc.is_in(texts, wanted), True).as_py()
    return place(position), texts[position].as_py()


@dataclass(frozen=True)
class Typed:
    """The type of a column, and why."""

    type: Any  # as `Column` has it
    why: str


def spelled(texts: Iterable[Texts], declared: TextFormat) -> tuple[TextFormat, tuple[str, ...]]:
    """Choose the signs in numbers and the form of times by which the most columns have a type, and what to tell."""
    if isinstance(declared, Excel):
        return declared, ()
    columns = list(texts)
    # Times with a zone are read where times are written as usual; they don't decide against local ones.
    zoned = sum(column.all_in(column.zoned) for column in columns)
    times, others = _best(
        TIMES,
        lambda form: (
            2 * sum(column.all_in(column.times.get(form)) for column in columns) + (zoned > 0 and not form.form)
        ),
    )
    days, other_days = _best(
        (_USUAL_DAY, *DAYS), lambda form: sum(column.all_in(column.days.get(form)) for column in columns)
    )
    told = _two_orders([column.times for column in columns], columns, times, others, "times")
    told += _two_orders([column.days for column in columns], columns, days, other_days, "dates")
    declared = replace(declared, times=times.form, dates="" if days == _USUAL_DAY else days.form)
    if isinstance(declared, JsonLines):
        return declared, tuple(told)
    # With semicolons between values, a comma stands in numbers.
    order = sorted(NUMBERS, key=lambda form: (declared.delimiter == ";") != (form.decimal == ","))
    order.remove(Numbers())
    numbers, notes = _best(
        [Numbers(), *order],
        lambda form: sum(
            column.all_in(column.numbers.get(form)) or column.all_in(column.money.get(form)) for column in columns
        ),
    )
    told += _two_readings(columns, numbers, notes)
    return replace(declared, decimal=numbers.decimal, thousands=numbers.thousands), tuple(told)


def _numbers(declared: TextFormat) -> Numbers:
    return Numbers(declared.decimal, declared.thousands) if isinstance(declared, Csv) else Numbers()


def _best(forms: Sequence[F], count: Callable[[F], int]) -> tuple[F, list[F]]:
    """The first form with the greatest count, and the others that have it."""
    counts = {form: count(form) for form in forms}
    most = max(counts.values())
    first, *others = [form for form in forms if counts[form] == most]
    return first, others if most else []


def _two_readings(columns: list[Texts], chosen: Numbers, others: list[Numbers]) -> list[str]:
    """What to tell where a point or comma can be the decimal sign and the thousands sign."""
    for column in columns:
        for other in others:
            if other.decimal == chosen.decimal or not column.all_in(column.numbers.get(chosen)):
                continue
            if column.signed[chosen].matched and other.thousands == chosen.decimal:
                is_thousands = bool(chosen.thousands) and chosen.thousands in column.first
                sign = chosen.thousands if is_thousands else chosen.decimal
                can, was = "be the decimal sign", "to stand between thousands"
                if not is_thousands:
                    can, was = "stand between thousands", "as the decimal sign"
                return [
                    (
                        f"Numbers such as {column.first} have two readings: {sign!r} can also {can}. It was taken "
                        f"{was}. If that is wrong, declare decimal={other.decimal!r}, thousands={other.thousands!r}."
                    )
                ]
    return []


def _two_orders(
    tallies: list[dict[Times, Tally]], columns: list[Texts], chosen: Times, others: list[Times], what: str
) -> list[str]:
    """What to tell where day and month can be mistaken."""
    other = next((form for form in others if form.day_first is not None and form.day_first != chosen.day_first), None)
    if chosen.day_first is None or other is None:
        return []
    example = next(
        column.first for column, found in zip(columns, tallies, strict=True) if column.all_in(found.get(chosen))
    )
    return [
        (
            f"{what.capitalize()} such as {example} have two readings, as no number in them is above 12. The day was "
            f"taken to stand first, as in most countries. If the month does, declare {what}={other.form!r}."
        )
    ]


def typed(texts: Texts, declared: TextFormat) -> Typed:
    """The type of a column of text, as the whole of it is spelled, and why."""
    found = Typed("string", "no value in any row")
    if texts.filled:
        found = next(_fitting(texts, declared), None) or Typed("string", _why_text(texts, declared))
    return list_of(found) if texts.lists else found


def list_of(held: Typed) -> Typed:
    """A list of such values."""
    return Typed(f"list({held.type})", f"a list; {held.why}")


def widest(kind: str) -> str:
    """The type that takes most of what a column of this type may have."""
    return "list(string)" if kind_of(kind) == "list" else "string"


def _fitting(texts: Texts, declared: TextFormat) -> Iterator[Typed]:
    """The types that all values have, the narrowest first."""
    numbers = _numbers(declared)
    if texts.words in PAIRS or texts.words in ({"true"}, {"false"}):
        yield Typed("boolean", _all(texts, " or ".join(sorted(texts.words or (), reverse=True))))
    if texts.all_in(texts.whole.get(numbers)):
        yield Typed("long", _all(texts, "whole numbers"))
    if texts.all_in(texts.money.get(numbers)) and texts.digits <= MOST_DIGITS:
        yield _money(texts)
    if texts.all_in(texts.numbers.get(numbers)):
        yield Typed("double", f"{texts.signed[numbers].matched:,} of {texts.filled:,} values have decimals")
    if isinstance(declared, Excel):
        yield from _fitting_cells(texts)
    else:
        if texts.all_in(texts.days.get(Times(declared.dates) if declared.dates else _USUAL_DAY)):
            yield Typed("date", f"{_all(texts, 'days')}, written as {texts.first}")
        if texts.all_in(texts.times.get(Times(declared.times))):
            yield Typed("timestamp", f"{_all(texts, 'times')}, written as {texts.first}")
    if texts.all_in(texts.zoned) and (isinstance(declared, Excel) or not declared.times):
        yield Typed("timestamptz", f"{_all(texts, 'times with a zone')}, written as {texts.first}")


def _money(texts: Texts) -> Typed:
    """A type of decimals that holds a hundred times as much as the longest amount."""
    digits = next((some for some in (12, 18) if texts.digits + 2 <= some), MOST_DIGITS)
    return Typed(
        f"decimal({digits},2)",
        f"{_all(texts, 'numbers with two decimals')}, as prices are, and sums of decimals are exact; "
        "a file with more decimals would be refused, so declare double if one may come",
    )


def _fitting_cells(texts: Texts) -> Iterator[Typed]:
    """The types of dates and times in cells of Excel, of which some may be text."""
    if not texts.cells:
        return
    days = texts.cells[DAYS_AS_TEXT].matched
    as_text = 0 < days < texts.filled
    if texts.all_in(texts.cells[CELL_DAYS]):
        mixed = f": {texts.filled - days:,} dates of Excel, and {days:,} texts such as 2024-01-31"
        yield Typed("date", f"{_all(texts, 'days')}{mixed if as_text else f', written as {texts.first}'}")
    if texts.all_in(texts.cells[CELL_TIMES]):
        mixed = f"; {days:,} are text such as 2024-01-31, which means midnight" if as_text else ""
        yield Typed("timestamp", f"{_all(texts, 'times')}, written as {texts.first}{mixed}")


def _all(texts: Texts, what: str) -> str:
    return f"{texts.filled:,} of {texts.filled:,} values are {what}"


def _why_text(texts: Texts, declared: TextFormat) -> str:
    """Why a column is text: what it nearly is, or how it begins."""
    if texts.zeros:
        place, value = texts.zeros
        return f"{shown(value)} in {place} begins with 0, which a number would lose"
    of_excel = isinstance(declared, Excel)
    for forms, what in ((texts.times, "times"), (texts.days, "days"), ({None: texts.zoned}, "times with a zone")):
        if any(texts.all_in(tally) for tally in forms.values()):
            if of_excel:
                return f"{what} such as {shown(texts.first)}; in Excel, only text such as 2024-01-31 is read as a date"
            return f"{what} such as {shown(texts.first)}; a file has one form of {what}, and most columns have another"
    nearly = [
        (tally.matched, tally, what)
        for tally, what in (
            (texts.numbers.get(_numbers(declared)), "numbers"),
            *(((texts.cells.get(CELL_DAYS), "days"), (texts.cells.get(CELL_TIMES), "times")) if of_excel else ()),
            *((tally, "times") for tally in texts.times.values()),
            *((tally, "days") for tally in texts.days.values()),
        )
        if tally and tally.matched * 2 >= texts.filled and tally.first_other
    ]
    if not nearly:
        return f"text such as {shown(texts.first)}"
    matched, tally, what = max(nearly, key=lambda one: one[0])
    place, value = tally.first_other or ("", "")
    none = texts.filled - matched
    are = f"is no {what[:-1]}" if none == 1 else f"are no {what}"
    why = f"{none:,} of {texts.filled:,} values {are}: {shown(value)} in {place}"
    if isinstance(declared, Csv) and may_mean_nothing(value, declared):
        why += f"; where that means no value, declare a type of {what}, and nulls={(*declared.nulls, value)!r}"
    return why


def shown(value: str) -> str:
    """A value for messages and comments, on one line and not too long."""
    return repr(value if len(value) <= 40 else f"{value[:37]}…")


_TYPES: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_integer, "long"),
    (pa.types.is_floating, "double"),
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_date, "date"),
    (pa.types.is_string, "string"),
    (pa.types.is_large_string, "string"),
    (pa.types.is_string_view, "string"),
    (pa.types.is_null, "string"),
)


def typed_by_file(kind: pa.DataType) -> Typed | None:
    """The type of a parquet file's column; None if no type of a raw table takes it."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_list(plain) or pa.types.is_large_list(plain):
        held = typed_by_file(plain.value_type)
        return list_of(held) if held and kind_of(held.type) != "list" else None
    if pa.types.is_timestamp(plain):
        return Typed("timestamptz" if plain.tz else "timestamp", f"the file's type is {kind}")
    if pa.types.is_decimal128(plain) and 0 <= plain.scale <= plain.precision:
        return Typed(f"decimal({plain.precision},{plain.scale})", f"the file's type is {kind}")
    if pa.types.is_decimal(plain):
        return Typed("double", f"the file's type is {kind}")
    return next((Typed(name, f"the file's type is {kind}") for test, name in _TYPES if test(plain)), None)


def wider(one: Typed, other: Typed) -> Typed:
    """The type that takes the values of both."""
    if one.type == other.type:
        return one
    if {kind_of(one.type), kind_of(other.type)} <= {"long", "double", "decimal"}:
        if "decimal" in (kind_of(one.type), kind_of(other.type)):
            return Typed("double", f"{one.why} in one sample, {other.why} in another")
        return one if one.type == "double" else other
    return Typed("string", f"{one.why} in one sample, {other.why} in another")
