"""How the columns of a parquet file are encoded: quickly and small, decided by its first rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyarrow import compute

# its stubs know no plain Python values
pc: Any = compute

# So many of the first rows tell how the values of a column are.
_ENOUGH_ROWS, _MOST_ROWS = 1_024, 32_768


def encodings(first: Mapping[str, pa.Array[Any]]) -> dict[str, Any]:
    """The options `use_dictionary` and `column_encoding` of a `ParquetWriter`, by the first rows of each column.

    A dictionary of values that mostly differ costs time and space. Of times, and of whole numbers that differ, the
    differences are written: neighbours differ by little.
    """
    various = {name for name, array in first.items() if _mostly_differ(array)}
    rising = [
        name
        for name, array in first.items()
        if pa.types.is_timestamp(array.type) or (name in various and pa.types.is_integer(array.type))
    ]
    return {
        "use_dictionary": [name for name in first if name not in various.union(rising)],
        "column_encoding": dict.fromkeys(rising, "DELTA_BINARY_PACKED"),
    }


def _mostly_differ(array: pa.Array[Any]) -> bool:
    """Whether more than half of the values are different ones. Few rows don't tell; of lists it is not asked."""
    if len(array) < _ENOUGH_ROWS or pa.types.is_nested(array.type) or pa.types.is_dictionary(array.type):
        return False
    sample = array.slice(0, _MOST_ROWS)
    return bool(2 * pc.count_distinct(sample).as_py() > len(sample))
