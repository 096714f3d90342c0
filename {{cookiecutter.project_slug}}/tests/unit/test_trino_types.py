"""Trino's types arrive in Arrow as what they are."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.engines.trino_types import arrow_table, arrow_type
from lakehouse.errors import QueryError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bigint", pa.int64()),
        ("varchar(3)", pa.string()),
        ("decimal(12,2)", pa.decimal128(12, 2)),
        ("timestamp(6)", pa.timestamp("us")),
        ("timestamp(6) with time zone", pa.timestamp("us", tz="UTC")),
        ("map(varchar, array(double))", pa.map_(pa.string(), pa.list_(pa.float64()))),
        ('row("a ,(""b" bigint, c date)', pa.struct([('a ,("b', pa.int64()), ("c", pa.date32())])),
        (
            "row(integer, timestamp(3) with time zone)",
            pa.struct([("field0", pa.int32()), ("field1", pa.timestamp("us", "UTC"))]),
        ),
    ],
)
def test_a_type_is_what_it_says(name: str, expected: pa.DataType) -> None:
    assert arrow_type(name) == expected


def test_rows_become_one_table_with_nulls_and_nested_values() -> None:
    rows: list[list[Sequence[Any]]] = [[[Decimal("1.50"), {"a": 1}], [None, None]], [[Decimal("2.25"), {}]]]

    table = arrow_table(["d", "m"], ["decimal(4,2)", "map(varchar,bigint)"], rows)

    assert table.to_pylist() == [
        {"d": Decimal("1.50"), "m": [("a", 1)]},
        {"d": None, "m": None},
        {"d": Decimal("2.25"), "m": []},
    ]


def test_no_rows_still_have_their_types() -> None:
    assert arrow_table(["n"], ["bigint"], []).schema == pa.schema([("n", pa.int64())])


def test_what_arrow_cannot_hold_is_named() -> None:
    with pytest.raises(QueryError, match="interval day to second"):
        arrow_type("interval day to second")
    with pytest.raises(QueryError, match="more than one column called n"):
        arrow_table(["n", "n"], ["bigint", "bigint"], [])
