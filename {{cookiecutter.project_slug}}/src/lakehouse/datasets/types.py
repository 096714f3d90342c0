"""The types that a column of a dataset may have. Each is one type of Iceberg."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache

# As a declaration writes them.
TYPES = ("long", "double", "decimal(P,S)", "boolean", "date", "timestamp", "timestamptz", "string", "binary", "list(…)")
MOST_DIGITS = 38
_DECIMAL = re.compile(r"decimal\(([0-9]+), ?([0-9]+)\)")
_LIST = re.compile(r"list\((.+)\)")
# Words for true and false in text, in any case.
TRUE, FALSE = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")


@cache
def kind_of(type_: str) -> str:
    """The type without what it has in brackets: `decimal` for `decimal(12,2)`, `list` for `list(long)`."""
    if _LIST.fullmatch(type_):
        return "list"
    return "decimal" if _DECIMAL.fullmatch(type_) else type_


def element_of(type_: str) -> str:
    """The type of what a list holds: `long` for `list(long)`.

    Raises:
        ValueError: it is no list type.
    """
    match = _LIST.fullmatch(type_)
    if match is None:
        raise ValueError(type_)
    return match[1]


def digits_of(type_: str) -> tuple[int, int]:
    """How many digits a decimal type has, and how many of them are behind the point: (12, 2) for `decimal(12,2)`.

    Raises:
        ValueError: it is no decimal type.
    """
    match = _DECIMAL.fullmatch(type_)
    if match is None:
        raise ValueError(type_)
    return int(match[1]), int(match[2])


def largest_decimal(type_: str) -> Decimal:
    """The largest number of a decimal type: 9999.99 for `decimal(6,2)`."""
    digits, behind = digits_of(type_)
    return Decimal((0, (9,) * digits, -behind))


def is_type(type_: object) -> bool:
    """Whether a column can have this type: its word is known, a decimal has 1 to 38 digits, a list holds no lists."""
    if not isinstance(type_, str):
        return False
    if kind_of(type_) == "list":
        element = element_of(type_)
        return kind_of(element) != "list" and is_type(element)
    if not _DECIMAL.fullmatch(type_):
        return type_ in TYPES and "(" not in type_
    digits, behind = digits_of(type_)
    return 1 <= digits <= MOST_DIGITS and behind <= digits
