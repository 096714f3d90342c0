"""The rows of a data file, as they are in it. Who reads metadata alone does not import this: parquet takes its time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lakehouse.formats.protocol import BATCH_ROWS

FIELD_ID = b"PARQUET:field_id"


def batches_of(table: Table, file: DataFile, names: Sequence[str]) -> Iterator[list[Any]]:
    """The rows of a data file, batch by batch: an array for each of these columns, of the table's type.

    PyIceberg's own scan holds a whole file in memory. A column that the file does not have yet is null. A file that
    others wrote, without ids of its columns, is read by the names that the table has for it, or by those of its schema.
    """
    schema = schema_to_pyarrow(table.schema())
    wanted = [schema.field(name) for name in names]
    source: Any = table.io.new_input(file.file_path)
    with source.open() as stream:
        parquet = pq.ParquetFile(stream)
        there = {(field.metadata or {}).get(FIELD_ID): field.name for field in parquet.schema_arrow}
        if not any(there):
            mapping = table.metadata.name_mapping() or table.schema().name_mapping
            known = {name: str(field.field_id).encode() for field in mapping for name in field.names}
            there = {known.get(name): name for name in parquet.schema_arrow.names}
        columns = [there.get((field.metadata or {})[FIELD_ID]) for field in wanted]
        for batch in parquet.iter_batches(BATCH_ROWS, columns=[name for name in columns if name]):
            yield [
                batch.column(name).cast(field.type) if name else pa.nulls(len(batch), field.type)
                for name, field in zip(columns, wanted, strict=True)
            ]


def hash_in(table: Table, path: str) -> str | None:
    """The one `source_sha256` of a data file, from the column itself; None if the file mixes sources."""
    source: Any = table.io.new_input(path)
    with source.open() as stream:
        column = pq.ParquetFile(stream).read(columns=["source_sha256"])["source_sha256"]
    found = column.unique().to_pylist()
    return str(found[0]) if len(found) == 1 else None
