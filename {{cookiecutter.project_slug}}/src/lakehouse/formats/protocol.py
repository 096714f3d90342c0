"""What the loader asks of a file, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa

BATCH_ROWS = 131_072


class ContentError(pa.ArrowInvalid):
    """A place in a file that is not as declared. The message says place, column, value and what was expected.

    The loader refuses the file, and adds its name.
    """


def row_from_0(row: int) -> str:
    """How a message names a row that has no line or row number of its own."""
    return f"row {row} (counted from 0)"


class Reader(Protocol):
    """An open file: its columns, and its rows batch by batch. Its methods raise Arrow's errors for damaged content."""

    @property
    def schema(self) -> pa.Schema:
        """The columns as the file has them."""
        ...

    @property
    def rows(self) -> int | None:
        """How many rows it says it has; None where only reading it tells."""
        ...

    @property
    def is_synthetic(self) -> bool:
        """Whether the file says of itself that it was generated."""
        ...

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in their order, with these columns."""
        ...

    def place(self, row: int) -> str:
        """How a message names a row, counted from 0, of the batch that was read last: "line 7"."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
