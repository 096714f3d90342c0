"""Writing one data file of a table, and the audit that reads it back before anything is committed."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionKey
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from lakehouse.errors import CommitError, RefusedError

ROW_GROUP_ROWS = 1_048_576
BATCH_ROWS = 131_072


class Totals:
    """What a run of rows adds up to: rows, and for each column nulls and a checksum of values at their positions.

    Exact and independent of how the rows are cut into batches: the bits of each value, weighted by its row, modulo 2^64.
    """

    def __init__(self, columns: list[str]) -> None:
        self.columns = columns
        self.rows = 0
        self._nulls = np.zeros(len(columns), dtype=np.int64)
        self._sums = np.zeros(len(columns), dtype=np.uint64)

    def add(self, arrays: list[pa.Array]) -> None:
        """Count one batch, its arrays in the order of `columns`."""
        length = len(arrays[0])
        weights = np.arange(self.rows + 1, self.rows + length + 1, dtype=np.uint64)
        for i, array in enumerate(arrays):
            self._nulls[i] += array.null_count
            self._sums[i] += _checksum(array, weights)
        self.rows += length

    def differences(self, other: Totals) -> list[str]:
        """Where two runs differ, in words; empty when they hold the same rows."""
        if self.rows != other.rows:
            return [f"{self.rows:,} rows against {other.rows:,}"]
        return [
            f"{name}: {'nulls' if self._nulls[i] != other._nulls[i] else 'values'} differ"
            for i, name in enumerate(self.columns)
            if self._nulls[i] != other._nulls[i] or self._sums[i] != other._sums[i]
        ]


def _checksum(array: pa.Array, weights: npt.NDArray[np.uint64]) -> np.uint64:
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return _text_checksum(array, weights)
    if array.null_count:
        array = array.fill_null(pa.scalar(0, pa.int64()).cast(array.type) if not _is_date(array) else 0)
    if _is_date(array):
        bits = array.cast(pa.int32()).to_numpy().astype(np.uint64)
    else:
        bits = array.view(pa.int64()).to_numpy().view(np.uint64)
    return np.uint64(np.dot(bits, weights))


def _is_date(array: pa.Array) -> bool:
    return bool(pa.types.is_date32(array.type))


def _text_checksum(array: pa.Array, weights: npt.NDArray[np.uint64]) -> np.uint64:
    """Every byte counts, with its row's weight."""
    if array.null_count == len(array):
        return np.uint64(0)
    array = (array.fill_null("") if array.null_count else array).cast(pa.large_string())
    _, offsets_buffer, data = array.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    if data is None or offsets[-1] == offsets[0]:
        return np.uint64(0)
    content = np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]].astype(np.uint64)
    lengths = np.diff(offsets)
    return np.uint64(np.dot(content, np.repeat(weights, lengths)))


def write_data_file(
    table: Table, batches: Iterable[list[pa.Array]], name: str, partition: PartitionKey | None
) -> tuple[DataFile, Totals]:
    """Write one parquet file (zstd, page checksums) next to the table's other data. Nothing refers to it yet.

    `batches` yields the arrays of all columns of the table's current schema, in its order. Encoding runs in a thread of
    its own beside the caller's reading. When `batches` raises, the staged file is removed and the error goes on.

    Returns:
        The file as Iceberg will know it, and what was written.

    Raises:
        CommitError: the file could not be written (disk full, object store away).
    """
    schema = schema_to_pyarrow(table.schema())
    path = table.location_provider().new_data_location(f"{name}-{uuid.uuid4()}.parquet", partition)
    totals = Totals(schema.names)
    with _removed_on_error(table.io, path):
        metadata, size = _encode(table.io, path, schema, _counted(batches, totals))
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=metadata,
        stats_columns=compute_statistics_plan(table.schema(), table.metadata.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(table.schema()),
    )
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=partition.partition if partition else Record(),
        file_size_in_bytes=size,
        sort_order_id=None,
        spec_id=table.metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )
    return file, totals


def _counted(batches: Iterable[list[pa.Array]], totals: Totals) -> Iterator[list[pa.Array]]:
    for arrays in batches:
        totals.add(arrays)
        yield arrays


def _encode(
    io: FileIO, path: str, schema: pa.Schema, batches: Iterable[list[pa.Array]]
) -> tuple[pq.FileMetaData, int]:
    """Feed a writer thread through a short queue: reading and encoding overlap, memory stays bounded."""
    queue: Queue[list[pa.Array] | None] = Queue(maxsize=2)
    failed: list[BaseException] = []
    metadata: list[pq.FileMetaData] = []

    def write() -> None:
        try:
            with io.new_output(path).create(overwrite=False) as stream:
                writer = None
                while (arrays := queue.get()) is not None:
                    if writer is None:
                        writer = _parquet_writer(stream, schema, arrays)
                    writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=writer.schema), ROW_GROUP_ROWS)
                if writer is None:
                    writer = _parquet_writer(stream, schema, [])
                writer.close()
                metadata.append(writer.writer.metadata)
        except BaseException as error:  # handed to the caller's thread, which raises it
            failed.append(error)
            while queue.get() is not None:
                pass

    thread = Thread(target=write, name="parquet-writer", daemon=True)
    thread.start()
    try:
        for arrays in batches:
            if failed:
                break
            queue.put(arrays)
    finally:
        queue.put(None)
        thread.join()
    if failed:
        raise CommitError(
            f"The data file {path} could not be written: {failed[0]}. The table is as it was. "
            "Check free space and that the store answers, then run the same command again."
        ) from failed[0]
    return metadata[0], len(io.new_input(path))


def _parquet_writer(stream: Any, schema: pa.Schema, arrays: list[pa.Array]) -> pq.ParquetWriter:
    """A writer whose columns keep their field ids; dictionary arrays are written as such, which is quicker."""
    fields = [
        field.with_type(array.type) if pa.types.is_dictionary(array.type) else field
        for field, array in zip(schema, arrays, strict=True)
    ] if arrays else list(schema)
    return pq.ParquetWriter(
        stream,
        pa.schema(fields),
        compression="zstd",
        compression_level=1,
        write_page_checksum=True,
        store_schema=False,
    )


def audit(table: Table, file: DataFile, written: Totals) -> None:
    """Read a staged file back, with page checksums, and hold it against what was written.

    Raises:
        RefusedError: it can't be read, or differs in rows, nulls or values; the staged file is removed.
    """
    found = Totals(written.columns)
    with _removed_on_error(table.io, file.file_path):
        try:
            with table.io.new_input(file.file_path).open() as stream:
                parquet = pq.ParquetFile(stream, page_checksum_verification=True)
                for batch in parquet.iter_batches(BATCH_ROWS):
                    found.add(batch.columns)
        except (OSError, pa.ArrowException) as error:
            raise RefusedError(
                f"The data file {file.file_path} can't be read back: {error}. Nothing was committed; run the same "
                "command again, and check the disk or object store if it repeats."
            ) from error
        if differences := written.differences(found):
            raise RefusedError(
                f"The data file {file.file_path} is not what was written: {'; '.join(differences)}. Nothing was "
                "committed; run the same command again, and check the disk or object store if it repeats."
            )


def remove(io: FileIO, path: str) -> None:
    """Remove a staged file that nothing refers to; one that is out of reach is left to maintenance."""
    try:
        io.delete(path)
    except (OSError, FileNotFoundError):
        return


@contextmanager
def _removed_on_error(io: FileIO, path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        remove(io, path)
        raise
