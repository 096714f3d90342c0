"""Reading parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.formats.protocol import BATCH_ROWS, row_from_0
from lakehouse.synthetic.generate import SYNTHETIC_KEY

READ_BYTES = 1 << 20


class ParquetReader:
    """A parquet file, read by batch, never by row group: a published file can be one group of 12 million rows."""

    def __init__(self, source: Any) -> None:
        # A buffer, or each column of a row group is read whole.
        self._file = pq.ParquetFile(source, pre_buffer=False, buffer_size=READ_BYTES, page_checksum_verification=True)
        self.schema: pa.Schema = self._file.schema_arrow
        self.rows: int | None = self._file.metadata.num_rows
        self.is_synthetic = SYNTHETIC_KEY.encode() in (self.schema.metadata or {})

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in their order, with these columns."""
        return iter(self._file.iter_batches(BATCH_ROWS, columns=list(columns)))

    def place(self, row: int) -> str:
        """How a message names a row: by its number."""
        return row_from_0(row)

    def close(self) -> None:
        """Let go of it."""
        self._file.close()
