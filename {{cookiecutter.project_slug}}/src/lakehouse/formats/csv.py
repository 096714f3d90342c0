"""Reading CSV: UTF-8, commas, a line of names first. Every value is text; conforming makes numbers of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import csv


class CsvReader:
    """A CSV file, read block by block. `source` is an open file that can seek."""

    def __init__(self, source: Any) -> None:
        with csv.open_csv(source) as first_block:
            names = first_block.schema.names
        source.seek(0)
        self.schema = pa.schema([(name, pa.string()) for name in names])
        self.rows: int | None = None
        self.is_synthetic = False
        as_text = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
        self._reader = csv.open_csv(source, convert_options=as_text)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in their order, with these columns."""
        for batch in self._reader:
            yield batch.select(list(columns))

    def close(self) -> None:
        """Let go of it."""
        self._reader.close()
