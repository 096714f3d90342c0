"""Reading by a function of one's own, for files that no other format reads."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
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
        yielded = self._begun(source)
        if not isinstance(yielded, Iterable):
            kind = "None" if yielded is None else f"a value of the type {type(yielded).__name__}"
            raise self._fault(f"returns {kind}; expected that it yields record batches")
        with self._calling():
            self._yielded = iter(yielded)
        first = self._next()
        if first is None:
            raise self._fault("yields nothing; expected at least one batch, empty if the file has no rows")
        self._first = first
        self.schema = first.schema
        self.rows: int | None = None
        self.is_synthetic = False

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in their order, with these columns."""
        for batch in chain([self._first], iter(self._next, None)):
            if batch.schema != self.schema:
                raise self._fault(
                    f"yields a batch of other columns: {_columns(batch.schema)}; expected those of its first batch: "
                    f"{_columns(self.schema)}"
                )
            yield batch.select(list(columns))

    def place(self, row: int) -> str:
        """How a message names a row: by its number."""
        return row_from_0(row)

    def close(self) -> None:
        """End the function, if it still runs."""
        with self._calling():
            getattr(self._yielded, "close", lambda: None)()

    def _begun(self, source: Any) -> Any:
        """What the function returns."""
        name, _, function = self._name.partition(":")
        with self._calling():
            module = importlib.import_module(name)
        if not hasattr(module, function):
            raise self._fault(f"can't be called: there is no function {function} in the module {name}")
        with self._calling():
            return getattr(module, function)(io.BufferedReader(_Seekable(source)))

    def _next(self) -> pa.RecordBatch | None:
        with self._calling():
            batch = next(self._yielded, _END)
        if batch is _END:
            return None
        if not isinstance(batch, pa.RecordBatch):
            of_a_table = ". Of a table, write `yield from table.to_batches()`" if isinstance(batch, pa.Table) else ""
            kind = type(batch).__name__
            raise self._fault(f"yields a value of the type {kind}; expected a pyarrow.RecordBatch{of_a_table}")
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid as error:
            raise self._fault(f"yields a batch with values that are not valid: {error}") from error
        return batch

    @contextmanager
    def _calling(self) -> Iterator[None]:
        """Any error of the function is one refusal, with the last line of its own file that ran."""
        try:
            yield
        except Exception as error:
            # Before its own are this file's frames and those of Python's import, of which a part is frozen.
            others = (__file__, str(importlib.__file__), "<frozen")
            frames = [f for f in extract_tb(error.__traceback__) if not f.filename.startswith(others)]
            places = [(frame.filename, frame.lineno) for frame in frames if frame.filename == frames[0].filename]
            if isinstance(error, SyntaxError):
                places = [(error.filename or "", error.lineno)]
            place = f" in line {places[-1][1]} of {Path(places[-1][0]).name}" if places else ""
            said = " ".join(str(error).split())[:300]
            raise self._fault(f"failed{place}: {type(error).__name__}: {said}") from error

    def _fault(self, what: str) -> ContentError:
        return ContentError(f"the reader {self._name} {what}", "Correct the function, or its name in `format`")


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
