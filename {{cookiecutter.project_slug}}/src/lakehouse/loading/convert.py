"""Converting: a column's values, as a file has them, into the one type that is declared. Each exactly, or an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from lakehouse.datasets.model import Column
from lakehouse.datasets.types import FALSE, TRUE, digits_of
from lakehouse.formats.buffers import doubles, ends_and_bytes

# its stubs know no plain Python values
pc: Any = compute

_LOCAL, _UTC = pa.timestamp("us"), pa.timestamp("us", tz="UTC")
_ARROW_TYPES: dict[str, Any] = {
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": _LOCAL,
    "timestamptz": _UTC,
    "string": pa.string(),
    "binary": pa.binary(),
}
_LAST_BLANK, _FIRST_BEYOND_ASCII = 32, 128
# As many digits as a decimal has at most, on both sides of the point.
_DECIMAL_TEXT = r"^[+-]?[0-9]{0,38}(\.[0-9]{0,38})?$"


def arrow_type(column: Column) -> Any:
    """The Arrow type of a declared column."""
    if column.kind == "list":
        return pa.list_(pa.field("element", arrow_type(column.element)))
    return pa.decimal128(*digits_of(column.type)) if column.kind == "decimal" else _ARROW_TYPES[column.type]


def accepts(column: Column, kind: pa.DataType) -> bool:
    """Whether values of this type, in a file, can be converted to the column's type."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if column.kind == "list" or _is_list(kind):
        if column.kind != "list" or not _is_list(kind):
            return False
        held: pa.DataType = getattr(kind, "value_type", kind)
        return pa.types.is_null(held) or accepts(column.element, held)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    text = is_text(kind)
    local = pa.types.is_timestamp(kind) and kind.tz is None
    fits: dict[str, bool] = {
        "long": number or text,
        "double": number or text,
        # Arrow's casts of 256 bits to 128 can lose the upper ones.
        "decimal": (number and not pa.types.is_decimal256(kind)) or text,
        "boolean": pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or text,
        "date": pa.types.is_date(kind) or local or text,
        "timestamp": local or text,
        "timestamptz": (pa.types.is_timestamp(kind) and (kind.tz is not None or bool(column.zone))) or text,
        "string": number or text,
        "binary": _is_bytes(kind),
    }
    return fits[column.kind]


def has_type(kind: pa.DataType) -> bool:
    """Whether a column of any type takes values of this type."""
    value: pa.DataType = getattr(kind, "value_type", kind) if _is_list(kind) else kind
    no_values = _is_list(kind) and pa.types.is_null(value)
    return no_values or any(accepts(Column("", one), value) for one in _CONVERT)


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds text; parquet's plain bytes are taken for it."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def converted(column: Column, values: pa.Array[Any]) -> pa.Array[Any]:
    """The values in the column's type.

    Raises:
        pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError: a value that would not stay the same.
    """
    target = arrow_type(column)
    if values.type == target and column.kind not in ("double", "string"):
        return values
    return _CONVERT[column.kind](_without_dictionary(values), column)


def in_lists(column: Column, values: Any, convert: Callable[[pa.Array[Any]], pa.Array[Any]]) -> pa.Array[Any]:
    """Lists, each value in them converted. A list that is null stays null, an empty one empty.

    `convert` makes one array of another of the same length, in the type of `column.element`.
    """
    values = values.cast(pa.list_(values.type.value_type))
    lengths = pc.list_value_length(values).fill_null(0).to_numpy()
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    mask = values.is_null() if values.null_count else None
    lists: Any = pa.ListArray
    found: pa.Array[Any] = lists.from_arrays(ends, convert(values.flatten()), type=arrow_type(column), mask=mask)
    return found


def _without_dictionary(values: pa.Array[Any]) -> pa.Array[Any]:
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _text_as_string(values: pa.Array[Any]) -> pa.Array[Any]:
    """Text as `string`; all else as it is.

    Raises:
        pa.ArrowInvalid: bytes that are no UTF-8; neither parquet's reader nor a cast between kinds of text looks.
    """
    if not is_text(values.type):
        return values
    text: pa.Array[Any] = values.cast(pa.string())
    text.validate(full=True)
    return text


def _has(text: pa.Array[Any], sign: str) -> bool:
    """Whether an ASCII sign is anywhere in a text. Much quicker than to look for it in each value."""
    return bool((ends_and_bytes(text)[1] == ord(sign)).any())


def _may_have_blanks_around(text: pa.Array[Any]) -> bool:
    """Whether a value begins or ends with a sign that may be a blank. Blanks within, as times have, are no matter."""
    ends, signs = ends_and_bytes(text)
    if not len(signs) or (signs.min() > _LAST_BLANK and signs.max() < _FIRST_BEYOND_ASCII):
        return False
    # Of an empty value these are signs of others, which does no harm.
    outer = signs[np.concatenate([np.minimum(ends[:-1], len(signs) - 1), ends[1:] - 1])]
    return bool(outer.min() <= _LAST_BLANK or outer.max() >= _FIRST_BEYOND_ASCII)


def trimmed(values: pa.Array[Any]) -> pa.Array[Any]:
    """Text without blanks around it; empty text is null."""
    values = _text_as_string(values)
    if _may_have_blanks_around(values):
        values = pc.utf8_trim_whitespace(values)
    empty = pc.equal(pc.binary_length(values), 0)
    return pc.if_else(empty, pa.scalar(None, pa.string()), values) if pc.any(empty).as_py() else values


def _without_nan(values: pa.Array[Any]) -> pa.Array[Any]:
    """NaN is how pandas spells null."""
    if values.type == pa.float64() and not np.isnan(doubles(values).min(initial=0)):
        return values
    nan = pc.is_nan(values)
    return pc.if_else(nan, pa.scalar(None, values.type), values) if pc.any(nan).as_py() else values


def _require(good: Any, values: pa.Array[Any], what: str) -> None:
    """Raise pa.ArrowInvalid with the first value that is not `good`; null is good."""
    if not pc.all(good.fill_null(True)).as_py():
        raise pa.ArrowInvalid(f"{pc.filter(values, pc.invert(good))[0]} is {what}")


def whole_numbers(text: pa.Array[Any]) -> pa.Array[Any]:
    """Text as whole numbers, each exactly; empty text is null.

    Raises:
        pa.ArrowInvalid: text that is none; a hexadecimal number, which the cast would take, is none either.
    """
    if _has(text, "x") or _has(text, "X"):
        hexadecimal = pc.match_substring(text, "x", ignore_case=True)
        if pc.any(hexadecimal).as_py():
            raise pa.ArrowInvalid("a hexadecimal number")
    return _cast(text, pa.int64(), _without_point)


def _without_point(text: pa.Array[Any]) -> pa.Array[Any]:
    """Text without blanks around it, and 1 in place of "1.0": so do CSV files of floats spell it.

    By way of a double, 2**53 + 1 would become another number.
    """
    spelled = trimmed(text)
    return pc.replace_substring_regex(spelled, r"^([+-]?[0-9]+)\.0*$", r"\1") if _has(spelled, ".") else spelled


def _cast(text: pa.Array[Any], target: Any, spell: Callable[[pa.Array[Any]], pa.Array[Any]] = trimmed) -> pa.Array[Any]:
    """Text as numbers or dates: as it stands, or else as `spell` gives it.

    The casts take no blank, no empty value and nothing beyond ASCII. So what they take needs no look before.
    """
    found: pa.Array[Any]
    try:
        found = text.cast(target)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        found = spell(text).cast(target)
    return found


def _to_long(values: pa.Array[Any], _: Column) -> pa.Array[Any]:
    if is_text(values.type):
        return whole_numbers(values.cast(pa.string()))
    if pa.types.is_floating(values.type):
        values = _without_nan(values)
    return values.cast(pa.int64())


def _to_double(values: pa.Array[Any], _: Column) -> pa.Array[Any]:
    if is_text(values.type) or pa.types.is_decimal(values.type):
        # Arrow's own cast of a decimal multiplies by 0.01: 376.78 became 376.78000000000003
        values = _cast(values.cast(pa.string()), pa.float64())
    return _without_nan(values if values.type == pa.float64() else values.cast(pa.float64()))


def _to_decimal(values: pa.Array[Any], column: Column) -> pa.Array[Any]:
    values = _text_as_string(values)
    digits, behind = digits_of(column.type)
    if pa.types.is_floating(values.type):
        values = _without_nan(values)
        # The cast of larger ones would drop digits in front. The limit is about 10^38 at most.
        _require(pc.less(pc.abs(values), float(10 ** (digits - behind))), values, "too large")
        values = values.cast(pa.string())  # the shortest text that means this float, which is what people see of it
    elif pa.types.is_string(values.type):
        values = trimmed(values)
        _require(pc.match_substring_regex(values, _DECIMAL_TEXT), values, "no plain number")
    elif not pa.types.is_decimal(values.type):
        values = values.cast(pa.string())
    # In 128 bits a number that becomes too large while it is scaled is cut without an error; 256 bits hold it.
    return values.cast(pa.decimal256(76, behind)).cast(pa.decimal128(digits, behind))


def _to_boolean(values: pa.Array[Any], _: Column) -> pa.Array[Any]:
    values = _text_as_string(values)
    if pa.types.is_string(values.type):
        values = pc.utf8_lower(trimmed(values))
        true, false = (pc.is_in(values, pa.array(words)) for words in (TRUE, FALSE))
    else:
        if pa.types.is_floating(values.type):
            values = _without_nan(values)
        true, false = (pc.equal(values, pa.scalar(number, values.type)) for number in (1, 0))
    missing = values.is_null()
    _require(pc.or_(pc.or_(true, false).fill_null(False), missing), values, "neither true nor false")
    found: pa.Array[Any] = pc.if_else(missing, pa.scalar(None, pa.bool_()), true)
    return found


def _to_string(values: pa.Array[Any], _: Column) -> pa.Array[Any]:
    values = _text_as_string(values)
    if pa.types.is_floating(values.type):
        # a flag or code that some tool made a number of: 1.0 is "1"
        values = _without_nan(values).cast(pa.int64())
    return values.cast(pa.string())


def _to_date(values: pa.Array[Any], _: Column) -> pa.Array[Any]:
    if is_text(values.type):
        return _cast(values.cast(pa.string()), pa.date32())
    days: pa.Array[Any] = values.cast(pa.date32())
    if pa.types.is_timestamp(values.type):  # the cast cuts the time of day
        _require(pc.equal(days.cast(values.type), values), values, "no midnight")
    return days


def _to_timestamp(values: pa.Array[Any], _: Column) -> pa.Array[Any]:
    if not is_text(values.type):
        return values.cast(_LOCAL)
    text = values.cast(pa.string())
    return _with_time_of_day(text).cast(_LOCAL) if _has_days(text) else _cast(text, _LOCAL, _with_time_of_day)


def _with_time_of_day(text: pa.Array[Any]) -> pa.Array[Any]:
    """Text without blanks around it. The cast would make midnight of 2024-01-31, and takes nothing else so short."""
    spelled = trimmed(text)
    if _has_days(spelled):
        raise pa.ArrowInvalid("a date has no time of day")
    return spelled


def _has_days(text: pa.Array[Any]) -> bool:
    """Whether a value is as long as 2024-01-31."""
    return bool(pc.any(pc.equal(pc.binary_length(text), 10)).as_py())


def _to_timestamptz(values: pa.Array[Any], column: Column) -> pa.Array[Any]:
    if is_text(values.type) and not column.zone:
        return _cast(values.cast(pa.string()), _UTC)  # this cast demands an offset or a Z
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        return values.cast(_UTC)
    # An hour that the clocks show twice, or never, is an error.
    times: pa.Array[Any] = pc.assume_timezone(_to_timestamp(values, column), column.zone).cast(_UTC)
    return times


def _to_binary(values: pa.Array[Any], _: Column) -> pa.Array[Any]:
    return values.cast(pa.binary())


_CONVERT: dict[str, Callable[[pa.Array[Any], Column], pa.Array[Any]]] = {
    "long": _to_long,
    "double": _to_double,
    "decimal": _to_decimal,
    "boolean": _to_boolean,
    "date": _to_date,
    "timestamp": _to_timestamp,
    "timestamptz": _to_timestamptz,
    "string": _to_string,
    "binary": _to_binary,
}
# years that SQL engines and Python can show
_FIRST, _LAST = (pa.scalar(us, pa.int64()) for us in (-62135596800000000, 253402300799999999))


def first_out_of_range(column: Column, values: pa.Array[Any]) -> int | None:
    """The position of the first converted value that is outside of the column's range; None if all are inside.

    A decimal has no other range than its digits, so none is outside.
    """
    if column.kind == "list":
        lists: Any = values
        bad = first_out_of_range(column.element, lists.flatten())
        return None if bad is None else int(pc.list_parent_indices(lists)[bad].as_py())
    low: Any
    high: Any
    if column.type in ("long", "double"):
        low, high = -column.largest, column.largest
    elif column.type in ("date", "timestamp", "timestamptz"):
        low, high = (time.cast(_LOCAL).cast(values.type, safe=False) for time in (_FIRST, _LAST))
    else:
        return None
    if column.type == "double" and _all_inside(doubles(values), low, high):
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


def _all_inside(values: npt.NDArray[np.float64], low: float, high: float) -> bool:
    """Whether all are in a range, and none is NaN. False proves nothing: what stands in place of nulls counts too."""
    return bool(values.min(initial=0) >= low and values.max(initial=0) <= high)
