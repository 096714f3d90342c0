"""Conforming: a published file's batches, in the one shape of its raw table, or a refusal that names the cause.

`plan` matches a file's columns to the declaration once; `Conformer` then turns batch after batch, so memory stays flat.
Every cast either keeps each value exactly or refuses; there is no third way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
from pyarrow import compute

from lakehouse.datasets.formats import Format
from lakehouse.datasets.model import LARGEST_CODE, ZONE_IDS, Column, Dataset, Name, normalised
from lakehouse.datasets.parts import Part, Whole
from lakehouse.datasets.types import digits_of
from lakehouse.errors import RefusedError
from lakehouse.formats.protocol import UnreadRows, row_from_0
from lakehouse.loading.convert import accepts, arrow_type, converted, first_out_of_range, has_type, in_lists, is_text
from lakehouse.loading.fixes import fix, fix_or_declare
from lakehouse.loading.hints import hint
from lakehouse.loading.spelling import example_of_a_date, example_of_a_number, example_of_a_time, plain

# its stubs know no plain Python values
pc: Any = compute

_NOT_CONVERTED = (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError)


def expected(column: Column, declared: Format) -> str:
    """What a column's values must be, as text for messages."""
    words = {
        "string": "text",
        "binary": "bytes",
        "boolean": "true or false (as text also yes, no, t, f, y, n, 1 and 0)",
        "date": f"a date such as {example_of_a_date(declared)}",
        "timestamp": f"a local time such as {example_of_a_time(declared)}",
        "timestamptz": f"a time with its zone such as {example_of_a_time(declared, zone=True)}",
    }
    if column.kind == "list":
        return f"a list, each value of it {expected(column.element, declared)}"
    if column.zone:
        return f"a time with its zone, or a local time of {column.zone} such as {example_of_a_time(declared)}"
    if column.kind in words:
        return words[column.kind]
    kind = "a whole number" if column.kind == "long" else "a number"
    if column.kind == "decimal":
        kind = f"a number with at most {digits_of(column.type)[1]} digits behind the point,"
    if column.largest != LARGEST_CODE:
        # The sign as text: Python's own minus rounds a decimal to 28 digits.
        kind = f"{kind} from -{column.largest:,} to {column.largest:,}"
    return f"{kind}{example_of_a_number(declared, whole=column.kind == 'long')}"


@dataclass(frozen=True)
class Match:
    """A file's columns against the declaration: where each declared one comes from (None: null), what is left over."""

    sources: dict[str, str | None]
    unknown: tuple[str, ...]


def plan(dataset: Dataset, part: Part | None, schema: pa.Schema, file: str) -> Match:
    """Match a file's columns by name, case, era and type.

    Raises:
        RefusedError: a required column is missing, two columns claim one meaning, or a type is not accepted.
    """
    sources: dict[str, str | None] = {column.name: None for column in dataset.columns}
    unknown: list[str] = []
    for published in schema:
        column = column_for(dataset, part, published)
        if column is None:
            # The members of an object or a struct are columns themselves.
            if published.name not in dataset.ignored and not pa.types.is_struct(published.type):
                unknown.append(published.name)
            continue
        taken = sources[column.name]
        if taken is not None:
            raise RefusedError(
                f"{file}: the columns {taken!r} and {published.name!r} are both names of the table's column "
                f"{column.name}, and a file may have only one of them. {fix(dataset)}"
            )
        sources[column.name] = published.name
        _check_type(dataset, column, published, file)
    for column in dataset.columns:
        if sources[column.name] is None and column.required_in(part):
            raise RefusedError(
                f"{file}: the column {column.published_name(part)!r} is missing, and {_files_of(dataset, part)} must "
                f"have it (as {expected(column, dataset.format)}). The file has: "
                f"{', '.join(schema.names) or 'no columns'}. "
                f"{fix_or_declare(dataset, _other_duty(dataset))}"
            )
    return Match(sources, tuple(unknown))


def _other_duty(dataset: Dataset) -> str:
    """What to declare where a missing column is there by another name, or may be missing."""
    until = "" if isinstance(dataset.parts, Whole) else ", or set its `required_until`,"
    return f"If one of these is that column, add its name. If files may lack it, remove its `required_since`{until}"


def _files_of(dataset: Dataset, part: Part | None) -> str:
    return f"{dataset.name} files of {part}" if part else f"a file of {dataset.name}"


def column_for(dataset: Dataset, part: Part | None, published: pa.Field[Any]) -> Column | None:
    """The declared column that this one means in this part. Text codes and number codes share names in 2010."""
    found = [
        column
        for column in dataset.columns
        if any(
            normalised(name.text) == normalised(published.name) and name.used_in(part)
            for name in (*column.names, Name(column.name))
        )
    ]
    if len(found) > 1:
        text = is_text(published.type)
        found = [column for column in found if (column.type == "string") == text] or found
    return found[0] if found else None


def _check_type(dataset: Dataset, column: Column, published: pa.Field[Any], file: str) -> None:
    # a column without any value has no type of its own; times and amounts can't be all unknown
    empty = pa.types.is_null(published.type) and column.role not in ("pickup", "dropoff", "time")
    if not (accepts(column, published.type) or empty):
        is_null = pa.types.is_null(published.type)
        what = "has no value in any row" if is_null else f"is {published.type}"
        change = f"If {published.type} is right, change the type"
        if is_null:
            change = f"If that is right, remove the role of {column.name}"
        elif not has_type(published.type):
            change = f"No type of a column takes {published.type}. Take {column.name} out of its columns"
        raise RefusedError(
            f"{file}: the column {published.name!r} {what}; the declaration of {column.name} wants "
            f"{expected(column, dataset.format)}. "
            f"{fix_or_declare(dataset, change)}"
        )


class BadValueError(RefusedError):
    """A value of the file can't be converted."""


@dataclass(frozen=True)
class BadRow:
    """A row that can't be loaded.

    `position` is its place in the batch, `row` its place in the file, both from 0. `place` is what messages call it.
    `column` names the file's columns with a bad value. `text` is the line, where the row as a whole can't be read.
    `found` is what the file has in columns that can't be read.
    """

    position: int
    row: int
    place: str
    column: str | None
    reason: str
    text: str | None
    found: Mapping[str, str]


@dataclass
class Conformer:
    """Turns a file's batches into the raw table's columns, and counts what shows that a file is wrong.

    `file`, `place`, which names a row by its number, and `set_aside`, how many rows were, only serve messages. With
    `needs_keys`, a row without a key is bad too. After the last batch, call `finish`.
    """

    dataset: Dataset
    part: Part | None
    match: Match
    file: str
    place: Callable[[int], str] = row_from_0
    needs_keys: bool = False
    rows: int = 0
    set_aside: int = 0
    _swapped: int = 0
    _both_times: int = 0
    _unknown_zones: dict[str, int] = field(default_factory=dict)
    _zones: dict[str, int] = field(default_factory=dict)
    _values: dict[str, int] = field(default_factory=dict)
    _nulls: dict[str, pa.Array[Any]] = field(default_factory=dict)

    def conform(self, batch: pa.RecordBatch) -> list[pa.Array[Any]]:
        """One array a declared column, in declared order, of the declared type; as many rows as `batch`.

        Raises:
            BadValueError: a value that is invalid; names file, column, first row and what was expected.
        """
        arrays: dict[str, pa.Array[Any]] = {}
        for column in self.dataset.columns:
            source = self.match.sources[column.name]
            if source is None:
                arrays[column.name] = self._missing(column, len(batch))
            else:
                arrays[column.name] = self._convert(column, source, batch.column(source))
        self._count(arrays)
        self.rows += len(batch)
        return list(arrays.values())

    def finish(self) -> None:
        """The checks that need the whole file.

        Raises:
            RefusedError: a column without any value, pickup and dropoff plainly swapped, or zone ids mostly unknown.
        """
        for name, values in self._values.items():
            if self.rows and not values:
                raise RefusedError(
                    f"{self.file}: the column {self.match.sources[name]!r} has no value in any of its {self.rows:,} "
                    f"rows{f' ({self.set_aside:,} were set aside)' if self.set_aside else ''}, and "
                    f"{_files_of(self.dataset, self.part)} must have some. "
                    f"{fix_or_declare(self.dataset, 'If it may be empty, remove `never_empty` from the column')}"
                )
        if self._both_times and self._swapped > self.dataset.swapped_share * self._both_times:
            pickup, dropoff = (
                next(self.match.sources[c.name] for c in self.dataset.columns if c.role == role)
                for role in ("pickup", "dropoff")
            )
            raise RefusedError(
                f"{self.file}: {dropoff!r} is before {pickup!r} in {self._swapped:,} of {self._both_times:,} rows: "
                f"the two columns look swapped. {fix(self.dataset)}"
            )
        for name, unknown in self._unknown_zones.items():
            if unknown > self.dataset.unknown_zone_share * self._zones[name]:
                raise RefusedError(
                    f"{self.file}: in {unknown:,} of {self._zones[name]:,} rows, {self.match.sources[name]!r} is no "
                    f"taxi zone (these are {ZONE_IDS.start} to {ZONE_IDS.stop - 1}). {fix(self.dataset)}"
                )

    def _count(self, arrays: dict[str, pa.Array[Any]]) -> None:
        times = {c.role: arrays[c.name] for c in self.dataset.columns if c.role in ("pickup", "dropoff")}
        if len(times) == 2:
            earlier = pc.less(times["dropoff"], times["pickup"])
            self._both_times += len(earlier) - earlier.null_count
            self._swapped += earlier.true_count
        for column in self.dataset.columns:
            if column.never_empty and column.required_in(self.part):
                values = arrays[column.name]
                self._values[column.name] = self._values.get(column.name, 0) + len(values) - values.null_count
            if column.role == "zone" and self.match.sources[column.name] is not None:
                ids = arrays[column.name]
                inside = pc.and_(pc.greater_equal(ids, ZONE_IDS.start), pc.less(ids, ZONE_IDS.stop))
                known = len(ids) - ids.null_count
                self._zones[column.name] = self._zones.get(column.name, 0) + known
                self._unknown_zones[column.name] = self._unknown_zones.get(column.name, 0) + known - inside.true_count

    def bad_rows(self, batch: pa.RecordBatch, most: int, unread: UnreadRows) -> list[BadRow]:
        """The rows of a batch with a value that can't be converted, or without a key; and those that are unread.

        With more than `most` of them, not all are found.
        """
        reasons: dict[int, list[tuple[str, str]]] = {
            position: [(one.column or "", one.reason) for one in found] for position, found in unread.items()
        }
        for column in self.dataset.columns:
            source = self.match.sources[column.name]
            if source is not None:
                for position in self._bad_values(column, batch.column(source), most + len(unread)):
                    if position in unread and not batch.column(source)[position].is_valid:
                        continue  # in place of what is unread
                    reason = self._reason(column, source, batch.column(source), position)
                    reasons.setdefault(position, []).append((source, reason))
        return [
            BadRow(
                position,
                self.rows + position,
                self.place(self.rows + position),
                ", ".join(source for source, _ in reasons[position]) or None,
                "; ".join(reason for _, reason in reasons[position]),
                next((one.found for one in unread.get(position, ()) if one.column is None), None),
                {one.column: one.found for one in unread.get(position, ()) if one.column is not None},
            )
            for position in sorted(reasons)
        ]

    def keys(self, batch: pa.RecordBatch, positions: Iterable[int]) -> list[pa.Array[Any]]:
        """The keys of these rows, as far as they can be read: an array for each column of the key."""
        columns = {column.name: column for column in self.dataset.columns}
        found: dict[str, list[pa.Array[Any]]] = {name: [] for name in self.dataset.key}
        for position in positions:
            values = {}
            for name in self.dataset.key:
                source = self.match.sources[name]
                if source is not None and self._is_good(
                    columns[name], value := batch.column(source).slice(position, 1)
                ):
                    values[name] = self._converted(columns[name], value)
            if len(values) == len(found):
                for name, value in values.items():
                    found[name].append(value)
        return [
            pa.concat_arrays(values) if values else pa.array([], arrow_type(columns[name]))
            for name, values in found.items()
        ]

    def _missing(self, column: Column, rows: int) -> pa.Array[Any]:
        """Nulls for a column that the file does not have; the longest are kept, since new memory costs time."""
        held = self._nulls.get(column.name)
        if held is None or len(held) < rows:
            held = self._nulls[column.name] = pa.nulls(rows, arrow_type(column))
        return held.slice(0, rows)

    def _convert(self, column: Column, source: str, values: pa.Array[Any]) -> pa.Array[Any]:
        try:
            found = self._converted(column, values)
        except _NOT_CONVERTED:
            raise self._refusal(column, source, values, self._first_bad(column, values)) from None
        bad = self._first_wrong(column, found)
        if bad is not None:
            raise self._refusal(column, source, values, bad)
        return found

    def _converted(self, column: Column, values: pa.Array[Any]) -> pa.Array[Any]:
        if pa.types.is_null(values.type) or not len(values):
            nothing: pa.Array[Any] = pa.nulls(len(values), arrow_type(column))
            return nothing
        if column.kind == "list":
            return in_lists(column, values, partial(self._converted, column.element))
        return converted(column, plain(values, column, self.dataset.format))

    def _first_bad(self, column: Column, values: pa.Array[Any]) -> int:
        """The position of the first value that does not convert, by halving."""
        first, last = 0, len(values)
        while last - first > 1:
            middle = (first + last) // 2
            try:
                self._converted(column, values.slice(first, middle - first))
                first = middle
            except _NOT_CONVERTED:
                last = middle
        return first

    def _bad_values(self, column: Column, values: pa.Array[Any], most: int) -> list[int]:
        """The positions of the values that are bad, by halving; not all, if they are more than `most`."""
        found: list[int] = []
        waiting = [(0, len(values))]
        while waiting and len(found) <= most:
            first, last = waiting.pop()
            if first == last or self._is_good(column, values.slice(first, last - first)):
                continue
            if last - first == 1:
                found.append(first)
                continue
            middle = (first + last) // 2
            waiting += [(middle, last), (first, middle)]
        return found

    def _is_good(self, column: Column, values: pa.Array[Any]) -> bool:
        """Whether all values can be loaded: they convert, are in range, and none of a key is missing."""
        try:
            found = self._converted(column, values)
        except _NOT_CONVERTED:
            return False
        return self._first_wrong(column, found) is None

    def _first_wrong(self, column: Column, found: pa.Array[Any]) -> int | None:
        """The position of the first converted value that is out of range, or missing in a key; None if all are good."""
        if self.needs_keys and column.name in self.dataset.key and found.null_count:
            return int(pc.index(found.is_null(), True).as_py())
        return first_out_of_range(column, found)

    def _refusal(self, column: Column, source: str, values: pa.Array[Any], position: int) -> BadValueError:
        what_to_declare = hint(column, values.slice(position, 1), self.dataset.format)
        return BadValueError(
            f"{self.file}: {self._reason(column, source, values, position)}. {fix(self.dataset)}{what_to_declare}"
        )

    def _reason(self, column: Column, source: str, values: pa.Array[Any], position: int) -> str:
        """What is wrong with a value, as text."""
        return (
            f"the column {source!r} has {_shown(values, position)} in {self.place(self.rows + position)}; expected "
            f"{expected(column, self.dataset.format)} for the table's column {column.name}"
        )


def as_text(values: pa.Array[Any], position: int) -> str | None:
    """A value as text; what is no text, as messages show it."""
    value: Any = values[position]
    if not value.is_valid:
        return None
    try:
        found = value.as_py()
    except (UnicodeDecodeError, ValueError, OverflowError):
        return _shown(values, position)
    if isinstance(found, list):
        return json.dumps(found, ensure_ascii=False, default=str)
    return found if isinstance(found, str) else str(found)


def _shown(values: pa.Array[Any], position: int) -> str:
    """A value as a message may show it: text that is none, as its bytes; a time beyond Python's, as its number."""
    value: Any = values[position]
    if pa.types.is_dictionary(value.type):
        value = value.value
    try:
        return repr(value.as_py())
    except UnicodeDecodeError:
        return repr(value.as_buffer().to_pybytes())
    except (ValueError, OverflowError):
        return f"{value.value} ({value.type})" if pa.types.is_temporal(value.type) else str(value.type)
