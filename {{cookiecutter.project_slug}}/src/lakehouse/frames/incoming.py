"""What a caller gives to be written, as one stream of Arrow batches: Arrow, pandas, Polars."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.errors import RefusedError
from lakehouse.formats.protocol import BATCH_ROWS


class CallersError(Exception):
    """What the caller's own stream raised, on its way through code that would take it for a fault of the store."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Incoming:
    """The columns and the rows that a caller gives. The rows can be read once."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self.schema = reader.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in batches that have some.

        Raises:
            CallersError: the caller's stream failed.
        """
        while True:
            try:
                batch = next(self._reader, None)
            except Exception as error:  # handed on as it is
                raise CallersError(error) from error
            if batch is None:
                return
            for start in range(0, len(batch), BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


@contextmanager
def incoming(data: Any, scratch: Path) -> Iterator[Incoming]:
    """What the caller gives, as a stream. A LazyFrame runs first, into a file in `scratch`: never all of it in memory.

    pandas and Polars are not imported: a value of theirs can only be given where they are.

    Raises:
        RefusedError: the value is of no kind that can be written, or its columns can't be Arrow's.
    """
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if polars and isinstance(data, polars.LazyFrame):
        path = scratch / "lazy.parquet"
        with _arrow_errors(data):
            data.sink_parquet(path)
            pq.read_schema(path)
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            yield Incoming(pa.RecordBatchReader.from_batches(schema, file.iter_batches(BATCH_ROWS)))
    elif pandas and isinstance(data, pandas.DataFrame):
        yield Incoming(_from_pandas(data).to_reader())
    elif isinstance(data, pa.RecordBatchReader):
        yield Incoming(data)
    elif hasattr(data, "__arrow_c_stream__"):  # Arrow's own, Polars, DuckDB
        with _arrow_errors(data):
            reader = pa.RecordBatchReader.from_stream(data)
        yield Incoming(reader)
    else:
        raise RefusedError(
            f"A {type(data).__module__}.{type(data).__qualname__} can't be written as a table. Give a pyarrow Table or "
            "RecordBatchReader, a pandas DataFrame, or a Polars DataFrame or LazyFrame. Nothing was written."
        )


@contextmanager
def _arrow_errors(data: Any) -> Iterator[None]:
    """Refuse a frame that has a type which Arrow, or its parquet files, do not have."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise RefusedError(
            f"The {type(data).__name__} can't be made an Arrow table: {error}. Nothing was written. Cast a column of "
            "an unusual type, such as Int128, to one that Iceberg has."
        ) from error


def _from_pandas(frame: Any) -> pa.Table:
    """Columns as pandas has them. An index with a name is a column too; one without is only a number of each row."""
    try:
        if any(name is not None for name in frame.index.names):
            frame = frame.reset_index()
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        said = ": ".join(str(word) for word in error.args)
        raise RefusedError(
            f"The pandas DataFrame can't be made an Arrow table: {said}. Nothing was written. If a column has values "
            "of several types, or numbers that are too large, convert it with `astype`. If two columns, or a column "
            "and the index, have one name, rename one."
        ) from error
