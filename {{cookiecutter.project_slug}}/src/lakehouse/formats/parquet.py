"""Reading parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute

from lakehouse.formats.protocol import BATCH_ROWS, ContentError, row_from_0
from lakehouse.synthetic.generate import SYNTHETIC_KEY

# its stubs know no plain Python values
pc: Any = compute

READ_BYTES = 1 << 20


class ParquetReader:
    """A parquet file, read by batch, never by row group: a published file can be one group of 12 million rows."""

    def __init__(self, source: Any) -> None:
        try:
            # A buffer, or each column of a row group is read whole.
            self._file = pq.ParquetFile(
                source, pre_buffer=False, buffer_size=READ_BYTES, page_checksum_verification=True
            )
            self._fields = list(_fields(self._file.schema_arrow, ()))
        except UnicodeDecodeError as error:
            raise ContentError(f"the name of a column is not text in UTF-8: {error.object[:80]!r}") from error
        self.schema: pa.Schema = pa.schema([field for _, field in self._fields])
        self.rows: int | None = self._file.metadata.num_rows
        self.is_synthetic = SYNTHETIC_KEY.encode() in (self._file.schema_arrow.metadata or {})

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in their order, with these columns."""
        paths = {field.name: path for path, field in self._fields}
        wanted = [paths[name] for name in columns]
        for batch in self._file.iter_batches(BATCH_ROWS, columns=[".".join(path) for path in wanted]):
            # Without columns, a batch of as many rows.
            arrays = [_member(batch, path) for path in wanted]
            yield pa.RecordBatch.from_arrays(arrays, names=list(columns)) if arrays else batch

    def place(self, row: int) -> str:
        """How a message names a row: by its number."""
        return row_from_0(row)

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


def _fields(schema: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], pa.Field[Any]]]:
    """The columns with their paths. A struct comes before its members, which are columns too: `customer.city`."""
    for field in schema:
        path = (*above, field.name)
        yield path, field.with_name(".".join(path))
        if pa.types.is_struct(field.type):
            yield from _fields(field.type.fields, path)


def _member(batch: pa.RecordBatch, path: tuple[str, ...]) -> pa.Array[Any]:
    """A column, or a member of structs; null where a struct is."""
    column: pa.Array[Any] = batch.column(path[0])
    return pc.struct_field(column, list(path[1:])) if len(path) > 1 else column
