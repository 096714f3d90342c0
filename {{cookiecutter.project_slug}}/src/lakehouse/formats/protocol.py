"""What the loader asks of a file, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

BATCH_ROWS = 131_072


class ContentError(pa.ArrowInvalid):
    """A place in a file that is not as declared. The message says place, column, value and what was expected.

    The loader refuses the file, and adds its name. `declare` says what to do in the declaration where that may be
    wrong, such as "Correct `sheet`": the place of the declaration follows.
    """

    def __init__(self, message: str, declare: str = "") -> None:
        super().__init__(message)
        self.declare = declare


@dataclass(frozen=True)
class Unread:
    """A value that a reader can't read, with what the file has there as text; without a `column`, all of the row."""

    reason: str
    column: str | None
    found: str


# By the row's place in the file. A reader that is given this does not raise: it gives nulls in place of the values.
UnreadRows = dict[int, list[Unread]]


def row_from_0(row: int) -> str:
    """How a message names a row that has no line or row number of its own."""
    return f"row {row} (counted from 0)"


class BatchReader(Protocol):
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
