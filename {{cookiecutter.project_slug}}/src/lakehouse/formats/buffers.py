"""The memory of an Arrow array, as numpy sees it: no copy, and no look at each value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def ends_and_bytes(array: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Where each value of a text or binary array begins, with the end of the last, and the bytes from 0 to there."""
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    _, places, data = array.buffers()
    if not len(array):
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    ends = np.frombuffer(places, dtype=np.int64 if large else np.int32)[array.offset :][: len(array) + 1]
    return ends - ends[0], np.frombuffer(data or b"", dtype=np.uint8)[ends[0] : ends[-1]]


def doubles(array: Any) -> npt.NDArray[np.float64]:
    """The values of an array of doubles, with anything in place of nulls. Its extremes take numpy a tenth of the time.

    Nothing where all are null.
    """
    if array.null_count == len(array):
        return np.zeros(0)
    return np.frombuffer(array.buffers()[1], dtype=np.float64)[array.offset :][: len(array)]
