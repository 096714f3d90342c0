"""Conforming: a published file's batches, in the one shape of its raw table, or a refusal that names the cause.

`plan` matches a file's columns to the declaration once; `Conformer` then turns batch after batch, so memory stays flat.
Every cast either keeps each value exactly or refuses; there is no third way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyarrow import compute

from lakehouse.datasets.formats import Format
from lakehouse.datasets.model import LARGEST_CODE, ZONE_IDS, Column, Dataset, Name, normalised
from lakehouse.datasets.parts import Part
from lakehouse.errors import RefusedError
from lakehouse.formats.protocol import row_from_0
from lakehouse.loading.spelling import example_of_a_number, example_of_a_time, plain

# its stubs know no plain Python values
pc: Any = compute

ARROW_TYPES: dict[str, Any] = {
    "long": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "timestamp": pa.timestamp("us"),
}


def _fix(dataset: Dataset) -> str:
    """What to do about a file that is refused."""
    if dataset.source:
        return (
            "Nothing was loaded. Correct the rows in the database, or CAST the column in the `sql` of the declaration, "
            "and read the rows again with --refresh."
        )
    return (
        "Nothing was loaded. Load it again with --refresh, which gets the published file again. If that file is wrong "
        "too, correct a copy of it, set TLC_SOURCE to the folder of the copy, and land that with --refresh."
    )


def expected(column: Column, declared: Format) -> str:
    """What a column's values must be, as text for messages."""
    if column.type == "string":
        return "text"
    if column.type == "timestamp":
        return f"a local time such as {example_of_a_time(declared)}"
    kind = "a whole number" if column.type == "long" else "a number"
    if column.largest != LARGEST_CODE:
        kind = f"{kind} from {-column.largest:,} to {column.largest:,}"
    return f"{kind}{example_of_a_number(declared)}"


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
        column = _column_for(dataset, part, published)
        if column is None:
            # The members of an object are columns themselves.
            if published.name not in dataset.ignored and published.type != pa.struct([]):
                unknown.append(published.name)
            continue
        taken = sources[column.name]
        if taken is not None:
            raise RefusedError(
                f"{file}: the columns {taken!r} and {published.name!r} are both names of the table's column "
                f"{column.name}, and a file may have only one of them. {_fix(dataset)}"
            )
        sources[column.name] = published.name
        _check_type(dataset, column, published, file)
    for column in dataset.columns:
        if sources[column.name] is None and column.required_in(part):
            raise RefusedError(
                f"{file}: the column {column.published_name(part)!r} is missing, and {_files_of(dataset, part)} must "
                f"have it (as {expected(column, dataset.format)}). The file has: "
                f"{', '.join(schema.names) or 'no columns'}. Nothing was loaded. Check that this is the right file, "
                "or load it again with --refresh, which gets the published file again."
            )
    return Match(sources, tuple(unknown))


def _files_of(dataset: Dataset, part: Part | None) -> str:
    return f"{dataset.name} files of {part}" if part else f"a file of {dataset.name}"


def _column_for(dataset: Dataset, part: Part | None, published: pa.Field[Any]) -> Column | None:
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
        text = _is_text(published.type)
        found = [column for column in found if (column.type == "string") == text] or found
    return found[0] if found else None


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _check_type(dataset: Dataset, column: Column, published: pa.Field[Any], file: str) -> None:
    kind = published.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    fits = {
        "long": number or _is_text(kind),
        "double": number or _is_text(kind),
        "string": number or _is_text(kind),
        "timestamp": (pa.types.is_timestamp(kind) and kind.tz is None) or _is_text(kind),
    }[column.type]
    # a column without any value has no type of its own; times and amounts can't be all unknown
    empty = pa.types.is_null(kind) and column.role not in ("pickup", "dropoff", "time")
    if not (fits or empty):
        raise RefusedError(
            f"{file}: the column {published.name!r} has the type {published.type}, which the table's column "
            f"{column.name} does not accept; expected {expected(column, dataset.format)}. {_fix(dataset)}"
        )


@dataclass
class Conformer:
    """Turns a file's batches into the raw table's columns, and counts what shows that a file is wrong.

    `file` and `place`, which names a row by its number, only serve messages. After the last batch, call `finish`.
    """

    dataset: Dataset
    part: Part | None
    match: Match
    file: str
    place: Callable[[int], str] = row_from_0
    rows: int = 0
    _swapped: int = 0
    _both_times: int = 0
    _unknown_zones: dict[str, int] = field(default_factory=dict)
    _zones: dict[str, int] = field(default_factory=dict)
    _values: dict[str, int] = field(default_factory=dict)

    def conform(self, batch: pa.RecordBatch) -> list[pa.Array[Any]]:
        """One array a declared column, in declared order, of the declared type; as many rows as `batch`.

        Raises:
            RefusedError: a value that is invalid; names file, column, first row and what was expected.
        """
        arrays: dict[str, pa.Array[Any]] = {}
        for column in self.dataset.columns:
            source = self.match.sources[column.name]
            if source is None:
                arrays[column.name] = pa.nulls(len(batch), ARROW_TYPES[column.type])
            else:
                arrays[column.name] = self._convert(column, source, batch.column(source))
        self._look(arrays)
        self.rows += len(batch)
        return list(arrays.values())

    def finish(self) -> None:
        """The checks that need the whole file.

        Raises:
            RefusedError: a column without any value, pickup and dropoff plainly swapped, or zone ids mostly unknown.
        """
        for name, values in self._values.items():
            if self.rows and not values:
                column = next(c for c in self.dataset.columns if c.name == name)
                raise RefusedError(
                    f"{self.file}: the column {self.match.sources[name]!r} has no value in any of its {self.rows:,} "
                    f"rows, and {_files_of(self.dataset, self.part)} must have some "
                    f"(as {expected(column, self.dataset.format)}). "
                    f"{_fix(self.dataset)}"
                )
        if self._both_times and self._swapped > self.dataset.swapped_share * self._both_times:
            pickup, dropoff = (
                next(self.match.sources[c.name] for c in self.dataset.columns if c.role == role)
                for role in ("pickup", "dropoff")
            )
            raise RefusedError(
                f"{self.file}: {dropoff!r} is before {pickup!r} in {self._swapped:,} of {self._both_times:,} rows: "
                "the two columns look swapped. Nothing was loaded. Load it again with --refresh, which gets the "
                "published file again."
            )
        for name, unknown in self._unknown_zones.items():
            if unknown > self.dataset.unknown_zone_share * self._zones[name]:
                raise RefusedError(
                    f"{self.file}: in {unknown:,} of {self._zones[name]:,} rows, {self.match.sources[name]!r} is no "
                    f"taxi zone (these are {ZONE_IDS.start} to {ZONE_IDS.stop - 1}). Nothing was loaded. Load it "
                    "again with --refresh, which gets the published file again."
                )

    def _look(self, arrays: dict[str, pa.Array[Any]]) -> None:
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

    def _convert(self, column: Column, source: str, values: pa.Array[Any]) -> pa.Array[Any]:
        try:
            converted = self._converted(column, values)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
            raise self._refusal(column, source, values, self._first_bad(column, values)) from None
        bad = _first_out_of_range(column, converted)
        if bad is not None:
            raise self._refusal(column, source, values, bad)
        return converted

    def _converted(self, column: Column, values: pa.Array[Any]) -> pa.Array[Any]:
        return _CONVERT[column.type](plain(values, column, self.dataset.format), ARROW_TYPES[column.type])

    def _first_bad(self, column: Column, values: pa.Array[Any]) -> int:
        """The position of the first value that does not convert, by halving."""
        first, last = 0, len(values)
        while last - first > 1:
            middle = (first + last) // 2
            try:
                self._converted(column, values.slice(first, middle - first))
                first = middle
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
                last = middle
        return first

    def _refusal(self, column: Column, source: str, values: pa.Array[Any], position: int) -> RefusedError:
        return RefusedError(
            f"{self.file}: the column {source!r} has {_shown(values, position)} in "
            f"{self.place(self.rows + position)}; expected {expected(column, self.dataset.format)} for the table's "
            f"column {column.name}. {_fix(self.dataset)}"
        )


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
        return f"{value.value} ({value.type})" if pa.types.is_timestamp(value.type) else str(value.type)


def _plain(values: pa.Array[Any]) -> pa.Array[Any]:
    """Without dictionaries; text as `string`.

    Raises:
        pa.ArrowInvalid: bytes that are no UTF-8; neither parquet's reader nor a cast between kinds of text looks.
    """
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if not _is_text(values.type):
        return values
    text: pa.Array[Any] = values.cast(pa.string())
    text.validate(full=True)
    return text


def _trimmed(values: pa.Array[Any]) -> pa.Array[Any]:
    """Text without blanks around it; empty text is null."""
    values = pc.utf8_trim_whitespace(_plain(values))
    trimmed: pa.Array[Any] = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    return trimmed


def _without_nan(values: pa.Array[Any]) -> pa.Array[Any]:
    """NaN is how pandas spells null."""
    nan = pc.is_nan(values)
    return pc.if_else(nan, pa.scalar(None, values.type), values) if pc.any(nan).as_py() else values


def whole_numbers(text: pa.Array[Any]) -> pa.Array[Any]:
    """Text as whole numbers, each exactly; empty text is null.

    Raises:
        pa.ArrowInvalid: text that is none; a hexadecimal number, which the cast would take, is none either.
    """
    # "1.0" is how CSV files of floats spell 1. By way of a double, 2**53 + 1 would become another number.
    spelled = pc.replace_substring_regex(_trimmed(text), r"^([+-]?[0-9]+)\.0*$", r"\1")
    hexadecimal = pc.match_substring(spelled, "x", ignore_case=True)
    if pc.any(hexadecimal).as_py():
        raise pa.ArrowInvalid(f"'{pc.filter(spelled, hexadecimal)[0]}' is a hexadecimal number")
    numbers: pa.Array[Any] = spelled.cast(pa.int64())
    return numbers


def _to_long(values: pa.Array[Any], target: pa.DataType) -> pa.Array[Any]:
    if values.type == target:
        return values
    values = _plain(values)
    if pa.types.is_string(values.type):
        return whole_numbers(values)
    if pa.types.is_floating(values.type):
        values = _without_nan(values)
    return values.cast(target)


def _to_double(values: pa.Array[Any], target: pa.DataType) -> pa.Array[Any]:
    values = _plain(values)
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.string())  # Arrow's own cast multiplies by 0.01: 376.78 became 376.78000000000003
    if pa.types.is_string(values.type):
        values = _trimmed(values)
    return _without_nan(values if values.type == target else values.cast(target))


def _to_string(values: pa.Array[Any], target: pa.DataType) -> pa.Array[Any]:
    values = _plain(values)
    if pa.types.is_floating(values.type):
        # a flag or code that some tool made a number of: 1.0 is "1"
        return _without_nan(values).cast(pa.int64()).cast(target)
    return values.cast(target)


def _to_timestamp(values: pa.Array[Any], target: pa.DataType) -> pa.Array[Any]:
    if values.type == target:
        return values
    values = _plain(values)
    if pa.types.is_string(values.type):
        values = _trimmed(values)
        days = pc.match_substring_regex(values, r"^\d{4}-\d{2}-\d{2}$")
        if pc.any(days).as_py():  # the cast would make midnight of it
            raise pa.ArrowInvalid(f"{pc.filter(values, days)[0]} has no time of day")
    return values.cast(target)


_CONVERT: dict[str, Callable[[pa.Array[Any], pa.DataType], pa.Array[Any]]] = {
    "long": _to_long,
    "double": _to_double,
    "string": _to_string,
    "timestamp": _to_timestamp,
}
# years that SQL engines and Python can show
_FIRST_TIME = pa.scalar(-62135596800000000, pa.int64()).cast(pa.timestamp("us"))
_LAST_TIME = pa.scalar(253402300799999999, pa.int64()).cast(pa.timestamp("us"))


def _first_out_of_range(column: Column, values: pa.Array[Any]) -> int | None:
    low: Any
    high: Any
    if column.type in ("long", "double"):
        low, high = -column.largest, column.largest
    elif column.type == "timestamp":
        low, high = _FIRST_TIME, _LAST_TIME
    else:
        return None
    extremes = pc.min_max(values)
    smallest, largest = extremes["min"], extremes["max"]
    if not smallest.is_valid:
        return None
    inside = pc.and_(pc.greater_equal(smallest, low), pc.less_equal(largest, high))
    if inside.as_py():
        return None
    outside = pc.or_(pc.less(values, low), pc.greater(values, high))
    return int(pc.index(outside, True).as_py())
