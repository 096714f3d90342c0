"""Reading by a function of one's own, for files that no other format reads."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from itertools import chain
from pathlib import Path
from traceback import extract_tb
from typing import Any

import pyarrow as pa

from lakehouse.datasets.formats import Reader
from lakehouse.formats.compression import Kept
from lakehouse.formats.protocol import ContentError, row_from_0

_END = object()


class FunctionReader:
    """A file, read by a function: it takes the open file, and yields record batches of one schema.

    Opening it reads the first batch.
    """

    def __init__(self, declared: Reader, source: Any) -> None:
        self._name = declared.function
        source.seek(0)
        with self._calling():
            module, _, function = declared.function.partition(":")
            self._yielded = iter(getattr(import_module(module), function)(io.BufferedReader(_Seekable(source))))
        first = self._next()
        if first is None:
            raise ContentError(
                f"the reader {self._name} yields nothing; expected at least one batch, empty if the file has no rows"
            )
        self._first = first
        self.schema = first.schema
        self.rows: int | None = None
        self.is_synthetic = False

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in their order, with these columns."""
        for batch in chain([self._first], iter(self._next, None)):
            if batch.schema != self.schema:
                raise ContentError(
                    f"the reader {self._name} yields a batch of other columns: {_columns(batch.schema)}; expected "
                    f"those of its first batch: {_columns(self.schema)}"
                )
            yield batch.select(list(columns))

    def place(self, row: int) -> str:
        """How a message names a row: by its number."""
        return row_from_0(row)

    def close(self) -> None:
        """End the function, if it still runs."""
        with self._calling():
            getattr(self._yielded, "close", lambda: None)()

    def _next(self) -> pa.RecordBatch | None:
        with self._calling():
            batch = next(self._yielded, _END)
            if isinstance(batch, pa.RecordBatch):
                batch.validate(full=True)
        if batch is _END:
            return None
        if isinstance(batch, pa.RecordBatch):
            return batch
        of_a_table = ". Of a table, write `yield from table.to_batches()`" if isinstance(batch, pa.Table) else ""
        raise ContentError(
            f"the reader {self._name} yields a value of the type {type(batch).__name__}; expected a "
            f"pyarrow.RecordBatch{of_a_table}"
        )

    @contextmanager
    def _calling(self) -> Iterator[None]:
        """Any error of the function is one refusal, with the line where it was raised."""
        try:
            yield
        except Exception as error:
            last = extract_tb(error.__traceback__)[-1]
            said = " ".join(str(error).split())[:300]
            raise ContentError(
                f"the reader {self._name} failed in line {last.lineno} of {Path(last.filename).name}: "
                f"{type(error).__name__}: {said}"
            ) from error


class _Seekable(Kept):
    """The open file for a function that may seek in it. Closing this leaves the file open."""

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        place: int = self._source.seek(offset, whence)
        return place


def names_in(declared: Reader, source: Any) -> list[str]:
    """The names of the columns, from the first batch.

    Raises:
        pa.ArrowInvalid: the function fails, or yields something else.
    """
    with closing(FunctionReader(declared, source)) as reader:
        return reader.schema.names


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema) or "none"
